package store

import (
	"math"
	"math/bits"

	"picket/detect"
)

// eventRows is a block of the table events.
type eventRows struct {
	rows
	retention Retention
	ordering  ordering

	time, observed, flagged, late *fixed
	claimed                       *nullable
	keyID                         *low
	pseudonyms                    *array[*low]
	up, plainLabels               *array[*low]
	labels                        *pairs[*text]
	days, partition, offset       *fixed
	topic                         *low
	findings                      findingColumns

	words [64]wordField // by field, as the bits of detect.Event.Filled
	nums  []numField
	flags []flagField
	enums [2]*fixed // outcome, severity

	// What roll-ups read.
	tenant, server, typ, tool        *low
	who                              [3]*low // client, source, session
	argsBytes, resultBytes, duration *nullable
	summed                           []column // all of these, and some of the others

	names, upNames, plain []string // of the row at hand
}

// wordField is where a text or a list goes: into one of these, or none.
type wordField struct {
	low, hash *low // hash for paths
	text      *text
	list      *array[*low]
}

type numField struct {
	f    detect.Field
	c    *nullable
	kind kind
}

type flagField struct {
	f detect.Field
	c *fixed
}

type findingColumns struct {
	cat, rule, dir      *array[*low]
	at, digest, excerpt *array[*text]
	score               *array[*fixed]
}

func newEventRows(retention Retention) *eventRows {
	r := &eventRows{rows: rows{table: "events"}, retention: retention, ordering: ordering{groups: map[groupKey]uint32{}}}
	b := &r.rows
	r.time, r.observed = add(b, "time", newTime()), add(b, "observed", newTime())
	r.claimed = add(b, "claimed", newNullable(newTime()))
	r.flagged, r.late = add(b, "time_flagged", newFixed("Bool", 1)), add(b, "late", newFixed("Bool", 1))
	for f := range detect.NumFields {
		r.addField(f)
	}
	r.findings = findingColumns{
		cat:     add(b, "findings.cat", newArray(newLow())),
		rule:    add(b, "findings.rule", newArray(newLow())),
		dir:     add(b, "findings.dir", newArray(newLow())),
		at:      add(b, "findings.at", newArray(&text{})),
		score:   add(b, "findings.score", newArray(newFixed("Float32", 4))),
		digest:  add(b, "findings.digest", newArray(&text{})),
		excerpt: add(b, "findings.excerpt", newArray(&text{})),
	}
	r.labels = add(b, "labels", newPairs(&text{}))
	r.keyID = add(b, "key_id", newLow())
	r.pseudonyms = add(b, "pseudonyms", newArray(newLow()))
	r.up = add(b, "up", newArray(newLow()))
	r.plainLabels = add(b, "plain_labels", newArray(newLow()))
	r.days = add(b, "retention_days", newFixed("UInt16", 2))
	r.topic = add(b, "kafka_topic", newLow())
	r.partition = add(b, "kafka_partition", newFixed("UInt16", 2))
	r.offset = add(b, "kafka_offset", newFixed("UInt64", 8))
	r.remember()
	return r
}

func (r *eventRows) addField(f detect.Field) {
	b, name := &r.rows, eventFields[f].column
	switch k := eventFields[f].kind; k {
	case dropped:
	case lowText:
		r.words[f].low = add(b, name, newLow())
	case pathText:
		r.words[f].low, r.words[f].hash = add(b, name, newLow()), add(b, name+"_hash", newLow())
	case plainText:
		r.words[f].text = add(b, name, &text{})
	case enumText:
		if f == detect.Outcome {
			r.enums[0] = add(b, name, newFixed(outcomeType, 1))
		} else {
			r.enums[1] = add(b, name, newFixed(severityType, 1))
		}
	case lowList:
		r.words[f].list = add(b, name, newArray(newLow()))
	case boolFlag:
		r.flags = append(r.flags, flagField{f, add(b, name, newFixed("Bool", 1))})
	default:
		r.nums = append(r.nums, numField{f, add(b, name, newNumber(k)), k})
	}
}

// Indexes of eventRows.who; the table's enum begins at 1.
const client, source = 0, 1

// remember keeps the columns that roll-ups read.
func (r *eventRows) remember() {
	nums := map[detect.Field]*nullable{}
	for _, c := range r.nums {
		nums[c.f] = c.c
	}
	w := &r.words
	r.tenant, r.server, r.typ, r.tool = w[detect.Tenant].low, w[detect.ServerName].low, w[detect.Type].low, w[detect.MCPTool].low
	r.who = [3]*low{w[detect.ActorClientID].low, w[detect.NetIP].low, w[detect.MCPSession].low}
	r.argsBytes, r.resultBytes, r.duration = nums[detect.IOArgsBytes], nums[detect.IOResultBytes], nums[detect.IODurationMS]
	r.summed = []column{
		r.time, r.tenant, r.server, r.typ, r.tool, r.who[0], r.who[1], r.who[2], r.argsBytes, r.resultBytes, r.duration,
		r.findings.cat, r.enums[0], r.enums[1],
	}
}

