package oktaauth

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// refused is a request of one kind, and the handler that refuses it.
type refused struct {
	reason deny.Reason
	change func(*Handler) // nil for the defaults
	header http.Header
}

// refusals are one of each kind that needs no network.
func refusals(tb testing.TB, issuer *oktatest.Server) []refused {
	tb.Helper()
	stranger := oktatest.NewKey("RS256")
	bearer := func(options ...oktatest.Option) http.Header {
		return http.Header{"Authorization": {"Bearer " + issuer.UserToken("alice@example.com", options...)}}
	}
	bound := issuer.UserToken("alice@example.com", oktatest.BoundTo(stranger.Thumbprint()))
	proven := func(options ...oktatest.Option) http.Header {
		proof := oktatest.Proof(stranger, http.MethodGet, "http://api.example.com/orders/7", append(options, oktatest.ForToken(bound))...)
		return http.Header{"Authorization": {"DPoP " + bound}, "Dpop": {proof}}
	}
	return []refused{
		{deny.NoCredential, nil, http.Header{}},
		{deny.MalformedRequest, nil, http.Header{"Authorization": {"Bearer a", "Bearer b"}}},
		{deny.CrossOrigin, func(h *Handler) { h.Token = &TokenSource{Cookie: "token"} },
			http.Header{"Cookie": {"token=" + issuer.UserToken("alice@example.com")}, "Upgrade": {"websocket"}, "Sec-Fetch-Site": {"cross-site"}}},
		{deny.MalformedToken, nil, http.Header{"Authorization": {"Bearer a.b.c"}}},
		{deny.Algorithm, nil, bearer(oktatest.Header(map[string]any{"alg": "PS512"}))},
		{deny.WrongIssuer, nil, bearer(oktatest.With("iss", "https://other.example.com"))},
		{deny.UnknownKey, nil, bearer(oktatest.SignedBy(stranger))},
		{deny.BadSignature, nil, bearer(oktatest.Forged())},
		{deny.WrongAudience, nil, bearer(oktatest.Audience("api://other"))},
		{deny.Expired, nil, bearer(oktatest.With("exp", time.Now().Add(-time.Hour).Unix()))},
		{deny.NotYetValid, nil, bearer(oktatest.With("nbf", time.Now().Add(time.Hour).Unix()))},
		{deny.WrongType, nil, http.Header{"Authorization": {"Bearer " + issuer.IDToken("alice@example.com")}}},
		{deny.ProofRequired, nil, http.Header{"Authorization": {"Bearer " + bound}}},
		{deny.InvalidProof, nil, proven(oktatest.With("htm", "POST"))},
		{deny.NonceRequired, func(h *Handler) { h.DPoP = &DPoP{Nonce: true} }, proven()},
		{deny.WrongClient, func(h *Handler) { h.ClientID = []string{"0oaOther"} }, bearer()},
		{deny.InsufficientScope, func(h *Handler) { h.Scopes = []string{"orders:write"} }, bearer()},
		{deny.StepUpRequired, func(h *Handler) { h.MaxAge = caddy.Duration(time.Second) }, bearer(oktatest.With("auth_time", time.Now().Add(-time.Hour).Unix()))},
		{deny.IdentityTooLarge, nil, bearer(oktatest.With("email", strings.Repeat("x", maxIdentityHeader+1)))},
		{deny.TooManyFailures, func(h *Handler) {
			h.guard = &Guard{Failures: 1}
			if err := h.guard.provision(func(string, int) {}); err != nil {
				tb.Fatal(err)
			}
			tb.Cleanup(func() { _ = h.guard.lease.Release() })
		}, bearer(oktatest.Forged())},
	}
}

// serve sends the request anew.
func (f *refused) serve(h *Handler, r *http.Request) error {
	for name, values := range f.header {
		r.Header[name] = values
	}
	return serve(h, r, f.header["Authorization"])
}

func BenchmarkServeHTTPRefused(b *testing.B) {
	issuer := newIssuer(b)
	for _, refused := range refusals(b, issuer) {
		b.Run(refused.reason.String(), func(b *testing.B) {
			h, r := newHandler(b, issuer, refused.change), newRequest()
			b.ReportAllocs()
			for b.Loop() {
				if err := refused.serve(h, r); err == nil {
					b.Fatal("the request was let through")
				}
			}
		})
	}
}

// The benchmark has each reason of okta_auth but those that need an answer of the issuer.
func TestEachKindOfRefusalIsBenchmarked(t *testing.T) {
	known := []deny.Reason{
		deny.OK, deny.Anonymous, deny.Preflight, // no refusals
		deny.AmbiguousPath, deny.PolicyDenied, deny.PolicyError, // of cel_policy
		deny.KeysUnavailable, deny.Revoked, deny.IntrospectionUnavailable,
	}
	issuer := newIssuer(t)
	for _, refused := range refusals(t, issuer) {
		known = append(known, refused.reason)
		h, r := newHandler(t, issuer, refused.change), newRequest()
		_ = refused.serve(h, r) // a guard bans after the first
		var refusal *deny.Refusal
		if err := refused.serve(h, r); !errors.As(err, &refusal) || refusal.Reason != refused.reason {
			t.Errorf("the answer is %v, want %s", err, refused.reason)
		}
	}
	for _, reason := range deny.All() {
		if !slices.Contains(known, reason) {
			t.Errorf("%s has no benchmark", reason)
		}
	}
}
