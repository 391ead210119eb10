package oktatest

import (
	"strings"
	"sync"
	"time"
)

// spent remembers what works once. Everything is kept for at least generation and at most twice as long while requests
// arrive, which covers the longest validity of an assertion.
type spent struct {
	mu         sync.Mutex
	since      time.Time // when young began
	young, old map[string]bool
}

const generation = assertionLifetime

// first tells whether these words are new, and remembers them.
func (u *spent) first(kind, owner, jti string, now time.Time) bool {
	what := strings.Join([]string{kind, owner, jti}, "\x00")
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.young == nil || now.Sub(u.since) > generation {
		u.young, u.old, u.since = map[string]bool{}, u.young, now
	}
	if u.young[what] || u.old[what] {
		return false
	}
	u.young[what] = true
	return true
}
