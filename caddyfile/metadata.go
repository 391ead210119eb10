package caddyfile

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-okta/caddy-okta/oktaauth"
)

// parseMetadata parses the directive okta_resource_metadata.
func parseMetadata(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	m := new(oktaauth.ResourceMetadata)
	if !h.NextArg() {
		return nil, h.Err("write okta_resource_metadata <resource url>, such as https://api.example.com")
	}
	m.Resource = h.Val()
	if h.NextArg() {
		return nil, h.Errf("unexpected %q: one resource each; its issuers and scopes stand in the block", h.Val())
	}
	declared, err := declaredIssuers(h)
	if err != nil {
		return nil, err
	}
	err = checked(h.Dispenser, map[string]func() error{
		"issuer": list(h.Dispenser, &m.Issuers),
		"scopes": list(h.Dispenser, &m.Scopes),
		"name":   text(h.Dispenser, &m.Name),
	}, func() error {
		if err := checkNames(m.Issuers, declared); err != nil {
			return err
		}
		return m.Check()
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}
