package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// A key that left the set stops working with the next refresh, also for tokens that were verified before.
func TestAWithdrawnKeyEndsCachedTokens(t *testing.T) {
	g := start(t, "okta_auth main")
	old := bearer(g.issuer.UserToken("alice"))
	kept := bearer(g.issuer.UserToken("bob", oktatest.SignedBy(g.issuer.NextKey())))
	for range 2 { // verified, and from the cache
		g.expect(http.StatusOK, "GET", "/", old)
		g.expect(http.StatusOK, "GET", "/", kept)
	}
	g.issuer.Unpublish(g.issuer.ActiveKey().ID)
	if status, text := g.adminCall(http.MethodPost, "/okta/issuers/main/refresh", "", ""); status != http.StatusOK {
		t.Fatalf("refresh = %d: %s", status, text)
	}
	g.expectChallenge(http.StatusUnauthorized, []string{invalidToken, "unknown key"}, "GET", "/", old)
	g.expect(http.StatusOK, "GET", "/", kept)
}

// token_cache takes effect with a reload, also on what is in the cache.
func TestTokenCacheCanBeTurnedOffByAReload(t *testing.T) {
	config := strings.Replace(site, "%s", "okta_auth main", 1)
	g := startWith(t, config)
	alice := bearer(g.issuer.UserToken("alice"))
	hits := func() string {
		_, text := g.adminCall(http.MethodGet, "/metrics", "", "")
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, `caddy_okta_token_cache_total{result="hit"}`) {
				return line
			}
		}
		return ""
	}
	g.expect(http.StatusOK, "GET", "/", alice)
	before := hits()
	g.expect(http.StatusOK, "GET", "/", alice)
	if after := hits(); after == before {
		t.Errorf("the cache is not used: %q", after)
	}
	if status, text := g.post(strings.Replace(config, "okta {", "okta {\n\t\ttoken_cache 0", 1)); status != http.StatusOK {
		t.Fatalf("reload = %d: %s", status, text)
	}
	before = hits()
	for range 3 {
		g.expect(http.StatusOK, "GET", "/", alice)
	}
	if after := hits(); after != before {
		t.Errorf("the cache is used although it is off: %q, then %q", before, after)
	}
}
