package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-okta/caddy-okta"
	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// gateway is Caddy with a backend and an authorization server. Caddy is one per process, so tests do not run in
// parallel.
type gateway struct {
	t       *testing.T
	issuer  *oktatest.Server
	backend *backend
	address string // host:port of the site
	admin   string
	logs    string // file with everything that Caddy logs
	client  *http.Client
}

// site is put around the directives of most tests.
const site = `{
	admin ADMIN
	persist_config off
	log {
		output file LOGS {
			mode 0600
		}
		level DEBUG
		format json
	}
	okta {
		issuer main ISSUER {
			audience api://default
		}
	}
}
http://ADDRESS {
	bind 127.0.0.1
	log
	%s
	reverse_proxy BACKEND
}
`

// start runs the directives in a site with one issuer, "main", in front of an echo backend.
func start(t *testing.T, directives string) *gateway {
	t.Helper()
	return startWith(t, fmt.Sprintf(site, directives))
}

// startWith runs a whole Caddyfile. The words ADMIN, ADDRESS, ISSUER, BACKEND and LOGS are replaced.
func startWith(t *testing.T, caddyfile string) *gateway {
	t.Helper()
	g := prepare(t)
	g.load(caddyfile)
	return g
}

// prepare starts all but Caddy.
func prepare(t *testing.T) *gateway {
	t.Helper()
	issuer, err := oktatest.Start(oktatest.Config{Addr: freeAddress(t), ID: "default"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(issuer.Close)
	g := &gateway{
		t:       t,
		issuer:  issuer,
		backend: startBackend(t),
		address: freeAddress(t),
		admin:   freeAddress(t),
		logs:    filepath.Join(t.TempDir(), "caddy.log"),
		client:  &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}, CheckRedirect: noRedirect},
	}
	t.Cleanup(func() {
		g.client.CloseIdleConnections()
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	return g
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func (g *gateway) expand(caddyfile string) string {
	return strings.NewReplacer(
		"ADMIN", g.admin, "ADDRESS", g.address, "ISSUER", g.issuer.Issuer(), "BACKEND", g.backend.address, "LOGS", g.logs,
	).Replace(caddyfile)
}

func adapt(caddyfile string) ([]byte, error) {
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	for _, warning := range warnings {
		if !strings.Contains(warning.Message, "not formatted") {
			return nil, fmt.Errorf("warning: %s", warning)
		}
	}
	return config, err
}

func (g *gateway) load(caddyfile string) {
	g.t.Helper()
	config, err := adapt(g.expand(caddyfile))
	if err != nil {
		g.t.Fatalf("adapting: %v", err)
	}
	if err := caddy.Load(config, false); err != nil {
		g.t.Fatalf("loading: %v", err)
	}
}

// post sends a Caddyfile to the admin API and returns the answer.
func (g *gateway) post(caddyfile string) (status int, text string) {
	g.t.Helper()
	return g.adminCall(http.MethodPost, "/load", "text/caddyfile", g.expand(caddyfile))
}

func (g *gateway) adminCall(method, path, contentType, body string) (status int, text string) {
	g.t.Helper()
	for tries := 0; ; tries++ {
		r, err := http.NewRequestWithContext(g.t.Context(), method, "http://"+g.admin+path, strings.NewReader(body))
		if err != nil {
			g.t.Fatal(err)
		}
		r.Header.Set("Content-Type", contentType)
		resp, err := g.client.Do(r)
		if isReset(err) && tries < 5 { // the admin endpoint changes hands at a reload, too
			continue
		}
		if err != nil {
			g.t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			g.t.Fatal(err)
		}
		return resp.StatusCode, string(answer)
	}
}

// logged returns everything that Caddy logged so far.
func (g *gateway) logged() string {
	g.t.Helper()
	text, err := os.ReadFile(g.logs)
	if err != nil {
		g.t.Fatal(err)
	}
	return string(text)
}

// answer is what the client sees, and what the backend saw.
type answer struct {
	*http.Response
	body    string
	reached bool // the backend
	seen    seen
}

// seen is a request as the backend saw it.
type seen struct {
	Method, Path, RawURI string
	Header, Trailer      http.Header
	Body                 string
}

// option changes a request before it is sent.
type option func(*http.Request)

func bearer(token string) option { return header("Authorization", "Bearer "+token) }

// header adds a header, spelled as it is.
func header(name, value string) option {
	return func(r *http.Request) { r.Header[name] = append(r.Header[name], value) }
}

// opaque sets the request target as it goes over the wire.
func opaque(target string) option {
	return func(r *http.Request) { r.URL.Opaque = "//" + r.URL.Host + target }
}

// send makes one request. Its path may hold a query.
func (g *gateway) send(method, path string, options ...option) answer {
	g.t.Helper()
	a, err := g.trySend(g.t.Context(), method, path, options...)
	for tries := 0; isReset(err) && tries < 5; tries++ { // the connection waited for the listener of the configuration before
		a, err = g.trySend(g.t.Context(), method, path, options...)
	}
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func (g *gateway) trySend(ctx context.Context, method, path string, options ...option) (a answer, err error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+g.address+path, nil)
	if err != nil {
		return a, err
	}
	for _, option := range options {
		option(r)
	}
	if a.Response, err = g.client.Do(r); err != nil {
		return a, err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		return a, err
	}
	a.body = string(text)
	if a.reached = a.Header.Get("X-Backend") != ""; a.reached && method != http.MethodHead {
		err = json.Unmarshal(text, &a.seen)
	}
	return a, err
}

// expect makes a request and compares its status. Unless the status is 200, the backend must not be reached.
func (g *gateway) expect(status int, method, path string, options ...option) answer {
	g.t.Helper()
	before := g.backend.requests.Load()
	a := g.send(method, path, options...)
	if a.StatusCode != status {
		g.t.Errorf("%s %s = %d, want %d (%s)", method, path, a.StatusCode, status, a.Header.Get("WWW-Authenticate"))
	}
	if reached := g.backend.requests.Load() > before; reached != (status == http.StatusOK) && a.StatusCode == status {
		g.t.Errorf("%s %s: the backend was reached: %t", method, path, reached)
	}
	return a
}

// expectChallenge is expect, and compares parts of the challenge. Without parts there must be none.
func (g *gateway) expectChallenge(status int, parts []string, method, path string, options ...option) answer {
	g.t.Helper()
	a := g.expect(status, method, path, options...)
	challenges := a.Header.Values("WWW-Authenticate")
	if len(parts) == 0 {
		if len(challenges) > 0 {
			g.t.Errorf("%s %s: challenge %q, want none", method, path, challenges)
		}
		return a
	}
	if len(challenges) == 2 && bareDPoP.MatchString(challenges[1]) {
		challenges = challenges[:1]
	}
	if len(challenges) != 1 {
		g.t.Errorf("%s %s: challenges %q, want one, or another that offers DPoP", method, path, challenges)
		return a
	}
	for _, part := range parts {
		if !strings.Contains(challenges[0], part) {
			g.t.Errorf("%s %s: challenge %s lacks %s", method, path, challenges[0], part)
		}
	}
	if a.Header.Get("Cache-Control") != "no-store" {
		g.t.Errorf("%s %s: Cache-Control %q, want no-store", method, path, a.Header.Get("Cache-Control"))
	}
	return a
}

// backend answers what it saw.
type backend struct {
	address  string
	server   *http.Server
	requests atomic.Int64
	held     atomic.Pointer[held]
}

// held makes one request wait.
type held struct {
	arrived chan struct{}
	release chan struct{}
}

// hold makes the next request wait until it is released.
func (b *backend) hold() (arrived <-chan struct{}, release func()) {
	h := &held{make(chan struct{}), make(chan struct{})}
	b.held.Store(h)
	return h.arrived, func() { close(h.release) }
}

func startBackend(t *testing.T) *backend {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{address: listener.Addr().String()}
	b.server = &http.Server{Handler: b, ReadHeaderTimeout: 10 * time.Second}
	go b.server.Serve(listener) //nolint:errcheck // it ends with Close
	t.Cleanup(func() { _ = b.server.Close() })
	return b
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.requests.Add(1)
	if h := b.held.Swap(nil); h != nil {
		close(h.arrived)
		select {
		case <-h.release:
		case <-r.Context().Done():
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("X-Backend", "reached")
	_ = json.NewEncoder(w).Encode(seen{r.Method, r.URL.Path, r.RequestURI, r.Header, r.Trailer, string(body)})
}

func freeAddress(t testing.TB) string {
	t.Helper()
	address, err := oktatest.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func withBody(text string) option {
	return func(r *http.Request) {
		r.Body = io.NopCloser(strings.NewReader(text))
		r.ContentLength = int64(len(text))
	}
}

func readJSON(t *testing.T, resp *http.Response, into any) {
	t.Helper()
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}
