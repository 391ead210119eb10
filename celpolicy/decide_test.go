package celpolicy

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// The outcomes of expressions, as expressions.
const (
	isTrue  = `request.method != ""`
	isFalse = `request.method == ""`
	fails   = `claims.missing == 1`
)

func TestRulesCombine(t *testing.T) {
	allow := Rule{Allow: "ok", When: isTrue}
	for _, test := range []struct {
		name  string
		rules []Rule
		want  Result
		rule  string
	}{
		{"an allow that is true allows", []Rule{allow}, Allow, "ok"},
		{"an allow without expression allows", []Rule{{Allow: "ok", When: "true"}}, Allow, "ok"},
		{"an allow that is false does not", []Rule{{Allow: "a", When: isFalse}}, Deny, ""},
		{"an allow that fails is an error", []Rule{{Allow: "a", When: fails}}, Error, "a"},
		{"an allow that fails is not missed when another is true", []Rule{{Allow: "a", When: fails}, allow}, Allow, "ok"},
		{"the first allow is named", []Rule{{Allow: "a", When: "true"}, {Allow: "b", When: "true"}}, Allow, "a"},
		{"the first failed allow is named", []Rule{{Allow: "a", When: isFalse}, {Allow: "b", When: fails}, {Allow: "c", When: fails}}, Error, "b"},
		{"another path is no allow", []Rule{{Allow: "a", Path: "/b", When: "true"}}, Deny, ""},
		{"another method is no allow", []Rule{{Allow: "a", Methods: []string{"POST"}, When: "true"}}, Deny, ""},
		{"a deny wins whatever the order", []Rule{allow, {Deny: "no", When: isTrue}}, Deny, "no"},
		{"a deny without expression denies", []Rule{{Deny: "no"}, allow}, Deny, "no"},
		{"a deny that is false does not", []Rule{{Deny: "no", When: isFalse}, allow}, Allow, "ok"},
		{"a deny that fails is an error", []Rule{{Deny: "no", When: fails}, allow}, Error, "no"},
		{"a deny that is true comes before one that fails", []Rule{{Deny: "no", When: fails}, {Deny: "yes", When: isTrue}, allow}, Deny, "yes"},
		{"a deny of another path does not", []Rule{{Deny: "no", Path: "/b", When: fails}, allow}, Allow, "ok"},
		{"a deny of another method does not", []Rule{{Deny: "no", Methods: []string{"POST"}, When: fails}, allow}, Allow, "ok"},
		{"only a deny that is false denies", []Rule{{Deny: "no", When: isFalse}}, Deny, ""},
		{"a deny ignores case and a slash", []Rule{{Deny: "no", Path: "/A/"}, allow}, Deny, "no"},
		{"an allow does not ignore case", []Rule{{Allow: "a", Path: "/A", When: "true"}}, Deny, ""},
		{"a step-up that is met", []Rule{allow, {StepUp: "s", ACRValues: []string{"x", "phr"}}}, Allow, "ok"},
		{"a step-up that is not met", []Rule{allow, {StepUp: "s", ACRValues: []string{"x"}}}, StepUp, "s"},
		{"a step-up whose expression is false", []Rule{allow, {StepUp: "s", ACRValues: []string{"x"}, When: isFalse}}, Allow, "ok"},
		{"a step-up whose expression fails applies", []Rule{allow, {StepUp: "s", ACRValues: []string{"x"}, When: fails}}, StepUp, "s"},
		{"a step-up whose expression fails, met", []Rule{allow, {StepUp: "s", ACRValues: []string{"phr"}, When: fails}}, Allow, "ok"},
		{"a step-up of another path", []Rule{allow, {StepUp: "s", Path: "/b", ACRValues: []string{"x"}}}, Allow, "ok"},
		{"a step-up ignores case", []Rule{allow, {StepUp: "s", Path: "/A/*", ACRValues: []string{"x"}}}, StepUp, "s"},
		{"a step-up allows nothing by itself", []Rule{{StepUp: "s", ACRValues: []string{"phr"}}}, Deny, ""},
		{"the first unmet step-up is named", []Rule{{StepUp: "s", ACRValues: []string{"phr"}}, {StepUp: "t", ACRValues: []string{"x"}}, {StepUp: "u", ACRValues: []string{"x"}}, allow}, StepUp, "t"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if d := compile(t, test.rules...).Decide(newRequest(t, "GET", "/a"), user(t), noon); d.Result != test.want || d.Rule != test.rule {
				t.Errorf("Decide() = %v by %q (%v), want %v by %q", d.Result, d.Rule, d.Err, test.want, test.rule)
			}
		})
	}
}

