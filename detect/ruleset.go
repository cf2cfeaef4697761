package detect

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"picket/detect/diag"
)

// RuleSet is every rule of a pack, compiled. It is immutable and shared.
type RuleSet struct {
	rules     []*Rule
	groupings [][]GroupTerm
	byHash    map[[16]byte]*Rule
	byID      map[string]*Rule
	literals  [firstNumber]*literals
	index     index
	hash      string
}

// Rules returns every rule, ordered by id; callers do not change the slice.
func (rs *RuleSet) Rules() []*Rule { return rs.rules }

// Groupings returns the different ways in which rules group.
func (rs *RuleSet) Groupings() [][]GroupTerm { return rs.groupings }

// Hash tells sets apart by what their rules mean and how bad they are; comments do not matter.
func (rs *RuleSet) Hash() string { return rs.hash }

// ByHash finds the rule with that meaning, or nil.
func (rs *RuleSet) ByHash(h [16]byte) *Rule { return rs.byHash[h] }

// ByID finds a rule by its id, or nil.
func (rs *RuleSet) ByID(id string) *Rule { return rs.byID[id] }

// MaxWindow is the longest window of any rule.
func (rs *RuleSet) MaxWindow() time.Duration {
	longest := time.Duration(0)
	for _, r := range rs.rules {
		longest = max(longest, r.Detector.Window)
	}
	return longest
}

// LoadOptions say how strictly a pack is read.
type LoadOptions struct {
	// Now is the date for which exceptions must not have expired; zero leaves dates alone.
	// An expired exception is a warning, since it stops to apply by event time anyway.
	Now time.Time
	// Lint makes warnings errors, and asks of each rule a test that fires and one that does not.
	Lint bool
	// Disabled are ids of rules that must not run; one that no rule has is a problem.
	Disabled []string
	// Names are files of fsys as their owner knows them, where that differs.
	Names map[string]string
}

// Load reads every rule below fsys: *.yaml and *.yml, several documents in a
// file allowed. Files below lists/ at the top hold named lists instead. It
// returns every rule, or diag.Problems with everything that is wrong.
func Load(fsys fs.FS) (*RuleSet, error) {
	rs, _, err := LoadWith(fsys, LoadOptions{})
	return rs, err
}

// LoadWith is Load with options; warnings do not keep rules from being used.
func LoadWith(fsys fs.FS, opts LoadOptions) (rs *RuleSet, warnings diag.Problems, err error) {
	sources, err := sourceFiles(fsys)
	if err != nil {
		return nil, nil, err
	}
	l := &loader{opts: opts, lists: map[string]*list{}, ids: map[string]*Rule{}, names: map[string]*Rule{}}
	for _, src := range sources {
		if strings.HasPrefix(src.File, "lists/") {
			l.listFile(l.shown(src))
		}
	}
	for _, src := range sources {
		if !strings.HasPrefix(src.File, "lists/") {
			l.ruleFile(l.shown(src))
		}
	}
	if opts.Lint {
		l.problems = append(l.problems, l.warnings...)
		l.warnings = nil
	}
	if len(l.problems) == 0 && len(l.rules) == 0 {
		return nil, nil, diag.Problems{{Msg: "no rules found: expected *.yaml files"}}
	}
	l.link()
	l.disable()
	l.linked()
	l.problems.Sort()
	l.warnings.Sort()
	if len(l.problems) > 0 {
		return nil, l.warnings, l.problems
	}
	return l.finish(), l.warnings, nil
}

// disable takes out the rules that must not run, after all were checked.
func (l *loader) disable() {
	for _, id := range l.opts.Disabled {
		i := slices.IndexFunc(l.rules, func(r *Rule) bool { return r.Info.ID == id })
		if i < 0 {
			p := diag.Problem{Msg: fmt.Sprintf("rule %q is to be disabled, and there is no such rule", id)}
			if near := diag.Closest(id, slices.Collect(maps.Keys(l.ids))); near != "" {
				p.Hint = fmt.Sprintf("did you mean %q?", near)
			}
			l.problems = append(l.problems, p)
			continue
		}
		l.rules = slices.Delete(l.rules, i, i+1)
	}
}

// sourceFiles reads the files of a pack in the order of their names.
func sourceFiles(fsys fs.FS) ([]diag.Source, error) {
	var sources []diag.Source
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		ext := path.Ext(name)
		if entry.IsDir() || ext != ".yaml" && ext != ".yml" {
			return nil
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		sources = append(sources, diag.Source{File: name, Data: data})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	return sources, nil
}

type loader struct {
	opts     LoadOptions
	lists    map[string]*list // of files
	literals [firstNumber]*literals
	rules    []*Rule
	ids      map[string]*Rule
	names    map[string]*Rule
	links    []link
	problems diag.Problems
	warnings diag.Problems
}

// shown gives a source the name that its owner knows it by.
func (l *loader) shown(src diag.Source) diag.Source {
	if name, ok := l.opts.Names[src.File]; ok {
		src.File = name
	}
	return src
}

func (l *loader) listFile(src diag.Source) {
	docs, problems := diag.Parse(src)
	l.problems = append(l.problems, problems...)
	d := diag.NewCtx(src)
	for _, doc := range docs {
		var lists map[string]listDoc
		d.Decode(doc, &lists)
		for name, values := range lists {
			if l.lists[name] != nil {
				d.Errorf(doc, "list %q is already defined in another file", name)
			}
			l.lists[name] = &list{values: values.nodes}
		}
	}
	l.problems = append(l.problems, d.Problems()...)
}

func (l *loader) ruleFile(src diag.Source) {
	docs, problems := diag.Parse(src)
	l.problems = append(l.problems, problems...)
	for _, doc := range docs {
		l.rule(src, doc)
	}
}

// finish makes what the rules share.
func (l *loader) finish() *RuleSet {
	for _, lits := range l.literals {
		if lits != nil {
			lits.build()
		}
	}
	return newRuleSet(l.rules, l.literals)
}

// newRuleSet orders the rules and makes their index and plans.
func newRuleSet(rules []*Rule, lits [firstNumber]*literals) *RuleSet {
	slices.SortFunc(rules, func(a, b *Rule) int { return strings.Compare(a.Info.ID, b.Info.ID) })
	rs := &RuleSet{rules: rules, byHash: map[[16]byte]*Rule{}, byID: map[string]*Rule{}, literals: lits}
	groupings := map[string]int{}
	sum := sha256.New()
	for i, r := range rules {
		fmt.Fprintf(sum, "%x %s %s\n", r.Hash, r.Severity, r.Mode)
		r.Index = i
		r.Info.Hash = hex.EncodeToString(r.Hash[:])
		rs.byHash[r.Hash] = r
		rs.byID[r.Info.ID] = r
		key := groupCanon(r.GroupBy)
		g, ok := groupings[key]
		if !ok {
			g = len(rs.groupings)
			groupings[key] = g
			rs.groupings = append(rs.groupings, r.GroupBy)
		}
		r.Grouping = g
	}
	rs.hash = hex.EncodeToString(sum.Sum(nil)[:8])
	rs.index = buildIndex(rs.rules)
	makePlans(rs.rules)
	return rs
}

func groupCanon(terms []GroupTerm) string {
	parts := make([]string, len(terms))
	for i, t := range terms {
		parts[i] = t.String()
	}
	return strings.Join(parts, ";")
}
