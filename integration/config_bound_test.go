package integration

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// boundOptions writes out every option about bound and opaque tokens, and about the metadata of the resource.
const boundOptions = `{
	admin off
	persist_config off
	okta {
		issuer main https://acme.okta.com/oauth2/default {
			audience api://default
			introspection {
				client_id     0oa1gateway
				client_secret {env.OKTA_TEST_SECRET}
				cache_ttl     0
				negative_ttl  1s
				timeout       3s
			}
		}
		issuer org https://acme.okta.com {
			audience https://acme.okta.com
			introspection {
				client_id   0oa1gateway
				private_key FILES/gateway.pem gateway-1
			}
		}
	}
}
http://127.0.0.1:9 {
	okta_resource_metadata https://api.example.com {
		issuer main
		scopes orders:read orders:write
		name   "Orders"
	}
	okta_auth main {
		dpop require {
			max_age 90s
			nonce
		}
		mtls_bound   off
		introspect   always
		resource     https://api.example.com
		external_url https://api.example.com
	}
	okta_auth /org/* org {
		dpop       off
		mtls_bound require
	}
	respond ok
}
`

// the same in JSON
const boundIssuers = `{
	"main": {
		"url": "https://acme.okta.com/oauth2/default", "audience": ["api://default"],
		"introspection": {
			"client_id": "0oa1gateway", "client_secret": "{env.OKTA_TEST_SECRET}",
			"cache_ttl": 0, "negative_ttl": 1000000000, "timeout": 3000000000
		}
	},
	"org": {
		"url": "https://acme.okta.com", "audience": ["https://acme.okta.com"],
		"introspection": {"client_id": "0oa1gateway", "private_key": "FILES/gateway.pem", "private_key_id": "gateway-1"}
	}
}`

const boundHandlers = `[{
	"handler": "okta_auth", "issuers": ["main"], "dpop": {"mode": "require", "max_age": 90000000000, "nonce": true},
	"mtls_bound": "off", "introspect": "always", "resource": "https://api.example.com", "external_url": "https://api.example.com"
}, {
	"handler": "okta_auth", "match": [{"path": ["/org/*"]}], "issuers": ["org"], "dpop": {"mode": "off"}, "mtls_bound": "require"
}]`

const resourceMetadata = `[{
	"handler": "okta_resource_metadata", "resource": "https://api.example.com", "issuers": ["main"],
	"scopes": ["orders:read", "orders:write"], "name": "Orders"
}]`

