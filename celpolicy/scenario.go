package celpolicy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"
	"gopkg.in/yaml.v3"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/jwt"
	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// scenario is one request, made up: who asks for what, and when. Tests and explanations have the same.
type scenario struct {
	// Request is what is asked for.
	Request scenarioRequest `json:"request,omitempty"`

	// Claims are those of the token, as Okta writes them (scp, groups, uid, cid, auth_time …). None: anonymous.
	Claims claimSet `json:"claims,omitzero"`

	// Now is when the request comes.
	Now time.Time `json:"now,omitzero"`

	// Placeholders are values for placeholder(), by name without braces. Those of the request have theirs already; those
	// of the machine, such as env.HOME, have none but these.
	Placeholders map[string]string `json:"placeholders,omitempty"`
}

// scenarioRequest is the request of a scenario.
type scenarioRequest struct {
	// Method defaults to GET.
	Method string `json:"method,omitempty"`

	// Path is as it goes over the wire, and may have a query. Default: /.
	Path string `json:"path,omitempty"`

	// Host may have a port. Default: localhost.
	Host string `json:"host,omitempty"`

	// Scheme is https or http. Default: https.
	Scheme string `json:"scheme,omitempty"`

	// IP is the client's address, as Caddy derived it. Default: 127.0.0.1.
	IP string `json:"ip,omitempty"`

	// Headers and Query have a text, or a list of texts, for each name.
	Headers map[string]valueList `json:"headers,omitempty"`
	Query   map[string]valueList `json:"query,omitempty"`

	// Size is that of the body; -1 is one that was not announced. Default: 0.
	Size int64 `json:"size,omitempty"`
}

// valueList is a list that may be written as one text.
type valueList []string

func (v *valueList) readNode(d *decoder, n *yaml.Node, depth int) error {
	items := n.Content
	if n.Kind == yaml.ScalarNode {
		items = []*yaml.Node{n}
	}
	for _, item := range items {
		item, err := d.enter(item, depth+1)
		if err != nil {
			return err
		}
		if n.Kind == yaml.MappingNode || item.Kind != yaml.ScalarNode || item.Tag != "!!str" {
			return d.errorf(item, "the value must be a text or a list of texts%s", quote(item))
		}
		*v = append(*v, item.Value)
	}
	return nil
}

// claimSet holds the claims of a token; its zero value is no token.
type claimSet struct{ *jwt.Claims }

func (c *claimSet) readNode(d *decoder, n *yaml.Node, depth int) error {
	text, err := d.json(nil, n, depth)
	if err != nil {
		return err
	}
	if c.Claims, err = parseClaims(text); err != nil {
		return d.errorf(n, "claims: %w", err)
	}
	return nil
}

// parseClaims reads the claims of a token from JSON.
func parseClaims(text []byte) (*jwt.Claims, error) {
	claims, err := jwt.DecodeObject(text)
	if err != nil {
		return nil, err
	}
	return jwt.ParseClaims(claims)
}

// clockSkew is the tolerance for auth_time: the default of issuers.
const clockSkew = 30 * time.Second

// build returns the request as Caddy hands it to the handler, and its caller as okta_auth describes it.
func (s *scenario) build() (*http.Request, *principal.Caller, error) {
	r, err := s.Request.build()
	if err != nil {
		return nil, nil, fmt.Errorf("request: %w", err)
	}
	// Values of the machine, such as env.HOME, are left out: a test gives the same everywhere, and an explanation gives
	// nothing away.
	replacer := caddy.NewEmptyReplacer()
	for name, value := range s.Placeholders {
		if strings.ContainsAny(name, "{}") {
			return nil, nil, fmt.Errorf("placeholders: %s: leave the braces out", name)
		}
		replacer.Set(name, value)
	}
	r = caddyhttp.PrepareRequest(r, replacer, nil, new(caddyhttp.Server))
	caller := principal.Ensure(r)
	caller.Judged, caller.ClockSkew, caller.Identity = true, clockSkew, s.Claims.Claims
	return r, caller, nil
}

