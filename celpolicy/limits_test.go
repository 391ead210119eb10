package celpolicy

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// Each limit stands here as the number that users meet, and is met: the largest expression that compiles, and the next.
func TestExpressionsUpToEachLimitCompile(t *testing.T) {
	repeat := func(before, middle, after string) func(int) string {
		return func(n int) string { return strings.Repeat(before, n) + middle + strings.Repeat(after, n) }
	}
	for name, test := range map[string]struct {
		largest    int
		expression func(int) string
		want       string
	}{
		"length":        {16384, func(n int) string { return `"` + strings.Repeat("x", n-6) + `"==""` }, "size exceeds limit: size: 16385, limit 16384"},
		"parentheses":   {63, repeat("(", "true", ")"), "expression recursion limit exceeded: 64"},
		"operators":     {63, repeat("1+", "1==1", ""), "when: max recursion depth exceeded"},
		"nodes":         {833, repeat("[].all(y,y)&&", "true", ""), "when:1:10836: expression count exceeds limit of 10000"},
		"loops":         {2, repeat("[1].all(x,", "true", ")"), "when:1:28: a loop within 2 others"},
		"binds":         {8, repeat("cel.bind(x,1,", "true", ")"), "when:1:113: cel.bind exceeds nesting limit"},
		"patterns":      {1998, func(n int) string { return `"".matches("` + strings.Repeat("a", n) + `")` }, "when:1:12: the pattern compiles to 2001 instructions, and the limit is 2000"},
		"lists":         {10000, func(n int) string { return fmt.Sprintf("lists.range(%d)==[]", n) }, "when:1:13: lists.range makes no list of 10001 items: write a number up to 10000"},
		"cost":          {3, repeat("request.path.contains(request.path)||", "true", ""), "the expression could cost 10745300 units, and the limit is 10000000"},
		"no list":       {0, func(n int) string { return fmt.Sprintf("lists.range(%d)==[]", -n) }, "when:1:13: lists.range makes no list of -1 items"},
		"told mistakes": {0, repeat("x.y&&", "true", ""), "when:1:1: undeclared reference"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			if _, _, err := checkSource(test.expression(test.largest), nil); err != nil {
				t.Errorf("%d is refused: %.300v", test.largest, err)
			}
			if _, _, err := checkSource(test.expression(test.largest+1), nil); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%d: %.300v, want …%s…", test.largest+1, err, test.want)
			}
		})
	}
	_, _, err := checkSource(`[params.a].exists(now, params.b == "")`, nil) // what is checked last stands before the last
	if err == nil || !regexp.MustCompile(`(?s)^when:1:8: params.a: .* now is a variable .* params.b: `).MatchString(err.Error()) {
		t.Errorf("three mistakes are told as %v, want them in their order", err)
	}
	_, _, err = checkSource(strings.Repeat("x.y&&", 12)+"true", nil)
	if err == nil || strings.Count(err.Error(), "when:1:") != 10 || !strings.HasSuffix(err.Error(), "\nwhen: and 2 more") {
		t.Errorf("twelve mistakes are told as %v", err)
	}
}

// What expressions are estimated to cost follows from how large inputs can be: 16384 characters for a text, 256 for one in a
// list, 400 items in a list of the token and 8192 in one of the request.
func TestCostsFollowFromTheSizesOfInputs(t *testing.T) {
	for expression, want := range map[string]uint64{
		`request.path == request.host`:                      1643,
		`request.path.contains(request.path)`:               2686325,
		`principal.groups.exists(g, g.lowerAscii() == "a")`: 115603,
		`"a" in principal.groups`:                           402,
		`claims.all(k, v, true)`:                            1202,
		`request.headers.all(k, v, true)`:                   24579,
		`request.query.all(k, v, true)`:                     24579,
		`json.encode(claims) == ""`:                         16385,
		`[1, 2].all(x, x > 1)`:                              21,
	} {
		env, checked, err := checkSource(expression, nil)
		if err != nil {
			t.Fatal(err)
		}
		if cost, err := env.EstimateCost(checked, newSizes(checked.NativeRep())); err != nil || cost.Max != want {
			t.Errorf("%s costs %d, %v, want %d", expression, cost.Max, err, want)
		}
	}
}

