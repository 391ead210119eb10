// Package integration tests the gateway from outside: real Caddy, loaded in this process, real HTTP to it, a real
// backend behind it and an Okta-shaped authorization server beside it.
package integration
