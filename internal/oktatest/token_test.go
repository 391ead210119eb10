package oktatest_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

func TestShapes(t *testing.T) {
	srv := custom(t)
	org := start(t, oktatest.Config{})
	tests := []struct {
		name   string
		srv    *oktatest.Server
		token  string
		header string
		claims string
		want   map[string]any
	}{
		{
			"user", srv, srv.UserToken("ada@example.com"), "alg kid",
			"aud auth_time cid exp iat iss jti scp sub uid ver",
			map[string]any{"iss": srv.Issuer(), "aud": "api://default", "sub": "ada@example.com", "uid": oktatest.UserID("ada@example.com"), "ver": 1.0},
		},
		{
			"user with groups", srv, srv.UserToken("ada@example.com", oktatest.Groups("ops")), "alg kid",
			"aud auth_time cid exp groups iat iss jti scp sub uid ver", nil,
		},
		{
			"service", srv, srv.ServiceToken("0oaservice", oktatest.Scopes("orders:read")), "alg kid",
			"aud cid exp iat iss jti scp sub ver",
			map[string]any{"sub": "0oaservice", "cid": "0oaservice"},
		},
		{
			"service without scopes", srv, srv.ServiceToken("0oaservice"), "alg kid",
			"aud cid exp iat iss jti sub ver", nil,
		},
		{
			"ID token", srv, srv.IDToken("ada@example.com"), "alg kid",
			"amr at_hash aud auth_time email exp iat idp iss jti name nonce preferred_username sub ver",
			map[string]any{"aud": oktatest.UserClient, "sub": oktatest.UserID("ada@example.com")},
		},
		{
			"org token", srv, srv.OrgToken("ada@example.com"), "alg kid typ",
			"aud auth_time cid exp iat iss jti scp sub uid ver",
			map[string]any{"iss": srv.URL(), "aud": srv.URL()},
		},
		{
			"user at the org server", org, org.UserToken("ada@example.com"), "alg kid typ",
			"aud auth_time cid exp iat iss jti scp sub uid ver",
			map[string]any{"iss": org.URL(), "aud": org.URL()},
		},
		{
			"RFC 9068", srv, srv.RFC9068Token("ada", oktatest.Scopes("a", "b")), "alg kid typ",
			"aud auth_time client_id exp iat iss jti scope sub",
			map[string]any{"scope": "a b", "client_id": oktatest.UserClient},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			header, claims, _ := parts(t, tt.token)
			if got := members(header); got != tt.header {
				t.Errorf("header = %s, want %s", got, tt.header)
			}
			if header["alg"] != "RS256" {
				t.Errorf("alg = %v, want RS256", header["alg"])
			}
			if got := members(claims); got != tt.claims {
				t.Errorf("claims = %s, want %s", got, tt.claims)
			}
			for name, want := range tt.want {
				if claims[name] != want {
					t.Errorf("%s = %v, want %v", name, claims[name], want)
				}
			}
			if life := claims["exp"].(float64) - claims["iat"].(float64); life != 3600 {
				t.Errorf("lifetime = %v s, want 3600", life)
			}
			if err := verify(t, tt.srv, tt.token); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestIDs(t *testing.T) {
	srv := custom(t)
	_, claims, _ := parts(t, srv.UserToken("ada@example.com"))
	if jti := claims["jti"].(string); !strings.HasPrefix(jti, "AT.") || len(jti) != 46 {
		t.Errorf("jti = %q, want AT. and 43 characters", jti)
	}
	if uid := oktatest.UserID("ada@example.com"); !strings.HasPrefix(uid, "00u") || len(uid) != 20 {
		t.Errorf("UserID = %q, want 00u and 17 characters", uid)
	}
	_, again, _ := parts(t, srv.UserToken("ada@example.com"))
	if claims["jti"] == again["jti"] {
		t.Error("two tokens have one jti")
	}
	_, id, _ := parts(t, srv.IDToken("ada@example.com"))
	if jti := id["jti"].(string); !strings.HasPrefix(jti, "ID.") {
		t.Errorf("jti = %q, want ID. in front", jti)
	}
}

func TestClaimOptions(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	srv := start(t, oktatest.Config{ID: "aus1", Audience: "api://orders", Lifetime: 5 * time.Minute, Now: func() time.Time { return now }})
	tests := []struct {
		name   string
		option oktatest.Option
		claim  string
		want   any
	}{
		{"defaults", oktatest.WithClaims(nil), "exp", float64(now.Unix() + 300)},
		{"audience", oktatest.WithClaims(nil), "aud", "api://orders"},
		{"With", oktatest.With("acr", "phr"), "acr", "phr"},
		{"WithClaims", oktatest.WithClaims(map[string]any{"sub": 7}), "sub", 7.0},
		{"Without", oktatest.Without("exp", "sub"), "exp", nil},
		{"no scopes", oktatest.Scopes(), "scp", nil},
		{"IssuedAgo", oktatest.IssuedAgo(time.Hour), "exp", float64(now.Unix() - 3300)},
		{"IssuedAgo auth_time", oktatest.IssuedAgo(time.Hour), "auth_time", float64(now.Unix() - 3605)},
		{"IssuedAgo in the future", oktatest.IssuedAgo(-time.Minute), "iat", float64(now.Unix() + 60)},
		{"Lifetime", oktatest.Lifetime(time.Second), "exp", float64(now.Unix() + 1)},
		{"one audience", oktatest.Audience("a"), "aud", "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, claims, _ := parts(t, srv.UserToken("ada", tt.option))
			if claims[tt.claim] != tt.want {
				t.Errorf("%s = %v, want %v", tt.claim, claims[tt.claim], tt.want)
			}
		})
	}
	for _, audiences := range [][]string{{}, {"a", "b"}} {
		_, claims, _ := parts(t, srv.UserToken("ada", oktatest.Audience(audiences...)))
		if list, ok := claims["aud"].([]any); !ok || len(list) != len(audiences) {
			t.Errorf("aud = %v, want a list like %v", claims["aud"], audiences)
		}
	}
	mine := map[string]any{"sub": "x", "iss": "y"}
	srv.Sign(mine, oktatest.Without("iss"))
	if len(mine) != 2 {
		t.Error("Sign changed the claims of its caller")
	}
	for name, claims := range map[string]map[string]any{
		"uid":       srv.UserClaims("ada"),
		"cid":       srv.ServiceClaims("0oaservice"),
		"nonce":     srv.IDClaims("ada"),
		"client_id": srv.RFC9068Claims("ada"),
	} {
		if claims[name] == nil || claims["iss"] != srv.Issuer() {
			t.Errorf("claims without %s: %v", name, claims)
		}
	}
	built := srv.UserClaims("ada", oktatest.With("profile", map[string]any{"department": "ops"}))
	if _, claims, _ := parts(t, srv.Sign(built)); claims["profile"] == nil || claims["uid"] == nil {
		t.Errorf("claims = %v, want profile and uid", claims)
	}
}

func TestAlgorithms(t *testing.T) {
	for _, alg := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			srv := start(t, oktatest.Config{ID: "default", Alg: alg})
			token := srv.UserToken("ada")
			if header, _, _ := parts(t, token); header["alg"] != alg {
				t.Errorf("alg = %v, want %s", header["alg"], alg)
			}
			if err := verify(t, srv, token); err != nil {
				t.Error(err)
			}
			if err := verify(t, srv, srv.UserToken("ada", oktatest.Forged())); err == nil {
				t.Error("a forged token is good")
			}
			other := custom(t)
			if err := verify(t, other, other.UserToken("ada", oktatest.SignedBy(srv.ActiveKey()))); err == nil {
				t.Error("a token by an unpublished key is good")
			}
			other.Publish(srv.ActiveKey())
			if err := verify(t, other, other.UserToken("ada", oktatest.SignedBy(srv.ActiveKey()))); err != nil {
				t.Errorf("a token by a key published later: %v", err)
			}
			if err := verify(t, other, other.UserToken("ada", oktatest.Alg(alg))); err != nil {
				t.Errorf("a token by whichever published key fits: %v", err)
			}
		})
	}
}

