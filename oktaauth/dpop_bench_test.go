package oktaauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// BenchmarkServeHTTPDPoP is a request with a bound token and a proof that was never used: the token known, and never seen.
func BenchmarkServeHTTPDPoP(b *testing.B) {
	issuer := newIssuer(b)
	key := oktatest.NewKey("ES256")
	for name, capacity := range map[string]int{"cached": 1000, "uncached": 0} {
		b.Run(name, func(b *testing.B) {
			h := newHandler(b, issuer, nil)
			h.tokens.SetCapacity(capacity)
			token := issuer.UserToken("alice@example.com", oktatest.BoundTo(key.Thumbprint()))
			authorization := []string{"DPoP " + token}
			r := newRequest()
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				r.Header["Dpop"] = []string{oktatest.Proof(key, http.MethodGet, "http://api.example.com/orders/7", oktatest.ForToken(token))}
				b.StartTimer()
				if err := serve(h, r, authorization); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDPoPFloor is the two bare signature checks of such a request.
func BenchmarkDPoPFloor(b *testing.B) {
	issuer := newIssuer(b)
	key := oktatest.NewKey("ES256")
	token := issuer.UserToken("alice@example.com", oktatest.BoundTo(key.Thumbprint()))
	proof := oktatest.Proof(key, http.MethodGet, "http://api.example.com/orders/7", oktatest.ForToken(token))
	split := func(text string) (sum [sha256.Size]byte, signature []byte) {
		dot := strings.LastIndexByte(text, '.')
		signature, err := base64.RawURLEncoding.DecodeString(text[dot+1:])
		if err != nil {
			b.Fatal(err)
		}
		return sha256.Sum256([]byte(text[:dot])), signature
	}
	tokenSum, tokenSignature := split(token)
	proofSum, proofSignature := split(proof)
	r, s := new(big.Int).SetBytes(proofSignature[:32]), new(big.Int).SetBytes(proofSignature[32:])
	b.ReportAllocs()
	for b.Loop() {
		if err := rsa.VerifyPKCS1v15(issuer.ActiveKey().Public().(*rsa.PublicKey), crypto.SHA256, tokenSum[:], tokenSignature); err != nil {
			b.Fatal(err)
		}
		if !ecdsa.Verify(key.Public().(*ecdsa.PublicKey), proofSum[:], r, s) {
			b.Fatal("the proof is not signed")
		}
	}
}