// What people write about the lists of a token and of a request is affordable, and loops that follow each other are no
// nesting.
func TestOrdinaryExpressionsAreWithinTheLimits(t *testing.T) {
	for _, expression := range []string{
		`principal.scopes.sort() == ["a"]`, `principal.amr.distinct() == ["pwd"]`, `claims.tags.sort()[0] == "a"`,
		`claims.tenants.exists(t, t == request.host.split(".")[0])`,
		`principal.groups.exists(g, g in request.headers["x-team"])`,
		`sets.intersects(principal.groups, request.query.group)`, `sets.contains(principal.groups, request.query.group)`,
		`request.query.role.exists(r, r in principal.groups)`,
		`principal.scopes.exists(s, s.split(":")[0] == request.path.split("/")[1])`,
		`claims.roles.exists(r, r.perms.exists(p, p == "write"))`, `principal.groups.exists(g, claims.tags.exists(t, g == t))`,
		`principal.groups.filter(g, g.startsWith("team-")).map(g, g.substring(5)).exists(t, t == "x")`,
		`cel.bind(teams, principal.groups.filter(g, g.startsWith("t")), teams.exists(t, claims.tags.exists(c, c == t)))`,
	} {
		if _, _, err := checkSource(expression, nil); err != nil {
			t.Errorf("%s: %v", expression, err)
		}
	}
}

// A length that is a value could cost anything.
func TestListsOfAnyLengthAreRefused(t *testing.T) {
	for _, expression := range []string{`lists.range(int(claims.n)) == []`, `cel.bind(n, 20000, lists.range(n) == [])`, `lists.range(10000 + 10000) == []`, `lists.range(true ? 20000 : 1) == []`} {
		if _, _, err := checkSource(expression, nil); err == nil || !strings.Contains(err.Error(), "could cost") {
			t.Errorf("%s: %v, want an error", expression, err)
		}
	}
}

// A repetition in a pattern is counted as it is compiled.
func TestPatternsMayRepeat(t *testing.T) {
	r, caller := newRequest(t, "GET", "/orders/2024"), user(t)
	for expression, want := range map[string]Result{
		`request.path.matches("^/orders/[0-9]{4}$")`:                              Allow,
		`request.path.matches("^/orders/[0-9]{5,}$")`:                             Deny,
		`regex.extract(request.path, "([0-9]{2,4})$") == optional.of("2024")`:     Allow,
		`regex.replace(request.path, "[0-9]{1,2}", "x") == "/orders/xx"`:          Allow,
		`matches(request.path, "^(/[a-z]{1,10}|/[0-9]{4}){2}$")`:                  Allow,
		`regex.extractAll(request.path, "/([a-z]{6}|[0-9]{4})")[1] == "2024"`:     Allow,
		`[1].exists(x, request.path.matches("^/orders/(20[0-9]{2}|19[0-9]{2})"))`: Allow,
	} {
		if d := evaluate(t, expression, r, caller); d.Result != want {
			t.Errorf("%s: %v %v, want %v", expression, d.Result, d.Err, want)
		}
	}
	if _, _, err := checkSource(`"".matches("(abc){400}")`, nil); err == nil || !strings.Contains(err.Error(), "compiles to 2002 instructions") {
		t.Errorf("a repetition beyond the limit: %v", err)
	}
}

func TestLimitsOfFiles(t *testing.T) {
	nested := func(n int) string {
		return "tests: [{name: t, expect: {decision: deny}, claims: {x: " + strings.Repeat("[", n) + strings.Repeat("]", n) + "}}]"
	}
	rule := "rules: [{allow: a, when: 'true', methods: ["
	for name, test := range map[string]struct {
		largest int
		text    func(int) string
		want    string
	}{
		"depth":  {29, nested, "a.yaml:1: nested deeper than 32 levels"},
		"values": {199994, func(n int) string { return rule + strings.Repeat("X,", n-1) + "X]}]" }, "a.yaml:1: the file has more than 200000 values"},
	} {
		if _, err := parsePolicyFile("a.yaml", []byte(test.text(test.largest))); err != nil {
			t.Errorf("%s: %d are refused: %v", name, test.largest, err)
		}
		if _, err := parsePolicyFile("a.yaml", []byte(test.text(test.largest+1))); err == nil || err.Error() != test.want {
			t.Errorf("%s: %d gave %v, want %s", name, test.largest+1, err, test.want)
		}
	}
	for size, want := range map[int]bool{1048576: true, 1048577: false} {
		text := "rules: [{allow: a, when: 'true'}]\n#"
		dir := write(t, map[string]string{"a.yaml": text + strings.Repeat("x", size-len(text))})
		if err := new(Policy).AddFiles(dir, []string{"a.yaml"}); (err == nil) != want {
			t.Errorf("a file of %d bytes: %v", size, err)
		}
	}
}
