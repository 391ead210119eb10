package jwks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/discovery"
)

const (
	// patience is the longest that a request waits for a fetch.
	patience = 2 * time.Second

	// fetchTimeout ends a fetch, metadata and keys together.
	fetchTimeout = 10 * time.Second

	// minInterval is the time from the start of any fetch to the next one that an unknown kid may cause.
	minInterval = 10 * time.Second

	// minRefresh is what a Cache-Control of the issuer cannot shorten the refresh below.
	minRefresh = time.Minute

	// A failed fetch is repeated after coldRetry while there are no keys at all, after warmRetry once there were some;
	// the delay doubles with each failure, up to maxRetry.
	coldRetry = time.Second
	warmRetry = 10 * time.Second
	maxRetry  = time.Minute
)

// ErrUnknownKey is returned for a kid that the issuer does not publish, as far as is known.
var ErrUnknownKey = errors.New("the issuer publishes no key with this kid")

var errClosed = errors.New("the source of keys is closed")

// Unavailable is returned while there are no keys, or only keys that are too old to be used.
type Unavailable struct {
	RetryAfter time.Duration // until the next attempt, at least 1s
	Err        error         // why
}

// Error tells why there are no keys.
func (u *Unavailable) Error() string {
	return "the keys of the issuer are not available: " + u.Err.Error()
}

// Unwrap returns the cause.
func (u *Unavailable) Unwrap() error { return u.Err }

// Source gives the keys of one issuer. It is safe for concurrent use.
type Source struct {
	config Config
	client *discovery.Client

	// What requests read, without a lock. Whenever ready is true there is a set.
	set     atomic.Pointer[keySet] // the last good set
	ready   atomic.Bool            // the set may be used: it is there, and it is not too old
	arrived chan struct{}          // closed by the first set

	ctx     context.Context // ends with Destruct
	cancel  context.CancelFunc
	running sync.WaitGroup // fetches

	// What fetches do. The lock is held for a few assignments, never during I/O.
	mu       sync.Mutex
	closed   bool
	users    []*user // in the order in which they came
	refresh  time.Duration
	maxStale time.Duration
	flight   *flight     // the fetch under way
	next     *time.Timer // begins the next one
	expiry   *time.Timer // ends the use of the set
	log      journal
}

// journal is what is known of the fetches so far.
type journal struct {
	keysURL   string    // where the last good set came from
	began     time.Time // the last fetch
	fetched   time.Time // the last good set
	stored    bool      // that set came from the storage
	maxAge    time.Duration
	hasMaxAge bool      // the last good set came with a max-age
	next      time.Time // the next fetch
	notBefore time.Time // when the issuer wants to be asked again
	failures  int       // in a row
	err       error     // of the last fetch; nil when it was good
	good, bad uint64    // fetches
}

// flight is a fetch under way, which any number of callers wait for.
type flight struct {
	done chan struct{}
	err  error // readable once done is closed
}

// New checks c and returns a source that has not begun to fetch. It does no I/O.
func New(c Config) (*Source, error) {
	transport, err := discovery.Transport(c.CA)
	if err != nil {
		return nil, err
	}
	return newSource(c, transport)
}

