package integration

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

const wellKnown = "/.well-known/oauth-protected-resource"

// fetchMetadata reads the metadata at a path, as it is.
func (g *gateway) fetchMetadata(path string, options ...option) (document map[string]any) {
	g.t.Helper()
	a := g.send("GET", path, options...)
	if a.StatusCode != http.StatusOK || a.reached {
		g.t.Fatalf("GET %s = %d, want metadata", path, a.StatusCode)
	}
	if got := a.Header.Get("Content-Type"); got != "application/json" {
		g.t.Errorf("GET %s: Content-Type %q", path, got)
	}
	if err := json.Unmarshal([]byte(a.body), &document); err != nil {
		g.t.Fatal(err)
	}
	return document
}

// expectMetadata compares a whole document.
func (g *gateway) expectMetadata(path, want string) {
	g.t.Helper()
	got, err := json.Marshal(g.fetchMetadata(path))
	if err != nil {
		g.t.Fatal(err)
	}
	if want := toJSON(g.t, parseJSON(g.t, g.expand(want))); string(got) != want {
		g.t.Errorf("%s says\n%s\nwant\n%s", path, got, want)
	}
}

const proofAlgorithms = `["ES256","ES384","ES512","RS256","RS384","RS512","PS256","PS384","PS512","EdDSA"]`

