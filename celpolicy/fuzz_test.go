package celpolicy

import (
	"cmp"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-okta/caddy-okta/internal/jwt"
	"github.com/caddy-okta/caddy-okta/internal/principal"
	"github.com/caddy-okta/caddy-okta/internal/telemetry"
)

// seedExpressions read everything there is in every way there is.
var seedExpressions = []string{
	"", isTrue, isFalse, fails, `principal.acr == params.x`, `request.headers.all(k, v, v == [])`, `claims.?a.orValue(1) == 1`, `dyn(principal).x == 1`,
	`now.getHours("UTC") > 1`, `now.getHours(claims.a) > 1`, `"%s".format([request]) == ""`, `[principal, request] == []`, `json.encode(claims) == "{}"`,
	`type(principal) == type(request)`, `string(principal) == ""`, `cel.bind(x, claims, x.a.b == 1)`, `placeholder("http.request.method") == "GET"`,
	`regex.replace(request.path, "a", "\\1") == ""`, `request.query.exists(k, k.matches("a+"))`, `1/0 == 1`, `-9223372036854775808 / int(claims.a) == 1`,
	`timestamp(claims.a) < now`, `timestamp(int(claims.a)) < now`, `duration(claims.a) > duration("1s")`, `int(claims.a) + 1 > 0`, `uint(claims.a) == 1u`,
	`"Admin" in claims.groups`, `claims.groups.exists(g, g == "Admin")`, `"a" in claims.a`, `claims.a[0] == 1`, `claims.a < 5`, `claims.a == null`, `!(claims.a == "x")`,
	`principal.groups.sort() == []`, `request.path.charAt(3) == "a"`, `request.path.substring(2, 1) == ""`, `lists.range(int(claims.a)).size() > 0`,
	`cidr(claims.a).containsIP(request.ip)`, `ip(claims.a).family() == 4`, `base64.decode(claims.a) == b""`, `principal.authenticated_at + duration("876000h") > now`,
	`math.bitShiftLeft(1, int(claims.a)) == 1`, `math.round(double(claims.a)) == 1.0`, `claims.transformMap(k, v, v) == claims`, `has(claims.a.b) || has(principal.acr)`,
	`claims == {"a": 1}`, `request == request && principal == principal`, `optional.of(claims.a) == optional.none()`, `claims[?"a"][?"b"].hasValue()`,
	`request.path.matches("^/[a-z]{1,3}$")`, `lists.range(3).exists(i, claims.a[i] == 1)`,
}

var seedClaims = []string{
	`{}`, `{"sub":"alice","cid":"0oa1","a":1}`, `{"sub":"alice","a":"x","groups":["Admin"],"acr":"phr"}`, `{"sub":"alice","a":null,"groups":"Admin"}`, `{"sub":"a","a":[1,"b",null,{}],"auth_time":1784116800}`,
	`{"sub":"a","a":{"b":{"c":[]}}}`, `{"sub":"a","a":9223372036854775807}`, `{"sub":"a","a":-9223372036854775808}`, `{"sub":"a","a":18446744073709551616}`, `{"sub":"a","a":1e308}`, `{"sub":"a","a":0.1}`,
	`{"sub":"a","a":true}`, `{"sub":"a","a":"2026-01-01T00:00:00Z"}`, `{"sub":"a","a":253402300800,"exp":253402300799,"iat":0}`, `{"sub":"a","a":"10.0.0.0/8","acr":""}`,
}

// FuzzPoliciesDecideAsTheModel compiles whatever is written and serves whatever is asked: nothing panics, no answer is a
// 500, and the backend is reached exactly when the model lets it. The model evaluates each rule in a policy of its own,
// matches methods and paths in a slower way, and combines the outcomes with the sentences of the specification.
func FuzzPoliciesDecideAsTheModel(f *testing.F) {
	for i, expression := range seedExpressions {
		other := seedExpressions[(i*7+3)%len(seedExpressions)]
		f.Add(expression, other, isTrue, []string{"/{x}", "/*", "", "/a"}[i%4], []string{"GET", "POST", "", "HEAD"}[i%4], seedClaims[i%len(seedClaims)], []string{"GET", "HEAD", "POST"}[i%3], "/a?b=c")
		f.Add(isTrue, expression, other, "", "", seedClaims[(i+5)%len(seedClaims)], "GET", []string{"/a", "/A/", "/%61", "//a", "/a/b"}[i%5])
	}
	f.Fuzz(func(t *testing.T, allow, denies, stepUp, pattern, method, claims, asked, target string) {
		checkPolicy(t, allow, denies, stepUp, pattern, method, claims, asked, target)
	})
}

