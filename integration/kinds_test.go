package integration

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

func typ(value any) oktatest.Option { return oktatest.Header(map[string]any{"typ": value}) }

func TestTypesOfTokensByProfile(t *testing.T) {
	for profile, reasons := range map[string]map[any]string{
		"okta": { // 9068-02 (O), 8725-17
			nil: "ok", "JWT": "ok", "jwt": "ok", "at+jwt": "ok", "at+JWT": "ok", "application/at+jwt": "ok", "application/jwt": "ok",
			"application/okta-internal-at+jwt": "wrong_type", // OKTA-02
			"okta-internal-at+jwt":             "wrong_type",
			"application/application/at+jwt":   "wrong_type",
			"at+jwt ":                          "wrong_type", "access+jwt": "wrong_type", "JWS": "wrong_type", "text/at+jwt": "wrong_type",
			7: "malformed_token", true: "malformed_token", "": "malformed_token",
		},
		"rfc9068": { // 9068-01, 9068-02
			"at+jwt": "ok", "at+JWT": "ok", "application/at+jwt": "ok", "APPLICATION/AT+JWT": "ok",
			nil: "wrong_type", "": "malformed_token", "JWT": "wrong_type", "application/jwt": "wrong_type",
			"application/okta-internal-at+jwt": "wrong_type", "at+jwt;x": "wrong_type", "at": "wrong_type",
		},
	} {
		t.Run(profile, func(t *testing.T) {
			g := startWith(t, withIssuers(mainWith("profile "+profile), "okta_auth main"))
			for value, reason := range reasons {
				g.expectReason(reason, "GET", "/", bearer(g.issuer.RFC9068Token("alice", typ(value))))
			}
		})
	}
}

func TestClaimsThatAProfileRequires(t *testing.T) {
	t.Run("rfc9068", func(t *testing.T) {
		g := startWith(t, withIssuers(mainWith("profile rfc9068"), "okta_auth main"))
		g.expectReason("ok", "GET", "/", bearer(g.issuer.RFC9068Token("alice"))).expectHeader(t, "X-User-Scopes", "openid profile") // 9068-14
		for _, claim := range []string{"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} {                                     // 9068-03
			g.expectReason("malformed_token", "GET", "/", bearer(g.issuer.RFC9068Token("alice", oktatest.Without(claim))))
			g.expectReason("malformed_token", "GET", "/", bearer(g.issuer.RFC9068Token("alice", oktatest.With(claim, nil))))
			g.expectReason("malformed_token", "GET", "/", bearer(g.issuer.RFC9068Token("alice", oktatest.With(claim, map[string]any{}))))
		}
		cid := oktatest.With("cid", oktatest.UserClient)
		g.expectReason("malformed_token", "GET", "/", bearer(g.issuer.RFC9068Token("alice", oktatest.Without("client_id"), cid)))
		g.expectReason("malformed_token", "GET", "/", bearer(g.issuer.RFC9068Token("alice", oktatest.With("client_id", ""), cid)))
		g.expectReason("ok", "GET", "/", bearer(g.issuer.RFC9068Token("alice", cid)))
		g.expectReason("wrong_type", "GET", "/", bearer(g.issuer.UserToken("alice"))) // Okta's own shape
		g.issuer.Rotate()
		g.expectReason("ok", "GET", "/", bearer(g.issuer.RFC9068Token("alice"))) // 9068-11
	})
	t.Run("okta", func(t *testing.T) {
		g := startTelling(t, "okta_auth main")
		for _, claim := range []string{"iss", "exp", "aud", "sub", "cid", "iat"} {
			g.expectReason("malformed_token", "GET", "/", bearer(g.issuer.UserToken("alice", oktatest.Without(claim))))
		}
		for _, claim := range []string{"sub", "cid"} {
			g.expectReason("malformed_token", "GET", "/", bearer(g.issuer.UserToken("alice", oktatest.With(claim, ""))))
		}
		g.expectReason("ok", "GET", "/", bearer(g.issuer.UserToken("alice", oktatest.Without("jti", "ver", "uid", "scp", "auth_time"))))
		client := func(cid, clientID string) []oktatest.Option {
			return []oktatest.Option{oktatest.With("cid", cid), oktatest.With("client_id", clientID)}
		}
		g.expectReason("ok", "GET", "/", bearer(g.issuer.UserToken("alice", oktatest.Without("cid"), oktatest.With("client_id", "0oaX"))))
		g.expectReason("ok", "GET", "/", bearer(g.issuer.UserToken("alice", client("0oaX", "0oaX")...)))
		g.expectReason("malformed_token", "GET", "/", bearer(g.issuer.UserToken("alice", client("0oaX", "0oaY")...))) // 9068-18
		g.expectReason("malformed_token", "GET", "/", bearer(g.issuer.UserToken("alice", client("", "")...)))
	})
}

