package store

import (
	"fmt"
	"math"
	"time"
)

// rollups sums up one piece of events for events_1m and entity_1h, in one pass over the
// columns: the dictionaries have numbered the values already, so groups are found by small
// numbers. docs/decisions/0013 says why views of the server do not do this.
type rollups struct {
	r *eventRows

	minuteRows pieces[*minuteRows] // by month, which is a partition of the tables
	entityRows pieces[*entityRows]

	minutes map[minuteKey]uint32 // number of the group
	minute  []minuteGroup
	seen    map[uint64]struct{} // group, which set, value: what is in a group's sets

	entities map[entityKey]uint32
	entity   []entityGroup

	links []link // of all sets
}

type minuteKey struct {
	minute, tenant, server, typ, tool uint32
	outcome, severity                 uint8
}

type entityKey struct {
	hour, tenant, entity uint32
	kind                 uint8 // as in the table; the index in eventRows.who is one less
}

// sums is what both tables have of a group.
type sums struct {
	events, findings, in, out uint64
	first, last               int64
	slowest                   float64
}

type minuteGroup struct {
	minuteKey
	sums
	who [3]set // clients, sources, sessions
}

type entityGroup struct {
	entityKey
	sums
	failures, denied                 uint64
	worst                            uint8
	servers, tools, clients, sources set
}

// set is a list of dictionary numbers in rollups.links.
type set struct{ head, n uint32 }

type link struct{ value, next uint32 }

const namesOfEntity = 16 // where entity_1h cuts its sets

func (u *rollups) add(s *set, value uint32) {
	u.links = append(u.links, link{value, s.head})
	s.head = uint32(len(u.links) - 1)
	s.n++
}

// addName adds a value that the set has not, up to the number where sets are cut.
func (u *rollups) addName(s *set, value uint32) {
	if s.n == namesOfEntity {
		return
	}
	for i, l := uint32(0), s.head; i < s.n; i++ {
		if u.links[l].value == value {
			return
		}
		l = u.links[l].next
	}
	u.add(s, value)
}

func newRollups() *rollups {
	return &rollups{
		minuteRows: pieces[*minuteRows]{make: newMinuteRows}, entityRows: pieces[*entityRows]{make: newEntityRows},
		minutes: map[minuteKey]uint32{}, seen: map[uint64]struct{}{}, entities: map[entityKey]uint32{},
	}
}

// of sums up r under the name of its batch.
func (u *rollups) of(r *eventRows, batch string) {
	for _, c := range r.summed {
		c.pad(r.n)
	}
	clear(u.minutes)
	clear(u.seen)
	clear(u.entities)
	u.r, u.minute, u.entity, u.links = r, u.minute[:0], u.entity[:0], u.links[:0]
	for i := range r.n {
		e := sums{events: 1, first: int64(r.time.at(i)), in: r.argsBytes.of.at(i), out: r.resultBytes.of.at(i), slowest: math.Float64frombits(r.duration.of.at(i))}
		e.last = e.first
		e.findings = r.findings.cat.count(i)
		u.addMinute(i, &e)
		for kind, c := range r.who {
			if c.keys[i] != 0 {
				u.addEntity(i, uint8(kind), c.keys[i], &e)
			}
		}
	}
	u.minuteRows.reset()
	for i := range u.minute {
		g := &u.minute[i]
		u.minuteRows.at(month(g.minute)).append(u, g, batch)
	}
	u.entityRows.reset()
	for i := range u.entity {
		g := &u.entity[i]
		u.entityRows.at(month(g.hour)).append(u, g, batch)
	}
}

func (u *rollups) addMinute(i int, e *sums) {
	r := u.r
	k := minuteKey{
		minute: seconds(e.first) / 60 * 60, tenant: r.tenant.keys[i], server: r.server.keys[i], typ: r.typ.keys[i], tool: r.tool.keys[i],
		outcome: r.enums[0].data[i], severity: r.enums[1].data[i],
	}
	n, ok := u.minutes[k]
	if !ok {
		n = uint32(len(u.minute))
		u.minutes[k] = n
		u.minute = append(u.minute, minuteGroup{minuteKey: k})
	}
	g := &u.minute[n]
	g.add(e)
	for which, c := range r.who {
		v := c.keys[i]
		if v == 0 {
			continue
		}
		key := (uint64(n)*3+uint64(which))<<32 | uint64(v)
		if _, ok := u.seen[key]; !ok {
			u.seen[key] = struct{}{}
			u.add(&g.who[which], v)
		}
	}
}

func (u *rollups) addEntity(i int, kind uint8, entity uint32, e *sums) {
	r := u.r
	k := entityKey{hour: seconds(e.first) / 3600 * 3600, tenant: r.tenant.keys[i], entity: entity, kind: kind + 1}
	n, ok := u.entities[k]
	if !ok {
		n = uint32(len(u.entity))
		u.entities[k] = n
		u.entity = append(u.entity, entityGroup{entityKey: k})
	}
	g := &u.entity[n]
	g.add(e)
	switch r.enums[0].data[i] {
	case outcomeDenied:
		g.denied++
		g.failures++
	case outcomeFailure, outcomeError:
		g.failures++
	}
	g.worst = max(g.worst, r.enums[1].data[i])
	u.addName(&g.servers, r.server.keys[i])
	if v := r.tool.keys[i]; v != 0 {
		u.addName(&g.tools, v)
	}
	if v := r.who[client].keys[i]; v != 0 && kind != client {
		u.addName(&g.clients, v)
	}
	if v := r.who[source].keys[i]; v != 0 && kind != source {
		u.addName(&g.sources, v)
	}
}

func (s *sums) add(e *sums) {
	if s.events == 0 {
		*s = *e
		return
	}
	s.events++
	s.findings += e.findings
	s.in += e.in
	s.out += e.out
	s.first, s.last = min(s.first, e.first), max(s.last, e.last)
	s.slowest = max(s.slowest, e.slowest)
}

// store puts what the events of one day add. A batch's name is in a row of its own minute or hour.
func (u *rollups) store(r *eventRows, batch string, put putFunc) error {
	u.of(r, batch)
	for month, r := range u.minuteRows.each() {
		if err := put(&r.rows, fmt.Sprintf("%s/%d", batch, month), "minute = toDateTime(?, 'UTC') AND has(batches, ?)", r.minute.at(0), batch); err != nil {
			return err
		}
	}
	for month, r := range u.entityRows.each() {
		if err := put(&r.rows, fmt.Sprintf("%s/%d", batch, month), "hour = toDateTime(?, 'UTC') AND has(batches, ?)", r.hour.at(0), batch); err != nil {
			return err
		}
	}
	return nil
}

// month is the partition of a roll-up, like 202611.
func month(seconds uint32) int64 {
	y, m, _ := time.Unix(int64(seconds), 0).UTC().Date()
	return int64(y)*100 + int64(m)
}

// seconds is a time of DateTime, which begins in 1970 and ends in 2106.
func seconds(millis int64) uint32 {
	return uint32(min(max(millis/1000, 0), math.MaxUint32))
}
