package integration

import (
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

func TestTheIssuerIsComparedExactly(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	stranger := other(t, oktatest.Config{ID: "default"})
	issuer := g.issuer.Issuer()
	g.expectClaims(t, []claimCase{
		{"itself", "iss", issuer, "ok"},                                                            // 9068-08
		{"a slash more", "iss", issuer + "/", "wrong_issuer"},                                      // 7519-17
		{"another case", "iss", strings.Replace(issuer, "default", "Default", 1), "wrong_issuer"},  // 7519-17
		{"another scheme", "iss", strings.Replace(issuer, "http:", "https:", 1), "wrong_issuer"},   // 7519-17
		{"another port", "iss", strings.Replace(issuer, "/oauth2", "1/oauth2", 1), "wrong_issuer"}, // 7519-17
		{"another name of the host", "iss", strings.Replace(issuer, "127.0.0.1", "localhost", 1), "wrong_issuer"},
		{"another server of the organization", "iss", g.issuer.URL() + "/oauth2/other", "wrong_issuer"},
		{"the organization", "iss", g.issuer.URL(), "wrong_issuer"}, // OKTA-02
		{"a stranger", "iss", stranger.Issuer(), "wrong_issuer"},    // 8725-10
		{"empty", "iss", "", "wrong_issuer"},
		{"absent", "iss", removed, "malformed_token"},          // 9068-03
		{"null", "iss", nil, "malformed_token"},                // 7519-17
		{"a number", "iss", 7, "malformed_token"},              // 7519-17
		{"a list", "iss", []string{issuer}, "malformed_token"}, // 7519-17
	})
	// 8725-10, 8414-16: nobody asks a server that only a token names.
	g.expectReason("wrong_issuer", "GET", "/", bearer(stranger.UserToken("alice")))
	if hits := stranger.Hits(oktatest.Keys, oktatest.Discovery); hits != 0 {
		t.Errorf("the stranger was asked %d times", hits)
	}
}

// 8725-09: the same kid at two issuers, and keys that are never pooled.
func TestKeysBelongToTheirIssuer(t *testing.T) {
	g := prepare(t)
	own := g.issuer.ActiveKey()
	twin := oktatest.NewKey("RS256").WithID(own.ID)
	alone := oktatest.NewKey("RS256")
	partner := other(t, oktatest.Config{ID: "partner", Keys: []*oktatest.Key{twin, alone}})
	g.load(strings.ReplaceAll(withIssuers(mainWith("")+"\n issuer partner PARTNER {\n audience api://default\n }",
		"okta_auth /both main partner\n okta_auth /main main\n okta_auth /partner partner"), "PARTNER", partner.Issuer()))

	ours, theirs := bearer(g.issuer.UserToken("alice")), bearer(partner.UserToken("alice"))
	g.expectReason("ok", "GET", "/both", ours).expectHeader(t, "X-User-Issuer", g.issuer.Issuer())
	g.expectReason("ok", "GET", "/both", theirs).expectHeader(t, "X-User-Issuer", partner.Issuer())
	for range 2 { // the second time from the cache, where it has one
		g.expectReason("ok", "GET", "/main", ours).expectHeader(t, "X-User-Issuer", "")
		g.expectReason("wrong_issuer", "GET", "/main", theirs)
		g.expectReason("ok", "GET", "/partner", theirs)
		g.expectReason("wrong_issuer", "GET", "/partner", ours)
	}
	for _, path := range []string{"/both", "/main"} {
		g.expectReason("bad_signature", "GET", path, bearer(g.issuer.UserToken("alice", oktatest.SignedBy(twin))))
		g.expectReason("unknown_key", "GET", path, bearer(g.issuer.UserToken("alice", oktatest.SignedBy(alone)))) // 9068-10
		g.expectReason("bad_signature", "GET", path, bearer(g.issuer.UserToken("alice", oktatest.SignedBy(alone), oktatest.KID(own.ID))))
	}
	g.expectReason("bad_signature", "GET", "/both", bearer(partner.UserToken("alice", oktatest.SignedBy(own))))
}

// OKTA-09: one authorization server, two issuers.
func TestAServerThatIssuesUnderTwoNames(t *testing.T) {
	g := prepare(t)
	custom := other(t, oktatest.Config{ID: "default", Keys: g.issuer.PublishedKeys()})
	g.load(strings.ReplaceAll(withIssuers(mainWith("")+"\n issuer custom CUSTOM {\n audience api://default\n }",
		"okta_auth /both main custom\n okta_auth /main main"), "CUSTOM", custom.Issuer()))
	g.expectReason("ok", "GET", "/both", bearer(g.issuer.UserToken("alice"))).expectHeader(t, "X-User-Issuer", g.issuer.Issuer())
	g.expectReason("ok", "GET", "/both", bearer(custom.UserToken("alice"))).expectHeader(t, "X-User-Issuer", custom.Issuer())
	g.expectReason("ok", "GET", "/main", bearer(g.issuer.UserToken("alice")))
	g.expectReason("wrong_issuer", "GET", "/main", bearer(custom.UserToken("alice")))
}

func TestClientLists(t *testing.T) {
	g := startWith(t, withIssuers(mainWith("client_id 0oaA 0oaB"), "okta_auth /all main\n okta_auth /b main {\n client_id 0oaB 0oaC\n }"))
	for _, c := range []struct {
		path, client, reason string
	}{
		{"/all", "0oaA", "ok"},
		{"/all", "0oaB", "ok"},
		{"/all", "0oaC", "wrong_client"},
		{"/all", "0oaa", "wrong_client"},
		{"/all", "0oaAA", "wrong_client"},
		{"/all", "", "malformed_token"},
		{"/b", "0oaB", "ok"},
		{"/b", "0oaA", "wrong_client"},
		{"/b", "0oaC", "wrong_client"}, // a route narrows and never widens
	} {
		g.expectReason(c.reason, "GET", c.path, bearer(g.issuer.UserToken("alice", oktatest.With("cid", c.client))))
		g.expectReason(c.reason, "GET", c.path, bearer(g.issuer.UserToken("alice", oktatest.Without("cid"), oktatest.With("client_id", c.client))))
	}
}

func TestAlgorithmsThatAreNotConfigured(t *testing.T) {
	g := prepare(t)
	g.issuer.Publish(oktatest.NewKey("ES256"), oktatest.NewKey("EdDSA"))
	g.load(withIssuers(mainWith(""), "okta_auth main"))
	key := g.issuer.ActiveKey()
	alg := func(alg string) oktatest.Option { return oktatest.Header(map[string]any{"alg": alg}) }
	modulus := key.Public().(*rsa.PublicKey).N.Bytes()
	g.expectReason("ok", "GET", "/", bearer(g.issuer.UserToken("alice"))) // 9068-04
	for name, c := range map[string]struct {
		reason  string
		options []oktatest.Option
	}{
		"RS384":                         {"algorithm", []oktatest.Option{oktatest.Alg("RS384")}},                             // 7515-09
		"RS512":                         {"algorithm", []oktatest.Option{oktatest.Alg("RS512")}},                             // 8725-01
		"PS256 by the key for RS256":    {"algorithm", []oktatest.Option{oktatest.Alg("PS256")}},                             // 8725-02
		"ES256 by a published key":      {"algorithm", []oktatest.Option{oktatest.Alg("ES256")}},                             // 7515-09
		"EdDSA by a published key":      {"algorithm", []oktatest.Option{oktatest.Alg("EdDSA")}},                             // 7515-09
		"none":                          {"malformed_token", []oktatest.Option{oktatest.Alg("none")}},                        // 7515-07, 8725-03, 9068-05
		"None":                          {"malformed_token", []oktatest.Option{oktatest.Alg("none"), alg("None")}},           // 7515-08
		"none with a signature":         {"algorithm", []oktatest.Option{alg("none")}},                                       // 7515-06
		"NONE with a signature":         {"algorithm", []oktatest.Option{alg("NONE")}},                                       // 7515-08
		"RS256 without a signature":     {"malformed_token", []oktatest.Option{oktatest.Alg("none"), alg("RS256")}},          // 7515-15
		"RS512 about RS256":             {"algorithm", []oktatest.Option{alg("RS512")}},                                      // 7515-06
		"RS256 about RS512":             {"bad_signature", []oktatest.Option{oktatest.Alg("RS512"), alg("RS256")}},           // 7515-06
		"RS256 about PS256":             {"bad_signature", []oktatest.Option{oktatest.Alg("PS256"), alg("RS256")}},           // 8725-02
		"RS256 about ES256":             {"algorithm", []oktatest.Option{oktatest.Alg("ES256"), alg("RS256")}},               // 7517-03
		"rs256":                         {"algorithm", []oktatest.Option{alg("rs256")}},                                      // 7515-06
		"no algorithm":                  {"malformed_token", []oktatest.Option{alg("")}},                                     // 7515-05
		"a missing algorithm":           {"malformed_token", []oktatest.Option{oktatest.Header(map[string]any{"alg": nil})}}, // 7515-05
		"a list of algorithms":          {"malformed_token", []oktatest.Option{oktatest.Header(map[string]any{"alg": []string{"RS256"}})}},
		"the public key as secret, DER": {"algorithm", []oktatest.Option{oktatest.SignedBy(oktatest.NewSecret("HS256", key.PublicDER()).WithID(key.ID))}},                   // 7515-10
		"the public key as secret, PEM": {"algorithm", []oktatest.Option{oktatest.SignedBy(oktatest.NewSecret("HS256", key.PublicPEM()).WithID(key.ID))}},                   // 7515-10
		"the public key as secret, n":   {"algorithm", []oktatest.Option{oktatest.SignedBy(oktatest.NewSecret("HS512", modulus).WithID(key.ID))}},                           // 7515-10
		"HMAC that says RS256":          {"bad_signature", []oktatest.Option{oktatest.SignedBy(oktatest.NewSecret("HS256", key.PublicPEM()).WithID(key.ID)), alg("RS256")}}, // 7515-10
		"another kid's case":            {"unknown_key", []oktatest.Option{oktatest.KID(swapCase(key.ID))}},                                                                 // 7515-18
		"no kid":                        {"unknown_key", []oktatest.Option{oktatest.Header(map[string]any{"kid": nil})}},                                                    // 7515-20
		"an empty kid":                  {"unknown_key", []oktatest.Option{oktatest.Header(map[string]any{"kid": ""})}},                                                     // 7515-20
		"a path as kid":                 {"unknown_key", []oktatest.Option{oktatest.KID("../../etc/passwd")}},                                                               // 7515-21
		"a hostile kid":                 {"unknown_key", []oktatest.Option{oktatest.KID("a\"';\x00\r\n" + strings.Repeat("k", 3000))}},                                      // 7515-21
		"a number as kid":               {"malformed_token", []oktatest.Option{oktatest.Header(map[string]any{"kid": 7})}},
		"an embedded key":               {"malformed_token", []oktatest.Option{oktatest.Header(map[string]any{"jwk": key.JWK()})}},                          // 7515-17
		"a URL of keys":                 {"malformed_token", []oktatest.Option{oktatest.Header(map[string]any{"jku": g.issuer.URL() + "/jku"})}},            // 7515-17, 8725-13
		"a URL of certificates":         {"malformed_token", []oktatest.Option{oktatest.Header(map[string]any{"x5u": g.issuer.URL() + "/x5u"})}},            // 7515-17
		"certificates":                  {"malformed_token", []oktatest.Option{oktatest.Header(map[string]any{"x5c": []string{"MIIB"}})}},                   // 7515-17
		"a critical extension":          {"malformed_token", []oktatest.Option{oktatest.Header(map[string]any{"crit": []string{"exp2"}, "exp2": 1})}},       // 7515-11
		"no critical extension":         {"malformed_token", []oktatest.Option{oktatest.Header(map[string]any{"crit": []string{}})}},                        // 7515-12
		"an unencoded payload":          {"malformed_token", []oktatest.Option{oktatest.Header(map[string]any{"crit": []string{"b64"}, "b64": false})}},     // 7515-13
		"a nested token":                {"malformed_token", []oktatest.Option{oktatest.Header(map[string]any{"cty": "JWT"})}},                              // 7519-20, 8725-04
		"a member of the header twice":  {"malformed_token", []oktatest.Option{oktatest.RawHeader(`{"alg":"RS256","alg":"RS256","kid":"` + key.ID + `"}`)}}, // 7515-04
		"a list as header":              {"malformed_token", []oktatest.Option{oktatest.RawHeader(`["RS256"]`)}},                                            // 7515-03
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			token := bearer(g.issuer.UserToken("alice", c.options...))
			g.expectReason(c.reason, "GET", "/", token)
			g.expectReason(c.reason, "GET", "/", token)
		})
	}
}

