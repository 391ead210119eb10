package oktaauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/dpop"
	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// DefaultProofAge is how old a DPoP proof may be unless max_age says otherwise.
const DefaultProofAge = time.Minute

// maxProofAge bounds what has to be remembered of the proofs that were used.
const maxProofAge = 10 * time.Minute

// DPoP is what a route does with tokens that are bound to a key of their sender by RFC 9449, which Okta issues to
// applications that have "Require DPoP" set.
type DPoP struct {
	// Mode is "accept": a bound token passes with its proof, and only so; "require": tokens that are not bound do not pass;
	// "off": the scheme DPoP is none of ours, and bound tokens do not pass. Default: accept.
	Mode string `json:"mode,omitempty"`

	// MaxAge is how old a proof may be, by its "iat". A proof that comes from the future is refused too, beyond the
	// issuer's clock skew. Each proof works once in this time. At most 10m. Default: 60s.
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	// Nonce demands a nonce of this server in each proof (RFC 9449 §9), so that proofs cannot be made in advance. A proof
	// without one is answered 401 with the header DPoP-Nonce. A nonce works for five to ten minutes, in this process
	// only. Default: false.
	Nonce bool `json:"nonce,omitempty"`
}

// dpopRules are the checked settings.
type dpopRules struct {
	mode   string
	maxAge time.Duration
	nonce  bool
}

func (d *DPoP) provision() (dpopRules, error) {
	if d == nil {
		return dpopRules{mode: ProofAccept, maxAge: DefaultProofAge}, nil
	}
	mode, err := proofMode("dpop", d.Mode)
	rules := dpopRules{mode, time.Duration(d.MaxAge), d.Nonce}
	switch {
	case err != nil:
		return rules, err
	case mode == ProofOff && (d.MaxAge != 0 || d.Nonce):
		return rules, errors.New("dpop off excludes max_age and nonce: remove them, or write accept")
	case rules.maxAge == 0:
		rules.maxAge = DefaultProofAge
	case rules.maxAge < time.Second || rules.maxAge > maxProofAge:
		return rules, fmt.Errorf("dpop: max_age %s is out of range: write 1s to %s", rules.maxAge, maxProofAge)
	}
	return rules, nil
}

// proofs is what checks of DPoP proofs remember. It outlives configurations: a reload must not make a proof work twice.
type proofs struct {
	used   *dpop.Replays
	nonces *dpop.Nonces
}

// usedProofs is how many proofs are remembered; see [dpop.Replays] for what a flood of them does.
const usedProofs = 1 << 20

func newProofs() (*proofs, error) {
	return &proofs{dpop.NewReplays(usedProofs), dpop.NewNonces()}, nil
}

// Destruct ends the memory's life in a lease pool. It holds nothing that outlives it.
func (*proofs) Destruct() error { return nil }

// checkProof judges the DPoP proof of a request whose token is bound to the key of a thumbprint (RFC 9449 §4.3, §7.1):
// first what costs nothing, then the signature, and only then, whether the proof was used before.
func (h *Handler) checkProof(r *http.Request, cred *principal.Credential, thumbprint string, at *attempt) *deny.Refusal {
	if len(cred.Proofs) != 1 {
		return deny.InvalidProof.Because("the request has %d DPoP headers, one is needed", len(cred.Proofs))
	}
	proof := cred.Proven
	if proof == nil {
		var err error
		if proof, err = dpop.Parse(cred.Proofs[0]); err != nil {
			return deny.InvalidProof.Because("%w", err)
		}
	}
	if proof.Thumbprint != thumbprint {
		return deny.ProofRequired.Because("the proof was made with another key than the one that the token is bound to")
	}
	method, url := h.target(r)
	request := dpop.Request{
		Method: method, URL: url, Token: cred.Token,
		Now: at.started, MaxAge: h.dpop.maxAge, Skew: at.route.skew,
	}
	if err := proof.Check(request); err != nil {
		return deny.InvalidProof.Because("%w", err)
	}
	if h.dpop.nonce && !h.proofs.nonces.Valid(proof.Nonce, at.started) {
		refusal := deny.NonceRequired.Because("the proof carries no nonce of this server, or an old one")
		refusal.Nonce = h.proofs.nonces.Current(at.started)
		return refusal
	}
	if cred.Proven != nil {
		return nil // by an okta_auth before this one, for this very request
	}
	if err := proof.Verify(); err != nil {
		return deny.InvalidProof.Because("%w", err)
	}
	if err := h.proofs.used.Use(proof, request); err != nil {
		return deny.InvalidProof.Because("%w", err)
	}
	cred.Proven = proof
	return nil
}

// target returns the method and the URL that the client sent its request with, which a proof names in htm and htu: as
// Caddy knows them, before any rewrite, with the scheme and the host that a trusted proxy tells.
func (h *Handler) target(r *http.Request) (method, url string) {
	method, u := sent(r)
	path := u.RawPath // as it was sent, where it was not the one spelling of its text
	if path == "" {
		path = u.EscapedPath()
	}
	if h.ExternalURL != "" {
		return method, h.ExternalURL + path
	}
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); trusted {
		scheme = forwarded(r, "X-Forwarded-Proto", scheme)
		host = forwarded(r, "X-Forwarded-Host", host)
	}
	return method, scheme + "://" + host + path
}

// sent returns the method and the URL of a request as its client wrote them, before any rewrite.
func sent(r *http.Request) (method string, u *url.URL) {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		return original.Method, original.URL
	}
	return r.Method, r.URL
}

// forwarded returns what a trusted proxy says of the original request. Of several values it cannot be told which one a
// client invented: none of them counts, and external_url is the way out.
func forwarded(r *http.Request, header, otherwise string) string {
	if values := r.Header[header]; len(values) == 1 && values[0] != "" && !strings.Contains(values[0], ",") {
		return values[0]
	}
	return otherwise
}

// checkExternalURL checks a base URL that is put before paths.
func checkExternalURL(text string) error {
	if text == "" {
		return nil
	}
	if strings.Contains(text, "{") {
		return fmt.Errorf("external_url %s: placeholders are not replaced on a route: write {$NAME} in a Caddyfile, or the value itself", text)
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" ||
		strings.ContainsAny(text, "?#") || strings.HasSuffix(text, "/") {
		return fmt.Errorf("external_url %q: write what clients see before the path, such as https://api.example.com", text)
	}
	return nil
}
