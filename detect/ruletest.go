package detect

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"picket/detect/diag"
)

// TestStart is the event time of at: 0s in rule tests: the border of every
// bucket and pane that a rule may have.
var TestStart = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// TestCase is one test of a rule, with fresh events in arrival order.
type TestCase struct {
	Name   string
	File   string
	Line   int
	Events []TestEvent
	Expect Expect
}

// TestEvent is an event and when it happened, from TestStart. Its Time,
// Claimed, Append, ID and server are set, and Derive was applied; Append is
// the latest time of the events so far, as for one that comes late.
type TestEvent struct {
	At    time.Duration
	Event *Event
}

// Expect is what a test asks for.
type Expect struct {
	Alerts int
	Group  map[string]string // raw values of the group of the alerts; nil: any
	Count  *int              // final count of the last alert; nil: any
}

// maxTestEvents bounds one test.
const maxTestEvents = 20_000

type testDoc struct {
	Name   placed[string] `yaml:"name,required"`
	Events []eventsDoc    `yaml:"events,required"`
	Expect expectDoc      `yaml:"expect,required"`
}

type expectDoc struct {
	Alerts placed[int]           `yaml:"alerts,required"`
	Group  map[string]*yaml.Node `yaml:"group"`
	Count  *int                  `yaml:"count"`
}

type eventsDoc struct {
	At     time.Duration             `yaml:"at"`
	Repeat *placed[int]              `yaml:"repeat"`
	Every  time.Duration             `yaml:"every"`
	Vary   map[string]placed[string] `yaml:"vary"`
	Event  *yaml.Node                `yaml:"event,required"`
}

// Tests returns the rule's tests; every call makes new events.
func (r *Rule) Tests() []TestCase {
	cases := make([]TestCase, len(r.tests))
	for i := range r.tests {
		cases[i] = r.tests[i].build(nil, r)
	}
	return cases
}

// tests checks the tests by building them once.
func (r *ruleLoad) tests() {
	fires, quiet := false, false
	for i := range r.doc.Tests {
		t := &r.doc.Tests[i]
		total := 0
		for _, e := range t.Events {
			if e.Repeat != nil {
				if e.Repeat.n != nil && e.Repeat.v < 1 {
					r.d.Errorf(e.Repeat.n, "repeat is at least 1, found %d", e.Repeat.v)
				}
				total += e.Repeat.v
			}
			if e.At > 24*time.Hour || e.Every > time.Hour {
				r.d.Errorf(e.Event, "a test lasts at most a day")
				return
			}
		}
		if total > maxTestEvents {
			r.d.Errorf(t.Name.n, "a test has at most %d events, found %d", maxTestEvents, total)
			continue
		}
		c := t.build(r.d, r.rule)
		fires, quiet = fires || c.Expect.Alerts > 0, quiet || c.Expect.Alerts == 0
	}
	r.rule.tests = r.doc.Tests
	if !r.opts.Lint {
		return
	}
	at := r.d.Source().At(r.key("id"), "", "")
	if !fires {
		at.Msg = "no test of this rule fires"
		r.warn = append(r.warn, at)
	}
	if !quiet {
		at.Msg = "no test of this rule stays quiet"
		r.warn = append(r.warn, at)
	}
}

