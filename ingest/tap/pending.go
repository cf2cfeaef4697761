package tap

import (
	"container/list"
	"crypto/sha256"
	"encoding/json"
	"strconv"
	"time"
)

// call is a request on its way. What it quotes is already reduced.
type call struct {
	dir       direction
	id        string // as text
	method    string
	kind      string // event type, empty where only an error makes an event
	at        time.Time
	name      string // tool, prompt or task
	uri       string
	args      reduced
	digest    string
	argsBytes int64
	argsDepth int
	cut       bool // the message was too long to keep
	ambiguous bool
	reused    bool // its id was already in use
	cancelled time.Time

	key string
}

func (c *call) held() int { return 512 + len(c.args.raw) + len(c.name) + len(c.uri) + len(c.method) }

// pending pairs requests with responses. Ids are the client's choice, so it is
// bounded by count, bytes and age, and one id may stand for several requests.
// The observer owns it.
type pending struct {
	maxCalls, maxBytes int
	ttl, afterCancel   time.Duration

	byKey map[string][]*list.Element
	order *list.List // of *call, oldest first
	bytes int
}

func newPending(calls, bytes int, ttl time.Duration) *pending {
	return &pending{
		maxCalls: calls, maxBytes: bytes, ttl: ttl, afterCancel: 30 * time.Second,
		byKey: map[string][]*list.Element{}, order: list.New(),
	}
}

// add takes a request and returns those that had to go for it.
func (p *pending) add(c *call) (evicted []*call) {
	for p.order.Len() > 0 && (p.order.Len() >= p.maxCalls || p.bytes+c.held() > p.maxBytes) {
		evicted = append(evicted, p.remove(p.order.Front()))
	}
	c.reused = len(p.byKey[c.key]) > 0
	p.byKey[c.key] = append(p.byKey[c.key], p.order.PushBack(c))
	p.bytes += c.held()
	return evicted
}

// find returns the oldest request of that key.
func (p *pending) find(key string) *call {
	if l := p.byKey[key]; len(l) > 0 {
		return l[0].Value.(*call)
	}
	return nil
}

// take removes and returns the request that a response read at that time can answer.
func (p *pending) take(key string, at time.Time) *call {
	l := p.byKey[key]
	if len(l) == 0 || l[0].Value.(*call).at.After(at) {
		return nil
	}
	return p.remove(l[0])
}

func (p *pending) remove(e *list.Element) *call {
	c := p.order.Remove(e).(*call)
	p.bytes -= c.held()
	l := p.byKey[c.key]
	for i := range l {
		if l[i] == e {
			l = append(l[:i], l[i+1:]...)
			break
		}
	}
	if len(l) == 0 {
		delete(p.byKey, c.key)
	} else {
		p.byKey[c.key] = l
	}
	return c
}

// expire removes what has waited too long.
func (p *pending) expire(now time.Time) (old []*call) {
	for e := p.order.Front(); e != nil; {
		next, c := e.Next(), e.Value.(*call)
		if now.Sub(c.at) > p.ttl || !c.cancelled.IsZero() && now.Sub(c.cancelled) > p.afterCancel {
			old = append(old, p.remove(e))
		}
		e = next
	}
	return old
}

// drain removes everything.
func (p *pending) drain() (all []*call) {
	for p.order.Len() > 0 {
		all = append(all, p.remove(p.order.Front()))
	}
	return all
}

// requestID reads an id: its text, and a key under which 1, 1.0 and "1" are told apart or not as JSON-RPC has it.
func requestID(dir direction, raw json.RawMessage) (text, key string, ok bool) {
	prefix := dir.String() + " "
	var v any
	if len(raw) == 0 || json.Unmarshal(raw, &v) != nil {
		return "", "", false
	}
	switch v := v.(type) {
	case string:
		if len(v) > maxName { // an id is kept for as long as its call
			sum := sha256.Sum256([]byte(v))
			return clip(v, maxName), prefix + "h" + string(sum[:]), true
		}
		return v, prefix + "s" + v, true
	case float64:
		if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
			s := strconv.FormatInt(n, 10)
			return s, prefix + "n" + s, true
		}
		s := strconv.FormatFloat(v, 'f', -1, 64)
		return clip(s, maxName), prefix + "n" + s, true
	}
	return "", "", false
}
