package jwks

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What cached tokens rely on: a key that is still published is the same pointer, one that is not is retired.
func TestRefreshRetiresKeys(t *testing.T) {
	a, b := publish("a", p256Key()), publish("b", rsaKey())
	tests := []struct {
		name    string
		then    []jwkMap
		kept    bool // the *Key of "a"
		present bool // any key named "a"
	}{
		{"keeps the pointer of the same key", []jwkMap{a, b}, true, true},
		{"keeps it in another order", []jwkMap{b, a}, true, true},
		{"keeps it whatever else the key says", []jwkMap{a.with("use", "sig").with("x5t", "abc")}, true, true},
		{"keeps it beside another key of its name", []jwkMap{publish("a", p256Next()), a}, true, true},
		{"retires a key that vanished", []jwkMap{b}, false, false},
		{"retires a key whose material changed", []jwkMap{publish("a", p256Next()), b}, false, true},
		{"retires a key whose type changed", []jwkMap{publish("a", rsaKey()), b}, false, true},
		{"retires a key that was bound to an algorithm", []jwkMap{a.with("alg", "ES256"), b}, false, true},
		{"retires a key that was renamed", []jwkMap{publish("A", p256Key()), b}, false, false},
		{"retires a key that became one for encryption", []jwkMap{a.with("use", "enc"), b}, false, false},
		{"retires a key whose private half leaked", []jwkMap{a.with("d", "AAAA"), b}, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := &issuer{respond: answers(200, document(a, b))}
				s := warm(t, Config{}, i)
				k := one(t, s, "a")
				i.does(answers(200, document(tt.then...)))
				time.Sleep(67 * time.Minute)
				if s.Has(k.Number) != tt.kept {
					t.Errorf("Has = %t", s.Has(k.Number))
				}
				keys, err := s.Lookup(t.Context(), "a")
				if (err == nil) != tt.present {
					t.Errorf("Lookup(a) = %v", err)
				}
				found := false
				for _, got := range keys {
					found = found || got == k
					if !s.Has(got.Number) {
						t.Errorf("Lookup returned a key that Has does not know")
					}
				}
				if found != tt.kept {
					t.Errorf("Lookup returned the same pointer: %t", found)
				}
			})
		})
	}
}

func TestDestruct(t *testing.T) {
	good := answers(200, document(publish("k1", p256Key())))
	t.Run("without Start", func(t *testing.T) {
		s := open(t, Config{}, &issuer{respond: fails})
		if err := errors.Join(s.Destruct(), s.Destruct()); err != nil {
			t.Error(err)
		}
		s.Start()
		var u *Unavailable
		if _, err := s.Lookup(t.Context(), "k1"); !errors.As(err, &u) || s.Refresh(t.Context()) == nil {
			t.Errorf("Lookup = %v after Destruct", err)
		}
	})
	t.Run("aborts the fetch under way and frees who waits for it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, Config{}, &issuer{respond: hangs})
			begin, freed := time.Now(), make(chan error)
			go func() { _, err := s.Lookup(t.Context(), "k1"); freed <- err }()
			go func() { freed <- s.Refresh(t.Context()) }()
			synctest.Wait()
			if err := s.Destruct(); err != nil {
				t.Error(err)
			}
			for range 2 {
				if err := <-freed; !errors.Is(err, errClosed) {
					t.Errorf("a waiting caller got %v", err)
				}
			}
			if took := time.Since(begin); took != 0 {
				t.Errorf("took %s", took)
			}
			if st := s.Status(); st.FetchesFailed != 0 {
				t.Errorf("an aborted fetch counts as failed")
			}
		})
	})
	t.Run("returns when the fetch has ended", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i := &issuer{respond: func(*http.Request) (*http.Response, error) {
				time.Sleep(time.Second) // whatever its context says
				return nil, http.ErrHandlerTimeout
			}}
			s := open(t, Config{}, i)
			s.Start()
			synctest.Wait()
			begin := time.Now()
			if err := s.Destruct(); err != nil || time.Since(begin) != time.Second {
				t.Errorf("Destruct() = %v after %s", err, time.Since(begin))
			}
			if i.closed.Load() != 1 {
				t.Errorf("idle connections are left")
			}
		})
	})
	t.Run("leaves keys to requests under way and fetches no more", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i := &issuer{respond: good}
			s := warm(t, Config{}, i)
			if err := s.Destruct(); err != nil {
				t.Error(err)
			}
			time.Sleep(100 * time.Hour)
			one(t, s, "k1")
			if _, err := s.Lookup(t.Context(), "k2"); err != ErrUnknownKey || len(i.requests()) != 1 {
				t.Errorf("Lookup(k2) = %v after %d fetches", err, len(i.requests()))
			}
		})
	})
}

