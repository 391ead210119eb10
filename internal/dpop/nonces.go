package dpop

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// step is how long a nonce is given out. It is good for as long again, so nobody is refused for being slow.
const step = 5 * time.Minute

// Nonces are the values that the server demands in proofs (RFC 9449 §9). A nonce is a keyed hash of the time and
// nothing is kept of it. The key is random: those of another server, or of the authorization server (§8), are not good
// here. It is safe for concurrent use.
type Nonces struct {
	key [32]byte
}

// NewNonces returns nonces that nobody else can make.
func NewNonces() *Nonces {
	n := new(Nonces)
	_, _ = rand.Read(n.key[:]) // never fails: crypto/rand ends the process instead
	return n
}

// Current returns the nonce to give out. It is good for five minutes at least and for ten at most.
func (n *Nonces) Current(now time.Time) string { return n.at(now) }

// Valid tells whether a proof's nonce is the current one or the one before it. An absent nonce is not.
func (n *Nonces) Valid(nonce string, now time.Time) bool {
	return hmac.Equal([]byte(nonce), []byte(n.at(now))) || hmac.Equal([]byte(nonce), []byte(n.at(now.Add(-step))))
}

func (n *Nonces) at(t time.Time) string {
	mac := hmac.New(sha256.New, n.key[:])
	_ = binary.Write(mac, binary.BigEndian, t.Unix()/int64(step/time.Second)) // a hash takes everything
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])            // all of it NQCHAR (RFC 9449 §8.1)
}
