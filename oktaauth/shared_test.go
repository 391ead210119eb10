package oktaauth

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Requests that bring one token at the same time share one verification, and other tokens do not wait for it.
func TestConcurrentMissesShareOneVerification(t *testing.T) {
	issuer := newIssuer(t)
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, issuer, nil)
		h.tokens.SetCapacity(0)
		token := issuer.UserToken("alice")
		first := attempt{started: time.Now()}
		if refusal := h.find(t.Context(), token, &first); refusal != nil {
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
				if refusal := h.find(t.Context(), token, &at); refusal != nil || at.verified != first.verified {
					t.Errorf("a request verified the token itself: %v", refusal)
				}
			})
		}
		synctest.Wait()

		bob := attempt{started: time.Now()}
		if refusal := h.find(t.Context(), issuer.UserToken("bob"), &bob); refusal != nil || bob.verified.identity.Subject != "bob" {
			t.Errorf("another token = %v", refusal)
		}
		close(release)
		waiting.Wait()
	})
}
