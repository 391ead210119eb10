package cache_test

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/cache"
)

// later is when texts expire: blocks go by the clock.
func later() time.Time { return time.Now().Add(time.Hour) }

// textOf is a text of some length that tells whose it is.
func textOf(d cache.Digest, length int) string {
	return strings.Repeat(fmt.Sprintf("%x ", d[:8]), length/17+1)[:length]
}

// found returns which of the texts the cache still has, and complains about any that is not as it was put.
func found(t *testing.T, c *cache.Texts, digests []cache.Digest, length int) (kept []bool, n int) {
	t.Helper()
	kept = make([]bool, len(digests))
	for i, d := range digests {
		text, ok := c.Get(d, time.Now())
		switch {
		case ok && text != textOf(d, length):
			t.Fatalf("Get(%d) = %.40q, want %.40q", i, text, textOf(d, length))
		case ok:
			kept[i] = true
			n++
		case text != "":
			t.Fatalf("Get(%d) = %.40q, false", i, text)
		}
	}
	return kept, n
}

func TestATextIsFoundUntilItExpires(t *testing.T) {
	c := cache.NewTexts(10)
	d := c.Digest("secret")
	if text, ok := c.Get(d, time.Now()); ok {
		t.Fatalf("Get(empty cache) = %q, want nothing", text)
	}
	now := time.Now().Truncate(time.Second)
	c.Put(d, "text", now.Add(10*time.Second))
	for after, want := range map[time.Duration]bool{0: true, 9999 * time.Millisecond: true, 10 * time.Second: false} {
		if text, ok := c.Get(d, now.Add(after)); ok != want || ok && text != "text" || !ok && text != "" {
			t.Errorf("Get %s after = %q, %t, want found: %t", after, text, ok, want)
		}
	}
	c.Put(d, "", now.Add(time.Minute))
	if text, ok := c.Get(d, now.Add(10*time.Second)); !ok || text != "" || c.Len() != 1 {
		t.Errorf("after an empty text was put, Get = %q, %t, and there are %d", text, ok, c.Len())
	}
}

// All that the capacity allows are there, and of more the newest, however many go through. Where texts take all the room
// that there is for each, those that left without their place still count for a while.
func TestTextsAsManyAsTheCapacitySays(t *testing.T) {
	const capacity = 4000
	digests := random(10 * capacity)
	for length, least := range map[int]int{100: 95, 500: 85, 1024: 65} {
		c := cache.NewTexts(capacity)
		for i, d := range digests {
			c.Put(d, textOf(d, length), later())
			if i+1 == capacity*9/10 { // chance fills some shards before others
				if _, n := found(t, c, digests[:i+1], length); n < i*97/100 {
					t.Errorf("of %d texts of %d bytes for which there is room, %d are kept", i+1, length, n)
				}
			}
		}
		kept, n := found(t, c, digests, length)
		if n < capacity*least/100 || n > capacity*102/100 || !kept[len(kept)-1] {
			t.Errorf("%d texts of %d bytes are kept, want about %d, and the last one among them: %t", n, length, capacity, kept[len(kept)-1])
		}
	}
}

// Long texts leave room for fewer. The oldest go.
func TestLongTextsTakeTheRoomOfMore(t *testing.T) {
	const capacity, length, room = 4000, 16 << 10, 4000 * 1024 / (16 << 10)
	c := cache.NewTexts(capacity)
	digests := random(4 * room)
	for _, d := range digests {
		c.Put(d, textOf(d, length), later())
	}
	kept, n := found(t, c, digests, length)
	if n < room || n > room*3/2 {
		t.Errorf("%d texts of 16 KiB are kept, want somewhat more than %d", n, room)
	}
	for i, is := range kept {
		if want := i >= len(kept)-n; is != want {
			t.Fatalf("text %d of %d is kept: %t, and %d are", i, len(kept), is, n)
		}
	}
}

