package channeltest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Slack is a workspace with one channel.
type Slack struct {
	Wire
	Token   string // the bot token that it accepts
	Channel string // the channel's id; messages may also be sent to #picket
	secret  string // of the webhook's URL

	mu       sync.Mutex
	rate     time.Duration
	last     map[string]time.Time
	messages []SlackMessage
	history  bool
	refuse   []string
	clock    int64
}

// SlackMessage is one message as the channel holds it.
type SlackMessage struct {
	TS, ThreadTS string
	Text         string
	Blocks       json.RawMessage
	Metadata     json.RawMessage
	Edits        int
	Broadcast    bool
	Posted       time.Time
}

// NewSlack starts a workspace whose channel takes one message a second.
func NewSlack(tb testing.TB) *Slack {
	s := &Slack{
		Token: "xoxb-" + rand.Text(), Channel: "C0PICKET01", secret: rand.Text(),
		rate: time.Second, last: map[string]time.Time{}, history: true,
	}
	s.tb = tb
	s.handle = http.HandlerFunc(s.serveHTTP)
	return s
}

// APIURL is what SlackOptions.APIURL takes.
func (s *Slack) APIURL() string { return s.URL() + "/api/" }

// HookPath is the path of an incoming webhook; it holds a secret.
func (s *Slack) HookPath() string { return "/services/T000/B000/" + s.secret }

// SetRate changes the time between messages that the channel insists on; 0 is any.
func (s *Slack) SetRate(d time.Duration) { s.locked(func() { s.rate = d }) }

// WithoutHistory takes the scope channels:history away.
func (s *Slack) WithoutHistory() { s.locked(func() { s.history = false }) }

// RefuseNext answers the next API call with ok:false and the code; it has no effect.
func (s *Slack) RefuseNext(code string) { s.locked(func() { s.refuse = append(s.refuse, code) }) }

// Delete removes a message, as a person might.
func (s *Slack) Delete(ts string) {
	s.locked(func() {
		s.messages = slices.DeleteFunc(s.messages, func(m SlackMessage) bool { return m.TS == ts })
	})
}

// Messages returns all messages, replies included, oldest first.
func (s *Slack) Messages() []SlackMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Roots returns the messages that are not replies.
func (s *Slack) Roots() []SlackMessage {
	return slices.DeleteFunc(s.Messages(), func(m SlackMessage) bool { return m.ThreadTS != "" })
}

func (s *Slack) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *Slack) serveHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.HasPrefix(r.URL.Path, "/services/") {
		s.hook(w, r)
		return
	}
	if err := r.ParseForm(); err != nil {
		refuse(w, "invalid_form_data")
		return
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token == "" {
		token = r.Form.Get("token")
	}
	if token != s.Token {
		refuse(w, "invalid_auth")
		return
	}
	if len(s.refuse) > 0 {
		code := s.refuse[0]
		s.refuse = s.refuse[1:]
		refuse(w, code)
		return
	}
	_, method, _ := strings.Cut(r.URL.Path, "/api/")
	switch method {
	case "auth.test":
		reply(w, map[string]any{"team": "Picket", "user": "picket", "team_id": "T000", "user_id": "U000", "bot_id": "B000"})
	case "chat.postMessage":
		s.post(w, r.Form)
	case "chat.update":
		s.update(w, r.Form)
	case "conversations.history", "conversations.replies":
		s.list(w, r.Form)
	default:
		refuse(w, "unknown_method")
	}
}

func (s *Slack) post(w http.ResponseWriter, f url.Values) {
	if c := f.Get("channel"); c != s.Channel && c != "#picket" && c != "picket" {
		refuse(w, "channel_not_found")
		return
	}
	if !s.allowed(w) || !s.valid(w, f) {
		return
	}
	if root := f.Get("thread_ts"); root != "" && s.find(root) == nil {
		refuse(w, "thread_not_found")
		return
	}
	ts := s.add(SlackMessage{
		ThreadTS: f.Get("thread_ts"), Text: f.Get("text"), Blocks: json.RawMessage(f.Get("blocks")),
		Metadata: json.RawMessage(f.Get("metadata")), Broadcast: f.Get("reply_broadcast") == "true",
	})
	reply(w, map[string]any{"channel": s.Channel, "ts": ts, "message": map[string]any{"type": "message", "ts": ts}})
}

