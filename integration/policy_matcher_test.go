package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

func TestMatcherRoutesByWhoIsCalling(t *testing.T) {
	g := start(t, `okta_auth main {
		optional
	}
	@admins cel_policy `+"`\"Admin\" in principal.groups`"+`
	@beta {
		cel_policy `+"`claims.?beta.orValue(false) == true`"+`
		path /beta/*
	}
	@known not cel_policy `+"`principal.kind == \"anonymous\"`"+`
	@unsure cel_policy `+"`claims.level > 3`"+`
	request_header @known X-Known yes
	request_header @admins X-Role admin
	handle @beta {
		request_header X-Beta yes
		reverse_proxy BACKEND
	}
	handle /level {
		handle @unsure {
			reverse_proxy BACKEND
		}
		handle {
			error 418
		}
	}`)
	seen := func(a answer) string {
		return a.seen.Header.Get("X-Known") + "," + a.seen.Header.Get("X-Role") + "," + a.seen.Header.Get("X-Beta")
	}
	user := func(options ...oktatest.Option) option { return bearer(g.issuer.UserToken("alice", options...)) }
	nobody := func(*http.Request) {}
	for _, test := range []struct {
		path   string
		as     option
		status int
		want   string
	}{
		{"/", nobody, 200, ",,"},
		{"/", user(), 200, "yes,,"},
		{"/", user(oktatest.Groups("Admin")), 200, "yes,admin,"},
		{"/beta/x", user(oktatest.With("beta", true)), 200, "yes,,yes"},
		{"/beta/x", user(oktatest.With("beta", "true")), 200, "yes,,"},
		{"/level", user(oktatest.With("level", 4)), 200, "yes,,"},
		{"/level", user(oktatest.With("level", 3)), 418, ",,"},
		{"/level", user(oktatest.With("level", "4")), 403, ",,"}, // it cannot tell: not a 418, which "no match" would be
		{"/level", user(), 403, ",,"},
		{"/level", nobody, 403, ",,"},
	} {
		a := g.expect(test.status, "GET", test.path, test.as)
		if got := seen(a); got != test.want {
			t.Errorf("%s: %s, want %s", test.path, got, test.want)
		}
		if control := a.Header.Get("Cache-Control"); (control == "no-store") != (test.status == 403) {
			t.Errorf("%s is answered %d with Cache-Control %q", test.path, test.status, control)
		}
	}
}

// A matcher cannot write headers; the okta_auth before it words its refusals.
func TestMatcherRefusesInTheWordsOfOktaAuth(t *testing.T) {
	g := start(t, "okta_auth main {\n realm orders\n }\n @get cel_policy `request.method == \"GET\"`\n respond @get 204")
	a := g.expect(http.StatusBadRequest, "get", "/", bearer(g.issuer.UserToken("alice")))
	if got := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer realm="orders", error="invalid_request"`) || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the challenge is %q, Cache-Control %q", got, a.Header.Get("Cache-Control"))
	}
}

// Before okta_auth nobody knows who is calling. A matcher that asks refuses, whatever it would have matched.
func TestMatcherBeforeOktaAuthIsAnErrorAndNotAnonymous(t *testing.T) {
	for name, directives := range map[string]string{
		"handled before": "route {\n @a cel_policy `!principal.authenticated`\n respond @a \"public\" 200\n okta_auth main\n reverse_proxy BACKEND\n }",
		"negated":        "route {\n @a not cel_policy `principal.authenticated`\n respond @a \"public\" 200\n okta_auth main\n reverse_proxy BACKEND\n }",
		"of okta_auth":   "@a cel_policy `!(\"internal\" in principal.groups)`\n okta_auth @a main",
		"of claims":      "@a cel_policy `claims == {}`\n okta_auth @a main",
		"without one":    "@a cel_policy `principal.kind == \"anonymous\"`\n respond @a \"public\" 200",
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			g := start(t, directives+"\n handle_errors {\n header X-Reason {http.auth.okta.reason}\n respond {http.error.status_code} {\n close\n }\n }")
			for _, as := range []option{bearer(g.issuer.UserToken("alice")), func(*http.Request) {}} {
				a := g.send("GET", "/", as)
				if a.StatusCode != http.StatusForbidden || a.reached || strings.Contains(a.body, "public") || a.Header.Get("X-Reason") != "policy_error" {
					t.Errorf("%d %q with reason %q, want 403 and policy_error", a.StatusCode, a.body, a.Header.Get("X-Reason"))
				}
			}
		})
	}
	g := start(t, "@office cel_policy `cidr(\"127.0.0.0/8\").containsIP(request.ip) && request.path == \"/office\"`\n @others not cel_policy `request.path == \"/office\"`\n okta_auth @others main")
	g.expect(200, "GET", "/office")
	g.expect(401, "GET", "/elsewhere")
	for _, target := range []string{"//office", "/office/../x", "/x/..%2foffice", "/office;x", "/x%2f..%2foffice", "/./office"} {
		if a := g.sendTarget("GET", target); a.StatusCode != http.StatusBadRequest || a.reached {
			t.Errorf("%s: %d, want 400: the matcher reads the path", target, a.StatusCode)
		}
	}
}