func TestATextThatIsLongerThanABlockIsNotKept(t *testing.T) {
	const block = 256 << 10
	c := cache.NewTexts(10)
	digests := random(3)
	for i, length := range []int{block - 1, block, block + 1} {
		c.Put(digests[i], textOf(digests[i], length), later())
		if text, ok := c.Get(digests[i], time.Now()); ok != (length <= block) || ok && text != textOf(digests[i], length) {
			t.Errorf("a text of %d bytes is kept: %t", length, ok)
		}
	}
	if text, ok := c.Get(digests[0], time.Now()); !ok || text != textOf(digests[0], block-1) {
		t.Errorf("the first text is %.40q, %t", text, ok)
	}
}

func TestTheCapacityOfTextsChanges(t *testing.T) {
	const length = 1000
	c := cache.NewTexts(0)
	digests := random(6000)
	put := func() {
		for _, d := range digests {
			c.Put(d, textOf(d, length), later())
		}
	}
	count := func(what string, least, most int) {
		t.Helper()
		kept, n := found(t, c, digests, length)
		if n < least || n > most {
			t.Errorf("%s: %d of %d texts are kept, want %d to %d", what, n, len(digests), least, most)
		}
		if last := kept[len(kept)-1]; last != (least > 0) {
			t.Errorf("%s: the last text is kept: %t", what, last)
		}
	}
	put()
	count("turned off", 0, 0)
	c.SetCapacity(10_000)
	count("turned on", 0, 0)
	put()
	count("with room for all", 6000, 6000)
	c.SetCapacity(100_000)
	count("with room for more", 6000, 6000)
	put() // in blocks of another size
	count("put again", 6000, 6000)
	c.SetCapacity(1_000_000)
	count("with room for many more", 6000, 6000)
	c.SetCapacity(1_000_000) // as a reload does
	count("with the same room", 6000, 6000)
	c.SetCapacity(10_000)
	if text, ok := c.Get(digests[5999], time.Now()); ok {
		t.Errorf("a block that is larger than all is kept: %.40q", text)
	}
	put()
	count("put again", 6000, 6000)
	c.SetCapacity(2000)
	count("with room for less", 0, 0)
	put()
	count("put again", 1300, 2100)
	for _, capacity := range []int{0, -1, math.MinInt} {
		c.SetCapacity(capacity)
		put()
		count("turned off", 0, 0)
	}
	c.SetCapacity(math.MaxInt)
	put()
	count("without a bound", 6000, 6000)
}

// The default of a hundred thousand stays below 170 MB, however long the texts are. A smaller capacity gives memory back at
// once.
func TestTheMemoryOfTextsIsBounded(t *testing.T) {
	digests := random(150_000)
	before := heap()
	c := cache.NewTexts(100_000)
	for _, test := range []struct{ capacity, length, bound int }{
		{100_000, 500, 90_000_000}, {100_000, 2000, 170_000_000}, {8000, 500, 14_000_000}, {100, 2000, 2_000_000}, {0, 2000, 200_000},
	} {
		c.SetCapacity(test.capacity)
		text := strings.Repeat("t", test.length)
		for _, d := range digests {
			c.Put(d, text, later())
		}
		if got := heap() - before; got > test.bound {
			t.Errorf("with room for %d, texts of %d bytes take %d bytes, want at most %d", test.capacity, test.length, got, test.bound)
		}
	}
	runtime.KeepAlive(digests)
}

// heap returns how many bytes are in use.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A reload sets the capacity that there was, and nothing leaves, also when the ring is full or has gaps.
func TestTheSameCapacityAgainDropsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const length = 1500
		c := cache.NewTexts(4000) // blocks of 680
		digests := random(12_000)
		put := func(digests []cache.Digest, expires time.Duration) {
			for _, d := range digests {
				c.Put(d, textOf(d, length), time.Now().Add(expires))
			}
		}
		same := func(what string) {
			t.Helper()
			_, before := found(t, c, digests, length)
			c.SetCapacity(4000)
			if _, n := found(t, c, digests, length); n != before || n == 0 {
				t.Errorf("%s: %d texts are kept of %d", what, n, before)
			}
		}
		put(digests, time.Hour)
		same("a full ring")
		put(digests[:1000], 2*time.Hour)
		put(digests[1000:3500], time.Minute)
		put(digests[3500:4000], 2*time.Hour)
		time.Sleep(time.Hour)
		put(digests[4000:4800], 2*time.Hour) // begins a block, and those without use leave
		same("a ring with gaps")
	})
}