func (s *Slack) add(m SlackMessage) string {
	// Timestamps name messages: unique in a channel, and they grow.
	m.Posted = time.Now()
	s.clock = max(s.clock+1, m.Posted.UnixMicro())
	m.TS = fmt.Sprintf("%d.%06d", s.clock/1e6, s.clock%1e6)
	s.messages = append(s.messages, m)
	return m.TS
}

func (s *Slack) allowed(w http.ResponseWriter) bool {
	now := time.Now()
	if last, ok := s.last[s.Channel]; ok && now.Sub(last) < s.rate {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		refuse(w, "ratelimited")
		return false
	}
	s.last[s.Channel] = now
	return true
}

func (s *Slack) valid(w http.ResponseWriter, f url.Values) bool {
	if f.Get("text") == "" && f.Get("blocks") == "" {
		refuse(w, "no_text")
		return false
	}
	if m := f.Get("metadata"); m != "" && !json.Valid([]byte(m)) {
		refuse(w, "invalid_metadata_format")
		return false
	}
	code, problems := CheckMessage(f.Get("text"), []byte(f.Get("blocks")))
	if code != "" {
		refuse(w, code, problems...)
		return false
	}
	return true
}

func (s *Slack) find(ts string) *SlackMessage {
	for i := range s.messages {
		if s.messages[i].TS == ts {
			return &s.messages[i]
		}
	}
	return nil
}

func (s *Slack) update(w http.ResponseWriter, f url.Values) {
	// chat.update takes no channel name.
	if f.Get("channel") != s.Channel {
		refuse(w, "channel_not_found")
		return
	}
	m := s.find(f.Get("ts"))
	if m == nil {
		refuse(w, "message_not_found")
		return
	}
	if !s.valid(w, f) {
		return
	}
	m.Text, m.Blocks, m.Edits = f.Get("text"), json.RawMessage(f.Get("blocks")), m.Edits+1
	reply(w, map[string]any{"channel": s.Channel, "ts": m.TS, "text": m.Text})
}

func (s *Slack) list(w http.ResponseWriter, f url.Values) {
	switch {
	case !s.history:
		reply(w, map[string]any{"ok": false, "error": "missing_scope", "needed": "channels:history", "provided": "chat:write"})
		return
	case f.Get("channel") != s.Channel:
		refuse(w, "channel_not_found")
		return
	}
	var out []map[string]any
	for _, m := range s.messages {
		root := f.Get("ts")
		if m.TS <= f.Get("oldest") || (root == "" && m.ThreadTS != "" && !m.Broadcast) || (root != "" && m.ThreadTS != root && m.TS != root) {
			continue
		}
		e := map[string]any{"type": "message", "ts": m.TS, "text": m.Text, "bot_id": "B000"}
		if f.Get("include_all_metadata") == "1" && len(m.Metadata) > 0 {
			e["metadata"] = m.Metadata
		}
		out = append(out, e)
	}
	slices.Reverse(out)
	reply(w, map[string]any{"messages": out, "has_more": false})
}

// hook is an incoming webhook: plain text answers.
func (s *Slack) hook(w http.ResponseWriter, r *http.Request) {
	say := func(code int, text string) {
		w.WriteHeader(code)
		_, _ = w.Write([]byte(text))
	}
	var m struct {
		Text   string          `json:"text"`
		Blocks json.RawMessage `json:"blocks"`
	}
	switch {
	case r.URL.Path != s.HookPath():
		say(http.StatusNotFound, "no_service")
	case json.NewDecoder(r.Body).Decode(&m) != nil:
		say(http.StatusBadRequest, "invalid_payload")
	case m.Text == "" && len(m.Blocks) == 0:
		say(http.StatusBadRequest, "no_text")
	default:
		if code, _ := CheckMessage(m.Text, m.Blocks); code != "" {
			say(http.StatusBadRequest, code)
			return
		}
		if s.allowed(w) {
			s.add(SlackMessage{Text: m.Text, Blocks: m.Blocks})
			say(http.StatusOK, "ok")
		}
	}
}

func reply(w http.ResponseWriter, fields map[string]any) {
	out := map[string]any{"ok": true}
	maps.Copy(out, fields)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(out)
}

func refuse(w http.ResponseWriter, code string, problems ...string) {
	out := map[string]any{"ok": false, "error": code}
	if len(problems) > 0 {
		messages := make([]string, len(problems))
		for i, p := range problems {
			messages[i] = "[ERROR] " + p
		}
		out["errors"], out["response_metadata"] = problems, map[string]any{"messages": messages}
	}
	_ = json.NewEncoder(w).Encode(out)
}
