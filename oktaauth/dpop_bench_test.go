package oktaauth

import (
	"net/http"
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
	checkToken, checkProof := bareCheck(b, token, issuer.ActiveKey().Public()), bareCheck(b, proof, key.Public())
	b.ReportAllocs()
	for b.Loop() {
		if !checkToken() || !checkProof() {
			b.Fatal("a signature is bad")
		}
	}
}
