package oktatest_test

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"strings"
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

func ExampleProof() {
	srv, err := oktatest.Start(oktatest.Config{ID: "default"})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()

	key := oktatest.NewKey("ES256")
	token := srv.UserToken("ada@example.com", oktatest.BoundTo(key.Thumbprint()))
	req, err := http.NewRequest(http.MethodGet, "https://api.example.com/orders?page=2", nil)
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("Authorization", "DPoP "+token)
	req.Header.Set("DPoP", oktatest.Proof(key, req.Method, req.URL.String(), oktatest.ForToken(token)))

	_ = oktatest.Proof(key, req.Method, req.URL.String())                                                     // without ath
	_ = oktatest.Proof(key, "POST", req.URL.String(), oktatest.ForToken(token))                               // another htm
	_ = oktatest.Proof(key, req.Method, req.URL.String(), oktatest.ForToken(token), oktatest.Forged())        // wrong signature
	_ = oktatest.Proof(key, req.Method, req.URL.String(), oktatest.ForToken(token), oktatest.With("jti", "")) // any claim
	fmt.Println(len(req.Header["Dpop"]), "proof")
	// Output: 1 proof
}

func ExampleServer_OpaqueToken() {
	srv, err := oktatest.Start(oktatest.Config{ID: "default"})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	srv.RegisterClient(oktatest.Client{ID: "0oa1gateway", Secret: "secret"})

	token := srv.OpaqueToken("ada@example.com", oktatest.Groups("ops"))
	for range 2 {
		req, err := http.NewRequest(http.MethodPost, srv.EndpointURL(oktatest.Introspect), strings.NewReader("token="+token))
		if err != nil {
			log.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth("0oa1gateway", "secret")
		res, err := srv.Client().Do(req)
		if err != nil {
			log.Fatal(err)
		}
		var answer struct {
			Active   bool
			Username string
			Scope    string
			Groups   []string
		}
		err = json.NewDecoder(res.Body).Decode(&answer)
		_ = res.Body.Close()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(answer)
		srv.Revoke(token)
	}
	fmt.Println(srv.Hits(oktatest.Introspect), "requests")
	// Output:
	// {true ada@example.com openid profile [ops]}
	// {false   []}
	// 2 requests
}
