package alerting

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"picket/detect"
)

// Message is an incident in words, before any destination's format. Every
// string in it went through Clean.
type Message struct {
	Severity string
	Headline string // severity and title
	Why      string // what happened, with values
	Facts    []Fact // to whom, how much, since when
	Steps    []string
	Ordered  bool     // Steps are numbered
	Evidence []string // one line an event, newest last
	Query    string   // ClickHouse, ready to paste; no event text in it
	Tags     []string
	Footer   string
	Fallback string // one line, for a notification on a phone
	Since    time.Time
}

// Fact is one labelled line.
type Fact struct {
	Label, Value string
	Code         bool // an identifier
	Time         time.Time
	Note         string
}

// Renderer makes Messages. The zero value is ready.
type Renderer struct {
	// Query writes the statement that shows the alert's events to an analyst.
	// It must not contain text from events; nil means EvidenceQuery.
	Query func(detect.Alert) string
}

// budget is how much of each part is shown; detail 0 is the most.
type budget struct{ title, why, steps, evidence, value, query, tags, facts int }

func (r Renderer) budget(detail int) budget {
	b := budget{title: 120, why: 600, steps: 1400, evidence: 6, value: 120, query: 900, tags: 300, facts: 6}
	for range detail {
		b.why, b.steps, b.query, b.tags = b.why*2/3, b.steps*2/3, b.query*2/3, b.tags*2/3
		b.value, b.evidence, b.facts = max(b.value*2/3, 16), max(b.evidence-1, 1), max(b.facts-1, 2)
	}
	return b
}

// Message renders an incident in full; each step of detail above 0 shows less.
func (r Renderer) Message(i Incident, detail int) Message {
	a, b := i.Alert, r.budget(detail)
	title := brief(a.Title, b.title)
	if title == "" {
		title = brief(a.Rule.Title, b.title)
	}
	sev := severityName(a.Severity)
	m := Message{
		Severity: sev,
		Headline: Emoji(sev) + " " + strings.ToUpper(sev) + ": " + title,
		Why:      brief(a.Why, b.why),
		Tags:     tags(a.Rule.Tags, b.tags),
		Since:    since(i),
	}
	m.Facts = facts(i, b)
	m.Steps, m.Ordered = steps(a.Rule.Runbook, b.steps)
	m.Evidence = evidence(a.Evidence, b)
	q := r.Query
	if q == nil {
		q = EvidenceQuery
	}
	// A cut statement is worse than none: it may run and mean something else.
	if m.Query = cleanLines(q(a)); width(m.Query) > b.query {
		m.Query = ""
	}
	m.Footer = strings.Join(slices.DeleteFunc([]string{
		brief(a.Rule.ID, 40), brief(a.Rule.Name, 80), "alert " + brief(a.ID, 40), strings.Join(m.Tags, " "),
	}, func(s string) bool { return s == "" }), "  ·  ")
	m.Fallback = clip(m.Headline+" ("+plural(a.Count, "event")+")", 300)
	return m
}

// Change says in a sentence what is new enough for a reply in the thread, and
// whether it is bad enough to be shown in the channel too. "" is nothing.
func (r Renderer) Change(i Incident) (text string, worse bool) {
	a, t := i.Alert, i.Told
	switch {
	case SeverityRank(a.Severity) > SeverityRank(t.Severity):
		return fmt.Sprintf("Severity rose from %s to %s: %s.", severityName(t.Severity), severityName(a.Severity), brief(a.Why, 300)), true
	case a.ID != t.AlertID:
		return fmt.Sprintf("It goes on: alert %d of this incident, %s in all since %s UTC.",
			i.Alerts, plural(i.Total, "event"), clock(since(i))), false
	case a.Settled && !t.Settled:
		return fmt.Sprintf("Settled: %s between %s and %s UTC. This count is final.", plural(a.Count, "event"), clock(a.First), clock(a.Last)), false
	}
	return "", false
}

// Emoji is the coloured disc of a severity.
func Emoji(severity string) string {
	switch severity {
	case "critical":
		return "🔴"
	case "high":
		return "🟠"
	case "medium":
		return "🟡"
	case "low":
		return "🔵"
	}
	return "⚪"
}

func severityName(s string) string {
	if slices.Contains(severities[:], s) {
		return s
	}
	return "medium"
}

func since(i Incident) time.Time {
	if i.Since.IsZero() || i.Alert.First.Before(i.Since) {
		return i.Alert.First
	}
	return i.Since
}

// labels are words for the fields that rules group by.
var labels = map[string]string{
	"net.ip": "Source address", "net.ip_prefix": "Source network", "net.asn": "Source network", "net.country": "Country",
	"actor.client_id": "Client", "actor.subject": "Person", "actor.token": "Token",
	"mcp.session": "Session", "mcp.handle": "Handle", "mcp.tool": "Tool", "mcp.resource": "Resource",
	"server.name": "Server", "server.instance": "Instance", "trace.trace_id": "Trace",
}

