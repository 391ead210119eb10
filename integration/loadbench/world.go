package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// world is what all measurements share.
type world struct {
	issuer  *oktatest.Server
	backend *child
	address string // of the backend, host:port
	scratch string // a folder, for the storage of each gateway
}

func startWorld(ctx context.Context) (w *world, err error) {
	w = new(world)
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.issuer, err = oktatest.Start(oktatest.Config{
		ID:   "default",
		Keys: []*oktatest.Key{oktatest.NewKey("RS256"), oktatest.NewKey("RS256"), oktatest.NewKey("ES256")},
	}); err != nil {
		return w, fmt.Errorf("authorization server: %w", err)
	}
	if w.scratch, err = os.MkdirTemp("", "loadbench"); err != nil {
		return w, err
	}
	if w.backend, err = startChild(ctx, "backend"); err != nil {
		return w, fmt.Errorf("backend: %w", err)
	}
	return w, w.backend.call(order{Do: "listen"}, &w.address)
}

func (w *world) close() (err error) {
	if w.backend != nil {
		err = w.backend.stop()
	}
	if w.issuer != nil {
		w.issuer.Close()
	}
	if w.scratch != "" {
		err = errors.Join(err, os.RemoveAll(w.scratch))
	}
	return err
}

// benchmark does all that the settings ask for.
func benchmark(ctx context.Context, s settings, out io.Writer) (err error) {
	w, err := startWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()

	reportMachine(out, s)
	var results []result
	for i, n := range s.sets {
		tokens, err := mint(ctx, w.issuer, n, s)
		if err != nil {
			return err
		}
		measured, err := w.measure(ctx, s, tokens)
		if err != nil {
			return fmt.Errorf("tokens %s: %w", tokens.name, err)
		}
		if results = append(results, measured); i == 0 {
			fmt.Fprint(out, loadHeader)
		}
		reportLoad(out, measured)
	}
	if len(results) > 0 {
		reportRatios(out, results)
	}
	if !s.cold {
		return nil
	}
	starts, err := w.coldStarts(ctx, s)
	if err != nil {
		return fmt.Errorf("cold start: %w", err)
	}
	reloads, err := w.reloads(ctx, s)
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	reportCold(out, starts, reloads)
	return nil
}

// startGateway starts a gateway and gives it its configuration, but does not wait until it runs.
func (w *world) startGateway(ctx context.Context, k kind, routes string) (g *subject, err error) {
	g = &subject{kind: k}
	options := ""
	if k == ours {
		options = oktaOption
	}
	if g.address, err = oktatest.FreeAddress(); err != nil {
		return nil, err
	}
	if g.admin, err = oktatest.FreeAddress(); err != nil {
		return nil, err
	}
	storage, err := os.MkdirTemp(w.scratch, string(k))
	if err != nil {
		return nil, err
	}
	// Twice, since the parts contain words to replace too.
	g.caddyfile = strings.NewReplacer("OPTIONS", options, "ROUTES", routes).Replace(site)
	g.caddyfile = strings.NewReplacer(
		"ADMIN", g.admin, "STORAGE", storage, "ADDRESS", g.address, "ISSUER", w.issuer.Issuer(), "BACKEND", w.address,
	).Replace(g.caddyfile)
	if g.child, err = startChild(ctx, "gateway"); err != nil {
		return nil, err
	}
	if err := g.child.send(order{Do: "load", Text: g.caddyfile}); err != nil {
		return nil, errors.Join(err, g.stop())
	}
	return g, nil
}

// start starts a gateway of each kind, and waits until they run.
func (w *world) start(ctx context.Context, kinds []kind, routes func(kind) string) (gateways fleet, err error) {
	gateways = make(fleet)
	defer func() {
		if err != nil {
			err = errors.Join(err, gateways.stop())
		}
	}()
	for _, k := range kinds {
		if gateways[k], err = w.startGateway(ctx, k, routes(k)); err != nil {
			delete(gateways, k)
			return gateways, err
		}
	}
	for _, g := range gateways {
		if err := g.ready(); err != nil {
			return gateways, err
		}
	}
	return gateways, nil
}

// fleet is the gateways that are compared.
type fleet map[kind]*subject

func (f fleet) stop() (err error) {
	for _, g := range f {
		err = errors.Join(err, g.stop())
	}
	return err
}
