package oktaauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-okta/caddy-okta/internal/cache"
	"github.com/caddy-okta/caddy-okta/internal/jwt"
	"github.com/caddy-okta/caddy-okta/internal/oktatest"
	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// newHandler provisions a handler for one issuer with pinned keys, without a Caddy around it.
func newHandler(tb testing.TB, issuer *oktatest.Server, change func(*Handler)) *Handler {
	tb.Helper()
	keys := tb.TempDir() + "/keys.json"
	writeFile(tb, keys, issuer.JWKS())
	i := &Issuer{URL: issuer.Issuer(), Audience: []string{"api://default"}, KeysFile: keys, Algorithms: []string{"RS256", "ES256", "EdDSA"}}
	if err := i.provision(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = i.lease.Release() })
	h := &Handler{tokens: cache.NewTexts(200_000), audit: zap.NewNop()}
	h.proofs, _ = newProofs()
	if change != nil {
		change(h)
	}
	if err := h.prepare([]*Issuer{i}); err != nil {
		tb.Fatal(err)
	}
	h.count()
	return h
}

// newRequest returns a request with the headers that a browser sends.
func newRequest() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://api.example.com/orders/7", nil)
	for _, name := range []string{"User-Agent", "Accept", "Accept-Encoding", "Accept-Language", "Referer", "Sec-Fetch-Site", "Sec-Fetch-Mode", "X-Request-Id"} {
		r.Header.Set(name, "some value")
	}
	return r
}

var goOn = caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })

// serve hands the request to a handler as Caddy's server does, as a new one each time. Without a handler it is the
// floor that the others are compared with.
func serve(h *Handler, r *http.Request, authorization []string) error {
	r.Header["Authorization"] = authorization
	w := httptest.NewRecorder()
	prepared := caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	if h == nil {
		return goOn.ServeHTTP(w, prepared)
	}
	return h.ServeHTTP(w, prepared, goOn)
}

func newIssuer(tb testing.TB) *oktatest.Server {
	tb.Helper()
	issuer, err := oktatest.New(oktatest.Config{ID: "default", Keys: []*oktatest.Key{oktatest.NewKey("RS256"), oktatest.NewKey("ES256"), oktatest.NewKey("EdDSA")}})
	if err != nil {
		tb.Fatal(err)
	}
	return issuer
}

