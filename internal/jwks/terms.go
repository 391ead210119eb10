package jwks

import (
	"slices"
	"sync"
	"time"
)

// Terms are what one user of a shared [Source] asks of it.
type Terms struct {
	// Refresh and MaxStale are as in [Config]. The shortest of all users count, so that nobody is served keys that
	// are older than allowed.
	Refresh, MaxStale time.Duration

	// Storage keeps the last good set. That of the user who came last is used. Nil is none.
	Storage Storage

	// Changed is told when fetching keys fails for the first time since it last went well, and, with nil, when it goes
	// well again. It must not block, and must not call the source. Nil tells nobody.
	Changed func(err error)
}

// user is whoever joined a source and has not left.
type user struct {
	terms Terms
	shelf *shelf // nil without a storage
}

// Join lets the source work under the terms of one more user, until leave is called. A stored set is looked for in the
// background. Once all have left, the times of the last one go on to count.
func (s *Source) Join(t Terms) (leave func()) {
	u := &user{terms: t}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.Storage != nil && s.config.Keys == "" {
		u.shelf = s.newShelf(t.Storage)
	}
	s.users = append(s.users, u)
	s.agree()
	s.shelve()
	return sync.OnceFunc(func() { s.leave(u) })
}

func (s *Source) leave(u *user) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users = slices.DeleteFunc(s.users, func(other *user) bool { return other == u })
	if u.shelf != nil {
		u.shelf.cancel()
	}
	s.agree()
}

// agree finds the times that suit all users, and lets them count at once. The caller holds the lock.
func (s *Source) agree() {
	if len(s.users) == 0 || s.closed || s.config.Keys != "" {
		return
	}
	c := s.config
	c.Refresh, c.MaxStale = 0, 0
	for _, u := range s.users {
		c.Refresh = shorter(c.Refresh, u.terms.Refresh)
		c.MaxStale = shorter(c.MaxStale, u.terms.MaxStale)
	}
	c.setDefaults()
	if c.Refresh == s.refresh && c.MaxStale == s.maxStale {
		return
	}
	s.refresh, s.maxStale = c.Refresh, c.MaxStale
	if s.set.Load() == nil {
		return
	}
	s.limit()
	if s.flight == nil && s.log.good > 0 && s.log.err == nil {
		s.appoint(max(0, s.refreshDelay()-time.Since(s.log.fetched)))
	}
}

// shorter returns the shorter of two times, of which zero is none.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
