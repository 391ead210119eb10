package introspect

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/caddy-okta/caddy-okta/internal/cache"
	"github.com/caddy-okta/caddy-okta/internal/discovery"
)

// remembered is how many answers of each kind are kept.
const remembered = 32 << 10

// Client introspects tokens of one issuer. It is safe for concurrent use.
type Client struct {
	issuer       string
	authenticate credentials
	cacheTTL     time.Duration
	negativeTTL  time.Duration
	timeout      time.Duration

	documents *discovery.Client
	http      *http.Client

	// Both caches know a token by the digest of active.
	active   *cache.Cache[*Answer]
	inactive *cache.Cache[error] // ErrInactive or a *Malformed

	flights singleflight.Group // calls under way, by token digest
	lookups singleflight.Group // the discovery under way

	ctx     context.Context // ends with Destruct
	cancel  context.CancelFunc
	running sync.WaitGroup // calls and discoveries
	turns   chan struct{}  // one for each call under way

	mu       sync.Mutex // held for a few assignments, never during I/O
	closed   bool
	traffic  traffic
	endpoint endpoint
}

// New checks c and returns a client that has not asked anything yet. It does no I/O.
func New(c Config) (*Client, error) {
	transport, err := discovery.Transport(c.CA)
	if err != nil {
		return nil, err
	}
	// Calls come often, so connections are kept; the timeout of the call counts, and no other.
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = maxCalls, maxCalls
	transport.IdleConnTimeout = 30 * time.Second
	transport.ResponseHeaderTimeout = 0
	return newClient(c, transport)
}

func newClient(c Config, transport http.RoundTripper) (*Client, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	authenticate, err := newCredentials(c)
	if err != nil {
		return nil, err
	}
	client := &Client{
		issuer:       c.Issuer,
		authenticate: authenticate,
		cacheTTL:     c.CacheTTL,
		negativeTTL:  c.NegativeTTL,
		timeout:      c.Timeout,
		documents:    discovery.New(transport, c.InsecureHTTP),
		http:         &http.Client{Transport: transport, CheckRedirect: noRedirect},
		active:       cache.New[*Answer](remembered),
		inactive:     cache.New[error](remembered),
		turns:        make(chan struct{}, maxCalls),
	}
	client.ctx, client.cancel = context.WithCancel(context.Background())
	return client, nil
}

// noRedirect makes a redirect an answer like any other: a token goes to the endpoint, and nowhere else.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Introspect asks whether a token is active, or remembers it. Without an answer the error is [ErrInactive], a
// [*Malformed] or an [*Unavailable]; the latter also when ctx ends first. A call under way goes on without whoever
// asked for it: others may wait for it, and its answer is remembered.
func (c *Client) Introspect(ctx context.Context, token string) (*Answer, error) {
	d := c.active.Digest(token)
	if a, known, err := c.recall(d); known {
		return a, err
	}
	return c.await(ctx, d, token)
}

// Destruct aborts the calls under way, waits for their end, and lets none begin again. Further calls do nothing.
func (c *Client) Destruct() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.running.Wait()
	c.http.CloseIdleConnections()
	return nil
}

// await is Introspect for a token that is not remembered.
func (c *Client) await(ctx context.Context, d cache.Digest, token string) (*Answer, error) {
	flight := c.flights.DoChan(string(d[:]), func() (any, error) { return c.ask(d, token) })
	select {
	case result := <-flight:
		return result.Val.(*Answer), result.Err
	case <-ctx.Done():
		return nil, unavailable(0, context.Cause(ctx))
	}
}

// ask makes the one call that all who wait for a token share.
func (c *Client) ask(d cache.Digest, token string) (*Answer, error) {
	if a, known, err := c.recall(d); known {
		return a, err // the call before this one ended just now
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.timeout)
	defer cancel()
	began, err := c.admit(ctx)
	if err != nil {
		return nil, err
	}
	a, err := c.call(ctx, token)
	if err = c.settle(began, err); err != nil {
		a = nil
	}
	c.remember(d, a, err)
	return a, err
}

// recall returns what is remembered of a token, if anything is.
func (c *Client) recall(d cache.Digest) (a *Answer, known bool, err error) {
	now := time.Now()
	if a, known = c.active.Get(d, now); known {
		return a, true, nil
	}
	err, known = c.inactive.Get(d, now)
	return nil, known, err
}

// remember keeps an answer; a failure to get one is not remembered.
func (c *Client) remember(d cache.Digest, a *Answer, err error) {
	now := time.Now()
	if a != nil {
		expires := now.Add(c.cacheTTL)
		if exp := a.Identity.ExpiresAt; !exp.IsZero() && exp.Before(expires) { // RFC 7662 §4
			expires = exp
		}
		if expires.After(now) {
			c.active.Put(d, a, expires)
		}
		return
	}
	if isAnswer(err) && c.negativeTTL > 0 {
		c.inactive.Put(d, err, now.Add(c.negativeTTL))
	}
}
