package celpolicy

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/principal"
)

func newMatcher(t testing.TB, expression string) *Matcher {
	t.Helper()
	m := &Matcher{Expr: expression}
	if err := m.Provision(caddy.Context{Context: context.Background()}); err != nil {
		t.Fatalf("Provision(%s) = %v", expression, err)
	}
	m.now = func() time.Time { return noon }
	return m
}

// attach makes a caller the one of a request.
func attach(r *http.Request, as *principal.Caller) {
	caller := principal.Ensure(r)
	challenge := caller.Challenge
	*caller = *as
	caller.Challenge = challenge
}

func TestMatchersMatch(t *testing.T) {
	anonymous := &principal.Caller{Judged: true}
	preflight := &principal.Caller{Judged: true, Preflight: true}
	askedFor := &principal.Caller{Judged: true, Refusal: deny.NoCredential.Because("nothing there")}
	badToken := &principal.Caller{Judged: true, Refusal: deny.Expired.Because("late")}
	refusedUser := user(t)
	refusedUser.Refusal = deny.PolicyDenied.Because("no rule allows it")
	for _, test := range []struct {
		name, expression, method, target string
		as                               *principal.Caller // nil is before okta_auth
		want                             bool
		reason                           deny.Reason // of the error; OK is none
	}{
		{"true", `request.path == "/a"`, "GET", "/a", nil, true, deny.OK},
		{"false", `request.path == "/b"`, "GET", "/a", nil, false, deny.OK},
		{"the time", `now.getHours("Europe/Berlin") == 14`, "GET", "/a", nil, true, deny.OK},
		{"a placeholder", `placeholder("http.request.method") == "GET"`, "GET", "/a", nil, true, deny.OK},
		{"a group", `"Admin" in principal.groups`, "GET", "/a", user(t), true, deny.OK},
		{"a claim", `claims.dept == "marketing"`, "GET", "/a", user(t), false, deny.OK},
		{"nobody, behind okta_auth", `principal.kind == "anonymous" && claims == {}`, "GET", "/a", anonymous, true, deny.OK},
		{"a preflight", `principal.authenticated`, "OPTIONS", "/a", preflight, false, deny.OK},
		{"nobody, who was asked for a token", `principal.authenticated`, "GET", "/a", askedFor, false, deny.OK},
		{"a user whom the policy refused", `"Admin" in principal.groups`, "GET", "/a", refusedUser, true, deny.OK},

		{"principal before okta_auth", `!principal.authenticated`, "GET", "/a", nil, false, deny.PolicyError},
		{"claims before okta_auth", `claims == {}`, "GET", "/a", nil, false, deny.PolicyError},
		{"principal that would not be evaluated", `true || principal.authenticated`, "GET", "/a", nil, false, deny.PolicyError},
		{"the user's placeholder before okta_auth", `placeholder("http.auth.user.id") == "" || true`, "GET", "/a", nil, false, deny.PolicyError},
		{"a caller whom okta_auth did not judge", `!principal.authenticated`, "GET", "/a", &principal.Caller{}, false, deny.PolicyError},
		{"a bad token is not nobody", `!principal.authenticated`, "GET", "/a", badToken, false, deny.PolicyError},
		{"a missing claim", `claims.nope == 1`, "GET", "/a", user(t), false, deny.PolicyError},
		{"a missing header, negated", `!(request.headers["x-nope"][0] == "")`, "GET", "/a", nil, false, deny.PolicyError},

		{"a path that is ambiguous", `request.path.startsWith("/a")`, "GET", "/a/..%2fb", nil, false, deny.AmbiguousPath},
		{"a path that would not be evaluated", `true || request.path == "/a"`, "GET", "//a", nil, false, deny.AmbiguousPath},
		{"a path behind has", `has(request.path)`, "GET", "//a", nil, false, deny.AmbiguousPath},
		{"a path behind ?", `request.?path.hasValue()`, "GET", "//a", nil, false, deny.AmbiguousPath},
		{"a path behind dyn", `dyn(request).path == "/a" || true`, "GET", "//a", nil, false, deny.AmbiguousPath},
		{"a path behind bind", `cel.bind(x, request, x.path == "/a" || true)`, "GET", "//a", nil, false, deny.AmbiguousPath},
		{"a path as a placeholder", `placeholder("http.request.uri.path") == "/a" || true`, "GET", "//a", nil, false, deny.AmbiguousPath},
		{"the path is not read", `request.host == "example.com"`, "GET", "//a", nil, true, deny.OK},
		{"a method in lower case", `request.method == "GET" || true`, "get", "/a", nil, false, deny.MalformedRequest},
		{"the method as a placeholder", `placeholder("http.request.method") == "GET" || true`, "get", "/a", nil, false, deny.MalformedRequest},
		{"the method is not read", `request.path == "/a"`, "get", "/a", nil, true, deny.OK},
		{"a query that does not parse", `request.query == {}`, "GET", "/a?b;c", nil, false, deny.MalformedRequest},
		{"a parameter of it as a placeholder", `placeholder("http.request.uri.query.b") == ""`, "GET", "/a?b;c", nil, false, deny.MalformedRequest},
		{"the query is not read", `request.path == "/a"`, "GET", "/a?b;c", nil, true, deny.OK},
	} {
		t.Run(strings.ReplaceAll(test.name, " ", "_"), func(t *testing.T) {
			r := newRequest(t, test.method, test.target)
			if test.as != nil {
				attach(r, test.as)
			}
			got, err := newMatcher(t, test.expression).MatchWithError(r)
			if got != test.want || (err == nil) != (test.reason == deny.OK) {
				t.Fatalf("MatchWithError() = %v, %v, want %v and %v", got, err, test.want, test.reason)
			}
			if err == nil {
				return
			}
			var answer caddyhttp.HandlerError
			if !errors.As(err, &answer) || answer.StatusCode != test.reason.Status() {
				t.Errorf("the error is %#v, want status %d", err, test.reason.Status())
			}
			if got := principal.Of(r).Reason(); got != test.reason {
				t.Errorf("{http.auth.okta.reason} is %v, want %v", got, test.reason)
			}
			if _, err := (caddyhttp.MatchNot{MatcherSets: []caddyhttp.MatcherSet{{newMatcher(t, test.expression)}}}).MatchWithError(r); err == nil {
				t.Error("negated, the matcher gives no error")
			}
		})
	}
}

