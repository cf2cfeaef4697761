package alerting

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed preview.html
var previewHTML string

// PreviewOptions configure a Preview; the zero value is ready.
type PreviewOptions struct {
	Keep     int  // messages, 200 by default
	Copy     bool // other destinations are configured: the page does not say that nothing was sent
	Renderer Renderer
}

// Preview is the destination for someone without credentials: it keeps the last
// messages in memory and, as an http.Handler, shows them as Slack would, at
// /preview, and as JSON at /preview.json. Nothing leaves the process. It edits
// and replies in threads the way Slack does. It is safe for use by several
// goroutines.
type Preview struct {
	render Renderer
	keep   int
	copy   bool
	page   *template.Template

	mu      sync.Mutex
	version int
	next    int
	posts   []*previewPost // oldest first
	byKey   map[string]*previewPost
}

// previewPost is one message in the channel with its thread.
type previewPost struct {
	ID       string         `json:"id"`
	Incident string         `json:"incident"`
	Severity string         `json:"severity"`
	Posted   time.Time      `json:"posted"`
	Edits    int            `json:"edits"`
	Edited   time.Time      `json:"edited,omitzero"`
	Text     string         `json:"text"`
	Alert    string         `json:"alert"`
	Rule     string         `json:"rule"`
	Count    uint64         `json:"count"`
	Settled  bool           `json:"settled"`
	Replies  []previewReply `json:"replies,omitempty"`
	Blocks   any            `json:"blocks"`

	message Message
}

type previewReply struct {
	Posted time.Time `json:"posted"`
	Text   string    `json:"text"`
}

// NewPreview starts with an empty channel.
func NewPreview(o PreviewOptions) *Preview {
	p := &Preview{render: o.Renderer, keep: o.Keep, copy: o.Copy, byKey: map[string]*previewPost{}}
	if p.keep <= 0 {
		p.keep = 200
	}
	p.page = template.Must(template.New("preview").Funcs(template.FuncMap{
		"clock": func(t time.Time) string { return t.Format("15:04") },
		"full":  func(t time.Time) string { return t.Format("Mon 2 Jan 2006, 15:04:05 MST") },
		"iso":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"upper": strings.ToUpper,
	}).Parse(previewHTML))
	return p
}

// Name implements Destination.
func (p *Preview) Name() string { return "preview" }

// Send implements Destination; it cannot fail.
func (p *Preview) Send(_ context.Context, i Incident) (Receipt, error) {
	m, blocks := p.render.fit(i)
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.version++
	post := p.byKey[i.Thread]
	switch {
	case post != nil && post.Incident != i.Key:
		post = nil // a thread of an earlier process
	case post == nil && i.Unsure:
		post = p.sameAlert(i)
	}
	if post == nil {
		p.next++
		post = &previewPost{ID: strconv.Itoa(p.next), Incident: i.Key, Posted: now}
		p.posts, p.byKey[post.ID] = append(p.posts, post), post
		if len(p.posts) > p.keep {
			delete(p.byKey, p.posts[0].ID)
			p.posts = p.posts[1:]
		}
	} else {
		post.Edits++
		post.Edited = now
		if text, _ := p.render.Change(i); text != "" && i.Update {
			post.Replies = append(post.Replies, previewReply{now, text})
			post.Replies = post.Replies[max(0, len(post.Replies)-20):]
		}
	}
	post.message, post.Severity, post.Text, post.Blocks = m, m.Severity, m.Fallback, blocks
	post.Alert, post.Rule, post.Count, post.Settled = Clean(i.Alert.ID), Clean(i.Alert.Rule.ID), i.Alert.Count, i.Alert.Settled
	return Receipt{Thread: post.ID, ID: post.ID, Note: "preview only"}, nil
}

func (p *Preview) sameAlert(i Incident) *previewPost {
	for _, post := range p.posts {
		if post.Incident == i.Key && post.Alert == Clean(i.Alert.ID) {
			return post
		}
	}
	return nil
}

// Len is how many messages the channel shows, threads counted once.
func (p *Preview) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.posts)
}

// ServeHTTP serves the page, the feed that it refreshes itself with, and JSON.
func (p *Preview) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	switch r.URL.Path {
	case "/preview", "/preview/":
		nonce := rand.Text()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+nonce+"'; script-src 'nonce-"+nonce+
			"'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		p.html(w, "page", nonce)
	case "/preview/feed":
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		p.mu.Lock()
		tag := fmt.Sprintf(`"%d"`, p.version)
		p.mu.Unlock()
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		p.html(w, "feed", "")
	case "/preview.json":
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		p.json(w)
	default:
		http.NotFound(w, r)
	}
}

// html renders to memory first: a half-written page would look like a whole one.
func (p *Preview) html(w http.ResponseWriter, name, nonce string) {
	p.mu.Lock()
	views := make([]previewView, len(p.posts))
	replies := 0
	for i, post := range p.posts {
		views[i] = view(post)
		replies += len(post.Replies)
	}
	tag := fmt.Sprintf(`"%d"`, p.version)
	p.mu.Unlock()
	var b bytes.Buffer
	err := p.page.ExecuteTemplate(&b, name, map[string]any{"Nonce": nonce, "Copy": p.copy, "Posts": views, "Messages": len(views), "Replies": replies})
	if err != nil {
		http.Error(w, "the preview page could not be rendered", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("ETag", tag)
	_, _ = w.Write(b.Bytes())
}

func (p *Preview) json(w http.ResponseWriter) {
	p.mu.Lock()
	raw, err := json.MarshalIndent(map[string]any{"schema": "picket.preview/1", "sent": p.copy, "messages": p.posts}, "", "  ")
	p.mu.Unlock()
	if err != nil {
		http.Error(w, "the preview could not be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(raw, '\n'))
}

// previewView is a post as the template wants it; it shares nothing with the post. The
// severity's disc is drawn by the page: not every machine has a font with it.
type previewView struct {
	ID, Severity, Headline, Why, Query, Footer string
	Facts                                      []Fact
	Steps, Evidence                            []string
	Ordered, Settled                           bool
	Posted, Edited                             time.Time
	Edits                                      int
	Replies                                    []previewReply
	LastReply                                  time.Time
}

func view(p *previewPost) previewView {
	m := p.message
	v := previewView{
		ID: p.ID, Severity: m.Severity, Headline: strings.TrimPrefix(clip(m.Headline, 150), Emoji(m.Severity)+" "), Why: m.Why, Query: m.Query, Footer: m.Footer, Facts: m.Facts,
		Steps: m.Steps, Evidence: m.Evidence, Ordered: m.Ordered, Settled: p.Settled, Posted: p.Posted, Edited: p.Edited, Edits: p.Edits,
		Replies: append([]previewReply(nil), p.Replies...),
	}
	if n := len(v.Replies); n > 0 {
		v.LastReply = v.Replies[n-1].Posted
	}
	return v
}
