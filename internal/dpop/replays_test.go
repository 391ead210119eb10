package dpop

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/jwt"
)

const orders = "https://api.example.com/orders/17"

// used returns a proof as Parse would, without the cost of a signature.
func used(key, url, jti string, issuedAt time.Time) *Proof {
	return &Proof{Thumbprint: key, url: url, jws: &jwt.Proof{ID: jti, IssuedAt: issuedAt}}
}

// at is the usual request at another time.
func at(now time.Time) Request {
	r := request()
	r.Now = now
	return r
}

func mustUse(t *testing.T, m *Replays, p *Proof, r Request) {
	t.Helper()
	if err := m.Use(p, r); err != nil {
		t.Fatalf("Use(%s, %s, %s) = %v, want nil", p.Thumbprint, p.url, p.jws.ID, err)
	}
}

// 9449-22
func TestReplaysRefusesAProofThatWasUsed(t *testing.T) {
	c := newClient(t)
	first := claims("1")
	for _, test := range []struct{ name, second string }{
		{"the same proof", first},
		{"another iat", strings.Replace(first, `"iat":1767225600`, `"iat":1767225605`, 1)},
		{"another method", strings.Replace(first, "GET", "POST", 1)},
		{"another spelling of the URL", strings.Replace(first, "api.example.com/orders", "API.example.com:443/x/../%6Frders", 1)},
		{"another query", strings.Replace(first, "/17", "/17?x=1", 1)},
		{"another token", strings.Replace(first, `"ath":"`, `"ath":"x`, 1)},
		{"a nonce", strings.Replace(first, `"htm"`, `"nonce":"n","htm"`, 1)},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := NewReplays(100)
			mustUse(t, m, c.proof(t, first), request())
			for range 2 { // and it stays so
				if err := m.Use(c.proof(t, test.second), request()); !errors.Is(err, ErrReplayed) {
					t.Errorf("the second Use = %v, want %v", err, ErrReplayed)
				}
			}
		})
	}
}

// 9449-23
func TestReplaysTellsKeysAndURLsApart(t *testing.T) {
	m := NewReplays(100)
	r := request()
	for _, p := range []*Proof{
		used("key", "https://h/a", "bc", issued),
		used("kez", "https://h/a", "bc", issued),
		used("key", "https://h/b", "bc", issued),
		used("key", "https://h/a", "bd", issued),
		used("key", "https://h/a", "BC", issued),
		used("key", "https://h/ab", "c", issued), // together they are the first one's text
	} {
		mustUse(t, m, p, r)
	}
	other := NewReplays(100) // another server's secret makes another memory of the same thing
	if p := used("key", "https://h/a", "bc", issued); m.digest(p) == other.digest(p) {
		t.Error("two memories have the same digest, want keyed ones")
	}
}

// Nothing is forgotten as long as Check takes it, and nothing is kept for longer than a second more.
func TestReplaysRemembersToTheEndOfTheWindow(t *testing.T) {
	r := request()
	for _, fraction := range []time.Duration{0, time.Nanosecond, time.Second / 2, time.Second - 1} {
		m := NewReplays(100)
		p := used("key", orders, "1", issued.Add(fraction))
		deadline := issued.Add(fraction + r.MaxAge)
		mustUse(t, m, p, r)
		for _, before := range []time.Duration{time.Minute, time.Second, time.Nanosecond, 0} {
			if err := m.Use(p, at(deadline.Add(-before))); !errors.Is(err, ErrReplayed) {
				t.Errorf("%s before its end, Use = %v, want %v", before, err, ErrReplayed)
			}
		}
		mustUse(t, m, used("key", orders, "late", issued.Add(fraction)), at(deadline)) // not known before, and still good
		mustUse(t, m, used("other", orders, "2", deadline), at(deadline.Add(time.Second)))
		if n := m.held.Load(); n != 1 {
			t.Errorf("a second after the end %d entries are held, want only the new one", n)
		}
	}
}

