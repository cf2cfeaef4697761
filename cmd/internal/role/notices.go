package role

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"picket/detect"
	"picket/ingest/kafka"
)

// Rules that come with the program: what Picket has to say of itself. No rule file can have
// such an id, since ids there are in capitals.
const (
	RuleGap      = "picket-gap"
	RuleMoved    = "picket-offsets-moved"
	RuleOverload = "picket-overload"
)

// ownSeverity is of all of them: somebody has to look, and no intruder is known.
const ownSeverity = "high"

// Notices writes alerts about Picket itself to the topic of alerts, where they go the way of
// every other. Their ids follow from what happened, so that a batch which is done again
// repeats them. Any number of loops may use it; nil writes nothing.
type Notices struct {
	Producer Producer
	Topic    string
	Metrics  *Metrics
}

// notice is an alert in the making.
type notice struct {
	rule     string
	name     []string            // what tells it from others of its rule
	incident []string            // what it shares with those that people see as one
	group    []detect.GroupValue // whom it is about, for people
	at       time.Time
	bucket   time.Duration
	count    uint64
	settled  bool
	again    bool // an update of one that was told
	title    string
	why      string
}

func (n *notice) alert() detect.Alert {
	info := ownRule(n.rule)
	start := n.at.UTC().Truncate(n.bucket)
	return detect.Alert{
		Schema: detect.AlertSchema, ID: ownID(append([]string{n.rule}, n.name...)), Rule: info, Mode: "alert", Severity: ownSeverity,
		Group: n.group, GroupID: ownID(append([]string{n.rule, "incident"}, n.incident...)),
		BucketStart: start, BucketEnd: start.Add(n.bucket), First: n.at.UTC(), Last: n.at.UTC(), FiredAt: n.at.UTC(),
		Count: n.count, Value: float64(n.count), Threshold: 1, Settled: n.settled, Title: n.title, Why: n.why,
	}
}

// ownID looks like the id of any other alert. It needs no key: what it is made of is
// neither personal nor secret.
func ownID(parts []string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%q ", p)
	}
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:16]))
}

func ownRule(id string) detect.RuleInfo {
	r := detect.RuleInfo{ID: id, Hash: id, Tags: []string{"picket.health"}}
	switch id {
	case RuleGap:
		r.Name, r.Title = "picket.gap", "Records were gone before Picket read them"
		r.Description = "A role found its place in a topic gone: records expired or were deleted before it read them, or the topic was truncated or made anew. They are lost to this role."
		r.Runbook = "1. Look at which role it is: lost to store is lost to the audit trail, lost to detect was never judged.\n2. Compare the role's outage with kafka.retention; lengthen the retention, or mend what held the role up.\n3. Run picket audit: it shows the range that is missing in ClickHouse.\n4. Nobody deletes records by accident: if retention was long enough, find out who did."
	case RuleMoved:
		r.Name, r.Title = "picket.offsets_moved", "The offsets of a consumer group were set by another program"
		r.Description = "A role found an offset committed that Picket did not commit. Moved forward, records are skipped; moved back, they are done again."
		r.Runbook = "1. Ask who reset the group; an operator's reset is confirmed by this alert, and nothing else is to be done.\n2. If nobody did, treat it as an attempt to hide events: look at the broker's audit log, and set the offset back.\n3. Run picket audit: it shows what is missing or there twice in ClickHouse."
	case RuleOverload:
		r.Name, r.Title = "picket.overload", "Picket sheds matches"
		r.Description = "More matched than can be carried. What is left out is of the mildest rules that count events; rules that fire at one critical event are never left out."
		r.Runbook = "1. See which rule matches so much: picket_shed_total by rule. Make its match narrower, or give it an exception.\n2. If the flood is an attack, look at who causes it; what other rules say of it was carried.\n3. If it is ordinary traffic, run more instances, or raise the limits in the configuration (limits)."
	}
	return r
}

// tell writes notices until they are durable, or fails.
func (n *Notices) tell(ctx context.Context, all ...notice) error {
	if n == nil || len(all) == 0 {
		return nil
	}
	records := make([]kafka.Record, len(all))
	for i := range all {
		a := all[i].alert()
		value, err := json.Marshal(&a)
		if err != nil {
			return fmt.Errorf("encode alert %s: %w", a.ID, err)
		}
		records[i] = kafka.Record{Topic: n.Topic, Partition: 0, Key: []byte(a.ID), Value: value}
	}
	if err := n.Producer.Produce(ctx, records); err != nil {
		return fmt.Errorf("write %d alerts about Picket itself to %s: %w", len(records), n.Topic, err)
	}
	for i := range all {
		if !all[i].again {
			n.Metrics.Alerts.WithLabelValues(all[i].rule, ownSeverity).Inc()
		}
	}
	return nil
}

// gaps tells of records that nobody can read any more.
func (n *Notices) gaps(ctx context.Context, loop string, b kafka.Batch) error {
	var all []notice
	for i := range b.Ranges {
		r := &b.Ranges[i]
		if !r.Gap && r.Lost == 0 {
			continue
		}
		at := time.Now()
		for rec := range r.All() {
			at = rec.Append // the same whenever the batch is done again
			break
		}
		place := r.Topic + "/" + strconv.Itoa(int(r.Partition))
		x := notice{
			rule: RuleGap, name: []string{loop, r.Topic, strconv.Itoa(int(r.Partition)), strconv.FormatInt(r.Begin, 10), strconv.FormatInt(r.End, 10)},
			incident: []string{loop, r.Topic}, at: at, bucket: time.Hour, count: uint64(max(1, r.Lost)), settled: true,
			group: []detect.GroupValue{{Field: "role", Value: loop}, {Field: "partition", Value: place}},
			title: fmt.Sprintf("%s lost records of %s", loop, place),
			why: fmt.Sprintf("%s between offsets %d and %d were gone before %s read them (%d in all): they expired, were deleted, or were truncated",
				place, r.Begin, r.End, loop, r.Lost),
		}
		if r.Lost == 0 {
			x.title = fmt.Sprintf("%s is shorter than %s had read", place, loop)
			x.why = fmt.Sprintf("%s ended before the offset that %s had committed: it was truncated or made anew, and is read from offset %d on", place, loop, r.Begin)
		}
		all = append(all, x)
	}
	return n.tell(ctx, all...)
}

// Moved tells of offsets that another program committed for a group.
func (n *Notices) Moved(ctx context.Context, group, topic string, given []kafka.Assignment) error {
	var all []notice
	for _, a := range given {
		if !a.Moved {
			continue
		}
		place := topic + "/" + strconv.Itoa(int(a.Partition))
		day := time.Now().UTC().Truncate(24 * time.Hour) // the next such reset is news again
		all = append(all, notice{
			rule: RuleMoved, name: []string{group, topic, strconv.Itoa(int(a.Partition)), strconv.FormatInt(a.Committed, 10), day.Format(time.DateOnly)},
			incident: []string{group, topic}, at: time.Now(), bucket: 24 * time.Hour, count: 1, settled: true,
			group: []detect.GroupValue{{Field: "consumer group", Value: group}, {Field: "partition", Value: place}},
			title: fmt.Sprintf("%s was set to offset %d of %s", group, a.Committed, place),
			why: fmt.Sprintf("another program committed offset %d of %s for %s; Picket goes on there, whatever lies between it and where it was",
				a.Committed, place, group),
		})
	}
	return n.tell(ctx, all...)
}