func swapCase(text string) string {
	if upper := strings.ToUpper(text); upper != text {
		return upper
	}
	return strings.ToLower(text)
}

// 8725-01, 8725-02
func TestConfiguredAlgorithms(t *testing.T) {
	all := []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	for _, alg := range all {
		t.Run(alg, func(t *testing.T) {
			g := prepare(t)
			key := oktatest.NewKey(alg)
			g.issuer.Publish(key)
			issuer := func(name string, algorithms ...string) string {
				return "issuer " + name + " ISSUER {\n audience api://default\n algorithms " + strings.Join(algorithms, " ") + "\n }\n"
			}
			g.load(withIssuers(issuer("main", alg)+issuer("all", all...), "okta_auth /one main\n okta_auth /all all"))
			signed := func(options ...oktatest.Option) option {
				return bearer(g.issuer.UserToken("alice", append([]oktatest.Option{oktatest.SignedBy(key)}, options...)...))
			}
			g.expectReason("ok", "GET", "/one", signed())
			g.expectReason("ok", "GET", "/all", signed())
			if alg != "RS256" {
				plain := bearer(g.issuer.UserToken("alice"))
				g.expectReason("ok", "GET", "/all", plain)
				g.expectReason("algorithm", "GET", "/one", plain) // also when the cache knows the signature
			}
			if strings.HasPrefix(alg, "ES") { // 7518-01
				g.expectReason("bad_signature", "GET", "/one", signed(oktatest.DERSignature()))
			}
			if alg == "ES384" { // 7518-03: the curve of another algorithm
				g.expectReason("algorithm", "GET", "/all", signed(oktatest.Header(map[string]any{"alg": "ES256"})))
			}
			// 7517-03: the key is for one algorithm, also where the issuer has several.
			if family := map[string]string{"RS256": "PS256", "RS384": "RS256", "PS256": "RS256", "PS512": "RS512"}[alg]; family != "" {
				g.expectReason("algorithm", "GET", "/all", signed(oktatest.Alg(family)))
			}
		})
	}
}

