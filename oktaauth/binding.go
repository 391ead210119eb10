package oktaauth

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// What a route does with tokens that are bound to a key of their sender.
const (
	ProofAccept  = "accept"  // bound tokens pass with their proof, others as bearers
	ProofRequire = "require" // only bound tokens pass
	ProofOff     = "off"     // bound tokens do not pass
)

// proofMode checks a configured mode and returns it, or the default.
func proofMode(option, mode string) (string, error) {
	switch mode {
	case "":
		return ProofAccept, nil
	case ProofAccept, ProofRequire, ProofOff:
		return mode, nil
	}
	return "", fmt.Errorf("%s %q is unknown: write accept, require or off", option, mode)
}

// confirmation is the cnf claim (RFC 7800): the keys that the sender of a token has to prove.
type confirmation struct {
	thumbprint  string // jkt (RFC 9449 §6.1)
	certificate string // x5t#S256 (RFC 8705 §3.1)
}

// readConfirmation reads cnf. One that cannot be read, or that holds a binding that is not known here, cannot be checked:
// the token never passes.
func readConfirmation(cnf map[string]any) (c confirmation, ok bool) {
	if cnf == nil {
		return c, true
	}
	for name, value := range cnf {
		text, _ := value.(string)
		switch {
		case text == "":
			return c, false
		case name == "jkt":
			c.thumbprint = text
		case name == "x5t#S256":
			c.certificate = text
		default:
			return c, false
		}
	}
	return c, c != confirmation{}
}

// and returns what c and other demand together. One key cannot be two.
func (c confirmation) and(other confirmation) (both confirmation, ok bool) {
	both = confirmation{cmp.Or(c.thumbprint, other.thumbprint), cmp.Or(c.certificate, other.certificate)}
	return both, (other.thumbprint == "" || other.thumbprint == both.thumbprint) &&
		(other.certificate == "" || other.certificate == both.certificate)
}

// checkBinding refuses tokens that are bound to a key that the sender of this request does not prove: without that,
// anyone could use them (RFC 9449 §7.1, RFC 8705 §3). A token that was also introspected is bound as either says.
func (h *Handler) checkBinding(r *http.Request, cred *principal.Credential, at *attempt) *deny.Refusal {
	bound, ok := readConfirmation(at.verified.identity.Confirmation)
	if ok && at.introspected != nil {
		var answered confirmation
		if answered, ok = readConfirmation(at.introspected.identity.Confirmation); ok {
			bound, ok = bound.and(answered)
		}
	}
	switch {
	case !ok:
		return deny.ProofRequired.Because("cnf names a binding that cannot be checked here")
	case bound.thumbprint == "" && cred.DPoP: // RFC 9449 §7.1: it would look bound to whoever reads the request
		return deny.WrongType.Because("the token came with the scheme DPoP, and is not bound to a key")
	case bound.thumbprint == "" && h.dpop.mode == ProofRequire:
		return deny.ProofRequired.Because("the token is not bound to a DPoP key, as this route requires")
	case bound.thumbprint != "" && !cred.DPoP: // RFC 9449 §7.2
		return deny.ProofRequired.Because("the token is bound to a DPoP key, and came without its proof")
	case bound.thumbprint != "" && !h.source.dpop: // it was taken by an okta_auth before this one
		return deny.ProofRequired.Because("the token is bound to a DPoP key, and dpop is off")
	case bound.certificate == "" && h.MTLSBound == ProofRequire:
		return deny.ProofRequired.Because("the token is not bound to a certificate, as this route requires")
	}
	if bound.certificate != "" {
		if refusal := h.checkCertificate(r, bound.certificate); refusal != nil {
			return refusal
		}
	}
	if bound.thumbprint != "" {
		return h.checkProof(r, cred, bound.thumbprint, at)
	}
	return nil
}

// checkCertificate compares the certificate that the client proved to hold on this very connection with the token's
// (RFC 8705 §3). Its chain says nothing here: the binding is to the certificate itself.
func (h *Handler) checkCertificate(r *http.Request, thumbprint string) *deny.Refusal {
	if h.MTLSBound == ProofOff {
		return deny.ProofRequired.Because("the token is bound to a certificate, and mtls_bound is off")
	}
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return deny.ProofRequired.Because("the token is bound to a certificate, and the connection has none: see client_auth of Caddy's tls directive")
	}
	sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
	if base64.RawURLEncoding.EncodeToString(sum[:]) != thumbprint {
		return deny.ProofRequired.Because("the token is bound to another certificate than that of the connection")
	}
	return nil
}
