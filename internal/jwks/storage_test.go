package jwks

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStoredKeysServeAfterARestart(t *testing.T) {
	keys := []jwkMap{
		publish("rsa", rsaKey()).with("alg", "RS256").with("use", "sig"), publish("p256", p256Key()),
		publish("p384", p384Key()), publish("p521", p521Key()), publish("ed", edKey()),
	}
	for name, respond := range map[string]responder{
		"while the issuer is down":   fails,
		"while the issuer hangs":     hangs,
		"while the issuer is broken": answers(200, "<html>"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := stored(t, kept, keys...)
				fetched := time.Now()
				time.Sleep(23 * time.Hour)
				i := &issuer{respond: respond}
				s := run(t, kept, i, m)
				begin := time.Now()
				for _, jwk := range keys {
					kid := jwk["kid"].(string)
					k := one(t, s, kid)
					original, err := parseKey([]byte(mustJSON(jwk)))
					if err != nil || !k.same(original) {
						t.Errorf("%s is not the key that was stored (%v)", kid, err)
					}
				}
				if took := time.Since(begin); took != 0 || s.Usable() != nil {
					t.Errorf("the stored keys came after %s, Usable() = %v", took, s.Usable())
				}
				if st := s.Status(); !st.Stored || !st.FetchedAt.Equal(fetched) || !st.StoredAt.Equal(fetched) || st.StorageError != "" {
					t.Errorf("Status() = %+v", st)
				}
				time.Sleep(time.Hour - time.Second)
				one(t, s, "rsa")
				time.Sleep(time.Second + 1)
				var u *Unavailable
				if err := s.Usable(); !errors.As(err, &u) {
					t.Errorf("Usable() = %v a day after the fetch", err)
				}
				i.does(answers(200, document(publish("next", p256Next()))))
				time.Sleep(2 * time.Minute)
				one(t, s, "next")
				if st := s.Status(); st.Stored || !st.StoredAt.Equal(st.FetchedAt) || m.writes() != 2 {
					t.Errorf("Status() = %+v after %d writes", st, m.writes())
				}
			})
		})
	}
}

func mustJSON(v any) string {
	text, err := json.Marshal(v)
	must(err)
	return string(text)
}

// A fetch wins, whichever comes first; a key that vanished meanwhile works no more.
func TestFetchedKeysReplaceStoredOnes(t *testing.T) {
	for name, slow := range map[string]time.Duration{"the storage is quicker": 0, "the issuer is quicker": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := stored(t, kept, publish("old", p256Key()))
				time.Sleep(time.Hour)
				m.does(storageTakes(slow), nil)
				i := &issuer{respond: after(time.Second/2, answers(200, document(publish("new", p256Next()))))}
				s := run(t, kept, i, m)
				begin := time.Now()
				var old *Key
				if slow == 0 {
					old = one(t, s, "old")
				}
				if one(t, s, "new"); time.Since(begin) != time.Second/2 {
					t.Errorf("the new key came after %s", time.Since(begin))
				}
				time.Sleep(2 * time.Second)
				if _, err := s.Lookup(t.Context(), "old"); err != ErrUnknownKey || old != nil && s.Has(old.Number) {
					t.Errorf("Lookup(old) = %v, which the source has: %t", err, old != nil && s.Has(old.Number))
				}
				if text := m.text(kept); !strings.Contains(text, `"new"`) || strings.Contains(text, `"old"`) {
					t.Errorf("stored is %s", text)
				}
			})
		})
	}
}

