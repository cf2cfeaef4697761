package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"picket/cmd/internal/app"
	"picket/cmd/internal/config"
	"picket/detect"
	"picket/detect/diag"
)

// rules loads the configured rules; what is wrong with them is written to
// standard error, and the error that is returned only sums it up.
func (e *env) rules(cfg *config.Config) (*detect.RuleSet, error) {
	return e.loadRules(cfg, detect.LoadOptions{Now: time.Now()})
}

func (e *env) loadRules(cfg *config.Config, o detect.LoadOptions) (*detect.RuleSet, error) {
	rs, warnings, err := app.LoadRules(cfg, o)
	for _, w := range warnings {
		fmt.Fprintf(e.stderr, "warning: %s\n", w)
	}
	var problems diag.Problems
	if errors.As(err, &problems) {
		problems.Write(e.stderr, e.color(e.stderr))
		fmt.Fprintln(e.stderr)
		return nil, &exitError{exitConfig, fmt.Errorf("%s in the rules", count(len(problems), "problem"))}
	}
	if err != nil {
		return nil, &exitError{exitConfig, err}
	}
	return rs, nil
}

func newCheckRulesCmd(e *env) *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use:     "rules [folder|file]",
		Short:   "Show everything wrong with the rules, without running their tests",
		Args:    cobra.MaximumNArgs(1),
		Example: "  picket check rules\n  picket check rules --strict ./rules",
		Long: `Check rules loads the rules as 'picket run' does: is everything in them known and of the right kind? It does not
run the tests that they carry: 'picket test' does, and loads them first, so it finds what this one finds too.`,

		ValidArgsFunction: files("yaml", "yml"),
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, err := e.config()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				onlyDir(cfg, args[0])
			}
			rs, err := e.loadRules(cfg, detect.LoadOptions{Now: time.Now(), Lint: strict})
			if err != nil {
				return err
			}
			fmt.Fprintf(e.stdout, "%s: ok\n", count(len(rs.Rules()), "rule"))
			return nil
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "also refuse expired exceptions, and rules without a test that fires and one that does not")
	return cmd
}

func newTestCmd(e *env) *cobra.Command {
	var run, junit, before string
	var coverage, asJSON, strict bool
	cmd := &cobra.Command{
		Use:     "test [folder|file]",
		Short:   "Run the tests that rules carry",
		GroupID: groupCheck,
		Args:    cobra.MaximumNArgs(1),

		ValidArgsFunction: files("yaml", "yml"),
		Long: `Test runs every rule's own tests through the same engine that runs live, and shows the failures last. Without
a folder it tests the configured rules, which is the built-in pack by default. It says whether rules do what
their author expects; 'picket check rules' only whether they can be loaded.

With --coverage it takes every part of a rule out, one at a time, and runs the rule's tests again: each condition,
each value of a list, each exception; counts are moved by one and windows made twice as long. A part that no
test misses is shown with the kind of test that would miss it.

With --diff it runs the tests of these rules and of those in another folder, such as a checkout of the main branch, by
both, and shows which end otherwise. Rules that only that folder has come last, in one line. 'picket replay --diff' does
the same with recorded events.

The exit code is 1 when a test fails, and 78 when a rule cannot be loaded.`,
		Example: "  picket test\n  picket test ./rules --run '^AU-'\n  picket test --junit report.xml\n  picket test ./rules --coverage --strict\n  picket test ./rules --diff ../main/rules",
		RunE: func(_ *cobra.Command, args []string) error {
			pattern, err := regexp.Compile(run)
			if err != nil {
				return usagef("--run: %v", err)
			}
			switch {
			case !coverage && (asJSON || strict):
				return usagef("--json and --strict go with --coverage")
			case coverage && before != "":
				return usagef("--diff does not go with --coverage")
			case coverage && junit != "":
				return usagef("--junit does not go with --coverage")
			}
			cfg, err := e.config()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				onlyDir(cfg, args[0])
			}
			rs, err := e.rules(cfg)
			if err != nil {
				return err
			}
			if coverage {
				return e.showCoverage(rs.Coverage(func(r *detect.Rule) bool { return pattern.MatchString(r.Info.ID) }), asJSON, strict)
			}
			keep := func(r *detect.Rule, c detect.TestCase) bool { return pattern.MatchString(r.Info.ID + " " + c.Name) }
			if before != "" {
				was, err := e.rulesBefore(cfg, before)
				if err != nil {
					return err
				}
				e.showTestDiff(was, rs, keep)
				return nil
			}
			results := rs.RunTests(keep)
			if junit != "" {
				if err := writeJUnit(junit, results); err != nil {
					return err
				}
			}
			return e.showTests(len(rs.Rules()), results)
		},
	}
	cmd.Flags().StringVar(&run, "run", "", "only tests whose \"id name\" matches this regular `expression`; with --coverage, only rules whose id does")
	completeFlag(cmd, "run", e.completeRules)
	cmd.Flags().StringVar(&junit, "junit", "", "also write a JUnit report to this `file`")
	cmd.Flags().StringVar(&before, "diff", "", "show which tests end otherwise than by the rules of this `folder` or file")
	_ = cmd.MarkFlagFilename("diff", "yaml", "yml") // the flag is the line above
	cmd.Flags().BoolVar(&coverage, "coverage", false, "show which parts of the rules no test would miss")
	cmd.Flags().BoolVar(&asJSON, "json", false, "with --coverage: print a JSON line for each rule")
	cmd.Flags().BoolVar(&strict, "strict", false, "with --coverage: fail when a rule has no test that fires, or none that stays quiet")
	return cmd
}

