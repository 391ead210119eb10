package integration

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// 7662-19: a token that can be judged here is judged here first, and what fails never gets a second opinion.
func TestForgedTokensAreNeverIntrospected(t *testing.T) {
	g := startAsking(t, "", `okta_auth /opaque main
	okta_auth /always main {
		introspect always
	}`)
	s := g.issuer
	token := s.UserToken("alice")
	forged := s.UserToken("alice", oktatest.Forged())
	parts := strings.Split(forged, ".")
	s.Override(oktatest.Introspect, oktatest.Answer(200, `{"active":true}`)) // it would believe anything
	for name, bad := range map[string]string{
		"forged":                    forged,
		"forged, with a dot more":   forged + ".",
		"forged, with two more":     forged + "..",
		"forged, in five parts":     forged + ".a.b",
		"forged, padded":            forged + "=",
		"forged, without signature": parts[0] + "." + parts[1],
		"a header and a dot":        parts[0] + ".",
		"a header and two dots":     parts[0] + "..",
		"tampered with":             tampered(token),
		"expired":                   s.UserToken("alice", oktatest.IssuedAgo(2*time.Hour)),
		"not valid yet":             s.UserToken("alice", oktatest.IssuedAgo(-time.Hour)),
		"for another audience":      s.UserToken("alice", oktatest.Audience("api://other")),
		"of another issuer":         s.UserToken("alice", oktatest.With("iss", "https://evil.example")),
		"without an issuer":         s.UserToken("alice", oktatest.Without("iss")),
		"with a number as issuer":   s.UserToken("alice", oktatest.With("iss", 7)),
		"with alg none":             s.UserToken("alice", oktatest.Alg("none")),
		"with an unknown kid":       s.UserToken("alice", oktatest.KID("unknown")),
		"an ID token":               s.IDToken("alice"),
		"with no JSON as claims":    s.SignPayload([]byte("{")),
		"with claims twice":         s.SignPayload([]byte(`{"iss":"a","iss":"b"}`)),
		"with spaces before JSON":   s.UserToken("alice", oktatest.RawHeader(" \t\r\n{}")),
		"with a critical header":    s.UserToken("alice", oktatest.Header(map[string]any{"crit": []string{"x"}})),
		"with an object and no alg": s.UserToken("alice", oktatest.RawHeader(`{}`)),
	} {
		for _, path := range []string{"/opaque", "/always"} {
			if a := g.expect(401, "GET", path, bearer(bad)); a.body == "" {
				t.Errorf("%s: a token %s was not refused by us", path, name)
			}
		}
	}
	g.expectReason("ok", "GET", "/opaque", bearer(token))
	g.expectCalls(0)
	g.expectReason("malformed_token", "GET", "/always", bearer(token)) // an answer without claims is none about an access token
	g.expectCalls(1)
}

// What does not begin as a signed token does is opaque, and so is what only the issuer can decrypt.
func TestWhatIsOpaque(t *testing.T) {
	g := startAsking(t, "", "okta_auth main")
	for calls, text := range []string{
		"random", "a.b", "a.b.c", "a.b.c.d.e", "..", "e30", "W10.e30.a", "bnVsbA.e30.a", "+/+.e30.a", "MQ.MQ.MQ", encoded(`{"a":1`) + "~.e30.a", encoded(`{"alg":"dir","enc":"A256GCM"}`) + "..a.b.c",
	} {
		g.expectReason("revoked", "GET", "/", bearer(text)) // 7662-04
		g.expectCalls(calls + 1)
	}
	for _, text := range []string{
		"e30.e30.a", "e30.", "e30.e30", "e30.a.b.c.d", encoded(`{"enc":"A256GCM"}`) + ".a.b.c", encoded(`{"alg":"RS256","enc":"A256GCM"}`) + ".a.b",
		encoded(" {}") + ".a.b", encoded("\t\r\n{") + ".a.b", encoded(`{"enc":"a","enc":"b"}`) + ".a.b.c.d", strings.ReplaceAll(encoded(`{"?":"ÿ>"}`), "_", "/") + ".a.b",
	} {
		g.expectReason("malformed_token", "GET", "/", bearer(text))
	}
	g.expectCalls(12)
}

