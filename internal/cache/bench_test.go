package cache_test

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/cache"
)

// sizes are how many entries the benchmarked caches hold.
var sizes = []int{1, 1000, 100_000}

// random returns digests as those of real secrets are.
func random(n int) []cache.Digest {
	source := rand.NewChaCha8([32]byte{})
	digests := make([]cache.Digest, n)
	for i := range digests {
		_, _ = source.Read(digests[i][:])
	}
	return digests
}

// each runs do with ever another index, with and without others that do the same.
func each(b *testing.B, n int, do func(i int)) {
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			do(i % n)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := rand.IntN(n); pb.Next(); i++ {
				do(i % n)
			}
		})
	})
}

// The floor of a look-up is that in a map that nobody guards.
func BenchmarkGet(b *testing.B) {
	for _, size := range sizes {
		digests := random(size)
		bare := make(map[cache.Digest]*int)
		c := cache.New[*int](2 * size) // holds all
		for _, d := range digests {
			bare[d] = new(int)
			c.Put(d, bare[d], now.Add(time.Hour))
		}
		b.Run(fmt.Sprintf("%d/floor", size), func(b *testing.B) {
			each(b, size, func(i int) {
				if bare[digests[i]] == nil {
					b.Error("not found")
				}
			})
		})
		b.Run(fmt.Sprintf("%d/cache", size), func(b *testing.B) {
			each(b, size, func(i int) {
				if _, ok := c.Get(digests[i], now); !ok {
					b.Error("not found")
				}
			})
		})
		texts, text := cache.NewTexts(2*size), strings.Repeat("t", 500)
		for _, d := range digests {
			texts.Put(d, text, later())
		}
		b.Run(fmt.Sprintf("%d/texts", size), func(b *testing.B) {
			each(b, size, func(i int) {
				if _, ok := texts.Get(digests[i], now); !ok {
					b.Error("not found")
				}
			})
		})
	}
}

// Whatever is put into the full cache is new to it, and something else goes.
func BenchmarkPut(b *testing.B) {
	for _, size := range sizes {
		digests := random(2*size + 10_000)
		value := new(int)
		b.Run(fmt.Sprintf("%d/floor", size), func(b *testing.B) { // drops what came longest ago
			bare := make(map[cache.Digest]*int)
			for _, d := range digests[len(digests)-size:] {
				bare[d] = value
			}
			for i := 0; b.Loop(); i++ {
				delete(bare, digests[(i+len(digests)-size)%len(digests)])
				bare[digests[i%len(digests)]] = value
			}
		})
		b.Run(fmt.Sprintf("%d/cache", size), func(b *testing.B) {
			c := cache.New[*int](size)
			for _, d := range digests {
				c.Put(d, value, now.Add(time.Hour))
			}
			each(b, len(digests), func(i int) { c.Put(digests[i], value, now.Add(time.Hour)) })
		})
	}
}

// What a hundred thousand texts cost a collection of the garbage, and as its floor a collection without any.
func BenchmarkCollectGarbage(b *testing.B) {
	for name, texts := range map[string]int{"floor": 0, "texts": 100_000} {
		b.Run(name, func(b *testing.B) {
			c := cache.NewTexts(100_000)
			text := strings.Repeat("t", 500) // as long as packed tokens are
			for _, d := range random(texts) {
				c.Put(d, text, later())
			}
			for b.Loop() {
				runtime.GC()
			}
			runtime.KeepAlive(c)
		})
	}
}

// The floor is the bare hash.
func BenchmarkDigest(b *testing.B) {
	secret := strings.Repeat("s", 1000) // as long as Okta's tokens are
	b.Run("floor", func(b *testing.B) {
		text := []byte(secret)
		for b.Loop() {
			sha256.Sum256(text)
		}
	})
	b.Run("cache", func(b *testing.B) {
		c := cache.New[int](1)
		b.ReportAllocs()
		for b.Loop() {
			c.Digest(secret)
		}
	})
}