// 9728-04, 9728-06, 9728-07, 9728-08, 9728-09, 9728-10, 9728-11, 9728-12, 9728-14: the document says what is enforced, and
// nothing of what is not.
func TestMetadataSaysWhatIsEnforced(t *testing.T) {
	for name, c := range map[string]struct{ directives, want string }{
		"a resource that nobody protects": {
			"okta_resource_metadata https://api.example.com",
			`{"resource":"https://api.example.com"}`,
		},
		"a resource and what is said of it": {
			"okta_resource_metadata https://api.example.com {\n issuer main\n scopes orders:read orders:write\n name \"Orders & more\"\n }",
			`{"resource":"https://api.example.com","authorization_servers":["ISSUER"],"scopes_supported":["orders:read","orders:write"],"resource_name":"Orders & more"}`,
		},
		"one scope": {
			"okta_resource_metadata https://api.example.com {\n scopes orders:read\n }",
			`{"resource":"https://api.example.com","scopes_supported":["orders:read"]}`,
		},
		"a route with the defaults": {
			"okta_resource_metadata https://api.example.com\n okta_auth main {\n resource https://api.example.com\n }",
			`{"resource":"https://api.example.com","authorization_servers":["ISSUER"],"bearer_methods_supported":["header"],"dpop_signing_alg_values_supported":` + proofAlgorithms + `}`,
		},
		"a route that demands proofs": {
			"okta_resource_metadata https://api.example.com\n okta_auth main {\n resource https://api.example.com\n dpop require\n }",
			`{"resource":"https://api.example.com","authorization_servers":["ISSUER"],"dpop_bound_access_tokens_required":true,"dpop_signing_alg_values_supported":` + proofAlgorithms + `}`,
		},
		"a route that takes no proofs": {
			"okta_resource_metadata https://api.example.com\n okta_auth main {\n resource https://api.example.com\n dpop off\n mtls_bound off\n }",
			`{"resource":"https://api.example.com","authorization_servers":["ISSUER"],"bearer_methods_supported":["header"]}`,
		},
		"a route that demands certificates": {
			"okta_resource_metadata https://api.example.com\n okta_auth main {\n resource https://api.example.com\n dpop off\n mtls_bound require\n }",
			`{"resource":"https://api.example.com","authorization_servers":["ISSUER"],"bearer_methods_supported":["header"],"tls_client_certificate_bound_access_tokens":true}`,
		},
		"routes that demand different things": {
			"okta_resource_metadata https://api.example.com\n okta_auth /a main {\n resource https://api.example.com\n dpop require\n mtls_bound require\n }\n" +
				"okta_auth /b main {\n resource https://api.example.com\n }\n okta_auth /c main {\n resource https://api.example.com\n dpop require\n mtls_bound require\n }",
			`{"resource":"https://api.example.com","authorization_servers":["ISSUER"],"bearer_methods_supported":["header"],"dpop_signing_alg_values_supported":` + proofAlgorithms + `}`,
		},
		"a token in a cookie": {
			"okta_resource_metadata https://api.example.com\n okta_auth main {\n resource https://api.example.com\n token cookie session\n }",
			`{"resource":"https://api.example.com","authorization_servers":["ISSUER"]}`,
		},
		"a token in another header": {
			"okta_resource_metadata https://api.example.com\n okta_auth main {\n resource https://api.example.com\n token header X-Token Bearer\n }",
			`{"resource":"https://api.example.com","authorization_servers":["ISSUER"]}`,
		},
		"a token behind another scheme": {
			"okta_resource_metadata https://api.example.com\n okta_auth main {\n resource https://api.example.com\n token header Authorization Okta\n }",
			`{"resource":"https://api.example.com","authorization_servers":["ISSUER"]}`,
		},
		"a route of another resource": {
			"okta_resource_metadata https://api.example.com\n okta_auth main {\n resource https://api.example.com/other\n }",
			`{"resource":"https://api.example.com"}`,
		},
		"several issuers": {
			"okta_resource_metadata https://api.example.com\n okta_auth /a partner main third {\n resource https://api.example.com\n dpop off\n }\n" +
				"okta_auth /b main {\n resource https://api.example.com\n dpop off\n }",
			`{"resource":"https://api.example.com","authorization_servers":["ISSUER","https://partner.example/oauth2/x","https://partner.example/oauth2/y"],"bearer_methods_supported":["header"]}`,
		},
		"issuers that are named": {
			"okta_resource_metadata https://api.example.com {\n issuer partner\n }\n okta_auth main {\n resource https://api.example.com\n dpop off\n }",
			`{"resource":"https://api.example.com","authorization_servers":["https://partner.example/oauth2/y"],"bearer_methods_supported":["header"]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := startWith(t, withIssuers(mainWith("")+"\n issuer partner https://partner.example/oauth2/y {\n audience a\n }\n issuer third https://partner.example/oauth2/x {\n audience a\n }", c.directives))
			g.expectMetadata(wellKnown, c.want)
		})
	}
}

// 9728-01, 9728-02, 9728-03, 9728-04, 9728-19: where the document is depends on the resource, code point by code point.
func TestWhereMetadataIs(t *testing.T) {
	resources := map[string]string{
		"https://api.example.com":            wellKnown,
		"https://api.example.com/orders":     wellKnown + "/orders",
		"https://api.example.com/orders/":    wellKnown + "/orders/",
		"https://api.example.com/a%2Fb":      wellKnown + "/a%2Fb",
		"https://api.example.com/x?tenant=7": wellKnown + "/x?tenant=7",
		"https://api.example.com/x?tenant=8": wellKnown + "/x?tenant=8",
	}
	var directives strings.Builder
	for resource := range resources {
		directives.WriteString("okta_resource_metadata " + resource + "\n")
	}
	directives.WriteString("okta_auth main")
	g := startTelling(t, directives.String())
	for resource, path := range resources {
		if got := g.fetchMetadata(path)["resource"]; got != resource {
			t.Errorf("%s is about %v, want %s", path, got, resource)
		}
	}
	if got := g.fetchMetadata(wellKnown + "/orders?a=b")["resource"]; got != "https://api.example.com/orders" {
		t.Errorf("with a query that it does not have, the metadata is about %v", got)
	}
	for _, path := range []string{wellKnown + "/other", wellKnown + "/orders/7", wellKnown + "/Orders", wellKnown + "/", wellKnown + "/a/b"} {
		g.expectChallenge(http.StatusNotFound, nil, "GET", path)
		g.expectChallenge(http.StatusNotFound, nil, "GET", path, bearer(g.issuer.UserToken("alice")))
	}
	for _, path := range []string{"/", "/.well-known/other", wellKnown + "2"} {
		g.expectReason("no_credential", "GET", path)
	}
}

// 9728-03: what is before the path is no part of where the document is.
func TestTheSlashBehindTheHost(t *testing.T) {
	g := startTelling(t, "okta_resource_metadata https://api.example.com/\n okta_auth main {\n resource https://api.example.com/\n }")
	if got := g.fetchMetadata(wellKnown)["resource"]; got != "https://api.example.com/" {
		t.Errorf("the metadata is about %v", got)
	}
	g.expectPointers("https://api.example.com"+wellKnown, g.expectReason("no_credential", "GET", "/"))
}

// 9728-16, 9728-17, 9728-21
func TestHowMetadataIsServed(t *testing.T) {
	g := startTelling(t, "okta_resource_metadata https://api.example.com\n okta_auth main {\n resource https://api.example.com\n }")
	get := g.send("GET", wellKnown, bearer("garbage"), header("Origin", "https://app.example"))
	head := g.send("HEAD", wellKnown)
	for name, a := range map[string]answer{"GET": get, "HEAD": head} {
		if a.StatusCode != http.StatusOK || a.Header.Get("Access-Control-Allow-Origin") != "*" || a.Header.Get("Cache-Control") != "max-age=300" || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s = %d %v", name, a.StatusCode, a.Header)
		}
	}
	if head.body != "" || get.body == "" {
		t.Errorf("HEAD has the body %q, GET %q", head.body, get.body)
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		a := g.expectChallenge(http.StatusMethodNotAllowed, nil, method, wellKnown)
		if got := a.Header.Get("Allow"); got != "GET, HEAD" {
			t.Errorf("%s: Allow is %q", method, got)
		}
	}
	preflight := g.send("OPTIONS", wellKnown, header("Origin", "https://app.example"), header("Access-Control-Request-Method", "GET"), header("Access-Control-Request-Headers", "mcp-protocol-version"))
	for name, want := range map[string]string{"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET, HEAD", "Access-Control-Allow-Headers": "*"} {
		if got := preflight.Header.Get(name); preflight.StatusCode != http.StatusNoContent || got != want {
			t.Errorf("the preflight = %d with %s %q, want 204 and %q", preflight.StatusCode, name, got, want)
		}
	}
}

// expectPointers compares resource_metadata in every challenge.
func (g *gateway) expectPointers(want string, a answer) {
	g.t.Helper()
	lines := a.Header.Values("WWW-Authenticate")
	if len(lines) == 0 {
		g.t.Error("there is no challenge")
	}
	for _, line := range lines {
		if got := parseChallenge(g.t, line)["resource_metadata"]; got != want {
			g.t.Errorf("challenge %s, want resource_metadata %q", line, want)
		}
	}
}

// 9728-18, 9728-19, 9728-20: every challenge points to the document of its own resource, as clients see it.
func TestChallengesPointToTheMetadata(t *testing.T) {
	g := startTelling(t, `okta_resource_metadata https://api.example.com
	okta_resource_metadata https://api.example.com/orders
	rewrite /rewritten /orders
	okta_auth /orders* main {
		resource https://api.example.com/orders
		scopes orders:read
		external_url https://api.example.com
	}
	okta_auth /bound main {
		resource https://api.example.com
		dpop require {
			nonce
		}
	}
	okta_auth /policy/* main {
		resource https://api.example.com
		optional
	}
	okta_auth /silent main
	cel_policy {
		allow all `+"`principal.authenticated`"+`
		step_up strong /policy/strong {
			acr_values phr
			max_age 5m
		}
	}`)
	const root, orders = "https://api.example.com" + wellKnown, "https://api.example.com" + wellKnown + "/orders"
	alice := bearer(g.issuer.UserToken("alice"))
	h := g.holder()
	g.expectPointers(orders, g.expectReason("no_credential", "GET", "/orders"))
	g.expectPointers(orders, g.expectReason("no_credential", "GET", "/rewritten"))
	g.expectPointers(orders, g.expectReason("insufficient_scope", "GET", "/orders", alice))
	g.expectPointers(orders, g.expectReason("malformed_token", "GET", "/orders", bearer("x")))
	g.expectPointers(orders, g.expectReason("malformed_request", "GET", "/orders", bearer("{")))
	g.expectPointers(root, g.expectReason("no_credential", "GET", "/bound"))
	g.expectPointers(root, g.expectReason("proof_required", "GET", "/bound", alice))
	g.expectPointers(root, g.expectReason("nonce_required", "GET", "/bound", h.proving("GET", g.url("/bound"))))
	g.expectPointers(root, g.expectReason("invalid_proof", "GET", "/bound", dpop(h.token)))
	g.expectPointers(root, g.expectReason("no_credential", "GET", "/policy/x"))
	g.expectPointers(root, g.expectReason("step_up_required", "GET", "/policy/strong", alice))
	g.expectPointers("", g.expectReason("no_credential", "GET", "/silent"))
}

// 9728-20: the document is where clients look for it, whatever the site makes of their paths.
func TestMetadataBehindRewrites(t *testing.T) {
	g := startTelling(t, "rewrite * /app{uri}\n okta_resource_metadata https://api.example.com/orders\n okta_auth main")
	if got := g.fetchMetadata(wellKnown + "/orders")["resource"]; got != "https://api.example.com/orders" {
		t.Errorf("the metadata is about %v", got)
	}
	g.expect(http.StatusNotFound, "GET", wellKnown+"/other")
	g.expectReason("no_credential", "GET", "/orders")
}

// 9728-22: a client that was refused finds the authorization server, if the resource is the very URL that it called.
func TestAStrictClientFindsTheAuthorizationServer(t *testing.T) {
	g := prepare(t)
	resource := g.url("/orders") // http is for loopback addresses only
	g.load(withIssuers(mainWith(""), "okta_resource_metadata "+resource+"\n okta_auth main {\n resource "+resource+"\n }"))
	pointer, err := url.Parse(parseChallenge(t, g.expectReason("no_credential", "GET", "/orders").Header.Get("WWW-Authenticate"))["resource_metadata"])
	if err != nil || pointer.Host != g.address || pointer.Scheme != "http" {
		t.Fatalf("resource_metadata is %s, %v", pointer, err)
	}
	document := g.fetchMetadata(pointer.RequestURI())
	if document["resource"] != resource {
		t.Errorf("the document is about %v, and the client called %s", document["resource"], resource)
	}
	servers, _ := document["authorization_servers"].([]any)
	if !slices.Equal(servers, []any{g.issuer.Issuer()}) {
		t.Fatalf("authorization_servers are %v", servers)
	}
	resp, err := g.issuer.Client().Get(g.issuer.EndpointURL(oktatest.OAuthMetadata))
	if err != nil {
		t.Fatal(err)
	}
	var server struct{ Issuer string }
	if readJSON(t, resp, &server); server.Issuer != servers[0] { // 9728-09
		t.Errorf("the authorization server calls itself %q, want %v", server.Issuer, servers[0])
	}
}

// 9728-05: what cannot be the identifier of a resource is an error, in either place.
func TestIdentifiersOfResources(t *testing.T) {
	for _, resource := range []string{
		"http://api.example.com", "ftp://api.example.com", "https://api.example.com#a", "https://api.example.com/#", "api.example.com", "https://",
		"https://user@api.example.com", `https://api.example.com/a\b`, `https://api.example.com/a"b`, "https://api.example.com/a%zz", "mailto:a@example.com",
	} {
		for _, directives := range []string{"okta_resource_metadata `" + resource + "`", "okta_auth main {\n resource `" + resource + "`\n }"} {
			if err := validate(configuration(issuerWith("audience api://default"), directives)); err == nil || !strings.Contains(err.Error(), "resource: ") {
				t.Errorf("%s: %v, want an error about the resource", directives, err)
			}
		}
	}
	for _, directives := range []string{"okta_resource_metadata", "okta_resource_metadata \"\"", "okta_resource_metadata https://a https://b", "okta_resource_metadata https://a {\n scopes \"\"\n }", "okta_resource_metadata https://a {\n issuer nobody\n }"} {
		if err := validate(configuration(issuerWith("audience api://default"), directives)); err == nil {
			t.Errorf("%s is accepted", directives)
		}
	}
}

func TestMistakesInMetadataInJSON(t *testing.T) {
	const issuers = `{"issuers": {"main": {"url": "` + validURL + `", "audience": ["a"]}}}`
	for fields, part := range map[string]string{
		`"resource": "https://a", "issuers": ["nobody"]`: `issuer "nobody" is not declared`,
		`"resource": "https://a", "scopes": ["a", ""]`:   "scopes must not be empty",
		`"resource": "http://a"`:                         "http://",
		`"scopes": ["a"]`:                                "resource is required",
	} {
		if err := validateJSON([]byte(jsonConfig(issuers, `{"handler": "okta_resource_metadata", `+fields+`}`))); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, want an error that says %s", fields, err, part)
		}
	}
	for _, handler := range []string{`{"handler": "okta_resource_metadata", "resource": "https://a"}`, `{"handler": "okta_auth", "issuers": ["main"]}`} {
		for range 20 { // Caddy loads apps in any order
			if err := validateJSON([]byte(jsonConfig(`{"token_cache": -1}`, handler))); err == nil || !strings.Contains(err.Error(), "token_cache") {
				t.Fatalf("with an app that does not load: %v", err)
			}
		}
	}
}

// Identifiers that differ, and have their metadata at one place, would be confused: one of them is a mistake.
func TestResourcesWithOneDocument(t *testing.T) {
	const metadata = "okta_resource_metadata https://api.example.com\n "
	for directives, loads := range map[string]bool{
		metadata + "okta_auth main {\n resource https://api.example.com\n }":                                                          true,
		metadata + "okta_auth main {\n resource https://api.example.com/\n }":                                                         false,
		"okta_auth /a main {\n resource https://api.example.com/\n }\n okta_auth /b main {\n resource https://api.example.com\n }":    false,
		"okta_auth /a main {\n resource https://api.example.com/a\n }\n okta_auth /b main {\n resource https://api.example.com/b\n }": true,
		metadata + "okta_resource_metadata https://api.example.com/":                                                                  false,
		metadata + "okta_resource_metadata https://api.example.com/orders":                                                            true,
	} {
		if err := validate(configuration(validOkta, directives)); (err == nil) != loads {
			t.Errorf("%s: %v, it should load: %t", directives, err, loads)
		}
	}
}

// A placeholder that nobody replaces would reach clients as it is.
func TestPlaceholdersInWhatClientsSee(t *testing.T) {
	for _, option := range []string{"resource", "external_url", "realm"} {
		for _, value := range []string{"https://{env.HOST}", "https://a.example/{http.request.host}"} {
			if err := validate(configuration(validOkta, "okta_auth main {\n "+option+" `"+value+"`\n }")); err == nil || !strings.Contains(err.Error(), option) {
				t.Errorf("%s %s: %v, want an error", option, value, err)
			}
		}
	}
	if err := validate(configuration(validOkta, "okta_resource_metadata `https://{env.HOST}`")); err == nil {
		t.Error("okta_resource_metadata takes a placeholder")
	}
}
