package jwt

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// MaxProofSize is the longest proof that is read, in bytes. One with an RSA key of 8192 bits has less than 4000.
const MaxProofSize = 8 << 10

// Proof is one compact JWS that brings the key it is signed with: a DPoP proof (RFC 9449 §4.2). It is split and typed;
// nothing in it is true before [Token.Verify], and with that key it proves no more than that its sender has the key.
type Proof struct {
	Token
	Key map[string]any // jwk

	ID        string // jti
	Method    string // htm
	URL       string // htu
	TokenHash string // ath; empty when absent
	Nonce     string // nonce; empty when absent

	IssuedAt  time.Time // iat
	ExpiresAt time.Time // exp; zero when absent
	NotBefore time.Time // nbf; zero when absent
}

// ParseProof reads a proof, as strictly as [Parse] reads a token, save that it must bring a key. Members and claims
// that mean nothing in a proof are ignored, whatever they hold (RFC 9449 §4.2, RFC 7519 §4).
func ParseProof(proof string) (*Proof, error) {
	if len(proof) > MaxProofSize {
		return nil, fmt.Errorf("the proof is longer than %d bytes", MaxProofSize)
	}
	if strings.Count(proof, ".") != 2 {
		return nil, errors.New("the proof has not exactly three parts")
	}
	header, rest, _ := strings.Cut(proof, ".")
	payload, signature, _ := strings.Cut(rest, ".")

	p := &Proof{Token: Token{signed: proof[:len(header)+1+len(payload)]}}
	if err := p.readHeader(header); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if err := p.readClaims(payload); err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	var err error
	if p.signature, err = decodeBase64(signature); err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	return p, nil
}

func (p *Proof) readHeader(part string) error {
	header, err := decodePart(part)
	if err != nil {
		return err
	}
	var r reader
	for _, m := range header {
		switch m.Name {
		case "alg":
			r.text(m, &p.Algorithm)
		case "kid":
			r.text(m, &p.KeyID)
		case "typ":
			r.text(m, &p.Type)
		case "jwk":
			r.object(m, &p.Key)
		case "crit", "b64", "jku", "x5u", "x5c":
			// RFC 7515 §4.1.11: no extension is understood. The other three would be a second opinion on what signs (§4.1.2,
			// .5, .6) or on what is signed (RFC 7797).
			return fmt.Errorf("%s is not accepted", m.Name)
		}
	}
	if r.err != nil {
		return r.err
	}
	if p.Key == nil {
		return errors.New("jwk is missing")
	}
	return nil
}

func (p *Proof) readClaims(part string) error {
	var err error
	if p.Claims, err = decodePart(part); err != nil {
		return err
	}
	var r reader
	for _, m := range p.Claims {
		switch m.Name {
		case "jti":
			r.text(m, &p.ID)
		case "htm":
			r.text(m, &p.Method)
		case "htu":
			r.text(m, &p.URL)
		case "ath":
			r.text(m, &p.TokenHash)
		case "nonce":
			r.text(m, &p.Nonce)
		case "iat":
			r.date(m, &p.IssuedAt)
		case "exp":
			r.date(m, &p.ExpiresAt)
		case "nbf":
			r.date(m, &p.NotBefore)
		}
	}
	if r.err != nil {
		return r.err
	}
	for _, claim := range []struct {
		name    string
		missing bool
	}{
		{"jti", p.ID == ""}, {"htm", p.Method == ""}, {"htu", p.URL == ""}, {"iat", p.IssuedAt.IsZero()},
	} {
		if claim.missing {
			return fmt.Errorf("%s is missing", claim.name)
		}
	}
	return nil
}
