package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// leaky is a site that says as much as Caddy can be made to say: access log, everything at DEBUG, error pages with
// every placeholder of ours, and a backend for error pages.
const leaky = `{
	admin ADMIN
	persist_config off
	debug
	log {
		output file LOGS
		level DEBUG
	}
	metrics
	okta {
		issuer main ISSUER {
			audience api://default
		}
		guard {
			failures 10000
		}
	}
}
http://ADDRESS {
	bind 127.0.0.1
	log
	okta_auth /scoped main {
		scopes never:granted
	}
	okta_auth /strong main {
		acr_values phr
	}
	okta_auth main
	cel_policy {
		deny broken /broken ` + "`claims.nothing == 1`" + `
		allow all ` + "`true`" + `
	}
	reverse_proxy BACKEND
	handle_errors {
		respond "{err.status_code} {err.message} {http.auth.okta.reason} {http.auth.okta.error_description} {http.auth.user.id} {http.vars.caddy_okta.caller} {http.request.header.Authorization} {http.policy.rule}"
	}
}
`

// Everything that a run writes is collected, and no token, signature or part of one is in it.
func TestNothingLeaks(t *testing.T) {
	g := startWith(t, leaky)
	tokens := []string{
		g.issuer.UserToken("alice"),
		g.issuer.UserToken("alice", oktatest.Forged()),
		g.issuer.UserToken("alice", oktatest.IssuedAgo(2*time.Hour)),
		g.issuer.UserToken("alice", oktatest.Audience("api://other")),
		g.issuer.UserToken("alice", oktatest.With("cnf", map[string]any{"jkt": "x"})),
		g.issuer.UserToken("alice", oktatest.KID("unknown")),
		g.issuer.UserToken("alice", oktatest.With("exp", "never")),
		g.issuer.UserToken("alice", oktatest.Header(map[string]any{"crit": []string{"x"}})),
		g.issuer.SignPayload([]byte(`{"sub":"a","sub":"b"}`)),
		g.issuer.IDToken("alice"),
		g.issuer.OrgToken("alice"),
		strings.Repeat("garbage.", 30),
		"spaced token with-a-secret-in-it",
	}
	var written strings.Builder
	for _, token := range tokens {
		for _, path := range []string{"/", "/scoped", "/strong", "/broken", "/a//b"} {
			a := g.send("GET", path, bearer(token))
			fmt.Fprintln(&written, a.StatusCode, a.Response.Header, a.body)
		}
		a := g.send("GET", "/", bearer(token), header("authorization", "Bearer "+token))
		fmt.Fprintln(&written, a.StatusCode, a.Response.Header, a.body)
	}
	for _, path := range []string{"/metrics", "/okta/issuers", "/config/"} {
		_, text := g.adminCall(http.MethodGet, path, "", "")
		fmt.Fprintln(&written, text)
	}
	fmt.Fprintln(&written, g.logged())

	if lines := strings.Count(g.logged(), "\n"); lines < len(tokens)*5 {
		t.Fatalf("only %d lines were logged: the test reads the wrong file", lines)
	}
	for _, token := range tokens {
		parts := append(strings.Split(token, "."), token)
		if strings.Contains(token, " ") {
			parts = []string{"with-a-secret-in-it"}
		}
		for _, part := range parts {
			if len(part) > 16 && strings.Contains(written.String(), part) {
				t.Errorf("%.40s… was written", part)
			}
		}
	}
}
