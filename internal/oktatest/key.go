package oktatest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for the algorithms that end in 384 and 512
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// Key is a key that signs: the tokens of a server, the proofs and assertions of a client. It never changes and may be
// shared.
type Key struct {
	// ID is the kid: the key's [Key.Thumbprint], which has the length of Okta's kids, unless [Key.WithID] changed it.
	ID string

	// Alg is the algorithm that the key is published with, and signs with unless told otherwise.
	Alg string

	private crypto.PrivateKey // *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey, or []byte for HMAC
}

// algorithm is one value of "alg" (RFC 7518 §3.1, RFC 8037 §3.1).
type algorithm struct {
	kind  string // of the key: RSA, HMAC, Ed25519, or a curve
	hash  crypto.Hash
	curve elliptic.Curve
	pss   bool
}

var algorithms = map[string]algorithm{
	"RS256": {kind: "RSA", hash: crypto.SHA256},
	"RS384": {kind: "RSA", hash: crypto.SHA384},
	"RS512": {kind: "RSA", hash: crypto.SHA512},
	"PS256": {kind: "RSA", hash: crypto.SHA256, pss: true},
	"PS384": {kind: "RSA", hash: crypto.SHA384, pss: true},
	"PS512": {kind: "RSA", hash: crypto.SHA512, pss: true},
	"ES256": {kind: "P-256", hash: crypto.SHA256, curve: elliptic.P256()},
	"ES384": {kind: "P-384", hash: crypto.SHA384, curve: elliptic.P384()},
	"ES512": {kind: "P-521", hash: crypto.SHA512, curve: elliptic.P521()},
	"EdDSA": {kind: "Ed25519"},
	"HS256": {kind: "HMAC", hash: crypto.SHA256},
	"HS384": {kind: "HMAC", hash: crypto.SHA384},
	"HS512": {kind: "HMAC", hash: crypto.SHA512},
}

func algorithmOf(alg string) algorithm {
	a, ok := algorithms[alg]
	if !ok {
		panic(fmt.Sprintf("oktatest: unknown algorithm %q", alg))
	}
	return a
}

// NewKey makes a key for an algorithm: RS256 to RS512, PS256 to PS512, ES256 to ES512, EdDSA. RSA keys have 2048 bits.
func NewKey(alg string) *Key {
	var private crypto.PrivateKey
	var err error
	switch a := algorithmOf(alg); {
	case a.kind == "RSA":
		private = rsaKeys.take()
	case a.curve != nil:
		private, err = ecdsa.GenerateKey(a.curve, rand.Reader)
	case a.kind == "Ed25519":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("%s keys are made with NewSecret", alg)
	}
	return newKey(alg, private, err)
}

// NewRSAKey makes an RSA key of another size. The standard library makes none below 1024 bits.
func NewRSAKey(alg string, bits int) *Key {
	private, err := rsa.GenerateKey(rand.Reader, bits)
	return newKey(alg, private, err)
}

// NewSecret makes a key for HS256 to HS512 of any bytes, such as the published key of an issuer.
func NewSecret(alg string, secret []byte) *Key {
	if algorithmOf(alg).kind != "HMAC" {
		panic(fmt.Sprintf("oktatest: %s has no secret", alg))
	}
	return newKey(alg, slices.Clone(secret), nil)
}

func newKey(alg string, private crypto.PrivateKey, err error) *Key {
	if err != nil {
		panic("oktatest: " + err.Error())
	}
	k := &Key{Alg: alg, private: private}
	k.ID = k.Thumbprint()
	return k
}

// Thumbprint returns the RFC 7638 thumbprint of the public key with SHA-256: what cnf.jkt holds.
func (k *Key) Thumbprint() string {
	// RFC 7638 §3: the required members only, in lexical order, which is how maps are encoded.
	sum := sha256.Sum256(mustJSON(k.required()))
	return encode(sum[:])
}

// WithID returns the same key under another kid.
func (k *Key) WithID(kid string) *Key { return &Key{ID: kid, Alg: k.Alg, private: k.private} }

// WithAlg returns the same key published for another algorithm.
func (k *Key) WithAlg(alg string) *Key {
	if want := algorithmOf(alg).kind; want != algorithmOf(k.Alg).kind {
		panic(fmt.Sprintf("oktatest: a key for %s cannot be one for %s", k.Alg, alg))
	}
	return &Key{ID: k.ID, Alg: alg, private: k.private}
}