// TestRulesCombineAsTheModelSays compares random policies with the sentences of the specification, and with themselves
// in another order.
func TestRulesCombineAsTheModelSays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	outcomes := []string{isTrue, isFalse, fails}
	r, caller := newRequest(t, "GET", "/a"), user(t)
	for range 1500 {
		rules := make([]Rule, 1+random.IntN(6))
		for i := range rules {
			name := string(rune('a' + i))
			rules[i].When = outcomes[random.IntN(3)]
			rules[i].Path = []string{"", "/a", "/A", "/other"}[random.IntN(4)]
			switch random.IntN(3) {
			case 0:
				rules[i].Allow = name
			case 1:
				rules[i].Deny = name
			default:
				rules[i].StepUp, rules[i].ACRValues = name, []string{[]string{"phr", "stronger"}[random.IntN(2)]}
			}
		}
		want := model(rules)
		for range 2 {
			got := compile(t, rules...).Decide(r, caller, noon)
			if got.Result != want {
				t.Fatalf("Decide(%+v) = %v, want %v", rules, got.Result, want)
			}
			random.Shuffle(len(rules), func(i, j int) { rules[i], rules[j] = rules[j], rules[i] })
		}
	}
}

// model is the rule of combination for a GET of /a by a caller whose acr is phr.
func model(rules []Rule) Result {
	has := func(kind func(Rule) bool, outcome ...string) bool {
		return slices.ContainsFunc(rules, func(r Rule) bool { return kind(r) && slices.Contains(outcome, r.When) })
	}
	denies := func(r Rule) bool { return r.Deny != "" && r.Path != "/other" }
	allows := func(r Rule) bool { return r.Allow != "" && r.Path != "/other" && r.Path != "/A" }
	unmet := func(r Rule) bool { return r.StepUp != "" && r.Path != "/other" && r.ACRValues[0] != "phr" }
	switch {
	case has(denies, isTrue):
		return Deny
	case has(denies, fails):
		return Error
	case has(allows, isTrue) && has(unmet, isTrue, fails):
		return StepUp
	case has(allows, isTrue):
		return Allow
	case has(allows, fails):
		return Error
	}
	return Deny
}

func TestGETCoversHEAD(t *testing.T) {
	for _, test := range []struct {
		rule, method string
		want         Result
	}{
		{"GET", "GET", Allow}, {"GET", "HEAD", Allow}, {"HEAD", "GET", Deny}, {"HEAD", "HEAD", Allow}, {"GET", "POST", Deny}, {"POST", "HEAD", Deny},
	} {
		if d := compile(t, Rule{Allow: "a", Methods: []string{test.rule}, When: "true"}).Decide(newRequest(t, test.method, "/"), user(t), noon); d.Result != test.want {
			t.Errorf("a rule for %s and a %s: %v, want %v", test.rule, test.method, d.Result, test.want)
		}
	}
}