// TestRandomPoliciesDecideAsTheModel does the same with expressions that compile, joined at random, over claims of any
// JSON type: what a fuzzer needs hours to write.
func TestRandomPoliciesDecideAsTheModel(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	targets := []string{"/a", "/A", "/a/", "/b?x=1", "/a/b", "/%61", "/a?b=c&b=d", "//a", "/a?%"}
	var atoms []string
	for _, seed := range seedExpressions {
		if _, _, err := checkSource(seed, nil); err == nil && seed != "" {
			atoms = append(atoms, seed)
		}
	}
	reached := 0
	for range 1000 {
		denies, stepUp := isFalse, isFalse
		if random.IntN(2) == 0 {
			denies = randomExpression(random, atoms, 2)
		}
		if random.IntN(2) == 0 {
			stepUp = randomExpression(random, atoms, 1)
		}
		reached += checkPolicy(t, randomExpression(random, atoms, 2), denies, stepUp,
			pick("", "/a", "/{x}", "/*"), pick("", "GET", "POST"), randomClaims(random), pick("GET", "HEAD", "POST"), pick(targets...))
	}
	if reached < 30 {
		t.Errorf("the backend was reached %d times: the test shows little", reached)
	}
}

// randomExpression joins atoms.
func randomExpression(random *rand.Rand, atoms []string, depth int) string {
	if depth == 0 || random.IntN(4) == 0 {
		return atoms[random.IntN(len(atoms))]
	}
	a, b := randomExpression(random, atoms, depth-1), randomExpression(random, atoms, depth-1)
	return []string{"(" + a + ") && (" + b + ")", "(" + a + ") || (" + b + ")", "!(" + a + ")", "(" + a + ") ? (" + b + ") : !(" + b + ")", "(" + a + ") == (" + b + ")"}[random.IntN(5)]
}

// randomClaims returns the claims of a token, one of which has any type.
func randomClaims(random *rand.Rand) string {
	values := []string{
		`null`, `true`, `false`, `0`, `1`, `-1`, `5.5`, `1e3`, `9223372036854775807`, `-9223372036854775808`, `9223372036854775808`, `18446744073709551615`, `18446744073709551616`, `1e308`, `5e-324`,
		`""`, `"a"`, `"Admin"`, `"2026-07-15T12:00:00Z"`, `"24h"`, `"10.1.2.3"`, `"\u0000"`, `"é"`, `[]`, `["a"]`, `[1,"a",null,[],{}]`, `[[["a"]]]`, `{}`, `{"b":1}`, `{"b":{"c":[1]}}`, `{"":null}`, `253402300799`,
	}
	pick := func() string { return values[random.IntN(len(values))] }
	groups := []string{`["Admin"]`, `"Admin"`, `[]`}[random.IntN(3)]
	acr := []string{`"phr"`, `"low"`}[random.IntN(2)]
	return `{"sub":"alice","cid":"0oa1","acr":` + acr + `,"groups":` + groups + `,"a":` + pick() + `,"dept":` + pick() + `,"x":` + pick() + `}`
}

// checkPolicy compares what the handler does with what the model says, where the policy compiles. It returns how often
// the backend was reached.
func checkPolicy(t *testing.T, allow, denies, stepUp, pattern, method, claims, asked, target string) (reached int) {
	t.Helper()
	rules := []Rule{{Allow: "allow", Path: pattern, When: allow}, {Deny: "deny", Path: pattern, When: denies}, {StepUp: "step-up", When: stepUp, ACRValues: []string{"phr"}}}
	if method != "" {
		rules[0].Methods = []string{method}
	}
	compiled, err := Compile(&Policy{Rules: rules})
	if err != nil {
		return 0
	}
	for _, caller := range []*principal.Caller{fuzzedCaller(claims), {Judged: true}} {
		r, ok := fuzzedRequest(t, asked, target)
		if !ok || caller == nil {
			continue
		}
		h := &Handler{compiled: compiled, counters: telemetry.NewPolicyCounters("fuzzed"), audit: quiet, now: func() time.Time { return noon }}
		status, _, passed := serve(t, h, r, caller)
		if status != http.StatusOK && status != http.StatusBadRequest && status != http.StatusUnauthorized && status != http.StatusForbidden {
			t.Errorf("%+v: the answer is %d", rules, status)
		}
		if passed {
			reached++
		}
		if want := checkRequest(r) == nil && modelAllows(t, rules, r, caller); passed != want {
			t.Errorf("%+v over %s, %s %s: the backend was reached: %v, the model says %v; decision %+v",
				rules, claims, asked, target, passed, want, compiled.Decide(r, caller, noon))
		}
	}
	return reached
}

