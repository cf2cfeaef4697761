package docs_test

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"picket/detect"
	"picket/detect/diag"
	"picket/ingest"
)

var update = flag.Bool("update", false, "write the tables that are made from the code")

func page(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// fences are the fenced blocks of a page that begin with the line ```lang.
func fences(text, lang string) []string {
	var out []string
	for _, m := range regexp.MustCompile("(?ms)^```"+lang+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

// rulesOfThePage loads every rule that docs/rules.md shows, as strictly as it goes.
func rulesOfThePage(t *testing.T) *detect.RuleSet {
	t.Helper()
	all := fstest.MapFS{}
	for i, text := range fences(page(t, "rules.md"), "yaml") {
		name := fmt.Sprintf("block%02d.yaml", i)
		if strings.HasPrefix(text, "# lists/") {
			name, _, _ = strings.Cut(strings.TrimPrefix(text, "# "), "\n")
		}
		all[name] = &fstest.MapFile{Data: []byte(text)}
	}
	rs, _, err := detect.LoadWith(all, detect.LoadOptions{Lint: true, Now: time.Now()})
	var problems diag.Problems
	if errors.As(err, &problems) {
		var b strings.Builder
		problems.Write(&b, false)
		t.Fatal(b.String())
	}
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// TestRulesOfThePage runs the tests in the rules that docs/rules.md shows.
func TestRulesOfThePage(t *testing.T) {
	rs := rulesOfThePage(t)
	if len(rs.Rules()) < 4 {
		t.Errorf("the page shows %d rules: too few", len(rs.Rules()))
	}
	// The first rule is what people copy: its tests hold all of it.
	for _, c := range rs.Coverage(func(r *detect.Rule) bool { return r.Info.ID == "MY-01" }) {
		for _, p := range c.Parts {
			if !p.Decided {
				t.Errorf("%s: no test would miss %s", c.Rule.Info.ID, p.Text)
			}
		}
	}
	for _, r := range rs.RunTests(nil) {
		if r.Failed != "" {
			t.Errorf("%s: %s: %s", r.Rule.Info.ID, r.Case.Name, r.Failed)
		}
	}
}

// TestNamedTestsExist looks for every test that a page names. A promise whose test is gone
// has to be noticed.
func TestNamedTestsExist(t *testing.T) {
	defined := map[string]bool{}
	each(t, "_test.go", func(text string) {
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`).FindAllStringSubmatch(text, -1) {
			defined[m[1]] = true
		}
	})
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("decisions/*.md")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, p := range append(pages, more...) {
		for _, m := range regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w+)`").FindAllStringSubmatch(page(t, p), -1) {
			named++
			if !defined[m[1]] {
				t.Errorf("%s names %s, which does not exist", p, m[1])
			}
		}
	}
	if named < 40 {
		t.Errorf("found %d named tests: the expression does not see them", named)
	}
}

// TestMetricsAreExplained wants a row for every metric, and no row for one that is gone.
func TestMetricsAreExplained(t *testing.T) {
	b, err := os.ReadFile("../cmd/internal/role/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	var code []string
	for _, m := range regexp.MustCompile(`(?:counter\(|gauge\(|Name: )"([a-z_]+)"`).FindAllStringSubmatch(string(b), -1) {
		code = append(code, "picket_"+m[1])
	}
	for _, m := range regexp.MustCompile(`counter\(\s*"([a-z_]+)"`).FindAllStringSubmatch(string(b), -1) {
		code = append(code, "picket_"+m[1])
	}
	slices.Sort(code)
	code = slices.Compact(code)
	var shown []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(picket_[a-z_]+)`").FindAllStringSubmatch(page(t, "operations.md"), -1) {
		shown = append(shown, m[1])
	}
	slices.Sort(shown)
	if len(code) < 15 || !slices.Equal(code, shown) {
		t.Errorf("metrics of the code:\n%v\nof docs/operations.md:\n%v", code, shown)
	}
}

// TestClassesAreExplained wants a row for every reason of a dead letter.
func TestClassesAreExplained(t *testing.T) {
	var shown []ingest.Class
	_, text, _ := strings.Cut(page(t, "events.md"), "## Dead letters")
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)`").FindAllStringSubmatch(text, -1) {
		shown = append(shown, ingest.Class(m[1]))
	}
	want := ingest.Classes()
	slices.Sort(want)
	slices.Sort(shown)
	if !slices.Equal(shown, want) {
		t.Errorf("docs/events.md explains %v, the code has %v", shown, want)
	}
}

// TestModifiersAreExplained wants every modifier of a selection in the reference.
func TestModifiersAreExplained(t *testing.T) {
	b, err := os.ReadFile("../detect/selection.go")
	if err != nil {
		t.Fatal(err)
	}
	text, found := strings.ReplaceAll(page(t, "rules.md"), `\|`, "|"), 0
	for _, list := range regexp.MustCompile(`(?m)^\t(?:operators|flags)\s+= \[\]string\{(.*)\}$`).FindAllStringSubmatch(string(b), -1) {
		for _, w := range regexp.MustCompile(`"(\w+)"`).FindAllStringSubmatch(list[1], -1) {
			found++
			if !strings.Contains(text, "`|"+w[1]+"`") {
				t.Errorf("docs/rules.md does not explain |%s", w[1])
			}
		}
	}
	if found < 15 {
		t.Errorf("found %d modifiers: the expression does not see them", found)
	}
}

// TestLinks looks for the file behind every relative link of the pages and the README.
func TestLinks(t *testing.T) {
	links := 0
	for _, root := range []string{"../README.md", "../CHANGELOG.md", "../CONTRIBUTING.md", "."} {
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(name) != ".md" {
				return err
			}
			for _, m := range regexp.MustCompile(`(?:\]\(|src="|srcset=")([^)"#\s]+)`).FindAllStringSubmatch(page(t, name), -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				links++
				if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
					t.Errorf("%s links to %s, which is not there", name, m[1])
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if links < 20 {
		t.Errorf("found %d links: the expression does not see them", links)
	}
}

// each calls fn with the text of every file of the repository with that ending.
func each(t *testing.T, ending string, fn func(string)) {
	t.Helper()
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2:
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ending):
			return nil
		}
		fn(page(t, name))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// byName orders fields as a reader looks for them.
func byName(a, b detect.Field) int { return cmp.Compare(a.String(), b.String()) }
