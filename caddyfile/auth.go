package caddyfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-okta/caddy-okta/oktaauth"
)

// parseAuth parses the directive okta_auth. Its matcher goes into the handler and not onto the route, so that the
// handler sees, and cleans, the other requests too.
func parseAuth(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next()
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	h.Next()
	handler := new(oktaauth.Handler)
	if matcher != nil {
		handler.Matchers = caddyhttp.RawMatcherSets{matcher}
	}
	declared, err := declaredIssuers(h)
	if err != nil {
		return nil, err
	}
	if err := authIssuers(h.Dispenser, handler, h.RemainingArgs()); err != nil {
		return nil, err
	}
	if err := authBlock(h.Dispenser, handler, declared); err != nil {
		return nil, err
	}
	return h.NewRoute(nil, handler), nil
}

// declaredIssuers returns what the global option okta has declared.
func declaredIssuers(h httpcaddyfile.Helper) (map[string]*oktaauth.Issuer, error) {
	var app oktaauth.App
	if option, ok := h.Option("okta").(httpcaddyfile.App); ok {
		if err := json.Unmarshal(option.Value, &app); err != nil {
			return nil, h.Errf("okta: %w", err)
		}
	}
	return app.Issuers, nil
}

// authIssuers takes "<issuer name>…" or "<issuer url> <audience>…".
func authIssuers(d *caddyfile.Dispenser, handler *oktaauth.Handler, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if handler.Issuer != nil || len(handler.Issuers) > 0 {
		return d.Err("the issuer is already set: name it behind okta_auth or in its block, not in both")
	}
	if !strings.Contains(args[0], "://") {
		for _, name := range args {
			if !oktaauth.Name.MatchString(name) {
				return d.Errf("issuer name %q: %s; a URL comes first, and its audiences after it", name, oktaauth.NameRule)
			}
		}
		handler.Issuers = args
		return nil
	}
	if len(args) == 1 {
		return d.Errf("issuer %s needs an audience: write okta_auth <issuer url> <audience>…", args[0])
	}
	handler.Issuer = &oktaauth.Issuer{URL: args[0], Audience: args[1:]}
	return nil
}

func authBlock(d *caddyfile.Dispenser, handler *oktaauth.Handler, declared map[string]*oktaauth.Issuer) error {
	return checked(d, map[string]func() error{
		"issuer": func() error {
			var issuers []string
			if err := list(d, &issuers)(); err != nil {
				return err
			}
			return authIssuers(d, handler, issuers)
		},
		"audience":       list(d, &handler.Audience),
		"client_id":      list(d, &handler.ClientID),
		"scopes":         list(d, &handler.Scopes),
		"acr_values":     list(d, &handler.ACRValues),
		"max_age":        duration(d, &handler.MaxAge),
		"token":          func() error { return authToken(d, handler) },
		"optional":       flag(&handler.Optional),
		"cors_preflight": text(d, &handler.CORSPreflight),
		"realm":          text(d, &handler.Realm),
		"headers":        func() error { return authHeaders(d, handler) },
		"keep_token":     flag(&handler.KeepToken),
		"dpop":           func() error { return authDPoP(d, handler) },
		"mtls_bound":     text(d, &handler.MTLSBound),
		"introspect":     text(d, &handler.Introspect),
		"resource":       text(d, &handler.Resource),
		"external_url":   text(d, &handler.ExternalURL),
	}, func() error { return checkAuth(handler, declared) })
}

// checkAuth has the handler checked. What is wrong with the names of its issuers is said in the words of a Caddyfile.
func checkAuth(handler *oktaauth.Handler, declared map[string]*oktaauth.Issuer) error {
	if handler.Issuer == nil && len(handler.Issuers) == 0 {
		return errors.New("okta_auth needs an issuer: write okta_auth <issuer name>…, or okta_auth <issuer url> <audience>…")
	}
	if err := checkNames(handler.Issuers, declared); err != nil {
		return err
	}
	return handler.Check(declared)
}

// checkNames looks for a name that no issuer has.
func checkNames(names []string, declared map[string]*oktaauth.Issuer) error {
	for _, name := range names {
		switch {
		case declared[name] != nil:
		case len(declared) == 0:
			return fmt.Errorf("issuer %q is not declared: declare it in the global okta option", name)
		default:
			return fmt.Errorf("issuer %q is not declared: %s", name, instead(name, slices.Collect(maps.Keys(declared))))
		}
	}
	return nil
}

// authToken parses "token header <name> [<scheme>]" and "token cookie <name>".
func authToken(d *caddyfile.Dispenser, handler *oktaauth.Handler) error {
	args := d.RemainingArgs()
	switch {
	case len(args) == 2 && args[0] == "header":
		handler.Token = &oktaauth.TokenSource{Header: args[1]}
	case len(args) == 3 && args[0] == "header":
		handler.Token = &oktaauth.TokenSource{Header: args[1], Scheme: args[2]}
	case len(args) == 2 && args[0] == "cookie":
		handler.Token = &oktaauth.TokenSource{Cookie: args[1]}
	default:
		return d.Err("write token header <name> [<scheme>], or token cookie <name>")
	}
	return nil
}

// authDPoP parses "dpop <mode>" and "dpop <mode> { … }".
func authDPoP(d *caddyfile.Dispenser, handler *oktaauth.Handler) error {
	handler.DPoP = new(oktaauth.DPoP)
	if err := text(d, &handler.DPoP.Mode)(); err != nil {
		return err
	}
	return block(d, map[string]func() error{
		"max_age": duration(d, &handler.DPoP.MaxAge),
		"nonce":   flag(&handler.DPoP.Nonce),
	})
}

// authHeaders parses "headers none" and "headers { <name> <claim> … }".
func authHeaders(d *caddyfile.Dispenser, handler *oktaauth.Handler) error {
	begin := *d
	handler.Headers = []oktaauth.IdentityHeader{}
	if d.NextArg() {
		if d.Val() != "none" {
			return d.Errf("unexpected %q: write headers none, or a block of <name> <claim> lines", d.Val())
		}
		return nil
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		header := oktaauth.IdentityHeader{Header: d.Val()}
		if !d.AllArgs(&header.Claim) || header.Claim == "" {
			return d.Errf("header %s: write <name> <claim>", header.Header)
		}
		handler.Headers = append(handler.Headers, header)
	}
	if len(handler.Headers) == 0 {
		return begin.Err("headers is empty: write headers none, or a block of <name> <claim> lines")
	}
	return nil
}
