package celpolicy

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// A token's claims stay as they were parsed. Rules convert what they read of it, and nothing besides.
func TestRulesConvertOnlyWhatTheyRead(t *testing.T) {
	groups := make([]string, 1000)
	for i := range groups {
		groups[i] = fmt.Sprint("group", i)
	}
	caller := &principal.Caller{Judged: true, Identity: identity(t, map[string]any{
		"sub": "alice", "cid": "0oa1", "dept": "sales", "teams": groups, "groups": groups,
	})}
	r := newRequest(t, "GET", "/")
	for expression, budget := range map[string]float64{
		`claims.dept == "sales"`:          3,
		`!has(claims.absent)`:             1,
		`claims.?absent.orValue(1) == 1`:  3,
		`!("absent" in claims)`:           1,
		`"dept" in claims`:                3,
		`"group999" in principal.groups`:  1,
		`"group999" in claims.teams`:      5,
		`principal.subject != claims.cid`: 4,
	} {
		c := compile(t, Rule{Allow: "a", When: expression})
		if n := testing.AllocsPerRun(100, func() {
			if d := c.Decide(r, caller, noon); d.Result != Allow {
				t.Fatalf("%s: Decide() = %+v", expression, d)
			}
		}); n > budget {
			t.Errorf("%s: %v allocations, want at most %v", expression, n, budget)
		}
	}
}

// A large claim is converted when the first rule reads it, and not again for the others.
func TestALargeClaimIsConvertedOncePerRequest(t *testing.T) {
	big := make([]any, 1000)
	for i := range big {
		big[i] = map[string]any{"n": int64(i)}
	}
	caller := &principal.Caller{Judged: true, Identity: identity(t, map[string]any{"sub": "alice", "cid": "0oa1", "big": big})}
	r := newRequest(t, "GET", "/")
	cost := func(rules int) float64 {
		var all []Rule
		for i := range rules {
			all = append(all, Rule{Deny: fmt.Sprint("rule", i), When: `claims.big.size() != 1000`})
		}
		c := compile(t, append(all, Rule{Allow: "last", When: `claims.big.size() == 1000`})...)
		return testing.AllocsPerRun(10, func() {
			if d := c.Decide(r, caller, noon); d.Result != Allow {
				t.Fatalf("Decide() = %+v", d)
			}
		})
	}
	if one, many := cost(0), cost(50); many > one*1.5 { // the race detector empties pools at random
		t.Errorf("51 rules make %v allocations, one makes %v", many, one)
	}
}

// counting returns a request on which every reading of {test.reads} counts.
func counting(t testing.TB, method, target string) (r *http.Request, reads *int) {
	r, reads = newRequest(t, method, target), new(int)
	r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Map(func(key string) (any, bool) {
		if key != "test.reads" {
			return nil, false
		}
		*reads++
		return "x", true
	})
	return r, reads
}

// TestRulesOfOtherPathsAndMethodsCostOnlyThatComparison has ninety-nine rules whose expression nobody should evaluate.
func TestRulesOfOtherPathsAndMethodsCostOnlyThatComparison(t *testing.T) {
	last := Rule{Allow: "last", Methods: []string{"GET"}, Path: "/users/{id}", When: "true"}
	var rules []Rule
	for i := range 99 {
		r := Rule{Path: fmt.Sprintf("/users/{id}/part%d", i), When: `placeholder("test.reads") == "x"`}
		switch name := fmt.Sprintf("rule%d", i); i % 4 {
		case 0:
			r.Deny = name
		case 1:
			r.StepUp, r.ACRValues = name, []string{"other"}
		case 2:
			r.Allow, r.Path, r.Methods = name, "", []string{"PATCH"}
		default:
			r.Allow = name
		}
		rules = append(rules, r)
	}
	cost := func(c *Compiled) (allocations float64, evaluations int) {
		r, reads := counting(t, "GET", "/users/alice")
		caller := user(t)
		allocations = testing.AllocsPerRun(100, func() {
			if d := c.Decide(r, caller, noon); d.Rule != "last" {
				t.Fatalf("Decide() = %+v", d)
			}
		})
		return allocations, *reads
	}
	alone, _ := cost(compile(t, last))
	among, evaluations := cost(compile(t, append(rules, last)...))
	if evaluations != 0 || among > alone {
		t.Errorf("%d evaluations and %v allocations among 99 rules that do not match, want none and %v", evaluations, among, alone)
	}
}

// TestEveryRuleIsEvaluatedAtMostOnce also shows that the counter above counts.
func TestEveryRuleIsEvaluatedAtMostOnce(t *testing.T) {
	r, reads := counting(t, "GET", "/")
	c := compile(t, Rule{Deny: "a", When: `placeholder("test.reads") == "y"`}, Rule{Allow: "b", When: `placeholder("test.reads") == "x"`}, Rule{Allow: "c", When: `placeholder("test.reads") == "x"`},
		Rule{StepUp: "d", ACRValues: []string{"phr"}, When: `placeholder("test.reads") == "x"`})
	if d := c.Decide(r, user(t), noon); d.Result != Allow || *reads != 3 {
		t.Errorf("Decide() = %+v after %d evaluations, want b after one of a, b and d", d, *reads)
	}
}

func BenchmarkMatcher(b *testing.B) {
	m, r := newMatcher(b, `"Admin" in principal.groups && request.path.startsWith("/users/")`), newRequest(b, "GET", "/users/alice")
	attach(r, user(b))
	b.ReportAllocs()
	for b.Loop() {
		if matches, err := m.MatchWithError(r); !matches || err != nil {
			b.Fatal(matches, err)
		}
	}
}
