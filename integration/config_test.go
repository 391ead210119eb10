package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// mistake is a Caddyfile that must not load, and what the message says: also the line, which is that of the first
// occurrence of at. It is empty where the mistake is not in the text, but in a file or the environment.
type mistake struct {
	name, okta, directives string
	at                     string
	want                   []string
}

const (
	validURL  = "https://acme.okta.com/oauth2/default"
	validOkta = "issuer main " + validURL + " {\n audience api://default\n }"
)

// configuration puts a global option and directives into a Caddyfile that needs no network.
func configuration(okta, directives string) string {
	return "{\n admin off\n persist_config off\n okta {\n" + okta + "\n}\n}\nhttp://127.0.0.1:9 {\n" + directives + "\n respond ok\n}\n"
}

// validate does what "caddy validate" does.
func validate(text string) error {
	config, err := adapt(text)
	if err != nil {
		return err
	}
	return validateJSON(config)
}

func validateJSON(text []byte) error {
	var config caddy.Config
	if err := json.Unmarshal(text, &config); err != nil {
		return err
	}
	return caddy.Validate(&config)
}

func expectMistakes(t *testing.T, mistakes []mistake) {
	t.Helper()
	for _, c := range mistakes {
		t.Run(c.name, func(t *testing.T) {
			text := configuration(c.okta, c.directives)
			if _, err := adapt(text); err != nil != (c.at != "") {
				t.Errorf("adapting the text = %v", err)
			}
			err := validate(text)
			if err == nil {
				t.Fatalf("this loads:\n%s", text)
			}
			want := c.want
			if c.at != "" {
				before, _, ok := strings.Cut(text, c.at)
				if !ok {
					t.Fatalf("%q does not occur", c.at)
				}
				want = append([]string{fmt.Sprintf("Caddyfile:%d", strings.Count(before, "\n")+1)}, want...)
			}
			for _, part := range want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the message lacks %q: %v", part, err)
				}
			}
		})
	}
}

// issuer is a global option with one issuer and these options.
func issuerWith(options string) string { return "issuer main " + validURL + " {\n" + options + "\n}" }

