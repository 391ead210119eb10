package main

import (
	"fmt"
	"strings"
)

// site is the Caddyfile of a gateway.
const site = `{
	admin ADMIN
	persist_config off
	storage file_system STORAGE
	log {
		level ERROR
	}
	OPTIONS
}
http://ADDRESS {
	bind 127.0.0.1
	ROUTES
}
`

const oktaOption = `okta {
		issuer main ISSUER {
			audience api://default
			algorithms RS256 ES256
		}
	}`

// guarded is what the gateway does beyond proxying: ten rules, of which two judge the benchmark's requests, as the
// others are for other paths or methods.
const guarded = `okta_auth main
	cel_policy {
		name NAME
		deny    suspended             ` + "`claims.?suspended.orValue(false) == true`" + `
		deny    outside       PREFIX/admin/*  ` + "`!cidr(\"10.0.0.0/8\").containsIP(request.ip)`" + `
		allow   own      GET  PREFIX/users/{id}       ` + "`params.id == principal.subject`" + `
		allow   admins        PREFIX/admin/*  ` + "`\"Admin\" in principal.groups`" + `
		allow   sensors  GET  PREFIX/sensors/*        ` + "`\"read:sensor_data\" in principal.scopes`" + `
		allow   it            PREFIX/it/*     ` + "`claims.department == \"IT\"`" + `
		allow   jobs     POST PREFIX/internal/*       ` + "`principal.kind == \"service\"`" + `
		allow   partners GET  PREFIX/orders/* ` + "`principal.client_id.startsWith(\"0oaPartner\")`" + `
		allow   pay      POST PREFIX/payments/*       ` + "`principal.kind == \"user\"`" + `
		step_up strong   POST PREFIX/payments/* {
			acr_values phr urn:okta:loa:2fa:any
			max_age 5m
		}
	}
	`

// kind is what a gateway does beyond proxying.
type kind string

const (
	bare    kind = "bare"    // nothing
	headers kind = "headers" // what is in identityHeaders alone
	ours    kind = "ours"
)

// kinds are all of them, in the order of their rounds.
var kinds = []kind{bare, headers, ours}

// guard returns the directives that make the difference between the gateways.
func guard(k kind, name, prefix string) string {
	switch k {
	case bare:
		return ""
	case headers:
		return identityDirective + "\n"
	}
	return strings.NewReplacer("NAME", name, "PREFIX", prefix).Replace(guarded)
}

// oneRoute is the gateway under load.
func oneRoute(k kind) string { return guard(k, "bench", "") + "reverse_proxy BACKEND" }

// manyRoutes is the gateway that is reloaded.
func manyRoutes(k kind, n int) string {
	var b strings.Builder
	for i := range n {
		name, prefix := fmt.Sprintf("route-%d", i), fmt.Sprintf("/route-%d", i)
		fmt.Fprintf(&b, "handle %s/* {\n%s reverse_proxy BACKEND\n}\n", prefix, guard(k, name, prefix))
	}
	return b.String()
}
