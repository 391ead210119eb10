package celpolicy

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// report is what all tests of one run gave.
type report struct {
	Policies []suiteResult `json:"policies"`
	Tests    int           `json:"tests"`
	Failed   int           `json:"failed"`
}

func (r *report) add(s suiteResult) {
	r.Policies = append(r.Policies, s)
	r.Tests += len(s.Tests)
	r.Failed += s.Failed
}

// formats are the ways to write a report.
var formats = map[string]func(*report, io.Writer) error{
	"text":  (*report).writeText,
	"json":  (*report).writeJSON,
	"junit": (*report).writeJUnit,
}

// writeText writes for people: failures, and what the tests left unseen.
func (r *report) writeText(w io.Writer) error {
	var b strings.Builder
	for _, s := range r.Policies {
		word := "ok  "
		if s.Failed > 0 {
			word = "FAIL"
		}
		fmt.Fprintf(&b, "%s  %s: %s of %s\n", word, s.Policy, count(len(s.Tests), "test"), orNone(strings.Join(s.Files, ", ")))
		for _, t := range s.Tests {
			if !t.Passed {
				fmt.Fprintf(&b, "      %s:%d: %s\n", t.File, t.Line, t.Name)
				fmt.Fprintf(&b, "          %s\n          %s\n", t.Failure, t.Outcome)
			}
		}
		for _, unseen := range []struct {
			what  string
			rules []string
		}{
			{"rules that no test reached", s.Coverage.Unreached},
			{"expressions never true", s.Coverage.NeverTrue},
			{"expressions never false", s.Coverage.NeverFalse},
		} {
			if len(unseen.rules) > 0 {
				fmt.Fprintf(&b, "      %s: %s\n", unseen.what, strings.Join(unseen.rules, ", "))
			}
		}
	}
	fmt.Fprintf(&b, "%s, %d failed\n", count(r.Tests, "test"), r.Failed)
	_, err := io.WriteString(w, b.String())
	return err
}

// String says in a line what became of a request.
func (o verdict) String() string {
	var b strings.Builder
	b.WriteString(o.Decision)
	if o.Rule != "" {
		fmt.Fprintf(&b, " by rule %s", o.Rule)
	}
	fmt.Fprintf(&b, " (%s, status %d)", o.Reason, o.Status)
	if o.Error != "" {
		fmt.Fprintf(&b, ": %s", o.Error)
	}
	return b.String()
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (r *report) writeJSON(w io.Writer) error { return writeJSON(w, r) }

func writeJSON(w io.Writer, value any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(value)
}

// The elements of JUnit's XML that reporting tools read.
type (
	junitReport struct {
		XMLName xml.Name     `xml:"testsuites"`
		Tests   int          `xml:"tests,attr"`
		Failed  int          `xml:"failures,attr"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name   string      `xml:"name,attr"`
		Tests  int         `xml:"tests,attr"`
		Failed int         `xml:"failures,attr"`
		Cases  []junitCase `xml:"testcase"`
		Output string      `xml:"system-out,omitempty"` // what the tests left unseen
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		File    string        `xml:"file,attr"`
		Line    int           `xml:"line,attr"`
		Failure *junitFailure `xml:"failure,omitempty"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

func (r *report) writeJUnit(w io.Writer) error {
	out := junitReport{Tests: r.Tests, Failed: r.Failed}
	for _, s := range r.Policies {
		suite := junitSuite{Name: s.Policy, Tests: len(s.Tests), Failed: s.Failed}
		for _, t := range s.Tests {
			c := junitCase{Name: t.Name, Class: s.Policy, File: t.File, Line: t.Line}
			if !t.Passed {
				c.Failure = &junitFailure{t.Failure, fmt.Sprintf("%s:%d: %s", t.File, t.Line, t.Outcome)}
			}
			suite.Cases = append(suite.Cases, c)
		}
		if unseen, err := json.Marshal(s.Coverage); err == nil && !s.Coverage.complete() {
			suite.Output = string(unseen)
		}
		out.Suites = append(out.Suites, suite)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// writeText writes an explanation for people.
func (e *explanation) writeText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "policy %s: %s\n", e.Policy, e.verdict)
	for i := range e.Rules {
		r := &e.Rules[i]
		fmt.Fprintf(&b, "\n%s %s", r.Kind, r.Rule)
		for _, cover := range []string{strings.Join(r.Methods, ","), r.Path} {
			if cover != "" {
				b.WriteString(" " + cover)
			}
		}
		fmt.Fprintf(&b, ": %s\n", r.verdict())
		if r.When != nil {
			r.When.writeText(&b, 1)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *ruleExplanation) verdict() string {
	text := "applies"
	switch r.Because {
	case "method", "path":
		text = "does not apply: another " + r.Because
	case "when":
		text = "does not apply: the expression is false"
	case "error":
		text = "fails: " + r.Error
	}
	if r.Satisfied != nil {
		text += map[bool]string{true: "; the caller satisfies it", false: "; the caller does not satisfy it"}[*r.Satisfied]
	}
	return text
}

// longestValue is how much of a value is written for people.
const longestValue = 200

func (p *part) writeText(b *strings.Builder, depth int) {
	value := []rune(string(p.Value))
	switch {
	case p.Error != "":
		value = []rune("fails: " + p.Error)
	case p.Value == nil:
		value = []rune("not evaluated")
	case len(value) > longestValue:
		value = append(value[:longestValue], '…')
	}
	round := ""
	if p.LastRound {
		round = " (last round)"
	}
	fmt.Fprintf(b, "%s%s  →  %s%s\n", strings.Repeat("    ", depth), p.Expression, string(value), round)
	for _, inner := range p.Parts {
		inner.writeText(b, depth+1)
	}
}
