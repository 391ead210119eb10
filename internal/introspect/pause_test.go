package introspect

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// OKTA-13: calls are paused until the rate limit ends, answers that are remembered serve on.
func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{respond: answers(200, active)}
		c := open(t, i, nil)
		good(t, c, "known")
		reset := fmt.Sprint(time.Now().Add(20 * time.Second).Unix())
		i.does(answers(429, `{"errorCode":"E0000047"}`, "X-Rate-Limit-Limit", "300", "X-Rate-Limit-Remaining", "0", "X-Rate-Limit-Reset", reset))
		if u := missing(t, c, "other", "it answered 429"); u.RetryAfter != 20*time.Second {
			t.Errorf("RetryAfter is %s, want 20s", u.RetryAfter)
		}
		i.does(answers(200, active))
		for range 19 {
			good(t, c, "known")
			begin := time.Now()
			missing(t, c, "other", "it answered 429")
			if time.Since(begin) != 0 {
				t.Errorf("a paused call waits %s", time.Since(begin))
			}
			time.Sleep(time.Second)
		}
		if u := missing(t, c, "third", "it answered 429"); u.RetryAfter != time.Second || len(i.calls()) != 2 {
			t.Errorf("RetryAfter is %s after %d calls, want 1s and 2", u.RetryAfter, len(i.calls()))
		}
		time.Sleep(time.Second)
		good(t, c, "other")
	})
}

// 7662-07: how long an answer pauses other calls.
func TestPauses(t *testing.T) {
	is := func(value string) func() string { return func() string { return value } }
	date := func(d time.Duration) func() string {
		return func() string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	}
	epoch := func(d time.Duration) func() string {
		return func() string { return fmt.Sprint(time.Now().Add(d).Unix()) }
	}
	for n, tt := range []struct {
		status int
		header string
		value  func() string
		want   time.Duration // of RetryAfter
		pauses bool
	}{
		{429, "Retry-After", is("7"), 7 * time.Second, true},
		{429, "Retry-After", date(9 * time.Second), 9 * time.Second, true},
		{429, "Retry-After", is("3600"), time.Minute, true},
		{429, "X-Rate-Limit-Reset", epoch(7 * time.Second), 7 * time.Second, true},
		{429, "X-Rate-Limit-Reset", epoch(time.Hour), time.Minute, true},
		{429, "X-Rate-Limit-Reset", epoch(-time.Hour), time.Second, true},
		{429, "X-Rate-Limit-Reset", is("soon"), time.Second, true},
		{429, "X-Rate-Limit-Reset", is("9223372036854775807"), time.Second, true}, // no time at all
		{429, "X-Rate-Limit-Reset", is("-9223372036854775808"), time.Second, true},
		{503, "Retry-After", is("7"), 7 * time.Second, true},
		{500, "Retry-After", is("7"), 7 * time.Second, true},
		{503, "Retry-After", is("0"), time.Second, false},
		{503, "X-Rate-Limit-Reset", epoch(7 * time.Second), time.Second, false}, // it comes with every answer
		{401, "Retry-After", is("7"), time.Second, false},
		{404, "Retry-After", is("7"), time.Second, false},
	} {
		t.Run(fmt.Sprint(n+1, " ", tt.status, " ", tt.header), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := &issuer{respond: answers(tt.status, "", tt.header, tt.value())}
				c := open(t, i, nil)
				if u := missing(t, c, "token", "it answered"); u.RetryAfter != tt.want {
					t.Errorf("RetryAfter is %s, want %s", u.RetryAfter, tt.want)
				}
				i.does(answers(200, active))
				if _, err := c.Introspect(t.Context(), "other"); (err != nil) != tt.pauses {
					t.Errorf("another call = %v, want a pause: %t", err, tt.pauses)
				}
				time.Sleep(tt.want)
				good(t, c, "token")
			})
		})
	}
}

// An issuer that is gone makes few requests wait: the pause grows to 8s, and one call at a time finds out.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{respond: hangs}
		c := open(t, i, nil)
		for n, pause := range []int{1, 2, 4, 8, 8} {
			begin := time.Now()
			u := missing(t, c, "token", "context deadline exceeded")
			if d := time.Since(begin); d != 2*time.Second || u.RetryAfter != time.Duration(pause)*time.Second {
				t.Errorf("failure %d: after %s, RetryAfter %s, want 2s and %ds", n+1, d, u.RetryAfter, pause)
			}
			time.Sleep(u.RetryAfter - time.Millisecond)
			before := len(i.calls())
			missing(t, c, "other", "context deadline exceeded")
			if len(i.calls()) != before {
				t.Errorf("failure %d: the pause ends early", n+1)
			}
			time.Sleep(time.Millisecond)
		}
		i.does(after(time.Second, answers(200, active)))
		probe := make(chan error)
		go func() { _, err := c.Introspect(t.Context(), "token"); probe <- err }()
		synctest.Wait()
		missing(t, c, "other", "context deadline exceeded") // while the probe is under way
		if err := <-probe; err != nil {
			t.Errorf("the probe: %v", err)
		}
		good(t, c, "other")
		var all sync.WaitGroup
		for n := range 10 {
			all.Go(func() { good(t, c, fmt.Sprint("after", n)) })
		}
		all.Wait()
		i.does(hangs)
		if u := missing(t, c, "again", ""); u.RetryAfter != time.Second {
			t.Errorf("RetryAfter of the next outage is %s, want 1s", u.RetryAfter)
		}
	})
}

