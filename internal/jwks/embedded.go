package jwks

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// ParseEmbedded reads the JWK that a DPoP proof brings (RFC 9449 §4.2), and returns its thumbprint (RFC 7638, SHA-256)
// beside it. It wants what is wanted of an issuer's key, except a kid; and the members that make the key must have
// their one canonical spelling, so that whoever computed the token's cnf.jkt came to the same thumbprint, whether
// from the text or from the numbers.
func ParseEmbedded(members map[string]any) (key *Key, thumbprint string, err error) {
	for _, name := range privateMembers {
		if _, ok := members[name]; ok {
			return nil, "", fmt.Errorf("the key has the private member %q, send the public key only", name)
		}
	}
	if use, ok := members["use"]; ok && use != "sig" {
		return nil, "", errors.New("the key's use is not sig")
	}
	if raw, ok := members["key_ops"]; ok {
		if ops, _ := raw.([]string); !slices.Contains(ops, "verify") {
			return nil, "", errors.New(`the member "key_ops" does not list "verify"`)
		}
	}
	key = &Key{}
	canonical, err := key.readEmbedded(members)
	if err != nil {
		return nil, "", err
	}
	if key.algorithms, err = checkPublic(key.Public); err != nil {
		return nil, "", err
	}
	if alg, ok := members["alg"]; ok {
		if key.Algorithm, _ = alg.(string); !key.Supports(key.Algorithm) {
			return nil, "", errors.New("the key's alg is not one for its kind")
		}
		key.algorithms = []string{key.Algorithm}
	}
	digest := sha256.Sum256([]byte(canonical))
	return key, base64.RawURLEncoding.EncodeToString(digest[:]), nil
}

var curves = map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}

// readEmbedded reads the numbers of the key and returns the JSON that its thumbprint is made of (RFC 7638 §3.2,
// RFC 8037 §2): the required members in the order of their names. Nothing in them needs an escape.
func (k *Key) readEmbedded(members map[string]any) (canonical string, err error) {
	k.Type, _ = members["kty"].(string)
	r := memberReader{members: members}
	switch k.Type {
	case "EC":
		name, _ := members["crv"].(string)
		curve, ok := curves[name]
		if !ok {
			return "", errors.New("the key's curve is not P-256, P-384 or P-521")
		}
		size := (curve.Params().BitSize + 7) / 8 // RFC 7518 §6.2.1.2: leading zeros included
		x, xText := r.bytes("x", size)
		y, yText := r.bytes("y", size)
		if r.err != nil {
			return "", r.err
		}
		k.Public, err = ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y)) // SEC 1 §2.3.3
		return `{"crv":"` + name + `","kty":"EC","x":"` + xText + `","y":"` + yText + `"}`, err
	case "RSA":
		n, nText := r.bytes("n", 0)
		e, eText := r.bytes("e", 0)
		switch {
		case r.err != nil:
			return "", r.err
		case n[0] == 0 || e[0] == 0: // RFC 7518 §2: Base64urlUInt has no leading zeros
			return "", errors.New("a number of the key starts with a zero byte")
		case len(e) > 4:
			return "", errors.New("the key's exponent is too large")
		}
		k.Public = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
		return `{"e":"` + eText + `","kty":"RSA","n":"` + nText + `"}`, nil
	case "OKP":
		if members["crv"] != "Ed25519" {
			return "", errors.New("the key's curve is not Ed25519")
		}
		x, text := r.bytes("x", ed25519.PublicKeySize)
		k.Public = ed25519.PublicKey(x)
		return `{"crv":"Ed25519","kty":"OKP","x":"` + text + `"}`, r.err
	}
	return "", errors.New("the key type is not RSA, EC or OKP")
}

// memberReader takes numbers out of a JWK and keeps the first error.
type memberReader struct {
	members map[string]any
	err     error
}

// bytes returns a base64url member, decoded and as it is. It has size bytes, or any number but none when size is 0.
func (r *memberReader) bytes(name string, size int) (data []byte, text string) {
	text, _ = r.members[name].(string)
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	wrong := err != nil || strings.ContainsAny(text, "\r\n") // the decoder skips them
	if wrong || len(data) == 0 || size > 0 && len(data) != size {
		if r.err == nil {
			r.err = fmt.Errorf("the key's member %q is not a number of the right size in base64url", name)
		}
	}
	return data, text
}
