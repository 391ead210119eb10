package jwks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
)

// rsaOfBits returns an RSA key with a modulus of some size, which is a product of nothing useful.
func rsaOfBits(bits uint) jwkMap {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return publish("k", &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537})
}

func TestParseKey(t *testing.T) {
	rsaJWK, ecJWK, edJWK := publish("k", rsaKey()), publish("k", p256Key()), publish("k", edKey())
	otherY := publish("k", p256Next())["y"]
	tests := []struct {
		name string
		key  jwkMap
		want string // the algorithms, or "" for a key that is not used
	}{
		{"an RSA key verifies six algorithms", rsaJWK, "RS256 RS384 RS512 PS256 PS384 PS512"},
		{"a P-256 key verifies ES256", ecJWK, "ES256"},
		{"a P-384 key verifies ES384", publish("k", p384Key()), "ES384"},
		{"a P-521 key verifies ES512", publish("k", p521Key()), "ES512"},
		{"an Ed25519 key verifies EdDSA", edJWK, "EdDSA"},
		{"alg narrows", rsaJWK.with("alg", "PS384"), "PS384"},
		{"alg repeats the only one", ecJWK.with("alg", "ES256"), "ES256"},
		{"a null is as absent", rsaJWK.with("use", json.RawMessage("null")).with("alg", json.RawMessage("null")).with("key_ops", json.RawMessage("null")), "RS256 RS384 RS512 PS256 PS384 PS512"},
		{"use sig", ecJWK.with("use", "sig"), "ES256"},
		{"key_ops with verify", ecJWK.with("key_ops", []string{"sign", "verify"}), "ES256"},
		{"unknown members", ecJWK.with("x5t#S256", "?").with("x5c", 7).with("status", "ACTIVE"), "ES256"},
		{"private members in another case are unknown members", ecJWK.with("D", "AAAA"), "ES256"},
		{"another key's members in another case", ecJWK.with("CRV", "P-384").with("X", "AA").with("KTY", "RSA"), "ES256"},
		{"exponent 3", rsaJWK.with("e", "Aw"), "RS256 RS384 RS512 PS256 PS384 PS512"},
		{"the largest RSA key", rsaOfBits(8192), "RS256 RS384 RS512 PS256 PS384 PS512"},

		{"no kid", ecJWK.with("kid", nil), ""},
		{"an empty kid", ecJWK.with("kid", ""), ""},
		{"a kid that is a number", ecJWK.with("kid", 7), ""},
		{"a kid in another case", ecJWK.with("kid", nil).with("KID", "k"), ""},
		{"no kty", ecJWK.with("kty", nil), ""},
		{"a kty in another case", ecJWK.with("kty", "ec"), ""},
		{"an unknown kty", ecJWK.with("kty", "AKP"), ""},
		{"a secret", jwkMap{"kid": "k", "kty": "oct", "k": "AAAA", "alg": "HS256"}, ""},
		{"a secret in an RSA key", rsaJWK.with("k", "AAAA"), ""},
		{"use enc", ecJWK.with("use", "enc"), ""},
		{"use in another case", ecJWK.with("use", "Sig"), ""},
		{"use that is a list", ecJWK.with("use", []string{"sig"}), ""},
		{"key_ops without verify", ecJWK.with("key_ops", []string{"encrypt"}), ""},
		{"key_ops that are empty", ecJWK.with("key_ops", []string{}), ""},
		{"key_ops that are a text", ecJWK.with("key_ops", "verify"), ""},
		{"a private EC key", ecJWK.with("d", "AAAA"), ""},
		{"a private RSA key without d", rsaJWK.with("p", "AAAA"), ""},
		{"a private member that is null", rsaJWK.with("d", json.RawMessage("null")), ""},
		{"alg of another type", rsaJWK.with("alg", "ES256"), ""},
		{"alg of another curve", publish("k", p384Key()).with("alg", "ES256"), ""},
		{"alg none", rsaJWK.with("alg", "none"), ""},
		{"alg HS256", rsaJWK.with("alg", "HS256"), ""},
		{"alg for encryption", rsaJWK.with("alg", "RSA-OAEP-256"), ""},
		{"alg that is a number", rsaJWK.with("alg", 256), ""},
		{"an RSA key of 1024 bits", rsaOfBits(1024), ""},
		{"an RSA key of 2047 bits", rsaOfBits(2047), ""},
		{"an RSA key of 16384 bits", rsaOfBits(16384), ""},
		{"an even modulus", publish("k", &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 65537}), ""},
		{"exponent 0", rsaJWK.with("e", "AA"), ""},
		{"exponent 1", rsaJWK.with("e", "AQ"), ""},
		{"exponent 2", rsaJWK.with("e", "Ag"), ""},
		{"an even exponent", rsaJWK.with("e", "AQAA"), ""},
		{"an exponent of 32 bits", rsaJWK.with("e", "_____w"), ""},
		{"an exponent whose low 64 bits are 65537", rsaJWK.with("e", b64([]byte{1, 0, 0, 0, 0, 0, 1, 0, 1})), ""},
		{"no exponent", rsaJWK.with("e", nil), ""},
		{"no modulus", rsaJWK.with("n", nil), ""},
		{"a modulus that is a number", rsaJWK.with("n", 7), ""},
		{"a modulus that is not base64", rsaJWK.with("n", "***"), ""},
		{"a point that is not on the curve", ecJWK.with("y", otherY), ""},
		{"a point at infinity", ecJWK.with("x", "AA").with("y", "AA"), ""},
		{"a point on another curve", ecJWK.with("crv", "P-384"), ""},
		{"a coordinate that is far too long", ecJWK.with("x", strings.Repeat("A", 10000)+"B"), ""},
		{"half a point", ecJWK.with("y", nil), ""},
		{"P-224", publish("k", newEC(elliptic.P224())), ""},
		{"secp256k1", ecJWK.with("crv", "secp256k1"), ""},
		{"X25519", edJWK.with("crv", "X25519"), ""},
		{"Ed448", edJWK.with("crv", "Ed448"), ""},
		{"an Ed25519 key that is too short", edJWK.with("x", "AAAA"), ""},
		{"an Ed25519 key that is too long", edJWK.with("x", b64(make([]byte, 33))), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			good := publish("good", p256Next())
			set, err := parseSet([]byte(document(tt.key, good)))
			if err != nil {
				t.Fatalf("one key broke the set: %v", err)
			}
			if !slices.ContainsFunc(set.keys, func(k *Key) bool { return k.ID == "good" }) {
				t.Errorf("the good key beside it is gone")
			}
			if used := len(set.keys) == 2; used != (tt.want != "") {
				t.Fatalf("used: %t, ignored: %q", used, set.ignored)
			}
			if tt.want == "" {
				if len(set.ignored) != 1 || len(set.ignored[0]) > 500 {
					t.Errorf("ignored = %q, want one short reason", set.ignored)
				}
				return
			}
			k := set.keys[0]
			if got := strings.Join(k.Algorithms(), " "); got != tt.want {
				t.Errorf("Algorithms() = %q, want %q", got, tt.want)
			}
			for _, alg := range []string{"none", "", "HS256", "HS512", "rs256", "RS256", "PS256", "ES256", "ES256K", "ES384", "ES512", "EdDSA"} {
				if want := slices.Contains(strings.Fields(tt.want), alg); k.Supports(alg) != want {
					t.Errorf("Supports(%q) = %t, want %t", alg, !want, want)
				}
			}
		})
	}
}

