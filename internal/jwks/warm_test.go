package jwks

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRefreshInterval(t *testing.T) {
	day := 24 * time.Hour
	tests := []struct {
		name    string
		config  Config
		control string
		want    time.Duration
	}{
		{"is an hour by default", Config{}, "", time.Hour},
		{"is what is configured", Config{Refresh: 3 * time.Hour}, "", 3 * time.Hour},
		// OKTA-11
		{"is not lengthened by 44 days of max-age", Config{}, "max-age=3832304, must-revalidate", time.Hour},
		{"is shortened by max-age", Config{}, "public, Max-Age=600", 10 * time.Minute},
		{"is shortened by a quoted max-age", Config{}, `max-age="600"`, 10 * time.Minute},
		{"is never below a minute", Config{}, "max-age=5", time.Minute},
		{"is never below a minute with max-age=0", Config{}, "max-age=0", time.Minute},
		{"does not heed no-store", Config{}, "no-cache, no-store", time.Hour},
		{"does not heed a max-age that is no number", Config{}, "max-age=-1", time.Hour},
		{"does not heed an absurd max-age", Config{}, "max-age=99999999999999999999999", time.Hour},
		{"is shortened so that keys do not expire in between", Config{MaxStale: 20 * time.Minute}, "", 18 * time.Minute},
		{"may be configured below a minute", Config{Refresh: 10 * time.Second, MaxStale: day}, "", 10 * time.Second},
		{"is not lengthened by max-age when below a minute", Config{Refresh: 10 * time.Second}, "max-age=600", 10 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.config.KeysURL = "https://issuer.test/keys"
				i := &issuer{respond: answers(200, document(publish("k1", p256Key())), "Cache-Control", tt.control)}
				s := warm(t, tt.config, i)
				next := time.Until(s.Status().NextRefresh)
				time.Sleep(20 * tt.want)
				gaps := i.gaps()
				if len(gaps) < 15 {
					t.Fatalf("%d refreshes, want about 20", len(gaps))
				}
				if gaps[0] != next {
					t.Errorf("the first refresh came after %s, the status said %s", gaps[0], next)
				}
				same := true
				for _, gap := range gaps {
					if !near(gap, tt.want) || tt.want >= time.Minute && gap < time.Minute {
						t.Errorf("refreshed after %s, want about %s", gap, tt.want)
					}
					same = same && gap == gaps[0]
				}
				if same && tt.want > 20*time.Minute { // shorter ones meet a bound half of the time or always
					t.Errorf("%d refreshes without jitter", len(gaps))
				}
			})
		})
	}
}

// An outage does not show until the last good keys are too old, and then heals by itself.
func TestASourceWithoutKeysHasNone(t *testing.T) {
	s, err := New(Config{KeysURL: "https://issuer.test/keys"})
	if err != nil {
		t.Fatal(err)
	}
	if s.Has(1) {
		t.Error("a source that never fetched has a key")
	}
}

func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{respond: answers(200, document(publish("k1", p256Key())))}
		s := warm(t, Config{KeysURL: "https://issuer.test/keys", MaxStale: 6 * time.Hour}, i)
		k := one(t, s, "k1")
		i.does(answers(503, ""))
		time.Sleep(6*time.Hour - time.Second)
		if got := one(t, s, "k1"); got != k || s.Usable() != nil {
			t.Errorf("Lookup = %v, Usable() = %v within keys_max_stale", got, s.Usable())
		}
		want := warmRetry
		for n, gap := range i.gaps()[1:] {
			if !near(gap, want) {
				t.Errorf("retry %d came after %s, want about %s", n, gap, want)
			}
			want = min(2*want, maxRetry)
		}

		time.Sleep(2 * time.Second)
		var u *Unavailable
		if err := s.Usable(); !errors.As(err, &u) || !strings.Contains(err.Error(), "older than 6h0m0s") ||
			!strings.Contains(err.Error(), "answered 503") {
			t.Errorf("Usable() = %v beyond keys_max_stale", err)
		}
		if u.RetryAfter < time.Second || u.RetryAfter > maxRetry*11/10 {
			t.Errorf("RetryAfter = %s", u.RetryAfter)
		}
		begin := time.Now()
		for _, kid := range []string{"k1", "other"} {
			if keys, err := s.Lookup(t.Context(), kid); !errors.As(err, &u) || keys != nil || time.Since(begin) != 0 {
				t.Errorf("Lookup(%q) = %v, %v after %s beyond keys_max_stale", kid, keys, err, time.Since(begin))
			}
		}
		if st := s.Status(); st.Usable || st.LastError == "" || st.FetchesFailed < 100 || st.FetchesOK != 1 {
			t.Errorf("Status() = %+v", st)
		}

		i.does(answers(200, document(publish("k1", p256Key()))))
		time.Sleep(67 * time.Second)
		if got := one(t, s, "k1"); got != k || !s.Has(k.Number) || s.Usable() != nil {
			t.Errorf("the same key is another one after the outage")
		}
		if st := s.Status(); st.LastError != "" || !st.Usable {
			t.Errorf("Status() = %+v after the outage", st)
		}
	})
}

