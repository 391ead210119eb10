package lease_test

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/lease"
)

// value counts how often it was destroyed.
type value struct {
	destroyed atomic.Int32
	err       error
}

func (v *value) Destruct() error {
	v.destroyed.Add(1)
	return v.err
}

// take leases key and fails the test if that is not possible.
func take(t *testing.T, pool lease.Pool[string, *value], key string) lease.Lease[*value] {
	t.Helper()
	l, err := pool.Take(key, func() (*value, error) { return new(value), nil })
	if err != nil {
		t.Fatalf("Take(%s) = %v, want a lease", key, err)
	}
	return l
}

func release(t *testing.T, l *lease.Lease[*value]) {
	t.Helper()
	if err := l.Release(); err != nil {
		t.Errorf("Release = %v, want nil", err)
	}
}

func TestTheLastReleaseDestroys(t *testing.T) {
	pool := lease.NewPool[string, *value]()
	first, second := take(t, pool, "a"), take(t, pool, "a")
	v := first.Value
	if second.Value != v {
		t.Fatal("two leases of one key have different values")
	}
	release(t, &first)
	if n := v.destroyed.Load(); n != 0 {
		t.Fatalf("the value was destroyed %d times while it was leased", n)
	}
	third := take(t, pool, "a")
	release(t, &second)
	release(t, &third)
	if n := v.destroyed.Load(); n != 1 {
		t.Errorf("the value was destroyed %d times, want once", n)
	}
	again := take(t, pool, "a")
	if again.Value == v {
		t.Error("a destroyed value was leased again")
	}
	release(t, &again)
}

// A reload takes before it gives back, so the value lives on through any number of them.
func TestAValueSurvivesReloads(t *testing.T) {
	pool := lease.NewPool[string, *value]()
	running := take(t, pool, "a")
	v := running.Value
	for range 3 {
		next := take(t, pool, "a")
		release(t, &running)
		running = next
	}
	if running.Value != v || v.destroyed.Load() != 0 {
		t.Error("a reload changed the value")
	}
	release(t, &running)
	if n := v.destroyed.Load(); n != 1 {
		t.Errorf("the value was destroyed %d times, want once", n)
	}
}

func TestKeysAreSeparate(t *testing.T) {
	pool := lease.NewPool[string, *value]()
	a, b := take(t, pool, "a"), take(t, pool, "b")
	if a.Value == b.Value {
		t.Error("two keys share a value")
	}
	kept := b.Value
	release(t, &a)
	if n := kept.destroyed.Load(); n != 0 {
		t.Error("releasing one key destroyed the value of another")
	}
	release(t, &b)
}

func TestPoolsAreSeparate(t *testing.T) {
	a, b := take(t, lease.NewPool[string, *value](), "a"), take(t, lease.NewPool[string, *value](), "a")
	if a.Value == b.Value {
		t.Error("two pools share a value")
	}
}

func TestTheZeroLeaseReleasesNothing(t *testing.T) {
	var zero lease.Lease[*value]
	for range 2 {
		release(t, &zero)
	}
}

// Caddy may clean up a module more than once. A second call must not release what somebody else holds.
func TestASecondReleaseDoesNothing(t *testing.T) {
	pool := lease.NewPool[string, *value]()
	first, second := take(t, pool, "a"), take(t, pool, "a")
	for range 3 {
		release(t, &first)
	}
	if first.Value != nil {
		t.Error("a released lease still has a value")
	}
	if n := second.Value.destroyed.Load(); n != 0 {
		t.Error("releasing one lease several times released another")
	}
	release(t, &second)
}

func TestAFailedConstructorLeavesNothing(t *testing.T) {
	pool := lease.NewPool[string, *value]()
	cause := errors.New("no such file")
	l, err := pool.Take("a", func() (*value, error) { return nil, cause })
	if !errors.Is(err, cause) || l.Value != nil {
		t.Fatalf("Take = %v, %v, want the error alone", l.Value, err)
	}
	release(t, &l)
	after := take(t, pool, "a")
	if after.Value == nil {
		t.Error("the failure was kept")
	}
	release(t, &after)
}

func TestTheConstructorRunsOnlyWhenNobodyHoldsTheKey(t *testing.T) {
	pool := lease.NewPool[string, *value]()
	held := take(t, pool, "a")
	second, err := pool.Take("a", func() (*value, error) { return nil, errors.New("must not run") })
	if err != nil || second.Value != held.Value {
		t.Errorf("Take = %v, %v, want the value that is held", second.Value, err)
	}
	release(t, &second)
	release(t, &held)
}

func TestReleaseReturnsTheErrorOfDestruct(t *testing.T) {
	pool := lease.NewPool[string, *value]()
	cause := errors.New("still busy")
	l, err := pool.Take("a", func() (*value, error) { return &value{err: cause}, nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(); !errors.Is(err, cause) {
		t.Errorf("Release = %v, want %v", err, cause)
	}
}

func TestLeasesAreSafeForConcurrentUse(t *testing.T) {
	pool := lease.NewPool[string, *value]()
	var mu sync.Mutex
	var made []*value
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 500 {
				l, err := pool.Take("a", func() (*value, error) {
					v := new(value)
					mu.Lock()
					defer mu.Unlock()
					made = append(made, v)
					return v, nil
				})
				if err != nil {
					t.Errorf("Take = %v", err)
					return
				}
				if n := l.Value.destroyed.Load(); n != 0 {
					t.Error("a leased value is destroyed")
				}
				if err := l.Release(); err != nil {
					t.Errorf("Release = %v", err)
				}
			}
		})
	}
	all.Wait()
	if i := slices.IndexFunc(made, func(v *value) bool { return v.destroyed.Load() != 1 }); len(made) == 0 || i >= 0 {
		t.Errorf("of %d values, number %d was not destroyed exactly once", len(made), i)
	}
}
