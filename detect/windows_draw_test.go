package detect

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// cond is a random selection: as a rule says it, and as anybody would read it.
type cond struct {
	text  string
	holds func(*Event) bool
}

var always = cond{"{type: authentication}", textIs(Type, func(s string) bool { return s == "authentication" })}

// spec is a random rule.
type spec struct {
	id, feature string
	mode        string
	match       *cond
	where       *cond
	except      []cond // in force
	over        []cond // expired
	group       grouping
	window      time.Duration
	pane        time.Duration
	suppress    time.Duration
	detector    part

	roles []role
	inner string // YAML of the detector
}

// role is one way in which an event can belong to a rule.
type role struct {
	holds  func(*Event) bool
	silent bool  // it is no matching event
	from   *spec // whose completions have it instead
}

type grouping struct {
	text  string
	terms [][]Field // the first of each that is there
}

var groupings = []grouping{
	{"[net.ip]", [][]Field{{NetIP}}},
	{"[net.ip]", [][]Field{{NetIP}}},
	{"[server.name]", [][]Field{{ServerName}}},
	{"[server.name, net.ip]", [][]Field{{ServerName}, {NetIP}}},
	{"[{coalesce: [mcp.tool, net.ip]}]", [][]Field{{MCPTool, NetIP}}},
	{"", nil},
}

// part is one detector; its events have the roles from first on.
type part struct {
	kind       DetectorKind
	first      int
	need       float64
	field      Field // NumFields: the categories of findings in direction dir
	dir        string
	min, total float64
	steps      []stepSpec
	ordered    bool
	until      bool
	compare    []Field // the steps from joint on have the same
	joint      int
	cased      bool
	after      bool
	of         []part
	weights    []float64 // of a score
	weighted   []cond
}

type stepSpec struct{ count int }

// drawing makes rules.
type drawing struct {
	*rapid.T
	groups []grouping
	made   []*spec
}

func (d drawing) n(low, high int) int          { return rapid.IntRange(low, high).Draw(d.T, "n") }
func (d drawing) one(in int) bool              { return d.n(1, in) == 1 }
func pick[T any](d drawing, from ...T) T       { return from[d.n(0, len(from)-1)] }
func (d drawing) seconds(s ...int) (w seconds) { return seconds(pick(d, s...)) }

type seconds int

func (s seconds) String() string          { return fmt.Sprintf("%ds", int(s)) }
func (s seconds) duration() time.Duration { return time.Duration(s) * time.Second }

func textIs(f Field, ok func(string) bool) func(*Event) bool {
	return func(ev *Event) bool { return ev.Has(f) && ok(ev.text[f]) }
}

// atom is one test of one field. An absent field matches nothing but exists: false.
func (d drawing) atom() cond {
	switch d.n(0, 9) {
	case 0, 1, 2:
		in := pick(d, []string{"failure"}, []string{"denied"}, []string{"success"}, []string{"failure", "denied"}, []string{"denied", "success"})
		return cond{"{outcome: [" + strings.Join(in, ", ") + "]}", textIs(Outcome, func(s string) bool { return slices.Contains(in, s) })}
	case 3:
		s, neq := pick(d, "a", "b"), d.one(2)
		return cond{"{server.name" + modifier(neq, "|neq") + ": " + s + "}", textIs(ServerName, func(x string) bool { return (x == s) != neq })}
	case 4, 5:
		op, x := pick(d, "gt", "gte", "lt", "lte"), float64(d.n(20, 180))
		return cond{fmt.Sprintf("{io.result_bytes|%s: %g}", op, x), func(ev *Event) bool {
			n, ok := ev.Num(IOResultBytes)
			return ok && map[string]bool{"gt": n > x, "gte": n >= x, "lt": n < x, "lte": n <= x}[op]
		}}
	case 6:
		op, s := pick(d, "contains", "startswith", "endswith"), pick(d, "c", "C1", "2", "3")
		test := map[string]func(s, part string) bool{"contains": strings.Contains, "startswith": strings.HasPrefix, "endswith": strings.HasSuffix}[op]
		return cond{"{actor.client_id|" + op + ": '" + s + "'}", textIs(ActorClientID, func(x string) bool { return test(strings.ToLower(x), strings.ToLower(s)) })}
	case 7:
		on := d.one(2)
		return cond{fmt.Sprintf("{mcp.tool|exists: %t}", on), func(ev *Event) bool { return ev.Has(MCPTool) == on }}
	case 8:
		on := d.one(2)
		return cond{fmt.Sprintf("{mcp.is_error: %t}", on), func(ev *Event) bool { return ev.Has(MCPIsError) && ev.Flag(MCPIsError) == on }}
	}
	neq := d.one(2)
	prefix := netip.MustParsePrefix("10.0.0.0/31")
	return cond{"{net.ip|cidr" + modifier(neq, "|neq") + ": 10.0.0.0/31}", textIs(NetIP, func(s string) bool { return prefix.Contains(netip.MustParseAddr(s)) != neq })}
}