func BenchmarkServeHTTPFloor(b *testing.B) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := newRequest()
		for pb.Next() {
			if err := serve(nil, r, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkServeHTTPCached(b *testing.B) {
	issuer := newIssuer(b)
	for _, live := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprintf("%d tokens", live), func(b *testing.B) {
			h := newHandler(b, issuer, nil)
			tokens := fill(b, h, issuer, live)
			b.ReportAllocs()
			var n atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				r := newRequest()
				i := int(n.Add(7919))
				for pb.Next() {
					i++
					if err := serve(h, r, tokens[i%len(tokens)]); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// fill puts so many tokens into the cache, as if their signatures had been verified, and returns them as headers.
func fill(tb testing.TB, h *Handler, issuer *oktatest.Server, n int) [][]string {
	tb.Helper()
	token := issuer.UserToken("alice@example.com", oktatest.Scopes("openid", "profile", "orders:read"), oktatest.Groups("Everyone", "Engineering"))
	if err := serve(h, newRequest(), []string{"Bearer " + token}); err != nil {
		tb.Fatal(err)
	}
	k, ok := h.tokens.Get(h.tokens.Digest(token), time.Now())
	if !ok {
		tb.Fatal("the token is not in the cache")
	}
	headers := [][]string{{"Bearer " + token}}
	for i := 1; i < n; i++ {
		other := fmt.Sprintf("%s%08d", token[:len(token)-8], i)
		h.tokens.Put(h.tokens.Digest(other), k, time.Now().Add(time.Hour))
		headers = append(headers, []string{"Bearer " + other})
	}
	return headers
}

// BenchmarkServeHTTPUncached is a token that was never seen, and as its floor the bare signature check of the same token.
// The ratios are the medians of what the token takes beyond the floor of the harness, and beyond a known token, in bare
// checks.
func BenchmarkServeHTTPUncached(b *testing.B) {
	keys := map[string]*oktatest.Key{
		"RS256-2048": oktatest.NewKey("RS256"), "RS256-4096": oktatest.NewRSAKey("RS256", 4096), "ES256": oktatest.NewKey("ES256"), "EdDSA": oktatest.NewKey("EdDSA"),
	}
	issuer, err := oktatest.New(oktatest.Config{ID: "default", Keys: slices.Collect(maps.Values(keys))})
	if err != nil {
		b.Fatal(err)
	}
	for name, key := range keys {
		token := issuer.UserToken("alice@example.com", oktatest.SignedBy(key), oktatest.Groups("Everyone", "Engineering"))
		b.Run(name+"/floor", func(b *testing.B) {
			verify := bareCheck(b, token, key.Public())
			b.ReportAllocs()
			for b.Loop() {
				if !verify() {
					b.Fatal("the signature is bad")
				}
			}
		})
		h, r, authorization := newHandler(b, issuer, nil), newRequest(), []string{"Bearer " + token}
		h.tokens.SetCapacity(0)
		b.Run(name+"/all", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := serve(h, r, authorization); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/ratio", func(b *testing.B) {
			verify := bareCheck(b, token, key.Public())
			knowing := newHandler(b, issuer, nil)
			var beyondFloor, beyondKnown []float64
			for b.Loop() {
				bare := timed(func() { verify() })
				all := timed(func() { _ = serve(h, r, authorization) })
				floor := timed(func() { _ = serve(nil, r, authorization) })
				known := timed(func() { _ = serve(knowing, r, authorization) })
				beyondFloor = append(beyondFloor, float64(all-floor)/float64(bare))
				beyondKnown = append(beyondKnown, float64(all-known)/float64(bare))
			}
			slices.Sort(beyondFloor)
			slices.Sort(beyondKnown)
			b.ReportMetric(beyondFloor[len(beyondFloor)/2], "bare/beyond-floor")
			b.ReportMetric(beyondKnown[len(beyondKnown)/2], "bare/beyond-known")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// timed returns how long ten times take. Comparisons take turns in so short a time that what else the machine does hits
// all that is compared.
func timed(do func()) time.Duration {
	began := time.Now()
	for range 10 {
		do()
	}
	return time.Since(began)
}

// bareCheck returns the check of a token's signature as the standard library does it, with the digest that belongs to it.
func bareCheck(tb testing.TB, token string, key crypto.PublicKey) func() bool {
	tb.Helper()
	dot := strings.LastIndexByte(token, '.')
	signed := []byte(token[:dot])
	signature, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil {
		tb.Fatal(err)
	}
	return func() bool {
		sum := sha256.Sum256(signed)
		switch key := key.(type) {
		case *rsa.PublicKey:
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
		case *ecdsa.PublicKey:
			return ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
		}
		return ed25519.Verify(key.(ed25519.PublicKey), signed, signature)
	}
}

// BenchmarkIdentityHeaders is the removal of what a client sent, and the writing of what the backend gets; its floor is
// bare assignments to the map.
func BenchmarkIdentityHeaders(b *testing.B) {
	h, err := newHeaders(nil, false)
	if err != nil {
		b.Fatal(err)
	}
	object, err := jwt.DecodeObject([]byte(`{"sub":"alice","cid":"0oa1","scp":["openid","profile"],"groups":["Everyone"],"email":"alice@example.com"}`))
	if err != nil {
		b.Fatal(err)
	}
	id, err := jwt.ParseClaims(object)
	if err != nil {
		b.Fatal(err)
	}
	values, refusal := h.values(id)
	if refusal != nil {
		b.Fatal(refusal)
	}
	reset := func(r *http.Request) {
		for _, header := range h.sent {
			delete(r.Header, header.name)
		}
	}
	b.Run("floor", func(b *testing.B) {
		r := newRequest()
		b.ReportAllocs()
		for b.Loop() {
			for i, header := range h.sent {
				r.Header[header.name] = values[i : i+1 : i+1]
			}
			reset(r)
		}
	})
	b.Run("all", func(b *testing.B) {
		r := newRequest()
		b.ReportAllocs()
		for b.Loop() {
			var caller principal.Caller
			h.remove(r, &caller)
			values, refusal := h.values(id)
			if refusal != nil {
				b.Fatal(refusal)
			}
			h.set(r, &caller, id, values)
			reset(r)
		}
	})
}

// A cached decision allocates what the request needs, and no more.
func TestCachedDecisionAllocates(t *testing.T) {
	const budget = 12 // one of them the race detector's
	issuer := newIssuer(t)
	h := newHandler(t, issuer, nil)
	authorization := fill(t, h, issuer, 1)[0]
	r := newRequest()
	floor := testing.AllocsPerRun(200, func() { _ = serve(nil, r, authorization) })
	if got := testing.AllocsPerRun(200, func() { _ = serve(h, r, authorization) }) - floor; got > budget {
		t.Errorf("a cached decision allocates %v times, budget %d", got, budget)
	}
}

func writeFile(tb testing.TB, name string, data []byte) {
	tb.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		tb.Fatal(err)
	}
}
