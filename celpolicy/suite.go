package celpolicy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/caddy-okta/caddy-okta/internal/deny"
)

// testTime is when a test takes place that does not say: noon in UTC, a Thursday. It never changes, and neither does what
// a test gives.
var testTime = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// fileTest is one test of a policy file.
type fileTest struct {
	// Name says in a sentence what must be. Required.
	Name string `json:"name"`

	scenario

	// Expect is what must become of the request. Required.
	Expect expectation `json:"expect"`

	line int
}

func (t *fileTest) locate(_ string, n *yaml.Node) { t.line = n.Line }

// expectation is what a test wants. What is left out may be anything.
type expectation struct {
	// Decision is allow, deny, step_up or error. Required.
	Decision Result `json:"decision"`

	// Rule is the rule that decides; "" is none.
	Rule *string `json:"rule,omitempty"`

	// Reason and Status are those of the answer.
	Reason string `json:"reason,omitempty"`
	Status int    `json:"status,omitempty"`
}

// possibleReasons are those that a policy can answer with.
var possibleReasons = []deny.Reason{
	deny.OK, deny.Anonymous, deny.NoCredential, deny.PolicyDenied, deny.PolicyError, deny.StepUpRequired, deny.AmbiguousPath, deny.MalformedRequest,
}

func (t *fileTest) check() error {
	reasons := make([]string, 0, len(possibleReasons))
	for _, reason := range possibleReasons {
		reasons = append(reasons, reason.String())
	}
	switch {
	case t.Name == "":
		return errors.New("the test has no name: write what must be, in a sentence")
	case t.Expect.Decision == "":
		return fmt.Errorf("test %q expects nothing: write expect, with a decision: allow, deny, step_up or error", t.Name)
	case !slices.Contains([]Result{Allow, Deny, StepUp, Error}, t.Expect.Decision):
		return fmt.Errorf("test %q expects the decision %q: write allow, deny, step_up or error", t.Name, t.Expect.Decision)
	case t.Expect.Reason != "" && !slices.Contains(reasons, t.Expect.Reason):
		return fmt.Errorf("test %q expects the reason %q: write one of %s", t.Name, t.Expect.Reason, strings.Join(reasons, ", "))
	}
	if _, _, err := t.build(); err != nil {
		return fmt.Errorf("test %q: %w", t.Name, err)
	}
	return nil
}

// failure returns what is not as expected, or nothing.
func (e *expectation) failure(got verdict) string {
	var wrong []string
	differ := func(what, want, got string) {
		if want != got {
			wrong = append(wrong, fmt.Sprintf("%s %s, want %s", what, orNone(got), orNone(want)))
		}
	}
	differ("decision", string(e.Decision), got.Decision)
	if e.Rule != nil {
		differ("rule", *e.Rule, got.Rule)
	}
	if e.Reason != "" {
		differ("reason", e.Reason, got.Reason)
	}
	if e.Status != 0 {
		differ("status", fmt.Sprint(e.Status), fmt.Sprint(got.Status))
	}
	return strings.Join(wrong, "; ")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// suiteResult is what the tests of one policy gave.
type suiteResult struct {
	Policy   string       `json:"policy"`
	Files    []string     `json:"files"`
	Tests    []testResult `json:"tests"`
	Failed   int          `json:"failed"`
	Coverage coverage     `json:"coverage"`
}

// testResult is what one test gave.
type testResult struct {
	Name    string  `json:"name"`
	File    string  `json:"file"`
	Line    int     `json:"line"`
	Passed  bool    `json:"passed"`
	Failure string  `json:"failure,omitempty"` // what is not as expected
	Outcome verdict `json:"outcome"`
}

// test runs the tests of the files. They are decided by what serves requests; a policy that only reports is tested as if
// it refused.
func (l *loadedPolicy) test() suiteResult {
	result := suiteResult{Policy: l.compiled.name, Files: []string{}, Tests: []testResult{}}
	h := &Handler{policy: &l.policy, compiled: l.compiled}
	seen := newTracker(h)
	for _, file := range l.files {
		result.Files = append(result.Files, file.file)
		for i := range file.Tests {
			t := &file.Tests[i]
			got := t.run(h, seen)
			failure := t.Expect.failure(got)
			if failure != "" {
				result.Failed++
			}
			result.Tests = append(result.Tests, testResult{t.Name, file.file, t.line, failure == "", failure, got})
		}
	}
	result.Coverage = seen.coverage()
	return result
}

func (t *fileTest) run(h *Handler, seen *tracker) verdict {
	now := t.Now
	if now.IsZero() {
		now = testTime
	}
	r, caller, err := t.build()
	if err != nil { // check has built it before
		return verdict{Decision: string(Error), Error: err.Error()}
	}
	got, judged := h.outcomeOf(r, caller, now)
	if judged {
		seen.observe(newInput(r, caller, now), got)
	}
	return got
}