// Requests that come right after a restart wait for the storage, as they wait for the issuer, but never for long.
func TestLookupWaitsForTheStorage(t *testing.T) {
	for _, tt := range []struct {
		name  string
		load  func(context.Context) error
		takes time.Duration
		want  bool
	}{
		{"that takes a second", storageTakes(time.Second), time.Second, true},
		{"that hangs", storageHangs, 2 * time.Second, false},
		{"that is broken", storageBreaks, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := stored(t, kept, publish("k1", p256Key()))
				m.does(tt.load, nil)
				s := run(t, kept, &issuer{respond: fails}, m)
				begin := time.Now()
				keys, err := s.Lookup(t.Context(), "k1")
				if took := time.Since(begin); took != tt.takes || (len(keys) == 1) != tt.want {
					t.Errorf("Lookup = %d keys, %v after %s", len(keys), err, took)
				}
				begin = time.Now()
				if _, err := s.Lookup(t.Context(), "k1"); time.Since(begin) != 0 || (err == nil) != tt.want {
					t.Errorf("the second Lookup = %v after %s", err, time.Since(begin))
				}
			})
		})
	}
}

func TestStorageThatHangsHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{load: storageHangs, store: storageHangs}
		i := &issuer{respond: answers(200, document(publish("k1", p256Key())))}
		s := run(t, kept, i, m)
		begin := time.Now()
		one(t, s, "k1")
		if err := s.Refresh(t.Context()); err != nil || s.Usable() != nil || time.Since(begin) != 0 {
			t.Errorf("Refresh() = %v, Usable() = %v after %s", err, s.Usable(), time.Since(begin))
		}
		time.Sleep(2*storageTimeout + 1)
		if st := s.Status(); !strings.Contains(st.StorageError, "storing the keys") || st.LastError != "" {
			t.Errorf("Status() = %+v", st)
		}
		m.does(nil, nil)
		if err := s.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if st := s.Status(); st.StorageError != "" || m.text(kept) == "" {
			t.Errorf("Status() = %+v after the storage recovered", st)
		}
		m.does(storageHangs, storageHangs)
		time.Sleep(time.Hour)
		begin = time.Now()
		if err := s.Destruct(); err != nil || time.Since(begin) != 0 {
			t.Errorf("Destruct() = %v after %s", err, time.Since(begin))
		}
	})
}

// A storage that comes up after the gateway is asked again, as long as there are no keys.
func TestStorageThatRecoversIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := stored(t, kept, publish("k1", p256Key()))
		m.does(storageBreaks, nil)
		s := run(t, kept, &issuer{respond: fails}, m)
		synctest.Wait()
		if st := s.Status(); !strings.Contains(st.StorageError, "loading the stored keys") || st.Usable {
			t.Errorf("Status() = %+v", st)
		}
		m.does(nil, nil)
		time.Sleep(2 * time.Minute)
		one(t, s, "k1")
		loads := m.loads
		time.Sleep(time.Hour)
		if m.loads != loads {
			t.Errorf("%d more loads with good keys", m.loads-loads)
		}
	})
}

func TestWhatIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Config{Issuer: "https://issuer.test", KeysURL: "https://issuer.test/keys?a=b"}
		m := stored(t, c, publish("b", p256Key()).with("x5c", []string{"MII"}).with("use", "sig"), publish("a", rsaKey()),
			publish("leaked", p256Next()).with("d", "c2VjcmV0"), jwkMap{"kid": "o", "kty": "oct", "k": "c2VjcmV0"})
		if key := c.storageKey(); !regexp.MustCompile(`^okta/keys/[0-9a-f]{64}\.json$`).MatchString(key) {
			t.Errorf("the storage key is %q", key)
		}
		var got struct {
			Issuer    string           `json:"issuer"`
			KeysURL   string           `json:"keys_url"`
			FetchedAt time.Time        `json:"fetched_at"`
			Keys      []map[string]any `json:"keys"`
		}
		if err := json.Unmarshal([]byte(m.text(c)), &got); err != nil {
			t.Fatal(err)
		}
		if got.Issuer != c.Issuer || got.KeysURL != c.KeysURL || !got.FetchedAt.Equal(time.Now()) {
			t.Errorf("stored is %s", m.text(c))
		}
		want := mustJSON([]jwkMap{publish("a", rsaKey()), publish("b", p256Key())})
		if mustJSON(got.Keys) != want {
			t.Errorf("the stored keys are %s, want %s", mustJSON(got.Keys), want)
		}
	})
}

