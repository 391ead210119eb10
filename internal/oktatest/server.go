package oktatest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Config describes one authorization server. The zero value is the organization's own server on a free port.
type Config struct {
	// Addr is where Start listens. Default: 127.0.0.1 and a free port.
	Addr string

	// ID names a custom authorization server, such as "default". Empty means the organization's own server.
	ID string

	// Audience is the aud of access tokens. Default: "api://default"; for the organization's own server its URL.
	Audience string

	// TLS makes Start serve HTTPS, with a certificate that only [Server.CertPEM] vouches for.
	TLS bool

	// URL is where the server says it is, without a path. Default: the listener's address; without a listener
	// "https://acme.okta.test".
	URL string

	// Alg is the algorithm of the server's own keys. Default: RS256, the only one that Okta has.
	Alg string

	// Keys are the first keys: the active one, the next one, and further published ones. Missing ones are made. Two
	// servers with the same keys model one authorization server with two issuers.
	Keys []*Key

	// Lifetime is how long tokens live. Default: one hour.
	Lifetime time.Duration

	// Now tells the time that goes into tokens and that assertions, proofs and introspected tokens are judged by.
	// [Proof] does not know it. Default: time.Now.
	Now func() time.Time
}

// Server is one authorization server. It is also an [http.Handler], so that it can be put behind another listener.
type Server struct {
	cfg     Config
	url     string
	paths   map[string]Endpoint
	keys    keyring
	traffic traffic
	limit   limit // of introspection
	nonces  nonces
	spent   spent  // jti values of assertions and proofs
	issued  issued // tokens that do not speak for themselves
	client  *http.Client

	certificate tls.Certificate // for HTTPS
	certPEM     []byte

	handling sync.RWMutex  // held for reading by every handler that a listener started
	closed   chan struct{} // closed by Close

	mu           sync.Mutex
	state        state
	addr         string   // where Up listens again; empty without a listener
	serving      *serving // nil unless listening
	clients      map[string]Client
	metadata     map[string]any // changes to the metadata documents
	cacheControl string
}

type state int

const (
	up state = iota
	down
	over
)

// New makes a server that has no listener: only [Server.Transport], [Server.Client] and ServeHTTP reach it.
func New(cfg Config) (*Server, error) {
	if cfg.URL == "" {
		cfg.URL = "https://acme.okta.test"
	}
	s, err := newServer(cfg)
	if err != nil {
		return nil, err
	}
	s.client = &http.Client{Transport: s.Transport()}
	return s, nil
}

// Start makes a server and serves it on a real listener, until [Server.Close].
func Start(cfg Config) (*Server, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("the listening address: %w", err)
	}
	ln, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, err
	}
	if cfg.URL == "" {
		// The host as it was written: tokens, metadata and the certificate of "localhost" shall say so.
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		cfg.URL = scheme(cfg) + "://" + net.JoinHostPort(host, port)
	}
	s, err := newServer(cfg)
	if err == nil && cfg.TLS {
		err = s.certify(host)
	}
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	s.client = s.newClient()
	s.addr = ln.Addr().String()
	s.serving = s.serve(ln)
	return s, nil
}

