package jwks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/discovery"
)

const (
	// storageTimeout ends one access to the storage.
	storageTimeout = 10 * time.Second

	// maxStored is the size from which a stored set is refused: a set that was accepted takes less.
	maxStored = 2 * maxBody

	// saveInterval is how old the stored time may get while the set stays the same, and one set is fetched after
	// another.
	saveInterval = 10 * time.Minute

	recordVersion = 1
)

// Storage keeps bytes by key for longer than the process lives. It is used from one goroutine at a time, never while
// a request waits for it; it should honour the context. Load returns an error that is [fs.ErrNotExist] for a key that
// was never stored. Whoever can write there can make keys, as with the certificates that are kept in the same place.
type Storage interface {
	Load(ctx context.Context, key string) ([]byte, error)
	Store(ctx context.Context, key string, value []byte) error
}

// record is a stored key set (RFC 7517 §5), with members that tell where it came from and when.
type record struct {
	Version   int             `json:"version"`
	Source    string          `json:"source"`
	Issuer    string          `json:"issuer"`
	KeysURL   string          `json:"keys_url"`
	FetchedAt time.Time       `json:"fetched_at"`
	Keys      json.RawMessage `json:"keys"`
}

// fingerprint names the source: what it asks, and whom it trusts on the way. It is safe as a part of a path.
func (c Config) fingerprint() string {
	c = c.Origin()
	text, _ := json.Marshal(c) // texts and flags always have a JSON form
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func (c Config) storageKey() string { return "okta/keys/" + c.fingerprint() + ".json" }

func (c Config) newRecord(keys string, fetched time.Time) ([]byte, error) {
	return json.Marshal(record{recordVersion, c.fingerprint(), c.Issuer, c.KeysURL, fetched.UTC(), json.RawMessage(keys)})
}

// parseRecord reads what newRecord wrote, and nothing else: a document that is not whole is not believed at all.
func (c Config) parseRecord(text []byte, now time.Time) (*keySet, time.Time, error) {
	if len(text) > maxStored {
		return nil, time.Time{}, fmt.Errorf("they are larger than %d bytes", maxStored)
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, time.Time{}, fmt.Errorf("not a JSON object: %w", err)
	}
	switch {
	case r.Version != recordVersion:
		return nil, time.Time{}, fmt.Errorf("their version is %d, not %d", r.Version, recordVersion)
	case r.Source != c.fingerprint() || r.Issuer != c.Issuer || r.KeysURL != c.KeysURL:
		return nil, time.Time{}, fmt.Errorf("they are of another source, issuer %s", discovery.Brief(r.Issuer))
	case r.FetchedAt.IsZero():
		return nil, time.Time{}, errors.New("they do not say when they were fetched")
	case r.FetchedAt.After(now):
		return nil, time.Time{}, fmt.Errorf("they were fetched at %s, which is yet to come", r.FetchedAt.Format(time.RFC3339))
	}
	set, err := parseSet(text)
	if err != nil {
		return nil, time.Time{}, err
	}
	if len(set.ignored) > 0 {
		return nil, time.Time{}, errors.New(set.ignored[0])
	}
	return set, r.FetchedAt, nil
}

// shelf is the place of a source in one storage. Its fields are guarded by the lock of the source.
type shelf struct {
	storage Storage
	ctx     context.Context // ends when the user leaves who brought the storage
	cancel  context.CancelFunc

	// looking ends with the first look, and at the latest when nobody would wait for it any more.
	looking context.Context
	looked  context.CancelFunc

	busy    bool      // a goroutine tends it
	read    bool      // it is known what is there
	keys    string    // what is there; "" for nothing of use
	fetched time.Time // when that was fetched
	err     error     // why what is there is of no use, or of the last access
}

func (s *Source) newShelf(storage Storage) *shelf {
	sh := &shelf{storage: storage}
	sh.ctx, sh.cancel = context.WithCancel(s.ctx)
	sh.looking, sh.looked = context.WithTimeout(sh.ctx, patience)
	return sh
}

// shelf returns that of the user who came last, or nil: after a reload the new configuration's storage counts, and the
// old one's again when the reload comes to nothing. The caller holds the lock.
func (s *Source) shelf() *shelf {
	for i := len(s.users) - 1; i >= 0; i-- {
		if sh := s.users[i].shelf; sh != nil {
			return sh
		}
	}
	return nil
}

// shelve brings the source and its shelf together, in the background. The caller holds the lock.
func (s *Source) shelve() {
	sh := s.shelf()
	if sh == nil || sh.busy || s.closed {
		return
	}
	sh.busy = true
	// Destruct cancels this but does not wait for it: a storage that hangs holds up nothing.
	go s.tend(sh)
}

// tend reads a shelf until it is known what is there, and stores the current set unless that is there already.
func (s *Source) tend(sh *shelf) {
	s.mu.Lock()
	read := sh.read
	s.mu.Unlock()
	if !read {
		s.restore(sh)
	}
	for {
		keys, fetched, ok := s.unsaved(sh)
		if !ok {
			return
		}
		text, err := s.config.newRecord(keys, fetched)
		if err == nil {
			ctx, cancel := context.WithTimeout(sh.ctx, storageTimeout)
			err = sh.storage.Store(ctx, s.config.storageKey(), text)
			cancel()
		}
		s.mu.Lock()
		if err != nil {
			sh.err = fmt.Errorf("storing the keys: %w", err)
			sh.busy = false // the next fetch tries again
			s.mu.Unlock()
			return
		}
		sh.read, sh.keys, sh.fetched, sh.err = true, keys, fetched, nil
		s.mu.Unlock()
	}
}

// restore takes the set from the shelf, if it is good and there is none yet.
func (s *Source) restore(sh *shelf) {
	ctx, cancel := context.WithTimeout(sh.ctx, storageTimeout)
	defer cancel()
	text, err := sh.storage.Load(ctx, s.config.storageKey())
	var set *keySet
	var fetched time.Time
	readable := err == nil
	if readable {
		set, fetched, err = s.config.parseRecord(text, time.Now())
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	defer sh.looked()
	sh.read, sh.err = true, nil
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil && !readable:
		sh.read = false // perhaps the storage works next time
		sh.err = fmt.Errorf("loading the stored keys: %w", err)
		return
	case err != nil:
		sh.err = fmt.Errorf("the stored keys are not used: %w", err)
		return
	}
	sh.keys, sh.fetched = set.document, fetched
	if s.closed || sh.ctx.Err() != nil || s.set.Load() != nil {
		return
	}
	now := time.Now()
	age := now.Sub(fetched)
	if age >= s.maxStale {
		sh.err = fmt.Errorf("the stored keys are not used: they are older than %s", s.maxStale)
		return
	}
	s.log.stored = true
	s.log.fetched = now.Add(-age) // the same moment; from here on whoever sets the clock does not matter
	s.adopt(set)
	s.limit()
}

// unsaved returns what a shelf lacks, or ends its tending. The document of another gateway that is more recent than
// ours stays.
func (s *Source) unsaved(sh *shelf) (keys string, fetched time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.set.Load()
	if set == nil || s.closed || sh.ctx.Err() != nil || !s.log.fetched.After(sh.fetched) ||
		set.document == sh.keys && s.log.fetched.Sub(sh.fetched) < min(saveInterval, s.maxStale/2) {
		sh.busy = false
		return "", time.Time{}, false
	}
	return set.document, s.log.fetched, true
}
