package dpop

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/jwks"
	"github.com/caddy-okta/caddy-okta/internal/jwt"
)

// Algorithms are those that proofs may be signed with, in the order in which challenges list them (RFC 9449 §7.1).
var Algorithms = []string{
	"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA",
}

// proofType is the typ of every proof (RFC 9449 §4.2). It keeps proofs and tokens apart, so it is compared exactly.
const proofType = "dpop+jwt"

// Proof is one DPoP proof, well-formed. It says nothing before [Proof.Check] and [Proof.Verify].
type Proof struct {
	Thumbprint string // of its key (RFC 7638, SHA-256, base64url), as the token's cnf.jkt has it
	Nonce      string // "" when the proof has none

	jws *jwt.Proof
	key *jwks.Key
	url string // htu, normalised
}

// Parse reads the value of a DPoP header (RFC 9449 §4.3, 2 to 5 and 7): one compact JWS of the right type with all
// claims, under an algorithm that fits the public key it brings. Its signature is left to [Proof.Verify].
func Parse(text string) (*Proof, error) {
	jws, err := jwt.ParseProof(text)
	if err != nil {
		return nil, err
	}
	if jws.Type != proofType {
		return nil, errors.New("typ is not " + proofType)
	}
	if !slices.Contains(Algorithms, jws.Algorithm) {
		return nil, errors.New("alg is not one for proofs")
	}
	p := &Proof{Nonce: jws.Nonce, jws: jws}
	if p.key, p.Thumbprint, err = jwks.ParseEmbedded(jws.Key); err != nil {
		return nil, fmt.Errorf("jwk: %w", err)
	}
	if !p.key.Supports(jws.Algorithm) {
		return nil, errors.New("alg is not one for the key in jwk")
	}
	if p.url, err = normalise(jws.URL); err != nil {
		return nil, fmt.Errorf("htu: %w", err)
	}
	return p, nil
}

// Request is what a proof must have been made for.
type Request struct {
	Method string
	URL    string // absolute, as the client sees it; query and fragment do not count
	Token  string // the access token, as it was sent

	Now    time.Time
	MaxAge time.Duration // how long a proof can be used, by its own iat
	Skew   time.Duration // by how much the client's clock may be ahead
}

// Check compares the proof with the request (RFC 9449 §4.3, 8, 9, 11 and 12). The nonce and the binding of the token
// to the key are for the caller to judge.
func (p *Proof) Check(r Request) error {
	if p.jws.Method != r.Method { // RFC 9110 §9.1: methods are case-sensitive
		return errors.New("htm is not the method of the request")
	}
	url, err := normalise(r.URL)
	if err != nil {
		return fmt.Errorf("the request's own URL: %w", err)
	}
	if p.url != url {
		return errors.New("htu is not the URL of the request")
	}
	switch {
	case r.Now.After(p.deadline(r)):
		return errors.New("iat is too long ago")
	case p.jws.IssuedAt.After(r.Now.Add(r.Skew)):
		return errors.New("iat is in the future")
	// A proof needs neither of the others, but when it has them they hold (RFC 7519 §4.1.4, §4.1.5).
	case !p.jws.ExpiresAt.IsZero() && !p.jws.ExpiresAt.Add(r.Skew).After(r.Now):
		return errors.New("exp is over")
	case p.jws.NotBefore.After(r.Now.Add(r.Skew)):
		return errors.New("nbf is in the future")
	}
	if p.jws.TokenHash == "" {
		return errors.New("ath is missing")
	}
	digest := sha256.Sum256([]byte(r.Token))
	if p.jws.TokenHash != base64.RawURLEncoding.EncodeToString(digest[:]) {
		return errors.New("ath is not the hash of the token")
	}
	return nil
}

// deadline returns the last moment at which [Proof.Check] takes the proof.
func (p *Proof) deadline(r Request) time.Time { return p.jws.IssuedAt.Add(r.MaxAge) }

// Verify checks the signature with the key that the proof brings (RFC 9449 §4.3, 6).
func (p *Proof) Verify() error { return p.jws.Verify(p.key.Public) }
