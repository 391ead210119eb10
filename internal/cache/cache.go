// Package cache is a bounded map from secrets to values, with expiry: [Cache] of any values, [Texts] of many texts.
//
// It never sees more of a secret than a keyed digest: the key is random and lives as long as the cache, so neither a
// memory dump nor a guess tells which secrets it knows. It has no opinion about the values.
package cache

import (
	"crypto/rand"
	"crypto/sha256"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Digest is the keyed digest of one secret, all of it (SHA-256 over key and secret).
type Digest [sha256.Size]byte

// shards keep writers apart: a power of two well above the number of cores.
const shards = 64

// sampled is how many entries of a [Cache] compete when one has to go. The one that expires first loses, so an attacker
// who holds many valid secrets displaces little that would have been useful for long.
const sampled = 8

// Cache is safe for concurrent use.
type Cache[V any] struct {
	key      [32]byte
	capacity atomic.Int64 // entries per shard
	shards   [shards]shard[V]
}

type shard[V any] struct {
	mu      sync.RWMutex
	entries map[Digest]entry[V]
	evicted int // since the map was made
}

type entry[V any] struct {
	value   V
	expires int64 // Unix seconds
}

// New returns a cache for at most capacity entries, rounded up to a multiple of the number of shards.
func New[V any](capacity int) *Cache[V] {
	c := new(Cache[V])
	_, _ = rand.Read(c.key[:]) // never fails: crypto/rand ends the process instead
	for i := range c.shards {
		c.shards[i].entries = make(map[Digest]entry[V])
	}
	c.SetCapacity(capacity)
	return c
}

// SetCapacity bounds the cache anew. Zero turns it off. Entries above a smaller bound leave at once.
func (c *Cache[V]) SetCapacity(capacity int) {
	perShard := capacity / shards
	if capacity%shards > 0 {
		perShard++
	}
	c.capacity.Store(int64(perShard))
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.shrink(perShard)
		s.mu.Unlock()
	}
}

// Digest returns the digest under which secret is kept.
func (c *Cache[V]) Digest(secret string) Digest {
	// Most secrets are shorter than this; the buffer then stays on the stack.
	var buffer [4096]byte
	b := append(buffer[:0], c.key[:]...)
	return sha256.Sum256(append(b, secret...))
}

// Get returns the value of a secret that has not expired.
func (c *Cache[V]) Get(d Digest, now time.Time) (value V, ok bool) {
	s := &c.shards[d[0]%shards]
	s.mu.RLock()
	e, ok := s.entries[d]
	s.mu.RUnlock()
	if !ok || e.expires <= now.Unix() {
		return value, false
	}
	return e.value, true
}

// Put keeps a value until expires. A full cache drops another entry for it.
func (c *Cache[V]) Put(d Digest, value V, expires time.Time) {
	s := &c.shards[d[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	capacity := int(c.capacity.Load()) // under the lock: SetCapacity stores first and shrinks then
	delete(s.entries, d)
	s.shrink(capacity - 1)
	if capacity > 0 {
		s.entries[d] = entry[V]{value, expires.Unix()}
	}
}

// shrink drops entries until no more than limit are left.
func (s *shard[V]) shrink(limit int) {
	for len(s.entries) > max(limit, 0) {
		s.evict()
	}
	// A map in which entries come and go grows for ever, if ever more slowly.
	if s.evicted > len(s.entries) {
		fresh := make(map[Digest]entry[V], len(s.entries)+1)
		maps.Copy(fresh, s.entries)
		s.entries, s.evicted = fresh, 0
	}
}

// evict drops, of a few entries that the map's random order brings up, the one that expires first.
func (s *shard[V]) evict() {
	var victim Digest
	n, first := 0, int64(0)
	for d, e := range s.entries {
		if n == 0 || e.expires < first {
			victim, first = d, e.expires
		}
		if n++; n == sampled {
			break
		}
	}
	delete(s.entries, victim)
	s.evicted++
}

// Len returns how many entries the cache holds, expired ones included.
func (c *Cache[V]) Len() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		n += len(s.entries)
		s.mu.RUnlock()
	}
	return n
}

// Destruct ends the cache's life in a lease pool. It holds nothing that outlives its memory.
func (c *Cache[V]) Destruct() error { return nil }
