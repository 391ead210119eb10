package integration

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// The gateway's own client at its issuers.
const (
	gatewayID     = "0oaGateway"
	gatewaySecret = "s3cr3t +&=%ü"
)

// introspection is how the gateway asks an issuer.
func introspection(options string) string {
	return "introspection {\n client_id " + gatewayID + "\n client_secret `" + gatewaySecret + "`\n " + options + "\n }"
}

// asking is the issuer "main" with introspection.
func asking(options string) string { return mainWith(introspection(options)) }

// startAsking runs the directives of a site that is telling, whose issuer knows the gateway.
func startAsking(t *testing.T, options, directives string) *gateway {
	t.Helper()
	g := prepare(t)
	g.issuer.RegisterClient(oktatest.Client{ID: gatewayID, Secret: gatewaySecret})
	g.load(withIssuers(asking(options), directives))
	return g
}

// expectCalls compares how often the issuer was asked about tokens so far.
func (g *gateway) expectCalls(want int) {
	g.t.Helper()
	if got := g.issuer.Hits(oktatest.Introspect); got != want {
		g.t.Errorf("the issuer was asked %d times, want %d", got, want)
	}
}

// 7662-01, 7662-02: how the issuer is asked.
func TestHowTheIssuerIsAsked(t *testing.T) {
	g := startAsking(t, "", "okta_auth main")
	var asked *http.Request
	g.issuer.Override(oktatest.Introspect, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.issuer.Genuine(oktatest.Introspect).ServeHTTP(w, r)
		asked = r
	}))
	g.expectReason("ok", "GET", "/", bearer(g.issuer.OpaqueToken("alice")))
	for name, want := range map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"} {
		if got := asked.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	g.expectReason("revoked", "GET", "/", bearer("a-._~+/b=="))
	if got := asked.PostForm.Get("token"); asked.Method != http.MethodPost || got != "a-._~+/b==" {
		t.Errorf("%s for %q, want a POST for the token as it is", asked.Method, got)
	}
}

// What a token says, it says the same whether it was read from a JWT or introspected.
func TestAnOpaqueTokenIsAnIdentityLikeAnyOther(t *testing.T) {
	g := startAsking(t, "", `okta_auth main {
		headers {
			X-User-ID sub
			X-Groups groups
			X-Department profile.department
			X-Level level
			X-Scopes scope
		}
	}
	cel_policy {
		allow people /people/* `+"`principal.kind == \"user\" && principal.subject == \"alice\" && principal.client_id != \"\" && principal.issuer == claims.iss && \"orders:read\" in principal.scopes && \"Admin\" in principal.groups && principal.acr == \"phr\" && claims.profile.department == \"IT\" && principal.expires_at > now && \"api://default\" in principal.audience && principal.token_id.startsWith(\"AT.\")`"+`
		allow jobs /jobs/* `+"`principal.kind == \"service\" && principal.subject == \"0oaJob\" && !has(claims.active)`"+`
		step_up strong /people/strong {
			acr_values phr
			max_age 5m
		}
	}`)
	options := []oktatest.Option{
		oktatest.Scopes("openid", "orders:read"), oktatest.Groups("Admin", "All"), oktatest.With("acr", "phr"), oktatest.With("level", 7),
		oktatest.With("profile", map[string]any{"department": "IT"}),
	}
	identity := func(a answer) map[string]string {
		found := make(map[string]string)
		for name := range a.seen.Header {
			if name != "X-Scopes" && name != "X-Forwarded-For" { // the name of that claim differs
				found[name] = a.seen.Header.Get(name)
			}
		}
		return found
	}
	known := identity(g.expectReason("ok", "GET", "/people/strong", bearer(g.issuer.UserToken("alice", options...))))
	g.expectCalls(0)
	a := g.expectReason("ok", "GET", "/people/strong", bearer(g.issuer.OpaqueToken("alice", options...))) // 7662-03, 7662-14, 9470-12
	if asked := identity(a); !maps.Equal(asked, known) || len(asked) < 5 {
		t.Errorf("the backend saw %v of an opaque token, and %v of a JWT", asked, known)
	}
	a.expectHeader(t, "X-Scopes", "openid orders:read")
	a.expectHeader(t, "Authorization", "")
	g.expectCalls(1)
	job := append(options, oktatest.With("sub", "0oaJob"), oktatest.With("cid", "0oaJob"), oktatest.Without("uid"))
	g.expectReason("ok", "GET", "/jobs/1", bearer(g.issuer.OpaqueToken("0oaJob", job...)))
	g.expectReason("policy_denied", "GET", "/people/1", bearer(g.issuer.OpaqueToken("0oaJob", job...)))
	g.expectReason("policy_denied", "GET", "/people/1", bearer(g.issuer.OpaqueToken("bob", options...)))
}

