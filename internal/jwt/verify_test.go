package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// mint returns a token that key signed with its own algorithm.
func mint(t *testing.T, key *oktatest.Key, options ...oktatest.Option) string {
	t.Helper()
	srv, err := oktatest.New(oktatest.Config{ID: "default", Keys: []*oktatest.Key{key, key}})
	if err != nil {
		t.Fatal(err)
	}
	return srv.UserToken("ada@example.com", append([]oktatest.Option{oktatest.SignedBy(key)}, options...)...)
}

func TestVerifyAcceptsEveryAlgorithm(t *testing.T) {
	for _, alg := range Algorithms {
		t.Run(alg, func(t *testing.T) {
			key := oktatest.NewKey(alg)
			parsed := mustParse(t, mint(t, key))
			if parsed.Algorithm != alg {
				t.Fatalf("the token says %s, want %s", parsed.Algorithm, alg)
			}
			if err := parsed.Verify(key.Public()); err != nil {
				t.Errorf("Verify = %v, want nil", err)
			}
			if err := parsed.Verify(oktatest.NewKey(alg).Public()); err == nil {
				t.Error("Verify(another key) = nil, want an error")
			}
			if err := mustParse(t, mint(t, key, oktatest.Forged())).Verify(key.Public()); err == nil {
				t.Error("Verify(forged token) = nil, want an error")
			}
		})
	}
}

// Every algorithm is tried with a genuine signature of every other one. RSA keys fit six algorithms: there the
// signature alone makes the difference.
func TestVerifyRefusesEveryOtherAlgorithm(t *testing.T) {
	for _, signed := range Algorithms {
		key := oktatest.NewKey(signed)
		for _, said := range append([]string{"HS256", "HS512", "none", "", "RS1", "ES256K", "rs256", "Ed25519"}, Algorithms...) {
			if said == signed {
				continue
			}
			parsed := mustParse(t, mint(t, key))
			parsed.Algorithm = said
			if err := parsed.Verify(key.Public()); err == nil {
				t.Errorf("Verify(signed with %s, said to be %q) = nil, want an error", signed, said)
			}
		}
	}
}

// The signature covers the header: a token whose header was exchanged is not the one that was signed.
func TestVerifyCoversHeaderAndPayload(t *testing.T) {
	key := oktatest.NewKey("ES256")
	token := strings.Split(mint(t, key), ".")
	for _, changed := range []string{
		strings.Join([]string{encode(fmt.Sprintf(`{"kid":%q,"alg":"ES256"}`, key.ID)), token[1], token[2]}, "."),
		strings.Join([]string{token[0], encode(`{"sub":"root"}`), token[2]}, "."),
		strings.Join([]string{token[0], token[1], encode(strings.Repeat("s", 64))}, "."),
	} {
		if err := mustParse(t, changed).Verify(key.Public()); err == nil {
			t.Errorf("Verify(%s) = nil, want an error", changed)
		}
	}
}

func TestVerifyRefusesOtherEncodingsOfECDSA(t *testing.T) {
	for _, alg := range []string{"ES256", "ES384", "ES512"} {
		key := oktatest.NewKey(alg)
		if err := mustParse(t, mint(t, key, oktatest.DERSignature())).Verify(key.Public()); err == nil {
			t.Errorf("Verify(%s in DER) = nil, want an error", alg)
		}
		for _, change := range []func([]byte) []byte{
			func(s []byte) []byte { return s[1:] },
			func(s []byte) []byte { return s[:len(s)-1] },
			func(s []byte) []byte { return append(s, 0) },
			func(s []byte) []byte { return append([]byte{0}, s...) },
			func(s []byte) []byte { return s[:1] },
			func(s []byte) []byte { return append(append([]byte{}, s[len(s)/2:]...), s[:len(s)/2]...) },
			func(s []byte) []byte { return make([]byte, len(s)) },
		} {
			parsed := mustParse(t, mint(t, key))
			parsed.signature = change(parsed.signature)
			if err := parsed.Verify(key.Public()); err == nil {
				t.Errorf("Verify(%s with %d bytes) = nil, want an error", alg, len(parsed.signature))
			}
		}
	}
}

