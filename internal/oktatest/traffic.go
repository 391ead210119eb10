package oktatest

import (
	"context"
	"fmt"
	"net/http"
	"sync"
)

// Endpoint names one URL of the server, or a group of them.
type Endpoint string

// The endpoints. The organization's own server has only one OAuth metadata document: its [OAuthMetadata].
const (
	OpenIDConfiguration   Endpoint = "openid-configuration"            // {issuer}/.well-known/openid-configuration
	OAuthMetadata         Endpoint = "oauth-authorization-server"      // RFC 8414: /.well-known/ before the issuer's path
	OAuthMetadataAppended Endpoint = "oauth-authorization-server-tail" // the same, /.well-known/ after the issuer's path
	Keys                  Endpoint = "keys"
	Token                 Endpoint = "token"
	Introspect            Endpoint = "introspect"
	Unknown               Endpoint = "unknown" // every other path
)

// Groups of endpoints. What is said of a single endpoint comes before what is said of its group.
const (
	Discovery Endpoint = "discovery" // the three metadata documents
	All       Endpoint = "all"
)

// groups returns e and the groups it belongs to, the most special first.
func (e Endpoint) groups() []Endpoint {
	switch e {
	case All:
		return []Endpoint{All}
	case OpenIDConfiguration, OAuthMetadata, OAuthMetadataAppended:
		return []Endpoint{e, Discovery, All}
	}
	return []Endpoint{e, All}
}

// routes tells which paths an authorization server has.
func routes(id string) map[string]Endpoint {
	base, path := "/oauth2", ""
	if id != "" {
		base = "/oauth2/" + id
		path = base
	}
	paths := map[string]Endpoint{
		path + "/.well-known/openid-configuration":       OpenIDConfiguration,
		path + "/.well-known/oauth-authorization-server": OAuthMetadataAppended,
		base + "/v1/keys":       Keys,
		base + "/v1/token":      Token,
		base + "/v1/introspect": Introspect,
	}
	// Last on purpose: where both forms are one path, it is the RFC's.
	paths["/.well-known/oauth-authorization-server"+path] = OAuthMetadata
	return paths
}

// EndpointURL returns the URL of an endpoint, or "" for one that has none.
func (s *Server) EndpointURL(e Endpoint) string {
	if e == OAuthMetadataAppended && s.cfg.ID == "" {
		e = OAuthMetadata
	}
	for path, at := range s.paths {
		if at == e {
			return s.url + path
		}
	}
	return ""
}

// ServeHTTP counts a request and answers it, truthfully unless an override says otherwise.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e, ok := s.paths[r.URL.Path]
	if !ok {
		e = Unknown
	}
	h := s.traffic.arrive(e)
	if h == nil {
		h = s.Genuine(e)
	}
	h.ServeHTTP(w, r)
}

// Genuine returns the handler that answers an endpoint when nothing overrides it, for overrides that wrap it.
func (s *Server) Genuine(e Endpoint) http.Handler {
	switch e {
	case OpenIDConfiguration, OAuthMetadata, OAuthMetadataAppended:
		return s.document(func() any { return s.metadataOf(e) })
	case Keys:
		return s.document(func() any { return s.keys.jwks() })
	case Token:
		return s.oauth(s.grant)
	case Introspect:
		return s.limit.guard(s.cfg.Now, s.oauth(s.introspect))
	}
	return http.NotFoundHandler()
}

// Override lets h answer all requests to e; nil ends that. Handlers of [http], such as [http.NotFoundHandler] and
// [http.RedirectHandler], and [Answer] cover most misbehaviour; a handler that panics with [http.ErrAbortHandler] cuts the
// connection. Handlers that wait must honour the request's context, or Close waits with them.
func (s *Server) Override(e Endpoint, h http.Handler) {
	s.traffic.override(e, h, -1)
}

// OverrideNext is Override for the next n requests. Afterwards the endpoint answers truthfully.
func (s *Server) OverrideNext(e Endpoint, n int, h http.Handler) {
	s.traffic.override(e, h, n)
}

// Hang overrides e: requests wait until release is called or they are given up, and then get the genuine answer.
// Release also ends the override; it may be called more than once.
func (s *Server) Hang(e Endpoint) (release func()) {
	released := make(chan struct{})
	o := s.traffic.override(e, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-released:
			s.Genuine(s.paths[r.URL.Path]).ServeHTTP(w, r)
		case <-r.Context().Done():
		case <-s.closed:
			panic(http.ErrAbortHandler)
		}
	}), -1)
	return sync.OnceFunc(func() {
		s.traffic.restore(e, o)
		close(released)
	})
}

// Answer returns a handler that always gives the same answer. The headers are pairs of name and value; without a
// Content-Type among them it is application/json.
func Answer(status int, body string, headers ...string) http.Handler {
	if len(headers)%2 != 0 {
		panic("oktatest: a header without a value")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Add(headers[i], headers[i+1])
		}
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) // the client may have gone
	})
}

// Hits returns how many requests have arrived at the given endpoints so far; without any, at all of them.
func (s *Server) Hits(endpoints ...Endpoint) int {
	n, _ := s.traffic.count(endpoints)
	return n
}

// WaitHits waits until n requests have arrived at the given endpoints since the server began. They need not have been
// answered yet.
func (s *Server) WaitHits(ctx context.Context, n int, endpoints ...Endpoint) error {
	for {
		got, more := s.traffic.count(endpoints)
		if got >= n {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d requests to %v, got %d: %w", n, endpoints, got, ctx.Err())
		}
	}
}

// traffic counts requests and knows who answers them.
type traffic struct {
	mu        sync.Mutex
	hits      map[Endpoint]int // of single endpoints and of groups
	more      chan struct{}    // closed and replaced by the next request
	overrides map[Endpoint]*override
}

type override struct {
	handler http.Handler
	left    int // how many more requests; negative for no end
}

func (t *traffic) init() {
	t.hits = map[Endpoint]int{}
	t.more = make(chan struct{})
	t.overrides = map[Endpoint]*override{}
}

// arrive counts a request to e and returns who overrides its answer, or nil.
func (t *traffic) arrive(e Endpoint) http.Handler {
	t.mu.Lock()
	defer t.mu.Unlock()
	var h http.Handler
	for _, g := range e.groups() {
		t.hits[g]++
		if o := t.overrides[g]; o != nil && h == nil {
			h = o.handler
			if o.left--; o.left == 0 {
				delete(t.overrides, g)
			}
		}
	}
	close(t.more)
	t.more = make(chan struct{})
	return h
}

func (t *traffic) count(endpoints []Endpoint) (n int, more <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(endpoints) == 0 {
		return t.hits[All], t.more
	}
	for _, e := range endpoints {
		n += t.hits[e]
	}
	return n, t.more
}

func (t *traffic) override(e Endpoint, h http.Handler, times int) *override {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h == nil || times == 0 {
		delete(t.overrides, e)
		return nil
	}
	o := &override{handler: h, left: times}
	t.overrides[e] = o
	return o
}

// restore ends one override, and not a later one of the same endpoint.
func (t *traffic) restore(e Endpoint, o *override) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.overrides[e] == o {
		delete(t.overrides, e)
	}
}
