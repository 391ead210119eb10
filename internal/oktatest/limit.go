package oktatest

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// limit is how many requests an endpoint still answers in the current window.
type limit struct {
	mu        sync.Mutex
	allowed   int
	remaining int
	reset     time.Time // there is no limit from then on
}

// LimitIntrospection lets introspection answer n more requests until reset, and then 429, as Okta does when its rate
// limit is reached. After reset there is no limit; the zero time lifts it at once. With n = 0 the headers are those
// of Okta's limit on concurrent requests.
func (s *Server) LimitIntrospection(n int, reset time.Time) {
	s.limit.mu.Lock()
	defer s.limit.mu.Unlock()
	s.limit.allowed, s.limit.remaining, s.limit.reset = n, n, reset
}

// guard says in every answer how much is left, and lets h answer while something is.
func (l *limit) guard(now func() time.Time, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.take(w.Header(), now()) {
			h.ServeHTTP(w, r)
			return
		}
		writeJSON(w, http.StatusTooManyRequests, map[string]any{
			"errorCode":    "E0000047",
			"errorSummary": "API call exceeded rate limit due to too many requests.",
			"errorLink":    "E0000047",
			"errorId":      "oae" + unique(),
			"errorCauses":  []any{},
		})
	})
}

func (l *limit) take(header http.Header, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !now.Before(l.reset) {
		return true
	}
	pass := l.remaining > 0
	if pass {
		l.remaining--
	}
	header.Set("X-Rate-Limit-Limit", strconv.Itoa(l.allowed))
	header.Set("X-Rate-Limit-Remaining", strconv.Itoa(l.remaining))
	header.Set("X-Rate-Limit-Reset", strconv.FormatInt(l.reset.Unix(), 10))
	return pass
}