func TestParseKeyKeepsTheMaterial(t *testing.T) {
	for _, make := range []func() any{
		func() any { return rsaKey() }, func() any { return p256Key() }, func() any { return p384Key() },
		func() any { return p521Key() }, func() any { return edKey() },
	} {
		public := make()
		set, err := parseSet([]byte(document(publish("k", public))))
		if err != nil {
			t.Errorf("%T: %v", public, err)
			continue
		}
		if !set.keys[0].same(&Key{ID: "k", Public: public}) {
			t.Errorf("%T: another key was read", public)
		}
	}
}

func TestParseSet(t *testing.T) {
	k := publish("k", p256Key())
	many := func(n int) (keys []jwkMap) {
		for i := range n {
			keys = append(keys, k.with("kid", fmt.Sprint("k", i)))
		}
		return keys
	}
	tests := []struct {
		name, document string
		want           string // the kids, or the error
	}{
		{"several keys, in their order", document(k.with("kid", "b"), k.with("kid", "a")), "b a"},
		{"unknown members", `{"a":1,` + document(k)[1:], "k"},
		{"64 keys", document(many(64)...), strings.TrimSpace(fmt.Sprintln(kids(many(64))...))},
		{"65 keys", document(many(65)...), "the key set has 65 keys, at most 64 are taken"},
		{"an empty list", `{"keys":[]}`, "the key set is empty"},
		{"null for keys", `{"keys":null}`, "the key set is empty"},
		{"no member keys", `{}`, `the key set has no member "keys"`},
		{"keys in another case", strings.Replace(document(k), `"keys"`, `"Keys"`, 1), `the key set has no member "keys"`},
		{"keys that are an object", `{"keys":{}}`, `the member "keys" is not a list`},
		{"a list", `[]`, "not a JSON object"},
		{"null", `null`, "not a JSON object"},
		{"no JSON", `<html>`, "not a JSON object"},
		{"text behind the document", document(k) + "x", "not a JSON object"},
		{"half a document", document(k)[:100], "not a JSON object"},
		{"nothing usable", `{"keys":[{"kid":"x","kty":"oct","k":"AAAA"},7,null,"x",[]]}`, `the key set has no usable key: key 1 is not used: "x": the key type "oct" is not RSA, EC or OKP`},
		{"depth", strings.Repeat("[", 500_000), "not a JSON object"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, err := parseSet([]byte(tt.document))
			if err != nil {
				if set != nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("parseSet = %v, %v, want %s", set, err, tt.want)
				}
				return
			}
			var got []string
			for _, k := range set.keys {
				got = append(got, k.ID)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("parseSet = %q, want %s", got, tt.want)
			}
		})
	}
}

