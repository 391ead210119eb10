package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// everyOption writes out every option once. FILES is a folder with keys.json and root.pem.
const everyOption = `{
	admin off
	persist_config off
	okta {
		issuer main https://acme.okta.com/oauth2/default {
			audience       api://default api://second
			client_id      0oa1abc {env.OKTA_TEST_CLIENT}
			profile        okta
			algorithms     RS256 PS256 ES256 EdDSA
			clock_skew     0s
			max_lifetime   24h
			keys_url       https://keys.acme.example/v1/keys
			keys_refresh   10m
			keys_max_stale 2h
			tls_ca         FILES/root.pem
		}
		issuer pinned http://issuer.acme.example/any/path {
			audience  api://default
			profile   rfc9068
			keys_file FILES/keys.json
			insecure_http
		}
		token_cache 0
	}
}
http://127.0.0.1:9 {
	okta_auth main pinned {
		audience       api://default
		client_id      0oa1abc
		scopes         orders:read orders:write
		acr_values     phr urn:okta:loa:2fa:any
		max_age        15m
		token          header X-Api-Token Okta
		optional
		cors_preflight pass
		realm          "the api"
		headers {
			X-User-ID    sub
			X-Department profile.department
		}
		keep_token
	}
	okta_auth /cookie/* {
		issuer https://acme.okta.com/oauth2/other api://other
		token cookie session
		headers none
	}
	respond ok
}
`

// the same in JSON, as the documentation of the modules has it
const everyOptionApp = `{
	"issuers": {
		"main": {
			"url": "https://acme.okta.com/oauth2/default", "audience": ["api://default", "api://second"],
			"client_id": ["0oa1abc", "{env.OKTA_TEST_CLIENT}"], "profile": "okta",
			"algorithms": ["RS256", "PS256", "ES256", "EdDSA"], "clock_skew": 0, "max_lifetime": 86400000000000,
			"keys_url": "https://keys.acme.example/v1/keys", "keys_refresh": 600000000000, "keys_max_stale": 7200000000000,
			"tls_ca": "FILES/root.pem"
		},
		"pinned": {
			"url": "http://issuer.acme.example/any/path", "audience": ["api://default"], "profile": "rfc9068",
			"keys_file": "FILES/keys.json", "insecure_http": true
		}
	},
	"token_cache": 0
}`

const everyOptionHandlers = `[{
	"handler": "okta_auth", "issuers": ["main", "pinned"], "audience": ["api://default"], "client_id": ["0oa1abc"],
	"scopes": ["orders:read", "orders:write"], "acr_values": ["phr", "urn:okta:loa:2fa:any"], "max_age": 900000000000,
	"token": {"header": "X-Api-Token", "scheme": "Okta"}, "optional": true, "cors_preflight": "pass", "realm": "the api",
	"headers": [{"header": "X-User-ID", "claim": "sub"}, {"header": "X-Department", "claim": "profile.department"}],
	"keep_token": true
}, {
	"handler": "okta_auth", "match": [{"path": ["/cookie/*"]}],
	"issuer": {"url": "https://acme.okta.com/oauth2/other", "audience": ["api://other"]},
	"token": {"cookie": "session"}, "headers": []
}]`

