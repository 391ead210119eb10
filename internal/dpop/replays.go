package dpop

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrReplayed says that a proof was used before.
	ErrReplayed = errors.New("the proof was used before")

	// ErrFull says that the memory of used proofs has no room for another one of this key, so it is refused.
	ErrFull = errors.New("too many proofs of this key are in use")
)

// shards keep the requests of different keys apart: a power of two well above the number of cores.
const shards = 64

// clockJump is by how many seconds the clock has to go back before its time counts as new: what was forgotten while it
// was ahead must not refuse proofs until it is there again.
const clockJump = 3600

// Replays remembers used proofs for as long as they could be used again (RFC 9449 §11.1). It is safe for concurrent use.
//
// It is bounded, forgets nothing early, and refuses what it has no room for. A key may hold as many entries as are
// still free, so a flood by one key takes half of the room at most, one by two keys two thirds, and whoever else comes
// finds what is left: it takes very many keys, each with a good token, to lock others out.
type Replays struct {
	capacity int64
	secret   [32]byte
	seed     maphash.Seed
	held     atomic.Int64 // entries of all shards
	swept    atomic.Int64 // the Unix second up to which entries are forgotten

	mu      sync.Mutex   // held to change what follows, about never
	longest atomic.Int64 // MaxAge of all requests so far: how long proofs are remembered
	horizon atomic.Int64 // proofs from before this Unix second may be forgotten
	shards  [shards]shard
}

// digest is the keyed digest of one use, cut to what no collision is found in.
type digest [16]byte

// use is what has to be undone when an entry expires.
type use struct {
	digest digest
	owner  uint64
}

// shard holds the entries of some keys.
type shard struct {
	mu    sync.Mutex
	used  map[digest]struct{}
	held  map[uint64]int64 // entries by key, both of which are only known by a keyed hash
	due   map[int64][]use  // entries by the Unix second in which they expire
	swept int64            // entries that are due up to here are gone
}

// NewReplays returns a memory for capacity proofs of all keys together. An entry takes some 100 bytes once it is made,
// however long its jti is.
func NewReplays(capacity int) *Replays {
	m := &Replays{capacity: int64(capacity), seed: maphash.MakeSeed()}
	_, _ = rand.Read(m.secret[:]) // never fails: crypto/rand ends the process instead
	for i := range m.shards {
		m.shards[i].used = make(map[digest]struct{})
		m.shards[i].held = make(map[uint64]int64)
		m.shards[i].due = make(map[int64][]use)
	}
	return m
}

// Use notes that the proof is used now, for the request that it passed [Proof.Check] with. It returns [ErrReplayed]
// when a proof with this jti, key and URL was used before, and [ErrFull] when that cannot be remembered. Only what is
// right in everything else may come here: with a good token, bound to the key, and with a good signature.
func (m *Replays) Use(p *Proof, r Request) error {
	m.sweep(r.Now.Unix())
	owner := maphash.String(m.seed, p.Thumbprint)
	entry := use{m.digest(p), owner}
	longest := m.remember(r)
	due := p.jws.IssuedAt.Add(longest).Unix() + 1
	if p.jws.IssuedAt.Unix() < m.horizon.Load() {
		return ErrReplayed
	}

	s := &m.shards[owner%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, seen := s.used[entry.digest]; seen {
		return ErrReplayed
	}
	// The request was slower than another one, whose time is past this deadline: what was known then is forgotten.
	if due <= s.swept {
		return ErrReplayed
	}
	if free := m.capacity - m.held.Add(1) + 1; s.held[owner] >= free {
		m.held.Add(-1)
		return ErrFull
	}
	s.used[entry.digest] = struct{}{}
	s.held[owner]++
	s.due[due] = append(s.due[due], entry)
	return nil
}

// remember returns how long proofs are remembered: as long as any request so far would take them, since the next one
// with the same proof may be judged by other settings. When that becomes longer, what was used before by shorter ones is
// forgotten already, and cannot be told from what is new.
func (m *Replays) remember(r Request) time.Duration {
	if longest := time.Duration(m.longest.Load()); r.MaxAge <= longest {
		return longest
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	longest := time.Duration(m.longest.Load())
	if r.MaxAge <= longest {
		return longest
	}
	if longest > 0 {
		m.horizon.Store(r.Now.Add(-longest).Unix())
	}
	m.longest.Store(int64(r.MaxAge))
	return r.MaxAge
}

// digest hashes what must be unique: the jti in the context of key and URL (RFC 9449 §11.1). Thumbprints have one
// length, and there is no space in a URL, so no two of them make the same text.
func (m *Replays) digest(p *Proof) digest {
	// Most are shorter than this; the buffer then stays on the stack.
	var buffer [1024]byte
	b := append(buffer[:0], m.secret[:]...)
	b = append(b, p.Thumbprint...)
	b = append(append(b, p.url...), ' ')
	sum := sha256.Sum256(append(b, p.jws.ID...))
	return digest(sum[:])
}

// sweep forgets what is due. It does so once a second, in the first request that comes then, which pays for no more
// than what others have put in: no entry is looked at before it is due.
func (m *Replays) sweep(now int64) {
	last := m.swept.Load()
	if now <= last && last-now < clockJump || !m.swept.CompareAndSwap(last, now) {
		return
	}
	for i := range m.shards {
		m.held.Add(-m.shards[i].sweep(now))
	}
}

// sweep returns how many entries it has forgotten.
func (s *shard) sweep(now int64) (forgotten int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.swept-now >= clockJump {
		s.swept = now
	}
	s.swept = max(s.swept, now)
	for second, uses := range s.due {
		if second > now {
			continue
		}
		for _, u := range uses {
			delete(s.used, u.digest)
			if s.held[u.owner]--; s.held[u.owner] == 0 {
				delete(s.held, u.owner)
			}
		}
		delete(s.due, second)
		forgotten += int64(len(uses))
	}
	return forgotten
}