// Calls that fail together are one failure.
func TestCallsThatFailTogetherCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{respond: hangs}
		c := open(t, i, nil)
		var all sync.WaitGroup
		for n := range 20 {
			all.Go(func() {
				time.Sleep(time.Duration(n) * 60 * time.Millisecond)
				missing(t, c, fmt.Sprint("token", n), "context deadline exceeded")
			})
		}
		all.Wait()
		time.Sleep(8 * time.Second)
		if u := missing(t, c, "token", "context deadline exceeded"); u.RetryAfter != 2*time.Second {
			t.Errorf("RetryAfter is %s, want the 2s of a second failure", u.RetryAfter)
		}
	})
}

// News of calls that began before the pause is old, whether good or bad; what the issuer asks for counts always.
func TestOldCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		c := open(t, i, func(c *Config) { c.Timeout = time.Minute })
		var all sync.WaitGroup
		begin := func(token string, respond http.HandlerFunc) {
			i.does(respond)
			all.Go(func() { _, _ = c.Introspect(t.Context(), token) })
			synctest.Wait()
		}
		failures := func() int {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.traffic.failures
		}
		begin("good", after(1500*time.Millisecond, answers(200, active)))
		begin("bad", after(3500*time.Millisecond, answers(429, "")))
		begin("asked", after(3600*time.Millisecond, answers(429, "", "Retry-After", "30")))
		begin("late", after(4600*time.Millisecond, answers(429, "")))
		i.does(answers(429, ""))
		missing(t, c, "first", "it answered 429") // a pause of 1s
		time.Sleep(1600 * time.Millisecond)       // the good one is over: it does not end the outage
		missing(t, c, "second", "it answered 429")
		if n := len(i.calls()); n != 5 || failures() != 1 {
			t.Errorf("%d calls and %d failures, want 5 and 1: a probe waits for the old calls", n, failures())
		}
		time.Sleep(1950 * time.Millisecond) // the bad one is over: it does not count
		if u := missing(t, c, "third", "it answered 429"); u.RetryAfter != time.Second || failures() != 1 {
			t.Errorf("RetryAfter is %s after %d failures, want no pause and 1 failure", u.RetryAfter, failures())
		}
		all.Wait() // the late one does not shorten what was asked for a second before
		if u := missing(t, c, "fourth", "it answered 429"); u.RetryAfter != 29*time.Second || failures() != 1 {
			t.Errorf("RetryAfter is %s after %d failures, want 29s of the 30s that were asked for", u.RetryAfter, failures())
		}
	})
}

// A burst of new tokens waits for its turn, as long as a call may take.
func TestCallsUnderWayAreBounded(t *testing.T) {
	for _, tt := range []struct {
		took       time.Duration
		good, made int
	}{
		{400 * time.Millisecond, 200, 200}, // four rounds
		{1500 * time.Millisecond, 64, 128}, // the second round has half a second left, and the third none
	} {
		synctest.Test(t, func(t *testing.T) {
			i := &issuer{respond: after(tt.took, answers(200, active))}
			c := open(t, i, nil)
			var all sync.WaitGroup
			var good atomic.Int32
			for n := range 200 {
				all.Go(func() {
					if _, err := c.Introspect(t.Context(), fmt.Sprint("token", n)); err == nil {
						good.Add(1)
					} else if u, ok := errors.AsType[*Unavailable](err); !ok || u.RetryAfter < time.Second {
						t.Errorf("Introspect = %v, want an *Unavailable", err)
					}
				})
			}
			synctest.Wait()
			if c.traffic.calls != maxCalls {
				t.Errorf("%d calls are under way, want %d", c.traffic.calls, maxCalls)
			}
			all.Wait()
			if n := len(i.calls()); n != tt.made || int(good.Load()) != tt.good || len(c.turns) != 0 {
				t.Errorf("%d calls, %d answers, %d turns taken, want %d, %d and 0", n, good.Load(), len(c.turns), tt.made, tt.good)
			}
		})
	}
}

// 7662-07 over a network: nobody listens, a call hangs, an answer breaks off.
func TestConnectionFailuresPauseCalls(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	for name, tt := range map[string]struct {
		respond http.HandlerFunc
		issuer  string
		want    string
	}{
		"refused":    {nil, closed.URL, syscall.ECONNREFUSED.Error()},
		"hanging":    {hangs, "", "context deadline exceeded"},
		"hanging up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "", "EOF"},
		"breaking off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(active))
		}, "", "unexpected EOF"},
		"trickling": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"active":true`))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "", "context deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			i := &issuer{respond: tt.respond}
			c := listen(t, i, func(c *Config) {
				c.Timeout = time.Minute
				if strings.Contains(tt.want, "deadline") {
					c.Timeout = 200 * time.Millisecond
				}
				if tt.issuer != "" {
					c.Issuer = tt.issuer
				}
			})
			missing(t, c, "secret-token", tt.want)
			before := len(i.calls())
			if err := refused(t, c, "other"); !strings.Contains(err.Error(), tt.want) || len(i.calls()) != before {
				t.Errorf("the next call: %v, want a pause", err)
			}
		})
	}
}
