package discovery

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// MaxBody is the size from which a document is refused.
	MaxBody = 1 << 20

	maxRedirects = 3
)

// Client fetches documents of an issuer. It is safe for concurrent use.
type Client struct {
	http         *http.Client
	insecureHTTP bool
}

// New returns a client that asks through transport, under the rules of [CheckURL].
func New(transport http.RoundTripper, insecureHTTP bool) *Client {
	return &Client{&http.Client{Transport: transport, CheckRedirect: checkRedirect}, insecureHTTP}
}

// checkRedirect lets the issuer move a document on its own host, and nowhere else.
func checkRedirect(r *http.Request, via []*http.Request) error {
	from := via[0].URL
	if r.URL.Scheme != from.Scheme || !strings.EqualFold(r.URL.Host, from.Host) {
		return fmt.Errorf("redirected to another place, %s", Brief(r.URL.Scheme+"://"+r.URL.Host))
	}
	if len(via) > maxRedirects {
		return fmt.Errorf("redirected more than %d times", maxRedirects)
	}
	return nil
}

// CloseIdleConnections closes the connections of the transport that nothing uses at the moment.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// Document is what was served with status 200.
type Document struct {
	Body   []byte
	header http.Header
}

// StatusError is an answer with another status.
type StatusError struct {
	URL        string
	Status     int
	RetryAfter time.Duration // how long an overloaded issuer wants to be left alone, as [RetryAfter] reads it
}

// Error tells who answered what.
func (e *StatusError) Error() string { return fmt.Sprintf("%s answered %d", e.URL, e.Status) }

// Get fetches one document, bounded in time by ctx and in size by [MaxBody]. The URL is one that was checked.
func (c *Client) Get(ctx context.Context, url string) (*Document, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", UserAgent)
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return nil, &StatusError{url, resp.StatusCode, RetryAfter(resp.Header)}
	default:
		return nil, &StatusError{URL: url, Status: resp.StatusCode}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", url, err)
	}
	if len(body) > MaxBody {
		return nil, fmt.Errorf("%s is larger than %d bytes", url, MaxBody)
	}
	return &Document{body, resp.Header}, nil
}
