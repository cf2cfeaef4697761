package detect

import (
	"math"
	"regexp"
	"strings"
	"unicode"
)

type secretKind struct {
	rule  string
	re    *regexp.Regexp
	need  string // a text without which the expression cannot match, in its own case; empty: none
	score float64
}

var secretKinds = []secretKind{
	{"aws", regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z2-7]{16}\b`), "", 0.95},
	{"github", regexp.MustCompile(`\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_[A-Za-z0-9_]{50,}\b`), "_", 0.95},
	{"slack", regexp.MustCompile(`\bxox[abprs]-[A-Za-z0-9-]{10,}|\bxapp-\d-[A-Za-z0-9-]{10,}|hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/\w{16,}`), "", 0.95},
	{"private_key", regexp.MustCompile(`-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY-----`), "-----BEGIN", 0.95},
	{"jwt", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`), "eyJ", 0.8},
	{"google", regexp.MustCompile(`\bAIza[0-9A-Za-z_-]{35}`), "AIza", 0.95},
	{"stripe", regexp.MustCompile(`\b[sr]k_live_[0-9a-zA-Z]{20,}`), "k_live_", 0.95},
	{"gitlab", regexp.MustCompile(`\bglpat-[0-9a-zA-Z_-]{20,}`), "glpat-", 0.95},
	{"npm", regexp.MustCompile(`\bnpm_[A-Za-z0-9]{36}\b`), "npm_", 0.95},
	{"model_provider", regexp.MustCompile(`\bsk-(?:ant|proj)-[A-Za-z0-9_-]{20,}`), "sk-", 0.95},
	{"sendgrid", regexp.MustCompile(`\bSG\.[\w-]{20,24}\.[\w-]{39,50}`), "SG.", 0.95},
}

var (
	secretGeneric = regexp.MustCompile(`(?i)(?:password|passwd|secret|api[_-]?key|access[_-]?token|auth[_-]?token)["']?\s{0,4}[:=]\s{0,4}["']?([A-Za-z0-9/+_.-]{16,})`)
	secretSample  = regexp.MustCompile(`(?i)example|changeme|placeholder|your[_-]|xxxx|0000000|redacted|dummy|sample`)
)

func findSecret(f finder, v string) {
	for i := range secretKinds {
		k := &secretKinds[i]
		if f.seen&seenKey == 0 || k.need != "" && !strings.Contains(v, k.need) {
			continue
		}
		for _, s := range k.re.FindAllString(v, 16) {
			if !secretSample.MatchString(s) {
				f.add(catSecret, k.rule, k.score)
				break
			}
		}
	}
	if f.seen&(seenPassword|seenAssign) != seenPassword|seenAssign {
		return
	}
	for _, m := range secretGeneric.FindAllStringSubmatch(v, 16) {
		if s := m[1]; !secretSample.MatchString(s) && entropy(s) > 3.3 && strings.ContainsAny(s, "0123456789") {
			f.add(catSecret, "generic", 0.7)
			return
		}
	}
}

// entropy is in bits per byte.
func entropy(s string) float64 {
	var n [256]int
	for i := range len(s) {
		n[s[i]]++
	}
	h := 0.0
	for _, k := range n {
		if k > 0 {
			p := float64(k) / float64(len(s))
			h -= p * math.Log2(p)
		}
	}
	return h
}

var (
	promptStrong = regexp.MustCompile(`(?i)\b(?:ignore|disregard|forget|override)\s+(?:all\s+|any\s+|the\s+|your\s+|of\s+|my\s+){0,3}(?:previous|prior|above|earlier|preceding|system|existing)\s+(?:instructions?|prompts?|rules|directions|messages|context)\b|(?:do not|don't|without)\s+(?:tell|telling|inform|informing|mention|mentioning)\s+(?:this\s+|it\s+|anything\s+)?(?:to\s+)?the\s+user\b`)
	promptRole   = regexp.MustCompile(`(?i)\byou are now\s+(?:in\s+)?(?:an?\s+|the\s+)?(?:\w+\s+){0,2}(?:mode|unrestricted|jailbroken|dan\b|admin|root)|\b(?:reveal|print|repeat|output)\s+(?:your|the)\s+system prompt\b`)
	promptFrame  = regexp.MustCompile(`(?i)<(?:important|system)>|\[system\]|\bnew instructions\s*:`)

	leakTrace = regexp.MustCompile(`(?i)traceback \(most recent call last\)|goroutine \d+ \[|exception in thread "|\bat (?:java|org|com)\.[\w.$]+\([\w.]+\.java:\d+\)`)
	leakSQL   = regexp.MustCompile(`(?i)error in your sql syntax|\bora-0\d{4}\b|sqlstate\[|unclosed quotation mark|sqlite3\.\w*error|psycopg2\.\w`)
)

func findPrompt(f finder, v string) {
	score, rule := 0.0, "frame"
	if f.seen&seenFrame != 0 && promptFrame.MatchString(v) {
		score = 0.4
	}
	if f.seen&seenRole != 0 && promptRole.MatchString(v) {
		score, rule = score+0.6, "role"
	}
	if gatePrompt.open(f.seen) && promptStrong.MatchString(v) {
		score, rule = score+0.85, "instruction"
	}
	f.add(catPrompt, rule, score)
}

func findLeak(f finder, v string) {
	if f.seen&seenTrace != 0 && leakTrace.MatchString(v) {
		f.add(catLeak, "stack_trace", 0.7)
	}
	if f.seen&seenSQLError != 0 && leakSQL.MatchString(v) {
		f.add(catLeak, "sql_error", 0.7)
	}
}

// findHidden looks for text that people do not see and models read.
func findHidden(f finder, v string) {
	var tags, selectors, zero, isolates int
	flag := false // inside a flag emoji, which tags are for
	for _, r := range v {
		switch {
		case r == 0x1F3F4:
			flag = true
			continue
		case 0xE0020 <= r && r <= 0xE007F:
			if !flag {
				tags++
			}
			continue
		case r == 0x202D || r == 0x202E:
			f.add(catHidden, "bidi", 0.8)
		case 0x2066 <= r && r <= 0x2069 || r == 0x202A || r == 0x202B:
			isolates++
		}
		flag = false
		if 0xFE00 <= r && r <= 0xFE0F || 0xE0100 <= r && r <= 0xE01EF {
			if selectors++; selectors >= 4 {
				f.add(catHidden, "selectors", 0.9)
			}
		} else {
			selectors = 0
		}
		if r == 0x200B || r == 0x200C || r == 0x200D || r == 0x2060 || r == 0xFEFF || 0x2061 <= r && r <= 0x2064 {
			if zero++; zero >= 3 {
				f.add(catHidden, "zero_width", 0.8)
			}
		} else {
			zero = 0
		}
	}
	if tags > 0 {
		f.add(catHidden, "tags", 0.95)
	}
	if isolates > 0 && !strings.ContainsFunc(v, rightToLeft) {
		f.add(catHidden, "isolates", 0.5)
	}
}

func rightToLeft(r rune) bool {
	return unicode.In(r, unicode.Hebrew, unicode.Arabic, unicode.Syriac, unicode.Thaana)
}
