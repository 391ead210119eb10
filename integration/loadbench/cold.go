package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// routes is how many routes the gateway has that is reloaded. Each has a policy of ten rules.
const routes = 100

// durations are those of both gateways: values of the same index were neighbours.
type durations struct{ bare, ours []float64 } // milliseconds

// alternate measures both gateways in turn.
func alternate(rounds int, measure func(kind) (time.Duration, error)) (d durations, err error) {
	for range rounds {
		without, err := measure(bare)
		if err != nil {
			return d, err
		}
		with, err := measure(ours)
		if err != nil {
			return d, err
		}
		d.bare, d.ours = append(d.bare, without.Seconds()*1e3), append(d.ours, with.Seconds()*1e3)
	}
	return d, nil
}

// coldStarts measures the time from the start of the process to the first 200, with empty storage: the keys have to be
// fetched for it.
func (w *world) coldStarts(ctx context.Context, s settings) (durations, error) {
	t := mintOne(w.issuer, 0, "RS256")
	return alternate(s.rounds, func(k kind) (took time.Duration, err error) {
		began := time.Now()
		g, err := w.startGateway(ctx, k, oneRoute(k))
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, g.stop()) }()
		if err := g.connect(ctx, 1); err != nil {
			return 0, err
		}
		if err := g.connections[0].get("", t); err != nil {
			return 0, err
		}
		return time.Since(began), g.ready()
	})
}

// reloads measures how long the admin API takes to answer to a Caddyfile of many routes, which all are new to it.
func (w *world) reloads(ctx context.Context, s settings) (d durations, err error) {
	t := mintOne(w.issuer, 0, "RS256")
	gateways, err := w.start(ctx, []kind{bare, ours}, func(k kind) string { return manyRoutes(k, routes) })
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, gateways.stop()) }()
	return alternate(s.rounds, func(k kind) (took time.Duration, err error) {
		g := gateways[k]
		began := time.Now()
		if err := g.reload(ctx); err != nil {
			return 0, err
		}
		took = time.Since(began)
		return took, g.answers(ctx, fmt.Sprintf("/route-%d", routes-1), t)
	})
}

// answers sends one request on a new connection. One that waited for the old listener when it closed is no answer.
func (g *subject) answers(ctx context.Context, prefix string, t token) (err error) {
	for range 5 {
		var c *connection
		if c, err = dial(ctx, g.address); err != nil {
			return err
		}
		err = c.get(prefix, t)
		_ = c.Close()
		reset := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrUnexpectedEOF)
		if !reset {
			return err
		}
	}
	return err
}

// reload posts the Caddyfile that runs already, as `caddy reload --force` does.
func (g *subject) reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.admin+"/load", strings.NewReader(g.caddyfile))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "text/caddyfile")
	r.Header.Set("Cache-Control", "must-revalidate")
	r.Close = true // the admin endpoint is replaced by a reload too
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("the answer is %s: %s", response.Status, text)
	}
	return err
}
