package cache_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/cache"
)

// shards is how many parts the cache has; a bound is rounded up to a multiple of it.
const shards = 64

var now = time.Unix(1767225600, 0)

// sameShard returns n digests that share the first byte, and with it the shard.
func sameShard(n int) []cache.Digest {
	digests := make([]cache.Digest, n)
	for i := range digests {
		digests[i][1], digests[i][2] = byte(i), byte(i>>8)
	}
	return digests
}

func TestAValueIsFoundUntilItExpires(t *testing.T) {
	c := cache.New[string](10)
	d := c.Digest("secret")
	if v, ok := c.Get(d, now); ok {
		t.Fatalf("Get(empty cache) = %q, want nothing", v)
	}
	c.Put(d, "value", now.Add(10*time.Second))
	for after, want := range map[time.Duration]bool{0: true, 9 * time.Second: true, 9999 * time.Millisecond: true, 10 * time.Second: false, time.Hour: false} {
		if v, ok := c.Get(d, now.Add(after)); ok != want || ok && v != "value" || !ok && v != "" {
			t.Errorf("Get %s after = %q, %t, want found: %t", after, v, ok, want)
		}
	}
}

func TestALaterPutReplaces(t *testing.T) {
	c := cache.New[int](10)
	d := c.Digest("secret")
	c.Put(d, 1, now.Add(time.Hour))
	c.Put(d, 2, now.Add(time.Minute))
	if v, ok := c.Get(d, now); !ok || v != 2 || c.Len() != 1 {
		t.Errorf("Get = %d, %t with %d entries, want 2 and one entry", v, ok, c.Len())
	}
	if v, ok := c.Get(d, now.Add(time.Minute)); ok {
		t.Errorf("Get = %d after the later value expired, want nothing", v)
	}
}

// A full shard that gets a secret anew has room for it and drops nothing else.
func TestReplacingDropsNothingElse(t *testing.T) {
	c := cache.New[int](2 * shards)
	d := sameShard(2)
	for range 5 {
		c.Put(d[1], 1, now.Add(time.Minute))
		c.Put(d[0], 0, now.Add(time.Hour)) // last, so that the other one would have to go
	}
	for i := range d {
		if v, ok := c.Get(d[i], now); !ok || v != i {
			t.Errorf("Get(%d) = %d, %t, want %d", i, v, ok, i)
		}
	}
}

func TestDigests(t *testing.T) {
	c := cache.New[int](10)
	long := strings.Repeat("s", 5000)
	secrets := []string{"", "a", "b", "A", "a\x00", "\x00a", "aa", "é", "e\u0301", long, long[1:], long + "s", long[:4999] + "t", "t" + long[1:]}
	seen := make(map[cache.Digest]string)
	for _, secret := range secrets {
		d := c.Digest(secret)
		if other, ok := seen[d]; ok {
			t.Errorf("%.10q and %.10q have the same digest", secret, other)
		}
		seen[d] = secret
		if again := c.Digest(secret); again != d {
			t.Errorf("the digest of %.10q is not always the same", secret)
		}
		if d == cache.New[int](10).Digest(secret) {
			t.Errorf("two caches have the same digest of %.10q: the key is not random", secret)
		}
	}
}

func TestTheBoundHolds(t *testing.T) {
	for _, test := range []struct{ capacity, limit int }{
		{1, shards}, {shards, shards}, {shards + 1, 2 * shards}, {1000, 1024},
	} {
		c := cache.New[int](test.capacity)
		for i := range 20 * test.limit {
			c.Put(c.Digest(fmt.Sprint(i)), i, now.Add(time.Hour))
		}
		if n := c.Len(); n > test.limit || n < test.limit*9/10 {
			t.Errorf("a cache for %d holds %d entries, want about %d and no more", test.capacity, n, test.limit)
		}
	}
}

func TestCapacityZeroTurnsTheCacheOff(t *testing.T) {
	for _, capacity := range []int{0, -1, math.MinInt} {
		c := cache.New[int](capacity)
		d := c.Digest("secret")
		c.Put(d, 1, now.Add(time.Hour))
		if _, ok := c.Get(d, now); ok || c.Len() != 0 {
			t.Errorf("a cache for %d entries keeps %d", capacity, c.Len())
		}
	}
}

func TestTheLargestCapacityIsOne(t *testing.T) {
	c := cache.New[int](math.MaxInt)
	d := sameShard(2)
	c.Put(d[0], 1, now.Add(time.Hour))
	c.Put(d[1], 2, now.Add(time.Hour))
	if c.Len() != 2 {
		t.Errorf("the cache holds %d entries, want 2", c.Len())
	}
}

// A configuration that turns the cache off, or makes it smaller, takes effect with its load and not when somebody
// happens to come by.
func TestASmallerCapacityTakesEffectAtOnce(t *testing.T) {
	c := cache.New[int](100 * shards)
	digests := sameShard(100)
	for i, d := range digests {
		c.Put(d, i, now.Add(time.Duration(i+1)*time.Hour))
	}
	c.SetCapacity(10 * shards)
	if n := c.Len(); n != 10 {
		t.Errorf("the shard holds %d entries, want 10", n)
	}
	if _, ok := c.Get(digests[99], now); !ok {
		t.Error("the entry that expires last is gone")
	}
	c.SetCapacity(0)
	if n := c.Len(); n != 0 {
		t.Errorf("a cache that was turned off holds %d entries, want none", n)
	}
	c.SetCapacity(shards)
	c.Put(digests[0], 0, now.Add(time.Hour))
	if n := c.Len(); n != 1 {
		t.Errorf("a cache that was turned on again holds %d entries, want 1", n)
	}
}