// A block leaves when the last of its texts expires, whenever that came.
func TestABlockStaysForItsLongestText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cache.NewTexts(100) // blocks of 256 KiB
		digests := random(3)
		c.Put(digests[0], "long", time.Now().Add(time.Hour))
		c.Put(digests[1], strings.Repeat("s", 200<<10), time.Now().Add(time.Minute))
		time.Sleep(2 * time.Minute)
		c.Put(digests[2], strings.Repeat("s", 200<<10), time.Now().Add(time.Minute))
		if text, ok := c.Get(digests[0], time.Now()); !ok || text != "long" {
			t.Errorf("Get = %q, %t, want the text", text, ok)
		}
	})
}

// However large the cache may become, the first text takes little of it.
func TestABlockIsBounded(t *testing.T) {
	before := heap()
	c := cache.NewTexts(10_000_000)
	c.Put(c.Digest("secret"), "text", later())
	if got := heap() - before; got > 34<<20 {
		t.Errorf("one text takes %d KiB, want at most 34 MiB", got>>10)
	}
	runtime.KeepAlive(c)
}

// Where tokens are short-lived, their memory does not wait until all other room is used.
func TestExpiredTextsGiveTheirRoomBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const length = 1000
		c := cache.NewTexts(40_000) // blocks of 10,000
		digests := random(45_000)
		before := heap()
		put := func(digests []cache.Digest) {
			for _, d := range digests {
				c.Put(d, textOf(d, length), time.Now().Add(time.Minute))
			}
		}
		put(digests[:32_000])
		full := heap() - before
		time.Sleep(30 * time.Second)
		put(digests[32_000:32_001])
		time.Sleep(30 * time.Second)
		put(digests[32_001:]) // begins a block
		if got := heap() - before; got > full*2/3 {
			t.Errorf("32,000 texts took %d KiB, and those that come after them %d", full>>10, got>>10)
		}
		for i, want := range map[int]bool{0: false, 31_999: false, 32_000: true, 32_001: true, 44_999: true} {
			if text, ok := c.Get(digests[i], time.Now()); ok != want || ok && text != textOf(digests[i], length) {
				t.Errorf("text %d is %.40q, %t, want %t", i, text, ok, want)
			}
		}
	})
}

// The garbage collector has as much to follow with many texts as with a few.
func TestTextsAreFewObjects(t *testing.T) {
	objects := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapObjects)
	}
	const texts = 50_000
	digests := random(texts)
	text := strings.Repeat("t", 500)
	before := objects()
	c := cache.NewTexts(2 * texts)
	for _, d := range digests {
		c.Put(d, text, later())
	}
	if got := objects() - before; got > texts/20 {
		t.Errorf("%d texts are %d objects", texts, got)
	}
	if n := c.Len(); n != texts {
		t.Errorf("there are %d texts, want %d", n, texts)
	}
}

func TestWhatATextAllocates(t *testing.T) {
	c := cache.NewTexts(1000)
	text := strings.Repeat("t", 500)
	d := c.Digest("secret")
	c.Put(d, text, later())
	if got := testing.AllocsPerRun(100, func() { _, _ = c.Get(d, time.Now()) }); got != 1 {
		t.Errorf("Get makes %.0f allocations, want that of the copy", got)
	}
	if got := testing.AllocsPerRun(100, func() { c.Put(d, text, later()) }); got > 0 {
		t.Errorf("Put makes %.0f allocations, want none", got)
	}
}

func TestTextsAreSafeForConcurrentUse(t *testing.T) {
	c := cache.NewTexts(500)
	digests := random(3000)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 4000 {
				d := digests[(i*7+worker*500)%len(digests)]
				length := 200 + int(d[1])
				if text, ok := c.Get(d, time.Now()); ok && text != textOf(d, length) {
					t.Errorf("Get = %.40q, want %.40q", text, textOf(d, length))
				}
				c.Put(d, textOf(d, length), later())
				if i%1000 == 999 {
					c.SetCapacity(300 + 300*(worker%3))
				}
			}
		})
	}
	all.Wait()
}
