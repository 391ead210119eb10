package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

func authorization(value string) option { return header("Authorization", value) }

func TestTheAuthorizationHeaderHoldsOneBearerToken(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	token := g.issuer.UserToken("alice")
	parts := strings.Split(token, ".")
	one := func(value string) []option { return []option{authorization(value)} }
	g.expectReasons(t, "/", []reasonCase{
		{"Bearer", "ok", one("Bearer " + token)},                           // 6750-01
		{"the scheme in lower case", "ok", one("bearer " + token)},         // 6750-02, 9110-08
		{"the scheme in upper case", "ok", one("BEARER " + token)},         // 6750-02
		{"the scheme in mixed case", "ok", one("bEaReR " + token)},         // 6750-02
		{"two spaces", "ok", one("Bearer  " + token)},                      // 6750-03
		{"many spaces", "ok", one("Bearer" + spaces(40) + token)},          // 6750-03
		{"spaces around the value", "ok", one("  Bearer " + token + "  ")}, // the server trims them

		{"no header", "no_credential", nil},                                                                     // 6750-04, 9110-02
		{"an empty header", "no_credential", one("")},                                                           // 6750-04
		{"Basic", "no_credential", one("Basic YTpi")},                                                           // 6750-05
		{"an unknown scheme", "no_credential", one("Token " + token)},                                           // 6750-05
		{"DPoP", "wrong_type", one("DPoP " + token)},                                                            // 9449-33
		{"a scheme that begins alike", "no_credential", one("Bearer2 " + token)},                                // 6750-05
		{"a scheme that is shorter", "no_credential", one("Beare " + token)},                                    // 6750-05
		{"the token alone", "no_credential", one(token)},                                                        // 6750-05
		{"no space", "no_credential", one("Bearer" + token)},                                                    // 6750-05
		{"only Proxy-Authorization", "no_credential", []option{header("Proxy-Authorization", "Bearer "+token)}}, // 9449-49
		{"only a cookie", "no_credential", []option{header("Cookie", "access_token="+token)}},                   // 6750-30

		{"the scheme alone", "malformed_request", one("Bearer")},                   // 6750-06
		{"the scheme and a space", "malformed_request", one("Bearer ")},            // 6750-06
		{"a tab", "malformed_request", one("Bearer\t" + token)},                    // 6750-03: 1*SP
		{"a space and a tab", "malformed_request", one("Bearer \t" + token)},       // 6750-07
		{"a comma behind the scheme", "malformed_request", one("Bearer," + token)}, // 6750-07
		{"an equals sign behind the scheme", "malformed_request", one("Bearer=" + token)},
		{"a slash behind the scheme", "malformed_request", one("Bearer/" + token)},
		{"a trailing word", "malformed_request", one("Bearer " + token + " extra")},                                                                                     // 6750-08
		{"a parameter", "malformed_request", one("Bearer " + token + ", realm=x")},                                                                                      // 6750-08
		{"a comma", "malformed_request", one("Bearer " + token + ",")},                                                                                                  // 6750-07
		{"a quote", "malformed_request", one(`Bearer "` + token + `"`)},                                                                                                 // 6750-07
		{"a brace", "malformed_request", one("Bearer {" + token + "}")},                                                                                                 // 6750-07
		{"non-ASCII", "malformed_request", one("Bearer " + token + "ü")},                                                                                                // 6750-07
		{"invalid UTF-8", "malformed_request", one("Bearer " + token + "\xff")},                                                                                         // 6750-07
		{"a percent sign", "malformed_request", one("Bearer " + token + "%3D")},                                                                                         // 6750-07
		{"padding in the middle", "malformed_request", one("Bearer a=" + token)},                                                                                        // 6750-07
		{"padding alone", "malformed_request", one("Bearer ===")},                                                                                                       // 6750-07
		{"JSON serialization", "malformed_request", one(fmt.Sprintf(`Bearer {"protected":%q,"payload":%q,"signature":%q,"sub":"root"}`, parts[0], parts[1], parts[2]))}, // 7515-16

		{"two headers", "malformed_request", []option{bearer(token), bearer(token)}},                                      // 6750-09
		{"two headers, one of another scheme", "malformed_request", []option{bearer(token), authorization("Basic YTpi")}}, // 6750-09
		{"two headers, the other first", "malformed_request", []option{authorization("Basic YTpi"), bearer(token)}},       // 6750-09
		{"two headers, one empty", "malformed_request", []option{authorization(""), bearer(token)}},                       // 6750-09
		{"two headers of another scheme", "malformed_request", []option{authorization("Basic YTpi"), authorization("Basic YTpi")}},
		{"two spellings of the header", "malformed_request", []option{bearer(token), header("authorization", "Bearer "+token)}},
		{"two tokens with a comma", "malformed_request", one("Bearer " + token + ", Bearer " + token)},  // 6750-10
		{"Basic and Bearer with a comma", "malformed_request", one("Basic YTpi, Bearer " + token)},      // 6750-10
		{"Basic and bearer without space", "malformed_request", one("Basic YTpi,bearer " + token)},      // 6750-10
		{"Bearer and Basic with a comma", "malformed_request", one("Bearer " + token + ", Basic YTpi")}, // 6750-10

		{"padding at the end", "malformed_token", one("Bearer " + token + "=")},                          // 7515-02
		{"a plus sign", "malformed_token", one("Bearer " + parts[0] + "+." + parts[1] + "." + parts[2])}, // 7515-02
		{"one dot", "malformed_token", one("Bearer " + parts[0] + "." + parts[1])},                       // 7515-01
		{"three dots", "malformed_token", one("Bearer " + token + "." + parts[2])},                       // 7515-01
		{"no dots", "malformed_token", one("Bearer opaque-token")},                                       // 7515-01, 6750-20
		{"five parts", "malformed_token", one("Bearer " + token + "." + parts[1] + "." + parts[2])},      // 7519-20
		{"dots only", "malformed_token", one("Bearer ..")},                                               // 7515-01
		{"no signature", "malformed_token", one("Bearer " + parts[0] + "." + parts[1] + ".")},            // 7515-15
	})
}