func TestOptionsOfBoundAndOpaqueTokensInBothFormats(t *testing.T) {
	t.Setenv("OKTA_TEST_SECRET", "not-a-secret")
	files := t.TempDir()
	if err := os.WriteFile(filepath.Join(files, "gateway.pem"), oktatest.NewKey("ES256").PrivatePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	expand := func(text string) string { return strings.ReplaceAll(text, "FILES", files) }
	config, err := adapt(expand(boundOptions))
	if err != nil {
		t.Fatal(err)
	}
	if err := validateJSON(config); err != nil {
		t.Errorf("what the adapter printed does not load: %v", err)
	}
	adapted := parseJSON(t, string(config)).(map[string]any)
	app := adapted["apps"].(map[string]any)["okta"].(map[string]any)
	if want := parseJSON(t, expand(boundIssuers)); !reflect.DeepEqual(app["issuers"], want) {
		t.Errorf("the issuers are\n%v, want\n%v", app["issuers"], want)
	}
	for name, text := range map[string]string{"okta_auth": boundHandlers, "okta_resource_metadata": resourceMetadata} {
		var handlers []any
		collectHandlers(adapted, name, &handlers)
		if want := parseJSON(t, text); !reflect.DeepEqual(any(handlers), want) {
			t.Errorf("%s:\n%v, want\n%v", name, handlers, want)
		}
	}
}

func TestMistakesInBoundAndOpaqueTokens(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	issuer := func(options string) string {
		return issuerWith("audience api://default\n introspection {\n" + options + "\n}")
	}
	const secret = "client_id a\n client_secret {env.HOME}\n "
	auth := func(options string) string { return "okta_auth main {\n" + options + "\n}" }
	metadata := func(options string) string {
		return "okta_resource_metadata https://api.example.com {\n" + options + "\n}\n okta_auth main"
	}
	const use = "okta_auth main"
	org := "issuer org https://acme.okta.com {\n audience a\n introspection {\n" + secret + "}\n}"
	expectMistakes(t, []mistake{
		{"introspection without a block", issuerWith("audience a\n introspection"), use, "introspection", []string{"client_id is required"}},
		{"a value of introspection", issuerWith("audience a\n introspection on"), use, "introspection", []string{`"on"`}},
		{"introspection twice", issuer(secret + "}\n introspection {\n"), use, "introspection {\n\n", []string{"introspection is already set"}},
		{"an unknown word in introspection", issuer(secret + "client_secrte a"), use, "client_secrte", []string{"did you mean client_secret?"}},
		{"no client", issuer("client_secret {env.HOME}"), use, "introspection", []string{"client_id is required"}},
		{"two clients", issuer("client_id a b"), use, "client_id", []string{`"b"`}},
		{"neither secret nor key", issuer("client_id a"), use, "introspection", []string{"client_secret or private_key is required"}},
		{"a secret and a key", issuer(secret + "private_key " + empty), use, "introspection", []string{"only one of them"}},
		{"a secret without value", issuer("client_id a\n client_secret"), use, "client_secret", []string{"needs a value"}},
		{"a secret from a variable that is not set", issuer("client_id a\n client_secret {env.OKTA_TEST_UNSET}"), use, "", []string{"client_secret", "OKTA_TEST_UNSET"}},
		{"three values of private_key", issuer("client_id a\n private_key b c d"), use, "private_key", []string{`"d"`}},
		{"an empty private_key", issuer("client_id a\n private_key " + empty), use, "", []string{"private_key", "is empty"}},
		{"a private_key that is none", issuer("client_id a\n private_key credential_test.go"), use, "", []string{"introspection"}},
		{"cache_ttl without unit", issuer(secret + "cache_ttl 30"), use, "cache_ttl", []string{"such as 30s"}},
		{"a negative negative_ttl", issuer(secret + "negative_ttl -5s"), use, "negative_ttl", []string{"such as 30s"}},
		{"timeout zero", issuer(secret + "timeout 0s"), use, "timeout", []string{"must not be zero"}},
		{"dpop without mode", validOkta, auth("dpop"), "dpop", []string{"dpop needs a value"}},
		{"dpop with a block only", validOkta, auth("dpop {\n nonce\n}"), "dpop", []string{"dpop needs a value"}},
		{"another word for dpop", validOkta, auth("dpop on"), "dpop", []string{`dpop "on" is unknown`, "accept, require or off"}},
		{"an unknown word in dpop", validOkta, auth("dpop accept {\n nonces\n}"), "nonces", []string{"did you mean nonce?"}},
		{"a long max_age of proofs", validOkta, auth("dpop accept {\n max_age 1h\n}"), "dpop", []string{"max_age 1h0m0s is out of range", "10m0s"}},
		{"a value of nonce", validOkta, auth("dpop accept {\n nonce on\n}"), "nonce", []string{`"on"`}},
		{"dpop off with a nonce", validOkta, auth("dpop off {\n nonce\n}"), "dpop", []string{"excludes max_age and nonce"}},
		{"another word for mtls_bound", validOkta, auth("mtls_bound yes"), "mtls_bound", []string{`"yes"`, "accept, require or off"}},
		{"another word for introspect", validOkta, auth("introspect never"), "introspect", []string{`"never"`, "opaque, always or off"}},
		{"introspect without introspection", validOkta, auth("introspect opaque"), "introspect", []string{"none of the route's issuers has introspection"}},
		{"introspect always without introspection", validOkta, auth("introspect always"), "introspect", []string{"each issuer of the route needs introspection"}},
		{"the org server without introspection", org, "okta_auth org {\n introspect off\n}", "introspect off", []string{"org server"}},
		{"a resource without scheme", validOkta, auth("resource api.example.com"), "resource", []string{"write the URL of the resource"}},
		{"a resource with a fragment", validOkta, auth("resource https://a.example/#b"), "resource", []string{"a fragment is not allowed"}},
		{"an external_url with a slash at its end", validOkta, auth("external_url https://a.example/"), "external_url", []string{"before the path"}},
		{"an external_url without scheme", validOkta, auth("external_url a.example"), "external_url", []string{"before the path"}},
		{"metadata of no resource", validOkta, "okta_resource_metadata\n okta_auth main", "okta_resource_metadata", []string{"okta_resource_metadata <resource url>"}},
		{"metadata of two resources", validOkta, "okta_resource_metadata https://a.example https://b.example\n okta_auth main", "okta_resource_metadata", []string{"https://b.example"}},
		{"metadata of an http resource", validOkta, "okta_resource_metadata http://a.example\n okta_auth main", "okta_resource_metadata", []string{"write the URL"}},
		{"an unknown word in metadata", validOkta, metadata("scope a"), "scope", []string{"did you mean scopes?"}},
		{"metadata of an unknown issuer", validOkta, metadata("issuer mian"), "issuer mian", []string{`"mian" is not declared`, "did you mean main?"}},
	})
}