func newServer(cfg Config) (*Server, error) {
	if strings.ContainsAny(cfg.ID, "/?# ") {
		return nil, fmt.Errorf("the id %q of the authorization server is not one segment of a path", cfg.ID)
	}
	cfg.URL = strings.TrimSuffix(cfg.URL, "/")
	if cfg.Audience == "" {
		cfg.Audience = "api://default"
		if cfg.ID == "" {
			cfg.Audience = cfg.URL
		}
	}
	if cfg.Alg == "" {
		cfg.Alg = "RS256"
	}
	if _, ok := algorithms[cfg.Alg]; !ok {
		return nil, fmt.Errorf("unknown algorithm %q", cfg.Alg)
	}
	if cfg.Lifetime == 0 {
		cfg.Lifetime = time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{
		cfg:          cfg,
		url:          cfg.URL,
		closed:       make(chan struct{}),
		clients:      map[string]Client{},
		cacheControl: oktaCacheControl,
	}
	s.paths = routes(cfg.ID)
	s.traffic.init()
	s.keys.init(cfg.Alg, cfg.Keys)
	return s, nil
}

func scheme(cfg Config) string {
	if cfg.TLS {
		return "https"
	}
	return "http"
}

// URL returns the address of the server without a path: the organization's URL.
func (s *Server) URL() string { return s.url }

// Issuer returns the iss of the server's tokens.
func (s *Server) Issuer() string {
	if s.cfg.ID == "" {
		return s.url
	}
	return s.url + "/oauth2/" + s.cfg.ID
}

// Audience returns the aud of the server's access tokens.
func (s *Server) Audience() string { return s.cfg.Audience }

// Client returns an HTTP client that reaches the server and trusts its certificate.
func (s *Server) Client() *http.Client { return s.client }

// Close ends the server for good: it closes the listener and all connections and waits for handlers. Tokens can still
// be minted. It may be called more than once.
func (s *Server) Close() {
	s.mu.Lock()
	serving := s.serving
	s.serving = nil
	if s.state != over {
		s.state = over
		close(s.closed)
	}
	s.mu.Unlock()
	serving.stop()
	s.client.CloseIdleConnections()
	s.handling.Lock() // handlers see a cancelled context and return
	defer s.handling.Unlock()
}

// Down makes the server unreachable: connections are cut and new ones refused. The port stays its own unless another
// program takes it.
func (s *Server) Down() {
	s.mu.Lock()
	serving := s.serving
	s.serving = nil
	if s.state == up {
		s.state = down
	}
	s.mu.Unlock()
	serving.stop()
	s.client.CloseIdleConnections()
}

// Up makes a server reachable again, at the same address as before [Server.Down].
func (s *Server) Up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.state {
	case up:
		return nil
	case over:
		return errors.New("the server was closed")
	}
	if s.addr != "" {
		ln, err := listenAgain(s.addr)
		if err != nil {
			return err
		}
		s.serving = s.serve(ln)
	}
	s.state = up
	return nil
}

// listenAgain gives an outgoing connection that happens to hold the port some time to go away.
func listenAgain(addr string) (ln net.Listener, err error) {
	for range 50 {
		if ln, err = net.Listen("tcp", addr); err == nil || !errors.Is(err, syscall.EADDRINUSE) {
			return ln, err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil, err
}

// unavailable tells whether the server refuses connections.
func (s *Server) unavailable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state != up
}

// serving is one listener at work, from Start or Up until Down or Close.
type serving struct {
	http   *http.Server
	cancel context.CancelFunc
	done   chan struct{}
}

func (s *Server) serve(ln net.Listener) *serving {
	ctx, cancel := context.WithCancel(context.Background())
	v := &serving{cancel: cancel, done: make(chan struct{})}
	v.http = &http.Server{
		Handler:           http.HandlerFunc(s.handle),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 10 * time.Second,
		// Refused handshakes and aborted handlers are what tests provoke: no news.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() {
		defer close(v.done)
		if s.cfg.TLS {
			v.http.TLSConfig = &tls.Config{Certificates: []tls.Certificate{s.certificate}}
			_ = v.http.ServeTLS(ln, "", "") // ends with ErrServerClosed
			return
		}
		_ = v.http.Serve(ln)
	}()
	return v
}

// handle is ServeHTTP for requests of the own listener, which Close waits for.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	s.handling.RLock()
	defer s.handling.RUnlock()
	if r.Context().Err() == nil {
		s.ServeHTTP(w, r)
	}
}

// stop closes the listener and every connection, and cancels what is being answered.
func (v *serving) stop() {
	if v == nil {
		return
	}
	v.cancel()
	_ = v.http.Close()
	<-v.done
	// A connection that was accepted while the first Close ran may have been missed by it.
	_ = v.http.Close()
}
