package jwks

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A rotation without notice: the first tokens of the new key wait for one fetch and pass.
func TestUnknownKidSharesOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := publish("old", p256Key()), publish("next", p256Next())
		i := &issuer{respond: answers(200, document(old))}
		s := warm(t, Config{}, i)
		time.Sleep(minInterval)
		i.does(after(time.Second, answers(200, document(old, next))))

		first, leave := context.WithCancel(t.Context()) // whoever began the fetch goes away
		go func() { _, _ = s.Lookup(first, "next") }()
		synctest.Wait()
		leave()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				begin := time.Now()
				if one(t, s, "next"); time.Since(begin) != time.Second {
					t.Errorf("Lookup took %s", time.Since(begin))
				}
			})
		}
		all.Wait()
		if n := len(i.requests()); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
	})
}

func TestUnknownKid(t *testing.T) {
	good := answers(200, document(publish("k1", p256Key())))
	tests := []struct {
		name   string
		kid    string
		age    time.Duration // of the last fetch
		issuer responder
		takes  time.Duration
		fetch  bool
	}{
		{"is looked for", "k2", minInterval, good, 0, true},
		{"is looked for no longer than two seconds", "k2", minInterval, hangs, 2 * time.Second, true},
		{"is unknown when the issuer is broken", "k2", minInterval, fails, 0, true},
		{"is not looked for within ten seconds after a fetch", "k2", minInterval - 1, good, 0, false},
		{"is not looked for when it is empty", "", minInterval, good, 0, false},
		{"is compared with its case", "K1", minInterval, good, 0, true},
		{"is compared with its spaces", "k1 ", minInterval, good, 0, true},
		{"is no path", "../../k1", minInterval, good, 0, true},
		{"may hold anything", "'\";\x00\xff\r\n", minInterval, good, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := &issuer{respond: good}
				s := warm(t, Config{}, i)
				time.Sleep(tt.age)
				i.does(tt.issuer)
				begin := time.Now()
				keys, err := s.Lookup(t.Context(), tt.kid)
				if !errors.Is(err, ErrUnknownKey) || keys != nil {
					t.Errorf("Lookup(%q) = %v, %v, want ErrUnknownKey", tt.kid, keys, err)
				}
				if took := time.Since(begin); took != tt.takes {
					t.Errorf("Lookup(%q) took %s, want %s", tt.kid, took, tt.takes)
				}
				if fetched := len(i.requests()) == 2; fetched != tt.fetch {
					t.Errorf("Lookup(%q) fetched: %t", tt.kid, fetched)
				}
				begin = time.Now()
				if one(t, s, "k1"); time.Since(begin) != 0 {
					t.Errorf("a known kid took %s", time.Since(begin))
				}
			})
		})
	}
}

// An issuer that asks to be left alone is left alone, whatever strangers send.
func TestUnknownKidHeedsRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{respond: answers(200, document(publish("k1", p256Key())))}
		s := warm(t, Config{}, i)
		i.does(answers(429, "", "Retry-After", "40"))
		if err := s.Refresh(t.Context()); err == nil {
			t.Errorf("Refresh() = nil")
		}
		for range 39 {
			time.Sleep(time.Second)
			if _, err := s.Lookup(t.Context(), "k2"); !errors.Is(err, ErrUnknownKey) {
				t.Errorf("Lookup = %v", err)
			}
		}
		if n := len(i.requests()); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
	})
}

// CVE-2026-41413 and its kin: each unknown kid was one fetch, and a slow issuer froze everybody.
func TestFloodOfUnknownKids(t *testing.T) {
	for name, respond := range map[string]responder{
		"while the issuer is well":   answers(200, document(publish("k1", p256Key()))),
		"while the issuer is slow":   after(5*time.Second, answers(200, document(publish("k1", p256Key())))),
		"while the issuer hangs":     hangs,
		"while the issuer is broken": fails,
		"while it is overloaded":     answers(503, ""),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := &issuer{respond: answers(200, document(publish("k1", p256Key())))}
				s := warm(t, Config{}, i)
				i.does(respond)
				begin := time.Now()
				var all sync.WaitGroup
				for range 100 {
					all.Go(func() {
						for range 100 {
							kid, asked := rand.Text(), time.Now()
							if _, err := s.Lookup(t.Context(), kid); !errors.Is(err, ErrUnknownKey) {
								t.Errorf("Lookup(%q) = %v", kid, err)
							}
							if took := time.Since(asked); took > patience {
								t.Errorf("an unknown kid took %s", took)
							}
							asked = time.Now()
							if one(t, s, "k1"); time.Since(asked) != 0 {
								t.Errorf("a known kid took %s", time.Since(asked))
							}
							time.Sleep(time.Second)
						}
					})
				}
				all.Wait()
				for _, gap := range i.gaps() {
					if gap < minInterval {
						t.Errorf("fetched again after %s", gap)
					}
				}
				if n, most := len(i.requests()), 2+int(time.Since(begin)/minInterval); n > most || n < 5 {
					t.Errorf("%d fetches in %s, want at most %d", n, time.Since(begin), most)
				}
			})
		})
	}
}

func TestPinnedKeysNeverFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{respond: fails}
		s := open(t, Config{Issuer: "https://issuer.test", Keys: document(publish("k1", rsaKey()))}, i)
		s.Start()
		for range 10 {
			time.Sleep(30 * 24 * time.Hour)
			one(t, s, "k1")
			if _, err := s.Lookup(t.Context(), "k2"); err != ErrUnknownKey {
				t.Errorf("Lookup(k2) = %v", err)
			}
		}
		if err := errors.Join(s.Usable(), s.Refresh(t.Context())); err != nil {
			t.Error(err)
		}
		if n := len(i.requests()); n != 0 {
			t.Errorf("%d fetches with pinned keys", n)
		}
		if st := s.Status(); !st.Pinned || !st.Usable || len(st.Keys) != 1 || !st.NextRefresh.IsZero() {
			t.Errorf("Status() = %+v", st)
		}
	})
}