func modifier(on bool, text string) string {
	if on {
		return text
	}
	return ""
}

// cond nests.
func (d drawing) cond(depth int) cond {
	if depth == 0 || d.n(0, 9) < 6 {
		return d.atom()
	}
	a := d.cond(depth - 1)
	if d.one(4) {
		return cond{"{not: " + a.text + "}", func(ev *Event) bool { return !a.holds(ev) }}
	}
	b := d.cond(depth - 1)
	if d.one(3) {
		return cond{"{all: [" + a.text + ", " + b.text + "]}", func(ev *Event) bool { return a.holds(ev) && b.holds(ev) }}
	}
	return cond{"{any: [" + a.text + ", " + b.text + "]}", func(ev *Event) bool { return a.holds(ev) || b.holds(ev) }}
}

// often is a selection that most events pass, for what needs many.
func (d drawing) often() cond {
	if d.one(2) {
		return always
	}
	a := d.cond(1)
	return cond{"{any: [" + a.text + ", {io.result_bytes|gt: 60}]}", func(ev *Event) bool {
		n, ok := ev.Num(IOResultBytes)
		return a.holds(ev) || ok && n > 60
	}}
}

func (d drawing) maybe(in int) *cond {
	if !d.one(in) {
		return nil
	}
	c := d.often()
	return &c
}

func (c *cond) and(text string) string {
	if c == nil {
		return text
	}
	return "match: " + c.text + ", " + text
}

// all joins what is there.
func all(conds ...*cond) func(*Event) bool {
	return func(ev *Event) bool {
		for _, c := range conds {
			if c != nil && !c.holds(ev) {
				return false
			}
		}
		return true
	}
}

// where is an expression. An event that lacks a field named in it does not match.
func (d drawing) where() *cond {
	x := float64(d.n(10, 60))
	c := pick(d,
		cond{fmt.Sprintf("io.result_bytes > %g", x), func(ev *Event) bool { n, ok := ev.Num(IOResultBytes); return ok && n > x }},
		cond{fmt.Sprintf("server.name == \"a\" or io.result_bytes > %g", x), func(ev *Event) bool {
			n, ok := ev.Num(IOResultBytes)
			return ok && ev.Has(ServerName) && (ev.text[ServerName] == "a" || n > x)
		}},
		cond{"not (actor.client_id endsWith \"4\")", textIs(ActorClientID, func(s string) bool { return !strings.HasSuffix(s, "4") })},
	)
	return &c
}

func (s *spec) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "{schema: rule/v1, id: %s, name: t.%s, title: t, severity: high, mode: %s", s.id, strings.ToLower(strings.ReplaceAll(s.id, "-", "")), s.mode)
	if s.match != nil {
		b.WriteString(", match: " + s.match.text)
	}
	if s.where != nil {
		fmt.Fprintf(&b, ", where: '%s'", s.where.text)
	}
	var except []string
	for i, c := range slices.Concat(s.except, s.over) {
		year := 2099
		if i >= len(s.except) {
			year = 2020
		}
		except = append(except, fmt.Sprintf("{name: x%d, match: %s, reason: known, expires: %d-01-01}", i, c.text, year))
	}
	if except != nil {
		b.WriteString(", exceptions: [" + strings.Join(except, ", ") + "]")
	}
	if s.group.text != "" {
		b.WriteString(", group_by: " + s.group.text)
	}
	if s.suppress != 0 {
		fmt.Fprintf(&b, ", suppress: {for: %s}", s.suppress)
	}
	b.WriteString(", " + s.inner + "}\n")
	return strings.ReplaceAll(b.String(), ", , ", ", ")
}
