package oktaauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-okta/caddy-okta/internal/discovery"
	"github.com/caddy-okta/caddy-okta/internal/dpop"
)

func init() {
	caddy.RegisterModule(new(ResourceMetadata))
}

// ResourceMetadata serves the metadata of a protected resource (RFC 9728) at its well-known path, to anyone and to any
// origin. What it says about proofs is what the okta_auth handlers enforce that name the same resource.
type ResourceMetadata struct {
	// Resource is the identifier of the resource: the https URL that clients ask tokens for, code point by code point.
	// Its path, if any, stands behind the well-known path. Required.
	Resource string `json:"resource,omitempty"`

	// Issuers names the issuers of the okta app that issue tokens for the resource. Default: the issuers of the okta_auth
	// handlers that name the resource.
	Issuers []string `json:"issuers,omitempty"`

	// Scopes are those that clients may ask for; it need not be all. Default: not said.
	Scopes []string `json:"scopes,omitempty"`

	// Name is the name of the resource for people. Default: not said.
	Name string `json:"name,omitempty"`

	at       *url.URL
	app      *App
	issuers  []*Issuer
	document func() []byte // made at the first request: by then every handler of the configuration is known
}

// CaddyModule returns the Caddy module information.
func (*ResourceMetadata) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.okta_resource_metadata",
		New: func() caddy.Module { return new(ResourceMetadata) },
	}
}

// Provision finds the issuers.
func (m *ResourceMetadata) Provision(ctx caddy.Context) (err error) {
	module, err := ctx.App("okta")
	if err != nil {
		return err
	}
	m.app = module.(*App)
	if m.issuers, err = m.app.named(m.Issuers); err != nil {
		return err
	}
	if err := m.Check(); err != nil {
		return err
	}
	m.at, _ = metadataURL(m.Resource) // which Check has read already
	if err := m.app.describe(m.Resource); err != nil {
		return err
	}
	if m.app.documents == nil {
		m.app.documents = make(map[string]bool)
	}
	m.app.documents[m.at.EscapedPath()] = true
	m.document = sync.OnceValue(m.write)
	return nil
}

// Check reports the first mistake that shows in the settings alone.
func (m *ResourceMetadata) Check() error {
	if m.Resource == "" {
		return errors.New("resource is required: the URL of the protected resource, such as https://api.example.com")
	}
	if _, err := metadataURL(m.Resource); err != nil {
		return fmt.Errorf("resource: %w", err)
	}
	if slices.Contains(m.Scopes, "") {
		return errors.New("scopes must not be empty")
	}
	return nil
}

// resourceMetadata is the document (RFC 9728 §2). Members without a value are left out (§3.2).
type resourceMetadata struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
	Scopes               []string `json:"scopes_supported,omitempty"`
	BearerMethods        []string `json:"bearer_methods_supported,omitempty"`
	Name                 string   `json:"resource_name,omitempty"`
	CertificateBound     bool     `json:"tls_client_certificate_bound_access_tokens,omitempty"`
	DPoPAlgorithms       []string `json:"dpop_signing_alg_values_supported,omitempty"`
	DPoPRequired         bool     `json:"dpop_bound_access_tokens_required,omitempty"`
}

func (m *ResourceMetadata) write() []byte {
	protecting := m.app.protected[m.Resource]
	document := resourceMetadata{
		Resource: m.Resource, Scopes: m.Scopes, Name: m.Name,
		DPoPRequired: len(protecting) > 0, CertificateBound: len(protecting) > 0,
	}
	issuers := slices.Clone(m.issuers)
	for _, h := range protecting {
		bearer := h.source.header == "Authorization" && strings.EqualFold(h.source.scheme, "Bearer") // RFC 6750 §2.1
		if bearer && h.dpop.mode != ProofRequire {
			document.BearerMethods = []string{"header"}
		}
		if h.source.dpop {
			document.DPoPAlgorithms = dpop.Algorithms
		}
		document.DPoPRequired = document.DPoPRequired && h.dpop.mode == ProofRequire
		document.CertificateBound = document.CertificateBound && h.MTLSBound == ProofRequire
		for _, rt := range h.routes {
			if len(m.Issuers) == 0 && !slices.Contains(issuers, rt.Issuer) {
				issuers = append(issuers, rt.Issuer)
			}
		}
	}
	for _, i := range issuers {
		document.AuthorizationServers = append(document.AuthorizationServers, i.URL)
	}
	slices.Sort(document.AuthorizationServers)
	document.AuthorizationServers = slices.Compact(document.AuthorizationServers)
	data, _ := json.Marshal(document) // texts and booleans always have a JSON form
	return data
}

// ServeHTTP answers at the well-known path of its resource, with 404 at those of none, and lets everything else go on.
func (m *ResourceMetadata) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	_, u := sent(r)
	path := u.EscapedPath()
	if path != m.at.EscapedPath() || m.at.RawQuery != "" && u.RawQuery != m.at.RawQuery {
		if (path == wellKnown || strings.HasPrefix(path, wellKnown+"/")) && !m.app.documents[path] {
			return caddyhttp.Error(http.StatusNotFound, errors.New("no resource of this server has its metadata here"))
		}
		return next.ServeHTTP(w, r)
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*") // RFC 9728 §3.1: clients in browsers read it too
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "max-age=300")
		_, err := w.Write(m.document())
		return err
	case isPreflight(r):
		h.Set("Access-Control-Allow-Methods", "GET, HEAD")
		h.Set("Access-Control-Allow-Headers", "*")
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	h.Set("Allow", "GET, HEAD")
	return caddyhttp.Error(http.StatusMethodNotAllowed, fmt.Errorf("metadata is read with GET or HEAD, not with %s", r.Method))
}

// wellKnown is where the metadata of a resource is (RFC 9728 §3).
const wellKnown = "/.well-known/oauth-protected-resource"

// metadataURL returns the URL of a resource's metadata: the well-known path stands between the host and the path of the
// resource; a terminating slash after the host goes (RFC 9728 §3.1).
func metadataURL(resource string) (*url.URL, error) {
	u, err := discovery.CheckURL(resource, false)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: write the URL of the resource, such as https://api.example.com", err)
	case strings.Contains(resource, "{"):
		return nil, fmt.Errorf("%s: placeholders are not replaced on a route: write {$NAME} in a Caddyfile, or the value itself", resource)
	case strings.ContainsAny(resource, "\"\\"): // it could not be quoted in a challenge
		return nil, fmt.Errorf("%s must have no quote and no backslash", resource)
	}
	at := &url.URL{Scheme: u.Scheme, Host: u.Host, RawQuery: u.RawQuery}
	path := u.EscapedPath()
	if path == "/" {
		path = ""
	}
	return at.Parse(wellKnown + path + strings.TrimSuffix("?"+u.RawQuery, "?"))
}

// Interface guards
var (
	_ caddy.Provisioner           = (*ResourceMetadata)(nil)
	_ caddyhttp.MiddlewareHandler = (*ResourceMetadata)(nil)
)
