package oktatest_test

import (
	"slices"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

func kids(keys []*oktatest.Key) []string {
	var ids []string
	for _, k := range keys {
		ids = append(ids, k.ID)
	}
	return ids
}

func TestKeySetIsOktas(t *testing.T) {
	srv := custom(t)
	status, header, body := get(t, srv, srv.EndpointURL(oktatest.Keys))
	if status != 200 || header.Get("Content-Type") != "application/json" {
		t.Errorf("status %d, type %q", status, header.Get("Content-Type"))
	}
	if got := header.Get("Cache-Control"); got != "max-age=3832304, must-revalidate" {
		t.Errorf("Cache-Control = %q", got)
	}
	if body != string(srv.JWKS()) {
		t.Error("JWKS() is not what is served")
	}
	set := object(t, []byte(body))["keys"].([]any)
	if len(set) != 2 {
		t.Fatalf("%d keys, want the active and the next", len(set))
	}
	for i, k := range []*oktatest.Key{srv.ActiveKey(), srv.NextKey()} {
		jwk := set[i].(map[string]any)
		if members(jwk) != "alg e kid kty n use" || jwk["alg"] != "RS256" || jwk["use"] != "sig" || jwk["kid"] != k.ID || jwk["e"] != "AQAB" {
			t.Errorf("key %d = %v", i, jwk)
		}
		if len(k.ID) != 43 {
			t.Errorf("kid %q, want 43 characters", k.ID)
		}
	}
}

func TestRotate(t *testing.T) {
	srv := custom(t)
	old := srv.UserToken("ada")
	first, next := srv.ActiveKey(), srv.NextKey()

	srv.Rotate()
	if srv.ActiveKey() != next || srv.PreviousKey() != first {
		t.Error("the next key is not active")
	}
	if got, want := kids(srv.PublishedKeys()), []string{first.ID, next.ID, srv.NextKey().ID}; !slices.Equal(got, want) {
		t.Errorf("published %v, want %v", got, want)
	}
	for name, token := range map[string]string{"old": old, "new": srv.UserToken("ada")} {
		if err := verify(t, srv, token); err != nil {
			t.Errorf("%s token: %v", name, err)
		}
	}

	srv.Rotate()
	if n := len(srv.PublishedKeys()); n != 3 {
		t.Errorf("%d keys published, want 3", n)
	}
	if err := verify(t, srv, old); err == nil {
		t.Error("the token of two rotations ago is good")
	}
}

func TestRotateUnannounced(t *testing.T) {
	srv := custom(t)
	old := srv.UserToken("ada")
	before, next := kids(srv.PublishedKeys()), srv.NextKey()

	srv.RotateUnannounced()
	if slices.Contains(before, srv.ActiveKey().ID) {
		t.Error("the active key was announced")
	}
	if srv.NextKey() != next {
		t.Error("the next key changed")
	}
	if err := verify(t, srv, srv.UserToken("ada")); err != nil {
		t.Errorf("new token: %v", err)
	}
	if err := verify(t, srv, old); err != nil {
		t.Errorf("old token while its key is published: %v", err)
	}
	srv.Unpublish(srv.PreviousKey().ID)
	if err := verify(t, srv, old); err == nil {
		t.Error("the token of an unpublished key is good")
	}
}

func TestUnpublishedActiveKeyLagsBehind(t *testing.T) {
	srv := custom(t)
	srv.Unpublish(srv.NextKey().ID)
	srv.Rotate()
	token := srv.UserToken("ada")
	if err := verify(t, srv, token); err == nil {
		t.Error("the key set does not lag")
	}
	srv.Publish(srv.ActiveKey())
	if err := verify(t, srv, token); err != nil {
		t.Error(err)
	}
}

func TestKeysDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 15 { // beyond what is generated freshly
		srv, err := oktatest.New(oktatest.Config{ID: "default"})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range srv.PublishedKeys() {
			if modulus := k.JWK()["n"].(string); seen[modulus] {
				t.Fatal("two servers have one key")
			} else {
				seen[modulus] = true
			}
		}
		if err := check(t, "RS256", srv.ActiveKey().Public(), srv.UserToken("ada")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSharedKeys(t *testing.T) {
	a := custom(t)
	b := start(t, oktatest.Config{ID: "default", Keys: a.PublishedKeys()})
	if err := verify(t, b, a.UserToken("ada")); err != nil {
		t.Errorf("one key set under two issuers: %v", err)
	}
	// The same kid with another key behind it.
	c := start(t, oktatest.Config{ID: "default", Keys: []*oktatest.Key{oktatest.NewKey("RS256").WithID(a.ActiveKey().ID)}})
	if c.ActiveKey().ID != a.ActiveKey().ID {
		t.Error("the kid differs")
	}
	if err := verify(t, c, a.UserToken("ada")); err == nil {
		t.Error("a token of another key with the same kid is good")
	}
	if n := len(c.PublishedKeys()); n != 2 {
		t.Errorf("%d keys, want the given one and a made one", n)
	}
}

func TestKeyForms(t *testing.T) {
	key := oktatest.NewKey("RS256")
	if ps := key.WithAlg("PS256"); ps.ID != key.ID || ps.JWK()["alg"] != "PS256" || ps.JWK()["n"] != key.JWK()["n"] {
		t.Errorf("WithAlg = %v", ps.JWK())
	}
	secret := oktatest.NewSecret("HS256", []byte("abc"))
	if jwk := secret.JWK(); jwk["kty"] != "oct" || jwk["k"] != "YWJj" || secret.Public() != nil {
		t.Errorf("JWK of a secret = %v", jwk)
	}
}
