package store

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"picket/detect"
)

// plausible makes events as a fleet of MCP servers sends them: skewed populations of
// clients, addresses and tools, sessions of some forty events, and fields of which every
// event has its own. It adds up the entropy of what it draws, so that the bytes on disk
// have something to be compared with.
type plausible struct {
	r       *rand.Rand
	bits    float64
	start   time.Time
	rate    float64 // events a second
	clients zipf
	tools   zipf
	live    []session
	seq     map[string]uint64
	offsets []int64 // next of each partition
	hashes  map[string]string
}

type session struct {
	id, client, subject, ip string
	server, left            int
}

const (
	plausibleParts   = 6
	plausibleClients = 5000
	plausibleTools   = 12 // of each server
	plausibleServers = 20
	plausibleLive    = 400 // sessions open at once
)

func newPlausible(seed uint64, start time.Time, rate float64) *plausible {
	g := &plausible{
		r: rand.New(rand.NewPCG(seed, 1)), start: start, rate: rate,
		clients: newZipf(plausibleClients, 1.1), tools: newZipf(plausibleTools, 1.2),
		live: make([]session, plausibleLive), seq: map[string]uint64{}, hashes: map[string]string{},
	}
	for p := range plausibleParts { // partitions are never of one age
		g.offsets = append(g.offsets, int64(p+1)*37_000_000)
	}
	return g
}

// Pseudonym stands for the keyed hash: 130 random bits for each value, always the same.
func (g *plausible) Pseudonym(tenant, class, value string, _ time.Time) (hash, keyID string) {
	if class == detect.IOArgsDigest.Class() || class == detect.IOResultDigest.Class() {
		return value, "k1" // nearly each has its own, and drew it
	}
	k := class + "|" + value
	h, ok := g.hashes[k]
	if !ok {
		h = g.digest()
		g.hashes[k] = h
	}
	return h, "k1"
}

// digest draws 130 bits as 26 characters of base32.
func (g *plausible) digest() string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	b := make([]byte, 26)
	for i := range b {
		b[i] = alphabet[g.r.Uint32()%32]
	}
	g.bits += 130
	return string(b)
}

func (g *plausible) hex(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "0123456789abcdef"[g.r.Uint32()%16]
	}
	g.bits += 4 * float64(n)
	return string(b)
}

func (g *plausible) below(n int) int {
	g.bits += math.Log2(float64(n))
	return g.r.IntN(n)
}

// often reports true with probability p.
func (g *plausible) often(p float64) bool {
	on := g.r.Float64() < p
	if on {
		g.bits -= math.Log2(p)
	} else {
		g.bits -= math.Log2(1 - p)
	}
	return on
}

// size draws a number whose magnitude is normal, to three digits or so.
func (g *plausible) size(median, spread float64) float64 {
	x := median * math.Exp(spread*g.r.NormFloat64())
	// Differential entropy of the log-normal, at a resolution of one.
	g.bits += math.Max(0, math.Log2(median*spread*math.Sqrt(2*math.Pi*math.E)))
	return math.Floor(x)
}

func (g *plausible) pick(z zipf) int {
	i := z.draw(g.r)
	g.bits -= math.Log2(z.p(i))
	return i
}

// id is a UUIDv7 of the moment with 74 random bits.
func (g *plausible) id(at time.Time) string {
	var u uuid.UUID
	ms := uint64(at.UnixMilli())
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	for i := 6; i < 16; i++ {
		u[i] = byte(g.r.Uint32())
	}
	u[6], u[8] = u[6]&0x0f|0x70, u[8]&0x3f|0x80
	g.bits += 74
	return u.String()
}

