package introspect

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/discovery"
	"github.com/caddy-okta/caddy-okta/internal/jwt"
)

// maxBody is the size from which an answer is refused.
const maxBody = 64 << 10

// Answer says that a token is active, and all that the issuer tells about it. While it is remembered, one value is
// shared by all requests with the same token.
type Answer struct {
	// Identity holds the members of the answer but active, as the claims of a token. Their times and whom they are for
	// are not checked yet.
	Identity *jwt.Claims

	// TokenType is the token_type of the answer; empty when absent.
	TokenType string
}

// ErrInactive is returned for a token that the issuer calls inactive, for whatever reason (RFC 7662 §2.2).
var ErrInactive = errors.New("the issuer says that the token is not active")

// Malformed is returned for an active token whose claims do not have the types that they must have.
type Malformed struct {
	Err error
}

// Error tells which claim is wrong.
func (m *Malformed) Error() string { return "the introspected token is malformed: " + m.Err.Error() }

// Unwrap returns the cause.
func (m *Malformed) Unwrap() error { return m.Err }

// isAnswer tells what the issuer says about a token from what went wrong while it was asked.
func isAnswer(err error) bool {
	_, malformed := err.(*Malformed)
	return err == nil || err == ErrInactive || malformed
}

// outage is a failure that would meet calls for other tokens too.
type outage struct {
	cause error
	asked time.Duration // how long the issuer wants to be left alone, 0 where it did not say
}

func (o *outage) Error() string { return o.cause.Error() }
func (o *outage) Unwrap() error { return o.cause }

// read judges what an endpoint answered (RFC 7662 §2.2, §2.3). It believes nothing but a whole and plain yes or no.
func read(resp *http.Response) (*Answer, error) {
	if resp.StatusCode != http.StatusOK {
		return nil, failure(resp)
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return nil, errors.New("the answer is not of type application/json")
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return nil, &outage{cause: err}
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("the answer is larger than %d bytes", maxBody)
	}
	return parse(body)
}

func parse(body []byte) (*Answer, error) {
	raw, err := jwt.DecodeObject(body)
	if err != nil {
		return nil, fmt.Errorf("the answer is refused: %w", err)
	}
	value, _ := raw.Get("active")
	switch active, ok := value.(bool); {
	case !ok:
		return nil, errors.New(`the answer is refused: its member "active" is neither true nor false`)
	case !active:
		return nil, ErrInactive
	}
	raw = slices.DeleteFunc(raw, func(m jwt.Member) bool { return m.Name == "active" }) // the rest are claims
	claims, err := jwt.ParseClaims(raw)
	if err != nil {
		return nil, &Malformed{err}
	}
	var texts [2]string
	for i, name := range []string{"token_type", "username"} { // RFC 7662 §2.2 knows them, tokens do not
		value, ok := raw.Get(name)
		if !ok {
			continue
		}
		if texts[i], ok = value.(string); !ok {
			return nil, &Malformed{fmt.Errorf("the claim %q is not a text", name)}
		}
	}
	// Packed, they keep nothing of the answer but what they say.
	identity := new(jwt.Claims)
	jwt.Unpack(claims.Pack(jwt.Seal{}), identity)
	return &Answer{identity, strings.Clone(texts[0])}, nil
}

// failure returns what an answer with another status than 200 means.
func failure(resp *http.Response) error {
	err := fmt.Errorf("it answered %d", resp.StatusCode)
	switch status := resp.StatusCode; {
	case status == http.StatusTooManyRequests:
		return &outage{err, max(discovery.RetryAfter(resp.Header), rateLimitReset(resp.Header))}
	case status >= 500:
		// Only an issuer that says so is overloaded: else one token that it stumbles over would stop all others.
		if asked := discovery.RetryAfter(resp.Header); asked > 0 {
			return &outage{err, asked}
		}
	case status == http.StatusBadRequest, status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fmt.Errorf("%w, it refused the gateway's own credentials: check client_id, and client_secret or private_key", err)
	case status >= 300 && status < 400:
		return fmt.Errorf("%w, and a token is not taken to where a redirect points", err)
	}
	return err
}

// rateLimitReset reads how long Okta's rate limit lasts yet: X-Rate-Limit-Reset, in seconds since 1970. Okta sends it
// with every answer; with status 429 it is worth waiting for.
func rateLimitReset(h http.Header) time.Duration {
	at, err := strconv.ParseInt(h.Get("X-Rate-Limit-Reset"), 10, 64)
	if err != nil {
		return 0
	}
	return min(time.Until(time.Unix(at, 0)), discovery.MaxPause)
}
