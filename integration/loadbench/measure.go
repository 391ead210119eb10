package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// round is what one round of one gateway came to.
type round struct {
	rate       float64 // requests per second
	cpu        float64 // microseconds of processor time per request
	p50, p99   float64 // milliseconds
	allocs, kb float64 // per request
	hits       float64 // of the token cache, in percent of its look-ups; 0 without any
	cycles     float64 // of the garbage collector, per 1,000 requests
	held       float64 // megabytes of memory afterwards
}

// result is what came of one set: rounds of the same index were neighbours.
type result struct {
	set    *set
	rounds map[kind][]round
}

// measure lets fresh gateways take turns with one set of tokens.
func (w *world) measure(ctx context.Context, s settings, tokens *set) (r result, err error) {
	r = result{set: tokens, rounds: make(map[kind][]round)}
	gateways, err := w.start(ctx, kinds, oneRoute)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, gateways.stop()) }()
	for _, g := range gateways {
		if err := g.connect(ctx, s.connections); err != nil {
			return r, err
		}
	}
	if tokens.perRound == 0 {
		if _, err := gateways[ours].drive(s.limit, tokens.from(ctx, 0, len(tokens.tokens))); err != nil {
			return r, err
		}
	}
	for i := range s.rounds + 1 {
		for _, k := range kinds {
			m, err := w.round(gateways[k], s.roundTime, tokens.draw(ctx, i))
			if err != nil {
				return r, err
			}
			if i > 0 {
				r.rounds[k] = append(r.rounds[k], m)
			}
		}
	}
	if s.profile == "" {
		return r, nil
	}
	for _, k := range kinds {
		g, path := gateways[k], s.profile+"."+tokens.name+"."+string(k)
		if err := g.child.call(order{Do: "profile", Text: path}, nil); err != nil {
			return r, err
		}
		if _, err := w.round(g, s.roundTime*time.Duration(s.rounds), tokens.draw(ctx, s.rounds+1)); err != nil {
			return r, err
		}
		if err := g.child.call(order{Do: "profiled", Text: path}, nil); err != nil {
			return r, err
		}
	}
	return r, nil
}

// state is all counters at one moment.
type state struct {
	seen    sightings
	lookups lookups
	usage   usage
}

// round drives one round and does the sums. It is an error when the backend did not see what it should.
func (w *world) round(g *subject, length time.Duration, next func() (token, bool)) (m round, err error) {
	var before, after state
	if err := errors.Join(
		w.backend.call(order{Do: "count"}, &before.seen),
		g.child.call(order{Do: "lookups"}, &before.lookups),
		g.child.call(order{Do: "usage"}, &before.usage), // next to what it measures
	); err != nil {
		return m, err
	}
	began := time.Now()
	took, err := g.drive(length, next)
	elapsed := time.Since(began)
	if err != nil {
		return m, err
	}
	if err := errors.Join(
		g.child.call(order{Do: "usage"}, &after.usage),
		g.child.call(order{Do: "lookups"}, &after.lookups),
		w.backend.call(order{Do: "count"}, &after.seen),
	); err != nil {
		return m, err
	}
	if err := g.check(after.seen.since(before.seen), len(took)); err != nil {
		return m, err
	}
	slices.Sort(took)
	n := float64(len(took))
	hits, misses := after.lookups.Hits-before.lookups.Hits, after.lookups.Misses-before.lookups.Misses
	return round{
		rate:   n / elapsed.Seconds(),
		cpu:    float64((after.usage.CPU - before.usage.CPU).Nanoseconds()) / 1e3 / n,
		p50:    took[len(took)/2].Seconds() * 1e3,
		p99:    took[len(took)*99/100].Seconds() * 1e3,
		allocs: float64(after.usage.Allocs-before.usage.Allocs) / n,
		kb:     float64(after.usage.Bytes-before.usage.Bytes) / 1e3 / n,
		hits:   100 * hits / max(hits+misses, 1),
		cycles: float64(after.usage.Cycles-before.usage.Cycles) * 1e3 / n,
		held:   float64(after.usage.Held) / 1e6,
	}, nil
}

// check compares what the backend saw with the requests that were sent.
func (g *subject) check(seen sightings, requests int) error {
	want := sightings{Requests: int64(requests)}
	if g.kind == bare {
		want.Tokens = want.Requests
	} else {
		want.Identified = want.Requests
	}
	if requests == 0 {
		return fmt.Errorf("%s: the round had no tokens", g.kind)
	}
	if seen != want {
		return fmt.Errorf("%s: the backend saw %+v, want %+v", g.kind, seen, want)
	}
	return nil
}