func TestWhenKeysAreStored(t *testing.T) {
	a, b := publish("a", p256Key()), publish("b", p256Next())
	tests := []struct {
		name  string
		after time.Duration
		then  []jwkMap
		want  bool
	}{
		{"the same ones soon after", saveInterval - 1, []jwkMap{a, b}, false},
		{"the same ones in another order soon after", saveInterval - 1, []jwkMap{b, a}, false},
		{"the same ones later, for their age", saveInterval, []jwkMap{a, b}, true},
		{"another key", time.Second, []jwkMap{a, b, publish("c", edKey())}, true},
		{"one key less", time.Second, []jwkMap{a}, true},
		{"the same names of other keys", time.Second, []jwkMap{a, publish("b", edKey())}, true},
		{"a bad answer", time.Hour, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := &issuer{respond: answers(200, document(a, b))}
				m := &memory{}
				c := Config{KeysURL: kept.KeysURL, Refresh: 100 * time.Hour, MaxStale: 200 * time.Hour}
				s := run(t, c, i, m)
				synctest.Wait()
				time.Sleep(tt.after)
				i.does(answers(200, document(tt.then...)))
				_ = s.Refresh(t.Context())
				synctest.Wait()
				if stored := m.writes() == 2; stored != tt.want {
					t.Errorf("stored: %t", stored)
				}
			})
		})
	}
	t.Run("not by a restart that finds them", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := stored(t, kept, a, b)
			time.Sleep(time.Minute)
			run(t, kept, &issuer{respond: answers(200, document(a, b))}, m)
			synctest.Wait()
			if m.writes() != 1 {
				t.Errorf("%d writes, want 1", m.writes())
			}
		})
	})
	t.Run("not over those of another gateway that are more recent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			i := &issuer{respond: answers(200, document(a))}
			s := warm(t, kept, i)
			time.Sleep(time.Minute)
			m := stored(t, kept, a, b)
			time.Sleep(time.Minute)
			s.Join(Terms{Storage: m})
			synctest.Wait()
			if m.writes() != 1 {
				t.Errorf("%d writes, want 1", m.writes())
			}
		})
	})
	t.Run("in time for a short keys_max_stale", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := &memory{}
			c := Config{KeysURL: kept.KeysURL, Refresh: time.Minute, MaxStale: 2 * time.Minute}
			s := run(t, c, &issuer{respond: answers(200, document(a))}, m)
			for range 100 {
				time.Sleep(time.Minute)
				if age := time.Since(s.Status().StoredAt); age > c.MaxStale {
					t.Errorf("the stored keys are %s old", age)
				}
			}
		})
	})
}

