package oktaauth

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/cache"
	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// A hundred thousand cached tokens of 1 KB take at most 70 MB. The rules of cel_policy read the same claims and keep nothing
// else; a test there holds that.
func TestCachedTokenTakesFewBytes(t *testing.T) {
	const tokens, budget = 4000, 700
	issuer := newIssuer(t)
	h := newHandler(t, issuer, nil)
	heap := func() int64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	size := 0
	keep := func(n int) {
		token := issuer.UserToken(fmt.Sprintf("user%06d@example.com", n), oktatest.SignedBy(issuer.PublishedKeys()[2]),
			oktatest.Groups("Everyone", "Engineering", "Orders Readers", "Orders Writers", "On Call"),
			oktatest.With("department", fmt.Sprintf("Engineering %06d", n)), oktatest.With("locale", "en-US"))
		size = len(token) - len(signature(token)) + 342 // as Okta signs it, with RS256; making those would take minutes
		at := attempt{started: time.Now()}
		if refusal := h.find(t.Context(), token, &at); refusal != nil {
			t.Fatal(refusal)
		}
	}
	h.tokens = cache.NewTexts(0)
	keep(0)
	before := heap()
	h.tokens = cache.NewTexts(2 * tokens)
	for n := range tokens {
		keep(n + 1)
	}
	each := (heap() - before) / tokens
	t.Logf("a token of %d bytes takes %d bytes", size, each)
	if each > budget {
		t.Errorf("a cached token of %d bytes takes %d bytes, budget %d", size, each, budget)
	}
	if n := h.tokens.Len(); n != tokens {
		t.Errorf("%d tokens are in the cache, want %d", n, tokens)
	}
}

func signature(token string) string { return token[strings.LastIndexByte(token, '.')+1:] }