func TestStepUpBoundaries(t *testing.T) {
	const maxAge = 5 * time.Minute
	caller := func(authTime time.Time) *principal.Caller {
		raw := map[string]any{"sub": "alice", "cid": "0oa1", "uid": "00u1", "acr": "phr"}
		if !authTime.IsZero() {
			raw["auth_time"] = authTime.Unix()
		}
		return &principal.Caller{Identity: identity(t, raw), ClockSkew: stepUpSkew}
	}
	for _, test := range []struct {
		name   string
		caller *principal.Caller
		acr    []string
		want   Result
	}{
		{"just now", caller(noon), nil, Allow},
		{"as old as allowed", caller(noon.Add(-maxAge)), nil, Allow},
		{"within the skew", caller(noon.Add(-maxAge - stepUpSkew)), nil, Allow},
		{"a second older", caller(noon.Add(-maxAge - stepUpSkew - time.Second)), nil, StepUp},
		{"absent", caller(time.Time{}), nil, StepUp},
		{"far in the future", caller(noon.Add(time.Hour)), nil, StepUp},
		{"recent, with the right acr", caller(noon), []string{"x", "phr"}, Allow},
		{"recent, with the wrong acr", caller(noon), []string{"x"}, StepUp},
		{"a service", service(t), nil, StepUp},
		{"anonymous", new(principal.Caller), nil, StepUp},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := compile(t, Rule{Allow: "a", When: "true"}, Rule{StepUp: "s", MaxAge: caddy.Duration(maxAge), ACRValues: test.acr})
			d := c.Decide(newRequest(t, "GET", "/"), test.caller, noon)
			if d.Result != test.want {
				t.Errorf("Decide() = %v, want %v", d.Result, test.want)
			}
			if d.Result == StepUp && (d.MaxAge != maxAge || !slices.Equal(d.ACRValues, test.acr)) {
				t.Errorf("Decide() = %+v, which does not say what is demanded", d)
			}
		})
	}
}

func TestOnePolicyDecidesConcurrently(t *testing.T) {
	c := compile(t, Rule{Allow: "a", Path: "/{x}", When: `params.x == "a" && claims.dept == "sales" && request.headers == {}`})
	caller := user(t)
	done := make(chan Result)
	for range 8 {
		go func() { done <- c.Decide(newRequest(t, http.MethodGet, "/a"), caller, noon).Result }()
	}
	for range 8 {
		if got := <-done; got != Allow {
			t.Errorf("Decide() = %v, want allow", got)
		}
	}
}

// textProgram gives a text, which no program of a policy does: the checker refuses it.
func textProgram(t testing.TB) cel.Program {
	t.Helper()
	env, err := sharedEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	checked, issues := env.Compile(`principal.subject + ""`)
	if issues.Err() != nil {
		t.Fatal(issues.Err())
	}
	program, err := env.program(checked)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func TestAProgramThatGivesNoBoolIsAnError(t *testing.T) {
	text, yes := &rule{name: "text", when: textProgram(t)}, &rule{name: "yes"}
	strong := &rule{name: "text", when: text.when, acrValues: []string{"other"}}
	for name, test := range map[string]struct {
		policy Compiled
		want   Result
	}{
		"allow":   {Compiled{allow: []*rule{text}}, Error},
		"deny":    {Compiled{deny: []*rule{text}, allow: []*rule{yes}}, Error},
		"step_up": {Compiled{stepUp: []*rule{strong}, allow: []*rule{yes}}, StepUp},
	} {
		if d := test.policy.Decide(newRequest(t, "GET", "/"), user(t), noon); d.Result != test.want || d.Rule != "text" {
			t.Errorf("%s: %+v, want %s by text", name, d, test.want)
		}
	}
	m := &Matcher{program: text.when, now: func() time.Time { return noon }}
	r := newRequest(t, "GET", "/")
	attach(r, user(t))
	var answer caddyhttp.HandlerError
	if matches, err := m.MatchWithError(r); matches || !errors.As(err, &answer) || answer.StatusCode != http.StatusForbidden {
		t.Errorf("a matcher: %v, %v, want 403", matches, err)
	}
}

// A rule without a path has no parameters, and no path has others than its own.
func TestParametersAreThoseOfThePath(t *testing.T) {
	r := newRequest(t, "GET", "/users/alice/7")
	for _, rule := range []Rule{
		{Allow: "none", When: `params == {}`},
		{Allow: "exact", Path: "/users/alice/7", When: `params == {}`},
		{Allow: "two", Path: "/users/{name}/{n}", When: `params == {"name": "alice", "n": "7"}`},
	} {
		if d := compile(t, rule).Decide(r, user(t), noon); d.Result != Allow {
			t.Errorf("%+v: %v %v", rule, d.Result, d.Err)
		}
	}
}
