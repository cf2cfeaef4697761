package detect

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"picket/detect/diag"
)

func (r *ruleLoad) exceptions() {
	var parts []string
	names := map[string]bool{}
	for i, x := range r.doc.Exceptions {
		name := x.Name.v
		switch {
		case x.Name.n == nil:
			name = "exception " + strconv.Itoa(i+1)
		case strings.TrimSpace(name) == "":
			r.d.Report(x.Name.n, "is empty", "name what is excepted, or leave the name out")
		case names[name]:
			r.d.Errorf(x.Name.n, "exception %q is given twice", name)
		}
		names[name] = true
		if x.Reason.n != nil && strings.TrimSpace(x.Reason.v) == "" {
			r.d.Report(x.Reason.n, "an exception needs a reason", "say why these events are fine")
		}
		if x.Match == nil {
			continue
		}
		m := r.c.selection(x.Match)
		known := Exception{Name: name, Reason: x.Reason.v, Expires: x.Expires.v}
		until := int64(0)
		if x.Expires.n != nil && !x.Expires.v.IsZero() {
			end := x.Expires.v
			if end.Equal(end.Truncate(24 * time.Hour)) {
				end = end.AddDate(0, 0, 1) // a date means until the day is over
			}
			until = end.UnixNano()
			known.end = end
			if !r.opts.Now.IsZero() && known.Expired(r.opts.Now) {
				r.warn = append(r.warn, r.d.Source().At(x.Expires.n, fmt.Sprintf("exception %q expired on %s", name, x.Expires.v.Format(time.DateOnly)), "renew the date or remove the exception"))
			}
		}
		r.rule.Exceptions = append(r.rule.Exceptions, known)
		r.rule.program.except = append(r.rule.program.except, exception{m.pred, until})
		parts = append(parts, fmt.Sprintf("%s until %d", m.canon, until))
	}
	slices.Sort(parts)
	r.meaning("except %s", strings.Join(parts, "; "))
}

func (r *ruleLoad) lists() {
	for name, l := range r.c.lists {
		if l.used || r.doc.Lists[name].nodes == nil {
			continue
		}
		r.d.Report(r.key("lists"), fmt.Sprintf("list %q is not used", name), "ask for it with field|list: "+name)
	}
}

func (r *ruleLoad) alert() {
	rule, doc := r.rule, &r.doc.Alert
	rule.Title = doc.Title.v
	known, perhaps := []string{"count", "value", "window", "threshold"}, []string(nil)
	if len(rule.GroupBy) > 0 {
		known = append(known, "group")
	}
	for _, t := range rule.GroupBy {
		if names := t.names(); len(names) == 1 {
			known = append(known, names...)
		} else {
			perhaps = append(perhaps, names...)
		}
	}
	for _, v := range titleVar.FindAllString(doc.Title.v, -1) {
		name := strings.Trim(v, "{}")
		if !slices.Contains(known, name) {
			hint := diag.Suggest(name, known)
			if slices.Contains(perhaps, name) {
				hint = "of coalesce, an alert has the first field that is there: {{group}} is its name and its value"
			} else if _, ok := FieldByName(strings.TrimSpace(name)); ok {
				hint = "only fields of group_by have one value in an alert"
			}
			r.d.Report(doc.Title.n, fmt.Sprintf("unknown placeholder %s", v), hint)
		}
	}
	for _, f := range doc.Context {
		s, ok := r.c.subject(f.n, f.v)
		switch {
		case !ok:
		case s.label != "":
			r.d.Errorf(f.n, "alert.context takes fields, not labels")
		case s.field.Info().Privacy == Dropped:
			r.d.Errorf(f.n, "%s is dropped after matching: it cannot be shown", s)
		default:
			rule.Context = append(rule.Context, s.field)
		}
	}
}

func (r *ruleLoad) unique() {
	if id := r.doc.ID; id.n != nil && id.v != "" {
		if other := r.loader.ids[id.v]; other != nil {
			hint := ""
			if strings.HasPrefix(other.File, "builtin:") {
				hint = "to replace the pack's, give yours another id and name, and set rules.disabled: [" + id.v + "]"
			}
			r.d.Report(id.n, fmt.Sprintf("rule id %s is already used at %s:%d", id.v, other.File, other.Line), hint)
		} else {
			r.loader.ids[id.v] = r.rule
		}
	}
	if name := r.doc.Name; name.n != nil && name.v != "" {
		if other := r.loader.names[name.v]; other != nil {
			r.d.Errorf(name.n, "rule name %s is already used at %s:%d", name.v, other.File, other.Line)
		} else {
			r.loader.names[name.v] = r.rule
		}
	}
}
