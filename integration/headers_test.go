package integration

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

func TestEncodingOfValues(t *testing.T) {
	g := startTelling(t, "okta_auth main {\n headers {\n X-Value value\n X-Nested profile.value\n X-Dotted https://acme.example/value\n }\n }")
	for name, c := range map[string]struct {
		value any
		want  string
	}{
		"a text":                 {"Alice Liddell", "Alice Liddell"},
		"an e-mail address":      {"alice+x@example.com", "alice+x@example.com"},
		"a comma in a text":      {"Liddell, Alice", "Liddell, Alice"},
		"a percent sign":         {"100%", "100%25"},
		"what looks encoded":     {"%2C%0A", "%252C%250A"},
		"a space at the start":   {" a b", "%20a b"},
		"a space at the end":     {"a b ", "a b%20"},
		"spaces at both ends":    {"  a  ", "%20 a %20"},
		"one space":              {" ", "%20"},
		"a tab":                  {"a\tb", "a%09b"},
		"a line break":           {"a\r\nX-User-ID: root", "a%0D%0AX-User-ID: root"}, // 9110-12
		"NUL and DEL":            {"\x00\x7f", "%00%7F"},                             // 9110-12
		"UTF-8":                  {"Ünïcode 日本 🙂", "%C3%9Cn%C3%AFcode %E6%97%A5%E6%9C%AC %F0%9F%99%82"},
		"no normalisation":       {"u\u0308", "u%CC%88"}, // 7519-23
		"quotes and backslashes": {`"a\b"`, `"a\b"`},
		"an empty text":          {"", ""},
		"null":                   {nil, ""},
		"an integer":             {7, "7"},
		"a large integer":        {uint64(18446744073709551615), "18446744073709551615"},
		"a fraction":             {1.5, "1.5"},
		"true":                   {true, "true"},
		"false":                  {false, "false"},
		"a list":                 {[]string{"a", "b c"}, "a,b c"},
		"a list with a comma":    {[]string{"a,b", "c"}, "a%2Cb,c"},
		"a list with spaces":     {[]string{" a", "b "}, "%20a,b%20"},
		"a list with a percent":  {[]string{"50%", "é"}, "50%25,%C3%A9"},
		"a list of one":          {[]string{"a,b"}, "a%2Cb"},
		"a list of empty texts":  {[]string{"", ""}, ","},
		"an empty list":          {[]string{}, ""},
		"a list of numbers":      {[]int{1, 2}, "[1,2]"},
		"a mixed list":           {[]any{"a", 1, nil, true}, `["a",1,null,true]`},
		"a list of lists":        {[]any{[]string{"a"}}, `[["a"]]`},
		"an object":              {map[string]any{"b": []int{1}, "a": "<é>"}, `{"a":"<%C3%A9>","b":[1]}`},
		"an empty object":        {map[string]any{}, `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			token := g.issuer.UserToken("alice", oktatest.With("value", c.value), oktatest.With("https://acme.example/value", c.value),
				oktatest.With("profile", map[string]any{"value": c.value}))
			a := g.expectReason("ok", "GET", "/", bearer(token))
			for _, header := range []string{"X-Value", "X-Nested", "X-Dotted"} {
				a.expectHeader(t, header, c.want)
			}
			expectDecoded(t, c.value, a.seen.Header.Get("X-Value"))
		})
	}
}

// expectDecoded decodes once, and compares with the claim.
func expectDecoded(t *testing.T, claim any, header string) {
	t.Helper()
	decode := func(text string) string {
		decoded, err := url.PathUnescape(text)
		if err != nil {
			t.Error(err)
		}
		return decoded
	}
	switch claim := claim.(type) {
	case string:
		if got := decode(header); got != claim {
			t.Errorf("decoded %q, want %q", got, claim)
		}
	case []string:
		if len(claim) == 0 {
			return
		}
		list := strings.Split(header, ",")
		for i := range list {
			list[i] = decode(list[i])
		}
		if !slices.Equal(list, claim) {
			t.Errorf("decoded %q, want %q", list, claim)
		}
	}
}

func TestTheDefaultHeaders(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	for name, c := range map[string]struct {
		header, want string
		option       oktatest.Option
	}{
		"a subject":                 {"X-User-Id", "a%25%C3%A9", oktatest.With("sub", "a%é")},
		"scopes":                    {"X-User-Scopes", "a b", oktatest.Scopes("a", "b")},
		"a scope with a space":      {"X-User-Scopes", "a%20b c%2Cd", oktatest.Scopes("a b", "c,d")},
		"one scope with a space":    {"X-User-Scopes", "a%20b", oktatest.Scopes("a b")},
		"no scopes":                 {"X-User-Scopes", "", oktatest.Scopes()},
		"scope as a text":           {"X-User-Scopes", "a b", oktatest.WithClaims(map[string]any{"scope": "a  b"})},
		"groups":                    {"X-User-Groups", "A B,C%2CD", oktatest.Groups("A B", "C,D")},
		"one group as a text":       {"X-User-Groups", "A%2CB", oktatest.With("groups", "A,B")},
		"an address":                {"X-User-Email", "alice@example.com", oktatest.With("email", "alice@example.com")},
		"an address that is a list": {"X-User-Email", "a@x,b@x", oktatest.With("email", []string{"a@x", "b@x"})},
		"no address":                {"X-User-Email", "", oktatest.Without("email")},
		"a client":                  {"X-Client-Id", "0oa%252", oktatest.With("cid", "0oa%2")},
	} {
		t.Run(name, func(t *testing.T) {
			options := []oktatest.Option{c.option}
			if name == "scope as a text" {
				options = append(options, oktatest.Without("scp"))
			}
			g.expectReason("ok", "GET", "/", bearer(g.issuer.UserToken("alice", options...))).expectHeader(t, c.header, c.want)
		})
	}
}

// Nothing is cut off.
func TestIdentityHeadersAreBounded(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	const limit = 8 << 10
	for name, c := range map[string]struct {
		reason string
		option oktatest.Option
	}{
		"just fits":              {"ok", oktatest.With("email", strings.Repeat("x", limit))},
		"one byte more":          {"identity_too_large", oktatest.With("email", strings.Repeat("x", limit+1))},
		"too large when encoded": {"identity_too_large", oktatest.With("email", strings.Repeat("é", limit/6+1))},
		"many groups":            {"identity_too_large", oktatest.Groups(slices.Repeat([]string{"group-1"}, limit/8+1)...)},
		"many scopes":            {"identity_too_large", oktatest.Scopes(slices.Repeat([]string{"scope-1"}, limit/8+1)...)},
		"a large object":         {"identity_too_large", oktatest.With("email", map[string]any{"a": strings.Repeat("x", limit)})},
		"another large claim":    {"ok", oktatest.With("photo", strings.Repeat("x", limit+1))},
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			a := g.expectReason(c.reason, "GET", "/", bearer(g.issuer.UserToken("alice", c.option)))
			if got := a.seen.Header.Get("X-User-Email"); name == "just fits" && len(got) != limit {
				t.Errorf("the header has %d bytes, want %d", len(got), limit)
			}
		})
	}
}

func TestConfiguredHeaders(t *testing.T) {
	g := startTelling(t, `okta_auth /none/* main {
		headers none
	}
	okta_auth /own/* main {
		headers {
			X-Department profile.department
			x-user-id    uid
		}
	}`)
	user := bearer(g.issuer.UserToken("alice", oktatest.Groups("A"), oktatest.With("profile", map[string]any{"department": "IT"})))
	hostile := []option{header("X-Department", "root"), header("X-User-Email", "root"), header("X-User-Issuer", "root"), user}
	a := g.expectReason("ok", "GET", "/own/", hostile...)
	a.expectHeader(t, "X-Department", "IT")
	a.expectHeader(t, "X-User-Id", oktatest.UserID("alice"))
	for _, name := range []string{"X-User-Groups", "X-User-Scopes", "X-User-Email", "X-Client-Id", "X-User-Issuer"} {
		a.expectHeader(t, name, "")
	}
	// A claim that the token lacks leaves no header, least of all the client's.
	g.expectReason("ok", "GET", "/own/", header("X-Department", "root"), bearer(g.issuer.UserToken("alice"))).expectHeader(t, "X-Department", "")
	// The other handler of the site cleans this request as well.
	g.expectReason("ok", "GET", "/none/", hostile...).expectNothing(t, "root")
}

func TestHeadersNoneTouchesNothing(t *testing.T) {
	g := startTelling(t, "okta_auth main {\n headers none\n }")
	a := g.expectReason("ok", "GET", "/", header("X-User-ID", "proxy"), header("Connection", "X-Other"), header("X-Other", "1"), bearer(g.issuer.UserToken("alice")))
	a.expectHeader(t, "X-User-Id", "proxy")
	a.expectHeader(t, "X-Client-Id", "")
	a.expectHeader(t, "X-Other", "")
	a.expectHeader(t, "Authorization", "")
}

// 9110-11: removed on every request that reaches the handler, whatever becomes of it.
func TestEveryRequestOfASiteIsCleaned(t *testing.T) {
	g := startTelling(t, `okta_auth /private/* main {
		headers {
			X-Department department
		}
	}
	okta_auth /optional/* main {
		optional
	}
	okta_auth /browser/* main {
		cors_preflight pass
	}
	@post method POST
	okta_auth @post main`)
	names := []string{"X-User-ID", "X-User-Scopes", "X-User-Groups", "X-User-Email", "X-Client-ID", "X-User-Issuer", "X-Department"}
	hostile := make([]option, 0, len(names)+2)
	for _, name := range names {
		hostile = append(hostile, header(name, "root"), header(strings.ToLower(name), "root"))
	}
	preflight := []option{header("Origin", "https://app.example"), header("Access-Control-Request-Method", "GET")}
	for name, c := range map[string]struct {
		method, path string
		options      []option
	}{
		"outside every matcher": {"GET", "/public", nil},
		"anonymous":             {"GET", "/optional/", nil},
		"another scheme":        {"GET", "/optional/", []option{authorization("Basic YTpi")}},
		"a preflight":           {"OPTIONS", "/browser/", preflight},
		"outside, with a token": {"GET", "/public", []option{bearer(g.issuer.UserToken("alice"))}},
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			a := g.expectReason("ok", c.method, c.path, append(slices.Clone(hostile), c.options...)...)
			a.expectNothing(t, "root")
			for _, name := range names {
				a.expectHeader(t, name, "")
			}
		})
	}
	g.t = t
	g.expectReason("no_credential", "POST", "/public", hostile...)
	g.expectReason("no_credential", "GET", "/private/", hostile...)
}

// 6750-33: only what browsers really send, and nothing that could name a caller.
func TestOnlyGenuinePreflightsPass(t *testing.T) {
	g := startTelling(t, "okta_auth main {\n cors_preflight pass\n }\n cel_policy `principal.subject == \"alice\"`")
	origin, method := header("Origin", "https://app.example"), header("Access-Control-Request-Method", "PUT")
	a := g.expectReason("ok", "OPTIONS", "/", origin, method, header("Access-Control-Request-Headers", "authorization"),
		header("Cookie", "a=1"), header("X-User-ID", "root"))
	for _, name := range []string{"Cookie", "X-User-Id", "Authorization"} {
		a.expectHeader(t, name, "")
	}
	a.expectHeader(t, "Access-Control-Request-Headers", "authorization")
	for name, options := range map[string][]option{
		"without a method": {origin},
		"without origin":   {method},
		"with a body":      {origin, method, withBody("x")},
		"with chunks":      {origin, method, withBody("x"), func(r *http.Request) { r.ContentLength = -1 }},
		"with Basic":       {origin, method, authorization("Basic YTpi")},
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			g.expectReason("no_credential", "OPTIONS", "/", options...)
		})
	}
	g.t = t
	for _, verb := range []string{"GET", "POST", "HEAD"} {
		if a := g.expect(http.StatusUnauthorized, verb, "/", origin, method); a.StatusCode == http.StatusOK {
			t.Errorf("%s passes as a preflight", verb)
		}
	}
	g.expectReason("expired", "OPTIONS", "/", origin, method, bearer(g.issuer.UserToken("alice", oktatest.IssuedAgo(2*time.Hour))))
	g.expectReason("malformed_request", "OPTIONS", "/", origin, method, authorization("Bearer"))
	g.expectReason("ok", "OPTIONS", "/", origin, method, bearer(g.issuer.UserToken("alice"))).expectHeader(t, "X-User-Id", "alice")
	g.expectReason("policy_denied", "OPTIONS", "/", origin, method, bearer(g.issuer.UserToken("bob")))
}

func TestAPreflightIsOtherwiseARequestLikeAnyOther(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	g.expectReason("no_credential", "OPTIONS", "/", header("Origin", "https://app.example"), header("Access-Control-Request-Method", "PUT"))
}
