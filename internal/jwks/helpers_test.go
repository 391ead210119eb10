package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Keys that tests publish. They are made once: RSA takes a while.
var (
	rsaKey   = sync.OnceValue(func() crypto.PublicKey { return newRSA(2048) })
	p256Key  = sync.OnceValue(func() crypto.PublicKey { return newEC(elliptic.P256()) })
	p256Next = sync.OnceValue(func() crypto.PublicKey { return newEC(elliptic.P256()) })
	p384Key  = sync.OnceValue(func() crypto.PublicKey { return newEC(elliptic.P384()) })
	p521Key  = sync.OnceValue(func() crypto.PublicKey { return newEC(elliptic.P521()) })
	edKey    = sync.OnceValue(func() crypto.PublicKey {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		must(err)
		return public
	})
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func newRSA(bits int) crypto.PublicKey {
	private, err := rsa.GenerateKey(rand.Reader, bits)
	must(err)
	return &private.PublicKey
}

func newEC(curve elliptic.Curve) crypto.PublicKey {
	private, err := ecdsa.GenerateKey(curve, rand.Reader)
	must(err)
	return &private.PublicKey
}

// jwkMap is a JWK before it is JSON.
type jwkMap map[string]any

// with returns a copy with one member set, or removed when value is nil.
func (m jwkMap) with(name string, value any) jwkMap {
	c := jwkMap{}
	for k, v := range m {
		c[k] = v
	}
	if c[name] = value; value == nil {
		delete(c, name)
	}
	return c
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// publish returns the JWK of a public key.
func publish(kid string, public crypto.PublicKey) jwkMap {
	switch p := public.(type) {
	case *rsa.PublicKey:
		e := big.NewInt(int64(p.E)).Bytes()
		return jwkMap{"kid": kid, "kty": "RSA", "n": b64(p.N.Bytes()), "e": b64(e)}
	case *ecdsa.PublicKey:
		point, err := p.Bytes()
		must(err)
		half := (len(point) - 1) / 2
		x, y := point[1:1+half], point[1+half:]
		return jwkMap{"kid": kid, "kty": "EC", "crv": p.Params().Name, "x": b64(x), "y": b64(y)}
	case ed25519.PublicKey:
		return jwkMap{"kid": kid, "kty": "OKP", "crv": "Ed25519", "x": b64(p)}
	}
	panic("unknown kind of key")
}

func document(keys ...jwkMap) string {
	b, err := json.Marshal(map[string]any{"keys": keys})
	must(err)
	return string(b)
}

// issuer is an issuer without a network, for tests in which time stands still until all wait.
type issuer struct {
	mu      sync.Mutex
	asked   []time.Time // when each request came
	respond responder
	closed  atomic.Int32 // calls of CloseIdleConnections
}

// responder answers one request of an issuer.
type responder = func(*http.Request) (*http.Response, error)

func (i *issuer) CloseIdleConnections() { i.closed.Add(1) }

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.asked = append(i.asked, time.Now())
	respond := i.respond
	i.mu.Unlock()
	return respond(r)
}

// does changes what the issuer answers from now on.
func (i *issuer) does(respond responder) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.respond = respond
}

func (i *issuer) requests() []time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]time.Time(nil), i.asked...)
}

// gaps returns the times between requests.
func (i *issuer) gaps() (gaps []time.Duration) {
	asked := i.requests()
	for n := 1; n < len(asked); n++ {
		gaps = append(gaps, asked[n].Sub(asked[n-1]))
	}
	return gaps
}

// answers returns a response of the issuer; header holds names and values in turn.
func answers(status int, body string, header ...string) responder {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{}
		for n := 0; n < len(header); n += 2 {
			h.Add(header[n], header[n+1])
		}
		return &http.Response{
			StatusCode: status, Header: h, Request: r, ProtoMajor: 1, ProtoMinor: 1,
			Body: io.NopCloser(strings.NewReader(body)),
		}, nil
	}
}

// after is an answer that takes its time; a request that is given up ends at once.
func after(d time.Duration, then responder) responder {
	return func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(d):
			return then(r)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func fails(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

// open returns a source of c, by default one with a keys URL, whose issuer is i. It is closed when the test ends.
func open(t *testing.T, c Config, i *issuer) *Source {
	t.Helper()
	if c == (Config{}) {
		c.KeysURL = "https://issuer.test/keys"
	}
	s, err := newSource(c, i)
	if err != nil {
		t.Fatalf("newSource(%+v): %v", c, err)
	}
	t.Cleanup(func() {
		if err := s.Destruct(); err != nil {
			t.Errorf("Destruct() = %v", err)
		}
	})
	return s
}

// warm returns a source that has the key set of the issuer already.
func warm(t *testing.T, c Config, i *issuer) *Source {
	t.Helper()
	s := open(t, c, i)
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatalf("Refresh() = %v", err)
	}
	return s
}

// one returns the only key that kid names.
func one(t *testing.T, s *Source, kid string) *Key {
	t.Helper()
	keys, err := s.Lookup(t.Context(), kid)
	if err != nil || len(keys) != 1 {
		t.Fatalf("Lookup(%q) = %d keys, %v, want one", kid, len(keys), err)
	}
	return keys[0]
}

// near tells whether d is want, give or take the jitter of a tenth.
func near(d, want time.Duration) bool { return d >= want-want/10 && d <= want+want/10+1 }
