package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"picket/ingest/kafka"
)

// stormRules have one rule for each detector, and for each way in which rules depend on each other,
// with windows so short that they settle within the test.
const stormRules = `
{id: TT-01, name: t.count, match: {type: authentication}, threshold: {count: {gte: 3}, window: 2s, group_by: [net.ip]}, suppress: {for: 3s}}
{id: TT-02, name: t.single, match: {outcome: denied}, group_by: [net.ip], suppress: {for: 4s}}
{id: TT-03, name: t.distinct, match: {type: authentication}, distinct: {field: actor.client_id, count: {gte: 3}, window: 3s, group_by: [net.ip]}, suppress: {for: 2s}}
{id: TT-04, name: t.sum, match: {type: authentication}, sum: {field: io.result_bytes, gte: 250, window: 2s, group_by: [server.name]}, suppress: {for: 2s}}
{id: TT-05, name: t.score, match: {type: authentication}, score: {gte: 3, of: [{name: a, add: 2, match: {outcome: denied}}, {name: b, add: 2, match: {io.result_bytes|gt: 120}}]}, group_by: [net.ip], suppress: {for: 2s}}
{id: TT-06, name: t.ordered, sequence: {window: 3s, group_by: [net.ip], steps: [{name: failed, count: {gte: 2}, match: {outcome: failure}}, {name: refused, match: {outcome: denied}}]}, suppress: {for: 2s}}
{id: TT-07, name: t.until, sequence: {window: 3s, group_by: [net.ip], steps: [{name: failed, match: {outcome: failure}}, {name: large, match: {io.result_bytes|gt: 100}}, {name: refused, match: {outcome: denied}}], until: {outcome: success}}, suppress: {for: 2s}}
{id: TT-08, name: t.unordered, sequence: {window: 2s, ordered: false, group_by: [net.ip], steps: [{name: failed, count: {gte: 2}, match: {outcome: failure}}, {name: large, match: {io.result_bytes|gt: 100}}, {name: refused, match: {outcome: denied}}]}, suppress: {for: 2s}}
{id: TT-10, name: t.fieldref, sequence: {window: 4s, group_by: [net.ip], steps: [{name: large, match: {io.result_bytes|gt: 80}}, {name: failed, match: {outcome: failure}}, {name: refused, match: {outcome: denied, actor.client_id|fieldref: failed.actor.client_id}}]}, suppress: {for: 3s}}
{id: TT-11, name: t.fieldref.until, sequence: {window: 3s, group_by: [server.name], steps: [{name: failed, match: {outcome: failure}}, {name: refused, match: {net.ip|fieldref: failed.net.ip, outcome: [denied, failure]}}], until: {io.result_bytes|lt: 10}}, suppress: {for: 2s}}
{id: TT-12, name: t.from, sequence: {window: 3s, group_by: [net.ip], steps: [{name: many, from: TT-01}, {name: refused, match: {outcome: denied}}]}, suppress: {for: 2s}}
{id: TT-13, name: t.from.chain, sequence: {window: 2s, ordered: false, group_by: [net.ip], steps: [{name: a, from: TT-12}, {name: b, count: {gte: 2}, from: TT-03}, {name: c, match: {outcome: success}}]}, suppress: {for: 2s}}
{id: TT-14, name: t.ratio, match: {type: authentication}, ratio: {of: {outcome: denied}, gte: 0.4, count: {gte: 2}, total: {gte: 3}, window: 2s, group_by: [net.ip]}, suppress: {for: 2s}}
{id: TT-15, name: t.absence, match: {outcome: [success, denied]}, absence: {window: 2s, group_by: [net.ip]}, suppress: {for: 2s}}
{id: TT-16, name: t.absence.after, match: {outcome: success}, absence: {after: {outcome: failure}, window: 1s, group_by: [net.ip]}, suppress: {for: 2s}}
{id: TT-17, name: t.from.absence, sequence: {window: 3s, group_by: [net.ip], steps: [{name: quiet, from: TT-16}, {name: refused, match: {outcome: denied}}]}, suppress: {for: 2s}}
{id: TT-18, name: t.from.settled, sequence: {window: 3s, group_by: [net.ip], steps: [{name: share, from: TT-14}, {name: late, from: TT-17}], until: {io.result_bytes|gt: 195}}, suppress: {for: 1s}}
{id: TT-19, name: t.all, match: {type: authentication}, all: [{threshold: {count: {gte: 3}}}, {match: {outcome: failure}, distinct: {field: actor.client_id, count: {gte: 2}}}, {sum: {field: io.result_bytes, gte: 200}}], window: 2s, group_by: [server.name], suppress: {for: 2s}}
{id: TT-20, name: t.any, any: [{match: {outcome: denied}, threshold: {count: {gte: 3}}}, {match: {outcome: failure}, distinct: {field: actor.client_id, count: {gte: 3}}}], window: 3s, group_by: [net.ip], suppress: {for: 2s}}
{id: TT-21, name: t.all.settled, match: {type: authentication}, all: [{ratio: {of: {outcome: failure}, gte: 0.5}}, {sequence: {steps: [{name: a, match: {outcome: denied}}, {name: b, match: {outcome: failure}}]}}], window: 2s, group_by: [net.ip], suppress: {for: 2s}}
{id: TT-22, name: t.panes, match: {type: authentication}, threshold: {count: {gte: 3}, window: 3s, resolution: 1s, group_by: [server.name]}, suppress: {for: 3s}}
{id: TT-23, name: t.coalesce, match: {type: authentication}, threshold: {count: {gte: 2}, window: 3s, group_by: [{coalesce: [actor.client_id, net.ip]}, server.name]}, suppress: {for: 2s}}
{id: TT-24, name: t.where, match: {type: authentication}, where: "io.result_bytes > 50 and outcome != 'success'", threshold: {count: {gte: 2}, window: 2s, group_by: [net.ip_prefix]}, suppress: {for: 2s}}
`