func facts(i Incident, b budget) []Fact {
	a := i.Alert
	var out []Fact
	for n, g := range a.Group {
		if n == b.facts {
			out = append(out, Fact{Label: "Group", Value: fmt.Sprintf("and %d more fields", len(a.Group)-n)})
			break
		}
		label := labels[g.Field]
		if label == "" {
			label = brief(g.Field, 40)
		}
		f := Fact{Label: label, Value: brief(g.Value, b.value), Code: true}
		if g.Key != "" {
			f.Note = "pseudonym, key " + brief(g.Key, 16)
		}
		out = append(out, f)
	}
	if s := distinct(a.Evidence, b, func(e detect.Evidence) string { return e.Server }); s != "" && !grouped(a, "server.name") {
		out = append(out, Fact{Label: "Server", Value: s, Code: true})
	}
	if s := distinct(a.Evidence, b, func(e detect.Evidence) string { return e.Tool }); s != "" && !grouped(a, "mcp.tool") {
		out = append(out, Fact{Label: "Tool", Value: s, Code: true})
	}
	if t := brief(a.Tenant, 64); t != "" {
		out = append(out, Fact{Label: "Tenant", Value: t, Code: true})
	}
	count := plural(a.Count, "event")
	if a.Settled {
		count += " (final)"
	} else {
		count += " so far"
	}
	if w := brief(a.Rule.Window, 16); w != "" && a.Threshold > 1 {
		count += fmt.Sprintf("; fires at %s in %s", number(a.Threshold), w)
	}
	if i.Alerts > 1 {
		count += fmt.Sprintf("; alert %d of this incident, %s in all", i.Alerts, plural(i.Total, "event"))
	}
	first := since(i)
	out = append(out, Fact{Label: "Count", Value: count}, Fact{Label: "Since", Value: stamp(first), Time: first})
	if a.Last.Sub(first) >= time.Second {
		out = append(out, Fact{Label: "Last seen", Value: stamp(a.Last), Note: a.Last.Sub(first).Round(time.Second).String() + " later"})
	}
	return out
}

func grouped(a detect.Alert, field string) bool {
	return slices.ContainsFunc(a.Group, func(g detect.GroupValue) bool { return g.Field == field })
}

func distinct(ev []detect.Evidence, b budget, of func(detect.Evidence) string) string {
	var seen []string
	for _, e := range ev {
		if s := brief(of(e), b.value/2); s != "" && !slices.Contains(seen, s) {
			seen = append(seen, s)
		}
	}
	if len(seen) > 3 {
		return strings.Join(seen[:3], ", ") + fmt.Sprintf(" and %d more", len(seen)-3)
	}
	return strings.Join(seen, ", ")
}

// shown are fields that every line of evidence begins with.
var shown = []string{"type", "outcome", "server.name", "mcp.tool"}

func evidence(ev []detect.Evidence, b budget) []string {
	if len(ev) > b.evidence {
		ev = ev[len(ev)-b.evidence:]
	}
	out := make([]string, 0, len(ev))
	for _, e := range ev {
		parts := []string{e.Time.UTC().Format("15:04:05.000Z")}
		for _, s := range []string{e.Type, e.Outcome, e.Server, e.Tool, e.Finding} {
			if s = brief(s, b.value/3); s != "" {
				parts = append(parts, s)
			}
		}
		most := len(parts) + 4
		for _, c := range e.Context {
			if v := brief(c.Value, b.value/3); v != "" && !slices.Contains(shown, c.Field) && len(parts) < most {
				parts = append(parts, brief(c.Field, 40)+"="+v)
			}
		}
		if s := brief(e.EventID, 64); s != "" {
			parts = append(parts, "id="+s)
		}
		out = append(out, strings.Join(parts, "  "))
	}
	return out
}

var numbered = regexp.MustCompile(`^\d{1,2}[.)]\s+`)

// steps reads a runbook: a numbered list becomes one, and lines that go on are joined.
func steps(runbook string, limit int) (out []string, ordered bool) {
	text := clip(cleanLines(runbook), limit)
	for l := range strings.SplitSeq(text, "\n") {
		l = strings.TrimSpace(l)
		mark := numbered.FindString(l)
		switch {
		case l == "":
		case mark != "":
			ordered = true
			out = append(out, l[len(mark):])
		case ordered:
			out[len(out)-1] += " " + l
		default:
			out = append(out, strings.TrimPrefix(l, "- "))
		}
	}
	return out, ordered
}

func tags(in []string, limit int) []string {
	var out []string
	for _, t := range in {
		t = brief(t, 40)
		if limit -= width(t) + 1; limit < 0 {
			break
		}
		if t != "" {
			out = append(out, t)
		}
	}
	return out
}

// EvidenceQuery selects the alert's evidence by its place in the log. Only
// numbers and times go into it.
func EvidenceQuery(a detect.Alert) string {
	if len(a.Evidence) == 0 {
		return ""
	}
	ev := a.Evidence[max(0, len(a.Evidence)-10):]
	places := make([]string, len(ev))
	from, to := ev[0].Time, ev[0].Time
	for n, e := range ev {
		places[n] = fmt.Sprintf("(%d,%d)", e.Partition, e.Offset)
		if e.Time.Before(from) {
			from = e.Time
		}
		if e.Time.After(to) {
			to = e.Time
		}
	}
	if a.Rule.Window == "" || a.Threshold <= 1 {
		from = from.Add(-detect.MaxPast) // evidence that came late has the time of its arrival, the row its own
	}
	// The times let ClickHouse skip most of the table; it keeps milliseconds, cut as here.
	const ms = "2006-01-02 15:04:05.000"
	return "SELECT * FROM picket.events\nWHERE time BETWEEN '" + from.UTC().Format(ms) + "' AND '" + to.UTC().Format(ms) + "'\n" +
		"  AND (kafka_partition, kafka_offset) IN (" + strings.Join(places, ", ") + ")\nORDER BY time FORMAT Vertical"
}

func plural(n uint64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func number(f float64) string { return fmt.Sprintf("%g", f) }

func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

func stamp(t time.Time) string { return t.UTC().Format("Mon 2 Jan 2006 15:04:05") + " UTC" }
