package oktatest

import (
	"crypto"
	"encoding/json"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// The errors of RFC 9449 §5 and §8.
const (
	invalidDPoPProof = "invalid_dpop_proof"
	useDPoPNonce     = "use_dpop_nonce"
)

// proofWindow is how far iat may be from now. Okta does not say what it allows.
const proofWindow = 5 * time.Minute

// checkProof returns the thumbprint of the key that the proof of a token request proves. As at Okta the nonce comes
// first: a proof that can be read and has no good one is told to fetch one, whatever else is wrong with it.
func (s *Server) checkProof(r *http.Request) (thumbprint string, err error) {
	refuse := func(description string) (string, error) { return "", badRequest(invalidDPoPProof, description) }
	proofs := r.Header.Values("DPoP")
	if len(proofs) != 1 {
		return refuse("Exactly one DPoP proof JWT header is required.")
	}
	proof, err := jose.ParseSignedCompact(proofs[0], clientAlgorithms)
	if err != nil {
		return refuse("The DPoP proof is not a signed JWT with a public key.")
	}
	var claims struct {
		jwt.Claims
		Method string `json:"htm"`
		URL    string `json:"htu"`
		Nonce  string `json:"nonce"`
	}
	if err := json.Unmarshal(proof.UnsafePayloadWithoutVerification(), &claims); err != nil {
		return refuse("The DPoP proof has no readable claims.")
	}
	now := s.cfg.Now()
	if !s.nonces.good(claims.Nonce, now) {
		return "", badRequest(useDPoPNonce, "Authorization server requires nonce in DPoP proof.")
	}
	header := proof.Signatures[0].Header
	if header.ExtraHeaders[jose.HeaderType] != typDPoP {
		return refuse("The DPoP proof lacks its typ.")
	}
	if _, err := proof.Verify(header.JSONWebKey); err != nil { // also when there is no key
		return refuse("The DPoP proof signature is invalid.")
	}
	if claims.Method != r.Method || claims.URL != s.EndpointURL(Token) {
		return refuse("The DPoP proof is for another request.")
	}
	if claims.IssuedAt == nil || claims.IssuedAt.Time().Sub(now).Abs() > proofWindow {
		return refuse("The DPoP proof is not of this time.")
	}
	sum, err := header.JSONWebKey.Thumbprint(crypto.SHA256)
	if err != nil {
		return refuse("The DPoP proof key has no thumbprint.")
	}
	thumbprint = encode(sum)
	if claims.ID == "" || !s.spent.first("proof", thumbprint, claims.ID, now) {
		return refuse("The DPoP proof lacks its jti or was used before.")
	}
	return thumbprint, nil
}
