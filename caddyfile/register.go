package caddyfile

import "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

// The only place where directives and their order are registered. Caddy takes its own directives as anchors, so that
// the order does not depend on which plugin comes first: who is calling stands before anything that could ask, may
// they after everything that could change the answer.
func init() {
	httpcaddyfile.RegisterGlobalOption("okta", parseOkta)
	httpcaddyfile.RegisterDirective("okta_auth", parseAuth)
	httpcaddyfile.RegisterDirectiveOrder("okta_auth", httpcaddyfile.Before, "basic_auth")
	httpcaddyfile.RegisterHandlerDirective("okta_resource_metadata", parseMetadata)
	httpcaddyfile.RegisterDirectiveOrder("okta_resource_metadata", httpcaddyfile.Before, "redir")
	httpcaddyfile.RegisterHandlerDirective("cel_policy", parsePolicy)
	httpcaddyfile.RegisterDirectiveOrder("cel_policy", httpcaddyfile.After, "forward_auth")
}