// Nobody believes a stored document that is not exactly what this source stored.
func TestStoredKeysThatAreNotUsed(t *testing.T) {
	k1 := publish("k1", p256Key())
	edit := func(old, fresh string) func(string) string {
		return func(text string) string { return strings.Replace(text, old, fresh, 1) }
	}
	constant := func(fresh string) func(string) string { return func(string) string { return fresh } }
	tests := []struct {
		name string
		edit func(text string) string
		age  time.Duration
		want string // in Status
	}{
		{"nothing", constant(""), 0, "not a JSON object"},
		{"garbage", constant("\x00\x01<html>"), 0, "not a JSON object"},
		{"half a document", func(text string) string { return text[:len(text)/2] }, 0, "not a JSON object"},
		{"null", constant("null"), 0, "their version is 0"},
		{"a bare key set", constant(document(k1)), 0, "their version is 0"},
		{"another version", edit(`"version":1`, `"version":2`), 0, "their version is 2"},
		{"a huge document", func(text string) string { return text + strings.Repeat(" ", maxStored) }, 0, "larger than"},
		{"no time", edit(`"fetched_at"`, `"fetched"`), 0, "do not say when"},
		{"a time that is none", edit(`"fetched_at":"2000`, `"fetched_at":"MM`), 0, "not a JSON object"},
		{"a time yet to come", edit(`"fetched_at":"2000`, `"fetched_at":"2001`), 0, "yet to come"},
		{"a time a second ahead", edit(`00:00:00Z`, `00:00:01Z`), 0, "yet to come"},
		{"keys that are too old", edit("", ""), 24 * time.Hour, "older than 24h"},
		{"no keys", edit(`"keys"`, `"Keys"`), 0, `no member "keys"`},
		{"an empty set", func(text string) string { return text[:strings.Index(text, `"keys":[`)] + `"keys":[]}` }, 0, "empty"},
		{"a key that is broken", edit(`"x":"`, `"x":"_AAA`), 0, `"k1"`},
		{"one broken key beside a good one", edit(`"keys":[`, `"keys":[{"kid":"x"},`), 0, "key 1 is not used"},
		{"a private key", edit(`"kid"`, `"d":"AAAA","kid"`), 0, "private"},
		{"the keys of another issuer", edit(`"issuer":""`, `"issuer":"https://other.test"`), 0, "another source"},
		{"the keys of another URL", edit(`issuer.test/keys`, `other.test/keys`), 0, "another source"},
		{"the keys of another trust", edit(kept.fingerprint(), Config{KeysURL: kept.KeysURL, InsecureHTTP: true}.fingerprint()), 0, "another source"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := stored(t, kept, k1)
				m.put(kept, tt.edit(m.text(kept)))
				time.Sleep(tt.age)
				i := &issuer{respond: fails}
				s := run(t, kept, i, m)
				synctest.Wait()
				if keys, err := s.Lookup(t.Context(), "k1"); keys != nil || err == nil {
					t.Errorf("Lookup = %v, %v", keys, err)
				}
				if st := s.Status(); !strings.Contains(st.StorageError, tt.want) || st.Stored || st.Usable || len(st.StorageError) > 400 {
					t.Errorf("StorageError = %q, want %s", st.StorageError, tt.want)
				}
				i.does(answers(200, document(k1)))
				time.Sleep(2 * time.Second)
				one(t, s, "k1")
				if tt.name == "keys that are too old" && m.writes() != 3 || s.Status().StorageError != "" {
					t.Errorf("Status() = %+v after %d writes", s.Status(), m.writes())
				}
				if set, _, err := kept.parseRecord([]byte(m.text(kept)), time.Now()); err != nil || len(set.keys) != 1 {
					t.Errorf("a good set did not replace what was stored: %v", err)
				}
			})
		})
	}
}

// Where sources differ in what they ask or whom they trust, they do not share what is stored.
func TestStorageKeysDiffer(t *testing.T) {
	met := map[string]Config{}
	for _, c := range []Config{
		{Issuer: "https://a.test"}, {Issuer: "https://a.test/"}, {KeysURL: "https://a.test"},
		{Issuer: "https://a.test", KeysURL: "https://a.test"}, {Issuer: "https://a.test", CA: "x"},
		{Issuer: "https://a.test", InsecureHTTP: true},
	} {
		if other, ok := met[c.storageKey()]; ok {
			t.Errorf("%+v and %+v share a storage key", c, other)
		}
		met[c.storageKey()] = c
	}
	a := Config{Issuer: "https://a.test", Refresh: 1, MaxStale: 2}
	if _, ok := met[a.storageKey()]; !ok {
		t.Errorf("the storage key depends on the times")
	}
}

func TestPinnedKeysTouchNoStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		s := run(t, Config{Issuer: "https://issuer.test", Keys: document(publish("k1", p256Key()))}, &issuer{respond: fails}, m)
		time.Sleep(48 * time.Hour)
		one(t, s, "k1")
		if m.loads+m.writes() != 0 {
			t.Errorf("%d loads, %d writes", m.loads, m.writes())
		}
	})
}

// A source that nobody started, as for a configuration that is only validated, touches no storage.
func TestNewTouchesNoStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := warm(t, kept, &issuer{respond: answers(200, document(publish("k1", p256Key())))})
		if st := s.Status(); st.StorageError != "" || !st.StoredAt.IsZero() || !st.Usable {
			t.Errorf("Status() = %+v", st)
		}
	})
}