// takers are the rules that take steps from others.
var takers = []string{"TT-12", "TT-13", "TT-17", "TT-18"}

// fewPrefix is how the names of events begin whose group has no more than an alert can show.
const fewPrefix = "few-"

// stormGroup is an address with a server of its own.
type stormGroup struct {
	name string
	ip   string
	left int // events to come
}

// storm makes events: many of a few groups and few of many, disordered, late, and some twice.
type storm struct {
	r        *rand.Rand
	lateness time.Duration
	n        int
	groups   int
	busy     [3]stormGroup
	few      [6]stormGroup
	again    []kafka.Record // sent already, and to be sent again
}

func (s *storm) group(prefix string, events int) stormGroup {
	s.groups++
	return stormGroup{fmt.Sprintf("%s%d", prefix, s.groups), fmt.Sprintf("10.%d.%d.1", s.groups>>8, s.groups&255), events}
}

// next is some records of one moment.
func (s *storm) next(now time.Time) []kafka.Record {
	var out []kafka.Record
	for range 1 + s.r.IntN(20) {
		g, prefix, most := &s.few[s.r.IntN(len(s.few))], fewPrefix, 3+s.r.IntN(3)
		if s.r.IntN(2) == 0 {
			g, prefix, most = &s.busy[s.r.IntN(len(s.busy))], "busy-", 40+s.r.IntN(160)
		}
		if g.left == 0 {
			*g = s.group(prefix, most)
		}
		g.left--
		r := kafka.Record{Topic: "mcp.events", Partition: s.partition(), Value: s.event(now, g)}
		if s.r.IntN(60) == 0 {
			r.Value = r.Value[:len(r.Value)/2]
		}
		out = append(out, r)
		if prefix != fewPrefix && s.r.IntN(8) == 0 {
			s.again = append(s.again, r)
		}
	}
	for len(s.again) > 5+s.r.IntN(10) {
		r := s.again[0]
		r.Partition, s.again = s.partition(), s.again[1:]
		out = append(out, r)
	}
	return out
}

// partition prefers the first ones.
func (s *storm) partition() int32 { return int32(min(s.r.IntN(3), s.r.IntN(4))) }

func (s *storm) event(now time.Time, g *stormGroup) []byte {
	s.n++
	at := now.Add(-time.Duration(s.r.IntN(100)) * time.Millisecond)
	switch s.r.IntN(40) {
	case 0, 1, 2, 3, 4, 5, 6:
		at = now.Add(-time.Duration(s.r.Int64N(int64(s.lateness))))
	case 7, 8:
		at = now.Add(-s.lateness + time.Duration(s.r.IntN(100)-50)*time.Millisecond)
	case 9:
		at = now.Add(-s.lateness - time.Duration(s.r.IntN(3000))*time.Millisecond)
	case 10:
		at = now.AddDate(0, 0, -2)
	case 11: // beyond what is believed
		at = now.AddDate(70*s.r.IntN(2)-10, 0, 0)
	}
	outcome := []string{"failure", "failure", "denied", "success"}[s.r.IntN(4)]
	client := fmt.Sprintf(`"actor":{"client_id":"%s-c%d"},`, g.name, s.r.IntN(4))
	if s.r.IntN(10) == 0 {
		client = ""
	}
	return fmt.Appendf(nil, `{"schema":"picket.event/1","id":"%s-%d","time":%q,"type":"authentication","outcome":%q,"server":{"name":"s-%s","instance":"i"},`+
		`%s"net":{"ip":%q},"io":{"result_bytes":%d}}`,
		g.name, s.n, at.UTC().Format(time.RFC3339Nano), outcome, g.name, client, g.ip, 1+s.r.IntN(200))
}

// blow produces events until ctx ends, which closes the channel, and then until after ends only what moves time.
func (s *storm) blow(ctx, after context.Context, w *world) (<-chan struct{}, *sync.WaitGroup) {
	w.t.Helper()
	p, err := kafka.NewProducer(w.kafka(), kafka.ProducerOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	blown := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		defer p.Close()
		over := sync.OnceFunc(func() { close(blown) })
		defer over()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for after.Err() == nil {
			now := time.Now()
			var rs []kafka.Record
			if ctx.Err() == nil {
				rs = s.next(now)
			} else {
				over()
				for i := range int32(3) {
					rs = append(rs, kafka.Record{Topic: "mcp.events", Partition: i, Value: []byte(event(s.n, int(i), "heartbeat", "unknown", "192.0.2.1"))})
				}
			}
			if err := p.Produce(after, rs); err != nil && after.Err() == nil {
				w.t.Errorf("produce: %v", err)
				return
			}
			select {
			case <-tick.C:
			case <-after.Done():
			}
		}
	})
	return blown, &done
}
