package integration

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// row is what the table of answers promises for a reason.
type row struct {
	status     int
	challenge  bool
	oauthError string
}

var invalid = row{401, true, "invalid_token"}

// answers is the table of answers, written down a second time.
var answers = map[string]row{
	"no_credential":      {401, true, ""},
	"malformed_request":  {400, true, "invalid_request"},
	"malformed_token":    invalid,
	"bad_signature":      invalid,
	"unknown_key":        invalid,
	"algorithm":          invalid,
	"wrong_issuer":       invalid,
	"wrong_audience":     invalid,
	"wrong_type":         invalid,
	"expired":            invalid,
	"not_yet_valid":      invalid,
	"proof_required":     invalid,
	"revoked":            invalid,
	"invalid_proof":      {401, true, "invalid_dpop_proof"},
	"nonce_required":     {401, true, "use_dpop_nonce"},
	"insufficient_scope": {403, true, "insufficient_scope"},
	"step_up_required":   {401, true, "insufficient_user_authentication"},
	"wrong_client":       {status: 403},
	"cross_origin":       {status: 403},
	"identity_too_large": {status: 403},
	"policy_denied":      {status: 403},
	"keys_unavailable":   {status: 503},

	"introspection_unavailable": {status: 503},
}

// telling makes a site say in the body why it refused.
const telling = "\n handle_errors {\n respond `{http.auth.okta.reason}|{http.auth.okta.error_description}` {err.status_code}\n }"

// reasonCase is one request and what becomes of it: "ok", or the reason of a refusal. Its name says what is sent.
type reasonCase struct {
	name    string
	reason  string
	options []option
}

// expectReasons sends each request of a table to a site that is telling.
func (g *gateway) expectReasons(t *testing.T, path string, cases []reasonCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			g.t = t
			g.expectReason(c.reason, "GET", path, c.options...)
		})
	}
	g.t = t
}

// expectReason makes a request to a site that is telling, and holds the answer against the whole row of its reason.
func (g *gateway) expectReason(reason, method, path string, options ...option) answer {
	g.t.Helper()
	if reason == "ok" {
		return g.expect(http.StatusOK, method, path, options...)
	}
	want, ok := answers[reason]
	if !ok {
		g.t.Fatalf("the table of answers has no %q", reason)
	}
	a := g.expect(want.status, method, path, options...)
	told, description, _ := strings.Cut(a.body, "|")
	if told != reason {
		g.t.Errorf("%s %s: the reason is %q, want %q", method, path, told, reason)
	}
	if got := a.Header.Get("Cache-Control"); got != "no-store" { // 9111-01
		g.t.Errorf("%s %s: Cache-Control %q, want no-store", method, path, got)
	}
	challenges := a.Header.Values("WWW-Authenticate")
	if !want.challenge {
		if len(challenges) > 0 {
			g.t.Errorf("%s %s: challenge %q, want none", method, path, challenges)
		}
		return a
	}
	if offersDPoP(reason, challenges) {
		challenges = challenges[:1]
	}
	if len(challenges) != 1 { // 9110-01
		g.t.Fatalf("%s %s: challenges %q, want one", method, path, challenges)
	}
	params := parseChallenge(g.t, challenges[0])
	if params["realm"] == "" || params["error"] != want.oauthError || params["error_description"] != description {
		g.t.Errorf("%s %s: challenge %s, want a realm, error %q and description %q", method, path, challenges[0], want.oauthError, description)
	}
	if (params["error"] == "") != (params["error_description"] == "") { // 6750-27
		g.t.Errorf("%s %s: challenge %s", method, path, challenges[0])
	}
	return a
}

// offersDPoP reports whether a second challenge, on a line of its own, offers the scheme DPoP: where a credential is
// missing, or where one of that scheme would help (9110-07, 9449-39 to 9449-41).
func offersDPoP(reason string, challenges []string) bool {
	return (reason == "no_credential" || reason == "proof_required") && len(challenges) == 2 && bareDPoP.MatchString(challenges[1])
}

var bareDPoP = regexp.MustCompile(`^DPoP realm="[^"]+"(, resource_metadata="[^"]+")?, algs="ES256 [A-Za-z0-9 ]+"$`)

var challengeParam = regexp.MustCompile(`^([a-z_]+)="([\x20\x21\x23-\x5B\x5D-\x7E]*)"`)

// parseChallenge reads a Bearer or DPoP challenge by the letter: each parameter once (6750-22, 9110-04), always a quoted-string
// (9110-05) without escapes (9110-06, 6750-25), scopes separated by one space (6750-23).
func parseChallenge(t *testing.T, text string) map[string]string {
	t.Helper()
	scheme, rest, ok := strings.Cut(text, " ")
	if !ok || scheme != "Bearer" && scheme != "DPoP" {
		t.Errorf("challenge %q is not of a known scheme, with a parameter", text) // 6750-24
	}
	params := make(map[string]string)
	for {
		m := challengeParam.FindStringSubmatch(rest)
		if m == nil {
			t.Errorf("challenge %q cannot be parsed at %q", text, rest)
			return params
		}
		if _, twice := params[m[1]]; twice {
			t.Errorf("challenge %q has %s twice", text, m[1])
		}
		params[m[1]] = m[2]
		if rest = rest[len(m[0]):]; rest == "" {
			break
		}
		if rest, ok = strings.CutPrefix(rest, ", "); !ok {
			t.Errorf("challenge %q cannot be parsed at %q", text, rest)
			return params
		}
	}
	if scope, ok := params["scope"]; ok && (scope == "" || strings.TrimSpace(scope) != scope || strings.Contains(scope, "  ")) {
		t.Errorf("challenge %q has a bad scope", text)
	}
	return params
}

// startTelling runs the directives of a site that is telling, with one issuer, "main".
func startTelling(t *testing.T, directives string) *gateway {
	t.Helper()
	return startWith(t, fmt.Sprintf(site, directives+telling))
}

// expectHeader compares all values of a header that the backend saw; no value at all is "".
func (a answer) expectHeader(t *testing.T, name, want string) {
	t.Helper()
	if got := strings.Join(a.seen.Header.Values(name), "|"); got != want {
		t.Errorf("the backend saw %s %q, want %q", name, got, want)
	}
}
