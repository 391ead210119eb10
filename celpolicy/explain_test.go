package celpolicy

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// explained explains one allow rule.
func explained(t testing.TB, s *scenario, rules ...Rule) *explanation {
	t.Helper()
	h := provision(t, &Handler{Policy: Policy{Rules: rules}})
	t.Cleanup(func() { _ = h.Cleanup() })
	e, err := h.explain(s, noon)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// lines writes an expression and its parts, indented.
func (p *part) lines() []string {
	var b strings.Builder
	p.writeText(&b, 0)
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func TestPartsOfExpressionsHaveTheirValues(t *testing.T) {
	s := &scenario{
		Request: scenarioRequest{Method: "GET", Path: "/users/alice?q=x", Headers: map[string]valueList{"X-Tag": {"a"}}},
		Claims: claimSet{identity(t, map[string]any{
			"sub": "alice", "level": int64(3), "ratio": json.Number("0.5"), "nothing": nil, "a": map[string]any{"b": map[string]any{"c": "deep"}},
			"list": []any{int64(1), int64(2), int64(3)}, "big": json.Number("9223372036854775808"),
		})},
		Placeholders: map[string]string{"http.vars.country": "DE"},
	}
	for _, test := range []struct {
		expression string
		want       string // with | for the ends of lines, and > for each level
	}{
		{`true`, `true = true`},
		{`false`, `false = false`},
		{`params.id == "alice"`, `params.id == "alice" = true|>params.id = "alice"`},
		{`claims.a.b.c == "deep"`, `claims.a.b.c == "deep" = true|>claims.a.b.c = "deep"|>>claims.a.b = {"c":"deep"}|>>>claims.a = {"b":{"c":"deep"}}`},
		{`claims["level"] > 2`, `claims["level"] > 2 = true|>claims["level"] = 3`},
		{`claims.ratio < 1.0`, `claims.ratio < 1.0 = true|>claims.ratio = 0.5`},
		{`claims.nothing == null`, `claims.nothing == null = true|>claims.nothing = null`},
		{`claims.big > 1`, `claims.big > 1 = true|>claims.big = 9223372036854775808`},
		{`claims.missing == 1`, `claims.missing == 1 = fails: no such key: missing|>claims.missing = fails: no such key: missing`},
		{`has(claims.missing) && claims.missing == 1`, `has(claims.missing) && claims.missing == 1 = false|>has(claims.missing) = false|>claims.missing == 1 = not evaluated`},
		{`claims.missing == 1 || principal.authenticated`, `claims.missing == 1 || principal.authenticated = true|` +
			`>claims.missing == 1 = fails: no such key: missing|>>claims.missing = fails: no such key: missing|>principal.authenticated = true`},
		{`principal.authenticated ? request.method == "GET" : request.method == "PUT"`, `principal.authenticated ? (request.method == "GET") : (request.method == "PUT") = true|` +
			`>principal.authenticated = true|>request.method == "GET" = true|>>request.method = "GET"|>request.method == "PUT" = not evaluated`},
		{`claims.?dept.orValue("none") == "none"`, `claims.?dept.orValue("none") == "none" = true|>claims.?dept.orValue("none") = "none"|>>claims.?dept = "optional.none()"`},
		{`claims.?level.hasValue()`, `claims.?level.hasValue() = true|>claims.?level = 3`},
		{`claims.list.exists(x, x > 1)`, `claims.list.exists(x, x > 1) = true|>claims.list = [1,2,3]|>x > 1 = true (last round)|>>x = 2 (last round)`},
		{`claims.list.map(x, x * 2) == [2, 4, 6]`, `claims.list.map(x, x * 2) == [2, 4, 6] = true|>claims.list.map(x, x * 2) = [2,4,6]|>>claims.list = [1,2,3]|` +
			`>>[x * 2] = [6] (last round)|>>>x * 2 = 6 (last round)|>>>>x = 3 (last round)`},
		{`principal.groups.all(g, g != "")`, `principal.groups.all(g, g != "") = true|>principal.groups = []|>g != "" = not evaluated`},
		{`cel.bind(m, request.method, m == "GET")`, `cel.bind(m, request.method, m == "GET") = true|>request.method = "GET"|>m == "GET" = true|>>m = "GET"`},
		{`request.headers["x-tag"] == ["a"]`, `request.headers["x-tag"] == ["a"] = true|>request.headers["x-tag"] = ["a"]|>>request.headers = {"x-tag":["a"]}`},
		{`request.headers[?"x-none"][?0].orValue("") == ""`, `request.headers[?"x-none"][?0].orValue("") == "" = true|>request.headers[?"x-none"][?0].orValue("") = ""|` +
			`>>request.headers[?"x-none"][?0] = "optional.none()"|>>>request.headers = {"x-tag":["a"]}`},
		{`request.method in ["GET", "HEAD"]`, `request.method in ["GET", "HEAD"] = true|>request.method = "GET"`},
		{`request.path.matches("^/users/[a-z]+$")`, `request.path.matches("^/users/[a-z]+$") = true|>request.path = "/users/alice"`},
		{`placeholder("http.vars.country") == "DE"`, `placeholder("http.vars.country") == "DE" = true|>placeholder("http.vars.country") = "DE"`},
		{`now > timestamp("2026-01-01T00:00:00Z")`, `now > timestamp("2026-01-01T00:00:00Z") = true|>now = "2026-07-15T12:00:00Z"|>timestamp("2026-01-01T00:00:00Z") = "2026-01-01T00:00:00Z"`},
		{`now - timestamp("2026-07-15T11:00:00Z") == duration("1h")`, `now - timestamp("2026-07-15T11:00:00Z") == duration("1h") = true|` +
			`>now - timestamp("2026-07-15T11:00:00Z") = "1h0m0s"|>>now = "2026-07-15T12:00:00Z"|>>timestamp("2026-07-15T11:00:00Z") = "2026-07-15T11:00:00Z"|>duration("1h") = "1h0m0s"`},
		{`cidr("10.0.0.0/8").containsIP(request.ip)`, `cidr("10.0.0.0/8").containsIP(request.ip) = false|>cidr("10.0.0.0/8") = "10.0.0.0/8"|>request.ip = "127.0.0.1"`},
		{`{"k": request.method} == {"k": "GET"}`, `{"k": request.method} == {"k": "GET"} = true|>{"k": request.method} = {"k":"GET"}|>>request.method = "GET"`},
		{`type(claims.level) == int`, `type(claims.level) == int = true|>type(claims.level) = "int"|>>claims.level = 3|>int = "int"`},
		{`math.greatest(claims.ratio, 1.0 / 0.0) > 1.0`, `math.greatest(claims.ratio, 1.0 / 0.0) > 1.0 = true|>math.greatest(claims.ratio, 1.0 / 0.0) = "+Inf"|>>claims.ratio = 0.5|>>1.0 / 0.0 = "+Inf"`},
	} {
		t.Run(test.expression, func(t *testing.T) {
			e := explained(t, s, Rule{Allow: "a", Path: "/users/{id}", When: test.expression})
			lines := e.Rules[0].When.lines()
			for i, line := range lines {
				line = strings.Replace(line, "  →  ", " = ", 1)
				trimmed := strings.TrimLeft(line, " ")
				lines[i] = strings.Repeat(">", (len(line)-len(trimmed))/4) + trimmed
			}
			if got := strings.Join(lines, "|"); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", strings.ReplaceAll(got, "|", "\n"), strings.ReplaceAll(test.want, "|", "\n"))
			}
		})
	}
}

func TestExplanationsSayWhatDidNotApply(t *testing.T) {
	e := explained(t, &scenario{Request: scenarioRequest{Path: "/orders/7"}, Claims: claimSet{identity(t, map[string]any{"sub": "alice", "acr": "phr"})}},
		Rule{Allow: "method", Methods: []string{"POST"}, Path: "/orders/{id}", When: "true"},
		Rule{Allow: "path", Path: "/invoices", When: "principal.authenticated"},
		Rule{Allow: "when", Path: "/orders/{id}", When: "params.id == '8'"},
		Rule{Allow: "fails", When: fails},
		Rule{Allow: "applies", Path: "/orders/{id}", When: "true"},
		Rule{Deny: "no", When: isFalse},
		Rule{StepUp: "met", ACRValues: []string{"phr"}},
		Rule{StepUp: "unmet", ACRValues: []string{"other"}, When: fails},
		Rule{StepUp: "elsewhere", Path: "/x", ACRValues: []string{"other"}},
	)
	var got []string
	for _, r := range e.Rules {
		satisfied := "-"
		if r.Satisfied != nil {
			satisfied = map[bool]string{true: "satisfied", false: "unsatisfied"}[*r.Satisfied]
		}
		part := "-"
		if r.When != nil {
			part = "explained"
		}
		got = append(got, strings.Join([]string{r.Kind, r.Rule, orNone(r.Because), r.Params["id"], satisfied, part}, " "))
		if r.Applies != (r.Because == "") {
			t.Errorf("%s applies: %v, because %q", r.Rule, r.Applies, r.Because)
		}
	}
	want := []string{
		"allow method method  - -", "allow path path  - -", "allow when when 7 - explained", "allow fails error  - explained",
		"allow applies none 7 - explained", "deny no when  - explained", "step_up met none  satisfied -", "step_up unmet error  unsatisfied explained",
		"step_up elsewhere path  - -",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if e.Decision != "step_up" || e.Rule != "unmet" || e.Reason != "step_up_required" || e.Status != 401 {
		t.Errorf("decided %+v, want a step-up by unmet", e.verdict)
	}
}

func TestWhatIsNotJudgedIsExplainedWithoutRules(t *testing.T) {
	e := explained(t, &scenario{Request: scenarioRequest{Path: "/a/../b"}}, Rule{Allow: "a", When: "true"})
	if len(e.Rules) != 0 || e.Reason != "ambiguous_path" || e.Status != 400 || e.Error == "" {
		t.Errorf("explained %+v, want an ambiguous path and no rules", e)
	}
}

// TestExplanationsDecideAsTheHandlerDoes compares both over random policies.
func TestExplanationsDecideAsTheHandlerDoes(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	expressions := []string{
		isTrue, isFalse, fails, `"Admin" in principal.groups`, `claims.n.exists(x, x > 1)`, `cidr("10.0.0.0/8").containsIP(request.ip)`,
		`claims.?d.orValue("x") == "x" && now.getHours("Europe/Berlin") == 14`, `has(claims.d) ? claims.d == 1 : fails.x == 1`,
	}
	expressions[len(expressions)-1] = `has(claims.d) ? claims.d == 1 : claims.e == 1`
	scenarios := []scenario{
		{Request: scenarioRequest{Path: "/a", IP: "10.0.0.1"}, Claims: claimSet{identity(t, map[string]any{"sub": "alice", "groups": []string{"Admin"}, "n": []any{int64(2)}, "acr": "phr"})}},
		{Request: scenarioRequest{Path: "/b", Method: "POST"}, Claims: claimSet{identity(t, map[string]any{"sub": "0oa1", "cid": "0oa1", "n": "text", "d": int64(1)})}},
		{Request: scenarioRequest{Path: "/a"}},
	}
	for range 300 {
		var rules []Rule
		for i := range 1 + random.IntN(5) {
			r := Rule{When: expressions[random.IntN(len(expressions))], Path: []string{"", "/a", "/B"}[random.IntN(3)]}
			switch name := string(rune('a' + i)); random.IntN(3) {
			case 0:
				r.Allow = name
			case 1:
				r.Deny = name
			default:
				r.StepUp, r.ACRValues = name, []string{"phr"}
			}
			rules = append(rules, r)
		}
		c := compile(t, rules...)
		h := &Handler{policy: &Policy{Rules: rules}, compiled: c}
		for i := range scenarios {
			e, err := h.explain(&scenarios[i], noon)
			if err != nil {
				t.Fatal(err)
			}
			r, caller, err := scenarios[i].build()
			if err != nil {
				t.Fatal(err)
			}
			want := c.Decide(r, caller, noon)
			if e.Decision != string(want.Result) || e.verdict.Rule != want.Rule || (e.Error == "") != (want.Err == nil) {
				t.Fatalf("rules %+v: explained as %+v, decided %+v", rules, e.verdict, want)
			}
		}
	}
}

// An explanation leaves the handler as it is: it goes on with its own programs, which remember nothing.
// Parameters are those of the rule that read them, also when other rules were judged since.
func TestEachRuleIsExplainedWithItsOwnParameters(t *testing.T) {
	rules := []Rule{
		{Deny: "first", Path: "/{a}/{b}", When: `dyn(params) == dyn({"a": "no"})`},
		{Allow: "second", Path: "/{c}/{d}", When: `dyn(params) == dyn({"c": "no"})`},
	}
	h := &Handler{policy: &Policy{Rules: rules}, compiled: compile(t, rules...)}
	e, err := h.explain(&scenario{Request: scenarioRequest{Path: "/x/y"}}, noon)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{"a":"x","b":"y"}`, `{"c":"x","d":"y"}`} {
		if n := strings.Count(string(text), `"value":`+want); n != 1 {
			t.Errorf("%s is the value of %d parts in %s, want one", want, n, text)
		}
	}
}

func TestExplainingChangesNothing(t *testing.T) {
	h := &Handler{policy: &Policy{Rules: []Rule{{Allow: "a", When: isTrue}}}}
	h.compiled = compile(t, h.policy.Rules...)
	before := h.compiled.allow[0].when
	if _, err := h.explain(new(scenario), time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, traced := h.compiled.allow[0].when.(*trace); traced || h.compiled.allow[0].when != before {
		t.Error("the handler serves with the programs of an explanation")
	}
}

func TestLongValuesAreCutForPeople(t *testing.T) {
	p := &part{Expression: "x", Value: json.RawMessage(`"` + strings.Repeat("é", 300) + `"`)}
	if got := p.lines()[0]; len([]rune(got)) > 210 || !strings.HasSuffix(got, "é…") {
		t.Errorf("written as %s", got)
	}
}
