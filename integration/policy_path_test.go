package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"
)

// sendTarget sends a request with a target as it is, byte by byte.
func (g *gateway) sendTarget(method, target string, headers ...string) (a answer) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 20*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", g.address)
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		g.t.Fatal(err)
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", method, target, g.address)
	if _, err := io.WriteString(conn, head+strings.Join(append(headers, "", ""), "\r\n")); err != nil {
		g.t.Fatal(err)
	}
	if a.Response, err = http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
		g.t.Fatalf("%q: %v", target, err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	if a.reached = a.Header.Get("X-Backend") != ""; a.reached {
		if err := json.Unmarshal(text, &a.seen); err != nil {
			g.t.Fatal(err)
		}
	}
	return a
}

// targetPieces are what request targets are made of.
var targetPieces = []string{
	"/", "/", "a", "A", "public", "admin", "%61dmin", "api", "base", ".", "..", "%2e", "%2e%2e", "/./", "/../", "//", "/..;/", ";", ";x=1", "%3b",
	"%2f", "%2F", "%252f", "%5c", "%25", "%2525", "%", "%zz", "%00", "%0a", "%09", "%7f", "%c0%af", "%ff", "%20", "+", "?", "?/../x", "%3f", "%23", "#",
	"*", ":", "@", "é", "%C3%A9", "{", "}", "|", "\\", "\"", "^", "a.", "..%20", "http:", "%7B", "&", "=",
}

func randomTarget(random *rand.Rand, prefix string) string {
	var b strings.Builder
	b.WriteString(prefix)
	for range 1 + random.IntN(5) {
		b.WriteString(targetPieces[random.IntN(len(targetPieces))])
	}
	return strings.ReplaceAll(b.String(), " ", "%20")
}

var code = regexp.MustCompile(`%[0-9a-fA-F]{2}`)

func decodedOnce(s string) string {
	return code.ReplaceAllStringFunc(s, func(c string) string {
		text, _ := url.PathUnescape(c)
		return text
	})
}

