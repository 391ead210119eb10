package introspect

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

const metadataPath = "/oauth2/default/.well-known/openid-configuration"

// issuer is an authorization server that introspects. Its place is at the URL under which it is reached.
type issuer struct {
	mu       sync.Mutex
	asked    []call
	lookups  int
	respond  http.HandlerFunc // of the endpoint
	metadata http.HandlerFunc
}

// call is what came to the endpoint, read with the parser of the standard library.
type call struct {
	method, path string
	header       http.Header
	form         url.Values
	body         string
	at           time.Time
	host         string
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	respond, metadata := i.respond, i.metadata
	lookup := strings.Contains(r.URL.Path, "/.well-known/")
	if lookup {
		i.lookups++
	} else {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		i.asked = append(i.asked, call{r.Method, r.URL.Path, r.Header, form, string(body), time.Now(), r.Host})
	}
	i.mu.Unlock()
	switch {
	case lookup && metadata != nil:
		metadata(w, r)
	case lookup && r.URL.Path == metadataPath:
		base := "http://" + r.Host
		if r.TLS != nil || strings.HasSuffix(r.Host, ".test") {
			base = "https://" + r.Host
		}
		fmt.Fprintf(w, `{"issuer":"%s/oauth2/default","introspection_endpoint":"%s/oauth2/default/v1/introspect"}`, base, base)
	case lookup:
		http.NotFound(w, r)
	default:
		respond(w, r)
	}
}

// does changes what the endpoint answers from now on.
func (i *issuer) does(respond http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.respond = respond
}

// publishes changes what the issuer answers where metadata may be.
func (i *issuer) publishes(metadata http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.metadata = metadata
}

// calls returns what came to the endpoint so far.
func (i *issuer) calls() []call {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]call(nil), i.asked...)
}

// discoveries returns how often the metadata was asked for.
func (i *issuer) discoveries() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.lookups
}

// RoundTrip makes an issuer a transport, for tests in which time stands still until all wait.
func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	r.Host = r.URL.Host
	i.ServeHTTP(recorder, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return recorder.Result(), nil
}

// answers is an answer of the endpoint; header holds names and values in turn.
func answers(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for n := 0; n < len(header); n += 2 {
			w.Header().Set(header[n], header[n+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// after is an answer that takes its time; a call that is given up ends at once.
func after(d time.Duration, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(d):
			then(w, r)
		case <-r.Context().Done():
		}
	}
}

// hangs keeps a call until it is given up.
func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

const active = `{"active":true,"token_type":"Bearer","scope":"orders:read orders:write","client_id":"0oaClient",` +
	`"username":"ada@example.com","sub":"ada@example.com","aud":"api://default","iss":"https://a.test/oauth2/default",` +
	`"jti":"AT.1","uid":"00uAda","exp":4102444800,"iat":946684800}`

const inactive = `{"active":false}`

// config is a good configuration; the issuer is one without a network.
func config() Config {
	return Config{
		Issuer:       "https://a.test/oauth2/default",
		ClientID:     "0oaGateway",
		ClientSecret: "hunter2",
		CacheTTL:     30 * time.Second,
		NegativeTTL:  5 * time.Second,
		Timeout:      2 * time.Second,
	}
}

// listen returns a client of i over a real connection.
func listen(tb testing.TB, i *issuer, edit func(*Config)) *Client {
	tb.Helper()
	server := httptest.NewServer(i)
	c := config()
	c.Issuer = server.URL + "/oauth2/default"
	if edit != nil {
		edit(&c)
	}
	client, err := New(c)
	if err != nil {
		tb.Fatalf("New = %v", err)
	}
	tb.Cleanup(func() { // the calls end first: the server waits for them
		destruct(tb, client)
		server.Close()
	})
	return client
}

// open returns a client of i without a network.
func open(tb testing.TB, i *issuer, edit func(*Config)) *Client {
	tb.Helper()
	c := config()
	if edit != nil {
		edit(&c)
	}
	client, err := newClient(c, i)
	if err != nil {
		tb.Fatalf("newClient = %v", err)
	}
	tb.Cleanup(func() { destruct(tb, client) })
	return client
}

func destruct(tb testing.TB, c *Client) {
	tb.Helper()
	if err := c.Destruct(); err != nil {
		tb.Errorf("Destruct = %v", err)
	}
}

// good returns the answer about an active token.
func good(tb testing.TB, c *Client, token string) *Answer {
	tb.Helper()
	a, err := c.Introspect(tb.Context(), token)
	if err != nil || a == nil {
		tb.Fatalf("Introspect(%s) = %v, %v, want an answer", token, a, err)
	}
	return a
}

// refused returns the error about a token that is not active.
func refused(tb testing.TB, c *Client, token string) error {
	tb.Helper()
	a, err := c.Introspect(tb.Context(), token)
	if a != nil || err == nil {
		tb.Fatalf("Introspect(%s) = %v, %v, want an error alone", token, a, err)
	}
	return err
}

// missing returns the Unavailable about a token, whose text it checks.
func missing(tb testing.TB, c *Client, token, want string) *Unavailable {
	tb.Helper()
	err := refused(tb, c, token)
	u, ok := errors.AsType[*Unavailable](err)
	if !ok || !strings.Contains(err.Error(), want) {
		tb.Fatalf("Introspect(%s) = %v, want Unavailable with %q", token, err, want)
	}
	if u.RetryAfter < time.Second || u.RetryAfter > time.Minute {
		tb.Errorf("RetryAfter is %s", u.RetryAfter)
	}
	if text := err.Error(); strings.Contains(text, "hunter2") || strings.Contains(text, "secret-token") || len(text) > 1000 {
		tb.Errorf("the error holds a secret, or is long: %.1000s", text)
	}
	return u
}
