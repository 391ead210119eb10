package jwks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	maxBody      = 1 << 20
	maxRedirects = 3
	maxAsked     = time.Minute // how long a Retry-After of the issuer is obeyed
)

// newTransport returns the transport of one source. A fetch happens about once an hour, so connections are not kept.
func newTransport(roots *x509.CertPool) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    5 * time.Second,
		ResponseHeaderTimeout:  8 * time.Second,
		IdleConnTimeout:        5 * time.Second, // discovery and keys share a connection
		MaxIdleConns:           2,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
	}
}

func newClient(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, CheckRedirect: checkRedirect}
}

// checkRedirect lets the issuer move a document on its own host, and nowhere else.
func checkRedirect(r *http.Request, via []*http.Request) error {
	from := via[0].URL
	if r.URL.Scheme != from.Scheme || !strings.EqualFold(r.URL.Host, from.Host) {
		return fmt.Errorf("redirected to another place, %s", brief(r.URL.Scheme+"://"+r.URL.Host))
	}
	if len(via) > maxRedirects {
		return fmt.Errorf("redirected more than %d times", maxRedirects)
	}
	return nil
}

// download is what one fetch of the keys brought.
type download struct {
	set     *keySet
	keysURL string

	maxAge    time.Duration // of the key set's Cache-Control
	hasMaxAge bool
}

// fetch asks the issuer for its keys. The metadata is asked each time, so that a jwks_uri may move.
func (s *Source) fetch(ctx context.Context) (*download, error) {
	d := &download{keysURL: s.config.KeysURL}
	var err error
	if d.keysURL == "" {
		if d.keysURL, err = s.discover(ctx); err != nil {
			return nil, err
		}
	}
	a, err := s.get(ctx, d.keysURL)
	if err != nil {
		return nil, err
	}
	if d.set, err = parseSet(a.body); err != nil {
		return nil, fmt.Errorf("%s: %w", d.keysURL, err)
	}
	d.maxAge, d.hasMaxAge = maxAge(a.header)
	return d, nil
}

// answer is a document that was served with status 200.
type answer struct {
	header http.Header
	body   []byte
}

// statusError is an answer with another status.
type statusError struct {
	url        string
	status     int
	retryAfter time.Duration // how long the issuer wants to be left alone, at most maxAsked
}

func (e *statusError) Error() string { return fmt.Sprintf("%s answered %d", e.url, e.status) }

// get fetches one document, bounded in time by ctx and in size by maxBody.
func (s *Source) get(ctx context.Context, url string) (*answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "caddy-okta")
	resp, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, &statusError{url, resp.StatusCode, retryAfter(resp)}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", url, err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("%s is larger than %d bytes", url, maxBody)
	}
	return &answer{resp.Header, body}, nil
}

// retryAfter reads the Retry-After (RFC 9110 §10.2.3) of an overloaded issuer.
func retryAfter(resp *http.Response) time.Duration {
	if resp.StatusCode != http.StatusServiceUnavailable && resp.StatusCode != http.StatusTooManyRequests {
		return 0
	}
	value := resp.Header.Get("Retry-After")
	if asked, ok := seconds(value); ok {
		return min(asked, maxAsked)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(0, min(time.Until(at), maxAsked))
}

// askedDelay returns the Retry-After that came with a failed fetch, or 0.
func askedDelay(err error) time.Duration {
	var status *statusError
	if errors.As(err, &status) {
		return status.retryAfter
	}
	return 0
}

// maxAge returns the max-age of Cache-Control (RFC 9111 §5.2.2.1). Other directives say nothing about when keys
// change: a no-store that would be obeyed has made storms of requests.
func maxAge(h http.Header) (time.Duration, bool) {
	for _, line := range h.Values("Cache-Control") {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			if strings.EqualFold(strings.TrimSpace(name), "max-age") {
				return seconds(strings.Trim(strings.TrimSpace(value), `"`))
			}
		}
	}
	return 0, false
}

// seconds reads a delta-seconds (RFC 9111 §1.2.2).
func seconds(value string) (time.Duration, bool) {
	n, err := strconv.ParseUint(value, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		n, err = 1<<31, nil
	}
	return time.Duration(min(n, 1<<31)) * time.Second, err == nil
}
