package discovery

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// UserAgent is how the gateway introduces itself to an issuer.
const UserAgent = "caddy-okta"

// MaxPause is how long a Retry-After is obeyed.
const MaxPause = time.Minute

// RetryAfter reads the Retry-After of an answer (RFC 9110 §10.2.3), at most [MaxPause]; 0 where there is none.
func RetryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if asked, ok := seconds(value); ok {
		return min(asked, MaxPause)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(0, min(time.Until(at), MaxPause))
}

// MaxAge returns the max-age of Cache-Control (RFC 9111 §5.2.2.1). Other directives say nothing about when keys
// change: a no-store that would be obeyed has made storms of requests.
func (d *Document) MaxAge() (time.Duration, bool) {
	for _, line := range d.header.Values("Cache-Control") {
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