// Who was refused for a bad token is not anonymous on the error page either.
func TestMatcherOnErrorPages(t *testing.T) {
	g := start(t, `okta_auth main
	cel_policy `+"`\"Admin\" in principal.groups`"+`
	handle_errors {
		@user cel_policy `+"`principal.authenticated`"+`
		@nobody cel_policy `+"`!principal.authenticated`"+`
		respond @user "ask for access" 403
		respond @nobody "please sign in" 401
	}`)
	if a := g.send("GET", "/", bearer(g.issuer.UserToken("alice"))); a.StatusCode != 403 || a.body != "ask for access" {
		t.Errorf("a user: %d %q", a.StatusCode, a.body)
	}
	if a := g.send("GET", "/"); a.StatusCode != 401 || a.body != "please sign in" {
		t.Errorf("nobody: %d %q", a.StatusCode, a.body)
	}
	if a := g.send("GET", "/", bearer(g.issuer.UserToken("alice", oktatest.Forged()))); a.StatusCode != 401 || a.body != "" {
		t.Errorf("a bad token: %d %q, want 401 without a page", a.StatusCode, a.body)
	}
}

func TestMatcherInJSON(t *testing.T) {
	g := prepare(t)
	config := func(matcher string) string {
		return `{"admin":{"listen":"ADMIN"},"apps":{"okta":{"issuers":{"main":{"url":"ISSUER","audience":["api://default"]}}},"http":{"servers":{"s":{"listen":["ADDRESS"],"routes":[
		{"handle":[{"handler":"okta_auth","issuers":["main"]}]},
		{"match":[{"cel_policy":` + matcher + `}],"handle":[{"handler":"reverse_proxy","upstreams":[{"dial":"BACKEND"}]}]},
		{"handle":[{"handler":"static_response","status_code":418}]}]}}}}}`
	}
	for _, matcher := range []string{`"principal.subject == 'alice'"`, `{"expr":"principal.subject == 'alice'"}`} {
		if err := caddy.Load([]byte(g.expand(config(matcher))), false); err != nil {
			t.Fatal(err)
		}
		g.expect(200, "GET", "/", bearer(g.issuer.UserToken("alice")))
		g.expect(418, "GET", "/", bearer(g.issuer.UserToken("bob")))
	}
	for matcher, want := range map[string]string{`"principal.subjct == 'a'"`: "did you mean principal.subject?", `{"expr":"true","x":1}`: "unknown field", `""`: "the expression is empty"} {
		if err := caddy.Load([]byte(g.expand(config(matcher))), false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want …%s…", matcher, err, want)
		}
	}
}

// Mistakes are found when a Caddyfile is adapted, which "caddy validate" does too, at the line of the rule or matcher.
func TestMistakesInExpressionsHaveAFileAndALine(t *testing.T) {
	for name, test := range map[string]struct {
		directives string
		want       []string
	}{
		"a misspelt field": {"cel_policy {\n allow a `true`\n allow b `principal.gruops == []`\n }",
			[]string{"allow b: when:1:10: undefined field 'gruops': did you mean principal.groups?", "| principal.gruops", "| .........^", "Caddyfile:4"}},
		"a misspelt variable":     {"cel_policy `principel.authenticated`", []string{"undeclared reference to 'principel': did you mean principal?", "Caddyfile:2"}},
		"a misspelt function":     {"cel_policy {\n deny a `request.path.startWith(\"/\")`\n }", []string{"did you mean startsWith()?", "Caddyfile:3"}},
		"a header in upper case":  {"cel_policy {\n deny a `request.headers[\"X-Device\"] == []`\n }", []string{`write "x-device"`, "Caddyfile:3"}},
		"a rule that contradicts": {"cel_policy {\n deny a GET `request.method == \"POST\"`\n }", []string{"the rule never applies: it covers GET, HEAD, and its expression wants POST", "Caddyfile:3"}},
		"a method twice":          {"cel_policy {\n allow a GET,POST,GET `true`\n }", []string{"GET is listed twice", "Caddyfile:3"}},
		"a matcher":               {"@a cel_policy `principal.gruops == []`\n respond @a 200", []string{"did you mean principal.groups?", "Caddyfile:2"}},
		"a matcher in a block":    {"@a {\n path /x\n cel_policy `request.tsl`\n }\n respond @a 200", []string{"did you mean request.tls?", "Caddyfile:4"}},
		"a matcher negated":       {"@a not cel_policy `request.path`\n respond @a 200", []string{"must be of type bool", "Caddyfile:2"}},
		"a matcher of two words":  {"@a cel_policy request.path == \"/a\"\n respond @a 200", []string{"one token, in backticks", "Caddyfile:2"}},
		"a matcher twice":         {"@a {\n cel_policy request.tls\n cel_policy !request.tls\n }\n respond @a 200", []string{"once in a matcher"}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			_, err := adapt("example.com {\n" + test.directives + "\n}\n")
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want …%s…", err, want)
				}
			}
		})
	}
}
