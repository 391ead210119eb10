package integration

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// everyProtocol is a site that speaks HTTP/1.1, HTTP/2 and HTTP/3.
const everyProtocol = `{
	admin off
	persist_config off
	auto_https disable_redirects
	log {
		output file LOGS
	}
	SERVERS
	okta {
		issuer main ISSUER {
			audience api://default
		}
	}
}
https://ADDRESS {
	bind 127.0.0.1
	tls CERTIFICATE KEY
	okta_auth /private/* main
	okta_auth /elsewhere/* main {
		headers {
			X-Department department
		}
	}
	reverse_proxy BACKEND
}
`

// insecure trusts any certificate.
func insecure() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// protocols are clients that speak one version of HTTP each.
func protocols(t *testing.T) map[string]http.RoundTripper {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	three := &reverseproxy.HTTPTransport{Versions: []string{"3"}, TLS: &reverseproxy.TLSConfig{InsecureSkipVerify: true}}
	if err := three.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	one := &http.Transport{TLSClientConfig: insecure(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	two := &http.Transport{TLSClientConfig: insecure(), ForceAttemptHTTP2: true}
	t.Cleanup(func() {
		one.CloseIdleConnections()
		two.CloseIdleConnections()
		if err := three.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	return map[string]http.RoundTripper{"HTTP/1.1": one, "HTTP/2.0": two, "HTTP/3.0": three}
}

// lenient makes Caddy let through what it drops by default, and drop what the entries spell with "-" instead.
const lenient = `servers {
	expected_underscore_headers X_User_ID x_user_id x_user_groups X_USER_EMAIL x-client_id X-User_ID X_User-ID X_* X.User_ID X_User.ID
	expected_dot_headers X.User.ID x.client-id X.* X-User.ID X.User-ID X.User_ID X_User.ID
}`

func startEveryProtocol(t *testing.T, servers string) *gateway {
	t.Helper()
	server := httptest.NewTLSServer(nil) // it has a certificate for loopback addresses
	defer server.Close()
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		name = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	return startWith(t, strings.NewReplacer(
		"SERVERS", servers, "CERTIFICATE", write("certificate.pem", "CERTIFICATE", pair.Certificate[0]), "KEY", write("key.pem", "PRIVATE KEY", key),
	).Replace(everyProtocol))
}

// sendBy makes a request over one version of HTTP.
func (g *gateway) sendBy(transport http.RoundTripper, path string, options ...option) (a answer) {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), "POST", "https://"+g.address+path, strings.NewReader("body"))
	if err != nil {
		g.t.Fatal(err)
	}
	r.ContentLength = -1
	for _, option := range options {
		option(r)
	}
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	if a.Response, err = client.Do(r); err != nil {
		g.t.Fatal(err)
	}
	defer a.Body.Close()
	if a.StatusCode == http.StatusOK {
		err = json.NewDecoder(a.Body).Decode(&a.seen)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return a
}

// trailer announces a trailer and sends it.
func trailer(name, value string) option {
	return func(r *http.Request) {
		if r.Trailer == nil {
			r.Trailer = make(http.Header)
		}
		r.Trailer[name] = append(r.Trailer[name], value)
	}
}

// 9110-11: every spelling, in every version of HTTP.
func TestHostileSpellingsOfIdentityHeaders(t *testing.T) {
	spellings := map[string][]option{"nothing": nil}
	for _, name := range []string{
		"X-User-ID", "X-User-Id", "x-user-id", "X-USER-ID", "x-User-iD", "X-User-Scopes", "x-user-scopes", "X-User-Groups", "X-User-Email",
		"X-Client-ID", "X-User-Issuer", "X-Department",
		"X_User_ID", "x_user_id", "X_USER_ID", "X-User_ID", "X_User-ID", "x_user_groups", "X_USER_EMAIL", "x-client_id", "X_Department",
		"X.User.ID", "X.User-ID", "X-User.ID", "x.client-id", "X.User_ID", "X_User.ID", "X.Department",
		"X!User!ID", "X~User~ID", "X+User+ID", "X*User*ID", "X'User'ID", "X^User^ID", "X|User|ID", "X`User`ID", "X#User#ID", "X$User$ID",
		"X%User%ID", "X&User&ID", "X-User~Groups",
	} {
		spellings["header "+name] = []option{header(name, "root")}
		spellings["headers "+name] = []option{header(name, "root"), header(name, "root2")}
		spellings["trailer "+name] = []option{trailer(name, "root")}
	}
	for name, options := range map[string][]option{
		"two spellings":     {header("X-User-ID", "root"), header("x-user-id", "root"), header("X_User_ID", "root")},
		"header, trailer":   {header("X-User-ID", "root"), trailer("X-User-ID", "root")},
		"an empty value":    {header("X-User-ID", "")},
		"a list":            {header("X-User-ID", "root, root2")},
		"many":              {trailer("X-Client-ID", "root"), trailer("x_user_id", "root"), trailer("X-Fine", "1"), header("X_Client_ID", "root")},
		"groups it has not": {header("X-User-Groups", "root"), header("X-User-Email", "root")},
	} {
		spellings[name] = options
	}
	for servers, fine := range map[string][]string{"": {"X-Fine"}, lenient: {"X_Fine", "X.Fine"}} {
		g := startEveryProtocol(t, servers)
		for protocol, transport := range protocols(t) {
			t.Run(fmt.Sprintf("%s, %s", protocol, fine), func(t *testing.T) {
				g.t = t
				g.expectDelivery(t, transport, protocol, fine)
				for name, options := range spellings {
					t.Run(name, func(t *testing.T) {
						g.t = t
						g.expectCleaned(t, transport, options)
					})
				}
			})
		}
		g.t = t
	}
}

// expectDelivery makes sure that headers and trailers reach the backend: without it the test would prove nothing.
func (g *gateway) expectDelivery(t *testing.T, transport http.RoundTripper, protocol string, fine []string) {
	t.Helper()
	options := []option{bearer(g.issuer.UserToken("alice")), trailer("Late", "2")}
	for _, name := range fine {
		options = append(options, header(name, "1"))
	}
	a := g.sendBy(transport, "/private/", options...)
	for _, name := range fine {
		if got := a.seen.Header[http.CanonicalHeaderKey(name)]; len(got) != 1 {
			t.Fatalf("%s does not reach the backend", name)
		}
	}
	if a.Proto != protocol {
		t.Fatalf("the request went over %s", a.Proto)
	}
	if a.seen.Trailer.Get("Late") != "2" && protocol != "HTTP/3.0" { // the server for HTTP/3 reads none
		t.Fatal("trailers do not reach the backend")
	}
}

func (g *gateway) expectCleaned(t *testing.T, transport http.RoundTripper, options []option) {
	t.Helper()
	a := g.sendBy(transport, "/private/", append([]option{bearer(g.issuer.UserToken("alice"))}, options...)...)
	a.expectNothing(t, "root")
	a.expectNoIdentityTrailer(t)
	a.expectHeader(t, "X-User-Id", "alice")
	a.expectHeader(t, "X-User-Groups", "")
	a.expectHeader(t, "Authorization", "")
	a = g.sendBy(transport, "/public", options...)
	a.expectNothing(t, "root")
	a.expectHeader(t, "X-User-Id", "")
}

// expectNoIdentityTrailer fails when a trailer was announced to the backend that could be an identity, even without a
// value.
func (a answer) expectNoIdentityTrailer(t *testing.T) {
	t.Helper()
	for name := range a.seen.Trailer {
		if name != "X-Fine" {
			t.Errorf("the backend was told of the trailer %s", name)
		}
	}
}

// Requests that a client library would not write, as bytes. The backend sees nothing of them, or a clean request.
func TestHostileBytes(t *testing.T) {
	g := startEveryProtocol(t, "")
	token := g.issuer.UserToken("alice")
	const chunks = "4\r\nbody\r\n0\r\n"
	for name, c := range map[string]struct {
		fields, body string
		status       int
	}{
		"an announced trailer":             {"Transfer-Encoding: chunked\r\nTrailer: X-User-ID\r\n", chunks + "X-User-ID: root\r\n\r\n", 200},
		"a trailer that was not announced": {"Transfer-Encoding: chunked\r\nTrailer: X-Fine\r\n", chunks + "X-Fine: 1\r\nX-User-ID: root\r\nx_user_id: root\r\nX~User~ID: root\r\n\r\n", 200},
		"no announcement at all":           {"Transfer-Encoding: chunked\r\n", chunks + "X-User-ID: root\r\n\r\n", 200},
		"announced in lower case":          {"Transfer-Encoding: chunked\r\ntrailer: x-user-id, x_user_id\r\n", chunks + "x-user-id: root\r\nx_user_id: root\r\n\r\n", 200},
		"announced by two fields":          {"Transfer-Encoding: chunked\r\nTrailer: X-Fine\r\nTrailer: X-User-ID\r\n", chunks + "X-User-ID: root\r\nX-Fine: 1\r\n\r\n", 200},
		"named in Connection":              {"Connection: X-User-ID, x-user-scopes,X-CLIENT-ID\r\nContent-Length: 0\r\n", "", 200},
		"named in two Connection fields":   {"Connection: keep-alive\r\nConnection: x-user-id\r\nX-User-ID: root\r\nContent-Length: 0\r\n", "", 200},
		"misspelt in Connection":           {"Connection: x_user_id , X~User~Id\r\nContent-Length: 0\r\n", "", 200},
		"named beside Upgrade":             {"Connection: Upgrade, X-User-ID\r\nUpgrade: websocket\r\nX-User-ID: root\r\nContent-Length: 0\r\n", "", 200},
		"quoted in Connection":             {"Connection: \"X-User-ID\", X-User-ID;x\r\nContent-Length: 0\r\n", "", 200},
		"named in Proxy-Connection":        {"Proxy-Connection: X-User-ID\r\nContent-Length: 0\r\n", "", 200},
		"a folded line":                    {"X-Fine: 1\r\n X-User-ID: root\r\nContent-Length: 0\r\n", "", 200}, // a continuation of X-Fine
		"a space before the colon":         {"X-User-ID : root\r\nContent-Length: 0\r\n", "", 400},
		"a space before the name":          {"Content-Length: 0\r\n", "", 200},
		"a bare line feed":                 {"X-User-ID: root\nContent-Length: 0\r\n", "", 200},
		"a bare carriage return":           {"X-Fine: 1\rX-User-ID: root\r\nContent-Length: 0\r\n", "", 400},
		"NUL in the name":                  {"X-User-ID\x00: root\r\nContent-Length: 0\r\n", "", 400},
		"non-ASCII in the name":            {"X-User-\u0130D: root\r\nContent-Length: 0\r\n", "", 400},
		"a second Authorization":           {"authorization: Bearer " + token + "\r\nContent-Length: 0\r\n", "", 400},       // 6750-09
		"a control character in a token":   {"X-Fine: 1\r\nAuthorization: Bearer a\x01b\r\nContent-Length: 0\r\n", "", 400}, // 6750-07
	} {
		t.Run(name, func(t *testing.T) {
			a := g.raw(t, "POST /private/ HTTP/1.1\r\nHost: "+g.address+"\r\nAuthorization: Bearer "+token+"\r\n"+c.fields+"\r\n"+c.body)
			if a.StatusCode != c.status {
				t.Fatalf("the answer is %s, want %d", a.Status, c.status)
			}
			if c.status == http.StatusOK {
				if name == "a folded line" {
					a.seen.Header.Del("X-Fine")
				}
				a.expectNothing(t, "root")
				a.expectNoIdentityTrailer(t)
				a.expectHeader(t, "X-User-Id", "alice")
				a.expectHeader(t, "X-User-Scopes", "openid profile")
				a.expectHeader(t, "X-Client-Id", "0oa1b2c3d4E5f6G7h8i9")
			}
		})
	}
}

// raw sends bytes over TLS and reads one answer.
func (g *gateway) raw(t *testing.T, request string) (a answer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	dialer := tls.Dialer{Config: insecure()}
	conn, err := dialer.DialContext(ctx, "tcp", g.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if a.Response, err = http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	if a.StatusCode == http.StatusOK {
		if err := json.Unmarshal(text, &a.seen); err != nil {
			t.Fatal(fmt.Errorf("%w in %s", err, text))
		}
	}
	return a
}
