package introspect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// timed introspects at given times and counts the calls.
type timed struct {
	t *testing.T
	i *issuer
	c *Client
}

// at waits, introspects, and checks how many calls there were so far.
func (x timed) at(wait time.Duration, token string, calls int) (*Answer, error) {
	x.t.Helper()
	time.Sleep(wait)
	a, err := x.c.Introspect(x.t.Context(), token)
	if n := len(x.i.calls()); n != calls {
		x.t.Errorf("after %s: %d calls, want %d", wait, n, calls)
	}
	return a, err
}

// 7662-09: a revoked token is refused once its answer is too old.
func TestActiveAnswersAreRememberedForTheTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{respond: answers(200, active)}
		x := timed{t, i, open(t, i, nil)}
		first, err := x.at(0, "token", 1)
		if err != nil {
			t.Fatal(err)
		}
		i.does(answers(200, inactive))
		a, _ := x.at(29*time.Second, "token", 1)
		if a != first {
			t.Errorf("the remembered answer is %v, want the first one", a)
		}
		if a, err := x.at(time.Second, "token", 2); a != nil || err != ErrInactive {
			t.Errorf("after the TTL: %v, %v, want ErrInactive", a, err)
		}
	})
}

// 7662-08
func TestActiveAnswersAreNotRememberedPastExp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		x := timed{t, i, open(t, i, nil)}
		expires := func(in time.Duration) {
			i.does(answers(200, fmt.Sprintf(`{"active":true,"exp":%d}`, time.Now().Add(in).Unix())))
		}
		expires(10 * time.Second)
		_, _ = x.at(0, "token", 1)
		_, _ = x.at(9*time.Second, "token", 1)
		expires(time.Hour)
		_, _ = x.at(time.Second, "token", 2)
		_, _ = x.at(29*time.Second, "token", 2)
		i.does(answers(200, `{"active":true}`)) // without exp, the TTL alone counts
		_, _ = x.at(time.Second, "token", 3)
		_, _ = x.at(29*time.Second, "token", 3)
		expires(-time.Second)
		_, _ = x.at(time.Second, "token", 4)
		if a, err := x.at(0, "token", 5); a == nil || err != nil || x.c.active.Len() != 1 {
			t.Errorf("an expired answer: %v, %v, want it for the caller to judge, and not remembered", a, err)
		}
	})
}

// 7662-10
func TestInactiveAnswersAreRememberedForALittle(t *testing.T) {
	for name, body := range map[string]string{"inactive": inactive, "malformed": `{"active":true,"sub":7}`} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := &issuer{respond: answers(200, body)}
				x := timed{t, i, open(t, i, nil)}
				_, first := x.at(0, "token", 1)
				if _, err := x.at(4*time.Second, "token", 1); err == nil || err != first {
					t.Errorf("the remembered error is %v, want %v", err, first)
				}
				i.does(answers(200, active))
				if a, err := x.at(time.Second, "token", 2); a == nil || err != nil {
					t.Errorf("after the TTL: %v, %v, want an answer", a, err)
				}
			})
		})
	}
}

func TestFailuresAreNotRemembered(t *testing.T) {
	i := &issuer{respond: answers(500, "")}
	c := open(t, i, nil)
	missing(t, c, "token", "it answered 500")
	i.does(answers(200, active))
	good(t, c, "token")
}

// 7662-09, 7662-10: TTLs of 0
func TestNothingIsRememberedWithoutATTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{respond: answers(200, active)}
		x := timed{t, i, open(t, i, func(c *Config) { c.CacheTTL, c.NegativeTTL = 0, 0 })}
		_, _ = x.at(0, "token", 1)
		_, _ = x.at(0, "token", 2)
		i.does(answers(200, inactive))
		_, _ = x.at(0, "token", 3)
		_, _ = x.at(0, "token", 4)
		if x.c.active.Len() != 0 || x.c.inactive.Len() != 0 {
			t.Errorf("%d and %d answers are kept", x.c.active.Len(), x.c.inactive.Len())
		}
		i.does(after(time.Second, answers(200, active)))
		share(t, x.c, 100)
		if n := len(i.calls()); n != 5 {
			t.Errorf("100 at once make %d calls, want one", n-4)
		}
	})
}

