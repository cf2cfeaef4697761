package detect

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// why says in one sentence what completed the rule, with values.
func why(r *Rule, a *Alert) string {
	d := &r.Detector
	window := ""
	if d.Window > 0 {
		window = " within " + Span(d.Window)
		if d.Resolution > 0 {
			window += " (to " + Span(d.Resolution) + ")"
		}
	}
	who := groupText(a.Group)
	switch {
	case d.Kind == DetectSequence:
		return "the steps " + stepsText(d) + who + window
	case d.Kind == DetectRatio:
		return fmt.Sprintf("%s %% of the matching events%s%s (fires at %s %%)", number(percent(a.Value)), who, window, number(percent(d.Threshold)))
	case d.Kind == DetectAbsence:
		return "nothing" + who + " for " + Span(d.Window)
	case d.Kind == DetectAll || d.Kind == DetectAny:
		parts := make([]string, len(d.Parts))
		for i := range d.Parts {
			parts[i] = partText(&d.Parts[i])
		}
		return strings.Join(parts, map[bool]string{true: " and ", false: " or "}[d.Kind == DetectAll]) + who + window
	case d.Kind == DetectScore:
		return fmt.Sprintf("an event scored %s%s (fires at %s)", number(a.Value), who, number(d.Threshold))
	case d.single():
		if a.Count == 1 {
			return "one matching event" + who
		}
		return fmt.Sprintf("%d matching events%s since %s", a.Count, who, a.First.UTC().Format("15:04 UTC"))
	case d.Kind == DetectDistinct:
		name := "kinds of findings"
		if d.Field != NumFields {
			name = "different " + d.Field.String()
		}
		return fmt.Sprintf("%s %s%s%s (fires at %s)", number(a.Value), name, who, window, number(d.Threshold))
	case d.Kind == DetectSum:
		return fmt.Sprintf("%s summed to %s%s%s (fires at %s)", d.Field, number(a.Value), who, window, number(d.Threshold))
	}
	return fmt.Sprintf("%s matching events%s%s (fires at %s)", number(a.Value), who, window, number(d.Threshold))
}

// Summary says in one sentence when the rule fires, and for whom.
func (r *Rule) Summary() string {
	s := r.Fires()
	for i, t := range r.GroupBy {
		s += map[bool]string{true: ", for each ", false: " and "}[i == 0] + t.String()
	}
	return s
}

// Fires says what completes the rule for a group.
func (r *Rule) Fires() string {
	d := &r.Detector
	s := partText(d)
	switch {
	case d.Kind == DetectAll || d.Kind == DetectAny:
		parts := make([]string, len(d.Parts))
		for i := range d.Parts {
			parts[i] = partText(&d.Parts[i])
		}
		s = strings.Join(parts, map[bool]string{true: " and ", false: " or "}[d.Kind == DetectAll])
	case d.Kind == DetectScore:
		s = "one event that scores " + number(d.Threshold) + " or more"
	case d.Kind == DetectRatio:
		s = number(max(d.Min, 1)) + " or more events that are at least " + s
	case d.Kind == DetectSequence && d.Until:
		s += ", with nothing between that undoes it"
	case d.Kind == DetectAbsence && d.After:
		s = "an event that the expected one does not follow"
	case d.Kind == DetectAbsence:
		s = "a matching event that no other follows"
	case d.single():
		s = "every matching event"
	}
	if d.Window > 0 {
		s += " within " + Span(d.Window)
	}
	return s
}

func percent(x float64) float64 { return math.Round(x*1000) / 10 }

func stepsText(d *Detector) string {
	var b strings.Builder
	for i := range d.Steps {
		switch {
		case i > 0 && d.Ordered:
			b.WriteString(", then ")
		case i > 0:
			b.WriteString(" and ")
		}
		b.WriteString(d.Steps[i].Name)
		if d.Steps[i].Count > 1 {
			fmt.Fprintf(&b, " (%d times)", d.Steps[i].Count)
		}
	}
	return b.String()
}

func partText(d *Detector) string {
	switch d.Kind {
	case DetectDistinct:
		name := "kinds of findings"
		if d.Field != NumFields {
			name = "different " + d.Field.String()
		}
		return number(d.Threshold) + " or more " + name
	case DetectSum:
		return d.Field.String() + " summing to " + number(d.Threshold)
	case DetectRatio:
		return number(percent(d.Threshold)) + " % of the events"
	case DetectSequence:
		return stepsText(d)
	}
	if d.Threshold <= 1 {
		return "a matching event"
	}
	return number(d.Threshold) + " or more events"
}

func groupText(g []GroupValue) string {
	if len(g) == 0 {
		return ""
	}
	return " from " + valuesText(g)
}

func valuesText(g []GroupValue) string {
	parts := make([]string, len(g))
	for i, v := range g {
		parts[i] = v.Field + " " + v.Value
	}
	return strings.Join(parts, ", ")
}

// fillTitle replaces {{count}}, {{value}}, {{window}}, {{threshold}}, {{group}} and group fields in the rule's title.
func fillTitle(r *Rule, a *Alert) string {
	if r.Title == "" {
		return r.Info.Title
	}
	pairs := []string{
		"{{count}}", strconv.FormatUint(a.Count, 10), "{{value}}", number(a.Value),
		"{{window}}", Span(r.Detector.Window), "{{threshold}}", number(r.Detector.Threshold),
		"{{group}}", valuesText(a.Group),
	}
	for _, v := range a.Group {
		pairs = append(pairs, "{{"+v.Field+"}}", v.Value)
	}
	return strings.NewReplacer(pairs...).Replace(r.Title)
}

func number(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// Span writes a duration as rules and the configuration do: 7d, 1h30m, 5m.
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	if d > 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-len(zero)+1]
		}
	}
	return s
}
