package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-okta/caddy-okta"
	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

//go:embed Caddyfile
var caddyfile []byte

// ports are those that flags fix; 0 is any free one.
type ports struct {
	gateway, admin, issuer, backend, stage int
}

// world is everything that runs.
type world struct {
	issuer  *oktatest.Server // the authorization server that the gateway trusts
	other   *oktatest.Server // one that it does not
	backend *server
	stage   *server
	gateway string // host:port
	admin   string // host:port
	storage string // a folder of Caddy's
	reached atomic.Int64
}

func startWorld(p ports) (w *world, err error) {
	w = new(world)
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.issuer, err = startIssuer(p.issuer); err != nil {
		return w, fmt.Errorf("authorization server: %w", err)
	}
	w.issuer.RegisterClient(oktatest.Client{ID: "0oaNightlyJob", Secret: "not-a-secret", Scopes: []string{"jobs:run"}})
	if w.other, err = oktatest.Start(oktatest.Config{ID: "default"}); err != nil {
		return w, fmt.Errorf("other authorization server: %w", err)
	}
	if w.backend, err = serve(p.backend, http.HandlerFunc(w.echo)); err != nil {
		return w, fmt.Errorf("backend: %w", err)
	}
	if w.stage, err = serve(p.stage, w.stageHandler()); err != nil {
		return w, fmt.Errorf("stage: %w", err)
	}
	if w.storage, err = os.MkdirTemp("", "quickstart"); err != nil {
		return w, err
	}
	if w.gateway, err = freeAddress(p.gateway); err != nil {
		return w, fmt.Errorf("gateway: %w", err)
	}
	if w.admin, err = freeAddress(p.admin); err != nil {
		return w, fmt.Errorf("admin API: %w", err)
	}
	return w, w.startCaddy()
}

// startIssuer starts an authorization server that can go down and come back.
func startIssuer(port int) (*oktatest.Server, error) {
	address, err := freeAddress(port)
	if err != nil {
		return nil, err
	}
	return oktatest.Start(oktatest.Config{Addr: address, ID: "default"})
}

// startCaddy runs the Caddyfile. Its variables stay set, so that it can also be posted to the admin API.
func (w *world) startCaddy() error {
	for name, value := range map[string]string{
		"QUICKSTART_ADMIN":   w.admin,
		"QUICKSTART_STORAGE": w.storage,
		"QUICKSTART_ISSUER":  w.issuer.Issuer(),
		"QUICKSTART_GATEWAY": w.gateway,
		"QUICKSTART_BACKEND": w.backend.address(),
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(caddyfile, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	return caddy.Load(config, true)
}

func (w *world) close() error {
	errs := []error{caddy.Stop()}
	for _, s := range []*server{w.stage, w.backend} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	for _, s := range []*oktatest.Server{w.issuer, w.other} {
		if s != nil {
			s.Close()
		}
	}
	if w.storage != "" {
		errs = append(errs, os.RemoveAll(w.storage))
	}
	return errors.Join(errs...)
}

// echo is the backend: it answers what it saw of the request.
func (w *world) echo(rw http.ResponseWriter, r *http.Request) {
	w.reached.Add(1)
	rw.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(rw)
	enc.SetIndent("", "  ")
	_ = enc.Encode(map[string]any{"method": r.Method, "path": r.URL.Path, "headers": r.Header})
}

// server is an HTTP server on loopback.
type server struct {
	*http.Server
	listener net.Listener
}

func serve(port int, handler http.Handler) (*server, error) {
	listener, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return nil, err
	}
	s := &server{&http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}, listener}
	go s.Serve(listener) //nolint:errcheck // it ends with Close
	return s, nil
}

func (s *server) address() string { return s.listener.Addr().String() }

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freeAddress finds an address that Caddy can listen on a moment later.
func freeAddress(port int) (string, error) {
	if port == 0 {
		return oktatest.FreeAddress()
	}
	return loopback(port), nil
}
