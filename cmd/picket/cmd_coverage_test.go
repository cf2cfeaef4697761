package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"picket/detect"
)

// The parts of many rules at once are nothing to read.
func TestCoverageOfManyRulesIsShort(t *testing.T) {
	var all []detect.Coverage
	for i := range 2 * maxUndecided {
		r := &detect.Rule{File: "r.yaml"}
		r.Info.ID = fmt.Sprintf("XX-%02d", i)
		all = append(all, detect.Coverage{Rule: r, Fire: 1, Quiet: 1, Parts: []detect.CoveredPart{{Where: "match", Text: "type: tool_call"}}})
	}
	var out bytes.Buffer
	e := &env{stdout: &out, lookup: func(string) (string, bool) { return "", false }}
	if err := e.showCoverage(all, false, false); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "type: tool_call"); n != maxUndecided || !strings.Contains(out.String(), "10 rules more with such parts: --run '^XX-19$'") {
		t.Errorf("%d rules are shown\n%s", n, out.String())
	}
	out.Reset()
	if err := e.showCoverage(all, true, false); err != nil || strings.Count(out.String(), "type: tool_call") != len(all) {
		t.Errorf("as JSON: %v\n%s", err, out.String())
	}
}
