package main

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// mostRSA is how many tokens a shared set has at most to be RS256: signing one takes about a millisecond.
const mostRSA = 10_000

// token is an access token and whom it is for.
type token struct{ user, text string }

// set is the tokens of one measurement.
type set struct {
	name      string
	algorithm string
	tokens    []token
	perRound  int // tokens that a round takes, none of them sent before; 0: all rounds share all tokens
	rounds    int
}

// mint makes a set of n tokens; 0 is the distinct set, with tokens also for the rounds that are not counted: the first
// one, and the one that is profiled.
func mint(ctx context.Context, issuer *oktatest.Server, n int, s settings) (*set, error) {
	m := &set{name: fmt.Sprint(n), algorithm: "RS256", rounds: s.rounds + 1}
	if s.profile != "" {
		m.rounds++
	}
	if n > mostRSA {
		m.algorithm = "ES256"
	}
	if n == 0 {
		m.name, m.perRound = "distinct", s.distinct
		n = m.perRound * m.rounds
	}
	m.tokens = make([]token, n)
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	const batch = 100
	for start := 0; start < n; start += batch {
		group.Go(func() error {
			for i := start; i < min(start+batch, n) && ctx.Err() == nil; i++ {
				m.tokens[i] = mintOne(issuer, i, m.algorithm)
			}
			return ctx.Err()
		})
	}
	return m, group.Wait()
}

// mintOne makes a token with the claims that an enterprise's tokens have.
func mintOne(issuer *oktatest.Server, i int, algorithm string) token {
	user := fmt.Sprintf("user-%06d@example.com", i)
	return token{user, issuer.UserToken(user,
		oktatest.Alg(algorithm),
		oktatest.Scopes("openid", "profile", "email", "orders:read"),
		oktatest.Groups("Everyone", "Engineering", "Orders-Readers", "VPN-Users"),
		oktatest.WithClaims(map[string]any{"email": user, "department": "Engineering", "country": "DE", "suspended": false}),
	)}
}

// size is the mean length of a token.
func (s *set) size() int {
	sum := 0
	for _, t := range s.tokens {
		sum += len(t.text)
	}
	return sum / len(s.tokens)
}

// draw hands out the tokens of one round; in the distinct set they come to an end. Both gateways get the same ones.
// Rounds that share tokens begin at different ones, so that together they send all of a set that is too large for one
// round.
func (s *set) draw(ctx context.Context, round int) func() (token, bool) {
	limit := math.MaxInt
	if s.perRound > 0 {
		limit = s.perRound
	}
	return s.from(ctx, round*len(s.tokens)/s.rounds, limit)
}

// from hands out so many tokens, one after the other, to whichever goroutine asks.
func (s *set) from(ctx context.Context, first, limit int) func() (token, bool) {
	var drawn atomic.Int64
	return func() (token, bool) {
		i := int(drawn.Add(1)) - 1
		if i >= limit || ctx.Err() != nil {
			return token{}, false
		}
		return s.tokens[(first+i)%len(s.tokens)], true
	}
}