func (t *testDoc) build(d *diag.Ctx, rule *Rule) TestCase {
	c := TestCase{Name: t.Name.v, File: rule.File, Expect: Expect{Alerts: t.Expect.Alerts.v, Count: t.Expect.Count}}
	if t.Name.n != nil {
		c.Line = t.Name.n.Line
	}
	checking := d != nil
	if !checking {
		d = diag.NewCtx(diag.Source{})
	}
	if t.Expect.Group != nil {
		c.Expect.Group = map[string]string{}
		for name, n := range t.Expect.Group {
			if _, msg, hint := parseSubject(name); msg != "" {
				d.Report(n, msg, hint)
			}
			c.Expect.Group[name] = n.Value
		}
	}
	arrived := TestStart
	for _, e := range t.Events {
		if e.Event == nil {
			continue
		}
		repeat := 1
		if e.Repeat != nil {
			repeat = max(1, e.Repeat.v)
		}
		every := e.Every
		if every == 0 {
			every = time.Second
		}
		for i := range repeat {
			at := e.At + time.Duration(i)*every
			ev := &Event{Topic: "test", Offset: int64(len(c.Events)), Claimed: TestStart.Add(at)}
			ev.Set(Schema, "picket.event/1")
			ev.Set(ID, "event-"+strconv.Itoa(len(c.Events)))
			ev.Set(ServerName, "server")
			ev.Set(ServerInstance, "server-1")
			b := eventBuilder{d: d, ev: ev}
			b.fields(e.Event, "")
			for name, v := range e.Vary {
				if v.n == nil {
					continue
				}
				b.value(name, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: strings.ReplaceAll(v.v, "%d", strconv.Itoa(i+1)), Line: v.n.Line, Column: v.n.Column})
			}
			if ev.Claimed.After(arrived) {
				arrived = ev.Claimed
			}
			ev.Append = arrived
			ev.Time = ev.Claimed
			ev.Derive()
			c.Events = append(c.Events, TestEvent{At: at, Event: ev})
			if checking {
				break // the others differ in numbers only
			}
		}
	}
	return c
}

// eventBuilder sets an event's fields from YAML, dotted or nested.
type eventBuilder struct {
	d  *diag.Ctx
	ev *Event
}

func (b *eventBuilder) report(n *yaml.Node, msg, hint string) {
	b.d.Report(n, msg, hint)
}

func (b *eventBuilder) fields(n *yaml.Node, prefix string) {
	n = diag.Resolve(n)
	if n.Kind != yaml.MappingNode {
		b.report(n, "expected fields with values, found "+diag.Describe(n), "")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := diag.Resolve(n.Content[i]), diag.Resolve(n.Content[i+1])
		name := prefix + key.Value
		_, isField := FieldByName(name)
		if value.Kind == yaml.MappingNode && !isField && name != "io.findings" {
			b.fields(value, name+".")
			continue
		}
		if name == "io.findings" {
			b.findings(value)
			continue
		}
		if _, msg, hint := parseSubject(name); msg != "" {
			b.report(key, msg, hint)
			continue
		}
		b.value(name, value)
	}
}

func (b *eventBuilder) value(name string, n *yaml.Node) {
	s, msg, hint := parseSubject(name)
	switch {
	case msg != "":
		b.report(n, msg, hint)
	case s.label != "":
		b.ev.SetLabel(s.label, n.Value)
	case s.field.Kind() == Number:
		x, err := strconv.ParseFloat(n.Value, 64)
		if n.Kind != yaml.ScalarNode || err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			b.report(n, fmt.Sprintf("%s is a number, found %s", s, diag.Describe(n)), "")
			return
		}
		b.ev.SetNum(s.field, x)
	case s.field.Kind() == Flag:
		on, err := strconv.ParseBool(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			b.report(n, fmt.Sprintf("%s is true or false, found %s", s, diag.Describe(n)), "")
			return
		}
		b.ev.SetFlag(s.field, on)
	case s.field.Kind() == List:
		b.strings(s.field, n)
	case n.Kind != yaml.ScalarNode || n.Value == "":
		b.report(n, fmt.Sprintf("%s is text, found %s", s, diag.Describe(n)), "")
	default:
		if msg, hint := checkEnum(s, n.Value, modifiers{}); msg != "" {
			b.report(n, msg, hint)
			return
		}
		b.ev.Set(s.field, n.Value)
	}
}

// strings adds every text inside n, as the decoder does with arguments.
func (b *eventBuilder) strings(f Field, n *yaml.Node) {
	n = diag.Resolve(n)
	if n.Kind == yaml.ScalarNode {
		b.ev.Add(f, n.Value)
		return
	}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			continue
		}
		b.strings(f, child)
	}
}

func (b *eventBuilder) findings(n *yaml.Node) {
	var docs []struct {
		Cat   string  `yaml:"cat,required"`
		Rule  string  `yaml:"rule"`
		Dir   string  `yaml:"dir"`
		At    string  `yaml:"at"`
		Score float64 `yaml:"score"`
	}
	b.d.Decode(n, &docs)
	for _, f := range docs {
		b.ev.AddFinding(Finding{Cat: f.Cat, Rule: f.Rule, Dir: f.Dir, At: f.At, Score: f.Score})
	}
}
