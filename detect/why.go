package detect

import (
	"fmt"
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
	}
	who := groupText(a.Group)
	switch {
	case d.Kind == DetectScore:
		return fmt.Sprintf("an event scored %s%s (fires at %s)", number(a.Value), who, number(d.Threshold))
	case d.single():
		if a.Count == 1 {
			return "one matching event" + who
		}
		return fmt.Sprintf("%d matching events%s since %s", a.Count, who, a.BucketStart.Format("15:04 UTC"))
	case d.Kind == DetectDistinct:
		return fmt.Sprintf("%s different %s%s%s (fires at %s)", number(a.Value), d.Field, who, window, number(d.Threshold))
	case d.Kind == DetectSum:
		return fmt.Sprintf("%s summed to %s%s%s (fires at %s)", d.Field, number(a.Value), who, window, number(d.Threshold))
	}
	return fmt.Sprintf("%s matching events%s%s (fires at %s)", number(a.Value), who, window, number(d.Threshold))
}

func groupText(g []GroupValue) string {
	if len(g) == 0 {
		return ""
	}
	parts := make([]string, len(g))
	for i, v := range g {
		parts[i] = v.Field + " " + v.Value
	}
	return " from " + strings.Join(parts, ", ")
}

// fillTitle replaces {{count}}, {{value}}, {{window}}, {{threshold}} and group fields in the rule's title.
func fillTitle(r *Rule, a *Alert) string {
	if r.Title == "" {
		return r.Info.Title
	}
	pairs := []string{
		"{{count}}", strconv.FormatUint(a.Count, 10), "{{value}}", number(a.Value),
		"{{window}}", Span(r.Detector.Window), "{{threshold}}", number(r.Detector.Threshold),
	}
	for _, v := range a.Group {
		pairs = append(pairs, "{{"+v.Field+"}}", v.Value)
	}
	return strings.NewReplacer(pairs...).Replace(r.Title)
}

func number(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// Span writes a duration as rules do: 5m, 1h, 90s.
func Span(d time.Duration) string {
	switch {
	case d == 0:
		return "0s"
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d%time.Second == 0:
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return d.String()
}
