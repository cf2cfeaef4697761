package detect

import "slices"

// What is given up when there is more than can be carried follows one order: shadow rules, which
// nobody is told of, then by severity, and of equals those that count events before those
// that fire at one. A rule from which others take steps counts as the worst of them.
const (
	rankFirst = 0
	rankNever = 8 // critical at one event: carried whatever comes
)

func (r *Rule) rank() int {
	rank := rankFirst
	if r.Mode != ModeShadow {
		rank = 1 + 2*max(0, slices.Index(severities, r.Severity))
		if r.Detector.single() {
			rank++
		}
	}
	for _, f := range r.plan.feeds {
		rank = max(rank, f.rule.rank())
	}
	return rank
}

// share is how much of a limit a rule may use.
type share struct {
	all int // where all rules together have that much, there is no more for it
	own int // nor where it has that much itself
}

// shareOf leaves room to worse rules, whose first events may come behind those of a flood;
// and to other rules, since who can make groups up for one can do so without end.
func shareOf(limit, rank int) share {
	if rank == rankNever {
		return share{limit, limit}
	}
	all := max(1, limit*(4+max(0, rank-1)/2)/8) // a half for low, 7/8 for critical
	return share{all, max(1, all/2)}
}

func (s share) has(all, own int) bool { return all < s.all && own < s.own }

// load is what a rule has in the batch at hand.
type load struct {
	rank  int
	held  int     // matches
	pairs []int32 // places of the rule in signals, in the order in which it came to them
}

// shedder keeps the matches of a batch below a limit. What it decides follows from the
// events of the batch alone, so that a batch which is done again gives the same signals.
type shedder struct {
	limit  int // 0: none
	held   int
	byRank [rankNever + 1]int
	rules  []load

	shed  []uint64 // by rule, since the Collector was made
	total uint64
}

func newShedder(rules []*Rule) shedder {
	s := shedder{rules: make([]load, len(rules)), shed: make([]uint64, len(rules))}
	for i, r := range rules {
		s.rules[i].rank = r.rank()
	}
	return s
}

func (s *shedder) full() bool { return s.limit > 0 && s.held >= s.limit }

// took counts a match of a rule in a signal.
func (s *shedder) took(rule int, place int32, p *pair) {
	if s.limit == 0 {
		return
	}
	l := &s.rules[rule]
	if p.matches == 0 {
		l.pairs = append(l.pairs, place)
	}
	p.matches++
	l.held++
	s.held++
	s.byRank[l.rank]++
}

func (s *shedder) gave(rule, n int) {
	s.shed[rule] += uint64(n)
	s.total += uint64(n)
}

func (s *shedder) start() {
	for i := range s.rules {
		s.rules[i].held, s.rules[i].pairs = 0, s.rules[i].pairs[:0]
	}
	s.held, s.byRank = 0, [rankNever + 1]int{}
}

// Limit bounds the matches that the next batches may hold; 0 bounds nothing. What is beyond
// it is shed, the mildest rules first and never those that fire at one critical event.
func (c *Collector) Limit(matches int) { c.shedder.limit = matches }

// Shed is how many matches of each rule were shed since the Collector was made, by Rule.Index.
func (c *Collector) Shed() []uint64 { return c.shedder.shed }

// admit makes room for a match of a rule, or sheds it.
func (c *Collector) admit(rule int) bool {
	s := &c.shedder
	rank := s.rules[rule].rank
	for s.full() && c.giveUp(rank) {
	}
	if s.full() && rank < rankNever {
		s.gave(rule, 1)
		return false
	}
	return true
}

// giveUp takes back some of the newest groups of a rule that is milder than a rank: of the
// mildest ones that which has most.
func (c *Collector) giveUp(rank int) bool {
	s := &c.shedder
	mild := slices.IndexFunc(s.byRank[:rank], func(n int) bool { return n > 0 })
	if mild < 0 {
		return false
	}
	most := -1
	for i := range s.rules {
		if l := &s.rules[i]; l.rank == mild && (most < 0 || l.held > s.rules[most].held) {
			most = i
		}
	}
	l := &s.rules[most]
	for freed := 0; freed <= s.limit/64 && len(l.pairs) > 0; {
		last := l.pairs[len(l.pairs)-1]
		l.pairs = l.pairs[:len(l.pairs)-1]
		n := int(c.pairs[last].matches)
		c.drop(last)
		s.gave(most, n)
		l.held, s.held, s.byRank[mild] = l.held-n, s.held-n, s.byRank[mild]-n
		freed += n
	}
	return true
}

// hold counts points that a group has more, or fewer.
func (w *Windows) hold(g *window, n int) {
	w.held += n
	g.rule.points += n
}

// shed counts points that find no room.
func (w *Windows) shed(r *ruleState, n int) {
	w.stats.Overflow += uint64(n)
	w.stats.Shed += uint64(n)
	r.shed += uint64(n)
}

// TakeShed tells how many points of each rule found no room since it was last called.
func (w *Windows) TakeShed(tell func(r *Rule, points uint64)) {
	for _, s := range w.rules {
		if s.shed > 0 {
			tell(s.Rule, s.shed)
			s.shed = 0
		}
	}
}
