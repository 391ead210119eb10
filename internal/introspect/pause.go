package introspect

import (
	"context"
	"errors"
	"time"
)

const (
	// maxCalls is how many calls are under way at most. Others wait for their turn, as long as a call may take.
	maxCalls = 64

	// A failure that would meet other tokens too pauses all calls for firstPause, and for twice as long each time in a
	// row, up to longPause; longer, up to [discovery.MaxPause], if the issuer asks for it.
	firstPause = time.Second
	longPause  = 8 * time.Second
)

var (
	errBusy   = errors.New("too many calls are under way")
	errClosed = errors.New("the client is closed")
)

// Unavailable is returned when there is no answer, or none that can be trusted.
type Unavailable struct {
	RetryAfter time.Duration // until it makes sense to ask again, at least 1s
	Err        error         // why
}

// Error tells why there is no answer.
func (u *Unavailable) Error() string { return "the token cannot be introspected: " + u.Err.Error() }

// Unwrap returns the cause.
func (u *Unavailable) Unwrap() error { return u.Err }

func unavailable(after time.Duration, err error) *Unavailable {
	return &Unavailable{max(after, firstPause), err}
}

// traffic is what is known of the calls. It is guarded by the lock of the client.
type traffic struct {
	calls    int       // under way
	failures int       // outages in a row
	until    time.Time // when the pause after the last outage ends
	cause    error     // of that pause
}

// admit lets a call begin, which [Client.settle] ends, or tells why it may not. It waits for its turn until ctx ends.
func (c *Client) admit(ctx context.Context) (began time.Time, err error) {
	if err := c.refusal(time.Now()); err != nil {
		return began, err // at once, and not behind the calls that hang
	}
	select {
	case c.turns <- struct{}{}:
	case <-ctx.Done():
		return began, unavailable(0, errBusy)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	began = time.Now()
	if err := c.refused(began); err != nil {
		<-c.turns
		return began, err
	}
	c.traffic.calls++
	c.running.Add(1)
	return began, nil
}

// refusal tells why no call may begin now.
func (c *Client) refusal(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused(now)
}

// refused is refusal for whoever holds the lock.
func (c *Client) refused(now time.Time) error {
	t := &c.traffic
	switch {
	case c.closed:
		return unavailable(0, errClosed)
	case now.Before(t.until):
		return unavailable(t.until.Sub(now), t.cause)
	case t.failures > 0 && t.calls > 0: // one call finds out whether the issuer is back
		return unavailable(0, t.cause)
	}
	return nil
}

// settle ends a call. An error that is not an answer either becomes an [*Unavailable], and pauses other calls if it
// would meet them too.
func (c *Client) settle(began time.Time, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.running.Done()
	<-c.turns
	t := &c.traffic
	t.calls--
	if c.closed {
		return unavailable(0, errClosed)
	}
	// A call that began before the last pause tells about the same trouble: no more than what the issuer asks for counts.
	counts := !began.Before(t.until)
	o, isOutage := errors.AsType[*outage](err)
	if counts && !isOutage {
		t.failures = 0
	}
	if isAnswer(err) {
		return err
	}
	c.endpoint.doubted = true
	if !isOutage {
		return unavailable(0, err)
	}
	pause := o.asked
	if counts {
		pause = max(pause, min(firstPause<<min(t.failures, 8), longPause))
		t.failures++
	}
	if until := time.Now().Add(pause); until.After(t.until) {
		t.until, t.cause = until, err
	}
	return unavailable(time.Until(t.until), err)
}