func (s *scenarioRequest) build() (*http.Request, error) {
	r := &http.Request{
		Method: s.Method, Host: s.Host, RequestURI: s.Path, ContentLength: s.Size,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), Body: http.NoBody,
	}
	for value, otherwise := range map[*string]string{&r.Method: http.MethodGet, &r.Host: "localhost", &r.RequestURI: "/"} {
		if *value == "" {
			*value = otherwise
		}
	}
	if err := s.check(r); err != nil {
		return nil, err
	}
	var err error
	if r.URL, err = url.ParseRequestURI(r.RequestURI); err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	if len(s.Query) > 0 {
		query := make(url.Values)
		for name, values := range s.Query {
			query[name] = values
		}
		if r.URL.RawQuery != "" {
			r.URL.RawQuery += "&"
		}
		r.URL.RawQuery += query.Encode()
		r.RequestURI = r.URL.RequestURI()
	}
	for name, values := range s.Headers {
		for _, value := range values {
			r.Header.Add(name, value)
		}
	}
	switch s.Scheme {
	case "", "https":
		r.TLS = new(tls.ConnectionState)
	case "http":
	default:
		return nil, fmt.Errorf("scheme: %q is neither https nor http", s.Scheme)
	}
	address := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if s.IP != "" {
		if address, err = netip.ParseAddr(s.IP); err != nil {
			return nil, fmt.Errorf("ip: %q is not an address", s.IP)
		}
	}
	if s.Size < -1 {
		return nil, fmt.Errorf("size: %d is no size: write -1 for one that was not announced", s.Size)
	}
	r.RemoteAddr = net.JoinHostPort(address.String(), "50000")
	return r, nil
}

// check refuses what no server lets through to its handlers: a policy that is tested with it is not tested.
func (s *scenarioRequest) check(r *http.Request) error {
	switch {
	case !httpguts.ValidHeaderFieldName(r.Method): // RFC 9110 §9.1: a method is a token, as the name of a header is
		return fmt.Errorf("method: %q is none: write one such as GET", r.Method)
	case r.RequestURI[0] != '/' && strings.Contains(r.RequestURI, "://"):
		return errors.New("path: write the host as host, and the path alone")
	case r.RequestURI[0] != '/':
		return fmt.Errorf("path: it starts with a slash: write /%s", r.RequestURI)
	case strings.Contains(r.RequestURI, " "):
		return errors.New("path: it has a space, and goes over the wire without: write %20")
	case !httpguts.ValidHostHeader(r.Host):
		return fmt.Errorf("host: %q is none: write one such as example.com, or example.com:8443", r.Host)
	}
	names := make(map[string]string)
	for name, values := range s.Headers {
		key := http.CanonicalHeaderKey(name)
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			return fmt.Errorf("headers: %q cannot be a name: write one such as X-Device", name)
		case key == "Host":
			return errors.New("headers: write the host as host")
		case names[key] != "":
			return fmt.Errorf("headers: %s and %s are the same one: write a list of values", min(name, names[key]), max(name, names[key]))
		case slices.ContainsFunc(values, func(value string) bool { return !httpguts.ValidHeaderFieldValue(value) }):
			return fmt.Errorf("headers: a value of %s has a control character, such as the end of a line", name)
		}
		names[key] = name
	}
	return nil
}

// verdict is what becomes of a request, in the words of the audit log.
type verdict struct {
	// Decision is allow, deny, step_up or error; of a policy that only reports, would_… unless it is allow.
	Decision string `json:"decision"`

	// Rule is the rule that decided; empty when none applied.
	Rule string `json:"rule,omitempty"`

	// Reason and Status are those of the answer; ok or anonymous, and 200, when the request goes on.
	Reason string `json:"reason"`
	Status int    `json:"status"`

	// Error is why the rule could not be evaluated, or the request was not judged.
	Error string `json:"error,omitempty"`
}

// outcomeOf decides, as ServeHTTP does.
func (h *Handler) outcomeOf(r *http.Request, caller *principal.Caller, now time.Time) (o verdict, judged bool) {
	decision, refusal := h.judge(r, caller, now)
	o = verdict{Decision: h.record(decision).Result, Rule: decision.Rule, Reason: caller.Reason().String(), Status: http.StatusOK}
	if refusal != nil {
		o.Reason, o.Status = refusal.Reason.String(), refusal.Reason.Status()
	}
	switch {
	case decision.Err != nil:
		o.Error = decision.Err.Error()
	case notJudged(refusal):
		o.Error = refusal.Unwrap().Error()
	}
	return o, !notJudged(refusal)
}

// notJudged reports whether a request was refused before any rule could judge it.
func notJudged(refusal *deny.Refusal) bool {
	return refusal != nil && (refusal.Reason == deny.AmbiguousPath || refusal.Reason == deny.MalformedRequest)
}
