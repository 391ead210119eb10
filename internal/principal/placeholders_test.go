package principal_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/principal"
)

func contextWith(r *http.Request, key, value any) context.Context {
	return context.WithValue(r.Context(), key, value)
}

const adasClaims = `{"iss":"https://acme.okta.test/oauth2/default","sub":"ada@example.com","cid":"0oaClient","uid":"00uAda",
	"id":"not the subject","scp":["orders:read","orders:write"],"groups":["Everyone","Admins"],"email":null,"level":3,"rate":0.10,
	"big":18446744073709551616,"admin":true,"html":"<a&b>","empty":"","mixed":["a",1],"lists":[["a"]],"none":[],
	"profile":{"department":"R&D","a.b":{"c":"deep"}},"https://acme.example/dept":"by URL","a.b":"dotted","a":{"b":"nested","c":"only nested"}}`

func TestPlaceholdersOfAUser(t *testing.T) {
	r, repl := request(t)
	c := principal.Ensure(r)
	c.Judged, c.Identity = true, identity(t, adasClaims)
	for placeholder, want := range map[string]string{
		"http.auth.user.id":                        "ada@example.com",
		"http.auth.user.sub":                       "ada@example.com",
		"http.auth.user.scp":                       "orders:read,orders:write",
		"http.auth.user.groups":                    "Everyone,Admins",
		"http.auth.user.level":                     "3",
		"http.auth.user.rate":                      "0.10",
		"http.auth.user.big":                       "18446744073709551616",
		"http.auth.user.admin":                     "true",
		"http.auth.user.html":                      "<a&b>",
		"http.auth.user.empty":                     "",
		"http.auth.user.none":                      "",
		"http.auth.user.mixed":                     `["a",1]`,
		"http.auth.user.lists":                     `[["a"]]`,
		"http.auth.user.profile":                   `{"a.b":{"c":"deep"},"department":"R&D"}`,
		"http.auth.user.profile.department":        "R&D",
		"http.auth.user.profile.a.b.c":             "deep",
		"http.auth.user.https://acme.example/dept": "by URL",
		"http.auth.user.a.b":                       "dotted",
		"http.auth.user.a.c":                       "only nested",
		"http.auth.okta.issuer":                    "https://acme.okta.test/oauth2/default",
		"http.auth.okta.client_id":                 "0oaClient",
		"http.auth.okta.scopes":                    "orders:read orders:write",
		"http.auth.okta.groups":                    "Everyone,Admins",
		"http.auth.okta.reason":                    "ok",
		"http.auth.okta.error_description":         "",
	} {
		if got, ok := repl.GetString(placeholder); !ok || got != want {
			t.Errorf("{%s} is %q, %t, want %q", placeholder, got, ok, want)
		}
	}
	for _, placeholder := range []string{
		"http.auth.user.email", "http.auth.user.missing", "http.auth.user.", "http.auth.user.profile.", "http.auth.user.profile.missing",
		"http.auth.user.sub.x", "http.auth.user.Sub", "http.auth.okta.missing", "http.auth.okta", "http.policy.name", "http.policy.rule", "http.policy.decision",
	} {
		if got, ok := repl.GetString(placeholder); ok {
			t.Errorf("{%s} is %q, want nothing", placeholder, got)
		}
	}
}

func TestPlaceholdersOfNobody(t *testing.T) {
	r, repl := request(t)
	c := principal.Ensure(r)
	for _, placeholder := range []string{
		"http.auth.user.id", "http.auth.user.sub", "http.auth.okta.issuer", "http.auth.okta.client_id", "http.auth.okta.scopes", "http.auth.okta.groups",
	} {
		if got, ok := repl.GetString(placeholder); ok {
			t.Errorf("anonymous: {%s} is %q, want nothing", placeholder, got)
		}
	}
	if got, ok := repl.GetString("http.auth.okta.reason"); ok {
		t.Errorf("before okta_auth ran, the reason is %q, want nothing", got)
	}
	c.Judged = true
	for _, test := range []struct {
		change                   func()
		wantReason, wantSentence string
	}{
		{func() {}, "anonymous", ""},
		{func() { c.Preflight = true }, "preflight", ""},
		{func() { c.Refusal = deny.Expired.Because("late") }, "expired", "The access token expired"},
	} {
		test.change()
		reason, _ := repl.GetString("http.auth.okta.reason")
		sentence, _ := repl.GetString("http.auth.okta.error_description")
		if reason != test.wantReason || sentence != test.wantSentence {
			t.Errorf("reason %q and description %q, want %q and %q", reason, sentence, test.wantReason, test.wantSentence)
		}
	}
}

// cel_policy can refuse on a route without okta_auth; the reason is known all the same.
func TestPlaceholdersOfARefusalByThePolicy(t *testing.T) {
	r, repl := request(t)
	c := principal.Ensure(r)
	c.Refusal = deny.PolicyDenied.Because("no rule allows it")
	c.Policy = principal.Decision{Policy: "orders", Rule: "", Result: "deny"}
	for placeholder, want := range map[string]string{
		"http.auth.okta.reason": "policy_denied", "http.policy.name": "orders", "http.policy.rule": "", "http.policy.decision": "deny",
	} {
		if got, ok := repl.GetString(placeholder); !ok || got != want {
			t.Errorf("{%s} is %q, %t, want %q", placeholder, got, ok, want)
		}
	}
}
