package docs_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"picket/detect"
	"picket/rules"
	"picket/store"
)

// TestTables compares the tables that are made from the code with the pages; -update writes them.
func TestTables(t *testing.T) {
	for _, x := range []struct {
		page, name string
		made       func(*testing.T) string
	}{
		{"rules.md", "rules", tableOfRules},
		{"rules.md", "explain", explained},
		{"privacy.md", "privacy", tableOfPrivacy},
		{"events.md", "fields", tableOfFields},
		{"queries.md", "failed_logins", query(0)},
		{"queries.md", "alert_timeline", query(1)},
		{"queries.md", "tools", query(2)},
	} {
		compare(t, x.page, x.name, x.made(t))
	}
}

// compare finds a table on a page, and writes it with -update where it is another one.
func compare(t *testing.T, on, name, want string) {
	t.Helper()
	text := page(t, on)
	begin, end := "<!-- table "+name+": made by 'make docs' -->\n", "<!-- end of table -->"
	at := strings.Index(text, begin)
	if at < 0 {
		t.Errorf("%s has no table %s", on, name)
		return
	}
	at += len(begin)
	n := strings.Index(text[at:], end)
	switch {
	case n < 0:
		t.Errorf("table %s of %s has no end", name, on)
	case text[at:at+n] == want:
	case *update:
		if err := os.WriteFile(on, []byte(text[:at]+want+text[at+n:]), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("table %s of docs/%s is not that of the code: run 'make docs'", name, on)
	}
}

func tableOfRules(t *testing.T) string {
	rs, err := detect.Load(rules.FS())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| Id | What it sees | Severity | Fires on | For each |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range rs.Rules() {
		var by []string
		for _, g := range r.GroupBy {
			by = append(by, code(g.String()))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.Info.ID, r.Info.Title, r.Severity, r.Fires(), strings.Join(by, ", "))
	}
	return b.String()
}

func code(s string) string { return "`" + s + "`" }

func sorted() []detect.Field {
	var out []detect.Field
	for f := range detect.NumFields {
		out = append(out, f)
	}
	slices.SortFunc(out, byName)
	return out
}

func tableOfPrivacy(*testing.T) string {
	var b strings.Builder
	b.WriteString("| Field | Leaves as | Class of the pseudonym |\n| --- | --- | --- |\n")
	for _, f := range sorted() {
		info := f.Info()
		leaves, class := "", code(f.Class())
		switch {
		case f.Kind() == detect.Number || f.Kind() == detect.Flag:
			leaves, class = "itself", ""
		case info.Enum != nil:
			leaves, class = "itself, one of a closed set", ""
		case info.Privacy == detect.Plain:
			leaves = "itself when it looks like an identifier, else a pseudonym"
		case info.Privacy == detect.Pseudo:
			leaves = "**pseudonym**"
		case info.Privacy == detect.Path:
			leaves = "**reduced** to scheme, depth and extension, with a pseudonym beside it"
		case info.Privacy == detect.Free:
			leaves = "itself when nothing in it looks personal or secret, else a pseudonym"
		case info.Privacy == detect.Dropped:
			leaves, class = "**nothing**: matched in memory and dropped", ""
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f, leaves, class)
	}
	return b.String()
}

func tableOfFields(t *testing.T) string {
	about := meanings(t, "fields.txt")
	var b strings.Builder
	b.WriteString("| Field | Holds | Meaning |\n| --- | --- | --- |\n")
	for _, f := range sorted() {
		holds := ""
		switch info := f.Info(); {
		case info.Enum != nil:
			holds = "`" + strings.Join(info.Enum, "`, `") + "`"
		case f == detect.IOArgs || f == detect.IOResult:
			holds = "text, object or array"
		case f.Kind() == detect.Text:
			holds = fmt.Sprintf("text, up to %d characters", info.Limit())
		case f.Kind() == detect.List:
			holds = fmt.Sprintf("list of texts, up to %d characters each", info.Limit())
		case f.Kind() == detect.Number:
			holds = "number"
		default:
			holds = "true or false"
		}
		what, ok := about[f.String()]
		if !ok {
			t.Errorf("docs/events.md does not say what %s means: add a line to docs/fields.txt", f)
		}
		delete(about, f.String())
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f, holds, what)
	}
	for name := range about {
		t.Errorf("docs/fields.txt explains %s, which is no field", name)
	}
	return b.String()
}

// meanings reads fields.txt or columns.txt: a name, two spaces or more, what it means.
func meanings(t *testing.T, file string) map[string]string {
	out := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^(\S+)\s{2,}(.+)$`).FindAllStringSubmatch(page(t, file), -1) {
		out[m[1]] = m[2]
	}
	return out
}

// query shows one of the saved queries as it is sent.
func query(i int) func(*testing.T) string {
	return func(t *testing.T) string {
		qs, err := store.DemoQueries("picket")
		if err != nil {
			t.Fatal(err)
		}
		return "```sql\n" + strings.TrimSpace(qs[i].SQL) + "\n```\n"
	}
}
