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

// logFilter is the format that the README gives to a log.
func logFilter(t *testing.T) string {
	t.Helper()
	for _, s := range snippets(t, "../README.md", "caddyfile") {
		if begin := strings.Index(s.text, "format filter {"); begin >= 0 {
			return strings.TrimSuffix(s.text[begin:], "\t}\n}\n") // of the log, and of the global options
		}
	}
	t.Fatal("README shows no filter")
	return ""
}

// expectNotLogged looks for tokens, proofs and their parts. The header of a token is no secret, and the same for many.
func (g *gateway) expectNotLogged(credentials ...string) {
	g.t.Helper()
	for _, credential := range credentials {
		for _, part := range strings.Split(credential, ".")[1:] {
			if strings.Contains(g.logged(), part) {
				g.t.Errorf("%.40s… was logged", part)
			}
		}
	}
}

// Caddy writes its log lines from a copy of the request that no handler can change, and redacts Authorization and
// cookies only. What README says to add keeps tokens in other places out as well.
func TestLogFilterKeepsOtherTokensOut(t *testing.T) {
	config := strings.Replace(leaky, "level DEBUG", "level DEBUG\n\t\t"+logFilter(t), 1)
	config = strings.Replace(config, "okta_auth main\n\tcel", "okta_auth main {\n token header X-Api-Token\n }\n\tcel", 1)
	config = strings.ReplaceAll(config, "{http.request.header.Authorization}", "{http.request.header.X-Api-Token}")
	g := startWith(t, config)
	if !strings.Contains(g.logged(), "Caddy does not redact this header") {
		t.Error("nothing was logged about the header")
	}
	good := g.issuer.UserToken("alice")
	bad := g.issuer.UserToken("alice", oktatest.Forged())
	g.expect(http.StatusOK, "GET", "/", header("X-Api-Token", good))
	g.expect(http.StatusUnauthorized, "GET", "/", header("X-Api-Token", bad))
	g.expect(http.StatusBadRequest, "GET", "/?access_token="+bad, header("X-Api-Token", good))
	g.expect(http.StatusUnauthorized, "GET", "/?access_token="+bad)
	g.expectNotLogged(good, bad)
}

// The same for DPoP proofs, whatever becomes of the request: also where Caddy writes an error of the backend, which needs
// no access log. The token itself stands in Authorization, which Caddy redacts without a filter, too.
func TestLogFilterKeepsProofsOut(t *testing.T) {
	key := oktatest.NewKey("ES256")
	for name, filter := range map[string]string{"as it is": "", "filtered": logFilter(t)} {
		config := strings.Replace(leaky, "level DEBUG", "level DEBUG\n\t\t"+filter, 1)
		g := startWith(t, strings.Replace(config, "reverse_proxy BACKEND", "reverse_proxy /gone 127.0.0.1:1\n\treverse_proxy BACKEND", 1))
		token := g.issuer.UserToken("alice", oktatest.BoundTo(key.Thumbprint()))
		var proofs []string
		send := func(status int, path string, options ...oktatest.Option) {
			t.Helper()
			proof := oktatest.Proof(key, "GET", "http://"+g.address+path, append(options, oktatest.ForToken(token))...)
			proofs = append(proofs, proof)
			g.expect(status, "GET", path, header("Authorization", "DPoP "+token), header("DPoP", proof))
		}
		send(http.StatusOK, "/")
		send(http.StatusUnauthorized, "/", oktatest.Forged())
		send(http.StatusForbidden, "/scoped")
		send(http.StatusBadRequest, "/a//b")
		send(http.StatusBadGateway, "/gone")
		g.expect(http.StatusUnauthorized, "GET", "/", bearer(token), header("DPoP", proofs[0]))
		g.expectNotLogged(token)
		if filter != "" {
			g.expectNotLogged(proofs...)
		} else if !strings.Contains(g.logged(), proofs[0]) {
			t.Errorf("%s: Caddy redacts proofs by itself: README need not show a filter for them", name)
		}
	}
}

// Whatever clients send, the number of series stays what it was.
func TestMetricsStayBounded(t *testing.T) {
	g := startWith(t, leaky)
	series := func() (lines int) {
		_, text := g.adminCall(http.MethodGet, "/metrics", "", "")
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "caddy_okta_") || strings.HasPrefix(line, "caddy_cel_policy_") {
				lines++
			}
		}
		return lines
	}
	visit := func(i int) {
		g.send("GET", fmt.Sprintf("/path-%d", i), bearer(g.issuer.UserToken(fmt.Sprintf("user-%d", i), oktatest.Groups(fmt.Sprintf("group-%d", i)))))
		g.send("GET", "/", bearer(g.issuer.UserToken("alice", oktatest.With("iss", fmt.Sprintf("https://issuer-%d", i)))))
		g.send("GET", "/", bearer(g.issuer.UserToken("alice", oktatest.KID(fmt.Sprintf("kid-%d", i)))))
		g.send("GET", "/", bearer(fmt.Sprintf("garbage-%d", i)))
		g.send("GET", "/broken", bearer(g.issuer.UserToken("alice", oktatest.With("aud", fmt.Sprintf("api://%d", i)))))
	}
	visit(0)
	before := series()
	if before < 50 {
		t.Fatalf("only %d series: the test reads the wrong page", before)
	}
	for i := range 50 {
		visit(i + 1)
	}
	if after := series(); after != before {
		t.Errorf("%d series after the flood, %d before", after, before)
	}

	// Counts go on over a reload.
	count := func() string {
		_, text := g.adminCall(http.MethodGet, "/metrics", "", "")
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, fmt.Sprintf(`caddy_okta_auth_total{issuer="%s",reason="unknown_key"}`, g.issuer.Issuer())) {
				return line
			}
		}
		return ""
	}
	counted := count()
	if status, text := g.post(strings.Replace(leaky, "acr_values phr", "acr_values phrh", 1)); status != http.StatusOK {
		t.Fatalf("reload = %d: %s", status, text)
	}
	if now := count(); !strings.HasSuffix(counted, " 51\n") || now != counted {
		t.Errorf("%q before a reload, %q after it", counted, now)
	}
}
