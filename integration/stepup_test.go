package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

func TestStepUpChallenges(t *testing.T) {
	g := startTelling(t, `okta_auth /acr main {
		acr_values phr urn:okta:loa:2fa:any
	}
	okta_auth /age main {
		max_age 5m
	}
	okta_auth /both main {
		acr_values phr
		max_age 5m
		scopes pay
	}
	okta_auth /free main`)
	now := time.Now().Unix()
	acr := func(value any) oktatest.Option { return oktatest.With("acr", value) }
	at := func(value any) oktatest.Option { return oktatest.With("auth_time", value) }
	for name, c := range map[string]struct {
		path, reason, acrValues, maxAge string
		token                           string
	}{
		"the first acr":            {"/acr", "ok", "", "", g.issuer.UserToken("a", acr("phr"))},                                                                   // 9470-05
		"the second acr":           {"/acr", "ok", "", "", g.issuer.UserToken("a", acr("urn:okta:loa:2fa:any"))},                                                  // 9470-05
		"another acr":              {"/acr", "step_up_required", "phr urn:okta:loa:2fa:any", "", g.issuer.UserToken("a", acr("urn:okta:loa:1fa:any"))},            // 9470-01, 9470-11
		"a stronger acr":           {"/acr", "step_up_required", "phr urn:okta:loa:2fa:any", "", g.issuer.UserToken("a", acr("phrh"))},                            // OKTA-15
		"an acr if possible":       {"/acr", "step_up_required", "phr urn:okta:loa:2fa:any", "", g.issuer.UserToken("a", acr("urn:okta:loa:2fa:any:ifpossible"))}, // OKTA-16
		"another case of the acr":  {"/acr", "step_up_required", "phr urn:okta:loa:2fa:any", "", g.issuer.UserToken("a", acr("PHR"))},                             // 9470-01
		"two acr in one text":      {"/acr", "step_up_required", "phr urn:okta:loa:2fa:any", "", g.issuer.UserToken("a", acr("phr x"))},                           // 9470-01
		"an empty acr":             {"/acr", "step_up_required", "phr urn:okta:loa:2fa:any", "", g.issuer.UserToken("a", acr(""))},                                // 9470-06
		"no acr":                   {"/acr", "step_up_required", "phr urn:okta:loa:2fa:any", "", g.issuer.UserToken("a")},                                         // 9470-06
		"a list as acr":            {"/acr", "malformed_token", "", "", g.issuer.UserToken("a", acr([]string{"phr"}))},                                            // 9470-06
		"recent":                   {"/age", "ok", "", "", g.issuer.UserToken("a", at(now-60))},                                                                   // 9470-08
		"as old as it may be":      {"/age", "ok", "", "", g.issuer.UserToken("a", at(now-300))},                                                                  // 9470-08: within the skew
		"older than that and skew": {"/age", "step_up_required", "", "300", g.issuer.UserToken("a", at(now-331))},                                                 // 9470-02, 9470-08
		"a refreshed token":        {"/age", "step_up_required", "", "300", g.issuer.UserToken("a", oktatest.With("iat", now), at(now-3600))},                     // 9470-15
		"now":                      {"/age", "ok", "", "", g.issuer.UserToken("a", at(now))},
		"in the near future":       {"/age", "ok", "", "", g.issuer.UserToken("a", at(now+15))},                                                            // within the skew
		"in the future":            {"/age", "step_up_required", "", "300", g.issuer.UserToken("a", at(now+90))},                                           // 9470-07
		"no auth_time":             {"/age", "step_up_required", "", "300", g.issuer.UserToken("a", oktatest.Without("auth_time"))},                        // 9470-07
		"auth_time 0":              {"/age", "step_up_required", "", "300", g.issuer.UserToken("a", at(0))},                                                // 9470-07
		"a text as auth_time":      {"/age", "malformed_token", "", "", g.issuer.UserToken("a", at("now"))},                                                // 9470-07
		"both unmet":               {"/both", "step_up_required", "phr", "300", g.issuer.UserToken("a", oktatest.Scopes("pay"), at(now-3600))},             // 9470-03
		"one unmet":                {"/both", "step_up_required", "phr", "300", g.issuer.UserToken("a", oktatest.Scopes("pay"), acr("phr"), at(now-3600))}, // 9470-11
		"the scope too":            {"/both", "insufficient_scope", "", "", g.issuer.UserToken("a", at(now-3600))},                                         // 9470-04
		"an expired token":         {"/both", "expired", "", "", g.issuer.UserToken("a", oktatest.IssuedAgo(3*time.Hour))},                                 // 9470-10
		"nothing":                  {"/both", "no_credential", "", "", ""},                                                                                 // 9470-10
		"a service":                {"/acr", "policy_denied", "", "", g.issuer.ServiceToken("0oaJob")},                                                     // 9470-13
		"a service with an acr":    {"/acr", "ok", "", "", g.issuer.ServiceToken("0oaJob", acr("phr"))},
		"a service with a time":    {"/age", "policy_denied", "", "", g.issuer.ServiceToken("0oaJob", at(now))}, // 9470-13
		"a route without demands":  {"/free", "ok", "", "", g.issuer.UserToken("a", oktatest.Without("auth_time"))},
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			var options []option
			if c.token != "" {
				options = append(options, bearer(c.token))
			}
			a := g.expectReason(c.reason, "GET", c.path, options...)
			if answers[c.reason].challenge {
				params := parseChallenge(t, a.Header.Get("WWW-Authenticate"))
				if params["acr_values"] != c.acrValues || params["max_age"] != c.maxAge { // 9470-14
					t.Errorf("challenge %s, want acr_values %q and max_age %q", a.Header.Get("WWW-Authenticate"), c.acrValues, c.maxAge)
				}
			}
		})
	}
}