func spaces(n int) string { return strings.Repeat(" ", n) }

func TestATokenInTheQueryIsNeverUsed(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	token := g.issuer.UserToken("alice")
	for query, want := range map[string]string{
		"?access_token=" + token:     "malformed_request", // 6750-12, 6750-13
		"?a=1&access_token=" + token: "malformed_request", // 6750-13
		"?access_token=":             "malformed_request", // 6750-13
		"?access_token":              "malformed_request", // 6750-13
		"?%61ccess_token=x":          "malformed_request", // 6750-13
		"?access%5Ftoken=x":          "malformed_request", // 6750-13
		"?access_token=" + token + "&access_token=" + token: "malformed_request", // 6750-14
		"?not_access_token=x":                               "ok",
		"?q=access_token":                                   "ok",
	} {
		t.Run(shorten(query), func(t *testing.T) {
			g.t = t
			g.expectReason(want, "GET", "/"+query, bearer(token))
			g.expectReason("no_credential", "GET", "/"+query) // 6750-15
		})
	}
}

// shorten keeps a token out of a test's name.
func shorten(text string) string {
	if len(text) > 40 {
		return text[:40]
	}
	return text
}

// 6750-11, 6750-17, 6750-18, 6750-19: the body is the backend's, and never read for a token.
func TestATokenInTheBodyIsNeverUsed(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	token := g.issuer.UserToken("alice")
	form := url.Values{"access_token": {token}}.Encode()
	kind := header("Content-Type", "application/x-www-form-urlencoded")
	for _, method := range []string{"POST", "PUT", "GET"} {
		g.expectReason("no_credential", method, "/", kind, withBody(form))
	}
	if a := g.expectReason("ok", "POST", "/", kind, withBody(form), bearer(token)); a.seen.Body != form {
		t.Errorf("the backend saw the body %q, want it unchanged", a.seen.Body)
	}
}