func TestDestructLeaksNothing(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			<-hang
		}
		_, _ = w.Write([]byte(document(publish("k1", p256Key()))))
	}))
	defer server.Close()
	defer close(hang)
	for _, path := range []string{"/keys", "/hang"} {
		for range 20 {
			s, err := New(Config{KeysURL: server.URL + path})
			if err != nil {
				t.Fatal(err)
			}
			s.Start()
			if path == "/keys" {
				one(t, s, "k1")
			}
			if err := s.Destruct(); err != nil {
				t.Error(err)
			}
		}
	}
	// The connections that were closed end on their own time.
	stack := make([]byte, 1<<20)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		all := string(stack[:runtime.Stack(stack, true)])
		if !strings.Contains(all, "jwks.(*Source)") && !strings.Contains(all, "persistConn") {
			return
		}
	}
	t.Errorf("goroutines are left:\n%s", stack[:runtime.Stack(stack, true)])
}

// Everything at once, for the race detector.
func TestSourceIsSafeForConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		i := &issuer{respond: func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Millisecond)
			if n.Add(1)%3 == 0 {
				return fails(r)
			}
			return answers(200, document(publish("k1", p256Key()), publish("k2", p256Next())))(r)
		}}
		s := open(t, Config{KeysURL: "https://issuer.test/keys", Refresh: time.Second, MaxStale: 2 * time.Second}, i)
		var all sync.WaitGroup
		for g := range 50 {
			all.Go(func() {
				for n := range 200 {
					switch (g + n) % 5 {
					case 0:
						_ = s.Refresh(t.Context())
					case 1:
						_, _ = s.Lookup(t.Context(), "k3")
					case 2:
						_ = s.Status()
					case 3:
						s.Start()
					}
					keys, err := s.Lookup(t.Context(), "k2")
					if err == nil && (len(keys) != 1 || !s.Has(keys[0].Number)) {
						t.Errorf("Lookup = %v", keys)
					}
					_ = s.Usable()
					time.Sleep(time.Duration(g) * time.Millisecond)
				}
				if g == 49 {
					_ = s.Destruct()
				}
			})
		}
		all.Wait()
	})
}

// A fetch may end between the look at the flag and the look at the reason.
func TestUsableWhileKeysArrive(t *testing.T) {
	s, err := New(Config{Keys: document(publish("k1", p256Key()))})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.unavailable(); err != nil {
		t.Errorf("unavailable() = %v for a source that is usable", err)
	}
}

func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := document(publish("a", rsaKey()).with("alg", "RS256"), publish("b", edKey()), publish("c", rsaKey()).with("use", "enc"))
		i := &issuer{respond: answers(200, keys)}
		s := warm(t, Config{}, i)
		st := s.Status()
		want := []KeyStatus{{"a", "RSA", []string{"RS256"}}, {"b", "OKP", []string{"EdDSA"}}}
		if !reflect.DeepEqual(st.Keys, want) || len(st.Ignored) != 1 || !strings.Contains(st.Ignored[0], `"c": its use is "enc"`) {
			t.Errorf("Status() = %+v", st)
		}
		if !st.Usable || st.Pinned || st.KeysURL != "https://issuer.test/keys" || st.FetchesOK != 1 || !st.FetchedAt.Equal(time.Now()) {
			t.Errorf("Status() = %+v", st)
		}
	})
}

func BenchmarkUsable(b *testing.B) {
	s, err := New(Config{Keys: document(publish("a", p256Key()))})
	must(err)
	for b.Loop() {
		if err := s.Usable(); err != nil {
			b.Fatal(err)
		}
	}
}
