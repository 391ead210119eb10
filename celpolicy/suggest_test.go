package celpolicy

import (
	"strings"
	"testing"
)

func TestMisspeltNamesGetASuggestion(t *testing.T) {
	for expression, want := range map[string]string{
		`principal.scope == []`:                           "did you mean principal.scopes?",
		`principal.gruops == []`:                          "did you mean principal.groups?",
		`principal.sub == ""`:                             "did you mean principal.subject?",
		`principal.userId == ""`:                          "did you mean principal.user_id?",
		`has(principal.acrr)`:                             "did you mean principal.acr?",
		`principal.?acrr.orValue("") == ""`:               "did you mean principal.acr?",
		`principal["acr"] == ""`:                          "fields are read with a dot, as in .acr",
		`principal.email == ""`:                           "principal has authenticated, subject,",
		`principal.department == ""`:                      "a claim of the token is claims.department",
		`request.header == {}`:                            "did you mean request.headers?",
		`request.url == ""`:                               "did you mean request.path?",
		`request.nothing == ""`:                           "request has method, scheme, host, path, ip, query, headers, size, tls",
		`principle.acr == ""`:                             "did you mean principal?",
		`user.groups == []`:                               "did you mean principal?",
		`groups == []`:                                    "did you mean principal.groups?",
		`path == "/"`:                                     "did you mean request.path?",
		`xyzzy == 1`:                                      "the variables are principal, claims, request, params, now",
		`claim.x == 1`:                                    "did you mean claims?",
		`request.path.startWith("/")`:                     "did you mean startsWith()?",
		`request.path.toLowerCase() == ""`:                "did you mean lowerAscii()?",
		`principal.groups.exist(g, g == "a")`:             "did you mean exists()?",
		`placehoder("x") == ""`:                           "did you mean placeholder()?",
		`hass(claims.x)`:                                  "did you mean has()?",
		`math.gretest(1, 2) == 1`:                         "did you mean math.greatest()?",
		`base64.encod(b"a") == ""`:                        "did you mean base64.encode()?",
		`cel.bnd(a, 1, true)`:                             "did you mean cel.bind()?",
		`cidr("10.0.0.0/8").containsIp(request.ip)`:       "did you mean containsIP()?",
		`principal.groups == "Admin"`:                     "'==' applied to '(list(string), string)': a list is compared with a list; to look into it write … in …",
		`"Admin" != principal.groups`:                     "to look into it write … in …",
		`"a" in principal.subject`:                        "found no matching overload for 'in' applied to",
		`true && (principal.gruops == [] || user.x == 1)`: "did you mean principal.groups?",
	} {
		_, _, err := checkSource(expression, nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "\n | ") || strings.Contains(err.Error(), "container") {
			t.Errorf("%s: %v, want …%s… and a caret", expression, err, want)
		}
	}
	for _, expression := range []string{`frobnicate(1) == 2`, `math.x == 1`} {
		if _, _, err := checkSource(expression, nil); err == nil || strings.Contains(err.Error(), "did you mean") {
			t.Errorf("%s: %v, want no suggestion: nothing is near", expression, err)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"a", ""}: 1, {"", "ab"}: 2, {"abc", "abc"}: 0, {"abc", "abd"}: 1, {"abc", "acb"}: 1, {"kitten", "sitting"}: 3, {"ca", "abc"}: 3,
		{"gruops", "groups"}: 1, {strings.Repeat("a", 65), "a"}: 64,
	} {
		if got := editDistance(pair[0], pair[1]); got != want {
			t.Errorf("editDistance(%q) = %d, want %d", pair, got, want)
		}
	}
}

func FuzzSuggestionsDoNotPanic(f *testing.F) {
	for _, expression := range append(seedExpressions, `principal.gruops`, `math.x(1)`, `principal["a"]`, `a.b.c(d)`, `a = b`, `é not in“`, `{http.x`, "a\n&", `placeholder(a.b)`) {
		f.Add(expression)
	}
	f.Fuzz(func(t *testing.T, expression string) { _, _, _ = checkSource(expression, nil) })
}

