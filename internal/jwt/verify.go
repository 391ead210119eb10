package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// Algorithms are the signature algorithms that can be configured (RFC 7518 §3.1, RFC 8037 §3.1). There is no HMAC
// among them, and no "none": a resource server holds public keys only.
var Algorithms = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

// signatureSize is the length of ECDSA signatures, R and S side by side (RFC 7518 §3.4). Other encodings of the same
// two numbers, such as ASN.1, are refused.
var signatureSize = map[string]int{"ES256": 64, "ES384": 96, "ES512": 132}

// Verify checks the signature under the token's own algorithm. The caller has made sure that the algorithm is one
// that the configuration allows and the key is meant for: the token never chooses (RFC 8725 §3.1).
func (t *Token) Verify(key crypto.PublicKey) error {
	if !sound(key) {
		return fmt.Errorf("a %T like this is no public key for signatures", key)
	}
	if size, ok := signatureSize[t.Algorithm]; ok && len(t.signature) != size {
		return fmt.Errorf("the signature has %d bytes, %s has %d", len(t.signature), t.Algorithm, size)
	}
	verifier, err := jws.NewVerifier(jwa.SignatureAlgorithm(t.Algorithm))
	if err != nil || !slices.Contains(Algorithms, t.Algorithm) { // the library knows more, HMAC among them
		return errors.New("the algorithm is not one for signatures with public keys")
	}
	return verifier.Verify([]byte(t.signed), t.signature, key)
}

// sound tells whether key is a public key and whole. The library would take secrets and private keys too, and some
// broken keys end the process there.
func sound(key crypto.PublicKey) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return true
	case *ecdsa.PublicKey:
		return k != nil && k.Curve != nil
	case ed25519.PublicKey:
		return len(k) == ed25519.PublicKeySize
	}
	return false
}