// answering makes the issuer answer a token with these claims, which are those of an active access token but for changes.
func (g *gateway) answering(changes map[string]any) {
	claims := map[string]any{
		"active": true, "token_type": "Bearer", "iss": g.issuer.Issuer(), "aud": "api://default", "sub": "alice", "uid": "00u1", "client_id": "0oa1",
		"jti": "AT.1", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "scope": "openid orders:read",
	}
	for name, value := range changes {
		if claims[name] = value; value == removed {
			delete(claims, name)
		}
	}
	g.issuer.Override(oktatest.Introspect, oktatest.Answer(http.StatusOK, toJSON(g.t, claims)))
}

func toJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestWhatAnAnswerMustSay(t *testing.T) {
	g := startAsking(t, "cache_ttl 0s\n negative_ttl 0s", "okta_auth main {\n scopes orders:read\n }\n okta_auth /strong main {\n acr_values phr\n max_age 5m\n }")
	now := time.Now().Unix()
	for name, c := range map[string]struct {
		reason  string
		changes map[string]any
	}{
		"all that it needs":            {"ok", nil}, // 7662-03
		"no token_type":                {"ok", map[string]any{"token_type": removed}},
		"no iat":                       {"ok", map[string]any{"iat": removed}},
		"a list as aud":                {"ok", map[string]any{"aud": []string{"api://a", "api://default"}}},
		"members that nobody knows":    {"ok", map[string]any{"x": map[string]any{"y": 1}}},
		"not active":                   {"revoked", map[string]any{"active": false}},       // 7662-04
		"exp has passed":               {"expired", map[string]any{"exp": now - 60}},       // 7662-12
		"nbf has not come":             {"not_yet_valid", map[string]any{"nbf": now + 60}}, // 7662-12
		"iat has not come":             {"not_yet_valid", map[string]any{"iat": now + 60}},
		"another issuer":               {"wrong_issuer", map[string]any{"iss": "https://evil.example"}}, // 7662-12
		"no issuer":                    {"malformed_token", map[string]any{"iss": removed}},
		"another audience":             {"wrong_audience", map[string]any{"aud": "api://other"}}, // 7662-13
		"no audience":                  {"malformed_token", map[string]any{"aud": removed}},      // 7662-13
		"no exp":                       {"malformed_token", map[string]any{"exp": removed}},
		"no sub":                       {"malformed_token", map[string]any{"sub": removed}},
		"no client_id":                 {"malformed_token", map[string]any{"client_id": removed}},
		"no jti":                       {"malformed_token", map[string]any{"jti": removed}},
		"a number as sub":              {"malformed_token", map[string]any{"sub": 7}},       // 7662-14
		"a number as client_id":        {"malformed_token", map[string]any{"client_id": 7}}, // 7662-14
		"a number as username":         {"malformed_token", map[string]any{"username": 7}},  // 7662-14
		"a number as scope":            {"malformed_token", map[string]any{"scope": 7}},     // 7662-14
		"a number as token_type":       {"malformed_token", map[string]any{"token_type": 7}},
		"a text as exp":                {"malformed_token", map[string]any{"exp": "never"}},
		"no scope":                     {"insufficient_scope", map[string]any{"scope": removed}},                                              // 7662-14
		"another scope":                {"insufficient_scope", map[string]any{"scope": "orders:readwrite"}},                                   // 7662-14
		"an ID token":                  {"wrong_type", map[string]any{"jti": "ID.1"}},                                                         // 7662-16
		"an ID token by its nonce":     {"wrong_type", map[string]any{"nonce": "n"}},                                                          // 7662-16
		"an ID token by its type":      {"wrong_type", map[string]any{"token_type": "id_token"}},                                              // 7662-16
		"a refresh token by its type":  {"wrong_type", map[string]any{"token_type": "refresh_token"}},                                         // 7662-16
		"a refresh token by its shape": {"malformed_token", map[string]any{"iss": removed, "aud": removed, "jti": removed, "device_id": "1"}}, // OKTA-14
		"token_type in lower case":     {"ok", map[string]any{"token_type": "bearer"}},
		"token_type DPoP, not bound":   {"proof_required", map[string]any{"token_type": "DPoP"}},
		"a token_type nobody knows":    {"wrong_type", map[string]any{"token_type": "N_A"}},
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			g.answering(c.changes)
			g.expectReason(c.reason, "GET", "/", bearer("opaque"))
		})
	}
	g.t = t
	for name, c := range map[string]struct { // 9470-12
		reason  string
		changes map[string]any
	}{
		"strong":       {"ok", map[string]any{"acr": "phr", "auth_time": now - 60}},
		"weak":         {"step_up_required", map[string]any{"acr": "pwd", "auth_time": now - 60}},
		"long ago":     {"step_up_required", map[string]any{"acr": "phr", "auth_time": now - 3600}},
		"nothing said": {"step_up_required", nil},
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			g.answering(c.changes)
			g.expectReason(c.reason, "GET", "/strong", bearer("opaque"))
		})
	}
}