// fill makes the i-th event. Each partition's events come in runs, as a batch has them.
func (g *plausible) fill(ev *detect.Event, i int64, partition int) {
	s := g.session()
	at := g.start.Add(time.Duration(float64(i)/g.rate*1e9) + time.Duration(g.below(1000))*time.Microsecond)
	lag := time.Duration(g.below(64)) * time.Millisecond
	ev.Topic, ev.Partition, ev.Offset = "mcp.events", int32(partition), g.offsets[partition]
	g.offsets[partition]++
	ev.Append, ev.Claimed = at, at.Add(-lag)
	server, instance := fmt.Sprintf("server-%02d", s.server), fmt.Sprintf("server-%02d-pod-%d", s.server, partition%3)
	g.seq[instance]++
	ev.Set(detect.Schema, "picket.event/1")
	ev.Set(detect.ID, g.id(ev.Claimed))
	ev.SetNum(detect.Seq, float64(g.seq[instance]))
	ev.Set(detect.Tenant, "acme")
	ev.Set(detect.Env, "prod")
	ev.Set(detect.ServerName, server)
	ev.Set(detect.ServerVersion, "1.4.2")
	ev.Set(detect.ServerInstance, instance)
	ev.Set(detect.ServerTransport, "http")
	ev.Set(detect.ActorClientID, s.client)
	ev.Set(detect.ActorSubject, s.subject)
	ev.Set(detect.ActorAuthMethod, "oauth")
	ev.Set(detect.ActorIssuer, "https://id.example.com")
	ev.Add(detect.ActorScopes, "mcp:tools")
	ev.Set(detect.ClientName, "inspector")
	ev.Set(detect.ClientVersion, "0.17.1")
	ev.Set(detect.NetIP, s.ip)
	ev.Set(detect.NetIPClass, "private")
	ev.Set(detect.NetTLS, "1.3")
	ev.Set(detect.MCPSession, s.id)
	ev.Set(detect.MCPProtocolVersion, "2026-06-18")
	ev.Set(detect.MCPRequestID, fmt.Sprint(60-s.left))
	ev.Set(detect.TraceID, g.hex(32))
	ev.Set(detect.SpanID, g.hex(16))
	ev.Set(detect.SrcFormat, "native")
	ev.Set(detect.SrcProducer, "picket-tap")
	g.kind(ev, s)
	ev.Stamp(15 * time.Minute)
	ev.Redact(g, nil)
}

// kind is what happened, and how it went.
func (g *plausible) kind(ev *detect.Event, s *session) {
	outcome, severity := "success", "info"
	switch {
	case g.often(0.80):
		tool := g.pick(g.tools)
		ev.Set(detect.Type, "tool_call")
		ev.Set(detect.MCPMethod, "tools/call")
		ev.Set(detect.MCPTool, fmt.Sprintf("tool_%d_%d", s.server, tool))
		ev.Set(detect.IOArgsDigest, g.digest())
		ev.Set(detect.IOResultDigest, g.digest())
		ev.SetNum(detect.IOArgsBytes, g.size(180, 0.8))
		ev.SetNum(detect.IOResultBytes, g.size(1500, 1.2))
		ev.SetNum(detect.IODurationMS, g.size(40, 1))
		if g.often(0.03) {
			outcome, severity = "denied", "medium"
			ev.Set(detect.Reason, "path_outside_root")
			ev.Set(detect.PermResource, fmt.Sprintf("/home/user-%d/notes.txt", g.below(500)))
		} else if g.often(0.02) {
			outcome = "failure"
		}
		if g.often(0.01) {
			severity = "high"
			ev.AddFinding(detect.Finding{Cat: "traversal", Rule: "IN_02", Dir: "in", At: "/path", Score: 0.75})
		}
	case g.often(0.4):
		ev.Set(detect.Type, "authentication")
		if g.often(0.1) {
			outcome, severity = "failure", "low"
			ev.Set(detect.Reason, "expired")
		}
	case g.often(0.5):
		ev.Set(detect.Type, "resource_read")
		ev.Set(detect.MCPMethod, "resources/read")
		ev.Set(detect.MCPResource, fmt.Sprintf("file:///srv/data/%d.csv", g.below(2000)))
		ev.SetNum(detect.IOResultBytes, g.size(4000, 1.5))
	default:
		ev.Set(detect.Type, "discovery")
		ev.Set(detect.MCPMethod, "tools/list")
		severity = "debug"
	}
	ev.Set(detect.Outcome, outcome)
	ev.Set(detect.Severity, severity)
}

// session is that of the next event; a finished one gives way to a new one.
func (g *plausible) session() *session {
	s := &g.live[g.below(len(g.live))]
	if s.left == 0 {
		c := g.pick(g.clients)
		*s = session{
			id: fmt.Sprintf("session-%d", g.r.Uint64()), client: fmt.Sprintf("client-%d", c),
			subject: fmt.Sprintf("user-%d@example.com", c*7), ip: fmt.Sprintf("10.%d.%d.%d", c%2, c/250%250, c%250),
			server: g.below(plausibleServers), left: 20 + g.below(40),
		}
	}
	s.left--
	return s
}

// zipf draws 0..n-1 with weights 1/(i+1)^s.
type zipf struct{ cum []float64 }

func newZipf(n int, s float64) zipf {
	z, sum := zipf{make([]float64, n)}, 0.0
	for i := range n {
		sum += math.Pow(float64(i+1), -s)
		z.cum[i] = sum
	}
	for i := range z.cum {
		z.cum[i] /= sum
	}
	return z
}

func (z zipf) draw(r *rand.Rand) int {
	x, lo, hi := r.Float64(), 0, len(z.cum)-1
	for lo < hi {
		if m := (lo + hi) / 2; z.cum[m] < x {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

func (z zipf) p(i int) float64 {
	if i == 0 {
		return z.cum[0]
	}
	return z.cum[i] - z.cum[i-1]
}
