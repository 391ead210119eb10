package jwks

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
)

// The keys whose thumbprints RFC 7638 §3.1, RFC 8037 A.3 and RFC 9449 §6.1 tell.
const (
	rfc7638Modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknj" +
		"hMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n9" +
		"1CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	rfc8037X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	rfc9449X = "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs"
	rfc9449Y = "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"
)

func rsaMembers() map[string]any {
	return map[string]any{"kty": "RSA", "n": rfc7638Modulus, "e": "AQAB"}
}

func ecMembers() map[string]any {
	return map[string]any{"kty": "EC", "crv": "P-256", "x": rfc9449X, "y": rfc9449Y}
}

func edMembers() map[string]any {
	return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": rfc8037X}
}

// with returns members with some replaced; nil removes one.
func with(members map[string]any, changes map[string]any) map[string]any {
	maps.Copy(members, changes)
	maps.DeleteFunc(members, func(_ string, value any) bool { return value == nil })
	return members
}

type m = map[string]any

func TestParseEmbeddedReads(t *testing.T) {
	const rsaThumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
	for _, test := range []struct {
		name, thumbprint, algorithms string
		members                      m
	}{
		{"the key of RFC 7638", rsaThumbprint, "RS256 RS384 RS512 PS256 PS384 PS512", rsaMembers()},
		{"the key of RFC 8037", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "EdDSA", edMembers()},
		{"the key of RFC 9449", "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", "ES256", ecMembers()},
		{"one with its algorithm", rsaThumbprint, "PS256", with(rsaMembers(), m{"alg": "PS256"})},
		{"one with members that do not count", rsaThumbprint, "RS256 RS384 RS512 PS256 PS384 PS512", with(rsaMembers(), m{
			"kid": 5, "use": "sig", "key_ops": []string{"sign", "verify"}, "ext": true, "crv": "P-256", "x": 1, "D": "private?",
		})},
		{"one with the exponent 3", "", "RS256 RS384 RS512 PS256 PS384 PS512", with(rsaMembers(), m{"e": "Aw"})},
		{"one with the largest exponent", "", "RS256 RS384 RS512 PS256 PS384 PS512", with(rsaMembers(), m{"e": "f____w"})},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, thumbprint, err := ParseEmbedded(test.members)
			if err != nil {
				t.Fatalf("ParseEmbedded = %v, want a key", err)
			}
			if test.thumbprint != "" && thumbprint != test.thumbprint {
				t.Errorf("the thumbprint is %s, want %s", thumbprint, test.thumbprint)
			}
			if got := strings.Join(k.Algorithms(), " "); got != test.algorithms {
				t.Errorf("it verifies %s, want %s", got, test.algorithms)
			}
		})
	}
}

// An issuer's key set with the same key makes the same of it.
func TestParseEmbeddedAgreesWithKeySets(t *testing.T) {
	for _, members := range []m{rsaMembers(), edMembers(), ecMembers(), ecOn(t, elliptic.P384()), ecOn(t, elliptic.P521())} {
		members["kid"] = "1"
		document, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		want, err := parseKey(document)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := ParseEmbedded(members)
		if err != nil {
			t.Fatalf("ParseEmbedded(%s) = %v, want a key", document, err)
		}
		if got.ID = want.ID; !got.same(want) || got.Type != want.Type || !slices.Equal(got.algorithms, want.algorithms) {
			t.Errorf("ParseEmbedded(%s) = %+v, the key set has %+v", document, got, want)
		}
	}
}

func ecOn(t *testing.T, curve elliptic.Curve) m {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	members, err := (&Key{Type: "EC", Public: &key.PublicKey}).jwk()
	if err != nil {
		t.Fatal(err)
	}
	return m{"kty": "EC", "crv": members["crv"], "x": members["x"], "y": members["y"]}
}

// number returns one with so many bits, odd, in base64url.
func number(bits uint) string {
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return base64.RawURLEncoding.EncodeToString(n.SetBit(n, 0, 1).Bytes())
}

