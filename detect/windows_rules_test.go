package detect

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

const testLateness = 2 * time.Minute

// windowRules have one rule for each detector that windows evaluate, and for each way in
// which they depend on each other.
const windowRules = `
{id: TT-01, name: t.count, match: {type: authentication}, threshold: {count: {gte: 3}, window: 60s, group_by: [net.ip]}, suppress: {for: 2m}}
{id: TT-02, name: t.single, match: {outcome: denied}, group_by: [net.ip], suppress: {for: 5m}}
{id: TT-03, name: t.distinct, match: {type: authentication}, distinct: {field: actor.client_id, count: {gte: 3}, window: 90s, group_by: [net.ip]}, suppress: {for: 3m}}
{id: TT-04, name: t.sum, match: {type: authentication}, sum: {field: io.result_bytes, gte: 250, window: 45s, group_by: [server.name]}, suppress: {for: 1m}}
{id: TT-05, name: t.score, match: {type: authentication}, score: {gte: 3, of: [{name: a, add: 2, match: {outcome: denied}}, {name: b, add: 2, match: {server.name: a}}]}, group_by: [net.ip], suppress: {for: 1m}}
{id: TT-06, name: t.ordered, sequence: {window: 90s, group_by: [net.ip], steps: [{name: failed, count: {gte: 2}, match: {outcome: failure}}, {name: refused, match: {outcome: denied}}]}, suppress: {for: 2m}}
{id: TT-07, name: t.until, sequence: {window: 2m, group_by: [net.ip], steps: [{name: failed, match: {outcome: failure}}, {name: large, match: {io.result_bytes|gt: 100}}, {name: refused, match: {outcome: denied}}], until: {outcome: success}}, suppress: {for: 1m}}
{id: TT-08, name: t.unordered, sequence: {window: 60s, ordered: false, group_by: [net.ip], steps: [{name: failed, count: {gte: 2}, match: {outcome: failure}}, {name: large, match: {io.result_bytes|gt: 100}}, {name: refused, match: {outcome: denied}}]}, suppress: {for: 1m}}
{id: TT-09, name: t.unordered.until, sequence: {window: 2m, ordered: false, group_by: [net.ip], steps: [{name: failed, count: {gte: 2}, match: {outcome: failure}}, {name: large, match: {io.result_bytes|gt: 50}}], until: {outcome: [denied, success], io.result_bytes|gt: 20}}, suppress: {for: 1m}}
{id: TT-10, name: t.fieldref, sequence: {window: 3m, group_by: [net.ip], steps: [{name: large, match: {io.result_bytes|gt: 80}}, {name: failed, match: {outcome: failure}}, {name: refused, match: {outcome: denied, actor.client_id|fieldref: failed.actor.client_id}}]}, suppress: {for: 2m}}
{id: TT-11, name: t.fieldref.first, sequence: {window: 4m, group_by: [server.name], steps: [{name: failed, match: {outcome: failure}}, {name: refused, match: {net.ip|fieldref: failed.net.ip, outcome: [denied, failure], actor.client_id|fieldref: failed.actor.client_id}}], until: {io.result_bytes|lt: 10}}, suppress: {for: 2m}}
{id: TT-12, name: t.from, sequence: {window: 2m, group_by: [net.ip], steps: [{name: many, from: TT-01}, {name: refused, match: {outcome: denied}}]}, suppress: {for: 1m}}
{id: TT-13, name: t.from.chain, sequence: {window: 90s, ordered: false, group_by: [net.ip], steps: [{name: a, from: TT-12}, {name: b, count: {gte: 2}, from: TT-03}, {name: c, match: {outcome: success}}]}, suppress: {for: 3m}}
{id: TT-14, name: t.ratio, match: {type: authentication}, ratio: {of: {outcome: denied}, gte: 0.4, count: {gte: 2}, total: {gte: 3}, window: 60s, group_by: [net.ip]}, suppress: {for: 1m}}
{id: TT-15, name: t.absence, match: {outcome: [success, denied]}, absence: {window: 90s, group_by: [net.ip]}, suppress: {for: 2m}}
{id: TT-16, name: t.absence.after, match: {outcome: success}, absence: {after: {outcome: failure}, window: 45s, group_by: [net.ip]}, suppress: {for: 1m}}
{id: TT-17, name: t.from.absence, sequence: {window: 2m, group_by: [net.ip], steps: [{name: quiet, from: TT-16}, {name: refused, match: {outcome: denied}}]}, suppress: {for: 1m}}
{id: TT-18, name: t.from.settled, sequence: {window: 2m, group_by: [net.ip], steps: [{name: share, from: TT-14}, {name: late, from: TT-17}], until: {io.result_bytes|gt: 190}}, suppress: {for: 1m}}
{id: TT-19, name: t.all, match: {type: authentication}, all: [{threshold: {count: {gte: 3}}}, {match: {outcome: failure}, distinct: {field: actor.client_id, count: {gte: 2}}}, {sum: {field: io.result_bytes, gte: 200}}], window: 60s, group_by: [server.name], suppress: {for: 1m}}
{id: TT-20, name: t.any, any: [{match: {outcome: denied}, threshold: {count: {gte: 4}}}, {match: {outcome: failure}, distinct: {field: actor.client_id, count: {gte: 3}}}], window: 2m, group_by: [net.ip], suppress: {for: 1m}}
{id: TT-21, name: t.all.settled, match: {type: authentication}, all: [{ratio: {of: {outcome: failure}, gte: 0.5}}, {sequence: {steps: [{name: a, match: {outcome: denied}}, {name: b, match: {outcome: failure}}]}}], window: 90s, group_by: [net.ip], suppress: {for: 1m}}
{id: TT-22, name: t.panes, match: {type: authentication}, threshold: {count: {gte: 3}, window: 60s, resolution: 20s, group_by: [server.name]}, suppress: {for: 1m}}
`

// otherRules come and go by reloads, before and behind the others; some take from them.
const otherRules = `
{id: AA-01, name: a.one, match: {outcome: denied}, group_by: [actor.client_id]}
{id: TT-12-X, name: a.two, sequence: {window: 30m, group_by: [net.ip], steps: [{name: many, from: TT-01}, {name: quiet, from: TT-16}]}}
{id: ZZ-01, name: a.three, match: {type: authentication}, absence: {window: 10m, group_by: [server.name]}}
`

// ruleLines makes documents of lines that leave out what every rule has.
func ruleLines(lines string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimSpace(lines), "\n") {
		fmt.Fprintf(&b, "{schema: rule/v1, title: t, severity: high, %s\n---\n", line[1:])
	}
	return strings.TrimSuffix(b.String(), "---\n")
}

func loadText(t testing.TB, text string) *RuleSet {
	t.Helper()
	rs, err := Load(fstest.MapFS{"rules.yaml": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return rs
}
