package integration

import (
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

func cookie(value string) option { return header("Cookie", value) }

func TestATokenInACookie(t *testing.T) {
	g := startTelling(t, "okta_auth main {\n token cookie session\n }")
	token := g.issuer.UserToken("alice")
	one := func(value string) []option { return []option{cookie(value)} }
	g.expectReasons(t, "/", []reasonCase{
		{"alone", "ok", one("session=" + token)},
		{"with spaces", "ok", one(" a=1 ;  session = " + token + " ;")},
		{"nothing", "no_credential", nil}, // 6750-04
		{"only Authorization", "no_credential", []option{bearer(token)}},
		{"another cookie", "no_credential", one("sessions=" + token)},
		{"another case", "no_credential", one("Session=" + token)},
		{"a prefix", "no_credential", one("__Host-session=" + token)},
		{"within another cookie", "no_credential", one("a=session=" + token)},
		{"empty", "malformed_request", one("session=")},
		{"without a value", "malformed_request", one("session")},
		{"quoted", "malformed_request", one(`session="` + token + `"`)},       // 6750-07
		{"with a comma", "malformed_request", one("session=" + token + ",x")}, // 6750-07
		{"twice", "malformed_request", one("session=" + token + "; session=" + token)},
		{"twice, one empty", "malformed_request", one("session=; session=" + token)},
		{"in two headers", "malformed_request", []option{cookie("session=" + token), cookie("session=" + token)}},
		{"forged", "bad_signature", one("session=" + tampered(token))},
	})
}

func TestOnlyTheTokensCookieIsRemoved(t *testing.T) {
	g := startTelling(t, "okta_auth main {\n token cookie session\n }")
	session := "session=" + g.issuer.UserToken("alice")
	for name, c := range map[string]struct {
		sent []option
		want string
	}{
		"first":          {[]option{cookie(session + "; a=1; b=2")}, "a=1; b=2"},
		"in the middle":  {[]option{cookie(`a="x y"; ` + session + "; b=2=3")}, `a="x y"; b=2=3`},
		"last":           {[]option{cookie("a=1; sessions=2;" + session)}, "a=1; sessions=2"},
		"alone":          {[]option{cookie(session)}, ""},
		"in two headers": {[]option{cookie("a=1"), cookie(session), cookie("b=2")}, "a=1|b=2"},
		"no token":       {[]option{cookie("a=1")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "no token" {
				g.expectReason("no_credential", "GET", "/", c.sent...)
				return
			}
			a := g.expectReason("ok", "GET", "/", append(c.sent, authorization("Basic YTpi"))...)
			a.expectHeader(t, "Cookie", c.want)
			a.expectHeader(t, "Authorization", "Basic YTpi")
		})
	}
}

// 6750-30: a browser sends cookies whoever asks it to.
func TestACookieIsNotTakenFromForeignSites(t *testing.T) {
	g := startTelling(t, "okta_auth main {\n token cookie session\n }")
	session := cookie("session=" + g.issuer.UserToken("alice"))
	fetch := func(site string) option { return header("Sec-Fetch-Site", site) }
	origin := func(value string) option { return header("Origin", value) }
	upgrade := []option{header("Connection", "Upgrade"), header("Upgrade", "websocket")}
	own := "http://" + g.address
	for _, c := range []struct {
		name, method, reason string
		options              []option
	}{
		{"a program", "POST", "ok", nil},
		{"the own site", "POST", "ok", []option{fetch("same-origin"), origin(own)}},
		{"the user", "POST", "ok", []option{fetch("none")}},
		{"an old browser on the own site", "POST", "ok", []option{origin(own)}},
		{"a foreign site", "POST", "cross_origin", []option{fetch("cross-site"), origin("https://evil.example")}},
		{"a foreign site without origin", "DELETE", "cross_origin", []option{fetch("cross-site")}},
		{"a sister site", "PUT", "cross_origin", []option{fetch("same-site"), origin("http://sister.example")}},
		{"an unknown word", "POST", "cross_origin", []option{fetch("none-of-that")}},
		{"an old browser on a foreign site", "PATCH", "cross_origin", []option{origin("https://evil.example")}},
		{"an opaque origin", "POST", "cross_origin", []option{origin("null")}},
		{"another port", "POST", "cross_origin", []option{origin("http://127.0.0.1:1")}},
		{"a link from a foreign site", "GET", "ok", []option{fetch("cross-site")}},
		{"an image on a foreign site", "HEAD", "ok", []option{fetch("cross-site")}},
		{"a socket of the own site", "GET", "ok", append(upgrade, fetch("same-origin"), origin(own))},
		{"a socket of an old browser", "GET", "ok", append(upgrade, origin(own))},
		{"a socket of a program", "GET", "ok", upgrade},
		{"a socket of a foreign site", "GET", "cross_origin", append(upgrade, fetch("cross-site"), origin("https://evil.example"))},
		{"a socket of an old browser on a foreign site", "GET", "cross_origin", append(upgrade, origin("https://evil.example"))},
		{"a socket in lower case", "GET", "cross_origin", []option{header("connection", "upgrade"), header("upgrade", "WebSocket"), origin("https://evil.example")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.t = t
			g.expectReason(c.reason, c.method, "/", append([]option{session}, c.options...)...)
		})
	}
	g.t = t
	// A bad token is not told apart from a good one.
	g.expectReason("cross_origin", "POST", "/", cookie("session="+g.issuer.UserToken("alice", oktatest.Forged())), fetch("cross-site"))
	// Without the cookie there is nothing to protect.
	g.expectReason("no_credential", "POST", "/", fetch("cross-site"))
}

func TestAHeaderIsTakenFromForeignSites(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	g.expectReason("ok", "POST", "/", bearer(g.issuer.UserToken("alice")), header("Sec-Fetch-Site", "cross-site"), header("Origin", "https://app.example"))
}
