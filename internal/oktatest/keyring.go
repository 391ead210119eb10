package oktatest

import (
	"slices"
	"sync"
)

// keyring holds the keys of one server. As at Okta, the next key is published long before it signs, the previous one
// stays for a while, and the order of the set means nothing.
type keyring struct {
	alg string

	mu        sync.Mutex
	active    *Key
	next      *Key
	previous  *Key   // nil before the first rotation
	published []*Key // usually, but not necessarily, the three above
}

func (r *keyring) init(alg string, keys []*Key) {
	r.alg = alg
	r.published = slices.Clone(keys)
	for len(r.published) < 2 {
		r.published = append(r.published, NewKey(alg))
	}
	r.active, r.next = r.published[0], r.published[1]
}

// jwks returns the key set document.
func (r *keyring) jwks() map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	entries := make([]any, len(r.published))
	for i, k := range r.published {
		entries[i] = k.JWK()
	}
	return map[string]any{"keys": entries}
}

// rotate makes a key active and drops the one that was previous until now.
func (r *keyring) rotate(to *Key) {
	if r.previous != nil {
		r.remove(r.previous.ID)
	}
	r.previous, r.active = r.active, to
}

func (r *keyring) remove(kids ...string) {
	r.published = slices.DeleteFunc(r.published, func(k *Key) bool { return slices.Contains(kids, k.ID) })
}

// ActiveKey returns the key that signs.
func (s *Server) ActiveKey() *Key {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	return s.keys.active
}

// NextKey returns the key that will sign after [Server.Rotate].
func (s *Server) NextKey() *Key {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	return s.keys.next
}

// PreviousKey returns the key that signed before the last rotation, or nil.
func (s *Server) PreviousKey() *Key {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	return s.keys.previous
}

// PublishedKeys returns the keys in the server's key set.
func (s *Server) PublishedKeys() []*Key {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	return slices.Clone(s.keys.published)
}

// JWKS returns the key set document as the server publishes it.
func (s *Server) JWKS() []byte { return mustJSON(s.keys.jwks()) }

// Rotate does Okta's regular rotation: the next key, published all along, becomes active; the key before it stays
// published until the rotation after this one; a new next key is published.
func (s *Server) Rotate() {
	fresh := NewKey(s.keys.alg)
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	s.keys.rotate(s.keys.next)
	s.keys.next = fresh
	s.keys.published = append(s.keys.published, fresh)
}

// RotateUnannounced does an emergency rotation: a key that nobody has seen is published and active at once. The next
// key stays the next, and the compromised one stays published until [Server.Unpublish] removes it.
func (s *Server) RotateUnannounced() {
	fresh := NewKey(s.keys.alg)
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	s.keys.rotate(fresh)
	s.keys.published = append(s.keys.published, fresh)
}

// Publish adds keys to the key set, whatever they are; two may have the same kid.
func (s *Server) Publish(keys ...*Key) {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	s.keys.published = append(s.keys.published, keys...)
}

// Unpublish removes keys from the key set by their kid. The server still signs with a removed key that is active, and
// makes it active when its turn comes: a key set that lags behind.
func (s *Server) Unpublish(kids ...string) {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	s.keys.remove(kids...)
}