// 7662-10: inventing tokens displaces no answer about a good one, and takes no more than its share of memory.
func TestAFloodOfInventedTokensDisplacesNothingGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{respond: answers(200, active)}
		c := open(t, i, func(c *Config) { c.NegativeTTL = time.Hour })
		for n := range 500 {
			good(t, c, fmt.Sprint("good", n))
		}
		i.does(answers(200, inactive))
		for n := range remembered + 1000 {
			refused(t, c, fmt.Sprint("invented", n))
		}
		before := len(i.calls())
		for n := range 500 {
			good(t, c, fmt.Sprint("good", n))
		}
		if n := len(i.calls()) - before; n != 0 {
			t.Errorf("%d good answers were displaced", n)
		}
		if n := c.inactive.Len(); n > remembered {
			t.Errorf("%d inactive answers are kept, want at most %d", n, remembered)
		}
	})
}

// 7662-11: an answer belongs to its issuer, and the token itself is not kept.
func TestAnswersAreKeptByDigestAndIssuer(t *testing.T) {
	yes, no := &issuer{respond: answers(200, active)}, &issuer{respond: answers(200, inactive)}
	a, b := open(t, yes, nil), open(t, no, nil)
	good(t, a, "secret-token")
	refused(t, b, "secret-token")
	good(t, a, "secret-token")
	if a.active.Len() != 1 || b.inactive.Len() != 1 {
		t.Fatal("the answers are not kept")
	}
	if text := fmt.Sprintf("%+v %+v", a.active, b.inactive); strings.Contains(text, "secret-token") {
		t.Errorf("the caches hold the token: %s", text)
	}
	if a.active.Digest("secret-token") == b.active.Digest("secret-token") {
		t.Error("two clients have one digest of a token")
	}
}

// share introspects one token many times at once, and checks that all get the same answer.
func share(t *testing.T, c *Client, n int) {
	t.Helper()
	answers := make([]*Answer, n)
	var all sync.WaitGroup
	for n := range answers {
		all.Go(func() { answers[n], _ = c.Introspect(t.Context(), "shared") })
	}
	all.Wait()
	for _, a := range answers {
		if a == nil || a != answers[0] {
			t.Fatalf("Introspect = %p, want %p as the others", a, answers[0])
		}
	}
}

// 7662-17
func TestParallelRequestsShareOneCall(t *testing.T) {
	t.Run("in time that stands still", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i := &issuer{respond: after(time.Second, answers(200, active))}
			share(t, open(t, i, nil), 100)
			if n := len(i.calls()); n != 1 {
				t.Errorf("%d calls, want one", n)
			}
		})
	})
	t.Run("over a network", func(t *testing.T) {
		i := &issuer{respond: answers(200, active)}
		share(t, listen(t, i, nil), 100)
		if n := len(i.calls()); n != 1 {
			t.Errorf("%d calls, want one", n)
		}
	})
}

// Who missed what the call before remembered a moment later finds it then, and makes no call of its own.
func TestACallThatJustEndedIsNotRepeated(t *testing.T) {
	i := &issuer{respond: answers(200, active)}
	c := open(t, i, nil)
	first := good(t, c, "token")
	if a, err := c.ask(c.active.Digest("token"), "token"); a != first || err != nil || len(i.calls()) != 1 {
		t.Errorf("ask = %v, %v after %d calls, want what is remembered", a, err, len(i.calls()))
	}
}

