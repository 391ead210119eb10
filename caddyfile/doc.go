// Package caddyfile is the Caddyfile syntax of the modules, and the only package that knows it.
//
// Global option:
//
//	okta {
//		issuer <name> <url> {
//			audience       <value>…
//			client_id      <id>…
//			profile        okta | rfc9068
//			algorithms     <algorithm>…
//			clock_skew     <duration>
//			max_lifetime   <duration>
//			keys_url       <url>
//			keys_file      <file>
//			keys_refresh   <duration>
//			keys_max_stale <duration>
//			tls_ca         <file>
//			insecure_http
//			introspection {
//				client_id     <id>
//				client_secret <secret>
//				private_key   <file> [<kid>]
//				cache_ttl     <duration>
//				negative_ttl  <duration>
//				timeout       <duration>
//			}
//		}
//		token_cache <number>
//		guard {
//			failures <number>
//			window   <duration>
//			ban      <duration>
//		}
//	}
//
// Directives, in the order in which they run; no "order" option is needed:
//
//	okta_resource_metadata [<matcher>] <resource url> {
//		issuer <name>…
//		scopes <scope>…
//		name   <text>
//	}
//
//	okta_auth [<matcher>] [<issuer name>… | <issuer url> <audience>…] {
//		issuer         <name>… | <url> <audience>…
//		audience       <value>…
//		client_id      <id>…
//		scopes         <scope>…
//		acr_values     <value>…
//		max_age        <duration>
//		token          header <name> [<scheme>] | cookie <name>
//		optional
//		cors_preflight pass
//		realm          <realm>
//		headers        none | {
//			<name> <claim>
//		}
//		keep_token
//		dpop           accept | require | off {
//			max_age <duration>
//			nonce
//		}
//		mtls_bound     accept | require | off
//		introspect     opaque | always | off
//		resource       <url>
//		external_url   <url>
//	}
//
//	cel_policy [<matcher>] [<expression>]
//	cel_policy [<matcher>] {
//		name    <name>
//		file    <pattern>…
//		allow   <rule> [<METHOD>[,<METHOD>…]] [<path>] <expression>
//		deny    <rule> [<METHOD>[,<METHOD>…]] [<path>] <expression>
//		step_up <rule> [<METHOD>[,<METHOD>…]] [<path>] {
//			acr_values <value>…
//			max_age    <duration>
//			when       <expression>
//		}
//		report_only
//	}
//
// Request matcher, in a named matcher or its block, and behind "not":
//
//	@<name> cel_policy <expression>
//
// An expression is one token, in backticks. An option stands once, with all its values on its line. A word that is not
// listed here is an error with file and line, and so is every mistake that shows in the text: what remains for the moment
// when the configuration loads are files and the environment.
package caddyfile
