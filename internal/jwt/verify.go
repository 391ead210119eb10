package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256" // for pss
	_ "crypto/sha512"
	"errors"
	"fmt"

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

// verifiers are those of [Algorithms]. The library knows more, HMAC among them.
var verifiers = func() map[string]jws.Verifier {
	all := make(map[string]jws.Verifier)
	for _, name := range Algorithms {
		if verifier, err := jws.NewVerifier(jwa.SignatureAlgorithm(name)); err == nil {
			all[name] = verifier
		}
	}
	all["PS256"], all["PS384"], all["PS512"] = pss(crypto.SHA256), pss(crypto.SHA384), pss(crypto.SHA512)
	return all
}()

// pss verifies RSASSA-PSS. The library would take a salt of any length, RFC 7518 §3.5 wants that of the hash.
type pss crypto.Hash

func (h pss) Verify(signed, signature []byte, key any) error {
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("a %T is no key for RSASSA-PSS", key)
	}
	digest := crypto.Hash(h).New()
	digest.Write(signed)
	return rsa.VerifyPSS(public, crypto.Hash(h), digest.Sum(nil), signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
}

// Verify checks the signature under the token's own algorithm. The caller has made sure that the algorithm is one
// that the configuration allows and the key is meant for: the token never chooses (RFC 8725 §3.1).
func (t *Token) Verify(key crypto.PublicKey) error {
	if !sound(key) {
		return fmt.Errorf("a %T like this is no public key for signatures", key)
	}
	if size, ok := signatureSize[t.Algorithm]; ok && len(t.signature) != size {
		return fmt.Errorf("the signature has %d bytes, %s has %d", len(t.signature), t.Algorithm, size)
	}
	verifier, ok := verifiers[t.Algorithm]
	if !ok {
		return errors.New("the algorithm is not one for signatures with public keys")
	}
	buffer := buffers.Get().(*[MaxSize]byte)
	defer buffers.Put(buffer)
	return verifier.Verify(append(buffer[:0], t.signed...), t.signature, key)
}

// sound tells whether key is a public key and whole. The library would take secrets and private keys too, and some
// broken keys end the process there.
func sound(key crypto.PublicKey) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return k != nil
	case *ecdsa.PublicKey:
		return k != nil && k.Curve != nil
	case ed25519.PublicKey:
		return len(k) == ed25519.PublicKeySize
	}
	return false
}