func kids(keys []jwkMap) (list []any) {
	for _, k := range keys {
		list = append(list, k["kid"])
	}
	return list
}

var fiveKeys = sync.OnceValue(func() (keys []jwkMap) {
	for range 5 {
		keys = append(keys, publish("k", newEC(elliptic.P256())))
	}
	return keys
})

// RFC 7517 §4.5 only wants a kid to be distinct. All keys that one names are returned, in an order that is always the
// same, and so few that a token cannot make us compute much.
func TestKeysOfOneID(t *testing.T) {
	keys := append(fiveKeys()[:4:4], fiveKeys()[0], publish("other", p256Key()), fiveKeys()[4], publish("K", p384Key()))
	s, err := New(Config{Keys: document(keys...)})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Lookup(t.Context(), "k")
	if err != nil || len(got) != 4 {
		t.Fatalf("Lookup = %d keys, %v, want 4", len(got), err)
	}
	for i, k := range got {
		point, err := k.Public.(*ecdsa.PublicKey).Bytes()
		if err != nil || b64(point[1:33]) != keys[i]["x"] {
			t.Errorf("key %d is out of order", i)
		}
	}
	if ignored := s.Status().Ignored; len(ignored) != 2 || !strings.Contains(ignored[0], "listed twice") ||
		!strings.Contains(ignored[1], "more than 4 keys") {
		t.Errorf("ignored = %q", ignored)
	}
	one(t, s, "K")
	one(t, s, "other")
}

// FuzzParseSet looks for documents that break the parser or get an unsound key past it.
func FuzzParseSet(f *testing.F) {
	for _, key := range []jwkMap{
		publish("k", rsaKey()), publish("k", p256Key()), publish("k", p521Key()), publish("k", edKey()),
		publish("k", p256Key()).with("alg", "ES256").with("use", "sig").with("key_ops", []string{"verify"}),
	} {
		f.Add([]byte(document(key)))
	}
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"k","n":"","e":""},{"kty":"OKP","crv":"X25519","kid":"k","x":"AA"}]}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		set, err := parseSet(document)
		if (set == nil) == (err == nil) {
			t.Fatalf("parseSet = %v, %v", set, err)
		}
		if err != nil {
			return
		}
		set.inherit(nil)
		for _, k := range set.keys {
			if k.ID == "" || len(k.algorithms) == 0 || !slices.Contains(set.find(k.ID), k) {
				t.Errorf("a key without a name or a use: %+v", k)
			}
			if _, err := checkPublic(k.Public); err != nil {
				t.Errorf("an unsound key: %v", err)
			}
		}
	})
}