func TestMatcherErrorsHoldNoValues(t *testing.T) {
	r := newRequest(t, "GET", "/")
	attach(r, user(t))
	if _, err := newMatcher(t, `int(claims.dept) == 1`).MatchWithError(r); err == nil || strings.Contains(err.Error(), "sales") {
		t.Errorf("the error is %v, want one without the value", err)
	}
}

func TestMatchersInCaddyfiles(t *testing.T) {
	for input, want := range map[string]string{
		"cel_policy `request.path == \"/a\"`":              "",
		"cel_policy {\n request.tls\n }":                   "write cel_policy <expression>; the expression is one token",
		"cel_policy":                                       "write cel_policy <expression>",
		"cel_policy ``":                                    "the expression is empty",
		"cel_policy request.path == \"/a\"":                "the expression is one token, in backticks",
		"cel_policy request.tls\ncel_policy !request.tls":  "stands once in a matcher",
		"cel_policy request.tls {\n x\n }":                 "without a block",
		"cel_policy `principal.gruops == []`":              "when:1:10: undefined field 'gruops': did you mean principal.groups?",
		"cel_policy `request.path`":                        "must be of type bool",
		"cel_policy `params.id == \"\"`":                   "no parameters",
		"cel_policy `params == {}`":                        "a matcher has no path and so no params",
		"cel_policy `{http.request.host} == \"x\"`":        "Caddy replaced a shorthand",
		"cel_policy `request.headers[\"X-A\"] == [\"b\"]`": `write "x-a"`,
	} {
		var m Matcher
		err := m.UnmarshalCaddyfile(caddyfile.NewTestDispenser(input))
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", input, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Testfile:")):
			t.Errorf("%s: %v, want …%s… with file and line", input, err, want)
		}
	}
}

func TestMatchersInJSON(t *testing.T) {
	for text, want := range map[string]string{
		`"request.tls"`:             "",
		`{"expr":"request.tls"}`:    "",
		`{"expr":"x","name":"y"}`:   `unknown field "name"`,
		`{"expression":"x"}`:        `unknown field "expression"`,
		`["request.tls"]`:           "cannot unmarshal array",
		`7`:                         "cannot unmarshal number",
		`""`:                        "the expression is empty",
		`{}`:                        "the expression is empty",
		`null`:                      "the expression is empty",
		`"request.tsl"`:             "did you mean request.tls?",
		`{"expr":"principal.acr"}`:  "must be of type bool",
		`{"expr":"params == {}"}`:   "no params",
		`{"expr":["request.tls"] }`: "cannot unmarshal array",
	} {
		var m Matcher
		err := json.Unmarshal([]byte(text), &m)
		if err == nil {
			err = m.Provision(caddy.Context{Context: context.Background()})
		}
		if want == "" {
			again, marshalErr := json.Marshal(&m)
			if err != nil || marshalErr != nil || string(again) != `"request.tls"` {
				t.Errorf("%s: %v; marshalled %s %v", text, err, again, marshalErr)
			}
		} else if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want …%s…", text, err, want)
		}
	}
}

func TestTheMatcherIsRegistered(t *testing.T) {
	info, err := caddy.GetModule("http.matchers.cel_policy")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := info.New().(*Matcher); !ok {
		t.Errorf("New() = %T, want *Matcher", info.New())
	}
}

func TestOneMatcherMatchesConcurrently(t *testing.T) {
	m := newMatcher(t, `"Admin" in principal.groups && request.path == "/a" && request.query == {}`)
	caller := user(t)
	done := make(chan bool)
	for range 8 {
		r := newRequest(t, "GET", "/a")
		attach(r, caller)
		go func() {
			matches, err := m.MatchWithError(r)
			done <- matches && err == nil
		}()
	}
	for range 8 {
		if !<-done {
			t.Error("the matcher does not match")
		}
	}
}
