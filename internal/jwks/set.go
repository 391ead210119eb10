package jwks

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/caddy-okta/caddy-okta/internal/discovery"
)

const (
	// maxKeys is the size from which a set is refused. Okta publishes two or three keys.
	maxKeys = 64

	// maxSameID bounds the signatures that one token can make us compute.
	maxSameID = 4

	// RFC 7518 §3.3 wants 2048 bits or more; beyond 8192 a verification costs more than a request should.
	minRSABits, maxRSABits = 2048, 8192
)

// parseSet reads a JWK Set (RFC 7517 §5). A key that cannot be used does no harm to those beside it (§5: ignored), but
// a set without any usable key is an error.
func parseSet(document []byte) (*keySet, error) {
	members, err := object(document)
	if err != nil {
		return nil, err
	}
	raw, ok := members["keys"]
	if !ok {
		return nil, errors.New(`the key set has no member "keys"`)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf(`the member "keys" is not a list: %w`, err)
	}
	switch {
	case len(list) == 0:
		return nil, errors.New("the key set is empty")
	case len(list) > maxKeys:
		return nil, fmt.Errorf("the key set has %d keys, at most %d are taken", len(list), maxKeys)
	}
	set := &keySet{}
	for i, raw := range list {
		if err := set.add(raw); err != nil {
			set.ignored = append(set.ignored, fmt.Sprintf("key %d is not used: %v", i+1, err))
		}
	}
	if len(set.keys) == 0 {
		return nil, fmt.Errorf("the key set has no usable key: %s", set.ignored[0])
	}
	if err := set.describe(); err != nil {
		return nil, err
	}
	return set, nil
}

// add takes one more key into a set that nobody sees yet.
func (s *keySet) add(raw json.RawMessage) error {
	k, err := parseKey(raw)
	if err != nil {
		return err
	}
	named := 0
	for _, other := range s.keys {
		if other.same(k) {
			return fmt.Errorf("the kid %s is listed twice", discovery.Brief(k.ID))
		}
		if other.ID == k.ID {
			named++
		}
	}
	if named == maxSameID {
		return fmt.Errorf("the kid %s names more than %d keys", discovery.Brief(k.ID), maxSameID)
	}
	s.keys = append(s.keys, k)
	return nil
}

// publicMembers are all that is handed to the JWK parser, by type. What a key is for is judged here.
var publicMembers = map[string][]string{
	"RSA": {"kty", "n", "e"},
	"EC":  {"kty", "crv", "x", "y"},
	"OKP": {"kty", "crv", "x"},
}

// privateMembers are the secrets of RFC 7518 §6 and RFC 8037 §2.
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// parseKey reads one JWK (RFC 7517 §4) and returns an error unless it is a public key for signatures.
func parseKey(raw json.RawMessage) (*Key, error) {
	members, err := object(raw)
	if err != nil {
		return nil, err
	}
	k := &Key{Number: numbers.Add(1)}
	if k.ID, err = text(members, "kid"); err != nil {
		return nil, err
	}
	if k.ID == "" {
		return nil, errors.New("it has no kid, so no token can ask for it")
	}
	if k.Type, err = text(members, "kty"); err != nil {
		return nil, err
	}
	wanted, ok := publicMembers[k.Type]
	if !ok {
		return nil, fmt.Errorf("%s: the key type %s is not RSA, EC or OKP", discovery.Brief(k.ID), discovery.Brief(k.Type))
	}
	if err := checkPurpose(members); err != nil {
		return nil, fmt.Errorf("%s: %w", discovery.Brief(k.ID), err)
	}
	if k.Public, err = parsePublic(members, wanted); err != nil {
		return nil, fmt.Errorf("%s: %w", discovery.Brief(k.ID), err)
	}
	if k.algorithms, err = checkPublic(k.Public); err != nil {
		return nil, fmt.Errorf("%s: %w", discovery.Brief(k.ID), err)
	}
	if k.Algorithm, err = text(members, "alg"); err != nil {
		return nil, err
	}
	if k.Algorithm != "" {
		if !k.Supports(k.Algorithm) {
			return nil, fmt.Errorf("%s: a key of its kind does not sign with %s", discovery.Brief(k.ID), discovery.Brief(k.Algorithm))
		}
		k.algorithms = []string{k.Algorithm}
	}
	return k, nil
}

