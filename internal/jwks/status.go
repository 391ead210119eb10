package jwks

import (
	"errors"
	"fmt"
	"time"
)

// Status is what is known of a source at one moment, for people and for metrics.
type Status struct {
	Usable      bool        `json:"usable"`
	Pinned      bool        `json:"pinned,omitempty"`
	KeysURL     string      `json:"keys_url,omitempty"` // where the keys came from
	Keys        []KeyStatus `json:"keys"`               // the last good set, in the order of the document
	Ignored     []string    `json:"ignored,omitempty"`  // why other keys of the document are not used
	FetchedAt   time.Time   `json:"fetched_at,omitzero"`
	Stored      bool        `json:"stored,omitempty"`      // they came from the storage, and nothing was fetched since
	NextRefresh time.Time   `json:"next_refresh,omitzero"` // zero while a fetch is under way
	LastError   string      `json:"last_error,omitempty"`  // of the last fetch; empty when it was good

	// What the storage holds serves after a restart. The error tells why that is of no use, or why it could not be
	// read or written; it harms nothing while the issuer can be reached.
	StoredAt     time.Time `json:"stored_at,omitzero"` // when what is stored was fetched
	StorageError string    `json:"storage_error,omitempty"`

	// Fetches since the source was made, by result. They only grow.
	FetchesOK     uint64 `json:"fetches_ok"`
	FetchesFailed uint64 `json:"fetches_failed"`
}

// KeyStatus is one key that is used.
type KeyStatus struct {
	ID         string   `json:"kid"`
	Type       string   `json:"kty"`
	Algorithms []string `json:"algorithms"`
}

// Status returns what is known now.
func (s *Source) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{
		Usable:        s.ready.Load(),
		Pinned:        s.config.Keys != "",
		KeysURL:       s.log.keysURL,
		Keys:          []KeyStatus{},
		FetchedAt:     s.log.fetched,
		Stored:        s.log.stored,
		FetchesOK:     s.log.good,
		FetchesFailed: s.log.bad,
	}
	if s.flight == nil && !s.closed {
		st.NextRefresh = s.log.next
	}
	if s.log.err != nil {
		st.LastError = s.log.err.Error()
	}
	if sh := s.shelf(); sh != nil {
		st.StoredAt = sh.fetched
		if sh.err != nil {
			st.StorageError = sh.err.Error()
		}
	}
	if set := s.set.Load(); set != nil {
		st.Ignored = set.ignored
		for _, k := range set.keys {
			st.Keys = append(st.Keys, KeyStatus{k.ID, k.Type, k.Algorithms()})
		}
	}
	return st
}

// unavailable says why the keys cannot be used, or returns nil when they became usable just now.
func (s *Source) unavailable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready.Load() {
		return nil
	}
	u := &Unavailable{RetryAfter: time.Second, Err: s.log.err}
	if s.flight == nil {
		u.RetryAfter = max(time.Until(s.log.next), time.Second)
	}
	switch {
	case s.closed:
		u.Err = errClosed
	case s.set.Load() != nil && s.log.err != nil:
		u.Err = fmt.Errorf("the last good ones are older than %s: %w", s.maxStale, s.log.err)
	case s.set.Load() != nil:
		u.Err = fmt.Errorf("the last good ones are older than %s", s.maxStale)
	case s.log.err == nil:
		u.Err = errors.New("the first fetch is not over")
	}
	return u
}