func TestWhatNoRequestMakesTrueIsAnError(t *testing.T) {
	for expression, want := range map[string]string{
		`request.headers["X-Device"] == []`:                         `when:1:17: request.headers never has "X-Device", since names are in lower case there: write "x-device"`,
		`"X-Device" in request.headers`:                             `write "x-device"`,
		`has(request.headers.Accept)`:                               `write "accept"`,
		`request.headers[?"X-A"].hasValue()`:                        `write "x-a"`,
		`request.headers.?Accept.hasValue()`:                        `write "accept"`,
		`request.headers.authorization == []`:                       "it can carry a credential; what the token says is in claims",
		`"cookie" in request.headers`:                               "it can carry a credential",
		`request.headers["x-original-url"] == []`:                   "it could override the method or the path, and is removed",
		`request.query.access_token == []`:                          "it can carry a credential",
		`principal.kind == "users"`:                                 `principal.kind is never "users": did you mean "user"?`,
		`"machine" == principal.kind`:                               `it is one of ["user" "service" "anonymous"]`,
		`principal.kind in ["service", "anon"]`:                     `principal.kind is never "anon"`,
		`request.scheme != "HTTPS"`:                                 `did you mean "https"?`,
		`request.method == "get"`:                                   `write "GET"`,
		`request.method in ["POST", "put"]`:                         `write "PUT"`,
		`request.host == "Example.com"`:                             `write "example.com"`,
		`request.host == "example.com:443"`:                         `write "example.com"`,
		`request.path == "admin"`:                                   "it starts with a slash",
		`request.path == "/a/../b"`:                                 "has no dot segments",
		`request.path == "/a%20b"`:                                  "is decoded",
		`request.ip == "10.0.0.0/8"`:                                `write cidr("10.0.0.0/8").containsIP(request.ip)`,
		`request.ip == "office"`:                                    "which is no IP address",
		`request.ip == "::ffff:10.0.0.1"`:                           `write "10.0.0.1"`,
		`request.ip in ["2001:DB8::1"]`:                             `write "2001:db8::1"`,
		`claims.x == 1 && !(true || request.headers["A"] == ["b"])`: `write "a"`,
	} {
		_, _, err := checkSource(expression, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want …%s…", expression, err, want)
		}
	}
	for _, expression := range []string{
		`request.headers["x-device"] == []`, `request.query["X-Device"] == ["A"]`, `claims.kind == "users"`, `claims["Cookie"] == 1`, `principal.kind == claims.kind`,
		`request.host == "::1"`, `request.host == "example.com"`, `request.ip == "2001:db8::1"`, `request.path == "/a b/é"`, `request.method == "M-SEARCH"`, `request.query.X == []`,
		`"on" == "off"`, `false`, // a rule is switched by {$SWITCH} == "on"
	} {
		if _, _, err := checkSource(expression, nil); err != nil {
			t.Errorf("%s: %v", expression, err)
		}
	}
}

func TestRulesThatNeverApplyAreErrors(t *testing.T) {
	for _, test := range []struct {
		rule Rule
		want string // nothing for a rule that can apply
	}{
		{Rule{Deny: "a", Methods: []string{"GET"}, When: `request.method == "POST"`}, "it covers GET, HEAD, and its expression wants POST"},
		{Rule{Allow: "a", Methods: []string{"GET"}, When: `claims.x == 1 && ("POST" == request.method && claims.y == 2)`}, "when:1:26: the rule never applies"},
		{Rule{Allow: "a", Methods: []string{"GET", "PUT"}, When: `request.method in ["POST", "PATCH"]`}, "wants POST, PATCH"},
		{Rule{Allow: "a", When: `request.method == "GET" && request.method == "POST"`}, "never applies"},
		{Rule{Deny: "a", Path: "/a/*", When: `request.path == "/b"`}, "its path does not cover /b"},
		{Rule{Allow: "a", Path: "/a/{id}", When: `request.path in ["/a", "/b/c"]`}, "does not cover /a, /b/c"},
		{Rule{Allow: "a", Path: "/a", When: `request.path == "/A"`}, "does not cover /A"},
		{Rule{Deny: "a", Path: "/a", When: `request.path == "/A"`}, ""},
		{Rule{Allow: "a", Methods: []string{"GET"}, When: `request.method == "HEAD"`}, ""},
		{Rule{Allow: "a", Methods: []string{"GET"}, When: `request.method == "POST" || claims.x == 1`}, ""},
		{Rule{Allow: "a", Methods: []string{"GET"}, When: `!(request.method == "POST")`}, ""},
		{Rule{Allow: "a", Methods: []string{"GET", "PUT"}, When: `request.method in ["POST", "PUT"]`}, ""},
		{Rule{Allow: "a", Path: "/a/{id}", When: `request.path in ["/a", "/a/c"]`}, ""},
		{Rule{Allow: "a", Methods: []string{"GET"}, When: `request.method == claims.method`}, ""},
		{Rule{Deny: "a", Methods: []string{}}, "methods: the list is empty, and covers no request"},
		{Rule{Allow: "a", Methods: []string{"GET", "POST", "GET"}, When: "true"}, "methods: GET is listed twice"},
		{Rule{Allow: "a", Path: "/a/.../b", When: "true"}, "no request can match it"},
		{Rule{Allow: "a", Path: "/a/ /b", When: "true"}, "no request can match it"},
	} {
		if err := test.rule.Check(); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want …%s…", test.rule, err, test.want)
		}
	}
}