func TestEveryOptionInBothFormats(t *testing.T) {
	t.Setenv("OKTA_TEST_CLIENT", "0oa2def")
	g := prepare(t)
	files := t.TempDir()
	for name, text := range map[string][]byte{"keys.json": g.issuer.JWKS(), "root.pem": other(t, oktatest.Config{TLS: true}).CertPEM()} {
		if err := os.WriteFile(filepath.Join(files, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expand := func(text string) string { return strings.ReplaceAll(text, "FILES", files) }
	config, err := adapt(expand(everyOption))
	if err != nil {
		t.Fatal(err)
	}
	if err := validateJSON(config); err != nil {
		t.Errorf("what the adapter printed does not load: %v", err)
	}
	adapted := parseJSON(t, string(config)).(map[string]any)
	apps := adapted["apps"].(map[string]any)
	if want := parseJSON(t, expand(everyOptionApp)); !reflect.DeepEqual(apps["okta"], want) {
		t.Errorf("the app is\n%v, want\n%v", apps["okta"], want)
	}
	var handlers []any
	collectHandlers(adapted, "okta_auth", &handlers)
	if want := parseJSON(t, everyOptionHandlers); !reflect.DeepEqual(any(handlers), want) {
		t.Errorf("the handlers are\n%v, want\n%v", handlers, want)
	}
}

func parseJSON(t *testing.T, text string) (value any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// collectHandlers finds the handlers of a name, in the order of their routes.
func collectHandlers(value any, name string, into *[]any) {
	switch value := value.(type) {
	case map[string]any:
		if value["handler"] == name {
			*into = append(*into, value)
		}
		for _, member := range value {
			collectHandlers(member, name, into)
		}
	case []any:
		for _, item := range value {
			collectHandlers(item, name, into)
		}
	}
}

// jsonConfig puts an app and a handler into a configuration.
func jsonConfig(app, handler string) string {
	return `{"admin": {"disabled": true, "config": {"persist": false}}, "apps": {"okta": ` + app + `, "http": {"servers": {"s": {"listen": ["127.0.0.1:9"], "routes": [{"handle": [` + handler + `]}]}}}}}`
}

func TestMistakesInJSON(t *testing.T) {
	const app = `{"issuers": {"main": {"url": "` + validURL + `", "audience": ["api://default"]}}}`
	const named = `{"handler": "okta_auth", "issuers": ["main"]}`
	handler := func(options string) string { return `{"handler": "okta_auth", "issuers": ["main"], ` + options + `}` }
	issuer := func(options string) string {
		return `{"issuers": {"main": {"url": "` + validURL + `", "audience": ["api://default"], ` + options + `}}}`
	}
	if err := validateJSON([]byte(jsonConfig(app, named))); err != nil {
		t.Fatalf("without a mistake: %v", err)
	}
	for name, c := range map[string]struct {
		app, handler string
		want         []string
	}{
		"an unknown field of the app":        {`{"issuer": {}}`, named, []string{`"issuer"`}},
		"an unknown field of an issuer":      {issuer(`"keys": "x"`), named, []string{`"keys"`}},
		"an unknown field of the handler":    {app, handler(`"scope": ["a"]`), []string{`"scope"`}},
		"an unknown field of the source":     {app, handler(`"token": {"query": "a"}`), []string{`"query"`}},
		"no issuer":                          {app, `{"handler": "okta_auth"}`, []string{"an issuer is required"}},
		"no issuers":                         {app, `{"handler": "okta_auth", "issuers": []}`, []string{"an issuer is required"}},
		"both issuer and issuers":            {app, handler(`"issuer": {"url": "` + validURL + `", "audience": ["a"]}`), []string{"exclude each other"}},
		"an issuer that is null":             {`{"issuers": {"main": null}}`, named, []string{"issuer main is null", "url and an audience"}},
		"an issuer without URL":              {`{"issuers": {"main": {"audience": ["a"]}}}`, named, []string{"url is required"}},
		"an issuer without audience":         {`{"issuers": {"main": {"url": "` + validURL + `", "audience": []}}}`, named, []string{"audience is required"}}, // 8725-12
		"an empty audience":                  {`{"issuers": {"main": {"url": "` + validURL + `", "audience": [""]}}}`, named, []string{"audience must not be empty"}},
		"an empty client":                    {issuer(`"client_id": [""]`), named, []string{"client_id must not be empty"}},
		"an empty algorithm":                 {issuer(`"algorithms": [""]`), named, []string{"algorithms must not be empty"}},
		"an empty name":                      {`{"issuers": {"": {"url": "` + validURL + `", "audience": ["a"]}}}`, named, []string{"a letter followed by"}},
		"a name with a slash":                {`{"issuers": {"a/b": {"url": "` + validURL + `", "audience": ["a"]}}}`, named, []string{"a letter followed by"}},
		"a negative clock_skew":              {issuer(`"clock_skew": "-1s"`), named, []string{"clock_skew", "out of range"}},
		"a negative max_lifetime":            {issuer(`"max_lifetime": -1`), named, []string{"max_lifetime must be positive"}},
		"a negative keys_refresh":            {issuer(`"keys_refresh": -1`), named, []string{"keys_refresh", "1m0s or more"}},
		"a negative keys_max_stale":          {issuer(`"keys_max_stale": "-1s"`), named, []string{"keys_max_stale"}},
		"a negative token_cache":             {`{"token_cache": -1}`, `{"handler": "okta_auth", "issuer": {"url": "` + validURL + `", "audience": ["a"]}}`, []string{"token_cache must not be negative"}},
		"a negative max_age":                 {app, handler(`"max_age": -1000000000`), []string{"max_age", "positive"}},
		"an empty scope":                     {app, handler(`"scopes": [""]`), []string{"scopes", "must not be empty"}},
		"an empty acr value":                 {app, handler(`"acr_values": [""]`), []string{"acr_values", "must not be empty"}},
		"an empty audience of a route":       {app, handler(`"audience": [""]`), []string{"audience"}},
		"an empty client of a route":         {app, handler(`"client_id": [""]`), []string{"client_id", "must not be empty"}},
		"an empty source":                    {app, handler(`"token": {}`), []string{"header <name> [<scheme>], or cookie <name>"}},
		"a cookie and a header":              {app, handler(`"token": {"cookie": "a", "header": "b"}`), []string{"cookie excludes header"}},
		"a cookie and a scheme":              {app, handler(`"token": {"cookie": "a", "scheme": "b"}`), []string{"cookie excludes header"}},
		"a scheme without header":            {app, handler(`"token": {"scheme": "b"}`), []string{"header <name>"}},
		"a header without name":              {app, handler(`"headers": [{"claim": "sub"}]`), []string{"headers"}},
		"a header without claim":             {app, handler(`"headers": [{"header": "X-A"}]`), []string{"X-A needs a claim"}},
		"an unknown matcher":                 {app, handler(`"match": [{"bogus": {}}]`), []string{"bogus"}},
		"an unknown word for cors_preflight": {app, handler(`"cors_preflight": "yes"`), []string{"write pass"}},
		"a realm with a control character":   {app, handler(`"realm": "a\nb"`), []string{"realm"}}, // 6750-25
		"a placeholder as scope":             {app, handler(`"scopes": ["{env.HOME}"]`), []string{"scopes", "{env.HOME}"}},
		"a placeholder as client":            {app, handler(`"client_id": ["{env.HOME}"]`), []string{"client_id", "{env.HOME}"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := validateJSON([]byte(jsonConfig(c.app, c.handler)))
			if err == nil {
				t.Fatal("it loads")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the message lacks %q: %v", part, err)
				}
			}
		})
	}
}

// Environment variables are resolved when the configuration loads, in every text of an issuer.
func TestEnvironmentVariablesInIssuers(t *testing.T) {
	g := prepare(t)
	t.Setenv("OKTA_TEST_URL", g.issuer.Issuer())
	t.Setenv("OKTA_TEST_AUDIENCE", "api://default")
	t.Setenv("OKTA_TEST_CLIENT", "0oaA")
	g.load(withIssuers("issuer main {env.OKTA_TEST_URL} {\n audience {env.OKTA_TEST_AUDIENCE}\n client_id {$OKTA_TEST_CLIENT}\n }",
		"okta_auth main\n okta_auth /in-place {$OKTA_TEST_URL} {$OKTA_TEST_AUDIENCE}"))
	g.expectReason("wrong_client", "GET", "/", bearer(g.issuer.UserToken("alice")))
	token := bearer(g.issuer.ServiceToken("0oaA"))
	g.expectReason("ok", "GET", "/", token)
	g.expectReason("ok", "GET", "/in-place", token)
	g.expectReason("wrong_audience", "GET", "/", bearer(g.issuer.ServiceToken("0oaA", oktatest.Audience("{env.OKTA_TEST_AUDIENCE}"))))
}