func TestTypesOfClaims(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	g.expectClaims(t, []claimCase{
		{"a number as sub", "sub", 7, "malformed_token"},                                        // 7519-18
		{"a list as sub", "sub", []string{"alice"}, "malformed_token"},                          // 7519-18
		{"a number as jti", "jti", 7, "malformed_token"},                                        // 7519-18
		{"an object as cid", "cid", map[string]any{}, "malformed_token"},                        // 7519-18
		{"a number as uid", "uid", 7, "malformed_token"},                                        // 7519-18
		{"a text as scp", "scp", "openid", "malformed_token"},                                   // OKTA-05
		{"a number as scp", "scp", 7, "malformed_token"},                                        // OKTA-05
		{"a list of lists as scp", "scp", []any{[]string{"a"}}, "malformed_token"},              // OKTA-05
		{"null as scp", "scp", nil, "malformed_token"},                                          // OKTA-05
		{"a list as groups", "groups", []string{"A"}, "ok"},                                     // 9068-15
		{"a text as groups", "groups", "A", "ok"},                                               // 9068-15
		{"objects as groups", "groups", []any{map[string]any{"value": "A"}}, "malformed_token"}, // 9068-15
		{"a number as groups", "groups", 7, "malformed_token"},                                  // 9068-15
		{"a text as auth_time", "auth_time", "now", "malformed_token"},                          // 9068-16, 9470-07
		{"a number as acr", "acr", 7, "malformed_token"},                                        // 9068-16, 9470-06
		{"a text as amr", "amr", "pwd", "malformed_token"},                                      // 9068-16
		{"control characters in sub", "sub", "a\x00b\r\nc", "ok"},                               // 9110-12
	})
}

// 8725-14, 8725-15: everything else that the same keys may have signed, made as similar to an access token as it gets.
func TestOnlyAccessTokensAreAccessTokens(t *testing.T) {
	g := startWith(t, withIssuers("issuer main ISSUER {\n audience api://default "+oktatest.UserClient+" ISSUER\n }\n issuer strict ISSUER {\n audience api://default\n profile rfc9068\n }", "okta_auth /okta main\n okta_auth /strict strict"))
	s := g.issuer
	cid := oktatest.With("cid", oktatest.UserClient)
	access := func(options ...oktatest.Option) string { return s.UserToken("alice", options...) }
	events := oktatest.With("events", map[string]any{"https://schemas.openid.net/secevent/caep/event-type/session-revoked": map[string]any{}})
	now := time.Now().Unix()
	for name, token := range map[string]string{
		"an ID token":                            s.IDToken("alice"), // OKTA-03
		"an ID token for the audience":           s.IDToken("alice", oktatest.Audience("api://default")),
		"an ID token with a client":              s.IDToken("alice", oktatest.Audience("api://default"), cid),
		"an ID token with a client, no nonce":    s.IDToken("alice", oktatest.Audience("api://default"), cid, oktatest.Without("nonce")),
		"an ID token with a client, no at_hash":  s.IDToken("alice", oktatest.Audience("api://default"), cid, oktatest.Without("at_hash")),
		"an ID token without nonce and hash":     s.IDToken("alice", oktatest.Without("nonce", "at_hash")), // refresh without nonce
		"an access token with an empty nonce":    access(oktatest.With("nonce", "")),
		"an access token with nonce null":        access(oktatest.With("nonce", nil)),
		"a SET":                                  access(typ("secevent+jwt"), events), // 8417-06
		"a SET without typ":                      access(events),                      // 8417-06
		"a logout token":                         access(typ("logout+jwt"), events, oktatest.With("sid", "1")),
		"a logout token by typ alone":            access(typ("logout+jwt")),
		"an ID-JAG":                              access(typ("oauth-id-jag+jwt"), oktatest.Without("cid"), oktatest.With("client_id", "0oaA"), oktatest.With("scope", "a"), oktatest.Audience(s.Issuer())),
		"a DPoP proof":                           access(typ("dpop+jwt"), oktatest.With("htm", "GET"), oktatest.With("htu", "http://"+g.address)),
		"a request to revoke":                    access(typ("global-token-revocation+jwt")),
		"an introspection answer":                access(typ("token-introspection+jwt"), oktatest.With("token_introspection", map[string]any{"active": true})),
		"a request object":                       access(typ("oauth-authz-req+jwt")),
		"an entity statement":                    access(typ("entity-statement+jwt")),
		"a credential":                           access(typ("vc+sd-jwt")),
		"a client assertion":                     s.Sign(map[string]any{"iss": s.Issuer(), "sub": "0oaA", "aud": "api://default", "exp": now + 60, "iat": now, "jti": "1"}),
		"an org token":                           s.OrgToken("alice"), // OKTA-02
		"an org token that names the issuer":     s.OrgToken("alice", oktatest.With("iss", s.Issuer()), oktatest.Audience("api://default")),
		"a refresh token":                        "q7Wg2h3kXyz-refresh_token",                                                                             // 6750-20
		"a token that is bound by DPoP":          access(oktatest.With("cnf", map[string]any{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})),      // 9449-32
		"a token that is bound by a certificate": access(oktatest.With("cnf", map[string]any{"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"})), // 8705-03
		"a token that is bound to something":     access(oktatest.With("cnf", map[string]any{"unknown": true})),                                           // 9449-44
		"a token that is bound to nothing":       access(oktatest.With("cnf", map[string]any{})),                                                          // 9449-44
		"a token with a text as cnf":             access(oktatest.With("cnf", "0ZcOCORZNYy")),                                                             // 9449-44
		"a token with null as cnf":               access(oktatest.With("cnf", nil)),                                                                       // 9449-44
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			for _, path := range []string{"/okta", "/strict", "/okta"} {
				g.expectChallenge(http.StatusUnauthorized, []string{bare, invalidToken}, "GET", path, bearer(token)) // 9068-13
			}
		})
	}
}

