package oktatest_test

import (
	"crypto"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

func TestThumbprintIsThatOfRFC7638(t *testing.T) {
	for _, alg := range []string{"ES256", "ES384", "RS256", "EdDSA"} {
		key := oktatest.NewKey(alg).WithID("other")
		want, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if got := decode(t, key.Thumbprint()); string(got) != string(want) {
			t.Errorf("%s: Thumbprint = %x, want %x", alg, got, want)
		}
	}
}

func TestProofIsRightByDefault(t *testing.T) {
	for _, alg := range []string{"ES256", "RS256"} {
		key := oktatest.NewKey(alg)
		proof := oktatest.Proof(key, "GET", "https://api.example.com/orders?page=2#top")
		header, claims, _ := parts(t, proof)
		if members(header) != "alg jwk typ" || header["typ"] != "dpop+jwt" || header["alg"] != alg {
			t.Errorf("%s: header = %v", alg, header)
		}
		if members(claims) != "htm htu iat jti" || claims["htm"] != "GET" || claims["htu"] != "https://api.example.com/orders" {
			t.Errorf("%s: claims = %v", alg, claims)
		}
		if age := time.Since(time.Unix(int64(claims["iat"].(float64)), 0)); age < 0 || age > time.Minute {
			t.Errorf("%s: iat is %s ago, want now", alg, age)
		}
		jwk := header["jwk"].(map[string]any)
		if got := members(jwk); got != map[string]string{"ES256": "crv kty x y", "RS256": "e kty n"}[alg] {
			t.Errorf("%s: jwk = %s", alg, got)
		}
		if err := check(t, alg, publicKey(t, jwk), proof); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		_, again, _ := parts(t, oktatest.Proof(key, "GET", "https://api.example.com/orders"))
		if claims["jti"] == "" || claims["jti"] == again["jti"] {
			t.Errorf("%s: two proofs have the jti %v", alg, claims["jti"])
		}
	}
}

func TestProofBreaksWhereItIsTold(t *testing.T) {
	key, other := oktatest.NewKey("ES256"), oktatest.NewKey("ES256")
	now := float64(time.Now().Unix())
	tests := map[string]struct {
		option oktatest.Option
		broken func(header, claims map[string]any) bool
	}{
		"no typ":    {oktatest.Header(map[string]any{"typ": nil}), func(h, _ map[string]any) bool { return members(h) == "alg jwk" }},
		"other typ": {oktatest.Header(map[string]any{"typ": "jwt"}), func(h, _ map[string]any) bool { return h["typ"] == "jwt" }},
		"no jwk":    {oktatest.Header(map[string]any{"jwk": nil}), func(h, _ map[string]any) bool { return members(h) == "alg typ" }},
		"kid":       {oktatest.KID("k"), func(h, _ map[string]any) bool { return h["kid"] == "k" }},
		"alg none":  {oktatest.Alg("none"), func(h, _ map[string]any) bool { return h["alg"] == "none" }},
		"other alg": {oktatest.Alg("HS256"), func(h, _ map[string]any) bool { return h["alg"] == "HS256" }},
		"header":    {oktatest.RawHeader(`{"alg":"x"}`), func(h, _ map[string]any) bool { return members(h) == "alg" }},
		"payload":   {oktatest.RawPayload(`{"htm":1,"a":2}`), func(_, c map[string]any) bool { return members(c) == "a htm" }},
		"no jti":    {oktatest.Without("jti"), func(_, c map[string]any) bool { return members(c) == "htm htu iat" }},
		"jti":       {oktatest.With("jti", "again"), func(_, c map[string]any) bool { return c["jti"] == "again" }},
		"old":       {oktatest.IssuedAgo(time.Hour), func(_, c map[string]any) bool { return c["iat"].(float64) < now-3500 }},
		"future":    {oktatest.IssuedAgo(-time.Hour), func(_, c map[string]any) bool { return c["iat"].(float64) > now+3500 }},
		"nonce":     {oktatest.Nonce("n"), func(_, c map[string]any) bool { return c["nonce"] == "n" }},
		"private jwk": {oktatest.Header(map[string]any{"jwk": key.PrivateJWK()}), func(h, _ map[string]any) bool {
			return members(h["jwk"].(map[string]any)) == "crv d kty x y"
		}},
		// The vector of RFC 9449 §4.3.
		"ath": {oktatest.ForToken("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"), func(_, c map[string]any) bool {
			return c["ath"] == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
		}},
	}
	for name, tt := range tests {
		header, claims, _ := parts(t, oktatest.Proof(key, "GET", "https://api.example.com/", tt.option))
		if !tt.broken(header, claims) {
			t.Errorf("%s: header %v, claims %v", name, header, claims)
		}
	}
	for name, option := range map[string]oktatest.Option{
		"forged": oktatest.Forged(), "signed by another key": oktatest.SignedBy(other), "DER": oktatest.DERSignature(),
	} {
		proof := oktatest.Proof(key, "GET", "https://api.example.com/", option)
		header, _, _ := parts(t, proof)
		if jwk := publicKey(t, header["jwk"].(map[string]any)); !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(jwk) {
			t.Errorf("%s: jwk is that of another key", name)
		} else if check(t, "ES256", jwk, proof) == nil {
			t.Errorf("%s: the signature is good", name)
		}
	}
	if d := oktatest.NewKey("RS256").PrivateJWK()["d"]; d == nil {
		t.Error("a private RSA key without d")
	}
}

// bound asks the token endpoint for a token, with proofs in the DPoP header.
func bound(t *testing.T, srv *oktatest.Server, client string, proofs ...string) (int, http.Header, map[string]any) {
	t.Helper()
	return post(t, srv, oktatest.Token, basic(client, "secret"), "grant_type=client_credentials", proofs...)
}

func TestTokenEndpointBindsTokensToProofs(t *testing.T) {
	srv := custom(t)
	srv.RegisterClient(oktatest.Client{ID: "any", Secret: "secret"})
	srv.RegisterClient(oktatest.Client{ID: "strict", Secret: "secret", DPoP: true})
	url := srv.EndpointURL(oktatest.Token)
	for _, alg := range []string{"ES256", "RS256"} {
		for _, client := range []string{"any", "strict"} {
			key := oktatest.NewKey(alg)
			status, header, answer := bound(t, srv, client, oktatest.Proof(key, "POST", url))
			nonce := header.Get("DPoP-Nonce")
			if status != 400 || answer["error"] != "use_dpop_nonce" || nonce == "" || nonce != srv.DPoPNonce() {
				t.Fatalf("without nonce: %d %v, DPoP-Nonce %q", status, answer, nonce)
			}
			status, header, answer = bound(t, srv, client, oktatest.Proof(key, "POST", url, oktatest.Nonce(nonce)))
			if status != 200 || answer["token_type"] != "DPoP" || header.Get("DPoP-Nonce") != "" {
				t.Fatalf("with nonce: %d %v", status, answer)
			}
			token := answer["access_token"].(string)
			if err := verify(t, srv, token); err != nil {
				t.Error(err)
			}
			if _, claims, _ := parts(t, token); claims["cnf"].(map[string]any)["jkt"] != key.Thumbprint() {
				t.Errorf("cnf = %v, want jkt %s", claims["cnf"], key.Thumbprint())
			}
		}
	}
	if status, _, answer := bound(t, srv, "strict"); status != 400 || answer["error"] != "invalid_dpop_proof" {
		t.Errorf("without proof: %d %v", status, answer)
	}
	if status, _, answer := bound(t, srv, "any"); status != 200 || answer["token_type"] != "Bearer" {
		t.Errorf("without proof: %d %v", status, answer)
	}
	algs := getJSON(t, srv, srv.EndpointURL(oktatest.OAuthMetadata))["dpop_signing_alg_values_supported"].([]any)
	if len(algs) != 6 || algs[0] != "RS256" || algs[3] != "ES256" {
		t.Errorf("dpop_signing_alg_values_supported = %v", algs)
	}
}

func TestTokenEndpointRefusesProofs(t *testing.T) {
	srv := custom(t)
	srv.RegisterClient(oktatest.Client{ID: "any", Secret: "secret"})
	key, url := oktatest.NewKey("ES256"), srv.EndpointURL(oktatest.Token)
	good := oktatest.Nonce(srv.DPoPNonce())
	proof := func(options ...oktatest.Option) string {
		return oktatest.Proof(key, "POST", url, append([]oktatest.Option{good}, options...)...)
	}
	for name, proofs := range map[string][]string{
		"empty":         {""},
		"two":           {proof(), proof()},
		"joined":        {proof() + "," + proof()},
		"JSON form":     {jsonForm(proof())},
		"no claims":     {proof(oktatest.RawPayload("[]"))},
		"no typ":        {proof(oktatest.Header(map[string]any{"typ": nil}))},
		"other typ":     {proof(oktatest.Header(map[string]any{"typ": "JWT"}))},
		"no jwk":        {proof(oktatest.Header(map[string]any{"jwk": nil}))},
		"private jwk":   {proof(oktatest.Header(map[string]any{"jwk": key.PrivateJWK()}))},
		"forged":        {proof(oktatest.Forged())},
		"alg none":      {proof(oktatest.Alg("none"))},
		"alg EdDSA":     {oktatest.Proof(oktatest.NewKey("EdDSA"), "POST", url, good)},
		"symmetric":     {oktatest.Proof(oktatest.NewSecret("HS256", []byte(strings.Repeat("s", 32))), "POST", url, good)},
		"other method":  {oktatest.Proof(key, "GET", url, good)},
		"other URL":     {oktatest.Proof(key, "POST", url+"/", good)},
		"no iat":        {proof(oktatest.Without("iat"))},
		"too old":       {proof(oktatest.IssuedAgo(6 * time.Minute))},
		"of the future": {proof(oktatest.IssuedAgo(-6 * time.Minute))},
		"no jti":        {proof(oktatest.Without("jti"))},
	} {
		if status, header, answer := bound(t, srv, "any", proofs...); status != 400 || answer["error"] != "invalid_dpop_proof" || header.Get("DPoP-Nonce") != "" {
			t.Errorf("%s: %d %v, want invalid_dpop_proof", name, status, answer)
		}
	}
	// The nonce comes first, whatever else is wrong.
	for name, options := range map[string][]oktatest.Option{
		"forged":      {oktatest.Without("nonce"), oktatest.Forged()},
		"wrong nonce": {oktatest.Nonce("made up"), oktatest.IssuedAgo(time.Hour)},
	} {
		if _, _, answer := bound(t, srv, "any", proof(options...)); answer["error"] != "use_dpop_nonce" {
			t.Errorf("%s: %v, want use_dpop_nonce", name, answer)
		}
	}
	once := proof()
	if status, _, answer := bound(t, srv, "any", once); status != 200 {
		t.Errorf("first use: %d %v", status, answer)
	}
	if _, _, answer := bound(t, srv, "any", once); answer["error"] != "invalid_dpop_proof" {
		t.Errorf("second use: %v, want invalid_dpop_proof", answer)
	}
	_, claims, _ := parts(t, once)
	key = oktatest.NewKey("ES256") // a jti belongs to its key
	if status, _, answer := bound(t, srv, "any", proof(oktatest.With("jti", claims["jti"]))); status != 200 {
		t.Errorf("the jti of another key: %d %v", status, answer)
	}
	if _, _, answer := bound(t, srv, "nobody", proof()); answer["error"] != "invalid_client" {
		t.Errorf("unknown client: %v, want invalid_client", answer)
	}
}

func TestNoncesRotateDailyAndLastThreeDays(t *testing.T) {
	now := time.Now()
	began := now
	srv := start(t, oktatest.Config{ID: "default", Now: func() time.Time { return now }})
	srv.RegisterClient(oktatest.Client{ID: "any", Secret: "secret"})
	key, url := oktatest.NewKey("ES256"), srv.EndpointURL(oktatest.Token)
	accepted := func(nonce string) bool {
		t.Helper()
		status, _, answer := bound(t, srv, "any", oktatest.Proof(key, "POST", url, oktatest.Nonce(nonce), oktatest.With("iat", now.Unix())))
		if status != 200 && answer["error"] != "use_dpop_nonce" {
			t.Fatalf("%d %v", status, answer)
		}
		return status == 200
	}
	first := srv.DPoPNonce()
	now = began.Add(24*time.Hour - time.Second)
	if srv.DPoPNonce() != first {
		t.Error("the nonce changed within a day")
	}
	now = began.Add(24 * time.Hour)
	second := srv.DPoPNonce()
	if second == first {
		t.Error("the nonce did not change after a day")
	}
	srv.SetDPoPNonce("mine")
	if got := srv.DPoPNonce(); got != "mine" {
		t.Errorf("DPoPNonce = %q, want mine", got)
	}
	now = began.Add(72*time.Hour - time.Second)
	for _, nonce := range []string{first, second, "mine"} {
		if !accepted(nonce) {
			t.Errorf("%q is refused within three days", nonce)
		}
	}
	now = began.Add(72 * time.Hour)
	if accepted(first) || !accepted(second) {
		t.Error("after three days the first nonce works, or the second does not")
	}
}
