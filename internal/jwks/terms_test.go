package jwks

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Over reloads the storage of the newest configuration counts, and that of the old one when the reload fails.
func TestStorageFollowsTheUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{respond: answers(200, document(publish("a", p256Key())))}
		s := open(t, kept, i)
		first, second, third := &memory{}, &memory{}, &memory{}
		leaveFirst := s.Join(Terms{Storage: first})
		s.Start()
		synctest.Wait()

		leaveSecond := s.Join(Terms{Storage: second}) // fails to start
		synctest.Wait()
		leaveSecond()
		leaveSecond()
		next := func(keys ...jwkMap) {
			time.Sleep(time.Minute)
			i.does(answers(200, document(keys...)))
			if err := s.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		next(publish("b", p256Key()))
		if !strings.Contains(first.text(kept), `"b"`) || strings.Contains(second.text(kept), `"b"`) {
			t.Errorf("the storage of a failed reload took the place of the old one")
		}

		s.Join(Terms{Storage: third})
		leaveFirst()
		synctest.Wait()
		if !strings.Contains(third.text(kept), `"b"`) {
			t.Errorf("the new storage did not get the keys at once")
		}
		next(publish("c", p256Key()))
		if !strings.Contains(third.text(kept), `"c"`) || strings.Contains(first.text(kept), `"c"`) {
			t.Errorf("the old storage is still used")
		}
	})
}

func TestLeaveAbortsTheStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		aborted := false
		m := &memory{load: func(ctx context.Context) error {
			err := storageHangs(ctx)
			aborted = true
			return err
		}}
		s := open(t, kept, &issuer{respond: fails})
		leave := s.Join(Terms{Storage: m})
		synctest.Wait()
		leave()
		synctest.Wait()
		if !aborted {
			t.Errorf("the storage of a configuration that is gone is still used")
		}
		time.Sleep(time.Minute)
		if err := s.Refresh(t.Context()); err == nil || m.loads != 1 || s.Status().StorageError != "" {
			t.Errorf("Refresh() = %v, %d loads, Status() = %+v", err, m.loads, s.Status())
		}
	})
}

// Users who share keys agree on the shortest times, and what they agree on counts at once.
func TestTermsOfSeveralUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{respond: answers(200, document(publish("k1", p256Key())), "Cache-Control", "max-age=7200")}
		s := open(t, Config{KeysURL: kept.KeysURL, Refresh: time.Minute, MaxStale: time.Minute}, i)
		leaveSlow := s.Join(Terms{Refresh: 10 * time.Hour, MaxStale: 100 * time.Hour})
		s.Start()
		synctest.Wait()
		expect := func(want time.Duration) {
			t.Helper()
			if next := s.Status().NextRefresh.Sub(s.Status().FetchedAt); !near(next, want) {
				t.Errorf("the next refresh is %s after the last, want %s", next, want)
			}
		}
		expect(2 * time.Hour)
		leaveQuick := s.Join(Terms{Refresh: 30 * time.Minute, MaxStale: 20 * time.Hour})
		expect(30 * time.Minute)
		s.Join(Terms{Refresh: time.Hour, MaxStale: 10 * time.Hour})
		expect(30 * time.Minute)
		leaveQuick()
		expect(time.Hour)
		time.Sleep(67 * time.Minute)
		if n := len(i.requests()); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}

		i.does(fails)
		time.Sleep(10 * time.Hour)
		if s.Usable() == nil {
			t.Errorf("the keys serve for longer than the shortest keys_max_stale")
		}
		leaveSlow()
		s.Join(Terms{Refresh: time.Hour, MaxStale: 5 * time.Hour})
		if s.Usable() == nil {
			t.Errorf("the keys came back")
		}
	})
}

// A reload that allows older keys lets them serve again.
func TestLongerMaxStaleRevivesKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{respond: answers(200, document(publish("k1", p256Key())))}
		s := open(t, kept, i)
		leave := s.Join(Terms{Refresh: time.Minute, MaxStale: time.Hour})
		s.Start()
		synctest.Wait()
		i.does(fails)
		time.Sleep(2 * time.Hour)
		if s.Usable() == nil {
			t.Fatalf("Usable() = nil after two hours")
		}
		s.Join(Terms{Refresh: time.Minute, MaxStale: 24 * time.Hour})
		if s.Usable() == nil {
			t.Errorf("the old user was forgotten before it left")
		}
		leave()
		one(t, s, "k1")
		time.Sleep(23 * time.Hour)
		if s.Usable() == nil {
			t.Errorf("Usable() = nil after 25 hours")
		}
	})
}