// The algorithm fixes the curve. The library takes it from the key, and would accept a signature of another size.
func TestVerifyRefusesOtherCurves(t *testing.T) {
	keys := map[string]*oktatest.Key{"ES256": oktatest.NewKey("ES256"), "ES384": oktatest.NewKey("ES384"), "ES512": oktatest.NewKey("ES512")}
	for said := range keys {
		for signed, key := range keys {
			parsed := mustParse(t, mint(t, key))
			parsed.Algorithm = said
			if err := parsed.Verify(key.Public()); (err == nil) != (said == signed) {
				t.Errorf("Verify(%s key, said to be %s) = %v", signed, said, err)
			}
		}
	}
}

func TestThereIsNoVerifierButOfTheAlgorithms(t *testing.T) {
	if got := slices.Sorted(maps.Keys(verifiers)); !slices.Equal(got, slices.Sorted(slices.Values(Algorithms))) {
		t.Errorf("there are verifiers of %v, want %v", got, Algorithms)
	}
}

// RFC 7518 §3.5: the salt is as long as the hash. A signature with another one is genuine, but none of that algorithm.
func TestVerifyWantsTheSaltOfTheAlgorithm(t *testing.T) {
	private, ok := issuerKeys(t)["rsa"].private.(*rsa.PrivateKey)
	if !ok {
		t.Fatal("the key rsa is none")
	}
	for alg, hash := range map[string]crypto.Hash{"PS256": crypto.SHA256, "PS384": crypto.SHA384, "PS512": crypto.SHA512} {
		signed := encode(fmt.Sprintf(`{"alg":%q}`, alg)) + "." + encode(`{"sub":"ada"}`)
		digest := hash.New()
		digest.Write([]byte(signed))
		for _, length := range []int{hash.Size(), 1, hash.Size() - 1, hash.Size() + 1, rsa.PSSSaltLengthAuto} {
			signature, err := rsa.SignPSS(rand.Reader, private, hash, digest.Sum(nil), &rsa.PSSOptions{SaltLength: length})
			if err != nil {
				t.Fatal(err)
			}
			parsed := mustParse(t, signed+"."+encode(string(signature)))
			if err := parsed.Verify(&private.PublicKey); (err == nil) != (length == hash.Size()) {
				t.Errorf("Verify(%s with a salt of length %d) = %v", alg, length, err)
			}
		}
	}
}

// Keys come from the network. One of the wrong kind, or a broken one, refuses the token and does not end the process.
func TestVerifyNeverPanics(t *testing.T) {
	p256 := oktatest.NewKey("ES256").Public().(*ecdsa.PublicKey)
	keys := map[string]crypto.PublicKey{
		"nil":                   nil,
		"text":                  "key",
		"bytes":                 []byte("key"),
		"no RSA key":            (*rsa.PublicKey)(nil),
		"empty RSA key":         &rsa.PublicKey{},
		"tiny RSA key":          &rsa.PublicKey{N: big.NewInt(15), E: 3},
		"RSA key":               oktatest.NewKey("RS256").Public(),
		"no EC key":             (*ecdsa.PublicKey)(nil),
		"empty EC key":          &ecdsa.PublicKey{},
		"EC key off the curve":  point(elliptic.P256(), big.NewInt(1), big.NewInt(1)),
		"EC key at infinity":    point(elliptic.P256(), new(big.Int), new(big.Int)),
		"EC key of P-224":       point(elliptic.P224(), elliptic.P224().Params().Gx, elliptic.P224().Params().Gy),
		"EC key":                p256,
		"EC key as value":       *p256,
		"no Ed25519 key":        ed25519.PublicKey(nil),
		"short Ed25519 key":     ed25519.PublicKey("key"),
		"Ed25519 key":           oktatest.NewKey("EdDSA").Public(),
		"pointer to Ed25519":    new(ed25519.PublicKey),
		"a private key instead": struct{ crypto.PrivateKey }{},
	}
	for _, alg := range append([]string{"HS256", "none"}, Algorithms...) {
		signer := alg
		if alg == "HS256" || alg == "none" {
			signer = "RS256"
		}
		token := mint(t, oktatest.NewKey(signer))
		for name, key := range keys {
			t.Run(alg+" with "+name, func(t *testing.T) {
				parsed := mustParse(t, token)
				parsed.Algorithm = alg
				if err := parsed.Verify(key); err == nil {
					t.Error("Verify = nil, want an error")
				}
			})
		}
	}
}

// point returns a key that no constructor makes.
func point(curve elliptic.Curve, x, y *big.Int) *ecdsa.PublicKey {
	//lint:ignore SA1019 the fields are the only way to a broken key
	return &ecdsa.PublicKey{Curve: curve, X: x, Y: y}
}