func TestMistakesInIssuers(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OKTA_TEST_EMPTY", "")
	const audience = "audience api://default\n "
	const use = "okta_auth main"
	expectMistakes(t, []mistake{
		{"an unknown word in okta", validOkta + "\n bogus 1", use, "bogus", []string{`"bogus"`, "issuer, token_cache"}},
		{"an unknown word in an issuer", issuerWith(audience + "bogus 1"), use, "bogus", []string{`"bogus"`, "audience", "keys_file"}},
		{"an option of okta_auth in an issuer", issuerWith(audience + "scopes a"), use, "scopes", []string{`"scopes"`, "audience"}},
		{"an argument of okta", validOkta + "\n }\n okta main {", use, "okta main", []string{"okta"}},
		{"okta twice", validOkta + "\n }\n okta {\n issuer other " + validURL, use, "okta {\n issuer other", []string{"already set", "one block"}},
		{"no audience", issuerWith(""), use, "issuer main", []string{"audience is required", `add "audience <value>"`}}, // 8725-12
		{"no block", "issuer main " + validURL, use, "issuer main", []string{"audience is required"}},                   // 8725-12
		{"no URL", "issuer main {\n audience a\n }", use, "issuer main", []string{"issuer <name> <url>"}},
		{"neither name nor URL", "issuer", use, "issuer", []string{"issuer <name> <url>"}},
		{"audiences behind the URL", "issuer main " + validURL + " api://default", use, "issuer main", []string{"in the block"}},
		{"an empty audience", issuerWith(`audience ""`), use, "audience", []string{"audience", "needs a value"}},
		{"audience without value", issuerWith("audience"), use, "audience", []string{"audience", "needs a value"}},
		{"one empty audience of two", issuerWith(`audience a ""`), use, "audience", []string{"needs a value"}},
		{"audience twice", issuerWith(audience + "audience b"), use, "audience b", []string{"audience is already set", "one line"}},
		{"insecure_http twice", issuerWith(audience + "insecure_http\n insecure_http"), use, "insecure_http\n}", []string{"already set"}},
		{"a value of insecure_http", issuerWith(audience + "insecure_http yes"), use, "insecure_http", []string{`"yes"`}},
		{"two profiles", issuerWith(audience + "profile okta rfc9068"), use, "profile", []string{`"rfc9068"`, "one option per line"}},
		{"a name twice", validOkta + "\n " + strings.Replace(validOkta, "main", "main ", 1), use, "main  ", []string{"main is already declared"}},
		{"a name with a digit first", "issuer 1st " + validURL, use, "1st", []string{`"1st"`, "a letter followed by"}},
		{"a name with a dot", "issuer a.b " + validURL, use, "a.b", []string{`"a.b"`, "a letter followed by"}},
		{"a name that is a URL", "issuer " + validURL + " main", use, "issuer https", []string{"a letter followed by"}},
		{"HS256", issuerWith(audience + "algorithms HS256"), use, "algorithms", []string{`"HS256"`, "RS256", "EdDSA"}},
		{"none", issuerWith(audience + "algorithms none"), use, "algorithms", []string{`"none"`, "RS256"}}, // 8414-15
		{"an unknown algorithm", issuerWith(audience + "algorithms RS256 rs512"), use, "algorithms", []string{`"rs512"`, "RS512"}},
		{"an unknown profile", issuerWith(audience + "profile auth0"), use, "profile", []string{`"auth0"`, "okta or rfc9068"}},
		{"the admin console", "issuer main https://acme-admin.okta.com/oauth2/default {\n audience a\n }", use, "issuer main", []string{"admin console", "write https://acme.okta.com/oauth2/default"}},
		{"the admin console of a preview", "issuer main https://acme-admin.oktapreview.com/oauth2/default {\n audience a\n }", use, "issuer main", []string{"write https://acme.oktapreview.com/oauth2/default"}},
		{"the admin console in capitals", "issuer main https://Acme-ADMIN.okta.com/oauth2/default {\n audience a\n }", use, "issuer main", []string{"write https://Acme.okta.com/oauth2/default"}},
		{"the admin console of a branch of service", "issuer main https://acme-admin.okta.mil/oauth2/default {\n audience a\n }", use, "issuer main", []string{"write https://acme.okta.mil/oauth2/default"}},
		{"the org server", "issuer main https://acme.okta.com {\n audience a\n }", use, "issuer main", []string{"/oauth2/{id}", "org server", "introspection", "https://acme.okta.com/oauth2/default"}}, // OKTA-02
		{"the org server with a slash", "issuer main https://acme.okta.com/ {\n audience a\n }", use, "issuer main", []string{"org server"}},
		{"the path of an endpoint", "issuer main " + validURL + "/v1/keys {\n audience a\n }", use, "issuer main", []string{"/oauth2/{id}"}},
		{"a slash at the end", "issuer main " + validURL + "/ {\n audience a\n }", use, "issuer main", []string{"without a slash", "write " + validURL}},
		{"a query", "issuer main " + validURL + "?a=1 {\n audience a\n }", use, "issuer main", []string{"no query"}},                                                  // 8414-08
		{"a fragment", "issuer main " + validURL + "#a {\n audience a\n }", use, "issuer main", []string{"a fragment is not allowed"}},                                // 8414-08
		{"http", "issuer main http://acme.okta.com/oauth2/default {\n audience a\n }", use, "issuer main", []string{"write a URL such as https://", "insecure_http"}}, // 8414-07
		{"another scheme", "issuer main ftp://acme.okta.com/oauth2/default {\n audience a\n }", use, "issuer main", []string{"write a URL such as https://"}},
		{"no scheme", "issuer main acme.okta.com/oauth2/default {\n audience a\n }", use, "issuer main", []string{"write a URL such as https://"}},
		{"a password", "issuer main https://a:b@acme.okta.com/oauth2/default {\n audience a\n }", use, "issuer main", []string{"write a URL such as https://"}},
		{"keys_url with http", issuerWith(audience + "keys_url http://acme.okta.com/keys"), use, "keys_url", []string{"keys_url", "write a URL such as https://"}}, // 8414-07
		{"keys_url without host", issuerWith(audience + "keys_url /keys"), use, "keys_url", []string{"keys_url", "write a URL such as"}},
		{"keys_url and keys_file", issuerWith(audience + "keys_url https://a.example/k\n keys_file k.json"), use, "keys_file", []string{"exclude each other", "remove one"}},
		{"a keys_file that is not there", issuerWith(audience + "keys_file /no/such/file"), use, "", []string{"keys_file", "/no/such/file"}},
		{"an empty keys_file", issuerWith(audience + "keys_file " + empty), use, "", []string{"keys_file", "is empty"}},
		{"a keys_file without keys", issuerWith(audience + "keys_file credential_test.go"), use, "", []string{"JSON"}},
		{"a tls_ca that is not there", issuerWith(audience + "tls_ca /no/such/file"), use, "", []string{"tls_ca", "/no/such/file"}},
		{"a tls_ca without certificates", issuerWith(audience + "tls_ca credential_test.go"), use, "", []string{"tls_ca", "no PEM certificate"}},
		{"a large clock_skew", issuerWith(audience + "clock_skew 6m"), use, "clock_skew", []string{"clock_skew 6m0s is out of range", "0s to 5m0s"}}, // 7519-12
		{"a negative clock_skew", issuerWith(audience + "clock_skew -1s"), use, "clock_skew", []string{"clock_skew", "such as 30s"}},
		{"clock_skew without unit", issuerWith(audience + "clock_skew 30"), use, "clock_skew", []string{"such as 30s"}},
		{"clock_skew without value", issuerWith(audience + "clock_skew"), use, "clock_skew", []string{"needs a duration"}},
		{"max_lifetime zero", issuerWith(audience + "max_lifetime 0s"), use, "max_lifetime", []string{"must not be zero"}},
		{"a short keys_refresh", issuerWith(audience + "keys_refresh 59s"), use, "keys_refresh", []string{"keys_refresh 59s", "1m0s or more"}},
		{"a short keys_max_stale", issuerWith(audience + "keys_max_stale 999ms"), use, "keys_max_stale", []string{"keys_max_stale 999ms is too short: write 1s or more"}},
		{"a variable that is not set", issuerWith("audience {env.OKTA_TEST_UNSET}"), use, "", []string{"audience", "OKTA_TEST_UNSET"}},
		{"a variable that is empty", issuerWith("audience {env.OKTA_TEST_EMPTY}"), use, "", []string{"audience", "OKTA_TEST_EMPTY"}},
		{"an issuer from a variable that is not set", "issuer main {env.OKTA_TEST_UNSET} {\n audience a\n }", use, "", []string{"url", "OKTA_TEST_UNSET"}},
		{"a client from a variable that is not set", issuerWith(audience + "client_id {env.OKTA_TEST_UNSET}"), use, "", []string{"client_id", "OKTA_TEST_UNSET"}},
		{"an unknown placeholder", issuerWith("audience {http.request.host}"), use, "", []string{"audience", "http.request.host"}},
		{"a negative token_cache", validOkta + "\n token_cache -1", use, "token_cache", []string{"token_cache", "0 turns"}},
		{"a token_cache of words", validOkta + "\n token_cache many", use, "token_cache", []string{`"many"`}},
		{"token_cache twice", validOkta + "\n token_cache 1\n token_cache 2", use, "token_cache 2", []string{"already set"}},
		{"two values of token_cache", validOkta + "\n token_cache 1 2", use, "token_cache", []string{`"2"`}},
	})
}

