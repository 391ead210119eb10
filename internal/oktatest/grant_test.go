package oktatest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

func TestTokenEndpoint(t *testing.T) {
	srv := custom(t)
	srv.RegisterClient(oktatest.Client{
		ID: "0oa:svc", Secret: "p&ss %", Scopes: []string{"orders:read", "orders:write"},
		Claims: map[string]any{"department": "ops"},
	})
	srv.RegisterClient(oktatest.Client{ID: "public"})
	const id, secret = "0oa:svc", "p&ss %"
	tests := []struct {
		name   string
		basic  [2]string
		form   url.Values
		status int
		err    string
		scope  string
	}{
		{"basic", [2]string{id, secret}, url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read orders:write"}}, 200, "", "orders:read orders:write"},
		{"post", [2]string{}, url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}, "scope": {"orders:read"}}, 200, "", "orders:read"},
		{"no scope", [2]string{id, secret}, url.Values{"grant_type": {"client_credentials"}}, 200, "", ""},
		{"wrong secret", [2]string{id, "wrong"}, url.Values{"grant_type": {"client_credentials"}}, 401, "invalid_client", ""},
		{"unknown client", [2]string{}, url.Values{"grant_type": {"client_credentials"}, "client_id": {"x"}, "client_secret": {"y"}}, 401, "invalid_client", ""},
		{"client without secret", [2]string{}, url.Values{"grant_type": {"client_credentials"}, "client_id": {"public"}}, 401, "invalid_client", ""},
		{"no client", [2]string{}, url.Values{"grant_type": {"client_credentials"}}, 401, "invalid_client", ""},
		{"both ways", [2]string{id, secret}, url.Values{"grant_type": {"client_credentials"}, "client_secret": {secret}}, 400, "invalid_request", ""},
		{"other scope", [2]string{id, secret}, url.Values{"grant_type": {"client_credentials"}, "scope": {"orders:read admin"}}, 400, "invalid_scope", ""},
		{"other grant", [2]string{id, secret}, url.Values{"grant_type": {"password"}}, 400, "unsupported_grant_type", ""},
		{"no grant", [2]string{id, secret}, url.Values{}, 400, "invalid_request", ""},
		{"repeated", [2]string{id, secret}, url.Values{"grant_type": {"client_credentials", "client_credentials"}}, 400, "invalid_request", ""},
		{"too large", [2]string{id, secret}, url.Values{"grant_type": {"client_credentials"}, "x": {strings.Repeat("x", 70000)}}, 400, "invalid_request", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.EndpointURL(oktatest.Token), strings.NewReader(tt.form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			basic := tt.basic[0] != ""
			if basic {
				req.SetBasicAuth(url.QueryEscape(tt.basic[0]), url.QueryEscape(tt.basic[1]))
			}
			res, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var answer struct {
				Error       string
				Description string `json:"error_description"`
				TokenType   string `json:"token_type"`
				AccessToken string `json:"access_token"`
				ExpiresIn   int    `json:"expires_in"`
				Scope       string
			}
			if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != tt.status || answer.Error != tt.err || (answer.Description == "") != (tt.err == "") {
				t.Errorf("answered %d %q %q, want %d %q", res.StatusCode, answer.Error, answer.Description, tt.status, tt.err)
			}
			if got := res.Header.Get("WWW-Authenticate"); (got != "") != (basic && tt.status == 401) {
				t.Errorf("WWW-Authenticate = %q", got)
			}
			if res.Header.Get("Cache-Control") != "no-store" {
				t.Error("the answer may be stored")
			}
			if tt.status != 200 {
				return
			}
			if answer.TokenType != "Bearer" || answer.ExpiresIn != 3600 || answer.Scope != tt.scope {
				t.Errorf("answer = %+v", answer)
			}
			if err := verify(t, srv, answer.AccessToken); err != nil {
				t.Error(err)
			}
			_, claims, _ := parts(t, answer.AccessToken)
			var scopes []string
			if list, ok := claims["scp"].([]any); ok {
				for _, scope := range list {
					scopes = append(scopes, scope.(string))
				}
			}
			if strings.Join(scopes, " ") != tt.scope || claims["sub"] != id || claims["cid"] != id || claims["department"] != "ops" {
				t.Errorf("claims = %v", claims)
			}
		})
	}
	if got := srv.Hits(oktatest.Token); got != len(tests) {
		t.Errorf("Hits(Token) = %d, want %d", got, len(tests))
	}
}

func TestTokenEndpointWantsPOST(t *testing.T) {
	srv := custom(t)
	if status, header, _ := get(t, srv, srv.EndpointURL(oktatest.Token)); status != 405 || header.Get("Allow") != "POST" {
		t.Errorf("GET: %d, Allow %q", status, header.Get("Allow"))
	}
	res, err := srv.Client().Post(srv.EndpointURL(oktatest.Keys), "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 405 {
		t.Errorf("POST to the keys: %d, want 405", res.StatusCode)
	}
}