func encoded(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// 7662-09, 7009-01, 7009-02: whether a revocation is seen, and when, is what the route asks for.
func TestRevokedTokens(t *testing.T) {
	config := func(ttl string) string {
		return withIssuers(asking("cache_ttl "+ttl+"\n negative_ttl 0s"), "okta_auth /always main {\n introspect always\n }\n okta_auth /opaque main\n okta_auth /off main {\n introspect off\n }")
	}
	g := prepare(t)
	g.issuer.RegisterClient(oktatest.Client{ID: gatewayID, Secret: gatewaySecret})
	g.load(config("0s"))
	token, opaque := g.issuer.UserToken("alice"), g.issuer.OpaqueToken("alice")
	g.expectReason("ok", "GET", "/always", bearer(token))
	g.expectReason("ok", "GET", "/opaque", bearer(opaque))
	g.expectReason("malformed_token", "GET", "/off", bearer(opaque))
	g.issuer.Revoke(token)
	g.issuer.Revoke(opaque)
	g.expectUnder("Bearer", "revoked", "GET", "/always", bearer(token))
	g.expectReason("revoked", "GET", "/opaque", bearer(opaque))
	g.expectReason("ok", "GET", "/opaque", bearer(token)) // nobody is asked about it, until exp
	g.expectReason("ok", "GET", "/off", bearer(token))

	// A cache of its own for each configuration of introspection, which says how long a revoked token may pass.
	g.load(config("1h"))
	token = g.issuer.UserToken("alice")
	g.expectReason("ok", "GET", "/always", bearer(token))
	g.issuer.Revoke(token)
	g.expectReason("ok", "GET", "/always", bearer(token))
	g.load(config("1s"))
	token = g.issuer.UserToken("alice")
	g.expectReason("ok", "GET", "/always", bearer(token))
	g.issuer.Revoke(token)
	g.eventually(401, "/always", bearer(token))
	g.expectReason("revoked", "GET", "/always", bearer(token))
}

// 7662-08: an answer is not remembered beyond the end of its token, and no caching makes an expired one pass.
func TestAnAnswerDoesNotOutliveItsToken(t *testing.T) {
	g := startAsking(t, "cache_ttl 1h", "okta_auth main")
	main := g.issuer.OpaqueToken("alice", oktatest.With("exp", time.Now().Add(2*time.Second).Unix()))
	g.expectReason("ok", "GET", "/", bearer(main))
	calls := g.issuer.Hits(oktatest.Introspect)
	g.eventually(401, "/", bearer(main))
	if now := g.issuer.Hits(oktatest.Introspect); now <= calls {
		t.Error("an expired answer was remembered")
	}
}

// "always" asks about a token however often its signature was found good.
func TestAlwaysAsksAboutRememberedTokens(t *testing.T) {
	g := startAsking(t, "cache_ttl 0s", "okta_auth main {\n introspect always\n }\n okta_auth /scoped main {\n introspect always\n scopes openid\n }")
	token := g.issuer.UserToken("alice")
	for calls := range 3 {
		g.expectReason("ok", "GET", "/", bearer(token)).expectHeader(t, "X-User-Id", "alice")
		g.expectCalls(calls + 1)
	}
	g.expectReason("ok", "GET", "/", bearer(g.issuer.OpaqueToken("bob"))).expectHeader(t, "X-User-Id", "bob")
	g.expectCalls(4) // and not twice for one that is introspected anyway
	g.answering(map[string]any{"aud": "api://other"})
	g.expectReason("wrong_audience", "GET", "/", bearer(token))
	g.answering(map[string]any{"iss": "https://evil.example"})
	g.expectReason("wrong_issuer", "GET", "/", bearer(token))
	g.answering(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})
	g.expectReason("expired", "GET", "/", bearer(token))
	g.answering(map[string]any{"sub": "mallory"})
	g.expectReason("ok", "GET", "/", bearer(token)).expectHeader(t, "X-User-Id", "alice") // what was signed counts
	g.answering(map[string]any{"scope": removed})
	g.expectReason("ok", "GET", "/scoped", bearer(token))
	g.answering(map[string]any{"scope": "openid"})
	g.expectReason("insufficient_scope", "GET", "/scoped", bearer(g.issuer.UserToken("alice", oktatest.Scopes("profile"))))
}