// 7515-14
func TestAnyChangedCharacterIsNoticed(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	token := g.issuer.UserToken("alice")
	g.expectReason("ok", "GET", "/", bearer(token))
	positions := []int{len(token) - 3, len(token) - 2, len(token) - 1}
	for i := 0; i < len(token); i += 3 {
		positions = append(positions, i)
	}
	for _, i := range positions {
		for _, letter := range []string{"A", "B", "-", "."} {
			if changed := token[:i] + letter + token[i+1:]; changed != token {
				g.expectChallenge(http.StatusUnauthorized, []string{invalidToken}, "GET", "/", bearer(changed))
			}
		}
	}
}

func TestAKeysFileReplacesDiscovery(t *testing.T) {
	g := prepare(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, g.issuer.JWKS(), 0o600); err != nil {
		t.Fatal(err)
	}
	g.load(withIssuers(mainWith("keys_file "+file), "okta_auth main"))
	g.expectReason("ok", "GET", "/", bearer(g.issuer.UserToken("alice")))
	g.expectReason("bad_signature", "GET", "/", bearer(g.issuer.UserToken("alice", oktatest.Forged())))
	g.issuer.RotateUnannounced()
	g.expectReason("unknown_key", "GET", "/", bearer(g.issuer.UserToken("alice")))
	g.issuer.Down()
	g.expectReason("ok", "GET", "/", bearer(g.issuer.UserToken("alice", oktatest.SignedBy(g.issuer.PreviousKey()))))
	if hits := g.issuer.Hits(oktatest.Keys, oktatest.Discovery); hits != 0 {
		t.Errorf("the issuer was asked %d times", hits)
	}
}

