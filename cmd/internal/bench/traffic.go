package main

import (
	"encoding/hex"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// traffic makes events as a fleet of MCP servers sends them, some 700 bytes each: skewed
// populations of clients and tools, sessions of some forty events, and fields of which every
// event has its own. A share of them are attacks. It is a function of its seed and the times
// that it is given.
type traffic struct {
	r       *rand.Rand
	attacks float64 // share of events
	clients []float64
	tools   []float64
	live    []session
	seq     [servers * pods]uint64
	probes  int
	session string // of the event at hand
}

type session struct {
	id             string
	client, server int
	left           int
}

const (
	servers  = 20
	pods     = 3
	clients  = 5000
	toolsOf  = 12 // of each server
	sessions = 400
)

func newTraffic(seed uint64, attacks float64) *traffic {
	return &traffic{
		r: rand.New(rand.NewPCG(seed, 2)), attacks: attacks,
		clients: zipf(clients, 0.9), tools: zipf(toolsOf, 1.2), live: make([]session, sessions),
	}
}

// event appends an event that happened at a time, as JSON.
func (g *traffic) event(b []byte, at time.Time) []byte {
	s := &g.live[g.r.IntN(len(g.live))]
	if s.left == 0 {
		*s = session{id: g.hex(16), client: g.draw(g.clients), server: g.r.IntN(servers), left: 20 + g.r.IntN(40)}
	}
	s.left--
	g.session = s.id
	attack := g.r.Float64() < g.attacks
	b = g.head(b, at, s.server)
	switch k := g.r.Float64(); {
	case attack:
		b = g.attack(b)
	case k < 0.80:
		b = g.call(b)
	case k < 0.88:
		b = append(b, `"type":"authentication","outcome":"success","severity":"info","http":{"status":200},"io":{"duration_ms":`...)
		b = append(strconv.AppendInt(b, int64(g.r.IntN(90)), 10), '}')
	case k < 0.94:
		b = append(b, `"type":"resource_read","outcome":"success","severity":"info",`...)
		b = append(g.mcp(b, "resources/read"), `,"resource":"file:///srv/data/`...)
		b = strconv.AppendInt(b, int64(g.r.IntN(2000)), 10)
		b = append(b, `.csv"},"io":{"result_bytes":`...)
		b = append(strconv.AppendInt(b, g.size(4000, 1.5), 10), '}')
	default:
		b = append(b, `"type":"discovery","outcome":"success","severity":"debug",`...)
		b = append(g.mcp(b, "tools/list"), '}')
	}
	return g.tail(b, s.client)
}

// probe appends an event that fires a rule by itself, of a person who fires none else.
func (g *traffic) probe(b []byte, at time.Time) []byte {
	g.probes++
	g.session = g.hex(16)
	b = g.head(b, at, g.r.IntN(servers))
	b = append(b, `"type":"tool_call","outcome":"success","severity":"info",`...)
	b = append(g.mcp(b, "tools/call"), `,"tool":"fetch"},"io":{"args":{"url":"http://169.254.169.254/latest/meta-data/iam/security-credentials/"}}`...)
	return g.tail(b, clients+g.probes)
}

// head is what every event begins with.
func (g *traffic) head(b []byte, at time.Time, server int) []byte {
	pod := g.r.IntN(pods)
	i := server*pods + pod
	g.seq[i]++
	b = append(b, `{"schema":"picket.event/1","id":"`...)
	b = g.uuid(b, at)
	b = append(b, `","time":"`...)
	b = at.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, `","seq":`...)
	b = strconv.AppendUint(b, g.seq[i], 10)
	b = append(b, `,"server":{"name":"server-`...)
	b = strconv.AppendInt(b, int64(server), 10)
	b = append(b, `","instance":"server-`...)
	b = strconv.AppendInt(b, int64(server), 10)
	b = append(b, `-pod-`...)
	b = strconv.AppendInt(b, int64(pod), 10)
	return append(b, `","transport":"http"},`...)
}

// call is a tool call like most, with arguments that no rule minds.
func (g *traffic) call(b []byte) []byte {
	outcome, severity, reason := "success", "info", ""
	switch k := g.r.Float64(); {
	case k < 0.01:
		outcome, severity, reason = "denied", "medium", `"reason":"policy_denied",`
	case k < 0.03:
		outcome = "failure"
	}
	b = append(b, `"type":"tool_call","outcome":"`+outcome+`","severity":"`+severity+`",`+reason...)
	b = append(g.mcp(b, "tools/call"), `,"tool":"tool_`...)
	b = strconv.AppendInt(b, int64(g.draw(g.tools)), 10)
	b = append(b, `"},"io":{"args":{"path":"projects/`...)
	b = append(b, g.word()...)
	b = append(b, `/notes-`...)
	b = strconv.AppendInt(b, int64(g.r.IntN(100_000)), 10)
	b = append(b, `.md","text":"`...)
	for range 4 + g.r.IntN(8) {
		b = append(append(b, g.word()...), ' ')
	}
	b = append(b, `"},"result_digest":"`...)
	b = hex.AppendEncode(b, g.random(13))
	b = append(b, `","result_bytes":`...)
	b = strconv.AppendInt(b, g.size(1500, 1.2), 10)
	b = append(b, `,"duration_ms":`...)
	return append(strconv.AppendInt(b, g.size(40, 1), 10), '}')
}

