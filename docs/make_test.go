package docs_test

import (
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// make help has every target that the Makefile says something of, in one column.
func TestMakeHelp(t *testing.T) {
	for _, tool := range []string{"make", "awk"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	cmd := exec.Command("make", "-s", "--no-print-directory", "-C", "..", "help")
	cmd.Env = append(os.Environ(), "MAKEFLAGS=") // a make above this one has its own
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	targets := regexp.MustCompile(`(?m)^([^\s:#=]+):.*?## (.*)$`).FindAllStringSubmatch(page(t, "../Makefile"), -1)
	rows := regexp.MustCompile(`(?m)^  (\S+) +(.*)$`).FindAllStringSubmatch(string(out), -1)
	if len(targets) < 20 || len(rows) != len(targets) {
		t.Fatalf("%d targets of %d are shown:\n%s", len(rows), len(targets), out)
	}
	for i, row := range rows {
		if row[1] != targets[i][1] || row[2] != targets[i][2] || len(row[0])-len(row[2]) != len(rows[0][0])-len(rows[0][2]) {
			t.Errorf("%q is shown of %q, or in another column", row[0], targets[i][1:])
		}
	}
}