func newSource(c Config, transport http.RoundTripper) (*Source, error) {
	if err := c.prepare(); err != nil {
		return nil, err
	}
	s := &Source{
		config:   c,
		client:   discovery.New(transport, c.InsecureHTTP),
		arrived:  make(chan struct{}),
		refresh:  c.Refresh,
		maxStale: c.MaxStale,
	}
	if c.Keys != "" {
		set, err := parseSet([]byte(c.Keys))
		if err != nil {
			return nil, fmt.Errorf("keys_file: %w", err)
		}
		s.adopt(set)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Start begins to fetch in the background, for as long as the source lives. Further calls do nothing. A user who has a
// storage joins first.
func (s *Source) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log.began.IsZero() {
		s.begin()
	}
}

// Destruct aborts the fetch under way, waits for its end, and lets none begin again. An access to the storage is
// aborted too, and not waited for. Requests still under way keep their keys. Further calls do nothing.
func (s *Source) Destruct() error {
	s.mu.Lock()
	s.closed = true
	for _, timer := range []*time.Timer{s.next, s.expiry} {
		if timer != nil {
			timer.Stop()
		}
	}
	s.mu.Unlock()
	s.cancel()
	s.running.Wait()
	s.client.CloseIdleConnections()
	return nil
}

// Lookup returns the keys that a kid names: one, or a few in the order of the issuer's document. The list is shared
// and must not be changed. The error is an [*Unavailable] while there are no keys to use, else [ErrUnknownKey].
//
// Known keys are returned at once. An unknown kid, and any kid while the very first fetch or the look at the storage is
// under way, waits for what all share, until ctx ends and 2s at most.
func (s *Source) Lookup(ctx context.Context, kid string) ([]*Key, error) {
	if kid == "" {
		return nil, ErrUnknownKey // an issuer's key has a name: no fetch could bring this one
	}
	if s.ready.Load() {
		if keys := s.set.Load().find(kid); keys != nil {
			return keys, nil
		}
	}
	return s.await(ctx, kid)
}

// await is Lookup where a fetch may help.
func (s *Source) await(ctx context.Context, kid string) ([]*Key, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if !s.ready.Load() {
		s.awaitFirst(ctx)
		if err := s.Usable(); err != nil {
			return nil, err
		}
	}
	if keys := s.set.Load().find(kid); keys != nil {
		return keys, nil
	}
	s.demand().wait(ctx)
	if keys := s.set.Load().find(kid); keys != nil {
		return keys, nil
	}
	return nil, ErrUnknownKey
}

// Has reports whether the key of a number is still one of the issuer's. It is for verified tokens that are kept in a cache,
// and takes no lock.
func (s *Source) Has(number uint64) bool { return s.set.Load().has(number) }

// Usable returns nil, or an [*Unavailable] while there are no keys to use. It is for verified tokens that are kept in
// a cache, and costs one atomic load as long as all is well.
func (s *Source) Usable() error {
	if s.ready.Load() {
		return nil
	}
	return s.unavailable()
}

// Refresh fetches now, or shares the fetch under way, and returns its result, or the end of ctx. Pinned keys are as
// fresh as they can be.
func (s *Source) Refresh(ctx context.Context) error {
	if s.config.Keys != "" {
		return nil
	}
	s.mu.Lock()
	f := s.begin()
	s.mu.Unlock()
	if f == nil {
		return errClosed
	}
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// awaitFirst waits for the first set while there is hope for it: while the very first fetch is under way, which it
// begins if need be, or the first look at the storage.
func (s *Source) awaitFirst(ctx context.Context) {
	var under []<-chan struct{}
	s.mu.Lock()
	if s.log.good+s.log.bad == 0 {
		if f := s.begin(); f != nil {
			under = append(under, f.done)
		}
	}
	if sh := s.shelf(); sh != nil {
		under = append(under, sh.looking.Done())
	}
	s.mu.Unlock()
	for _, over := range under {
		select {
		case <-over:
		case <-s.arrived:
			return
		case <-ctx.Done():
			return
		}
	}
}

// demand returns a fetch that may bring an unknown kid, or nil where it has to do without: whoever sends tokens
// chooses how many kids there are, so their number must not matter.
func (s *Source) demand() *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.flight == nil && (now.Sub(s.log.began) < minInterval || now.Before(s.log.notBefore)) {
		return nil
	}
	return s.begin()
}

// wait returns when the fetch is over or ctx ends. There may be none to wait for.
func (f *flight) wait(ctx context.Context) {
	if f == nil {
		return
	}
	select {
	case <-f.done:
	case <-ctx.Done():
	}
}

// begin returns the fetch under way, or begins one; nil when there can be none. The caller holds the lock.
func (s *Source) begin() *flight {
	if s.flight != nil {
		return s.flight
	}
	if s.closed || s.config.Keys != "" {
		return nil
	}
	f := &flight{done: make(chan struct{})}
	s.flight = f
	s.log.began = time.Now()
	s.running.Go(func() {
		// Not the context of a request: whoever asked first may leave, the others still wait.
		ctx, cancel := context.WithTimeout(s.ctx, fetchTimeout)
		defer cancel()
		d, err := s.fetch(ctx)
		s.finish(f, d, err)
	})
	return f
}

// finish records the result of a fetch, appoints the next, and lets the waiting go on.
func (s *Source) finish(f *flight, d *download, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(f.done)
	s.flight = nil
	if s.closed {
		f.err = errClosed
		return
	}
	if (err != nil) != (s.log.err != nil) {
		for _, u := range s.users {
			if u.terms.Changed != nil {
				u.terms.Changed(err)
			}
		}
	}
	f.err, s.log.err = err, err
	now := time.Now()
	var delay time.Duration
	if err != nil {
		asked := askedDelay(err)
		s.log.bad++
		s.log.failures++
		s.log.notBefore = now.Add(asked)
		delay = max(s.retryDelay(), asked)
	} else {
		s.log.good++
		s.log.failures = 0
		s.log.fetched, s.log.stored = now, false
		s.log.keysURL = d.keysURL
		s.log.maxAge, s.log.hasMaxAge = d.maxAge, d.hasMaxAge
		s.adopt(d.set)
		s.limit()
		delay = s.refreshDelay()
	}
	s.appoint(delay)
	s.shelve()
}

// appoint lets the next fetch begin after a while. The caller holds the lock.
func (s *Source) appoint(delay time.Duration) {
	s.log.next = time.Now().Add(delay)
	if s.next != nil {
		s.next.Stop()
	}
	s.next = time.AfterFunc(delay, s.tick)
}

// adopt makes a good set the current one. It is the only way in, also for a set that was stored.
func (s *Source) adopt(set *keySet) {
	old := s.set.Load()
	set.inherit(old)
	s.set.Store(set)
	s.ready.Store(true)
	if old == nil {
		close(s.arrived)
	}
}

// tick begins the fetch that was appointed, unless one that was asked for came in between.
func (s *Source) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !time.Now().Before(s.log.next) {
		s.begin()
	}
}

// limit lets the set serve until it is too old: the issuer may have withdrawn keys that could not be refreshed. The
// caller holds the lock.
func (s *Source) limit() {
	if s.expiry != nil {
		s.expiry.Stop()
	}
	left := s.maxStale - time.Since(s.log.fetched)
	s.ready.Store(left > 0)
	if left > 0 {
		s.expiry = time.AfterFunc(left, s.expire)
	}
}

func (s *Source) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.limit() // a fetch may have come in between
	}
}

// refreshDelay returns the time from a good fetch to the next.
func (s *Source) refreshDelay() time.Duration {
	delay := s.refresh
	if s.log.hasMaxAge {
		delay = min(delay, max(s.log.maxAge, minRefresh))
	}
	delay = max(jitter(delay), min(delay, minRefresh))
	return min(delay, s.maxStale/10*9) // else keys would expire between two good fetches
}

// retryDelay returns the time from a failed fetch to the next.
func (s *Source) retryDelay() time.Duration {
	least := warmRetry
	if s.set.Load() == nil {
		least = coldRetry
	}
	delay := least
	for range min(s.log.failures-1, 6) {
		delay *= 2
	}
	return max(jitter(min(delay, maxRetry)), least)
}

// jitter spreads d by a tenth, so that many gateways do not ask in step.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}