// Okta's org server signs its tokens for itself alone: it is asked about each of them, beside other issuers too.
func TestTokensOfTheOrgServer(t *testing.T) {
	g := prepare(t)
	org := other(t, oktatest.Config{})
	client := oktatest.Client{ID: gatewayID, Secret: gatewaySecret}
	org.RegisterClient(client)
	g.issuer.RegisterClient(client)
	g.load(withIssuers(fmt.Sprintf("%s\n issuer org %s {\n audience %s\n %s\n }", mainWith(""), org.Issuer(), org.Audience(), introspection("cache_ttl 0s\n negative_ttl 0s")), `okta_auth /org org
	okta_auth /both main org
	okta_auth /custom main`))
	asked := func() int { return org.Hits(oktatest.Introspect) }
	for _, path := range []string{"/org", "/both"} {
		a := g.expectReason("ok", "GET", path, bearer(org.UserToken("alice")))
		a.expectHeader(t, "X-User-Id", "alice")
		g.expectReason("ok", "GET", path, bearer(org.OpaqueToken("alice")))
		revoked := org.UserToken("alice")
		org.Revoke(revoked)
		calls := asked()
		g.expectReason("revoked", "GET", path, bearer(revoked))
		g.expectReason("revoked", "GET", path, bearer(org.UserToken("alice", oktatest.Forged())))
		g.expectReason("revoked", "GET", path, bearer("garbage"))
		g.expectReason("wrong_audience", "GET", path, bearer(org.UserToken("alice", oktatest.Audience("api://other"))))
		if asked() != calls+4 {
			t.Errorf("%s: the org server was asked %d times, want 4", path, asked()-calls)
		}
	}
	g.expectReason("revoked", "GET", "/org", bearer("e30.e30.a")) // its tokens may look like anything
	token := org.UserToken("alice")
	for range 2 { // what was introspected is no signature to remember
		g.expectReason("ok", "GET", "/both", bearer(token)).expectHeader(t, "X-User-Issuer", org.Issuer())
	}
	org.Revoke(token)
	g.expectReason("revoked", "GET", "/both", bearer(token))
	calls := asked()
	g.expectReason("ok", "GET", "/both", bearer(g.issuer.UserToken("alice"))).expectHeader(t, "X-User-Issuer", g.issuer.Issuer())
	g.expectReason("bad_signature", "GET", "/both", bearer(g.issuer.UserToken("alice", oktatest.Forged())))
	g.expectReason("wrong_issuer", "GET", "/both", bearer(g.issuer.UserToken("alice", oktatest.With("iss", "https://evil.example"))))
	g.expectReason("malformed_token", "GET", "/both", bearer("e30.e30.a"))
	g.expectReason("malformed_token", "GET", "/custom", bearer("garbage"))
	if asked() != calls {
		t.Errorf("the org server was asked %d times about tokens of others", asked()-calls)
	}
	g.expectCalls(0)
	for n, issuer := range []string{"https://evil.example", g.issuer.Issuer()} {
		org.Override(oktatest.Introspect, oktatest.Answer(200, fmt.Sprintf(`{"active":true,"iss":%q}`, issuer)))
		g.expectReason("wrong_issuer", "GET", "/both", bearer(fmt.Sprint("opaque", n)))
	}
}

// With several issuers, each is asked about its own tokens, and none about what could be anyone's.
func TestSeveralIssuersThatAreAsked(t *testing.T) {
	g := prepare(t)
	partner := other(t, oktatest.Config{ID: "partner"})
	client := oktatest.Client{ID: gatewayID, Secret: gatewaySecret}
	partner.RegisterClient(client)
	g.issuer.RegisterClient(client)
	g.load(withIssuers(fmt.Sprintf("%s\n issuer partner %s {\n audience %s\n %s\n }", asking(""), partner.Issuer(), partner.Audience(), introspection("")),
		"okta_auth main partner {\n introspect always\n }"))
	g.expectReason("ok", "GET", "/", bearer(g.issuer.UserToken("alice"))).expectHeader(t, "X-User-Issuer", g.issuer.Issuer())
	g.expectCalls(1)
	g.expectReason("ok", "GET", "/", bearer(partner.UserToken("alice"))).expectHeader(t, "X-User-Issuer", partner.Issuer())
	g.expectReason("malformed_token", "GET", "/", bearer(g.issuer.OpaqueToken("alice")))
	g.expectCalls(1)
	if hits := partner.Hits(oktatest.Introspect); hits != 1 {
		t.Errorf("the partner was asked %d times, want once", hits)
	}
}