// 6750-33
func TestHEADIsAnsweredAsGET(t *testing.T) {
	g := start(t, "okta_auth main {\n scopes orders:read\n acr_values phr\n }")
	for name, options := range map[string][]option{
		"nothing":      nil,
		"a bad header": {authorization("Bearer")},
		"a bad token":  {bearer("a.b.c")},
		"no scope":     {bearer(g.issuer.UserToken("alice"))},
		"no acr":       {bearer(g.issuer.UserToken("alice", oktatest.Scopes("orders:read")))},
		"ok":           {bearer(g.issuer.UserToken("alice", oktatest.Scopes("orders:read"), oktatest.With("acr", "phr")))},
	} {
		get, head := g.send("GET", "/", options...), g.send("HEAD", "/", options...)
		for _, h := range []http.Header{get.Header, head.Header} {
			h.Del("Date")
			h.Del("Content-Length")
			h.Del("Content-Type") // the backend's, which sees no body to sniff
		}
		if get.StatusCode != head.StatusCode || fmt.Sprint(get.Header) != fmt.Sprint(head.Header) {
			t.Errorf("with %s: GET = %d %v, HEAD = %d %v", name, get.StatusCode, get.Header, head.StatusCode, head.Header)
		}
		if head.body != "" {
			t.Errorf("with %s: HEAD has a body", name)
		}
	}
}

// 7519-22: what fits is read, what does not is refused before it is parsed.
func TestTokensAreBoundedBySixteenKiB(t *testing.T) {
	g := startWith(t, strings.Replace(fmt.Sprintf(site, "okta_auth main"+telling), "{\n", "{\n servers {\n max_header_size 64kb\n }\n", 1))
	const limit = 16 << 10
	g.expectReason("ok", "GET", "/", bearer(sized(t, g.issuer, limit)))
	g.expectReason("malformed_token", "GET", "/", bearer(sized(t, g.issuer, limit+2)))
	g.expectReason("malformed_token", "GET", "/", bearer(strings.Repeat("a", limit+1)))
	g.expectReason("malformed_token", "GET", "/", bearer(strings.Repeat(".", 40<<10)))
	g.expectReason("malformed_request", "GET", "/", bearer(strings.Repeat("a", limit)+"{"))
}

// sized mints a valid token of an exact length.
func sized(t *testing.T, issuer *oktatest.Server, length int) string {
	t.Helper()
	claims := issuer.UserClaims("alice")
	for head := range 4 {
		token := ""
		for pad := (length - 1600) * 3 / 4; len(token) < length; pad++ {
			claims["pad"] = strings.Repeat("x", pad)
			token = issuer.Sign(claims, oktatest.Header(map[string]any{"x": strings.Repeat("x", head)}))
		}
		if len(token) == length {
			return token
		}
	}
	t.Fatalf("no token has %d bytes", length)
	return ""
}

func TestOptionalLetsOnlyTheAbsenceOfATokenPass(t *testing.T) {
	g := startTelling(t, "okta_auth main {\n optional\n }")
	g.expectReason("ok", "GET", "/")
	a := g.expectReason("ok", "GET", "/", authorization("Basic YTpi"), header("X-User-ID", "root")) // 6750-05, 9110-10
	a.expectHeader(t, "Authorization", "Basic YTpi")
	a.expectHeader(t, "X-User-Id", "")
	a = g.expectReason("ok", "GET", "/", authorization(`Digest username="a", realm="b"`))
	a.expectHeader(t, "Authorization", `Digest username="a", realm="b"`)
	expired := g.issuer.UserToken("alice", oktatest.IssuedAgo(2*time.Hour))
	g.expectReasons(t, "/", []reasonCase{
		{"an expired token", "expired", []option{bearer(expired)}},
		{"no JWT", "malformed_token", []option{bearer("opaque")}},
		{"no token behind the scheme", "malformed_request", []option{authorization("Bearer")}},
		{"two credentials", "malformed_request", []option{authorization("Basic YTpi, Bearer " + expired)}},
		{"two headers of other schemes", "malformed_request", []option{authorization("Basic YTpi"), authorization("Digest x")}},
	})
}

