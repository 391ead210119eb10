package jwt

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
)

// secondOpinion verifies a token with another implementation.
func secondOpinion(token string, key any) (map[string]any, error) {
	algorithms := make([]jose.SignatureAlgorithm, len(Algorithms))
	for i, name := range Algorithms {
		algorithms[i] = jose.SignatureAlgorithm(name)
	}
	parsed, err := josejwt.ParseSigned(token, algorithms)
	if err != nil {
		return nil, err
	}
	var claims map[string]any
	err = parsed.Claims(key, &claims)
	return claims, err
}

// compare returns an error when a token that we take for validly signed is none to the other implementation, or has
// other claims. The other direction is of no interest: we are stricter in many ways.
func compare(token string, keys map[string]testKey) error {
	outcome, _, _ := judge(token, Algorithms, keys)
	if outcome != "ok" && outcome != "claims" {
		return nil
	}
	parsed, err := Parse(token)
	if err != nil {
		return err
	}
	claims, err := secondOpinion(token, keys[parsed.KeyID].public)
	if err != nil {
		if reason := difference(token); reason != "" {
			return nil
		}
		return fmt.Errorf("go-jose refuses a token that is %s here: %w", outcome, err)
	}
	ours, err := json.Marshal(parsed.Claims.Map())
	if err != nil {
		return err
	}
	var floats map[string]any // go-jose makes every number a float
	if err := json.Unmarshal(ours, &floats); err != nil {
		return err
	}
	want, _ := json.Marshal(floats)
	if got, err := json.Marshal(claims); err != nil || string(got) != string(want) {
		return fmt.Errorf("go-jose reads the claims %s (%v), want %s", got, err, want)
	}
	return nil
}

// difference returns why go-jose refuses a token that is good here, when that is known and right.
func difference(token string) string {
	text, err := base64.RawURLEncoding.DecodeString(token[:strings.IndexByte(token, '.')])
	if err != nil {
		return ""
	}
	var header map[string]any
	if err := json.Unmarshal(text, &header); err != nil {
		return ""
	}
	if nonce, ok := header["nonce"]; ok {
		if _, isText := nonce.(string); !isText {
			return "the nonce of RFC 8555 §6.5.2 means nothing in access tokens, so its type is nobody's business"
		}
	}
	return ""
}

func TestSecondOpinionOnVectors(t *testing.T) {
	keys := issuerKeys(t)
	agreed := 0
	for _, v := range vectors(t) {
		if err := compare(v.token, keys); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
		if v.fields["expect"] == "ok" {
			agreed++
		}
	}
	if agreed < 40 {
		t.Errorf("%d vectors are good, want at least 40: the comparison is idle", agreed)
	}
}

// The fuzzer writes header and payload; they are signed for real, so that it gets past the signature. With a signature
// of its own it must not.
func FuzzDifferential(f *testing.F) {
	keys := issuerKeys(f)
	key, ok := keys["ed25519"].private.(ed25519.PrivateKey)
	if !ok {
		f.Fatalf("the key is a %T", keys["ed25519"].private)
	}
	headers, payloads := parts(f)
	const header, payload = `{"alg":"EdDSA","kid":"ed25519"}`, `{"sub":"ada","n":1.5}`
	f.Add(header, payload, "")
	f.Add(header, payload, "forged")
	f.Add(`{"alg":"EdDSA","kid":"ed25519","nonce":1}`, payload, "") // the known difference
	as := strings.NewReplacer(`"RS256"`, `"EdDSA"`, `"rsa"`, `"ed25519"`)
	for _, text := range headers {
		f.Add(as.Replace(text), payload, "")
	}
	for _, text := range payloads {
		f.Add(header, text, "")
	}
	f.Fuzz(func(t *testing.T, header, payload, forged string) {
		signed := encode(header) + "." + encode(payload)
		genuine := string(ed25519.Sign(key, []byte(signed)))
		if err := compare(signed+"."+encode(genuine), keys); err != nil {
			t.Errorf("%s %s: %v", header, payload, err)
		}
		if outcome, _, _ := judge(signed+"."+encode(forged), Algorithms, keys); outcome == "ok" && forged != genuine {
			t.Errorf("%s %s with the signature %q is good", header, payload, forged)
		}
	})
}
