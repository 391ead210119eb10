package oktatest

import (
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"sync"
)

// freshKeys is how many RSA keys a process generates before it recombines their primes. Programs with one server, such
// as the quickstart, never get to that point.
const freshKeys = 6

// rsaKeys makes the RSA keys of this process. Generating one takes about fifty milliseconds, and a test run wants
// hundreds that all differ: so later keys are products of primes that earlier keys brought. Keys that share a prime
// are worthless against anybody who computes a greatest common divisor, which nobody does with tokens of a test.
var rsaKeys rsaPool

type rsaPool struct {
	mu     sync.Mutex
	made   int
	primes []*big.Int
	pairs  [][2]*big.Int // products that no key has yet
}

// take returns a key of 2048 bits that no one else has.
func (p *rsaPool) take() *rsa.PrivateKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.made >= freshKeys && len(p.pairs) > 0 {
		pair := p.pairs[0]
		p.pairs = p.pairs[1:]
		if key := product(pair[0], pair[1]); key != nil {
			return key
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic("oktatest: " + err.Error()) // crypto/rand does not fail
	}
	p.made++
	for _, fresh := range key.Primes {
		for _, other := range p.primes {
			p.pairs = append(p.pairs, [2]*big.Int{fresh, other})
		}
	}
	p.primes = append(p.primes, key.Primes...)
	return key
}

// product makes the key of two primes, or nil when they do not fit together.
func product(p, q *big.Int) *rsa.PrivateKey {
	const e = 65537
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	d := new(big.Int).ModInverse(big.NewInt(e), phi)
	if d == nil {
		return nil
	}
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: e},
		D:         d,
		Primes:    []*big.Int{p, q},
	}
	key.Precompute()
	if key.N.BitLen() != 2048 || key.Validate() != nil {
		return nil
	}
	return key
}

// strays are keys that no server ever publishes, one for each kind: they sign forgeries.
var strays strayKeys

type strayKeys struct {
	mu   sync.Mutex
	keys map[string]*Key // by kind
}

func (s *strayKeys) take(alg string) *Key {
	kind := algorithmOf(alg).kind
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[kind]
	if k == nil {
		if kind == "HMAC" {
			k = NewSecret(alg, []byte("a secret that the server does not know"))
		} else {
			k = NewKey(alg)
		}
		if s.keys == nil {
			s.keys = map[string]*Key{}
		}
		s.keys[kind] = k
	}
	return k
}