func TestParseEmbeddedRefuses(t *testing.T) {
	zeros := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	for _, test := range []struct {
		name, want string
		members    m
	}{
		{"nothing", "key type", m{}},
		{"a secret", `private member "k"`, m{"kty": "oct", "k": "c2VjcmV0"}},
		{"a secret without its value", "key type", m{"kty": "oct"}},
		{"a type in lower case", "key type", with(ecMembers(), m{"kty": "ec"})},
		{"a type that is no text", "key type", with(ecMembers(), m{"kty": 1})},
		{"another use", "use is not sig", with(ecMembers(), m{"use": "enc"})},
		{"a use that is no text", "use is not sig", with(ecMembers(), m{"use": []any{"sig"}})},
		{"other operations", "key_ops", with(ecMembers(), m{"key_ops": []string{"sign"}})},
		{"operations that are not all texts", "key_ops", with(ecMembers(), m{"key_ops": []any{m{}, "verify"}})},
		{"operations that are no list", "key_ops", with(ecMembers(), m{"key_ops": "verify"})},
		{"an algorithm of another kind", "the key's alg", with(ecMembers(), m{"alg": "RS256"})},
		{"an algorithm that is no text", "the key's alg", with(ecMembers(), m{"alg": 256})},
		{"an empty algorithm", "the key's alg", with(ecMembers(), m{"alg": ""})},

		{"a curve that is unknown", "curve", with(ecMembers(), m{"crv": "secp256k1"})},
		{"a curve that is weak", "curve", with(ecMembers(), m{"crv": "P-224"})},
		{"no curve", "curve", with(ecMembers(), m{"crv": nil})},
		{"a curve for another type", "curve", with(ecMembers(), m{"crv": "Ed25519"})},
		{"no x", `member "x"`, with(ecMembers(), m{"x": nil})},
		{"no y", `member "y"`, with(ecMembers(), m{"y": nil})},
		{"an x that is no text", `member "x"`, with(ecMembers(), m{"x": 1})},
		{"an x that is empty", `member "x"`, with(ecMembers(), m{"x": ""})},
		{"an x that is short", `member "x"`, with(ecMembers(), m{"x": rfc9449X[:42]})},
		{"a y that is long", `member "y"`, with(ecMembers(), m{"y": "AA" + rfc9449Y})},
		{"padding", `member "x"`, with(ecMembers(), m{"x": rfc9449X + "="})},
		{"trailing bits", `member "x"`, with(ecMembers(), m{"x": rfc9449X[:42] + "t"})},
		{"a line break", `member "x"`, with(ecMembers(), m{"x": rfc9449X[:20] + "\n" + rfc9449X[20:]})},
		{"a carriage return", `member "y"`, with(ecMembers(), m{"y": rfc9449Y + "\r"})},
		{"a point that is not on the curve", "not on curve", with(ecMembers(), m{"y": rfc9449X})},
		{"the point at infinity", "not on curve", with(ecMembers(), m{"x": zeros, "y": zeros})},

		{"a curve for key agreement", "Ed25519", with(edMembers(), m{"crv": "X25519"})},
		{"Ed448", "Ed25519", with(edMembers(), m{"crv": "Ed448"})},
		{"31 bytes", `member "x"`, with(edMembers(), m{"x": rfc8037X[:42]})},
		{"33 bytes", `member "x"`, with(edMembers(), m{"x": rfc8037X[:42] + "oA"})},

		{"no modulus", `member "n"`, with(rsaMembers(), m{"n": nil})},
		{"no exponent", `member "e"`, with(rsaMembers(), m{"e": nil})},
		{"2047 bits", "2047 bits", with(rsaMembers(), m{"n": number(2047)})},
		{"8193 bits", "8193 bits", with(rsaMembers(), m{"n": number(8193)})},
		{"a modulus with a leading zero", "zero byte", with(rsaMembers(), m{"n": "AAAA" + rfc7638Modulus})},
		{"an exponent with a leading zero", "zero byte", with(rsaMembers(), m{"e": "AAEAAQ"})},
		{"an even modulus", "even", with(rsaMembers(), m{"n": rfc7638Modulus[:len(rfc7638Modulus)-1] + "g"})},
		{"the exponent 1", "exponent", with(rsaMembers(), m{"e": "AQ"})},
		{"the exponent 2", "exponent", with(rsaMembers(), m{"e": "Ag"})},
		{"an exponent of 32 bits", "exponent", with(rsaMembers(), m{"e": "gAAAAQ"})},
		{"an exponent of 40 bits", "exponent", with(rsaMembers(), m{"e": "AQAAAAE"})},
		{"an exponent of 72 bits, which ends in 3", "exponent", with(rsaMembers(), m{"e": "AQAAAAAAAAAD"})},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, thumbprint, err := ParseEmbedded(test.members)
			if err == nil || !strings.Contains(err.Error(), test.want) || k != nil || thumbprint != "" {
				t.Errorf("ParseEmbedded = %v, %q, %v, want an error with %q", k, thumbprint, err, test.want)
			}
		})
	}
	for _, name := range privateMembers {
		for _, value := range []any{"AQ", "", nil, 5} {
			for _, members := range []m{rsaMembers(), ecMembers(), edMembers()} {
				members[name] = value
				if k, _, err := ParseEmbedded(members); err == nil || k != nil || !strings.Contains(err.Error(), name) {
					t.Errorf("ParseEmbedded(a key with %s = %v) = %v, want it refused", name, value, err)
				}
			}
		}
	}
}

func TestParseEmbeddedTakesTheSizesOfKeySets(t *testing.T) {
	for _, bits := range []uint{minRSABits, maxRSABits} {
		k, _, err := ParseEmbedded(with(rsaMembers(), m{"n": number(bits)}))
		if err != nil {
			t.Errorf("ParseEmbedded(%d bits) = %v, want a key", bits, err)
			continue
		}
		if public, ok := k.Public.(*rsa.PublicKey); !ok || public.N.BitLen() != int(bits) {
			t.Errorf("ParseEmbedded(%d bits) = %v, want a key of that size", bits, k.Public)
		}
	}
	if k, _, err := ParseEmbedded(edMembers()); err != nil || len(k.Public.(ed25519.PublicKey)) != ed25519.PublicKeySize {
		t.Errorf("ParseEmbedded(Ed25519) = %v, %v, want a key", k, err)
	}
}
