package dpop

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

// differs tells that go-jose refuses a proof for a reason that is known and right: it gives meaning to members that
// have none in a proof.
func differs(header string) bool {
	var members map[string]any
	if json.Unmarshal([]byte(header), &members) != nil {
		return false
	}
	if nonce, ok := members["nonce"]; ok { // RFC 8555 §6.5.2
		if _, isText := nonce.(string); !isText {
			return true
		}
	}
	key, _ := members["jwk"].(map[string]any)
	for _, name := range []string{"kid", "x5c", "x5u", "x5t", "x5t#S256", "key_ops", "y", "n", "e"} {
		if _, ok := key[name]; ok {
			return true
		}
	}
	// encoding/json matches the names of members without regard to case.
	for _, object := range []map[string]any{members, key} {
		for name := range object {
			if strings.ToLower(name) != name || !isASCII(name) {
				return true
			}
		}
	}
	return false
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return c > '~' }) < 0
}

// The fuzzer writes header and payload; they are signed for real, so that it gets past the signature. What is accepted
// is a proof to the other implementation too, of the same key; and with a signature of the fuzzer's own nothing is.
func FuzzParseProof(f *testing.F) {
	jwk := clientKeys(f)["ed25519"]
	key, ok := jwk.Key.(ed25519.PrivateKey)
	if !ok {
		f.Fatalf("the key is a %T", jwk.Key)
	}
	jwk = jwk.Public()
	jwk.KeyID = ""
	public, err := json.Marshal(jwk)
	if err != nil {
		f.Fatal(err)
	}
	header, payload := `{"typ":"dpop+jwt","alg":"EdDSA","jwk":`+string(public)+`}`, claims("1")
	f.Add(header, payload, "")
	f.Add(header, payload, "forged")
	for _, v := range vectors(f) {
		if text, ok := v.fields["header"]; ok {
			f.Add(strings.Replace(text, `"ES256"`, `"EdDSA"`, 1), payload, "")
			f.Add(header, v.fields["payload"], "")
		}
	}
	f.Fuzz(func(t *testing.T, header, payload, forged string) {
		signed := encode([]byte(header)) + "." + encode([]byte(payload))
		genuine := string(ed25519.Sign(key, []byte(signed)))
		text := signed + "." + encode([]byte(genuine))
		p, err := Parse(text)
		if err != nil {
			if p != nil {
				t.Fatalf("Parse = %v beside the error %v, want nil", p, err)
			}
			return
		}
		if thumbprint, err := base64.RawURLEncoding.DecodeString(p.Thumbprint); err != nil || len(thumbprint) != 32 {
			t.Errorf("the thumbprint is %q, want 256 bits in base64url", p.Thumbprint)
		}
		if p.jws.ID == "" || p.jws.Method == "" || p.jws.IssuedAt.IsZero() {
			t.Errorf("Parse accepts %s", payload)
		}
		_ = p.Check(request())
		_ = NewReplays(10).Use(p, request())
		if p.Verify() == nil {
			theirs, err := secondOpinion(text)
			if (err != nil || theirs != p.Thumbprint) && !differs(header) {
				t.Errorf("go-jose reads the thumbprint %s (%v) from %s, want %s", theirs, err, header, p.Thumbprint)
			}
		}
		if q, err := Parse(signed + "." + encode([]byte(forged))); err == nil && forged != genuine && q.Verify() == nil {
			t.Errorf("%s %s with the signature %q is good", header, payload, forged)
		}
	})
}
