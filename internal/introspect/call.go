package introspect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/discovery"
)

// The endpoint is looked up anew after rediscover, or after doubtful when a call has failed since: it may have moved.
const (
	rediscover = time.Hour
	doubtful   = time.Minute
)

// endpoint is where the issuer introspects. It is guarded by the lock of the client.
type endpoint struct {
	url     string
	found   time.Time
	doubted bool // a call failed since
}

// fresh tells whether the endpoint is good to be used.
func (e endpoint) fresh() bool {
	lifetime := rediscover
	if e.doubted {
		lifetime = doubtful
	}
	return e.url != "" && time.Since(e.found) < lifetime
}

// call asks the issuer about a token (RFC 7662 §2.1).
func (c *Client) call(ctx context.Context, token string) (*Answer, error) {
	at, err := c.locate(ctx)
	if err != nil {
		o := &outage{cause: err}
		if status, ok := errors.AsType[*discovery.StatusError](err); ok {
			o.asked = status.RetryAfter
		}
		return nil, o
	}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	header := http.Header{
		"Accept":       {"application/json"},
		"Content-Type": {"application/x-www-form-urlencoded"},
		"User-Agent":   {discovery.UserAgent},
	}
	if err := c.authenticate(at, form, header); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header = header
	resp, err := c.http.Do(r)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL, which may be long
		}
		return nil, &outage{cause: fmt.Errorf("%s: %w", discovery.Brief(at), err)}
	}
	defer resp.Body.Close()
	a, err := read(resp)
	if !isAnswer(err) {
		err = fmt.Errorf("%s: %w", discovery.Brief(at), err)
	}
	return a, err
}

// locate returns the endpoint. All who need it anew share one discovery.
func (c *Client) locate(ctx context.Context) (string, error) {
	c.mu.Lock()
	e := c.endpoint
	c.mu.Unlock()
	if e.fresh() {
		return e.url, nil
	}
	found := c.lookups.DoChan("", func() (any, error) { return c.discover() })
	select {
	case result := <-found:
		return result.Val.(string), result.Err
	case <-ctx.Done():
		return "", fmt.Errorf("looking for the endpoint: %w", ctx.Err())
	}
}

// discover finds the endpoint in the issuer's metadata. When that is not possible, what was known is used further.
func (c *Client) discover() (string, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return "", errClosed
	}
	c.running.Add(1)
	c.mu.Unlock()
	defer c.running.Done()

	// Not the context of a call: whoever asked first may leave, the others still wait.
	ctx, cancel := context.WithTimeout(c.ctx, c.timeout)
	defer cancel()
	at, err := c.find(ctx)

	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		at = c.endpoint.url
	}
	if at == "" {
		return "", err
	}
	c.endpoint = endpoint{url: at, found: time.Now()}
	return at, nil
}

func (c *Client) find(ctx context.Context) (string, error) {
	metadata, err := c.documents.Find(ctx, c.issuer)
	if err != nil {
		return "", err
	}
	at, err := metadata.Endpoint("introspection_endpoint")
	if err == nil && at == "" {
		err = fmt.Errorf(`%s: the metadata has no "introspection_endpoint": this issuer does not introspect`, metadata.URL)
	}
	return at, err
}