func cleanedPath(s string) string {
	clean := path.Clean(s)
	if strings.HasSuffix(s, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// servedAs are ways in which backends read a path.
var servedAs = map[string]func(raw string) string{
	"decoded":                 decodedOnce,
	"decoded twice":           func(raw string) string { return decodedOnce(decodedOnce(raw)) },
	"cleaned, then decoded":   func(raw string) string { return decodedOnce(cleanedPath(raw)) },
	"decoded, then cleaned":   func(raw string) string { return cleanedPath(decodedOnce(raw)) },
	"cut at parameters":       func(raw string) string { return regexp.MustCompile(`;[^/]*`).ReplaceAllString(decodedOnce(raw), "") },
	"with backslashes turned": func(raw string) string { return cleanedPath(strings.ReplaceAll(decodedOnce(raw), `\`, "/")) },
	"cut at a control character": func(raw string) string {
		s := decodedOnce(raw)
		if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
			s = s[:i]
		}
		return s
	},
}

// TestThePathThatIsJudgedIsThePathThatIsServed writes raw request targets to Caddy and looks at what the backend gets. The
// policy judges the path as it stands when the policy runs: after "rewrite", "uri" and "handle_path", which come first in a
// Caddyfile, so that rules are about the places of the backend and not about the names that clients have for them.
func TestThePathThatIsJudgedIsThePathThatIsServed(t *testing.T) {
	const policy = "cel_policy `request.path == placeholder(\"http.request.uri.path\")`\n request_header X-Judged \"[{http.request.uri.path}]\""
	for name, test := range map[string]struct{ directives, prefix string }{
		"as it came":              {policy, "/"},
		"uri":                     {"uri strip_prefix /api\n " + policy, "/api/"},
		"uri replace":             {"uri replace a/ b\n " + policy, "/a/"},
		"rewrite":                 {"rewrite * /base{http.request.uri.path}\n " + policy, "/"},
		"rewrite of both":         {"rewrite * /base{http.request.uri.path}?x=1&{http.request.uri.query}\n " + policy, "/"},
		"rewrite by uri":          {"rewrite * /base{http.request.uri}\n " + policy, "/"},
		"handle_path":             {"handle_path /api/* {\n " + policy + "\n reverse_proxy BACKEND\n }\n error 404", "/api/"},
		"handle_path of a folder": {"handle_path /api* {\n " + policy + "\n reverse_proxy BACKEND\n }\n error 404", "/api"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			g := start(t, test.directives)
			random := rand.New(rand.NewPCG(7, 8))
			served := 0
			for range 250 {
				target := randomTarget(random, test.prefix)
				a := g.sendTarget("GET", target)
				if a.StatusCode >= 500 {
					t.Errorf("%q: status %d", target, a.StatusCode)
				}
				if !a.reached {
					continue
				}
				served++
				raw, _, _ := strings.Cut(a.seen.RawURI, "?")
				judged := strings.TrimSuffix(strings.TrimPrefix(a.seen.Header.Get("X-Judged"), "["), "]") // spaces at its ends count
				for backend, serves := range servedAs {
					if got := serves(raw); got != judged {
						t.Errorf("%q is judged as %q, sent upstream as %q, and served, %s, as %q", target, judged, a.seen.RawURI, backend, got)
					}
				}
			}
			if served < 10 {
				t.Errorf("only %d of the targets reached the backend: the test shows little", served)
			}
		})
	}
}

// TestRulesAreAboutThePathAfterRewrites shows which path a rule names, for everything that changes it before the policy.
func TestRulesAreAboutThePathAfterRewrites(t *testing.T) {
	const policy = "cel_policy {\n allow orders /orders/{id} `params.id == \"7\"`\n deny secret /secret/* `true`\n }"
	for name, test := range map[string]struct {
		directives string
		ok         map[string]string // what the client asks for, and what the backend serves
		refused    []string
	}{
		"uri strip_prefix": {"uri strip_prefix /api\n " + policy,
			map[string]string{"/api/orders/7": "/orders/7", "/orders/7": "/orders/7"}, []string{"/api/secret/x", "/api/api/orders/7", "/api/orders/8"}},
		"rewrite": {"@old path /v1/*\n rewrite @old /orders/{http.request.uri.path.1}\n " + policy,
			map[string]string{"/v1/7": "/orders/7", "/orders/7": "/orders/7"}, []string{"/v1/8", "/v2/7"}},
		"handle_path": {"handle_path /api/* {\n " + policy + "\n reverse_proxy BACKEND\n }\n error 404",
			map[string]string{"/api/orders/7": "/orders/7"}, []string{"/api/secret/x", "/api/orders/8", "/api/SECRET/x"}},
		// Only the order that the user writes, in a route, puts the policy first: then rules name what clients ask for.
		"a route that rewrites later": {"route {\n " + policy + "\n uri strip_prefix /orders\n reverse_proxy BACKEND\n }",
			map[string]string{"/orders/7": "/7"}, []string{"/7", "/secret/x", "/orders/secret"}},
		// The proxy's own rewrite is after the policy too.
		"a proxy that rewrites": {"handle {\n " + policy + "\n reverse_proxy BACKEND {\n rewrite /base{http.request.uri.path}\n }\n }",
			map[string]string{"/orders/7": "/base/orders/7"}, []string{"/base/orders/7"}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			g := start(t, "okta_auth main\n "+test.directives)
			alice := "Authorization: Bearer " + g.issuer.UserToken("alice")
			for target, served := range test.ok {
				if a := g.sendTarget("GET", target, alice); !a.reached || a.seen.RawURI != served {
					t.Errorf("%s: %d, served %q, want %q", target, a.StatusCode, a.seen.RawURI, served)
				}
			}
			for _, target := range test.refused {
				if a := g.sendTarget("GET", target, alice); a.reached || a.StatusCode != http.StatusForbidden {
					t.Errorf("%s: %d, served %q, want 403", target, a.StatusCode, a.seen.RawURI)
				}
			}
		})
	}
}

// TestSpellingsOfADeniedPathNeverReachIt has a backend behind a policy that allows everything but one place.
func TestSpellingsOfADeniedPathNeverReachIt(t *testing.T) {
	g := start(t, "okta_auth main\n cel_policy {\n allow all `true`\n deny admin /admin/* `true`\n }")
	alice := "Authorization: Bearer " + g.issuer.UserToken("alice")
	for _, target := range []string{
		"/admin", "/admin/", "/ADMIN/x", "/%61dmin/x", "/%41dmin", "//admin", "/a/../admin", "/a/%2e%2e/admin", "/a/..%2fadmin", "/a%2f..%2fadmin", "/a/..;/admin",
		"/;/admin", "/admin;x/y", "/admin%3bx", "/./admin", "/%2e/admin", `/a\..\admin`, "/a%5c..%5cadmin", "/admin%00", "/admin%2f", "/%2561dmin", "/admin%252fx", "/adm%C4%B0n/x",
		"/admin./x", "/admin%20/x", "/admin.", "/...//admin", "/.../admin", "/a/..%20/admin", "/%c0%afadmin", "/admin%0a", "/admin?x", "/admin/?/../a", "*", "http://evil/admin", "http://evil//admin",
	} {
		a := g.sendTarget("GET", target, alice)
		if a.reached || a.StatusCode != http.StatusForbidden && a.StatusCode != http.StatusBadRequest && a.StatusCode != http.StatusOK {
			t.Errorf("%q: %d, served %q", target, a.StatusCode, a.seen.RawURI)
		}
	}
	for _, target := range []string{"/", "/a", "/administrators", "/a/admin", "/a.b/c..d", "/a%20b", "/caf%C3%A9", "/x?path=/admin/../"} {
		if a := g.sendTarget("GET", target, alice); !a.reached {
			t.Errorf("%q: %d, want it served", target, a.StatusCode)
		}
	}
}
