package jwks

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"slices"
	"sync/atomic"
)

// Key is one public key of an issuer. It is immutable.
type Key struct {
	Number    uint64           // tells it from all other keys that this process read; a fetch that finds the key again keeps it
	ID        string           // kid
	Type      string           // kty: RSA, EC or OKP
	Algorithm string           // the alg that the issuer bound the key to; "" when it named none
	Public    crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey

	algorithms []string // what the key may verify
}

// numbers is the last number that a key got.
var numbers atomic.Uint64

// Supports tells whether the key may verify signatures of a JWS algorithm: the alg of the JWK if it has one
// (RFC 7517 §4.4), else those that its type and curve allow (RFC 7518 §3.1, RFC 8037 §3.1).
func (k *Key) Supports(alg string) bool { return slices.Contains(k.algorithms, alg) }

// Algorithms returns what [Key.Supports] accepts.
func (k *Key) Algorithms() []string { return slices.Clone(k.algorithms) }

// same tells whether two keys are the same key, whatever their numbers: no token can tell them apart.
func (k *Key) same(o *Key) bool {
	public, ok := k.Public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.ID == o.ID && k.Algorithm == o.Algorithm && public.Equal(o.Public)
}

// keySet is a good key set. It is immutable once requests can see it.
type keySet struct {
	keys    []*Key // in the order of the document
	byID    map[string][]*Key
	ignored []string // why other members of the document are not used

	// document is the list of the keys as JSON, in an order that does not depend on the issuer's but among keys of
	// one kid. It is made of the numbers that are used, so it holds no secret and nothing that was not read.
	document string
}

// find returns the keys of a kid, compared exactly. A nil set has none.
func (s *keySet) find(kid string) []*Key {
	if s == nil {
		return nil
	}
	return s.byID[kid]
}

// has tells whether the set has the key of a number. A nil set has none.
func (s *keySet) has(number uint64) bool {
	return s != nil && slices.ContainsFunc(s.keys, func(k *Key) bool { return k.Number == number })
}

// inherit replaces the keys that an older set has too by the *Key of the older set, and makes the index.
func (s *keySet) inherit(old *keySet) {
	for i, k := range s.keys {
		for _, o := range old.find(k.ID) {
			if o.same(k) {
				s.keys[i] = o
			}
		}
	}
	s.byID = make(map[string][]*Key, len(s.keys))
	for _, k := range s.keys {
		s.byID[k.ID] = append(s.byID[k.ID], k)
	}
}

// describe makes the document.
func (s *keySet) describe() error {
	keys := slices.Clone(s.keys)
	slices.SortStableFunc(keys, func(a, b *Key) int { return cmp.Compare(a.ID, b.ID) })
	list := make([]map[string]string, len(keys))
	for i, k := range keys {
		var err error
		if list[i], err = k.jwk(); err != nil {
			return err
		}
	}
	text, err := json.Marshal(list)
	s.document = string(text)
	return err
}

// jwk returns the members of the key (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).
func (k *Key) jwk() (map[string]string, error) {
	encode := base64.RawURLEncoding.EncodeToString
	jwk := map[string]string{"kid": k.ID, "kty": k.Type}
	if k.Algorithm != "" {
		jwk["alg"] = k.Algorithm
	}
	switch p := k.Public.(type) {
	case *rsa.PublicKey:
		jwk["n"], jwk["e"] = encode(p.N.Bytes()), encode(big.NewInt(int64(p.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := p.Bytes() // 4, x, y (SEC 1 §2.3.3)
		if err != nil {
			return nil, err
		}
		size := len(point) / 2
		jwk["crv"] = p.Params().Name
		jwk["x"], jwk["y"] = encode(point[1:1+size]), encode(point[1+size:])
	case ed25519.PublicKey:
		jwk["crv"], jwk["x"] = "Ed25519", encode(p)
	}
	return jwk, nil
}