// Whoever asked first may leave: the call goes on for the others, and ends by its own timeout.
func TestACallerLeavesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{respond: after(time.Second, answers(200, active))}
		c := open(t, i, nil)
		cause := errors.New("the browser was closed")
		ctx, leave := context.WithCancelCause(t.Context())
		first := make(chan error)
		go func() { _, err := c.Introspect(ctx, "token"); first <- err }()
		synctest.Wait()
		second := make(chan *Answer)
		go func() { a, _ := c.Introspect(t.Context(), "token"); second <- a }()
		synctest.Wait()
		begin := time.Now()
		leave(cause)
		if err := <-first; !errors.Is(err, cause) || time.Since(begin) != 0 {
			t.Errorf("who left got %v after %s", err, time.Since(begin))
		} else if _, ok := errors.AsType[*Unavailable](err); !ok {
			t.Errorf("who left got %T, want *Unavailable", err)
		}
		if a := <-second; a == nil || len(i.calls()) != 1 {
			t.Errorf("who stayed got %v from %d calls", a, len(i.calls()))
		}
		good(t, c, "token")
		if len(i.calls()) != 1 {
			t.Error("the answer was not remembered")
		}
	})
}

func TestDestructAbortsCalls(t *testing.T) {
	for name, hanging := range map[string]func(*issuer){
		"at the endpoint":    func(i *issuer) { i.does(hangs) },
		"during a discovery": func(i *issuer) { i.publishes(hangs) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := &issuer{}
				hanging(i)
				c := open(t, i, nil)
				freed := make(chan error)
				go func() { _, err := c.Introspect(t.Context(), "token"); freed <- err }()
				synctest.Wait()
				begin := time.Now()
				destruct(t, c)
				if err := <-freed; !errors.Is(err, errClosed) || time.Since(begin) != 0 {
					t.Errorf("Introspect = %v after %s, want %v at once", err, time.Since(begin), errClosed)
				}
				n := i.discoveries() + len(i.calls())
				missing(t, c, "token", errClosed.Error())
				if at, err := c.discover(); err != errClosed {
					t.Errorf("discover = %q, %v, want %v", at, err, errClosed)
				}
				if i.discoveries()+len(i.calls()) != n {
					t.Error("a closed client asks")
				}
				destruct(t, c)
			})
		})
	}
}

func TestDestructWaitsForTheEndOfCalls(t *testing.T) {
	lingers := func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		time.Sleep(time.Second)
	}
	for name, lingering := range map[string]func(*issuer){
		"at the endpoint":    func(i *issuer) { i.does(lingers) },
		"during a discovery": func(i *issuer) { i.publishes(lingers) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := &issuer{}
				lingering(i)
				c := open(t, i, nil)
				go func() { _, _ = c.Introspect(t.Context(), "token") }()
				synctest.Wait()
				begin := time.Now()
				destruct(t, c)
				if d := time.Since(begin); d != time.Second {
					t.Errorf("Destruct takes %s, want 1s", d)
				}
			})
		})
	}
}

// A real call is aborted too.
func TestDestructEndsConnections(t *testing.T) {
	arrived, ended := make(chan struct{}), make(chan struct{})
	i := &issuer{respond: func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(ended)
	}}
	c := listen(t, i, func(c *Config) { c.Timeout = time.Hour })
	go func() { _, _ = c.Introspect(t.Context(), "token") }()
	<-arrived
	destruct(t, c)
	<-ended
}

func TestAClientIsSafeForConcurrentUse(t *testing.T) {
	var count atomic.Int32
	i := &issuer{respond: func(w http.ResponseWriter, r *http.Request) {
		switch n := count.Add(1); {
		case n%7 == 0:
			answers(500, "")(w, r)
		case n%3 == 0:
			answers(200, inactive)(w, r)
		default:
			answers(200, active)(w, r)
		}
	}}
	c := listen(t, i, func(c *Config) { c.CacheTTL = 0 })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for n := range 50 {
				a, err := c.Introspect(t.Context(), fmt.Sprint("token", n%10))
				if (a == nil) == (err == nil) {
					t.Errorf("Introspect = %v, %v", a, err)
				}
			}
		})
	}
	all.Wait()
}