// One URL can be judged by several settings, at once or over a reload: what the shortest took stays used for the longest.
func TestReplaysRemembersForTheLongestAge(t *testing.T) {
	m := NewReplays(100)
	old := used("key", orders, "old", issued)
	brief := at(issued)
	brief.MaxAge = time.Second
	mustUse(t, m, old, brief)
	later := at(issued.Add(5 * time.Second)) // forgotten by then
	if err := m.Use(old, later); !errors.Is(err, ErrReplayed) {
		t.Errorf("Use(a proof that a shorter age took) = %v, want %v", err, ErrReplayed)
	}
	mustUse(t, m, used("key", orders, "new", issued.Add(4*time.Second)), later)
	second := used("key", orders, "second", issued.Add(5*time.Second))
	brief.Now = issued.Add(5 * time.Second)
	mustUse(t, m, second, brief)
	if err := m.Use(second, at(issued.Add(60*time.Second))); !errors.Is(err, ErrReplayed) {
		t.Errorf("Use(another one) = %v, want %v", err, ErrReplayed)
	}
}

// A clock that was ahead for a while does not lock everybody out until its time has come.
func TestReplaysFollowsAClockThatIsSetBack(t *testing.T) {
	m := NewReplays(100)
	ahead := issued.Add(24 * time.Hour)
	mustUse(t, m, used("key", orders, "1", ahead), at(ahead))
	mustUse(t, m, used("key", orders, "2", issued), at(issued))
	if err := m.Use(used("key", orders, "2", issued), at(issued.Add(time.Second))); !errors.Is(err, ErrReplayed) {
		t.Errorf("Use(a known proof) = %v, want %v", err, ErrReplayed)
	}
}

// A request may be slow: its time was taken when the proof was still good, and when it comes to use it, a later
// request has made the memory forget it.
func TestReplaysRefusesWhatItCannotKnow(t *testing.T) {
	m := NewReplays(100)
	p := used("key", orders, "1", issued)
	slow := at(issued.Add(55 * time.Second))
	mustUse(t, m, p, slow)
	mustUse(t, m, used("key", orders, "2", issued.Add(65*time.Second)), at(issued.Add(65*time.Second)))
	if err := m.Use(p, slow); !errors.Is(err, ErrReplayed) {
		t.Errorf("Use(a proof that is forgotten) = %v, want %v", err, ErrReplayed)
	}
	// What is still known is not refused for being slow.
	mustUse(t, m, used("key", orders, "3", issued.Add(50*time.Second)), slow)
}

// 9449-25: one key that floods finds its end, and nobody else.
func TestReplaysGivesAKeyNoMoreThanIsFree(t *testing.T) {
	m := NewReplays(100)
	r := request()
	fill := func(key string) (taken int) {
		for {
			err := m.Use(used(key, orders, fmt.Sprint(taken), issued), r)
			if errors.Is(err, ErrFull) {
				return taken
			}
			if err != nil {
				t.Fatal(err)
			}
			taken++
		}
	}
	for i, want := range []int{50, 25, 13, 6, 3, 2, 1} {
		if got := fill(fmt.Sprint("flood", i)); got != want {
			t.Errorf("flood %d takes %d entries, want %d", i, got, want)
		}
	}
	// 100 entries: nobody gets in, and those who are in are still known.
	if err := m.Use(used("late", orders, "1", issued), r); !errors.Is(err, ErrFull) {
		t.Errorf("Use into a full memory = %v, want %v", err, ErrFull)
	}
	if err := m.Use(used("flood0", orders, "1", issued), r); !errors.Is(err, ErrReplayed) {
		t.Errorf("Use(a known proof) of a full memory = %v, want %v", err, ErrReplayed)
	}
	if n := m.held.Load(); n != 100 {
		t.Errorf("%d entries are held, want 100", n)
	}
	// When they have expired there is room again, for keys of every shard.
	later := at(issued.Add(61 * time.Second))
	for i := range 40 {
		mustUse(t, m, used(fmt.Sprint("later", i), orders, "1", later.Now), later)
	}
	if n := m.held.Load(); n != 40 {
		t.Errorf("%d entries are held, want 40", n)
	}
}

