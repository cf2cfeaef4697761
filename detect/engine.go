package detect

import "time"

// Engine is the whole of detection in one place, for rule tests and replay: the
// same matcher, collector and windows that the roles run, without topics
// between them. One goroutine owns it.
type Engine struct {
	keys    Keys
	matcher *Matcher
	scanner *Scanner
	collect *Collector
	decoder SignalDecoder
	windows *Windows
	matches []Match
	next    int64
}

// NewEngine makes an engine for a rule set.
func NewEngine(rs *RuleSet, keys Keys, lateness time.Duration, opts WindowOptions) *Engine {
	return &Engine{
		keys: keys, matcher: NewMatcher(rs), scanner: NewScanner(), collect: NewCollector(rs, keys),
		windows: NewWindows(rs, keys, lateness, opts),
	}
}

// Observe takes one event as it was decoded (stamped and derived), redacts it, and
// appends the alerts that it makes or updates. keepLabel is Redact's.
func (e *Engine) Observe(dst []Alert, ev *Event, keepLabel func(string) bool) []Alert {
	e.scanner.Scan(ev)
	e.matches = e.matcher.Match(e.matches[:0], ev)
	ev.RedactLater(e.keys, keepLabel) // after the scan, whose findings become public too
	e.collect.Add(ev, e.matches)
	for _, p := range e.collect.Packs(0, e.next, e.next+1, 1) {
		signals, _, err := e.decoder.Decode(p.Record)
		if err != nil {
			panic(err) // it was written the line before
		}
		for i := range signals {
			dst = e.windows.Observe(dst, &signals[i])
		}
	}
	e.next++
	return dst
}

// Settle moves time to the watermark and appends the last updates.
func (e *Engine) Settle(dst []Alert, watermark time.Time) []Alert {
	return e.windows.Settle(dst, watermark)
}