func TestMistakesInOktaAuth(t *testing.T) {
	auth := func(options string) string { return "okta_auth main {\n" + options + "\n}" }
	two := validOkta + "\n issuer second " + validURL + " {\n audience api://second\n }"
	expectMistakes(t, []mistake{
		{"an unknown word", validOkta, auth("bogus 1"), "bogus", []string{`"bogus"`, "audience", "scopes"}},
		{"an option of an issuer", validOkta, auth("clock_skew 1s"), "clock_skew", []string{`"clock_skew"`}},
		{"no issuer", validOkta, "okta_auth", "okta_auth", []string{"okta_auth <issuer name>", "okta_auth <issuer url> <audience>"}},
		{"no issuer in a block", validOkta, "okta_auth {\n scopes a\n }", "okta_auth {", []string{"okta_auth <issuer name>"}},
		{"an issuer that is not declared", validOkta, "okta_auth maim", "okta_auth maim", []string{`"maim" is not declared`, "did you mean main?"}},
		{"an issuer where none is declared", "", "okta_auth main", "okta_auth main", []string{`"main" is not declared`, "global okta option"}},
		{"a URL without audience", "", "okta_auth " + validURL, "okta_auth", []string{"needs an audience", "okta_auth <issuer url> <audience>"}},
		{"an audience before the URL", "", "okta_auth default " + validURL, "okta_auth", []string{"a URL comes first"}},
		{"the issuer in two places", validOkta, auth("issuer main"), "issuer main\n}", []string{"already set", "not in both"}},
		{"a URL and a name", validOkta, "okta_auth " + validURL + " api://default {\n issuer main\n }", "issuer main\n }", []string{"already set"}},
		{"one name twice", validOkta, "okta_auth main main", "okta_auth main main", []string{"two of the issuers have the URL"}},
		{"two issuers of one URL", two, "okta_auth main second", "okta_auth main second", []string{"two of the issuers have the URL " + validURL, "could not choose"}},
		{"the org server in place", "", "okta_auth https://acme.okta.com api://default", "okta_auth https", []string{"org server", "/oauth2/default"}},
		{"an environment variable in place", "", "okta_auth {env.OKTA_ISSUER} api://default", "okta_auth", []string{"{env.OKTA_ISSUER}"}},
		{"an audience that the issuer lacks", validOkta, auth("audience api://other"), "audience api://other", []string{"api://other", "it has api://default"}},
		{"one audience that the issuer lacks", validOkta, auth("audience api://default api://other"), "audience api://default api", []string{"api://other", "it has api://default"}},
		{"scopes without value", validOkta, auth("scopes"), "scopes", []string{"scopes needs a value"}},
		{"an empty scope", validOkta, auth(`scopes ""`), "scopes", []string{"scopes needs a value"}},
		{"a scope with a quote", validOkta, auth("scopes `a\"b`"), "scopes", []string{"scopes", "WWW-Authenticate"}}, // 6750-23
		{"a scope with a space", validOkta, auth(`scopes "a b"`), "scopes", []string{"scopes", "WWW-Authenticate"}},  // 6750-23
		{"an acr value with non-ASCII", validOkta, auth("acr_values phré"), "acr_values", []string{"acr_values"}},
		{"scopes twice", validOkta, auth("scopes a\n scopes b"), "scopes b", []string{"scopes is already set"}},
		{"max_age zero", validOkta, auth("max_age 0s"), "max_age", []string{"must not be zero"}},
		{"max_age below a second", validOkta, auth("max_age 500ms"), "max_age", []string{"max_age 500ms", "whole seconds"}}, // 9470-02
		{"max_age negative", validOkta, auth("max_age -5m"), "max_age", []string{"such as 30s"}},
		{"two values of max_age", validOkta, auth("max_age 5m 6m"), "max_age", []string{`"6m"`}},
		{"token without value", validOkta, auth("token"), "token", []string{"token header <name> [<scheme>], or token cookie <name>"}},
		{"token from the query", validOkta, auth("token query access_token"), "token", []string{"token header <name>"}}, // 6750-12
		{"two cookies", validOkta, auth("token cookie a b"), "token", []string{"token cookie <name>"}},
		{"Authorization without scheme", validOkta, auth("token header Authorization"), "token", []string{"needs a scheme", "header Authorization Bearer"}},
		{"the header Cookie", validOkta, auth("token header Cookie"), "token", []string{"cookie <name>"}},
		{"a header with a space", validOkta, auth(`token header "X Y"`), "token", []string{`"X Y"`, "header"}},
		{"a cookie with a semicolon", validOkta, auth(`token cookie "a;b"`), "token", []string{`"a;b"`, "cookie"}},
		{"a scheme with a space", validOkta, auth(`token header X-T "a b"`), "token", []string{`"a b"`, "scheme"}},
		{"a value of optional", validOkta, auth("optional true"), "optional", []string{`"true"`}},
		{"a value of keep_token", validOkta, auth("keep_token on"), "keep_token", []string{`"on"`}},
		{"another word for cors_preflight", validOkta, auth("cors_preflight allow"), "cors_preflight", []string{`"allow"`, "write pass"}},
		{"an empty realm", validOkta, auth(`realm ""`), "realm", []string{"realm needs a value"}},
		{"a realm with a quote", validOkta, auth("realm `a\"b`"), "realm", []string{"realm"}},        // 9110-06
		{"a realm with a line break", validOkta, auth("realm \"a\nb\""), "realm", []string{"realm"}}, // 6750-25
		{"another word for headers", validOkta, auth("headers off"), "headers", []string{`"off"`, "headers none"}},
		{"headers without block", validOkta, auth("headers"), "headers", []string{"headers none"}},
		{"an empty block of headers", validOkta, auth("headers {\n}"), "headers", []string{"headers none"}},
		{"none and a block", validOkta, auth("headers none {\n X-A a\n}"), "headers", []string{`"{"`}},
		{"a header without claim", validOkta, auth("headers {\n X-A\n}"), "X-A", []string{"X-A", "<name> <claim>"}},
		{"a header with two claims", validOkta, auth("headers {\n X-A a b\n}"), "X-A", []string{"<name> <claim>"}},
		{"a header twice", validOkta, auth("headers {\n X-A a\n x-a b\n}"), "headers", []string{"X-A occurs twice"}},
		{"a token in an identity header", validOkta, auth("token header X-Client-ID"), "token header", []string{"token: X-Client-Id is an identity header"}},
		{"a token in a header that is sent", validOkta, auth("token header X-Tok\n headers {\n X-TOK sub\n}"), "token header", []string{"token: X-Tok is an identity header"}},
		{"a header with an underscore", validOkta, auth("headers {\n X_A a\n}"), "headers", []string{`"X_A"`, "letters, digits and -"}},
		{"a header with a dot", validOkta, auth("headers {\n X.A a\n}"), "headers", []string{`"X.A"`, "letters, digits and -"}},
		{"a header that is a credential", validOkta, auth("headers {\n Authorization a\n}"), "headers", []string{"Authorization", "meaning of its own"}},
		{"a header that steers the connection", validOkta, auth("headers {\n transfer-encoding a\n}"), "headers", []string{"Transfer-Encoding"}},
	})
}

