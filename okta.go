// Package caddyokta makes Caddy an identity-aware gateway for Okta.
//
// Importing it adds the modules to a Caddy build:
//
//	xcaddy build --with github.com/caddy-okta/caddy-okta
//
// Package oktaauth finds out who is calling, package celpolicy decides whether they may, and package caddyfile reads
// the configuration of both.
package caddyokta

import (
	_ "github.com/caddy-okta/caddy-okta/caddyfile" // brings oktaauth and celpolicy
)