func fuzzedCaller(claims string) *principal.Caller {
	raw, err := jwt.DecodeObject([]byte(claims))
	if err != nil {
		return nil
	}
	typed, err := jwt.ParseClaims(raw)
	if err != nil {
		return nil
	}
	return &principal.Caller{Judged: true, ClockSkew: stepUpSkew, Identity: typed}
}

func fuzzedRequest(t *testing.T, method, target string) (*http.Request, bool) {
	if !validMethod(method) || strings.ContainsAny(target, " \r\n\t") || target == "" || target[0] != '/' && target != "*" {
		return nil, false
	}
	if _, err := http.NewRequest(method, target, nil); err != nil {
		return nil, false
	}
	defer func() { recover() }() // httptest panics on what no server would let through
	return newRequest(t, method, target), true
}

func validMethod(method string) bool {
	_, err := compileMethods([]string{strings.ToUpper(method)})
	return err == nil
}

// outcome of one rule.
type outcome int

const (
	doesNotApply outcome = iota
	applies
	isError
)

func modelAllows(t *testing.T, rules []Rule, r *http.Request, caller *principal.Caller) bool {
	t.Helper()
	allow, denies, stepUp := modelOutcome(t, rules[0], r, caller), modelOutcome(t, rules[1], r, caller), modelOutcome(t, rules[2], r, caller)
	strong := caller.Identity != nil && caller.Identity.ACR == "phr"
	return denies == doesNotApply && allow == applies && (stepUp == doesNotApply || strong)
}

func modelOutcome(t *testing.T, rule Rule, r *http.Request, caller *principal.Caller) outcome {
	t.Helper()
	if len(rule.Methods) > 0 && rule.Methods[0] != r.Method && (rule.Methods[0] != "GET" || r.Method != "HEAD") {
		return doesNotApply
	}
	if rule.Path != "" && !splitMatch(rule.Path, r.URL.Path, rule.Allow == "") {
		return doesNotApply
	}
	// The path stays in the rule, for its parameters.
	switch d := compile(t, Rule{Allow: "it", When: cmp.Or(rule.When, isTrue), Path: rule.Path}).Decide(r, caller, noon); {
	case rule.Allow == "" && rule.Path != "" && !splitMatch(rule.Path, r.URL.Path, false):
		// Only loosely the same path: an exact rule cannot evaluate it.
		return modelLoose(t, rule, r, caller)
	case d.Result == Error:
		return isError
	case d.Result == Allow:
		return applies
	}
	return doesNotApply
}

// modelLoose asks a deny rule in a policy that allows everything else.
func modelLoose(t *testing.T, rule Rule, r *http.Request, caller *principal.Caller) outcome {
	t.Helper()
	switch d := compile(t, Rule{Deny: "it", When: cmp.Or(rule.When, isTrue), Path: rule.Path}, Rule{Allow: "all", When: "true"}).Decide(r, caller, noon); d.Result {
	case Allow:
		return doesNotApply
	case Deny:
		return applies
	default:
		return isError
	}
}

// FuzzMatchersAnswer evaluates arbitrary expressions as matchers: an error is 400 or 403, and what okta_auth did not judge
// is never matched by who is calling.
func FuzzMatchersAnswer(f *testing.F) {
	for i, expression := range seedExpressions {
		f.Add(expression, seedClaims[i%len(seedClaims)], "/a?b=c")
		f.Add(expression, seedClaims[(i+3)%len(seedClaims)], "//a?b;c")
	}
	f.Fuzz(func(t *testing.T, expression, claims, target string) {
		m := &Matcher{Expr: expression}
		if m.Provision(caddy.Context{Context: t.Context()}) != nil {
			return
		}
		for _, caller := range []*principal.Caller{fuzzedCaller(claims), {Judged: true}, {}} {
			r, ok := fuzzedRequest(t, "GET", target)
			if !ok || caller == nil {
				continue
			}
			attach(r, caller)
			matches, err := m.MatchWithError(r)
			if err == nil {
				if !caller.Judged && (strings.Contains(expression, "principal.") || strings.Contains(expression, "claims.")) && m.reads.identity {
					t.Errorf("%s was evaluated before okta_auth", expression)
				}
				continue
			}
			answer, ok := err.(caddyhttp.HandlerError)
			if !ok || matches || answer.StatusCode != http.StatusForbidden && answer.StatusCode != http.StatusBadRequest {
				t.Errorf("MatchWithError(%s) = %v, %#v", expression, matches, err)
			}
		}
	})
}
