package role

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"picket/detect"
)

// overloadBucket is for how long what one partition sheds is one alert.
const overloadBucket = 10 * time.Minute

// loss is what was shed of one range of a partition, by rule; of most ranges nothing.
type loss struct {
	partition int32
	at        time.Time // append time of the range's last record
	rules     map[*detect.Rule]uint64
}

// overload tells of what a role sheds: at once, whenever it has doubled, and when the time of
// the alert is over. One goroutine owns it.
type overload struct {
	role, topic string
	open        map[int32]outburst // by partition
}

// outburst is one alert.
type outburst struct {
	bucket, first time.Time
	count, told   uint64
	rules         map[string]uint64
}

// after is the state once the losses have been told, and what is to be told of them. It
// changes nothing: the work may fail yet, and is then done again.
func (o *overload) after(losses []loss) (next map[int32]outburst, all []notice) {
	next = maps.Clone(o.open)
	if next == nil {
		next = map[int32]outburst{}
	}
	for _, l := range losses {
		x, open := next[l.partition]
		bucket := l.at.UTC().Truncate(overloadBucket)
		if open && bucket.After(x.bucket) {
			all = append(all, o.notice(l.partition, x, true))
			delete(next, l.partition)
			open = false
		}
		if len(l.rules) == 0 {
			continue
		}
		if !open {
			x = outburst{bucket: bucket, first: l.at}
		}
		if x.rules = maps.Clone(x.rules); x.rules == nil {
			x.rules = map[string]uint64{}
		}
		for r, n := range l.rules {
			x.rules[r.Info.ID] += n
			x.count += n
		}
		if x.count >= 2*x.told {
			all = append(all, o.notice(l.partition, x, false))
			x.told = x.count
		}
		next[l.partition] = x
	}
	return next, all
}

func (o *overload) notice(partition int32, x outburst, settled bool) notice {
	place := o.topic + "/" + strconv.Itoa(int(partition))
	most := slices.SortedFunc(maps.Keys(x.rules), func(a, b string) int {
		return cmp.Or(cmp.Compare(x.rules[b], x.rules[a]), strings.Compare(a, b))
	})
	var shown []string
	for _, id := range most[:min(len(most), 5)] {
		shown = append(shown, fmt.Sprintf("%s (%d)", id, x.rules[id]))
	}
	return notice{
		rule: RuleOverload, name: []string{o.role, o.topic, strconv.Itoa(int(partition)), x.bucket.Format(time.RFC3339)},
		incident: []string{o.role}, at: x.first, bucket: overloadBucket, count: x.count, settled: settled, again: settled || x.told > 0,
		group: []detect.GroupValue{{Field: "role", Value: o.role}, {Field: "partition", Value: place}},
		title: o.role + " sheds matches, most of " + most[0],
		why: fmt.Sprintf("%d matches of %s were more than %s can carry since %s: most of %s", x.count, place, o.role,
			x.first.UTC().Format(time.TimeOnly), strings.Join(shown, ", ")),
	}
}

// shed tells of losses, and counts them once that is durable.
func (l *Loop) shed(ctx context.Context, o *overload, losses []loss) error {
	next, all := o.after(losses)
	if err := l.Notices.tell(ctx, all...); err != nil {
		return err
	}
	o.open = next
	for _, x := range losses {
		for r, n := range x.rules {
			l.Metrics.Shed.WithLabelValues(l.Name, r.Info.ID, r.Severity).Add(float64(n))
		}
	}
	return nil
}
