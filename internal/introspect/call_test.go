package introspect

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// 7662-01: one POST, as RFC 7662 §2.1 wants it.
func TestACallIsOnePOST(t *testing.T) {
	i := &issuer{respond: answers(200, active)}
	c := listen(t, i, nil)
	if n := i.discoveries(); n != 0 {
		t.Errorf("New asked for %d documents, want none", n)
	}
	good(t, c, "token")
	calls := i.calls()
	if len(calls) != 1 || i.discoveries() != 1 {
		t.Fatalf("%d calls, %d discoveries, want one of each", len(calls), i.discoveries())
	}
	got := calls[0]
	if got.method != "POST" || got.path != "/oauth2/default/v1/introspect" || got.body != "token=token&token_type_hint=access_token" {
		t.Errorf("the call is %s %s %q", got.method, got.path, got.body)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", "User-Agent": "caddy-okta",
	} {
		if v := got.header.Values(name); len(v) != 1 || v[0] != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
}

// 7662-02
func TestATokenIsFormEncoded(t *testing.T) {
	for _, token := range []string{"a+b/c==", "a&token=b", "a%20b", "a=b&active=true", "~._-", "ü\x00"} {
		i := &issuer{respond: answers(200, active)}
		good(t, listen(t, i, nil), token)
		if form := i.calls()[0].form; len(form) != 2 || len(form["token"]) != 1 || form.Get("token") != token {
			t.Errorf("the token %q arrives in the form %v", token, form)
		}
	}
}

// 7662-01: the certificate of the issuer is verified, for its metadata and for the call.
func TestCallsVerifyTLS(t *testing.T) {
	start := func(handler http.Handler) (url, ca string) {
		server := httptest.NewUnstartedServer(handler)
		server.EnableHTTP2 = true
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		t.Cleanup(server.Close)
		return server.URL, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	}
	i := &issuer{respond: answers(200, active)}
	url, ca := start(i)
	client := func(issuer, ca string) *Client {
		c := config()
		c.Issuer, c.CA = issuer, ca
		client, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { destruct(t, client) })
		return client
	}
	good(t, client(url+"/oauth2/default", ca), "token")
	missing(t, client(url+"/oauth2/default", ""), "token", "certificate signed by unknown authority")

	// The metadata may be trusted, and the endpoint still be an impostor.
	plain := httptest.NewServer(nil)
	defer plain.Close()
	plain.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"issuer":"http://%s","introspection_endpoint":"%s/"}`, r.Host, url)
	})
	missing(t, client(plain.URL, ""), "token", "certificate signed by unknown authority")
	if n := len(i.calls()); n != 1 {
		t.Errorf("%d calls arrived, want one", n)
	}
}

// 7662-18: a token goes to the endpoint and nowhere else, not even on the same host.
func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		i := &issuer{respond: func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				answers(200, active)(w, r)
				return
			}
			http.Redirect(w, r, "/elsewhere", status)
		}}
		missing(t, listen(t, i, nil), "secret-token", fmt.Sprintf("it answered %d", status))
		if n := len(i.calls()); n != 1 {
			t.Errorf("%d calls after a %d, want one", n, status)
		}
	}
}

func TestEndpointsThatAreRefused(t *testing.T) {
	for name, tt := range map[string]struct{ metadata, want string }{
		"no endpoint":           {`{"issuer":"%s"}`, `the metadata has no "introspection_endpoint": this issuer does not introspect`},
		"an endpoint over http": {`{"issuer":"%s","introspection_endpoint":"http://a.test/"}`, `the introspection_endpoint "http://a.test/": http:// is only`},
		"a number":              {`{"issuer":"%s","introspection_endpoint":7}`, `"introspection_endpoint" is not a text`},
		"of another issuer":     {`{"issuer":"%sx","introspection_endpoint":"https://a.test/"}`, "names the issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			i := &issuer{}
			i.publishes(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintf(w, tt.metadata, "http://"+r.Host+"/oauth2/default")
			})
			missing(t, listen(t, i, nil), "token", tt.want)
		})
	}
}

func TestManyCallsShareOneDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{respond: answers(200, active)}
		i.publishes(after(time.Second, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"issuer":"https://a.test/oauth2/default","introspection_endpoint":"https://a.test/introspect"}`)
		}))
		c := open(t, i, nil)
		var all sync.WaitGroup
		for n := range 50 {
			all.Go(func() { good(t, c, fmt.Sprint("token", n)) })
		}
		all.Wait()
		if i.discoveries() != 1 || len(i.calls()) != 50 {
			t.Errorf("%d discoveries, %d calls, want 1 and 50", i.discoveries(), len(i.calls()))
		}
	})
}

// The endpoint is looked up once an hour, and sooner when calls fail, but not for each failure.
func TestTheEndpointIsFoundAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{respond: answers(200, inactive)}
		c := open(t, i, func(c *Config) { c.NegativeTTL = 0 })
		want := 0
		step := func(name string, wait time.Duration, lookups int) {
			t.Helper()
			time.Sleep(wait)
			refused(t, c, "token")
			if want += lookups; i.discoveries() != want {
				t.Fatalf("%s: %d discoveries, want %d", name, i.discoveries(), want)
			}
		}
		step("the first call", 0, 1)
		step("soon after", 59*time.Minute, 0)
		step("an hour later", time.Minute, 1)
		i.does(answers(404, ""))
		step("a call fails", 2*time.Minute, 0)
		step("after the failure", 0, 1)
		step("in the next minute", 59*time.Second, 0)
		step("a minute after", time.Second, 1)

		// The issuer moves its endpoint.
		i.publishes(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"issuer":"https://a.test/oauth2/default","introspection_endpoint":"https://b.test/new"}`)
		})
		step("the endpoint has moved", time.Minute, 1)
		calls := i.calls()
		if last := calls[len(calls)-1]; last.host != "b.test" || last.path != "/new" {
			t.Errorf("the last call went to %s%s", last.host, last.path)
		}
		i.does(answers(200, inactive))
		step("all is well", time.Second, 0)

		// Without metadata, what was known is used further.
		i.publishes(answers(200, `{"issuer":"https://evil.test"}`))
		step("the metadata is gone", time.Hour, 1)
		step("and is not asked for at once again", 59*time.Minute, 0)
		if calls := i.calls(); calls[len(calls)-1].host != "b.test" {
			t.Errorf("the last call went to %s", calls[len(calls)-1].host)
		}
	})
}

func TestMetadataThatHangsEndsWithTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.publishes(hangs)
		c := open(t, i, nil)
		begin := time.Now()
		missing(t, c, "token", "context deadline exceeded")
		if d := time.Since(begin); d != 2*time.Second {
			t.Errorf("it took %s, want 2s", d)
		}
	})
}

func TestMetadataMayAskForAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.publishes(answers(503, "", "Retry-After", "20"))
		if u := missing(t, open(t, i, nil), "token", "no metadata of the issuer"); u.RetryAfter != 20*time.Second {
			t.Errorf("RetryAfter is %s, want 20s", u.RetryAfter)
		}
	})
}

// Nothing that an issuer publishes makes messages long.
func TestALongEndpointMakesAShortMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{respond: answers(500, "")}
		i.publishes(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"issuer":"https://a.test/oauth2/default","introspection_endpoint":"https://a.test/%s"}`, strings.Repeat("x", 10_000))
		})
		c := open(t, i, nil)
		missing(t, c, "token", `xxx"…: it answered 500`)
		i.does(hangs)
		missing(t, c, "token", `xxx"…: context deadline exceeded`)
	})
}
