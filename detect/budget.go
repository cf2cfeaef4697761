package detect

const (
	// maxRuleSteps bounds what the conditions of one rule do with one event; a step takes some
	// 10 ns. A regular expression takes at most one for each byte and instruction. Where the
	// steps end, a necessary literal that was found decides, so padding hides nothing.
	maxRuleSteps  = 6_000_000
	valueSteps    = 8   // to look at a value at all
	parseSteps    = 20  // for an address that may be none
	classifyValue = 100 // for libinjection to look at a value at all,
	classifySteps = 10  // and a byte of it
	// maxRegexBytes bounds one regular expression on one event.
	maxRegexBytes = 64 << 10
	// maxClassify bounds what libinjection reads of one value: it judges the first tokens only.
	maxClassify = 8 << 10
)

// spend takes steps, and reports whether they were left.
func (m *Matcher) spend(n int) bool {
	if m.steps >= 0 && m.steps < n {
		m.stats.Cut++
	}
	m.steps -= n
	return m.steps >= 0
}

// steps is what it takes to test a text of n bytes, but for regular expressions.
func (t *textTest) steps(n int) int {
	switch t.kind {
	case testContains, testGlob:
		return valueSteps + n/8
	case testCIDR:
		return parseSteps
	case testSQLi, testXSS:
		return classifyValue + classifySteps*min(n, maxClassify)
	}
	return valueSteps
}