// checkPurpose returns an error for a key that is not meant to verify signatures (RFC 7517 §4.2, §4.3).
func checkPurpose(members map[string]json.RawMessage) error {
	for _, name := range privateMembers {
		// Whoever can read the set could sign with this key, so its signatures prove nothing.
		if _, ok := members[name]; ok {
			return fmt.Errorf("the private member %q is published, the key is compromised", name)
		}
	}
	use, err := text(members, "use")
	if err != nil {
		return err
	}
	if use != "" && use != "sig" {
		return fmt.Errorf("its use is %s", discovery.Brief(use))
	}
	raw, ok := members["key_ops"]
	if !ok {
		return nil
	}
	var ops []string
	if err := json.Unmarshal(raw, &ops); err != nil {
		return errors.New(`its member "key_ops" is not a list of texts`)
	}
	if ops != nil && !slices.Contains(ops, "verify") {
		return errors.New(`its member "key_ops" does not list "verify"`)
	}
	return nil
}

// parsePublic hands the members that make a public key to the JWK parser. That parser matches some member names
// without regard to case and reads private keys and certificates too; it never sees those.
func parsePublic(members map[string]json.RawMessage, wanted []string) (any, error) {
	only := make(map[string]string, len(wanted))
	for _, name := range wanted {
		value, err := text(members, name)
		if err != nil {
			return nil, err
		}
		if value == "" {
			return nil, fmt.Errorf("it has no member %q", name)
		}
		only[name] = value
	}
	document, err := json.Marshal(only)
	if err != nil {
		return nil, err
	}
	parsed, err := jwk.ParseKey(document)
	if err != nil {
		return nil, err
	}
	if k, ok := parsed.(jwk.RSAPublicKey); ok && len(k.E()) > 4 {
		return nil, errors.New("its exponent is too large") // beyond int64 the parser cuts bits off
	}
	var public any
	if err := parsed.Raw(&public); err != nil {
		return nil, err
	}
	return public, nil
}

// Algorithms by the kind of key (RFC 7518 §3.1, RFC 8037 §3.1). An EC key has one: the curve fixes the hash.
var (
	rsaAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	ecAlgorithms  = map[elliptic.Curve][]string{
		elliptic.P256(): {"ES256"},
		elliptic.P384(): {"ES384"},
		elliptic.P521(): {"ES512"},
	}
	edAlgorithms = []string{"EdDSA"}
)

// checkPublic returns the algorithms that a key can verify, or an error when its numbers make no sound key.
func checkPublic(public any) ([]string, error) {
	switch p := public.(type) {
	case *rsa.PublicKey:
		bits := p.N.BitLen()
		switch {
		case bits < minRSABits || bits > maxRSABits:
			return nil, fmt.Errorf("an RSA key of %d bits is not taken, only %d to %d", bits, minRSABits, maxRSABits)
		case p.N.Bit(0) == 0:
			return nil, errors.New("its modulus is even")
		case p.E < 3 || p.E%2 == 0 || p.E > 1<<31-1: // 1 would let anybody sign; Go's RSA takes no more than 31 bits
			return nil, fmt.Errorf("its exponent %d is not an odd number from 3 to 2^31-1", p.E)
		}
		return rsaAlgorithms, nil
	case *ecdsa.PublicKey:
		algorithms, ok := ecAlgorithms[p.Curve]
		if !ok {
			return nil, errors.New("its curve is not P-256, P-384 or P-521")
		}
		if _, err := p.ECDH(); err != nil {
			return nil, fmt.Errorf("its point: %w", err) // not on the curve
		}
		return algorithms, nil
	case ed25519.PublicKey:
		if len(p) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("an Ed25519 key has %d bytes, not %d", ed25519.PublicKeySize, len(p))
		}
		return edAlgorithms, nil
	}
	return nil, errors.New("its curve is not one for signatures")
}