// The same issuer by two sources of keys: what one verified is nothing to the other.
func TestACachedTokenIsJudgedByTheKeysOfTheRoute(t *testing.T) {
	g := prepare(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, g.issuer.JWKS(), 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := oktatest.NewKey("RS256")
	g.issuer.Publish(fresh)
	g.load(withIssuers(mainWith("")+"\n issuer pinned ISSUER {\n audience api://default\n keys_file "+file+"\n }", "okta_auth /main main\n okta_auth /pinned pinned"))
	token := bearer(g.issuer.UserToken("alice", oktatest.SignedBy(fresh)))
	for range 2 {
		g.expectReason("ok", "GET", "/main", token)
		g.expectReason("unknown_key", "GET", "/pinned", token)
	}
}

// 7518-02, 7517-02, 7517-04: what cannot verify is not used, and does no harm to what can.
func TestKeysThatAreNotUsed(t *testing.T) {
	g := prepare(t)
	short, secret := oktatest.NewRSAKey("RS256", 1024), oktatest.NewSecret("HS256", []byte("0123456789abcdef0123456789abcdef"))
	encrypting := oktatest.NewKey("RS256")
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(g.issuer.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	jwk := encrypting.JWK()
	jwk["use"] = "enc"
	set.Keys = append(set.Keys, short.JWK(), secret.JWK(), jwk, map[string]any{"kty": "unknown", "kid": "x"}) // 7517-01
	data, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	g.load(withIssuers(mainWith("keys_file "+file), "okta_auth main"))
	g.expectReason("ok", "GET", "/", bearer(g.issuer.UserToken("alice")))
	for _, key := range []*oktatest.Key{short, encrypting} {
		g.expectReason("unknown_key", "GET", "/", bearer(g.issuer.UserToken("alice", oktatest.SignedBy(key))))
	}
	g.expectReason("algorithm", "GET", "/", bearer(g.issuer.UserToken("alice", oktatest.SignedBy(secret))))
	g.expectReason("unknown_key", "GET", "/", bearer(g.issuer.UserToken("alice", oktatest.SignedBy(secret), oktatest.Header(map[string]any{"alg": "RS256"}))))
}