// Public returns the public key as crypto/rsa, crypto/ecdsa or crypto/ed25519 want it. Nil for a secret.
func (k *Key) Public() crypto.PublicKey {
	if signer, ok := k.private.(crypto.Signer); ok {
		return signer.Public()
	}
	return nil
}

// PublicDER returns the public key as SubjectPublicKeyInfo.
func (k *Key) PublicDER() []byte {
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		panic("oktatest: " + err.Error())
	}
	return der
}

// PublicPEM returns the public key as a PEM block.
func (k *Key) PublicPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.PublicDER()})
}

// PrivatePEM returns the private key as a PKCS #8 PEM block, for programs that read it from a file.
func (k *Key) PrivatePEM() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		panic("oktatest: " + err.Error())
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// JWK returns the published form of the key. For RSA its members are exactly Okta's: kty, alg, kid, use, n, e.
// The JWK of a secret holds the secret.
func (k *Key) JWK() map[string]any {
	jwk := k.required()
	jwk["alg"], jwk["kid"], jwk["use"] = k.Alg, k.ID, "sig"
	return jwk
}

// PrivateJWK returns the key with its private members, which have no place in the header of a proof.
func (k *Key) PrivateJWK() map[string]any {
	var jwk map[string]any
	if err := json.Unmarshal(mustJSON(jose.JSONWebKey{Key: k.private}), &jwk); err != nil {
		panic("oktatest: " + err.Error())
	}
	return jwk
}

// required returns the members that make the key (RFC 7638 §3.2).
func (k *Key) required() map[string]any {
	if secret, ok := k.private.([]byte); ok {
		return map[string]any{"kty": "oct", "k": encode(secret)}
	}
	switch public := k.Public().(type) {
	case *rsa.PublicKey:
		e := big.NewInt(int64(public.E))
		return map[string]any{"kty": "RSA", "n": encode(public.N.Bytes()), "e": encode(e.Bytes())}
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 4, x, y
		if err != nil {
			panic("oktatest: " + err.Error())
		}
		size := len(point) / 2
		return map[string]any{
			"kty": "EC", "crv": algorithmOf(k.Alg).kind,
			"x": encode(point[1 : 1+size]), "y": encode(point[1+size:]),
		}
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": encode(public)}
	}
	panic("oktatest: the key is empty: make it with NewKey")
}

// fits tells whether the key can sign with an algorithm.
func (k *Key) fits(alg string) bool { return algorithmOf(alg).kind == algorithmOf(k.Alg).kind }

// sign returns the signature of text as a JWS carries it. With der, an ECDSA signature is left in its ASN.1 form,
// which RFC 7518 §3.4 does not allow.
func (k *Key) sign(alg string, text []byte, der bool) ([]byte, error) {
	if !k.fits(alg) {
		return nil, fmt.Errorf("a key for %s cannot sign with %s", k.Alg, alg)
	}
	a := algorithmOf(alg)
	digest := text
	if a.hash != 0 && a.kind != "HMAC" {
		h := a.hash.New()
		h.Write(text)
		digest = h.Sum(nil)
	}
	switch private := k.private.(type) {
	case *rsa.PrivateKey:
		if a.pss {
			options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			return rsa.SignPSS(rand.Reader, private, a.hash, digest, options)
		}
		return rsa.SignPKCS1v15(nil, private, a.hash, digest)
	case *ecdsa.PrivateKey:
		signature, err := ecdsa.SignASN1(rand.Reader, private, digest)
		if err != nil || der {
			return signature, err
		}
		return fixedSize(signature, (a.curve.Params().BitSize+7)/8)
	case ed25519.PrivateKey:
		return ed25519.Sign(private, text), nil
	case []byte:
		mac := hmac.New(a.hash.New, private)
		mac.Write(text)
		return mac.Sum(nil), nil
	}
	return nil, errors.New("the key is empty: make it with NewKey")
}

// fixedSize turns an ASN.1 signature into R and S of size bytes each (RFC 7518 §3.4).
func fixedSize(signature []byte, size int) ([]byte, error) {
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(signature, &rs); err != nil {
		return nil, err
	}
	out := make([]byte, 2*size)
	rs.R.FillBytes(out[:size])
	rs.S.FillBytes(out[size:])
	return out, nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
