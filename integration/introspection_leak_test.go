package integration

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// 9449-47: nothing that a run writes holds an opaque token, a proof, or what the gateway proves itself with; not even when
// the issuer says it all back. Caddy's own copies of the request's headers are filtered, as README says.
func TestNothingLeaksOfIntrospectionAndProofs(t *testing.T) {
	const secret = "a-very-long-secret-of-the-gateway"
	t.Setenv("GATEWAY_SECRET", secret)
	config := strings.Replace(leaky, "level DEBUG", "level DEBUG\n\t\t"+logFilter(t), 1)
	config = strings.Replace(config, "audience api://default", "audience api://default\n introspection {\n client_id "+gatewayID+"\n client_secret {env.GATEWAY_SECRET}\n cache_ttl 0s\n negative_ttl 0s\n }", 1)
	config = strings.Replace(config, "okta_auth main\n", "okta_auth /always main {\n introspect always\n }\n okta_auth /nonce main {\n dpop accept {\n nonce\n }\n }\n okta_auth main\n", 1)
	config = strings.Replace(config, "{http.request.header.Authorization}", "{http.request.header.Authorization} {http.request.header.DPoP}", 1)
	g := startWith(t, config)
	g.issuer.RegisterClient(oktatest.Client{ID: gatewayID, Secret: secret})

	key := oktatest.NewKey("ES256")
	bound := oktatest.BoundTo(key.Thumbprint())
	secrets := []string{secret, base64.StdEncoding.EncodeToString([]byte(gatewayID + ":" + secret))}
	var written strings.Builder
	record := func(a answer) {
		if a.reached {
			a.body = "" // the backend tells what it saw
		}
		fmt.Fprintln(&written, a.StatusCode, a.Response.Header, a.body)
	}
	visit := func(paths ...string) {
		for _, token := range []string{
			g.issuer.OpaqueToken("alice"), g.issuer.OpaqueToken("alice", bound), g.issuer.UserToken("alice", bound), g.issuer.RefreshToken("alice"), "an-invented-opaque-token-0123456789",
		} {
			secrets = append(secrets, token, url.QueryEscape(token))
			for _, path := range paths {
				record(g.send("GET", path, bearer(token)))
				for _, options := range [][]oktatest.Option{nil, {oktatest.Forged()}, {oktatest.With("jti", 7)}} {
					proof := oktatest.Proof(key, "GET", g.url(path), append([]oktatest.Option{oktatest.ForToken(token)}, options...)...)
					secrets = append(secrets, proof)
					record(g.send("GET", path, dpop(token, proof)))
					record(g.send("GET", path, dpop(token, proof, proof)))
				}
			}
		}
	}
	visit("/", "/always", "/nonce", "/scoped", "/strong", "/broken")
	for _, status := range []int{200, 307, 400, 401, 429, 500} {
		g.issuer.Override(oktatest.Introspect, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			echo := r.PostForm.Get("token") + " " + r.Header.Get("Authorization")
			w.Header().Set("Location", "/"+url.QueryEscape(echo))
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"active":true,"error":%q,"sub":7,%q:%q}`, echo, echo, echo)
		}))
		visit("/always")
	}
	for _, path := range []string{"/metrics", "/okta/issuers", "/config/"} {
		_, text := g.adminCall(http.MethodGet, path, "", "")
		fmt.Fprintln(&written, text)
	}
	fmt.Fprintln(&written, g.logged())
	if lines := strings.Count(g.logged(), "\n"); lines < len(secrets) {
		t.Fatalf("only %d lines were logged: the test reads the wrong file", lines)
	}
	for _, text := range secrets {
		parts := strings.Split(text, ".")
		if len(parts) == 3 {
			parts = parts[1:] // the header is no secret
		}
		for _, part := range parts {
			if strings.Contains(written.String(), part) {
				t.Errorf("%.30s… was written", part)
			}
		}
	}
}