func TestForgeries(t *testing.T) {
	srv := custom(t)
	active := srv.ActiveKey()

	t.Run("same kid, foreign key", func(t *testing.T) {
		token := srv.UserToken("ada", oktatest.Forged())
		if header, _, _ := parts(t, token); header["kid"] != active.ID {
			t.Errorf("kid = %v, want the active one", header["kid"])
		}
		if err := verify(t, srv, token); err == nil {
			t.Error("the signature is good")
		}
	})
	t.Run("alg none", func(t *testing.T) {
		token := srv.UserToken("ada", oktatest.Alg("none"))
		if header, _, signature := parts(t, token); header["alg"] != "none" || len(signature) != 0 {
			t.Errorf("header %v, signature of %d bytes", header, len(signature))
		}
	})
	t.Run("public key as secret", func(t *testing.T) {
		for _, secret := range [][]byte{active.PublicPEM(), active.PublicDER()} {
			token := srv.UserToken("ada", oktatest.SignedBy(oktatest.NewSecret("HS256", secret)), oktatest.KID(active.ID))
			header, _, _ := parts(t, token)
			if header["alg"] != "HS256" || header["kid"] != active.ID {
				t.Errorf("header = %v", header)
			}
			if err := check(t, "HS256", secret, token); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("other kind of key under the active kid", func(t *testing.T) {
		token := srv.UserToken("ada", oktatest.Alg("ES256"))
		if header, _, signature := parts(t, token); header["alg"] != "ES256" || header["kid"] != active.ID || len(signature) != 64 {
			t.Errorf("header %v, signature of %d bytes", header, len(signature))
		}
	})
	t.Run("header says another algorithm", func(t *testing.T) {
		token := srv.UserToken("ada", oktatest.Header(map[string]any{"alg": "RS512", "kid": nil, "crit": []string{"b64"}}))
		if header, _, _ := parts(t, token); members(header) != "alg crit" || header["alg"] != "RS512" {
			t.Errorf("header = %v", header)
		}
		if err := check(t, "RS256", active.Public(), token); err != nil {
			t.Error(err)
		}
	})
	t.Run("DER signature", func(t *testing.T) {
		token := srv.UserToken("ada", oktatest.Alg("ES256"), oktatest.DERSignature())
		if _, _, signature := parts(t, token); signature[0] != 0x30 {
			t.Errorf("the signature begins with %#x, want an ASN.1 sequence", signature[0])
		}
	})
	t.Run("raw header and payload", func(t *testing.T) {
		token := srv.SignPayload([]byte(`{"sub":"a","sub":"b"}`), oktatest.RawHeader(`{"alg":"RS256","alg":"none"}`))
		header, payload, _ := strings.Cut(token, ".")
		payload, _, _ = strings.Cut(payload, ".")
		for text, want := range map[string]string{header: `{"alg":"RS256","alg":"none"}`, payload: `{"sub":"a","sub":"b"}`} {
			if got, _ := base64.RawURLEncoding.DecodeString(text); string(got) != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		if err := check(t, "RS256", active.Public(), token); err != nil {
			t.Error(err)
		}
	})
	t.Run("short key", func(t *testing.T) {
		weak := oktatest.NewRSAKey("RS256", 1024)
		srv.Publish(weak)
		if err := verify(t, srv, srv.UserToken("ada", oktatest.SignedBy(weak))); err != nil {
			t.Error(err)
		}
	})
}

func TestMistakesPanic(t *testing.T) {
	srv := custom(t)
	for name, mistake := range map[string]func(){
		"unknown algorithm":     func() { srv.UserToken("ada", oktatest.Alg("RS257")) },
		"claims without JSON":   func() { srv.Sign(map[string]any{"f": func() {}}) },
		"header without value":  func() { oktatest.Answer(200, "", strings.Fields("Retry-After")...) },
		"secret by NewKey":      func() { oktatest.NewKey("HS256") },
		"RSA key as curve":      func() { oktatest.NewKey("RS256").WithAlg("ES256") },
		"secret for signatures": func() { oktatest.NewSecret("RS256", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			mistake()
		})
	}
}
