package caddyfile

import (
	"regexp"
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// Whatever order the directives are written in: who is calling comes before Caddy's own authentication, may they after it,
// and both before whatever answers, redir apart. The metadata of the resource, which is for everyone, comes before that.
func TestDirectivesNeedNoOrder(t *testing.T) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(`example.com {
		respond "hello"
		cel_policy `+"`true`"+`
		forward_auth localhost:9000 {
			uri /auth
		}
		basic_auth {
			bob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG
		}
		okta_auth https://acme.okta.com/oauth2/default api://default
		rewrite /a /b
		redir /old /new
		okta_resource_metadata https://example.com
	}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, m := range regexp.MustCompile(`"handler":"([a-z_]+)"`).FindAllStringSubmatch(string(config), -1) {
		order = append(order, m[1])
	}
	want := []string{"okta_resource_metadata", "static_response", "rewrite", "okta_auth", "authentication", "reverse_proxy", "cel_policy", "static_response"}
	order = slices.DeleteFunc(order, func(name string) bool { return !slices.Contains(want, name) })
	if !slices.Equal(order, want) {
		t.Errorf("the handlers are ordered %v, want %v", order, want)
	}
}
