package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"math/big"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// benchmarked are keys of the kinds that issuers have, by what the benchmarks call them.
func benchmarked() map[string]*oktatest.Key {
	return map[string]*oktatest.Key{
		"RS256-2048": oktatest.NewKey("RS256"),
		"RS256-4096": oktatest.NewRSAKey("RS256", 4096),
		"PS256-2048": oktatest.NewKey("PS256"),
		"ES256":      oktatest.NewKey("ES256"),
		"EdDSA":      oktatest.NewKey("EdDSA"),
	}
}

// typical returns different tokens of the claims and the size that Okta's usually have, about a kilobyte with an RSA
// signature of 2048 bits.
func typical(tb testing.TB, key *oktatest.Key, n int) []string {
	tb.Helper()
	srv, err := oktatest.New(oktatest.Config{ID: "default", Keys: []*oktatest.Key{key, key}})
	if err != nil {
		tb.Fatal(err)
	}
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = srv.UserToken(fmt.Sprintf("ada%d@example.com", i), oktatest.SignedBy(key),
			oktatest.Scopes("openid", "profile", "email", "orders:read"),
			oktatest.Groups("Everyone", "Engineering", "VPN users"))
	}
	return tokens
}

// understand does all that is needed once per token, but the look-up of the key.
func understand(token string, key crypto.PublicKey) (*Claims, error) {
	t, err := Parse(token)
	if err != nil {
		return nil, err
	}
	if err := t.Verify(key); err != nil {
		return nil, err
	}
	return ParseClaims(t.Claims)
}

// The floor is the bare check of a signature over a digest that is known, as the standard library does it.
func bare(t *Token, key crypto.PublicKey) func() bool {
	digest := sha256.Sum256([]byte(t.signed))
	switch key := key.(type) {
	case *rsa.PublicKey:
		if t.Algorithm == "PS256" {
			return func() bool { return rsa.VerifyPSS(key, crypto.SHA256, digest[:], t.signature, nil) == nil }
		}
		return func() bool { return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], t.signature) == nil }
	case *ecdsa.PublicKey:
		r, s := new(big.Int).SetBytes(t.signature[:32]), new(big.Int).SetBytes(t.signature[32:])
		return func() bool { return ecdsa.Verify(key, digest[:], r, s) }
	default:
		return func() bool { return ed25519.Verify(key.(ed25519.PublicKey), []byte(t.signed), t.signature) }
	}
}

func BenchmarkNewToken(b *testing.B) {
	for name, key := range benchmarked() {
		tokens := typical(b, key, 64)
		b.Run(name+"/floor", func(b *testing.B) {
			checks := make([]func() bool, len(tokens))
			for i, token := range tokens {
				t, err := Parse(token)
				if err != nil {
					b.Fatal(err)
				}
				checks[i] = bare(t, key.Public())
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if !checks[i%len(checks)]() {
					b.Fatal("the signature is bad")
				}
			}
		})
		b.Run(name+"/all", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := understand(tokens[i%len(tokens)], key.Public()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The parts of BenchmarkNewToken, and what the tokens are.
func BenchmarkSteps(b *testing.B) {
	key := oktatest.NewKey("RS256")
	tokens := typical(b, key, 64)
	parsed := make([]*Token, len(tokens))
	for i, token := range tokens {
		var err error
		if parsed[i], err = Parse(token); err != nil {
			b.Fatal(err)
		}
	}
	claims := make([]*Claims, len(tokens))
	packed := make([]string, len(tokens))
	for i := range tokens {
		var err error
		if claims[i], err = ParseClaims(parsed[i].Claims); err != nil {
			b.Fatal(err)
		}
		packed[i] = claims[i].Pack(seal)
	}
	for name, step := range map[string]func(i int) error{
		"Pack":        func(i int) error { claims[i].Pack(seal); return nil },
		"Unpack":      func(i int) error { Unpack(packed[i], new(Claims)); return nil },
		"Parse":       func(i int) error { _, err := Parse(tokens[i]); return err },
		"Verify":      func(i int) error { return parsed[i].Verify(key.Public()) },
		"ParseClaims": func(i int) error { _, err := ParseClaims(parsed[i].Claims); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := step(i % len(tokens)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(tokens[0])), "B/token")
		})
	}
}

var seal = Seal{"JWT", "RS256", 1}

// The cache has 1 KiB of room for each token, and not all tokens are typical.
func TestAPackedTokenIsSmall(t *testing.T) {
	const tokens, budget = 100, 400
	size := 0
	for _, token := range typical(t, oktatest.NewKey("EdDSA"), tokens) {
		claims, err := ParseClaims(mustParse(t, token).Claims)
		if err != nil {
			t.Fatal(err)
		}
		size += len(claims.Pack(seal)) / tokens
	}
	if size > budget {
		t.Errorf("a token is packed into %d bytes, want at most %d", size, budget)
	}
}

// The budgets are for a typical token: to read it, and beyond the check of its signature to do all. The race detector
// takes more now and then, because it empties pools.
func TestANewTokenAllocatesLittle(t *testing.T) {
	const toRead, inAll = 24, 33
	key := oktatest.NewKey("RS256")
	token := typical(t, key, 1)[0]
	parsed := mustParse(t, token)
	allocs := func(do func() error) float64 {
		return testing.AllocsPerRun(500, func() {
			if err := do(); err != nil {
				t.Error(err)
			}
		})
	}
	if got := allocs(func() error { _, err := Parse(token); return err }); got > toRead {
		t.Errorf("Parse makes %.0f allocations, want at most %d", got, toRead)
	}
	check := bare(parsed, key.Public())
	floor := testing.AllocsPerRun(500, func() { check() })
	got := allocs(func() error { _, err := understand(token, key.Public()); return err })
	if got-floor > inAll {
		t.Errorf("a new token makes %.0f allocations more than the check of its signature, want at most %d", got-floor, inAll)
	}
}

// Members are found one after the other, which is faster than to make a map of them. Beside their list and a copy of the
// text, an object costs the box that it comes in.
func TestAnObjectAllocatesLittle(t *testing.T) {
	text := []byte(`{"iss":0,"sub":0,"aud":0,"exp":0,"iat":0,"nbf":0,"jti":0,"ver":0,"cid":0,"uid":0,"scp":0,"groups":0}`)
	if got := testing.AllocsPerRun(100, func() { _, _ = DecodeObject(text) }); got > 3 {
		t.Errorf("DecodeObject makes %.0f allocations, want 3", got)
	}
}
