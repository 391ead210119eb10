package oktatest

import (
	"slices"
	"sync"
	"time"
)

// As at Okta: a nonce is handed out for a day, and is good for three.
const (
	nonceCurrent = 24 * time.Hour
	nonceGood    = 3 * nonceCurrent
)

// nonces are those that the token endpoint demands of DPoP proofs, the current one last.
type nonces struct {
	mu   sync.Mutex
	list []nonce
}

type nonce struct {
	value string
	since time.Time
}

// DPoPNonce returns the nonce that the token endpoint hands out now, a new one every 24 hours.
func (s *Server) DPoPNonce() string {
	now := s.cfg.Now()
	s.nonces.mu.Lock()
	defer s.nonces.mu.Unlock()
	if n := len(s.nonces.list); n > 0 && now.Sub(s.nonces.list[n-1].since) < nonceCurrent {
		return s.nonces.list[n-1].value
	}
	return s.nonces.add(unique(), now)
}

// SetDPoPNonce replaces the nonce that the token endpoint hands out. Like every nonce it is good for three days from now,
// and those before it stay good for the rest of theirs.
func (s *Server) SetDPoPNonce(nonce string) {
	s.nonces.mu.Lock()
	defer s.nonces.mu.Unlock()
	s.nonces.add(nonce, s.cfg.Now())
}

func (n *nonces) add(value string, now time.Time) string {
	n.list = slices.DeleteFunc(n.list, func(old nonce) bool { return now.Sub(old.since) >= nonceGood })
	n.list = append(n.list, nonce{value, now})
	return value
}

func (n *nonces) good(value string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.list, func(known nonce) bool {
		return value == known.value && now.Sub(known.since) < nonceGood
	})
}