func (e *env) showTests(rules int, results []detect.TestResult) error {
	failed, tested := 0, map[string]bool{}
	for _, r := range results {
		tested[r.Rule.Info.ID] = true
		if r.Failed != "" {
			failed++
		}
	}
	red, plain := "", ""
	if e.color(e.stdout) {
		red, plain = "\x1b[31m", "\x1b[0m"
	}
	for _, r := range results {
		if r.Failed != "" {
			fmt.Fprintf(e.stdout, "%sFAIL%s %s: %s\n     %s:%d: %s\n", red, plain, r.Rule.Info.ID, r.Case.Name, r.Case.File, r.Case.Line, r.Failed)
		}
	}
	of := count(rules, "rule")
	if len(tested) < rules {
		of = fmt.Sprintf("%d of %s", len(tested), of)
	}
	fmt.Fprintf(e.stdout, "%s, %s: %d passed, %d failed\n", of, count(len(results), "test"), len(results)-failed, failed)
	switch {
	case failed > 0:
		return &exitError{code: exitFailure}
	case len(results) == 0:
		return &exitError{exitFailure, errors.New("no test was run: --run matches none, or the rules carry none")}
	}
	return nil
}

type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Seconds float64       `xml:"time,attr"`
	Failure *junitFailure `xml:"failure"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// writeJUnit writes one suite a rule.
func writeJUnit(path string, results []detect.TestResult) (err error) {
	var doc junitSuites
	for _, r := range results {
		i := slices.IndexFunc(doc.Suites, func(s junitSuite) bool { return s.Name == r.Rule.Info.ID })
		if i < 0 {
			i = len(doc.Suites)
			doc.Suites = append(doc.Suites, junitSuite{Name: r.Rule.Info.ID})
		}
		s := &doc.Suites[i]
		c := junitCase{Class: r.Rule.Info.ID, Name: r.Case.Name, Seconds: r.Took.Seconds()}
		if r.Failed != "" {
			s.Failures++
			c.Failure = &junitFailure{Message: r.Failed, Text: fmt.Sprintf("%s:%d", r.Case.File, r.Case.Line)}
		}
		s.Tests++
		s.Cases = append(s.Cases, c)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the JUnit report: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, strings.NewReader(xml.Header)); err != nil {
		return fmt.Errorf("write the JUnit report: %w", err)
	}
	enc := xml.NewEncoder(f)
	enc.Indent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return fmt.Errorf("write the JUnit report: %w", err)
	}
	return nil
}