func TestATokenInAHeaderOfItsOwn(t *testing.T) {
	g := startTelling(t, "okta_auth main {\n token header X-Api-Token\n }")
	token := g.issuer.UserToken("alice")
	own := func(value string) option { return header("X-Api-Token", value) }
	g.expectReasons(t, "/", []reasonCase{
		{"the token alone", "ok", []option{own(token)}},
		{"in lower case", "ok", []option{header("x-api-token", token)}},
		{"nothing", "no_credential", nil},
		{"only Authorization", "no_credential", []option{bearer(token)}},
		{"another header", "no_credential", []option{header("X-Api-Token2", token)}},
		{"an empty header", "malformed_request", []option{own("")}},
		{"with a scheme", "malformed_request", []option{own("Bearer " + token)}},
		{"twice", "malformed_request", []option{own(token), own(token)}},
		{"joined with a comma", "malformed_request", []option{own(token + "," + token)}},
		{"a forged token", "bad_signature", []option{own(tampered(token))}},
	})
	a := g.expectReason("ok", "GET", "/", own(token), authorization("Basic YTpi"))
	a.expectHeader(t, "X-Api-Token", "")
	a.expectHeader(t, "Authorization", "Basic YTpi")
}

func TestATokenInAHeaderWithAScheme(t *testing.T) {
	g := startTelling(t, "okta_auth main {\n token header x-api-token Okta\n }")
	token := g.issuer.UserToken("alice")
	own := func(value string) []option { return []option{header("X-Api-Token", value)} }
	g.expectReasons(t, "/", []reasonCase{
		{"the scheme", "ok", own("Okta " + token)},
		{"the scheme in another case", "ok", own("oKTA  " + token)},
		{"no scheme", "no_credential", own(token)},
		{"Bearer", "no_credential", own("Bearer " + token)},
		{"no token", "malformed_request", own("Okta")},
		{"two", "malformed_request", own("Bearer a, Okta " + token)},
	})
}

func TestKeepTokenKeepsItForTheBackendOnly(t *testing.T) {
	for name, c := range map[string]struct{ token, header, value string }{
		"a header": {"header Authorization Bearer", "Authorization", "Bearer TOKEN"},
		"a cookie": {"cookie session", "Cookie", "a=1; session=TOKEN; b=2"},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, "okta_auth main {\n keep_token\n token "+c.token+"\n }\n handle_errors {\n reverse_proxy BACKEND\n }")
			value := strings.Replace(c.value, "TOKEN", g.issuer.UserToken("alice"), 1)
			g.send("GET", "/", header(c.header, value)).expectHeader(t, c.header, value)
			expired := g.issuer.UserToken("alice", oktatest.IssuedAgo(2*time.Hour))
			for _, bad := range []string{expired, expired + "{"} {
				a := g.send("GET", "/", header(c.header, strings.Replace(c.value, "TOKEN", bad, 1)))
				if a.expectNothing(t, expired); a.seen.Method == "" {
					t.Error("the backend was not asked for the error page")
				}
			}
		})
	}
}

// expectNothing fails when the backend saw the text in a header, a trailer or the target.
func (a answer) expectNothing(t *testing.T, text string) {
	t.Helper()
	if seen := fmt.Sprint(a.seen.Header, a.seen.Trailer, a.seen.RawURI); strings.Contains(seen, text) {
		t.Errorf("the backend saw %s", seen)
	}
}