// A fetch may end just when the time of the old keys is up.
func TestExpiryOfKeysThatWereReplaced(t *testing.T) {
	s := warm(t, Config{}, &issuer{respond: answers(200, document(publish("k1", p256Key())))})
	s.expire()
	if err := s.Usable(); err != nil {
		t.Errorf("Usable() = %v with fresh keys", err)
	}
}

// The second outage begins with short delays again.
func TestRecoveryForgetsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := answers(200, document(publish("k1", p256Key())))
		i := &issuer{respond: good}
		s := warm(t, Config{}, i)
		i.does(fails)
		time.Sleep(2 * time.Hour)
		i.does(good)
		if err := s.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		i.does(fails)
		if err := s.Refresh(t.Context()); err == nil {
			t.Error("Refresh() = nil")
		}
		if next := time.Until(s.Status().NextRefresh); !near(next, warmRetry) {
			t.Errorf("the next fetch is in %s, want about %s", next, warmRetry)
		}
	})
}

// The answer of an issuer that is broken, or is not the issuer, never replaces good keys.
func TestBadAnswersKeepGoodKeys(t *testing.T) {
	tests := []struct {
		name string
		bad  responder
	}{
		{"a connection that breaks", fails},
		{"a status that is not 200", answers(500, document(publish("k2", p256Key())))},
		{"a redirect to another host", answers(302, "", "Location", "https://evil.test/keys")},
		{"a redirect to http", answers(302, "", "Location", "http://issuer.test/keys")},
		{"a redirect without an end", answers(302, "", "Location", "/keys")},
		{"a page", answers(200, "<html>")},
		{"null", answers(200, "null")},
		{"nothing", answers(200, "")},
		{"two documents", answers(200, document(publish("k2", p256Key()))+"{}")},
		{"an empty set", answers(200, document())},
		{"a set without usable keys", answers(200, document(publish("", p256Key())))},
		{"a set that is too large", answers(200, strings.Repeat(" ", maxBody)+document(publish("k2", p256Key())))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := &issuer{respond: answers(200, document(publish("k1", p256Key())))}
				s := warm(t, Config{}, i)
				k := one(t, s, "k1")
				i.does(tt.bad)
				if err := s.Refresh(t.Context()); err == nil {
					t.Errorf("Refresh() = nil")
				}
				if one(t, s, "k1") != k || !s.Has(k.Number) || s.Usable() != nil {
					t.Errorf("the good keys are gone")
				}
				if st := s.Status(); st.FetchesFailed != 1 || st.LastError == "" || len(st.Keys) != 1 {
					t.Errorf("Status() = %+v", st)
				}
			})
		})
	}
}

func TestRefresh(t *testing.T) {
	t.Run("shares the fetch under way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i := &issuer{respond: after(time.Second, answers(200, document(publish("k1", p256Key()))))}
			s := open(t, Config{}, i)
			results := make(chan error)
			for range 10 {
				go func() { results <- s.Refresh(t.Context()) }()
			}
			for range 10 {
				if err := <-results; err != nil {
					t.Errorf("Refresh() = %v", err)
				}
			}
			if n := len(i.requests()); n != 1 {
				t.Errorf("%d fetches, want 1", n)
			}
		})
	})
	t.Run("waits as long as its caller does", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, Config{}, &issuer{respond: hangs})
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err := s.Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Refresh() = %v", err)
			}
		})
	})
	t.Run("fetches again at once, and counts for the next refresh", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i := &issuer{respond: answers(200, document(publish("k1", p256Key())))}
			s := warm(t, Config{}, i)
			time.Sleep(30 * time.Minute)
			if err := s.Refresh(t.Context()); err != nil || len(i.requests()) != 2 {
				t.Errorf("Refresh() = %v after %d fetches", err, len(i.requests()))
			}
			time.Sleep(53 * time.Minute)
			if n := len(i.requests()); n != 2 {
				t.Errorf("%d fetches, want 2", n)
			}
		})
	})
}