// 7662-16, OKTA-14: Okta calls them active too.
func TestActiveTokensThatAreNoAccessTokens(t *testing.T) {
	g := startAsking(t, "", "okta_auth main")
	g.expectReason("malformed_token", "GET", "/", bearer(g.issuer.RefreshToken("alice")))
	g.expectReason("malformed_token", "GET", "/", bearer(g.issuer.RefreshToken("alice", oktatest.Audience("api://default"))))
	g.expectCalls(2)
	g.expectReason("wrong_type", "GET", "/", bearer(g.issuer.IDToken("alice", oktatest.Audience("api://default"), oktatest.With("cid", "0oa1"))))
	g.expectCalls(2) // what can be verified here is refused here
}

// 7662-10, 7662-17: a crowd asks once; so do those that come after it, whatever the answer was.
func TestTheIssuerIsAskedOnce(t *testing.T) {
	g := startAsking(t, "cache_ttl 1m\n negative_ttl 1m", "okta_auth main")
	release := g.issuer.Hang(oktatest.Introspect)
	good := bearer(g.issuer.OpaqueToken("alice"))
	var crowd sync.WaitGroup
	for range 100 {
		crowd.Go(func() {
			if a, err := g.trySend(t.Context(), "GET", "/", good); err != nil || a.StatusCode != http.StatusOK {
				t.Errorf("%v, %v", a.Response, err)
			}
		})
	}
	if err := g.issuer.WaitHits(t.Context(), 1, oktatest.Introspect); err != nil {
		t.Fatal(err)
	}
	release()
	crowd.Wait()
	g.expectReason("ok", "GET", "/", good)
	g.expectCalls(1)
	for range 3 {
		g.expectReason("revoked", "GET", "/", bearer("invented"))
	}
	g.expectCalls(2)
	g.expectReason("revoked", "GET", "/", bearer("invented2"))
	g.expectReason("ok", "GET", "/", good)
	g.expectCalls(3)
}

// 7662-01
func TestTheGatewayProvesItselfByItsKey(t *testing.T) {
	for _, alg := range []string{"RS256", "ES256"} {
		t.Run(alg, func(t *testing.T) {
			g := prepare(t)
			key, other := oktatest.NewKey(alg), oktatest.NewKey(alg)
			file := filepath.Join(t.TempDir(), "gateway.pem")
			if err := os.WriteFile(file, key.PrivatePEM(), 0o600); err != nil {
				t.Fatal(err)
			}
			config := func(kid string) string {
				return withIssuers(mainWith("introspection {\n client_id "+gatewayID+"\n private_key "+file+" "+kid+"\n cache_ttl 0s\n }"), "okta_auth main")
			}
			g.issuer.RegisterClient(oktatest.Client{ID: gatewayID, Keys: []*oktatest.Key{key, other}})
			g.load(config(key.ID))
			for range 2 { // each call has an assertion of its own
				g.expectReason("ok", "GET", "/", bearer(g.issuer.OpaqueToken("alice")))
			}
			g.load(config(other.ID))
			g.expectReason("introspection_unavailable", "GET", "/", bearer(g.issuer.OpaqueToken("alice")))
			g.expectCalls(3)
		})
	}
}

