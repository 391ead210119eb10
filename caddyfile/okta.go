package caddyfile

import (
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-okta/caddy-okta/oktaauth"
)

// parseOkta parses the global option okta.
func parseOkta(d *caddyfile.Dispenser, existing any) (any, error) {
	d.Next()
	if existing != nil {
		return nil, d.Err("okta is already set: declare all issuers in one block")
	}
	if d.NextArg() {
		return nil, d.Errf("unexpected %q: okta takes a block", d.Val())
	}
	app := &oktaauth.App{Issuers: make(map[string]*oktaauth.Issuer)}
	cacheSet := false
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch d.Val() {
		case "issuer":
			if err := parseIssuer(d, app.Issuers); err != nil {
				return nil, err
			}
		case "token_cache":
			if cacheSet {
				return nil, d.Err("token_cache is already set")
			}
			cacheSet = true
			var value string
			if err := text(d, &value)(); err != nil {
				return nil, err
			}
			size, err := strconv.Atoi(value)
			if err != nil || size < 0 {
				return nil, d.Errf("token_cache: %q is not a number of tokens; 0 turns the cache off", value)
			}
			app.TokenCache = &size
		case "guard":
			if app.Guard != nil {
				return nil, d.Err("guard is already set")
			}
			app.Guard = new(oktaauth.Guard)
			if err := parseGuard(d, app.Guard); err != nil {
				return nil, err
			}
		default:
			return nil, d.Errf("unknown option %q: %s", d.Val(), instead(d.Val(), []string{"guard", "issuer", "token_cache"}))
		}
		if d.NextArg() {
			return nil, d.Errf("unexpected %q: one option per line", d.Val())
		}
	}
	return httpcaddyfile.App{Name: "okta", Value: caddyconfig.JSON(app, nil)}, nil
}

// parseIssuer parses "issuer <name> <url> { … }".
func parseIssuer(d *caddyfile.Dispenser, issuers map[string]*oktaauth.Issuer) error {
	var name string
	i := new(oktaauth.Issuer)
	if !d.Args(&name, &i.URL) || name == "" || i.URL == "" {
		return d.Err("write issuer <name> <url>")
	}
	if !oktaauth.Name.MatchString(name) {
		return d.Errf("issuer name %q: %s", name, oktaauth.NameRule)
	}
	if issuers[name] != nil {
		return d.Errf("issuer %s is already declared", name)
	}
	if d.NextArg() {
		return d.Errf("unexpected %q: audiences stand in the block of the issuer", d.Val())
	}
	issuers[name] = i
	return checked(d, map[string]func() error{
		"audience":       list(d, &i.Audience),
		"client_id":      list(d, &i.ClientID),
		"profile":        text(d, &i.Profile),
		"algorithms":     list(d, &i.Algorithms),
		"clock_skew":     durationOrZero(d, &i.ClockSkew),
		"max_lifetime":   duration(d, &i.MaxLifetime),
		"keys_url":       text(d, &i.KeysURL),
		"keys_file":      text(d, &i.KeysFile),
		"keys_refresh":   duration(d, &i.KeysRefresh),
		"keys_max_stale": duration(d, &i.KeysMaxStale),
		"tls_ca":         text(d, &i.TLSCA),
		"insecure_http":  flag(&i.InsecureHTTP),
		"introspection": func() error {
			i.Introspection = new(oktaauth.Introspection)
			return parseIntrospection(d, i.Introspection)
		},
	}, i.Check)
}

// parseIntrospection parses "introspection { … }".
func parseIntrospection(d *caddyfile.Dispenser, n *oktaauth.Introspection) error {
	return block(d, map[string]func() error{
		"client_id":     text(d, &n.ClientID),
		"client_secret": text(d, &n.ClientSecret),
		"private_key": func() error {
			if err := text(d, &n.PrivateKey)(); err != nil {
				return err
			}
			if d.NextArg() {
				n.PrivateKeyID = d.Val()
			}
			return nil
		},
		"cache_ttl":    durationOrZero(d, &n.CacheTTL),
		"negative_ttl": durationOrZero(d, &n.NegativeTTL),
		"timeout":      duration(d, &n.Timeout),
	})
}

// parseGuard parses "guard { … }". Without a block, the defaults apply.
func parseGuard(d *caddyfile.Dispenser, g *oktaauth.Guard) error {
	return block(d, map[string]func() error{
		"failures": number(d, &g.Failures),
		"window":   duration(d, &g.Window),
		"ban":      duration(d, &g.Ban),
	})
}
