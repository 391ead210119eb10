package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// expectUnanswered makes a request with a token that the issuer does not answer for: 503 with a time, never 401, never a pass.
func (g *gateway) expectUnanswered(path string, options ...option) (retryAfter int) {
	g.t.Helper()
	a := g.expectReason("introspection_unavailable", "GET", path, options...)
	retryAfter, err := strconv.Atoi(a.Header.Get("Retry-After"))
	if err != nil || retryAfter < 1 {
		g.t.Errorf("Retry-After is %q, want seconds", a.Header.Get("Retry-After"))
	}
	return retryAfter
}

// 7662-05, 7662-06, 7662-07, 7662-18: what is not a plain yes or no decides nothing.
func TestAnIssuerThatDoesNotAnswer(t *testing.T) {
	var elsewhere atomic.Int64
	yes := `{"active":true,"iss":"ISSUER","aud":"api://default","sub":"a","client_id":"b","jti":"c","exp":4000000000}`
	target := other(t, oktatest.Config{})
	target.Override(oktatest.All, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	for name, answer := range map[string]http.Handler{
		"active is missing":        oktatest.Answer(200, `{"iss":"a"}`),                                                         // 7662-05
		"active is a text":         oktatest.Answer(200, `{"active":"true"}`),                                                   // 7662-05
		"active is a number":       oktatest.Answer(200, `{"active":1}`),                                                        // 7662-05
		"active is null":           oktatest.Answer(200, `{"active":null}`),                                                     // 7662-05
		"active in upper case":     oktatest.Answer(200, `{"Active":true}`),                                                     // 7662-05
		"active twice":             oktatest.Answer(200, `{"active":false,"active":true}`),                                      // 7662-05
		"the client is not known":  oktatest.Answer(401, `{"error":"invalid_client"}`),                                          // 7662-06
		"the client is forbidden":  oktatest.Answer(403, `{"error":"access_denied"}`),                                           // 7662-06
		"a bad request":            oktatest.Answer(400, `{"error":"invalid_request"}`),                                         // 7662-06
		"an error without OAuth":   oktatest.Answer(404, ``),                                                                    // 7662-07
		"too many requests":        oktatest.Answer(429, `{}`, "Retry-After", "7"),                                              // 7662-07
		"an internal error":        oktatest.Answer(500, `{"active":true}`),                                                     // 7662-07
		"not available":            oktatest.Answer(503, ``, "Retry-After", "3"),                                                // 7662-07
		"no content":               oktatest.Answer(204, ``),                                                                    // 7662-07
		"created":                  oktatest.Answer(201, yes),                                                                   // 7662-07
		"no JSON":                  oktatest.Answer(200, `<html>`),                                                              // 7662-07
		"nothing":                  oktatest.Answer(200, ``),                                                                    // 7662-07
		"a list":                   oktatest.Answer(200, `[{"active":true}]`),                                                   // 7662-07
		"JSON and more":            oktatest.Answer(200, `{"active":false}{"active":true}`),                                     // 7662-07
		"HTML that looks like it":  oktatest.Answer(200, yes, "Content-Type", "text/html"),                                      // 7662-07
		"a large answer":           oktatest.Answer(200, `{"active":true,"x":"`+strings.Repeat("x", 70<<10)+`"}`),               // 7662-07
		"a redirect":               http.RedirectHandler(target.EndpointURL(oktatest.Introspect), http.StatusFound),             // 7662-18
		"a redirect with the body": http.RedirectHandler(target.EndpointURL(oktatest.Introspect), http.StatusTemporaryRedirect), // 7662-18
		"a cut connection":         http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),  // 7662-07
		"an answer that is cut": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { // 7662-07
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"active":true`)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			g := startAsking(t, "", "okta_auth /optional main {\n optional\n }\n okta_auth /always main {\n introspect always\n }\n okta_auth main")
			g.issuer.Override(oktatest.Introspect, answer)
			after := g.expectUnanswered("/", bearer(g.issuer.OpaqueToken("alice")))
			if want := map[string]int{"too many requests": 7, "not available": 3}[name]; after < want {
				t.Errorf("Retry-After is %d, want %d", after, want)
			}
			g.expectUnanswered("/optional", bearer(g.issuer.OpaqueToken("bob")))
			g.expectUnanswered("/always", bearer(g.issuer.UserToken("alice")))
			g.expectReason("ok", "GET", "/", bearer(g.issuer.UserToken("alice"))) // nobody is asked about it
			g.expectReason("bad_signature", "GET", "/always", bearer(g.issuer.UserToken("alice", oktatest.Forged())))
		})
	}
	if elsewhere.Load() > 0 {
		t.Errorf("a redirect was followed %d times", elsewhere.Load())
	}
}

// 7662-07: the answer comes in time, for everyone who waits, and once the issuer is back it is asked again.
func TestAnIssuerThatHangs(t *testing.T) {
	g := startAsking(t, "timeout 300ms", "okta_auth main")
	release := g.issuer.Hang(oktatest.Introspect)
	began := time.Now()
	token := bearer(g.issuer.OpaqueToken("alice"))
	g.expectUnanswered("/", token)
	if waited := time.Since(began); waited < 250*time.Millisecond || waited > 1900*time.Millisecond {
		t.Errorf("the answer came after %s, want 300ms", waited)
	}
	began = time.Now()
	g.expectUnanswered("/", bearer(g.issuer.OpaqueToken("bob"))) // it is left alone for a while
	if waited := time.Since(began); waited > 250*time.Millisecond {
		t.Errorf("the next answer came after %s, want it at once", waited)
	}
	g.expectCalls(1)
	release()
	g.eventually(http.StatusOK, "/", token)
}

func TestAnIssuerThatIsDown(t *testing.T) {
	g := startAsking(t, "cache_ttl 1h", "okta_auth main")
	known := bearer(g.issuer.OpaqueToken("alice"))
	g.expectReason("ok", "GET", "/", known)
	g.issuer.Down()
	g.expectReason("ok", "GET", "/", known) // as long as it is remembered
	g.expectUnanswered("/", bearer(g.issuer.OpaqueToken("bob")))
	if err := g.issuer.Up(); err != nil {
		t.Fatal(err)
	}
	g.eventually(http.StatusOK, "/", bearer(g.issuer.OpaqueToken("carol")))
}

// 7662-06: wrong credentials of the gateway are its own fault. The log names them, without showing them.
func TestCredentialsThatTheIssuerRefuses(t *testing.T) {
	g := startAsking(t, "", "okta_auth main")
	g.issuer.RegisterClient(oktatest.Client{ID: gatewayID, Secret: "another"})
	g.expectUnanswered("/", bearer(g.issuer.OpaqueToken("alice")))
	if text := g.logged(); !strings.Contains(text, "client_secret") || strings.Contains(text, "s3cr3t") {
		t.Errorf("the log does not name the credentials, or shows them")
	}
}

// An issuer that does not introspect cannot be asked, however good its tokens are.
func TestAnIssuerWithoutIntrospection(t *testing.T) {
	g := startAsking(t, "", "okta_auth main")
	g.issuer.SetMetadata(map[string]any{"introspection_endpoint": nil})
	g.expectUnanswered("/", bearer(g.issuer.OpaqueToken("alice")))
	g.expectCalls(0)
	g.expectReason("ok", "GET", "/", bearer(g.issuer.UserToken("alice")))
}

// OKTA-13: a rate limit is waited for, without a call before its end, while what is remembered goes on.
func TestTheRateLimitOfTheIssuer(t *testing.T) {
	g := startAsking(t, "cache_ttl 1h", "okta_auth main")
	known := bearer(g.issuer.OpaqueToken("alice"))
	g.issuer.LimitIntrospection(1, time.Now().Truncate(time.Second).Add(4*time.Second)) // it is told in whole seconds
	g.expectReason("ok", "GET", "/", known)
	if after := g.expectUnanswered("/", bearer(g.issuer.OpaqueToken("bob"))); after > 4 {
		t.Errorf("Retry-After is %d, want what is left of 4s", after)
	}
	for n := range 20 {
		g.expectUnanswered("/", bearer(g.issuer.OpaqueToken(fmt.Sprint("user", n))))
	}
	g.expectReason("ok", "GET", "/", known)
	g.expectCalls(2)
	g.eventually(http.StatusOK, "/", bearer(g.issuer.OpaqueToken("carol")))
	g.expectCalls(3)
}

// 7662-01: the endpoint is believed under the certificate that tls_ca vouches for, and no other.
func TestTheCertificateOfTheIntrospectionEndpoint(t *testing.T) {
	g := prepare(t)
	issuer, stranger := startIssuer(t, oktatest.Config{ID: "default", TLS: true}), other(t, oktatest.Config{TLS: true})
	issuer.RegisterClient(oktatest.Client{ID: gatewayID, Secret: gatewaySecret})
	load := func(authority []byte) {
		file := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(file, authority, 0o600); err != nil {
			t.Fatal(err)
		}
		g.load(strings.ReplaceAll(withIssuers(mainWith("tls_ca "+file+"\n "+introspection("")), "okta_auth main"), "ISSUER", issuer.Issuer()))
	}
	token := bearer(issuer.OpaqueToken("alice"))
	load(stranger.CertPEM())
	g.expectUnanswered("/", token)
	if hits := issuer.Hits(); hits > 0 {
		t.Errorf("%d requests reached an issuer that nobody vouches for", hits)
	}
	load(issuer.CertPEM())
	g.expectReason("ok", "GET", "/", token)
}

// A call goes on without whoever asked for it, and a client that leaves is no failure of the issuer.
func TestAClientThatLeavesWhileTheIssuerIsAsked(t *testing.T) {
	g := startAsking(t, "timeout 20s", "okta_auth main")
	release := g.issuer.Hang(oktatest.Introspect)
	token := bearer(g.issuer.OpaqueToken("alice"))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		_ = g.issuer.WaitHits(ctx, 1, oktatest.Introspect)
	}()
	if _, err := g.trySend(ctx, "GET", "/", token); err == nil {
		t.Error("the request was answered")
	}
	release()
	g.expectReason("ok", "GET", "/", token)
	g.expectCalls(1)
}

// More requests than calls may be under way at once wait for their turn.
func TestACrowdOfDifferentTokensWaits(t *testing.T) {
	g := startAsking(t, "timeout 20s", "okta_auth main")
	g.expectReason("ok", "GET", "/", bearer(g.issuer.OpaqueToken("first")))
	release := g.issuer.Hang(oktatest.Introspect)
	var crowd sync.WaitGroup
	for n := range 150 {
		token := bearer(g.issuer.OpaqueToken(fmt.Sprint("user", n)))
		crowd.Go(func() {
			if a, err := g.trySend(t.Context(), "GET", "/", token); err != nil || a.StatusCode != http.StatusOK {
				t.Errorf("user %d: %v, %v", n, a.Response, err)
			}
		})
	}
	if err := g.issuer.WaitHits(t.Context(), 65, oktatest.Introspect); err != nil {
		t.Fatal(err)
	}
	release()
	crowd.Wait()
	g.expectCalls(151)
}

// What is wrong with a secret is said without it.
func TestMistakesDoNotShowTheSecret(t *testing.T) {
	for _, secret := range []string{"pa55word{env.OKTA_TEST_UNSET}", "{env.OKTA_TEST_UNSET}pa55word", "pa55word{nothing.known}"} {
		err := validate(configuration(issuerWith("audience a\n introspection {\n client_id b\n client_secret `"+secret+"`\n }"), "okta_auth main"))
		if err == nil || strings.Contains(err.Error(), "pa55word") || !strings.Contains(err.Error(), "client_secret") {
			t.Errorf("%v, want an error about client_secret that does not show it", err)
		}
	}
}