// 7662-15, 9449-36, 8705-08: a binding that the issuer tells is held to as one that a token tells.
func TestIntrospectedTokensAreHeldToTheirBinding(t *testing.T) {
	g := startAsking(t, "", "okta_auth main")
	key, certificate := oktatest.NewKey("ES256"), oktatest.NewClientCertificate("client")
	toKey := oktatest.BoundTo(key.Thumbprint())
	h := holder{key, g.issuer.OpaqueToken("alice", toKey)}
	g.expectUnder("Bearer", "proof_required", "GET", "/opaque", bearer(h.token))
	g.expectUnder("DPoP", "invalid_proof", "GET", "/opaque", dpop(h.token))
	g.expectUnder("DPoP", "invalid_proof", "GET", "/opaque", h.proving("GET", g.url("/")))
	g.expectUnder("DPoP", "proof_required", "GET", "/opaque", holder{oktatest.NewKey("ES256"), h.token}.proving("GET", g.url("/opaque")))
	g.expectReason("ok", "GET", "/opaque", h.proving("GET", g.url("/opaque"))).expectHeader(t, "X-User-Id", "alice")
	free := holder{key, g.issuer.OpaqueToken("alice")}
	g.expectUnder("DPoP", "wrong_type", "GET", "/opaque", free.proving("GET", g.url("/opaque")))
	for name, token := range map[string]string{
		"a certificate":   g.issuer.OpaqueToken("alice", oktatest.BoundToCertificate(certificate.Leaf)),
		"something":       g.issuer.OpaqueToken("alice", oktatest.Confirmation(map[string]any{"kid": "a"})),
		"nothing":         g.issuer.OpaqueToken("alice", oktatest.With("cnf", map[string]any{})),
		"a key in a list": g.issuer.OpaqueToken("alice", oktatest.With("cnf", map[string]any{"jkt": []string{key.Thumbprint()}})),
	} {
		if a := g.expectReason("proof_required", "GET", "/opaque", bearer(token)); a.reached {
			t.Errorf("a token that is bound to %s passed", name)
		}
	}
	g.expectReason("malformed_token", "GET", "/opaque", bearer(g.issuer.OpaqueToken("alice", oktatest.With("cnf", "a"))))
	g.answering(map[string]any{"token_type": "DPoP", "cnf": map[string]any{"jkt": key.Thumbprint()}})
	h.token = "opaque"
	g.expectReason("ok", "GET", "/opaque", h.proving("GET", g.url("/opaque")))
	g.expectReason("proof_required", "GET", "/opaque", bearer(h.token))
}

// With "always", both the token and the issuer are heard, and neither takes back what the other demands.
func TestAlwaysHoldsATokenToWhatItAndTheIssuerSay(t *testing.T) {
	g := startAsking(t, "cache_ttl 0s", "okta_auth main {\n introspect always\n }")
	key, another, certificate := oktatest.NewKey("ES256"), oktatest.NewKey("ES256"), oktatest.NewClientCertificate("client")
	jkt := func(key *oktatest.Key) map[string]any { return map[string]any{"jkt": key.Thumbprint()} }
	sum := sha256.Sum256(certificate.Leaf.Raw)
	x5t := map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}
	for name, c := range map[string]struct {
		token, answer    any
		asBearer, proven string
	}{
		"neither binds":               {removed, removed, "ok", "wrong_type"},
		"the token binds":             {jkt(key), removed, "proof_required", "ok"},
		"the issuer binds":            {removed, jkt(key), "proof_required", "ok"},
		"both bind to one key":        {jkt(key), jkt(key), "proof_required", "ok"},
		"the issuer to another key":   {jkt(key), jkt(another), "proof_required", "proof_required"},
		"the token to another key":    {jkt(another), jkt(key), "proof_required", "proof_required"},
		"the issuer to a certificate": {jkt(key), x5t, "proof_required", "proof_required"},
		"the token to a certificate":  {x5t, jkt(key), "proof_required", "proof_required"},
		"the issuer to something":     {removed, map[string]any{"kid": "a"}, "proof_required", "proof_required"},
		"the issuer to nothing":       {jkt(key), map[string]any{}, "proof_required", "proof_required"},
		"two certificates":            {x5t, map[string]any{"x5t#S256": "a"}, "proof_required", "proof_required"},
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			option := oktatest.With("cnf", c.token)
			if c.token == removed {
				option = oktatest.Without("cnf")
			}
			h := holder{key, g.issuer.UserToken("alice", option)}
			g.answering(map[string]any{"cnf": c.answer})
			g.expectReason(c.asBearer, "GET", "/", bearer(h.token))
			g.expectReason(c.proven, "GET", "/", h.proving("GET", g.url("/")))
		})
	}
}
