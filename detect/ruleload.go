package detect

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"picket/detect/diag"
)

// RuleSchema is what a rule's schema key says.
const RuleSchema = "rule/v1"

const (
	maxWindow       = time.Hour
	maxSuppress     = time.Hour
	defaultSuppress = 10 * time.Minute
	maxCount        = 100_000
)

var (
	ruleID     = regexp.MustCompile(`^[A-Z]{2,4}-[0-9]{2,6}(-[A-Z0-9]{1,12})*$`)
	ruleName   = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)*$`)
	ruleTag    = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)+$`)
	severities = []string{"low", "medium", "high", "critical"}
	statuses   = []string{"experimental", "test", "stable", "deprecated"}
	modes      = []string{"alert", "signal", "shadow"}
	titleVar   = regexp.MustCompile(`\{\{[^}]*\}\}`)
)

// ruleLoad is the loading of one document.
type ruleLoad struct {
	*loader
	d    *diag.Ctx
	node *yaml.Node
	doc  ruleDoc
	c    *compiler
	rule *Rule
	warn diag.Problems
	// what the hash is made of, in a fixed order
	canon []string

	base    compiled        // match
	pending *placed[string] // from of the step at hand
	terms   []compiled      // of the streams of a rule with several conditions; no pred: none of its own
}

func (l *loader) rule(src diag.Source, node *yaml.Node) {
	d := diag.NewCtx(src)
	r := &ruleLoad{loader: l, d: d, node: node, rule: &Rule{File: src.File, Line: node.Line, source: src}}
	if node.Kind != yaml.MappingNode {
		d.Report(node, "expected a rule, found "+diag.Describe(node), "a rule starts with schema: "+RuleSchema)
	} else {
		d.Decode(node, &r.doc)
		r.info()
		r.condition()
		r.detector()
		r.group()
		r.exceptions()
		r.lists()
		r.alert()
		r.tests()
		r.unique()
	}
	l.warnings = append(l.warnings, r.warn...)
	if problems := d.Problems(); len(problems) > 0 {
		l.problems = append(l.problems, problems...)
		return
	}
	sum := sha256.Sum256([]byte(strings.Join(r.canon, "\n")))
	copy(r.rule.Hash[:], sum[:])
	l.rules = append(l.rules, r.rule)
}

// key returns the node of a top-level key, to complain at.
func (r *ruleLoad) key(name string) *yaml.Node {
	for i := 0; i+1 < len(r.node.Content); i += 2 {
		if r.node.Content[i].Value == name {
			return r.node.Content[i]
		}
	}
	return r.node
}

func (r *ruleLoad) meaning(format string, args ...any) {
	r.canon = append(r.canon, fmt.Sprintf(format, args...))
}

func (r *ruleLoad) oneOf(p placed[string], what string, known []string, fallback string) string {
	if p.n == nil {
		return fallback
	}
	if p.v != "" && !slices.Contains(known, p.v) {
		hint := diag.Closest(p.v, known)
		if hint == "" {
			hint = strings.Join(known, ", ")
		}
		r.d.Report(p.n, fmt.Sprintf("unknown %s %q", what, p.v), "use "+hint)
	}
	return p.v
}

func (r *ruleLoad) pattern(p placed[string], what string, re *regexp.Regexp, example string) {
	if p.n != nil && p.v != "" && !re.MatchString(p.v) {
		r.d.Report(p.n, fmt.Sprintf("%q is not a %s", p.v, what), "write it like "+example)
	}
}

func (r *ruleLoad) info() {
	doc, rule := &r.doc, r.rule
	if doc.Schema.n != nil && doc.Schema.v != RuleSchema {
		r.d.Report(doc.Schema.n, fmt.Sprintf("unknown schema %q", doc.Schema.v), "this version reads "+RuleSchema)
	}
	r.pattern(doc.ID, "rule id", ruleID, "AU-01")
	r.pattern(doc.Name, "rule name", ruleName, "auth.bruteforce")
	for _, p := range []placed[string]{doc.ID, doc.Name, doc.Title} {
		if p.n != nil && p.n.Value == "" {
			r.d.Report(p.n, "is empty", "")
		}
	}
	rule.Severity = r.oneOf(doc.Severity, "severity", severities, "")
	rule.Status = r.oneOf(doc.Status, "status", statuses, "experimental")
	rule.Mode = Mode(max(0, slices.Index(modes, r.oneOf(doc.Mode, "mode", modes, "alert"))))
	for _, p := range []placed[int]{doc.Confidence, doc.Risk} {
		if p.v < 0 || p.v > 100 {
			r.d.Errorf(p.n, "expected 0 to 100, found %d", p.v)
		}
	}
	rule.Confidence, rule.Risk, rule.FalsePositives = doc.Confidence.v, doc.Risk.v, doc.FalsePositives
	rule.Info = RuleInfo{
		ID: doc.ID.v, Name: doc.Name.v, Title: doc.Title.v, Description: strings.TrimSpace(doc.Description),
		Runbook: strings.TrimSpace(doc.Runbook),
	}
	for _, t := range doc.Tags {
		r.pattern(t, "tag", ruleTag, "attack.t1110.001")
		rule.Info.Tags = append(rule.Info.Tags, t.v)
	}
	for _, u := range doc.References {
		if u.v != "" && !strings.HasPrefix(u.v, "https://") && !strings.HasPrefix(u.v, "http://") {
			r.d.Report(u.n, fmt.Sprintf("%q is not a web address", u.v), "write https://...")
		}
		rule.Info.References = append(rule.Info.References, u.v)
	}
	r.meaning("rule %s", doc.ID.v)
}