func TestSeveralHandlersInOnePath(t *testing.T) {
	g := startTelling(t, `okta_auth main {
		realm first
	}
	okta_auth /orders/* main {
		realm second
		scopes orders:read
	}
	okta_auth /orders/paid/* main {
		acr_values phr
	}
	okta_auth /kept/* main {
		scopes orders:read
		keep_token
	}`)
	user := func(options ...oktatest.Option) option { return bearer(g.issuer.UserToken("alice", options...)) }
	scope, acr := oktatest.Scopes("orders:read"), oktatest.With("acr", "phr")
	for _, c := range []struct {
		path, reason, realm string
		options             []option
	}{
		{"/", "ok", "", []option{user()}},
		{"/", "no_credential", "first", nil},
		{"/orders/1", "no_credential", "first", nil},
		{"/orders/1", "ok", "", []option{user(scope)}},
		{"/orders/1", "insufficient_scope", "second", []option{user()}},
		{"/orders/paid/1", "insufficient_scope", "second", []option{user(acr)}},
		{"/orders/paid/1", "step_up_required", "okta", []option{user(scope)}},
		{"/orders/paid/1", "ok", "", []option{user(scope, acr)}},
		{"/orders/1", "malformed_request", "first", []option{user(), user()}},
	} {
		a := g.expectReason(c.reason, "GET", c.path, c.options...)
		if c.reason == "ok" {
			a.expectHeader(t, "Authorization", "")
			a.expectHeader(t, "X-User-Id", "alice")
		} else if realm := parseChallenge(t, a.Header.Get("WWW-Authenticate"))["realm"]; realm != c.realm {
			t.Errorf("%s: the realm is %q, want %q", c.path, realm, c.realm)
		}
	}
}

// The second handler finds another caller by another token: the backend sees that one, and nothing of the first.
func TestIdentitiesOfTwoTokensAreNotMixed(t *testing.T) {
	g := startWith(t, strings.ReplaceAll(withIssuers(mainWith(""), `okta_auth main {
		headers {
			X-User-ID sub
			X-Department department
		}
	}
	okta_auth /second main {
		token header X-Second
	}
	okta_auth /optional main {
		token header X-Second
		optional
	}
	okta_auth /preflight main {
		token header X-Second
		cors_preflight pass
	}
	okta_auth /none main {
		token header X-Second
		headers none
	}`), "\t\n", "\n"))
	alice := g.issuer.UserToken("alice", oktatest.Groups("Admin"), oktatest.With("department", "IT"), oktatest.With("email", "alice@example.com"))
	bob := header("X-Second", g.issuer.UserToken("bob"))
	a := g.expectReason("ok", "GET", "/second", bearer(alice), bob)
	a.expectHeader(t, "X-User-Id", "bob")
	a.expectHeader(t, "X-Department", "")
	a.expectHeader(t, "X-User-Groups", "")
	a.expectHeader(t, "X-User-Email", "")
	a.expectHeader(t, "X-Second", "")
	a = g.expectReason("ok", "GET", "/second", bearer(alice), header("X-Second", alice))
	a.expectHeader(t, "X-User-Id", "alice")
	a.expectHeader(t, "X-Department", "IT")
	a.expectHeader(t, "X-User-Groups", "Admin")
	for _, name := range []string{"X-User-Id", "X-Department"} { // a handler that sends none leaves none of another caller either
		g.expectReason("ok", "GET", "/none", bearer(alice), bob).expectHeader(t, name, "")
	}
	g.expectReason("ok", "GET", "/none", bearer(alice), header("X-Second", alice)).expectHeader(t, "X-Department", "IT")
	g.expectReason("no_credential", "GET", "/second", bearer(alice))
	g.expectReason("no_credential", "GET", "/second", bob)
	g.expectReason("ok", "GET", "/optional", bearer(alice)).expectHeader(t, "X-User-Id", "alice")
	g.expectReason("bad_signature", "GET", "/optional", bearer(alice), header("X-Second", tampered(alice)))
	origin := []option{header("Origin", "https://app.example"), header("Access-Control-Request-Method", "GET")}
	g.expectReason("no_credential", "OPTIONS", "/preflight", append(origin, bearer(alice))...) // it carries a credential
	g.expectReason("no_credential", "OPTIONS", "/preflight", origin...)
}

// The policy asks in the words of the okta_auth before it.
func TestChallengesOfThePolicyNameTheRealm(t *testing.T) {
	g := startTelling(t, "okta_auth main {\n optional\n realm \"the api\"\n }\n cel_policy {\n allow all `principal.authenticated`\n step_up strong /pay {\n acr_values phr\n }\n }")
	for reason, options := range map[string][]option{
		"no_credential":    nil,
		"step_up_required": {bearer(g.issuer.UserToken("alice"))},
	} {
		challenge := g.expectReason(reason, "GET", "/pay", options...).Header.Get("WWW-Authenticate")
		if realm := parseChallenge(t, challenge)["realm"]; realm != "the api" {
			t.Errorf("challenge %s, want the realm of okta_auth", challenge)
		}
	}
}
