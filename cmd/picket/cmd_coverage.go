package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"

	"picket/detect"
)

// coverageRow is what --json prints of a rule's tests.
type coverageRow struct {
	Rule      string        `json:"rule"`
	File      string        `json:"file"`
	Line      int           `json:"line"`
	Fire      int           `json:"fire"`
	Quiet     int           `json:"quiet"`
	Failed    int           `json:"failed"`
	Parts     int           `json:"parts"`
	Decided   int           `json:"decided"`
	Undecided []coveredPart `json:"undecided"`
}

type coveredPart struct {
	Where   string `json:"where"`
	Text    string `json:"text"`
	Value   string `json:"value,omitempty"`
	Instead string `json:"instead,omitempty"`
	Missing string `json:"missing"` // the kind of test that would notice: fire or quiet
}

func coverageOf(c *detect.Coverage) coverageRow {
	row := coverageRow{
		Rule: c.Rule.Info.ID, File: c.Rule.File, Line: c.Rule.Line, Fire: c.Fire, Quiet: c.Quiet, Failed: c.Failed,
		Parts: len(c.Parts), Undecided: []coveredPart{},
	}
	for _, p := range c.Parts {
		if p.Decided {
			row.Decided++
			continue
		}
		row.Undecided = append(row.Undecided, coveredPart{p.Where, p.Text, p.Value, p.Instead, map[bool]string{true: "quiet", false: "fire"}[p.Looser]})
	}
	return row
}

// maxUndecided is of how many rules a person is shown the parts.
const maxUndecided = 10

// showCoverage prints which rules lack tests, and which of their parts no test would miss.
func (e *env) showCoverage(all []detect.Coverage, asJSON, strict bool) error {
	lacking, failed, parts, decided := 0, 0, 0, 0
	rows := make([]coverageRow, len(all))
	for i := range all {
		rows[i] = coverageOf(&all[i])
		parts += rows[i].Parts
		decided += rows[i].Decided
		failed += rows[i].Failed
		if rows[i].Fire == 0 || rows[i].Quiet == 0 {
			lacking++
		}
	}
	if asJSON {
		enc := json.NewEncoder(e.stdout)
		for i := range rows {
			if err := enc.Encode(&rows[i]); err != nil {
				return fmt.Errorf("print the coverage of %s: %w", rows[i].Rule, err)
			}
		}
	} else {
		w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "RULE\tFIRE\tQUIET\tPARTS DECIDED")
		for i := range rows {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d of %d", rows[i].Rule, rows[i].Fire, rows[i].Quiet, rows[i].Decided, rows[i].Parts)
			if lacks := rows[i].lacks(); lacks != "" {
				fmt.Fprint(w, "\t"+lacks)
			}
			fmt.Fprintln(w)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		shown, more, next := 0, 0, ""
		for i := range rows {
			switch {
			case len(rows[i].Undecided) == 0 || rows[i].Fire+rows[i].Quiet == 0:
			case shown == maxUndecided:
				more, next = more+1, rows[i].Rule
			default:
				shown++
				e.showUndecided(&rows[i])
			}
		}
		if more > 0 {
			fmt.Fprintf(e.stdout, "\n%s more with such parts: --run '^%s$' shows those of one, --json all\n", count(more, "rule"), next)
		}
		fmt.Fprintf(e.stdout, "\n%s, %d without a test that fires or one that stays quiet; tests decide %d of %d parts\n", count(len(rows), "rule"), lacking, decided, parts)
	}
	switch {
	case len(rows) == 0:
		return &exitError{exitFailure, errors.New("no rule was looked at: --run matches none")}
	case failed > 0:
		return &exitError{exitFailure, fmt.Errorf("%s failed: 'picket test' shows them", count(failed, "test"))}
	case strict && lacking > 0:
		return &exitError{exitFailure, fmt.Errorf("%s without a test that fires or one that stays quiet", count(lacking, "rule"))}
	}
	return nil
}

// lacks says why a rule's parts were not looked at, or which kind of test it has none of.
func (r *coverageRow) lacks() string {
	switch {
	case r.Failed > 0:
		return count(r.Failed, "test") + " failed"
	case r.Fire+r.Quiet == 0:
		return "no tests"
	case r.Fire == 0:
		return "nothing fires"
	case r.Quiet == 0:
		return "nothing stays quiet"
	}
	return ""
}

// showUndecided prints what no test of a rule would miss, by the kind of test that would.
func (e *env) showUndecided(r *coverageRow) {
	fmt.Fprintf(e.stdout, "\n%s  %s:%d\n", r.Rule, r.File, r.Line)
	for _, kind := range []struct{ missing, head string }{{"fire", "no test fires only because of"}, {"quiet", "no test stays quiet only because of"}} {
		head := "  " + kind.head + "\n"
		for i := 0; i < len(r.Undecided); i++ {
			p := r.Undecided[i]
			if p.Missing != kind.missing {
				continue
			}
			for ; p.Value != "" && i+1 < len(r.Undecided) && r.Undecided[i+1].sameList(&p); i++ {
				p.Value += ", " + r.Undecided[i+1].Value
			}
			fmt.Fprintf(e.stdout, "%s    %s\n", head, escape([]byte(p.line())))
			head = ""
		}
	}
}

func (p *coveredPart) sameList(q *coveredPart) bool {
	return p.Value != "" && p.Where == q.Where && p.Text == q.Text && p.Missing == q.Missing
}

func (p *coveredPart) line() string {
	const longest = 120 // lists are long; --json has all of it
	line := p.Text
	if p.Value != "" {
		line += ": " + p.Value
	}
	if r := []rune(line); len(r) > longest {
		line = string(r[:longest]) + "..."
	}
	if p.Where != "match" && p.Where != "detector" {
		line = p.Where + ": " + line
	}
	if p.Instead != "" {
		line += " (" + p.Instead + " passes too)"
	}
	return line
}
