package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// tokens makes the tokens of the stories, fresh each time.
func (w *world) tokens() map[string]func() string {
	user := func(login string, options ...oktatest.Option) func() string {
		return func() string { return w.issuer.UserToken(login, options...) }
	}
	return map[string]func() string{
		"alice":          user("alice", oktatest.Scopes("openid", "read:profile"), oktatest.Groups("Everyone", "Engineering")),
		"admin":          user("carol", oktatest.Groups("Everyone", "Admin")),
		"expired":        user("alice", oktatest.IssuedAgo(2*time.Hour)),
		"other-audience": user("alice", oktatest.Audience("api://other")),
		"other-issuer":   func() string { return w.other.UserToken("alice") },
		"tampered":       func() string { return tamper(w.issuer.UserToken("alice")) },
		"forged":         user("alice", oktatest.Forged()),
		"star":           user("*"),
		"dotdot":         user(".."),
		"slash":          user("a/b"),
		"sensors":        user("alice", oktatest.Scopes("read:sensor_data")),
		"sensors-x":      user("alice", oktatest.Scopes("read:sensor_data_x")),
		"it":             user("alice", oktatest.With("department", "IT")),
		"sales":          user("alice", oktatest.With("department", "Sales")),
		"department-7":   user("alice", oktatest.With("department", 7)),
		"partner":        user("partner-app", oktatest.Scopes("partner:read")),
		"service":        w.serviceToken,
		"weak":           user("alice", oktatest.With("acr", "urn:okta:loa:1fa:pwd")),
		"old": user("alice", oktatest.With("acr", "phr"),
			oktatest.With("auth_time", time.Now().Add(-time.Hour).Unix())),
		"strong": user("alice", oktatest.With("acr", "phr")),
	}
}

// tamper changes one letter in the middle of the signature.
func tamper(token string) string {
	b := []byte(token)
	i := len(b) - 100
	if b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return string(b)
}

// serviceToken gets a token as a service does: by the client-credentials grant.
func (w *world) serviceToken() string {
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"jobs:run"}}
	r, err := http.NewRequest(http.MethodPost, w.issuer.Issuer()+"/v1/token", strings.NewReader(form.Encode()))
	if err != nil {
		return ""
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("0oaNightlyJob", "not-a-secret")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if json.NewDecoder(resp.Body).Decode(&answer) != nil {
		return ""
	}
	return answer.AccessToken
}

// stageHandler is a server beside the gateway that hands out tokens and moves the scenery, so that every story can be
// told with curl alone.
func (w *world) stageHandler() http.Handler {
	tokens := w.tokens()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /token/{name}", func(rw http.ResponseWriter, r *http.Request) {
		mint := tokens[r.PathValue("name")]
		if mint == nil {
			http.NotFound(rw, r)
			return
		}
		fmt.Fprint(rw, mint())
	})
	mux.HandleFunc("POST /issuer/rotate", func(rw http.ResponseWriter, _ *http.Request) { w.issuer.Rotate() })
	mux.HandleFunc("POST /issuer/down", func(rw http.ResponseWriter, _ *http.Request) { w.issuer.Down() })
	mux.HandleFunc("POST /issuer/up", func(rw http.ResponseWriter, _ *http.Request) {
		if err := w.issuer.Up(); err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
		}
	})
	// The quickstart's own Caddyfile, as it is and with changes to try a reload with.
	edited := func(old, replacement string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(rw, strings.Replace(string(caddyfile), old, replacement, 1))
		}
	}
	mux.HandleFunc("GET /Caddyfile", edited("", ""))
	mux.HandleFunc("GET /Caddyfile.locked", edited("allow me ", "deny me "))
	mux.HandleFunc("GET /Caddyfile.broken", edited("principal.authenticated", "principal.athenticated"))
	return mux
}
