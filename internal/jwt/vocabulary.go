package jwt

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	maxWords = 1024 // of an organization's groups, the first to come are those that most people are in
	maxWord  = 128  // bytes
)

// common are texts that many tokens have: names of claims, and the issuers, audiences, clients, scopes and groups seen
// so far, in the form in which claims hold them. Reading them out of a token makes no copies.
var common = newVocabulary(append(strings.Fields(
	"alg kid typ iss sub aud exp iat nbf jti ver cid uid scp groups auth_time acr amr cnf client_id scope"), Algorithms...))

// vocabulary is a set of texts that only grows. It is safe for concurrent use, and costs readers one atomic load.
type vocabulary struct {
	mu    sync.Mutex
	known atomic.Pointer[map[string]any]
}

func newVocabulary(texts []string) *vocabulary {
	v := new(vocabulary)
	v.known.Store(&map[string]any{})
	v.learn(texts)
	return v
}

// learn adds texts while there is room.
func (v *vocabulary) learn(lists ...[]string) {
	known := *v.known.Load()
	if len(known) >= maxWords {
		return
	}
	var fresh []string
	for _, list := range lists {
		for _, text := range list {
			if _, ok := known[text]; !ok && len(text) <= maxWord {
				fresh = append(fresh, text)
			}
		}
	}
	if fresh == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	grown := maps.Clone(*v.known.Load())
	for _, text := range fresh {
		if len(grown) < maxWords {
			text = strings.Clone(text) // it may be part of a longer one
			grown[text] = text
		}
	}
	v.known.Store(&grown)
}
