package store

import "math"

// minuteRows is a block of the table events_1m, entityRows one of entity_1h. Each is of one
// month, which is a partition of its table, so it is stored whole or not at all.
type minuteRows struct {
	rows
	sumColumns
	tenant, server, typ, tool         *low
	minute, outcome, severity         *fixed
	clients, sources, sessions, batch *array[*text]
}

type entityRows struct {
	rows
	sumColumns
	tenant                                  *low
	entity                                  *text
	kind, hour, failures, denied, worst     *fixed
	servers, tools, clients, sources, batch *array[*text]
}

// sumColumns are those of sums.
type sumColumns struct{ events, findings, in, out, first, last, slowest *fixed }

func newSum(b *rows, name string) *fixed {
	return add(b, name, newFixed("SimpleAggregateFunction(sum, UInt64)", 8))
}

func newSumColumns(b *rows) sumColumns {
	return sumColumns{
		events: newSum(b, "events"), findings: newSum(b, "findings"), in: newSum(b, "bytes_in"), out: newSum(b, "bytes_out"),
		first:   add(b, "first_seen", newFixed("SimpleAggregateFunction(min, DateTime64(3, 'UTC'))", 8)),
		last:    add(b, "last_seen", newFixed("SimpleAggregateFunction(max, DateTime64(3, 'UTC'))", 8)),
		slowest: add(b, "max_ms", newFixed("SimpleAggregateFunction(max, Float64)", 8)),
	}
}

func (c *sumColumns) append(s *sums) {
	c.events.put(s.events)
	c.findings.put(s.findings)
	c.in.put(s.in)
	c.out.put(s.out)
	c.first.put(uint64(s.first))
	c.last.put(uint64(s.last))
	c.slowest.put(math.Float64bits(s.slowest))
}

func newTexts(b *rows, name string) *array[*text] { return add(b, name, newArray(&text{})) }

// newBatches is the column by which a redo finds a batch in a roll-up, see rollups.
func newBatches(b *rows) *array[*text] {
	return add(b, "batches", newArray(&text{}).as("SimpleAggregateFunction(groupUniqArrayArray, Array(String))"))
}

func newMinuteRows() *minuteRows {
	r := &minuteRows{rows: rows{table: "events_1m"}}
	b := &r.rows
	r.tenant, r.minute = add(b, "tenant", newLow()), add(b, "minute", newFixed("DateTime('UTC')", 4))
	r.server, r.typ, r.tool = add(b, "server_name", newLow()), add(b, "type", newLow()), add(b, "mcp_tool", newLow())
	r.outcome, r.severity = add(b, "outcome", newFixed(outcomeType, 1)), add(b, "severity", newFixed(severityType, 1))
	r.sumColumns = newSumColumns(b)
	r.clients, r.sources, r.sessions = newTexts(b, "client_names"), newTexts(b, "source_names"), newTexts(b, "session_names")
	r.batch = newBatches(b)
	return r
}

func newEntityRows() *entityRows {
	r := &entityRows{rows: rows{table: "entity_1h"}}
	b := &r.rows
	names := func(name string) *array[*text] {
		return add(b, name, newArray(&text{}).as("SimpleAggregateFunction(groupUniqArrayArray(16), Array(String))"))
	}
	r.tenant, r.kind = add(b, "tenant", newLow()), add(b, "kind", newFixed(kindType, 1))
	r.entity, r.hour = add(b, "entity", &text{}), add(b, "hour", newFixed("DateTime('UTC')", 4))
	r.failures, r.denied = newSum(b, "failures"), newSum(b, "denied")
	r.worst = add(b, "worst", newFixed("SimpleAggregateFunction(max, Int8)", 1))
	r.sumColumns = newSumColumns(b)
	r.servers, r.tools, r.clients, r.sources = names("servers"), names("tools"), names("clients"), names("sources")
	r.batch = newBatches(b)
	return r
}

func (r *minuteRows) append(u *rollups, g *minuteGroup, batch string) {
	ev := u.r
	r.tenant.put(ev.tenant.dict[g.tenant])
	r.minute.put(uint64(g.minute))
	r.server.put(ev.server.dict[g.server])
	r.typ.put(ev.typ.dict[g.typ])
	r.tool.put(ev.tool.dict[g.tool])
	r.outcome.put(uint64(g.outcome))
	r.severity.put(uint64(g.severity))
	r.sumColumns.append(&g.sums)
	for i, c := range []*array[*text]{r.clients, r.sources, r.sessions} {
		u.put(c, g.who[i], ev.who[i])
	}
	r.putBatch(r.batch, batch)
}

func (r *entityRows) append(u *rollups, g *entityGroup, batch string) {
	ev := u.r
	r.tenant.put(ev.tenant.dict[g.tenant])
	r.kind.put(uint64(g.kind))
	r.entity.put(ev.who[g.kind-1].dict[g.entity])
	r.hour.put(uint64(g.hour))
	r.failures.put(g.failures)
	r.denied.put(g.denied)
	r.worst.put(uint64(g.worst))
	r.sumColumns.append(&g.sums)
	u.put(r.servers, g.servers, ev.server)
	u.put(r.tools, g.tools, ev.tool)
	u.put(r.clients, g.clients, ev.who[client])
	u.put(r.sources, g.sources, ev.who[source])
	r.putBatch(r.batch, batch)
}

// put writes the values of a set.
func (u *rollups) put(c *array[*text], s set, names *low) {
	for l := s.head; s.n > 0; s.n-- {
		c.of.put(names.dict[u.links[l].value])
		l = u.links[l].next
	}
	c.end()
}

// putBatch ends a row with the name of the batch if it is the first: all rows of a partition
// are stored together, so that one is enough to tell that they are.
func (r *rows) putBatch(c *array[*text], batch string) {
	if r.n == 0 {
		c.of.put(batch)
	}
	c.end()
	r.n++
}