func TestReplaysWithoutRoomRefuses(t *testing.T) {
	if err := NewReplays(0).Use(used("key", orders, "1", issued), request()); !errors.Is(err, ErrFull) {
		t.Errorf("Use = %v, want %v", err, ErrFull)
	}
}

func TestReplaysKeepsNothingOfWhatHasExpired(t *testing.T) {
	m := NewReplays(1000)
	for i := range 500 {
		when := issued.Add(time.Duration(i) * time.Second / 10)
		mustUse(t, m, used(fmt.Sprint(i%10), orders, fmt.Sprint(i), when), at(when))
	}
	m.sweep(issued.Add(time.Hour).Unix())
	if n := m.held.Load(); n != 0 {
		t.Errorf("%d entries are held, want none", n)
	}
	for i := range m.shards {
		if s := &m.shards[i]; len(s.used)+len(s.held)+len(s.due) > 0 {
			t.Errorf("shard %d has %d digests, %d keys and %d seconds, want none", i, len(s.used), len(s.held), len(s.due))
		}
	}
}

// Forgetting costs something, so it happens once in a second, whatever order the requests come in.
func TestReplaysSweepsOnceASecond(t *testing.T) {
	m := NewReplays(100)
	mustUse(t, m, used("key", orders, "1", issued), request())
	now := request().Now
	s := &m.shards[0]
	s.due[now.Unix()-60] = nil
	for _, after := range []time.Duration{0, time.Second / 2, -time.Second} {
		mustUse(t, m, used("key", orders, after.String(), issued), at(now.Add(after)))
	}
	if _, ok := s.due[now.Unix()-60]; !ok {
		t.Error("the memory is swept again within the same second")
	}
	mustUse(t, m, used("key", orders, "2", issued), at(now.Add(time.Second)))
	if _, ok := s.due[now.Unix()-60]; ok {
		t.Error("the memory is not swept in the next second")
	}
}

// 9449-24
func TestReplaysKeepsNothingOfALongJTI(t *testing.T) {
	const n, size = 5000, 6000
	heap := func() int64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	m := NewReplays(4 * n)
	before := heap()
	for i := range n {
		mustUse(t, m, used("key", orders, fmt.Sprintf("%0*d", size, i), issued), request())
	}
	if grown := heap() - before; grown > n*250 {
		t.Errorf("%d entries take %d bytes, want at most 250 each", n, grown)
	}
	runtime.KeepAlive(m)
}

func TestReplaysServesOneOfManyAtOnce(t *testing.T) {
	const workers, proofs, capacity = 8, 300, 500
	m := NewReplays(capacity)
	var wins, full atomic.Int64
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := range proofs {
				when := at(issued.Add(time.Duration(w) * time.Second)) // sweeps happen in between
				err := m.Use(used(fmt.Sprint(i%50), orders, fmt.Sprint(i), issued), when)
				switch {
				case err == nil:
					wins.Add(1)
				case errors.Is(err, ErrFull):
					full.Add(1)
				}
			}
		})
	}
	all.Wait()
	if wins.Load() != proofs || full.Load() != 0 {
		t.Errorf("%d uses of %d proofs succeed and %d find no room, want each proof once", wins.Load(), proofs, full.Load())
	}
	for w := range workers {
		all.Go(func() {
			for i := range 1000 {
				_ = m.Use(used(fmt.Sprint(w, i), orders, "1", issued), request())
			}
		})
	}
	all.Wait()
	held := 0
	for i := range m.shards {
		held += len(m.shards[i].used)
	}
	if held > capacity || int64(held) != m.held.Load() {
		t.Errorf("%d entries are held and %d counted, want the same and at most %d", held, m.held.Load(), capacity)
	}
}