// append copies what is public of ev. Nothing of ev is kept: its memory is the caller's.
func (r *eventRows) append(ev *detect.Event) {
	r.names, r.upNames, r.plain = r.names[:0], r.upNames[:0], r.plain[:0]
	r.time.pad(r.n)
	r.time.putTime(ev.Time)
	r.observed.pad(r.n)
	r.observed.putTime(ev.Append)
	if ev.TimeFlagged {
		r.putFixed(r.flagged, 1)
		if !ev.Claimed.IsZero() {
			r.claimed.pad(r.n)
			r.claimed.of.putTime(ev.Claimed)
			r.claimed.set()
		}
	}
	if ev.Late {
		r.putFixed(r.late, 1)
	}
	r.appendWords(ev)
	r.appendNumbers(ev)
	r.appendFindings(ev.Findings())
	r.appendLabels(ev.PublicLabels())
	r.putLow(r.keyID, ev.KeyID())
	r.putList(r.pseudonyms, r.names)
	r.putList(r.up, r.upNames)
	r.putList(r.plainLabels, r.plain)
	r.putFixed(r.days, r.retention.days(severityCode(ev.Public(detect.Severity).Value)))
	r.putLow(r.topic, ev.Topic)
	r.putFixed(r.partition, uint64(ev.Partition))
	r.offset.pad(r.n)
	r.offset.put(uint64(ev.Offset))
	r.n++
}

func (r *eventRows) appendWords(ev *detect.Event) {
	for left := ev.Filled(); left != 0; left &= left - 1 {
		f := detect.Field(bits.TrailingZeros64(left))
		switch w := &r.words[f]; {
		case w.low != nil:
			p := ev.Public(f)
			if p.Value != "" {
				w.low.pad(r.n)
				w.low.put(p.Value)
				r.note(f, &p)
			}
			if w.hash != nil {
				r.putLow(w.hash, p.Hash)
			}
		case w.text != nil:
			if p := ev.Public(f); p.Value != "" {
				w.text.pad(r.n)
				w.text.put(p.Value)
				r.note(f, &p)
			}
		case w.list != nil:
			r.appendList(w.list, f, ev.PublicList(f))
		}
	}
	r.putFixed(r.enums[0], outcomeCode(ev.Public(detect.Outcome).Value))
	r.putFixed(r.enums[1], severityCode(ev.Public(detect.Severity).Value))
}

func (r *eventRows) appendList(c *array[*low], f detect.Field, vs []detect.Public) {
	if len(vs) == 0 {
		return
	}
	c.pad(r.n)
	noted := false
	for i := range vs {
		c.of.put(vs[i].Value)
		if !noted && vs[i].Key != "" {
			r.note(f, &vs[i])
			noted = true
		}
	}
	c.end()
}

// note records what cannot be seen in the value: that a field which is readable as a
// rule holds a pseudonym, or that the producer had hashed it before.
func (r *eventRows) note(f detect.Field, p *detect.Public) {
	if p.Key != "" && f.Info().Privacy != detect.Pseudo {
		r.names = append(r.names, f.String())
	}
	if p.Up {
		r.upNames = append(r.upNames, f.String())
	}
}

func (r *eventRows) appendNumbers(ev *detect.Event) {
	for i := range r.nums {
		c := &r.nums[i]
		x, ok := ev.Num(c.f)
		if !ok || math.IsNaN(x) {
			continue
		}
		c.c.pad(r.n)
		c.c.of.put(numberBits(c.kind, x))
		c.c.set()
	}
	for i := range r.flags {
		if ev.Flag(r.flags[i].f) {
			r.putFixed(r.flags[i].c, 1)
		}
	}
}

func (r *eventRows) appendFindings(fs []detect.Finding) {
	if len(fs) == 0 {
		return
	}
	c := &r.findings
	for _, col := range []column{c.cat, c.rule, c.dir, c.at, c.score, c.digest, c.excerpt} {
		col.pad(r.n)
	}
	for i := range fs {
		c.cat.of.put(fs[i].Cat)
		c.rule.of.put(fs[i].Rule)
		c.dir.of.put(fs[i].Dir)
		c.at.of.put(fs[i].At)
		c.score.of.put(uint64(math.Float32bits(float32(fs[i].Score))))
		c.digest.of.put(fs[i].Digest)
		c.excerpt.of.put(fs[i].Excerpt)
	}
	c.cat.end()
	c.rule.end()
	c.dir.end()
	c.at.end()
	c.score.end()
	c.digest.end()
	c.excerpt.end()
}

func (r *eventRows) appendLabels(ls []detect.PublicLabel) {
	if len(ls) == 0 {
		return
	}
	r.labels.pad(r.n)
	for i := range ls {
		r.labels.keys.of.put(ls[i].Key)
		r.labels.vals.put(ls[i].Value)
		if ls[i].Public.Key == "" {
			r.plain = append(r.plain, ls[i].Key)
		}
	}
	r.labels.end()
}
