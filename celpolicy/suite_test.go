package celpolicy

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// manyTests returns a policy of 20 rules with n tests, as a file.
func manyTests(n int) string {
	var b strings.Builder
	b.WriteString("rules:\n")
	for i := range 20 {
		fmt.Fprintf(&b, "  - allow: rule%d\n    methods: [GET]\n    path: /things%d/{id}\n    when: params.id == principal.subject && \"read\" in principal.scopes\n", i, i)
	}
	b.WriteString("tests:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - name: test %d\n    request: {path: /things%d/alice, ip: 10.0.0.1, headers: {X-Tag: a}}\n"+
			"    claims: {sub: alice, scp: [read], groups: [Everyone]}\n    expect: {decision: allow, rule: rule%d}\n", i, i%20, i%20)
	}
	return b.String()
}

func BenchmarkThousandTests(b *testing.B) {
	path := filepath.Join(write(b, map[string]string{"a.yaml": manyTests(1000)}), "a.yaml")
	b.ReportAllocs()
	for b.Loop() {
		if out, err := command(b, "", "test", path); err != nil {
			b.Fatal(err, out)
		}
	}
}

// TestATestCostsLittle keeps a thousand tests within a second: allocations are what they cost, and a hundred take some
// ten microseconds. Reading, deciding and coverage are included, compiling the rules is not.
func TestATestCostsLittle(t *testing.T) {
	run := func(n int) float64 {
		path := filepath.Join(write(t, map[string]string{"a.yaml": manyTests(n)}), "a.yaml")
		return testing.AllocsPerRun(1, func() {
			if out, err := command(t, "", "test", path); err != nil {
				t.Fatal(err, out)
			}
		})
	}
	const tests, budget = 1000, 500
	if each := (run(1+tests) - run(1)) / tests; each > budget {
		t.Errorf("%.0f allocations for a test, budget %d", each, budget)
	}
}

// Coverage does not depend on the order of the rules, as decisions do not.
func TestCoverageIgnoresTheOrderOfRules(t *testing.T) {
	rules := []string{
		"{allow: a, when: request.method != ''}", "{allow: b, when: request.method == ''}",
		"{deny: c, path: /shut}", "{step_up: d, acr_values: [phr]}",
	}
	tests := "tests: [{name: t, claims: {sub: alice, acr: phr}, expect: {decision: allow}}]\n"
	for range len(rules) {
		rules = append(rules[1:], rules[0])
		file, err := parsePolicyFile("a.yaml", []byte("rules: ["+strings.Join(rules, ", ")+"]\n"+tests))
		if err != nil {
			t.Fatal(err)
		}
		loaded := &loadedPolicy{files: []*policyFile{file}}
		if err := loaded.merge(Policy{}); err != nil {
			t.Fatal(err)
		}
		result := loaded.test()
		if got := fmt.Sprint(result.Failed, result.Coverage); got != "0 {[c] [b] [a]}" {
			t.Errorf("rules %v: failed and coverage %s, want 0 {[c] [b] [a]}", rules, got)
		}
	}
}