func TestMistakesInCELPolicy(t *testing.T) {
	policy := func(rules string) string { return "okta_auth main\n cel_policy {\n" + rules + "\n}" }
	expectMistakes(t, []mistake{
		{"an unknown word", validOkta, policy("permit a `true`"), "permit", []string{`"permit"`, "allow, deny"}},
		{"no expression", validOkta, policy("allow a"), "allow a", []string{"allow <rule>", "<expression>"}},
		{"an expression of several words", validOkta, policy(`allow a /x principal.subject == "alice"`), "allow a", []string{"one token", "backticks"}},
		{"a name twice", validOkta, policy("allow a `true`\n deny a `true`"), "deny a", []string{"a", "rename one"}},
		{"a name of a rule with a digit first", validOkta, policy("allow 1 `true`"), "allow 1", []string{`"1"`, "letters"}},
		{"a name of a policy with a dot", validOkta, policy("name a.b\n allow a `true`"), "", []string{`"a.b"`, "letters"}},
		{"the name twice", validOkta, policy("name a\n name b\n allow a `true`"), "name b", []string{"already set"}},
		{"a variable that does not exist", validOkta, policy("allow a `user.name == 'a'`"), "allow a", []string{"undeclared reference", "user"}},
		{"a field that does not exist", validOkta, policy("allow a `principal.sub == 'a'`"), "allow a", []string{"sub"}},
		{"a type that does not fit", validOkta, policy("allow a `principal.groups == 'A'`"), "allow a", []string{"no matching overload"}},
		{"an expression that is not bool", validOkta, policy("allow a `principal.subject`"), "allow a", []string{"bool"}},
		{"a syntax error", validOkta, policy("allow a `principal.subject ==`"), "allow a", []string{"Syntax error"}},
		{"an unknown parameter", validOkta, policy("allow a /x/{id} `params.name == 'a'`"), "allow a", []string{"params.name", "{name}", "params.id"}},
		{"a shorthand as parameter", validOkta, policy("allow a /files/{path} `true`"), "allow a", []string{"shorthand", "another name"}},
		{"another shorthand as parameter", validOkta, policy("deny a /{host}/x `true`"), "deny a", []string{"shorthand", "another name"}},
		{"a shorthand in an expression", validOkta, policy("allow a `request.host == '{host}'`"), "allow a", []string{"Caddy", "{host}"}},
		{"a shorthand in the short form", validOkta, "okta_auth main\n cel_policy `'{path}' == request.path`", "cel_policy", []string{"Caddy"}},
		{"a method in lower case", validOkta, policy("allow a get /x `true`"), "allow a", []string{`"get"`, "write GET"}},
		{"a path with a star within", validOkta, policy("allow a /a/*/b `true`"), "allow a", []string{"{id}"}},
		{"a path with dots", validOkta, policy("allow a /a/../b `true`"), "allow a", []string{"dot segment"}},
		{"a parameter with a dash", validOkta, policy("allow a /x/{user-id} `true`"), "allow a", []string{"{user-id}", "letters, digits and _"}},
		{"an unknown word in step_up", validOkta, policy("step_up a {\n acr phr\n}"), "acr phr", []string{`"acr"`, "acr_values"}},
		{"a step_up that demands nothing", validOkta, policy("step_up a {\n when `true`\n}"), "step_up", []string{"acr_values or max_age"}},
		{"max_age of a fraction in step_up", validOkta, policy("step_up a {\n max_age 1500ms\n}"), "step_up", []string{"whole seconds"}},
		{"a value of report_only", validOkta, policy("report_only yes\n allow a `true`"), "report_only", []string{`"yes"`}},
		{"a block behind the short form", validOkta, "okta_auth main\n cel_policy `true` {\n name a\n}", "name a", []string{"no block"}},
		{"two expressions", validOkta, "okta_auth main\n cel_policy `true` `false`", "cel_policy", []string{"backticks"}},
	})
}
