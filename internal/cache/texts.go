package cache

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	meanText = 1 << 10                          // how long texts can be on average before there is room for fewer than the capacity says
	maxTexts = min(1<<26, math.MaxInt/meanText) // as many as nobody has the memory for

	// A block is a quarter of all, within these bounds. The smallest has room for several of the longest tokens.
	minBlock, maxBlock = 256 << 10, 32 << 20
)

// Texts is a cache whose values are texts. It keeps as many as its capacity says, or fewer where they are longer than
// 1 KiB on average. It is safe for concurrent use, and those who read wait for nobody.
//
// The texts stand one behind the other in a few blocks, which the garbage collector does not look into: a hundred thousand
// texts cost it no more than one. It even comes less often, since it waits until the heap has doubled, in which a block counts
// from the first text on. A block leaves as a whole, when all in it has expired or there is no other room: then the oldest,
// whatever it holds.
type Texts struct {
	*places
	ring atomic.Pointer[ring]

	writing sync.Mutex
	latest  uint32 // number of the block that is being filled; 0 before the first
}

type places = Cache[place]

// place is where a text stands. The garbage collector finds no pointer in it.
type place struct{ block, start, end uint32 }

// ring is the blocks, each at its number modulo how many there can be.
type ring struct {
	size   int // of the blocks to come, in bytes
	blocks []atomic.Pointer[block]
}

type block struct {
	number uint32
	text   []byte // what was written never changes

	// For those who write.
	used    int
	expires time.Time // when the last of the texts does
}

// NewTexts returns a cache for capacity texts.
func NewTexts(capacity int) *Texts {
	t := &Texts{places: New[place](capacity)}
	t.ring.Store(newRing(capacity))
	return t
}

func newRing(capacity int) *ring {
	if capacity <= 0 {
		return &ring{blocks: make([]atomic.Pointer[block], 1)}
	}
	all := min(capacity, maxTexts) * meanText
	size := min(max(all/4, minBlock), maxBlock)
	return &ring{size, make([]atomic.Pointer[block], all/size+2)} // room for all while the oldest block leaves
}

func (r *ring) at(number uint32) *atomic.Pointer[block] {
	return &r.blocks[number%uint32(len(r.blocks))]
}

// SetCapacity bounds the cache anew, as [Cache.SetCapacity] does. Blocks that are larger than those to come leave, and with
// them, where the bound becomes much smaller, all texts.
func (t *Texts) SetCapacity(capacity int) {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.places.SetCapacity(capacity)
	old, fresh := t.ring.Load(), newRing(capacity)
	for age := range uint32(len(fresh.blocks)) {
		if b := old.at(t.latest - age).Load(); b != nil && len(b.text) <= fresh.size {
			fresh.at(b.number).Store(b)
		}
	}
	t.ring.Store(fresh)
}

// Get returns the text of a secret that has not expired. It is a copy: a long request keeps no block.
func (t *Texts) Get(d Digest, now time.Time) (string, bool) {
	p, ok := t.places.Get(d, now)
	if !ok {
		return "", false
	}
	b := t.ring.Load().at(p.block).Load()
	if b == nil || b.number != p.block {
		return "", false
	}
	return string(b.text[p.start:p.end]), true
}

// Put keeps a text until expires. One that is longer than a block, of 256 KiB or more, is not kept.
func (t *Texts) Put(d Digest, text string, expires time.Time) {
	if p, ok := t.write(text, expires); ok {
		t.places.Put(d, p, expires)
	}
}

func (t *Texts) write(text string, expires time.Time) (p place, ok bool) {
	t.writing.Lock()
	defer t.writing.Unlock()
	r := t.ring.Load()
	if len(text) > r.size {
		return p, false
	}
	b := r.at(t.latest).Load()
	if b == nil || len(text) > len(b.text)-b.used {
		b = t.begin(r)
	}
	start := b.used
	b.used += copy(b.text[start:], text)
	if b.expires.Before(expires) {
		b.expires = expires
	}
	return place{b.number, uint32(start), uint32(b.used)}, true
}

// begin makes a block, in the place of the oldest. Those of no more use leave too.
func (t *Texts) begin(r *ring) *block {
	now := time.Now()
	for i := range r.blocks {
		if b := r.blocks[i].Load(); b != nil && !b.expires.After(now) {
			r.blocks[i].Store(nil)
		}
	}
	t.latest++
	b := &block{number: t.latest, text: make([]byte, r.size)}
	r.at(b.number).Store(b)
	return b
}
