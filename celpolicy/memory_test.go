package celpolicy

import (
	"fmt"
	"net/http"
	"runtime"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/jwt"
	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// Rules read claims in the form in which the cache keeps them, and leave nothing behind.
func TestRulesKeepNothingOfAToken(t *testing.T) {
	c := compile(t,
		Rule{Allow: "admins", When: `"Admin" in principal.groups`},
		Rule{Allow: "readers", When: `"orders:read" in principal.scopes && claims.tenant == principal.subject`},
	)
	const tokens, budget = 10_000, 16
	ids := make([]*jwt.Claims, tokens)
	for i := range ids {
		claims := map[string]any{
			"sub": fmt.Sprint("user", i), "cid": "0oa1", "tenant": fmt.Sprint("tenant", i),
			"groups": []any{"Everyone", "Engineering"}, "scp": []any{"openid", "orders:write"},
		}
		for n := range 20 {
			claims[fmt.Sprint("unread", n)] = map[string]any{"a": "b", "c": []any{"d", "e"}}
		}
		ids[i] = identity(t, claims)
	}
	heap := func() int64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	r := newRequest(t, http.MethodGet, "/")
	before := heap()
	for _, id := range ids {
		if d := c.Decide(r, &principal.Caller{Judged: true, Identity: id}, noon); d.Result != Deny {
			t.Fatalf("Decide = %+v, want deny", d)
		}
	}
	each := (heap() - before) / tokens
	t.Logf("rules keep %d bytes of a token", each)
	if each > budget {
		t.Errorf("rules keep %d bytes of a token, budget %d", each, budget)
	}
	runtime.KeepAlive(ids)
}
