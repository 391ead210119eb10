package oktaauth

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/deny"
)

// Requests that bring one token at the same time share one verification; other tokens do not wait for it; and each
// request still honours its own context.
func TestConcurrentMissesShareOneVerification(t *testing.T) {
	issuer := newIssuer(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, issuer, nil)
		h.tokens.SetCapacity(0)
		token := issuer.UserToken("alice")
		first := attempt{started: time.Now()}
		if refusal := h.authenticate(t.Context(), token, &first); refusal != nil {
			t.Fatal(refusal)
		}

		// A verification under way that takes its time.
		release := make(chan struct{})
		digest := h.tokens.Digest(token)
		h.routes[0].keys.flights.DoChan(string(digest[:]), func() (any, error) {
			<-release
			return first.verified, nil
		})
		var waiting sync.WaitGroup
		for range 50 {
			waiting.Go(func() {
				at := attempt{started: time.Now()}
				if refusal := h.authenticate(t.Context(), token, &at); refusal != nil || at.verified != first.verified {
					t.Errorf("a request verified the token itself: %v", refusal)
				}
			})
		}
		ctx, cancel := context.WithCancel(t.Context())
		waiting.Go(func() {
			refusal := h.authenticate(ctx, token, &attempt{started: time.Now()})
			if refusal == nil || refusal.Reason != deny.KeysUnavailable || !errors.Is(refusal, context.Canceled) {
				t.Errorf("a request that was given up = %v", refusal)
			}
		})
		synctest.Wait()
		cancel()

		bob := attempt{started: time.Now()}
		if refusal := h.authenticate(t.Context(), issuer.UserToken("bob"), &bob); refusal != nil || bob.verified.identity.Subject != "bob" {
			t.Errorf("another token = %v", refusal)
		}
		close(release)
		waiting.Wait()
	})
}
