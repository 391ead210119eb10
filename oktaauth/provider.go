package oktaauth

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-okta/caddy-okta/internal/principal"
)

func init() {
	caddy.RegisterModule(new(Provider))
}

// Provider lets Caddy's own authentication handler ask for access tokens, beside other providers such as basic auth.
// It has the fields of http.handlers.okta_auth, and judges with the same code, but that handler can only answer 401:
// where it matters to tell 400, 403 and 503 apart, use okta_auth. optional and cors_preflight are not accepted, because
// the provider beside this one would never be asked.
//
// Caddy asks providers in no fixed order, and stops at the first that knows the caller. A request that another one
// knew never comes here, and keeps what the client wrote into identity headers: remove them before the authentication
// handler (request_header -X-User-*).
type Provider struct {
	Handler
}

// CaddyModule returns the Caddy module information.
func (*Provider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.authentication.providers.okta", New: func() caddy.Module { return new(Provider) }}
}

// Provision prepares the handler whose work this is.
func (p *Provider) Provision(ctx caddy.Context) error {
	if p.Optional || p.CORSPreflight != "" || p.Matchers != nil {
		return errors.New("optional, cors_preflight and match work in the okta_auth handler only: use that one")
	}
	return p.Handler.Provision(ctx)
}

// Authenticate judges the token of the request. A refusal leaves its challenge in the header of the answer.
func (p *Provider) Authenticate(w http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	h := &p.Handler
	caller := principal.Ensure(r)
	h.headers.remove(r, caller)
	h.judge(r, caller)
	if caller.Refusal == nil {
		return caddyauth.User{ID: caller.Identity.Subject}, true, nil
	}
	err := caller.Challenge.Respond(w, caller.Refusal)
	if caller.Refusal.Reason.Status() < http.StatusInternalServerError {
		err = nil // Caddy logs errors of providers at ERROR: they are for what operators have to mend
	}
	return caddyauth.User{}, false, err
}

// Interface guards
var (
	_ caddy.Provisioner       = (*Provider)(nil)
	_ caddyauth.Authenticator = (*Provider)(nil)
)
