package jwks

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// While there are no keys yet, a request waits a little or is told when to come again. It is never told that its key
// is unknown, and never left hanging.
func TestLookupBeforeTheFirstSet(t *testing.T) {
	good := answers(200, document(publish("k1", p256Key())))
	tests := []struct {
		name    string
		issuer  responder
		patient time.Duration // of the request
		begin   time.Duration // of the request, after Start
		takes   time.Duration
		want    bool // a key
	}{
		{"waits for the fetch under way", after(time.Second, good), time.Minute, 0, time.Second, true},
		{"waits for the rest of it only", after(3*time.Second, good), time.Minute, 2 * time.Second, time.Second, true},
		{"waits no longer than two seconds", hangs, time.Minute, 0, 2 * time.Second, false},
		{"waits no longer than its own context", hangs, time.Second / 2, 0, time.Second / 2, false},
		{"does not wait once the first fetch has failed", fails, time.Minute, time.Millisecond, 0, false},
		{"does not wait for the second fetch", after(time.Second, fails), time.Minute, 2500 * time.Millisecond, 0, false},
		{"is not asked to come back within a second", fails, time.Minute, 900 * time.Millisecond, 0, false},
		{"waits until the first fetch fails", after(time.Second, fails), time.Minute, 0, time.Second, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, Config{}, &issuer{respond: tt.issuer})
				s.Start()
				time.Sleep(tt.begin)
				ctx, cancel := context.WithTimeout(t.Context(), tt.patient)
				defer cancel()
				begin := time.Now()
				keys, err := s.Lookup(ctx, "k1")
				if took := time.Since(begin); took != tt.takes {
					t.Errorf("Lookup took %s, want %s", took, tt.takes)
				}
				if tt.want {
					if err != nil || len(keys) != 1 {
						t.Errorf("Lookup = %d keys, %v, want one", len(keys), err)
					}
					return
				}
				var u *Unavailable
				if !errors.As(err, &u) || keys != nil {
					t.Fatalf("Lookup = %v, %v, want Unavailable", keys, err)
				}
				if u.RetryAfter < time.Second || u.RetryAfter > maxRetry {
					t.Errorf("RetryAfter = %s", u.RetryAfter)
				}
				if err := s.Usable(); !errors.As(err, &u) {
					t.Errorf("Usable() = %v, want Unavailable", err)
				}
			})
		})
	}
}

func TestLookupStartsTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{respond: answers(200, document(publish("k1", p256Key())))}
		s := open(t, Config{}, i)
		if err := s.Usable(); err == nil || s.Status().Usable {
			t.Errorf("Usable() = nil before anything was fetched")
		}
		one(t, s, "k1")
		s.Start()
		s.Start()
		synctest.Wait()
		if n := len(i.requests()); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
	})
}

func TestStartRetriesForever(t *testing.T) {
	t.Run("doubling the delay up to a minute, and heals alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i := &issuer{respond: fails}
			s := open(t, Config{}, i)
			s.Start()
			time.Sleep(time.Hour)
			want := time.Second
			for n, gap := range i.gaps() {
				if !near(gap, want) {
					t.Errorf("gap %d = %s, want about %s", n, gap, want)
				}
				want = min(2*want, time.Minute)
			}
			if n := len(i.requests()); n < 50 {
				t.Errorf("%d attempts in an hour", n)
			}
			i.does(answers(200, document(publish("k1", p256Key()))))
			time.Sleep(67 * time.Second)
			if err := s.Usable(); err != nil {
				t.Errorf("Usable() = %v after the issuer came back", err)
			}
			one(t, s, "k1")
		})
	})
	t.Run("also when the issuer hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i := &issuer{respond: hangs}
			open(t, Config{}, i).Start()
			time.Sleep(20 * time.Second)
			gaps := i.gaps()
			if len(gaps) != 1 || !near(gaps[0]-fetchTimeout, time.Second) {
				t.Errorf("gaps = %v, want one of about 11s", gaps)
			}
		})
	})
	for _, tt := range []struct {
		name   string
		status int
		header string
		want   time.Duration
	}{
		{"no sooner than the issuer asks", 503, "30", 30 * time.Second},
		{"no sooner than a limited rate asks", 429, "30", 30 * time.Second},
		{"no sooner than a date", 503, "Sat, 01 Jan 2000 00:00:20 GMT", 20 * time.Second},
		{"within a minute whatever the issuer asks", 503, "86400", time.Minute},
		{"within a minute whatever date the issuer asks", 503, "Sat, 01 Jan 2028 00:00:00 GMT", time.Minute},
		{"within a minute when the number is absurd", 503, "99999999999999999999999", time.Minute},
		{"as usual when the date is over", 503, "Fri, 31 Dec 1999 00:00:00 GMT", time.Second},
		{"as usual when the text is no delay", 503, "soon", time.Second},
		{"as usual when another status carries a delay", 404, "30", time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // begins at 2000-01-01 00:00:00 UTC
				i := &issuer{respond: answers(tt.status, "", "Retry-After", tt.header)}
				s := open(t, Config{}, i)
				s.Start()
				synctest.Wait()
				var u *Unavailable
				if err := s.Usable(); !errors.As(err, &u) || !near(u.RetryAfter, tt.want) || u.RetryAfter < time.Second {
					t.Errorf("Usable() = %#v, want Unavailable for %s", err, tt.want)
				}
				time.Sleep(2 * time.Minute)
				if gap := i.gaps()[0]; !near(gap, tt.want) {
					t.Errorf("the second fetch came after %s, want about %s", gap, tt.want)
				}
			})
		})
	}
}
