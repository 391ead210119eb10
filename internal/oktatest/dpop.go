package oktatest

import (
	"crypto/sha256"
	"strings"
	"time"
)

const typDPoP = "dpop+jwt"

// Proof returns a DPoP proof (RFC 9449 §4.2) by the client that has the key, for one request: typ dpop+jwt, alg and
// public jwk of the key, a fresh jti, htm, htu without query and fragment, and iat now. [ForToken] adds the ath that
// resource servers want, [Nonce] the nonce.
//
// The options for tokens break any part of it: [With] and [Without] claims, [IssuedAgo] iat, [Header] and [RawHeader]
// the header, [RawPayload] everything else, [Forged], [SignedBy] and [Alg] the signature while jwk stays what it is.
func Proof(key *Key, method, url string, options ...Option) string {
	if end := strings.IndexAny(url, "?#"); end >= 0 {
		url = url[:end]
	}
	d := &draft{
		typ:    typDPoP,
		header: map[string]any{"jwk": key.required(), "kid": nil},
		claims: map[string]any{"jti": unique(), "htm": method, "htu": url, "iat": time.Now().Unix()},
	}
	for _, option := range options {
		option(d)
	}
	return d.sign(key, nil)
}

// ForToken sets ath, which ties a proof to an access token.
func ForToken(accessToken string) Option {
	sum := sha256.Sum256([]byte(accessToken))
	return With("ath", encode(sum[:]))
}

// Nonce sets the nonce that a server demanded of a proof.
func Nonce(nonce string) Option { return With("nonce", nonce) }