// attack is one of several kinds, each of which a shipped rule matches.
func (g *traffic) attack(b []byte) []byte {
	switch g.r.IntN(4) {
	case 0:
		return append(b, `"type":"authentication","outcome":"failure","severity":"low","reason":"bad_signature","http":{"status":401}`...)
	case 1:
		b = append(b, `"type":"authorization","outcome":"denied","severity":"medium","reason":"path_outside_root",`...)
		b = append(g.mcp(b, "tools/call"), `,"tool":"read_file"},"perm":{"action":"read","resource":"/home/user-`...)
		b = strconv.AppendInt(b, int64(g.r.IntN(500)), 10)
		return append(b, `/notes.txt"}`...)
	case 2:
		b = append(b, `"type":"tool_call","outcome":"error","severity":"info",`...)
		return append(g.mcp(b, "tools/call"), `,"tool":"crm.find"},"io":{"args":{"name":"x' UNION SELECT login, password FROM users; --"}}`...)
	}
	b = append(b, `"type":"tool_call","outcome":"denied","severity":"info",`...)
	return append(g.mcp(b, "tools/call"), `,"tool":"read_file"},"io":{"args":{"path":"../../../../etc/passwd"}}`...)
}

// mcp begins the object of that name.
func (g *traffic) mcp(b []byte, method string) []byte {
	b = append(append(b, `"mcp":{"method":"`...), method...)
	b = append(append(b, `","session":"`...), g.session...)
	return append(b, '"')
}

// tail is who did it, from where, and in which trace.
func (g *traffic) tail(b []byte, client int) []byte {
	b = append(b, `,"actor":{"client_id":"client-`...)
	b = strconv.AppendInt(b, int64(client), 10)
	b = append(b, `","subject":"user-`...)
	b = strconv.AppendInt(b, int64(client*7), 10)
	b = append(b, `@example.com","auth_method":"oauth"},"net":{"ip":"10.`...)
	b = strconv.AppendInt(b, int64(client/62500), 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(client/250%250), 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(client%250), 10)
	b = append(b, `"},"trace":{"trace_id":"`...)
	b = hex.AppendEncode(b, g.random(16))
	b = append(b, `","span_id":"`...)
	b = hex.AppendEncode(b, g.random(8))
	return append(b, `"},"src":{"producer":"picket-tap"}}`...)
}

var words = [...]string{
	"quarterly", "report", "weather", "newest", "rows", "orders", "open", "summary", "meeting", "update", "customer", "address",
	"contacts", "contents", "timeout", "readme", "project", "alpha", "beta", "release", "schedule", "budget", "guide", "overview", "movie",
}

func (g *traffic) word() string { return words[g.r.IntN(len(words))] }

func (g *traffic) random(n int) []byte {
	var b [24]byte
	for i := 0; i < n; i += 8 {
		u := g.r.Uint64()
		for j := range 8 {
			b[i+j] = byte(u >> (8 * j))
		}
	}
	return b[:n]
}

func (g *traffic) hex(n int) string { return hex.EncodeToString(g.random(n)) }

// uuid appends a UUIDv7 of the moment.
func (g *traffic) uuid(b []byte, at time.Time) []byte {
	u := g.random(16)
	ms := uint64(at.UnixMilli())
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	u[6], u[8] = u[6]&0x0f|0x70, u[8]&0x3f|0x80
	for i, cut := range [...]int{0, 4, 6, 8, 10} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, u[cut:[...]int{4, 6, 8, 10, 16}[i]])
	}
	return b
}

// size draws a number whose magnitude is normal.
func (g *traffic) size(median, spread float64) int64 {
	return int64(median * math.Exp(spread*g.r.NormFloat64()))
}

// zipf is the distribution of 0..n-1 with weights 1/(i+1)^s, summed up.
func zipf(n int, s float64) []float64 {
	cum, sum := make([]float64, n), 0.0
	for i := range n {
		sum += math.Pow(float64(i+1), -s)
		cum[i] = sum
	}
	for i := range cum {
		cum[i] /= sum
	}
	return cum
}

func (g *traffic) draw(cum []float64) int {
	x, lo, hi := g.r.Float64(), 0, len(cum)-1
	for lo < hi {
		if m := (lo + hi) / 2; cum[m] < x {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}