func TestAGreaterCapacityDropsNothing(t *testing.T) {
	c := cache.New[int](shards)
	digests := sameShard(50)
	c.Put(digests[0], 0, now.Add(time.Hour))
	c.SetCapacity(50 * shards)
	for i, d := range digests {
		c.Put(d, i, now.Add(time.Hour))
	}
	if n := c.Len(); n != len(digests) {
		t.Errorf("the shard holds %d entries, want %d", n, len(digests))
	}
}

// With as many entries as compete for eviction, the choice is exact: the one that expires first goes.
func TestEvictionTakesWhatExpiresFirst(t *testing.T) {
	const room = 8
	for first := range room {
		c := cache.New[int](room * shards)
		digests := sameShard(room + 1)
		for i := range room {
			c.Put(digests[i], i, now.Add(time.Duration(2+(i-first+room)%room)*time.Minute))
		}
		c.Put(digests[room], room, now.Add(time.Minute)) // the new one stays, though it expires before all
		for i, d := range digests {
			if _, ok := c.Get(d, now); ok == (i == first) {
				t.Errorf("entry %d is kept: %t; want only entry %d gone", i, ok, first)
			}
		}
	}
}

// An attacker with many short-lived secrets displaces less than all of those that live long. Evicting in any order
// would leave none of them.
func TestShortLivedSecretsDoNotFloodTheCache(t *testing.T) {
	const room = 100
	c := cache.New[string](room * shards)
	digests := sameShard(5000)
	good, hostile := digests[:room/5], digests[room/5:]
	for _, d := range good {
		c.Put(d, "good", now.Add(time.Hour))
	}
	for _, d := range hostile {
		c.Put(d, "hostile", now.Add(time.Second))
	}
	kept := 0
	for _, d := range good {
		if _, ok := c.Get(d, now); ok {
			kept++
		}
	}
	if kept < len(good)/2 {
		t.Errorf("%d of %d long-lived entries survived, want at least half", kept, len(good))
	}
}

func TestTheCacheIsSafeForConcurrentUse(t *testing.T) {
	c := cache.New[int](4 * shards)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 2000 {
				n := (i*7 + worker) % 1000
				d := c.Digest(fmt.Sprint(n))
				if v, ok := c.Get(d, now); ok && v != n {
					t.Errorf("Get(%d) = %d: another secret's value", n, v)
				}
				c.Put(d, n, now.Add(time.Hour))
				if i%500 == 0 {
					c.SetCapacity((1 + i%3) * shards)
					_ = c.Len()
				}
			}
		})
	}
	all.Wait()
	c.SetCapacity(shards)
	if n := c.Len(); n > shards {
		t.Errorf("the cache holds %d entries, want at most %d", n, shards)
	}
}

func TestALookUpAllocatesNothing(t *testing.T) {
	c := cache.New[int](1000)
	for _, test := range []struct {
		size, allocs int
	}{{0, 0}, {1000, 0}, {4000, 0}, {16 << 10, 1}} {
		secret := strings.Repeat("s", test.size)
		c.Put(c.Digest(secret), 1, now.Add(time.Hour))
		got := testing.AllocsPerRun(100, func() {
			if _, ok := c.Get(c.Digest(secret), now); !ok {
				t.Error("Get found nothing")
			}
		})
		if int(got) > test.allocs {
			t.Errorf("a look-up of %d bytes makes %.0f allocations, want at most %d", test.size, got, test.allocs)
		}
	}
}

func TestAFullCacheAllocatesNowAndThenOnly(t *testing.T) {
	const capacity = 100 * shards
	c := cache.New[int](capacity)
	digests := sameShard(20_000)
	for _, d := range digests[:10_000] {
		c.Put(d, 1, now.Add(time.Hour))
	}
	n := 10_000
	got := testing.AllocsPerRun(5000, func() {
		c.Put(digests[n], 1, now.Add(time.Hour))
		n++
	})
	if got > 0 {
		t.Errorf("a Put into a full cache makes %.0f allocations, want less than one", got)
	}
}

func TestDestructDoesNothing(t *testing.T) {
	if err := cache.New[int](1).Destruct(); err != nil {
		t.Errorf("Destruct = %v, want nil", err)
	}
}

// Where entries come and go, a map of the runtime grows for ever: eightfold while 300 times its size go through it.
func TestAFullCacheDoesNotGrow(t *testing.T) {
	const capacity = 100 * shards
	before := heap()
	c := cache.New[int](capacity)
	source := rand.NewChaCha8([32]byte{})
	for range 60 * capacity {
		var d cache.Digest
		_, _ = source.Read(d[:])
		c.Put(d, 1, now.Add(time.Hour))
	}
	if got := (heap() - before) / capacity; c.Len() != capacity || got > 180 {
		t.Errorf("the cache takes %d bytes for each of %d entries, want at most 180", got, c.Len())
	}
}