func TestOktasShapes(t *testing.T) {
	g := startTelling(t, "okta_auth /open main\n okta_auth main {\n scopes read\n }\n cel_policy `principal.kind == \"user\"`")
	actor := map[string]any{"sub": "0oaAgent", "act": map[string]any{"sub": "0oaOrigin"}}
	for name, c := range map[string]struct{ reason, token string }{
		"a user":                    {"ok", g.issuer.UserToken("alice@example.com", oktatest.Scopes("read"))},                               // OKTA-01
		"a service":                 {"policy_denied", g.issuer.ServiceToken("0oaJob", oktatest.Scopes("read"))},                            // OKTA-04, 6750-31, 9110-03, 8725-11
		"a user named as a client":  {"ok", g.issuer.UserToken("0oaJob", oktatest.With("cid", "0oaJob"), oktatest.Scopes("read"))},          // 9068-17
		"no scopes":                 {"insufficient_scope", g.issuer.UserToken("alice", oktatest.Without("scp"))},                           // 6750-21
		"scope as a text":           {"ok", g.issuer.UserToken("alice", oktatest.Without("scp"), oktatest.With("scope", "a read"))},         // OKTA-06
		"scope as a list":           {"ok", g.issuer.UserToken("alice", oktatest.Without("scp"), oktatest.With("scope", []string{"read"}))}, // OKTA-06
		"scope as a number":         {"malformed_token", g.issuer.UserToken("alice", oktatest.Without("scp"), oktatest.With("scope", 7))},
		"scope joined by a tab":     {"insufficient_scope", g.issuer.UserToken("alice", oktatest.Without("scp"), oktatest.With("scope", "a\tread"))},                     // 6750-28
		"scp before scope":          {"insufficient_scope", g.issuer.UserToken("alice", oktatest.Scopes("other"), oktatest.With("scope", "read"))},                       // OKTA-07
		"an empty scp before scope": {"insufficient_scope", g.issuer.UserToken("alice", oktatest.With("scp", []string{}), oktatest.With("scope", "read"))},               // OKTA-07
		"a prefix of the scope":     {"insufficient_scope", g.issuer.UserToken("alice", oktatest.Scopes("reader", "rea"))},                                               // 6750-28
		"another case of the scope": {"insufficient_scope", g.issuer.UserToken("alice", oktatest.Scopes("Read"))},                                                        // 6750-28
		"two scopes in one text":    {"insufficient_scope", g.issuer.UserToken("alice", oktatest.Scopes("a read"))},                                                      // 6750-28
		"a chain of actors":         {"ok", g.issuer.UserToken("alice", oktatest.Scopes("read"), oktatest.With("act", actor), oktatest.With("sub_profile", "ai_agent"))}, // OKTA-22
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			a := g.expectReason(c.reason, "GET", "/", bearer(c.token))
			if c.reason == "insufficient_scope" && parseChallenge(t, a.Header.Get("WWW-Authenticate"))["scope"] != "read" {
				t.Errorf("challenge %s lacks the scope", a.Header.Get("WWW-Authenticate"))
			}
		})
	}
}
