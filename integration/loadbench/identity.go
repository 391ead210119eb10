package main

import (
	"net/http"
	"path"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const identityDirective = "loadbench_identity"

func init() {
	caddy.RegisterModule(identityHeaders{})
	httpcaddyfile.RegisterHandlerDirective(identityDirective, func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return identityHeaders{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder(identityDirective, httpcaddyfile.Before, "reverse_proxy")
}

// identityHeaders is the least that a gateway which knows the caller does to a request, without finding out who that is:
// the credential leaves, and the headers of ours come. What a header costs from there on, since Caddy copies, logs and
// writes each, it costs behind any gateway.
type identityHeaders struct{}

// CaddyModule returns the Caddy module information.
func (identityHeaders) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers." + identityDirective, New: func() caddy.Module { return new(identityHeaders) }}
}

// ServeHTTP trusts the path.
func (identityHeaders) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	delete(r.Header, "Authorization")
	user := path.Base(r.URL.Path)
	lines := []string{user, "openid profile email orders:read", "Everyone,Engineering,Orders-Readers,VPN-Users", user, "0oaclient1ABCDEFGHI4"}
	for i, name := range []string{"X-User-Id", "X-User-Scopes", "X-User-Groups", "X-User-Email", "X-Client-Id"} {
		r.Header[name] = lines[i : i+1 : i+1]
	}
	return next.ServeHTTP(w, r)
}
