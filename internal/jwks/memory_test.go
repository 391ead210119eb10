package jwks

import (
	"context"
	"io"
	"io/fs"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memory is a storage without a disk. It outlives the sources of a test.
type memory struct {
	mu     sync.Mutex
	held   map[string]string
	loads  int
	stores []time.Time
	load   func(context.Context) error // runs before each Load; nil is quick
	store  func(context.Context) error
}

func (m *memory) Load(ctx context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	before := m.load
	m.loads++
	m.mu.Unlock()
	if before != nil {
		if err := before(ctx); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	text, ok := m.held[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(text), nil
}

func (m *memory) Store(ctx context.Context, key string, value []byte) error {
	m.mu.Lock()
	before := m.store
	m.stores = append(m.stores, time.Now())
	m.mu.Unlock()
	if before != nil {
		if err := before(ctx); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held == nil {
		m.held = map[string]string{}
	}
	m.held[key] = string(value)
	return nil
}

// does changes how the storage behaves from now on.
func (m *memory) does(load, store func(context.Context) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load, m.store = load, store
}

// put replaces what is stored for c.
func (m *memory) put(c Config, text string) {
	_ = m.Store(context.Background(), c.storageKey(), []byte(text))
}

// text returns what is stored for c.
func (m *memory) text(c Config) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held[c.storageKey()]
}

func (m *memory) writes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.stores)
}

func storageHangs(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func storageBreaks(context.Context) error { return io.ErrClosedPipe }

func storageTakes(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var kept = Config{KeysURL: "https://issuer.test/keys"}

// run returns a source that was started with a storage, as at the start of a process.
func run(t *testing.T, c Config, i *issuer, m *memory) *Source {
	t.Helper()
	s := open(t, c, i)
	s.Join(Terms{Refresh: c.Refresh, MaxStale: c.MaxStale, Storage: m})
	s.Start()
	return s
}

// stored returns a storage that a former process filled with the keys that i has.
func stored(t *testing.T, c Config, keys ...jwkMap) *memory {
	t.Helper()
	m := &memory{}
	s := run(t, c, &issuer{respond: answers(200, document(keys...))}, m)
	synctest.Wait()
	if err := s.Destruct(); err != nil || m.writes() != 1 {
		t.Fatalf("%d sets were stored, Destruct() = %v", m.writes(), err)
	}
	return m
}