// The backend that renders error pages gets neither the token nor what the client wrote into identity headers.
func TestErrorPagesGetACleanedRequest(t *testing.T) {
	g := start(t, "okta_auth main {\n scopes orders:read\n acr_values phr\n }\n cel_policy `principal.subject != \"mallory\"`\n handle_errors {\n reverse_proxy BACKEND\n }")
	good := func(options ...oktatest.Option) string {
		return g.issuer.UserToken("alice", slices.Concat([]oktatest.Option{oktatest.Scopes("orders:read"), oktatest.With("acr", "phr")}, options)...)
	}
	token := good()
	huge := good(oktatest.Groups(strings.Repeat("g", 9000)))
	for name, options := range map[string][]option{
		"no token":         nil,
		"another scheme":   {authorization("Basic YTpi")},
		"two headers":      {bearer(token), bearer(token)},
		"a bad character":  {bearer(token + "{")},
		"a forged token":   {bearer(tampered(token))},
		"an expired token": {bearer(good(oktatest.IssuedAgo(2 * time.Hour)))},
		"a missing scope":  {bearer(good(oktatest.Scopes("other")))},
		"a missing acr":    {bearer(good(oktatest.With("acr", "pwd")))},
		"a large identity": {bearer(huge)},
		"the policy":       {bearer(good(oktatest.With("sub", "mallory")))},
	} {
		t.Run(name, func(t *testing.T) {
			hostile := []option{header("X-User-ID", "root"), header("X-User-Groups", "root"), header("Connection", "X-User-ID")}
			a := g.send("GET", "/", append(hostile, options...)...)
			if a.seen.Method == "" {
				t.Fatal("the backend was not asked for the error page")
			}
			a.expectNothing(t, "root")
			a.expectNothing(t, "eyJ")
			if name != "the policy" && name != "another scheme" {
				a.expectHeader(t, "Authorization", "")
				for header := range a.seen.Header {
					if strings.HasPrefix(header, "X-User") || header == "X-Client-Id" {
						t.Errorf("the backend saw %s", header)
					}
				}
			}
		})
	}
}

func TestPlaceholdersOfAnIdentity(t *testing.T) {
	g := start(t, "okta_auth main {\n optional\n }\n"+`respond "{http.auth.user.id}|{http.auth.user.profile.department}|{http.auth.okta.issuer}|{http.auth.okta.client_id}|{http.auth.okta.scopes}|{http.auth.okta.groups}|{http.auth.okta.reason}|{http.auth.okta.error_description}"`)
	a := g.send("GET", "/", bearer(g.issuer.UserToken("alice", oktatest.Groups("A", "B"), oktatest.With("profile", map[string]any{"department": "IT"}))))
	if want := fmt.Sprintf("alice|IT|%s|%s|openid profile|A,B|ok|", g.issuer.Issuer(), oktatest.UserClient); a.body != want {
		t.Errorf("the placeholders are %s, want %s", a.body, want)
	}
	if a := g.send("GET", "/"); !strings.HasSuffix(a.body, "|anonymous|") {
		t.Errorf("the placeholders of an anonymous caller are %s", a.body)
	}
}

// 9110-09: what the backend answers is the backend's.
func TestChallengesOfTheBackendGoThrough(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="backend"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer backend.Close()
	g := start(t, "okta_auth main\n reverse_proxy /its-own "+strings.TrimPrefix(backend.URL, "http://"))
	a := g.send("GET", "/its-own", bearer(g.issuer.UserToken("alice")))
	if got := a.Header.Values("WWW-Authenticate"); !slices.Equal(got, []string{`Basic realm="backend"`}) || a.StatusCode != 401 || a.Header.Get("Cache-Control") != "" {
		t.Errorf("the answer is %d with %v", a.StatusCode, a.Header)
	}
}

// 6750-32
func TestNoLogHoldsAToken(t *testing.T) {
	g := start(t, "okta_auth main {\n keep_token\n }\n cel_policy `principal.subject != \"mallory\"`")
	for _, token := range []string{
		g.issuer.UserToken("alice"), g.issuer.UserToken("mallory"), g.issuer.UserToken("alice", oktatest.Forged()),
		g.issuer.UserToken("alice", oktatest.IssuedAgo(2*time.Hour)), g.issuer.UserToken("alice", oktatest.KID("unknown")),
	} {
		for _, value := range []string{"Bearer " + token, "Bearer " + token + "{", "Basic YTpi, Bearer " + token, token} {
			a := g.send("GET", "/", authorization(value))
			for _, part := range strings.Split(token, ".")[1:] {
				if strings.Contains(g.logged(), part[:40]) {
					t.Errorf("a log line holds a token")
				}
				if answer := a.Status + fmt.Sprint(a.Header); strings.Contains(answer, part[:40]) || a.StatusCode != 200 && strings.Contains(a.body, part[:40]) {
					t.Errorf("an answer holds a token")
				}
			}
		}
	}
}
