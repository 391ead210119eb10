package oktatest_test

import (
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

func Example() {
	srv, err := oktatest.Start(oktatest.Config{ID: "default", Audience: "api://orders"})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close() // in a test: t.Cleanup(srv.Close)

	_ = srv.UserToken("ada@example.com", oktatest.Scopes("orders:read"), oktatest.Groups("ops"))
	_ = srv.UserToken("ada@example.com", oktatest.IssuedAgo(2*time.Hour))  // expired
	_ = srv.UserToken("ada@example.com", oktatest.Forged())                // right kid, wrong key
	_ = srv.UserToken("ada@example.com", oktatest.With("acr", "phr"))      // any claim
	_ = srv.ServiceToken("0oaservice", oktatest.Without("exp", "iat"))     // or none
	_ = srv.UserToken("ada@example.com", oktatest.SignedBy(srv.NextKey())) // a key that is only announced

	srv.Override(oktatest.Keys, oktatest.Answer(http.StatusServiceUnavailable, "", "Retry-After", "7"))
	srv.Rotate()
	fmt.Println(srv.Hits(oktatest.Keys), "requests for keys")
	// Output: 0 requests for keys
}
