package oktaauth

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/jwt"
	"github.com/caddy-okta/caddy-okta/internal/oktatest"
	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// A flood of tokens that are no good leaves nothing behind, and displaces no good one.
func TestInvalidTokensTakeNoMemory(t *testing.T) {
	issuer := newIssuer(t)
	h := newHandler(t, issuer, nil)
	good := fill(t, h, issuer, 1000)
	forged := issuer.UserToken("mallory", oktatest.Forged())
	expired := issuer.UserToken("mallory", oktatest.IssuedAgo(2*time.Hour))
	foreign := issuer.UserToken("mallory", oktatest.Audience("api://other"))
	entries := h.tokens.Len()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 1_000_000 {
		token := fmt.Sprintf("%s%08d", strings.Repeat("x", 40), i)
		switch {
		case i%2000 == 0: // the dear ones, which need a signature check
			token = forged
		case i%2000 == 1:
			token = expired
		case i%2000 == 2:
			token = foreign
		}
		if refusal := h.find(t.Context(), token, &attempt{started: time.Now()}); refusal == nil {
			t.Fatalf("token %d was let through", i)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if h.tokens.Len() != entries {
		t.Errorf("the cache has %d entries, want %d", h.tokens.Len(), entries)
	}
	for _, authorization := range good {
		at := &attempt{started: time.Now()}
		if refusal := h.find(t.Context(), strings.TrimPrefix(authorization[0], "Bearer "), at); refusal != nil {
			t.Fatalf("a good token is refused: %v", refusal)
		}
	}
}

// worst returns claims that make a token as large as is read.
func worst(issuer *oktatest.Server, claim any, options ...oktatest.Option) string {
	return issuer.UserToken("alice", append(options, oktatest.With("filler", claim))...)
}

// The dearest tokens that fit into the limit, accepted and refused.
func BenchmarkWorstToken(b *testing.B) {
	issuer := newIssuer(b)
	list := make([]any, 2700)
	for i := range list {
		list[i] = "a"
	}
	members := make(map[string]any)
	for i := range 1200 {
		members[fmt.Sprintf("m%d", i)] = 1
	}
	escapes := `"` + strings.Repeat(`\u00e9`, 1900) + `"`
	for name, token := range map[string]string{
		"a long list":             worst(issuer, list),
		"many members":            worst(issuer, members),
		"one long text":           worst(issuer, strings.Repeat("a", 11_500)),
		"many escapes":            issuer.SignPayload([]byte(`{"iss":"` + issuer.Issuer() + `","filler":` + escapes + `}`)),
		"deep nesting":            issuer.SignPayload([]byte(`{"iss":"` + issuer.Issuer() + `","filler":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`)),
		"a long number":           issuer.SignPayload([]byte(`{"iss":"` + issuer.Issuer() + `","filler":` + strings.Repeat("9", 300) + "." + strings.Repeat("9", 11_000) + `}`)),
		"a long list, but forged": worst(issuer, list, oktatest.Forged()),
	} {
		if len(token) > jwt.MaxSize {
			b.Fatalf("%s: the token has %d bytes", name, len(token))
		}
		b.Run(name, func(b *testing.B) {
			h := newHandler(b, issuer, nil)
			h.tokens.SetCapacity(0)
			b.ReportAllocs()
			b.SetBytes(int64(len(token)))
			for b.Loop() {
				h.find(b.Context(), token, &attempt{started: time.Now()})
			}
		})
	}
}

// What a request brings is none of ours, one token in the alphabet of tokens, or refused. What starts with our scheme is
// never overlooked.
func FuzzCredential(f *testing.F) {
	for _, value := range []string{
		"", "Bearer", "Bearer ", "Bearer a.b.c", "bearer  a", "Bearer a b", "Bearer a,b", "Bearer\ta", "Basic YTpi", "Basic a, Bearer b",
		"Bearera", "Bearer =", "Bearer a=", "Bearer \x00", "Bearer é", "DPoP a", ", Bearer a", "Bearer a, Basic b", "Bearer\"a",
	} {
		f.Add(value, "")
		f.Add(value, "access_token=x")
	}
	h := new(Handler)
	if err := h.provisionSource(); err != nil {
		f.Fatal(err)
	}
	s := h.source
	if !s.dpop {
		f.Fatal("the scheme DPoP is not accepted")
	}
	f.Fuzz(func(t *testing.T, value, query string) {
		r := newRequest()
		r.Header["Authorization"] = []string{value}
		r.URL.RawQuery = query
		r.Header["Dpop"] = []string{value}
		found, refusal := s.take(r, new(principal.Caller))
		switch {
		case refusal != nil:
			if refusal.Reason != deny.MalformedRequest && refusal.Reason != deny.MalformedToken {
				t.Errorf("take(%q) = %v", value, refusal)
			}
		case found == nil:
			if scheme, _, _ := strings.Cut(strings.ReplaceAll(strings.ToLower(value), "\t", " "), " "); scheme == "bearer" || scheme == "dpop" {
				t.Errorf("take(%q) finds nothing", value)
			}
		default:
			scheme := "bearer"
			if found.DPoP {
				scheme = "dpop"
			}
			if !isB64Token(found.Token) || !strings.HasSuffix(value, found.Token) || !strings.EqualFold(value[:len(scheme)], scheme) {
				t.Errorf("take(%q) = %+v", value, found)
			}
			if len(found.Proofs) != 1 {
				t.Errorf("take(%q) found %d proofs", value, len(found.Proofs))
			}
			if hasQueryToken(query) {
				t.Errorf("take(%q) with the query %q = %q, want malformed_request", value, query, found.Token)
			}
		}
		s.remove(r)
		if _, ok := r.Header["Authorization"]; ok {
			t.Error("the credential is still there")
		}
	})
}
