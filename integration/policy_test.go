package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// rules is a policy that allows what an expression is true of, by path.
func rules(lines ...string) string {
	return "okta_auth main\n cel_policy {\n " + strings.Join(lines, "\n ") + "\n }"
}

// from makes the client's connections come from another loopback address, as another machine's would.
func (g *gateway) from(address string) {
	g.client.CloseIdleConnections()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	g.client.Transport = &http.Transport{DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, to)
	}}
}

// behindProxies is a site whose trusted proxy is 127.0.0.2.
func behindProxies(directives string) string {
	return fmt.Sprintf(strings.Replace(site, "admin ADMIN", "admin ADMIN\n servers {\n trusted_proxies static 127.0.0.2\n client_ip_headers X-Real-IP X-Forwarded-For\n }", 1), directives)
}

func TestPoliciesReadTheAddressAsCaddyDecidesIt(t *testing.T) {
	g := startWith(t, behindProxies(rules(
		"allow office4  /v4     `cidr(\"10.0.0.0/8\").containsIP(request.ip)`",
		"allow office6  /v6     `cidr(\"2001:db8::/32\").containsIP(request.ip)`",
		"allow either   /either `[\"10.0.0.0/8\", \"2001:db8::/32\"].exists(net, cidr(net).containsIP(request.ip))`",
		"allow one      /one    `request.ip == \"10.1.2.3\"`",
		"allow loopback /direct `ip(request.ip).isLoopback()`",
	)))
	alice := bearer(g.issuer.UserToken("alice"))
	for _, test := range []struct {
		client, path, header, value string
		status                      int
	}{
		{"127.0.0.2", "/v4", "X-Forwarded-For", "10.1.2.3", 200},
		{"127.0.0.2", "/v4", "X-Forwarded-For", "::ffff:10.1.2.3", 200}, // the same address
		{"127.0.0.2", "/v4", "X-Real-IP", "10.1.2.3", 200},
		{"127.0.0.2", "/v4", "X-Forwarded-For", "11.1.2.3", 403},
		{"127.0.0.2", "/v4", "X-Forwarded-For", "2001:db8::1", 403},
		{"127.0.0.2", "/v4", "X-Client-IP", "10.1.2.3", 403}, // no client_ip_header
		{"127.0.0.2", "/v6", "X-Forwarded-For", "2001:db8:1::7", 200},
		{"127.0.0.2", "/v6", "X-Forwarded-For", "2001:DB8:1::7", 200},
		{"127.0.0.2", "/v6", "X-Forwarded-For", "2001:db9::7", 403},
		{"127.0.0.2", "/either", "X-Forwarded-For", "2001:db8::7", 200},
		{"127.0.0.2", "/either", "X-Forwarded-For", "10.9.9.9", 200},
		{"127.0.0.2", "/either", "X-Forwarded-For", "192.0.2.1", 403},
		{"127.0.0.2", "/one", "X-Forwarded-For", "10.1.2.3", 200},
		{"127.0.0.2", "/one", "X-Forwarded-For", "garbage", 403},
		{"127.0.0.3", "/v4", "X-Forwarded-For", "10.1.2.3", 403}, // nobody trusts this one
		{"127.0.0.3", "/v4", "X-Real-IP", "10.1.2.3", 403},
		{"127.0.0.3", "/direct", "X-Forwarded-For", "10.1.2.3", 200},
	} {
		g.from(test.client)
		if a := g.send("GET", test.path, alice, header(test.header, test.value)); a.StatusCode != test.status {
			t.Errorf("%s from %s with %s: %s = %d, want %d", test.path, test.client, test.header, test.value, a.StatusCode, test.status)
		}
	}
}

func TestPoliciesReadTheTimeInAZone(t *testing.T) {
	now := time.Now().In(berlin(t))
	hour, day := now.Hour(), int(now.Weekday())
	g := start(t, rules( // the next hour, or day, may begin while the test runs
		fmt.Sprintf("allow hours     /hours     `now.getHours(\"Europe/Berlin\") in [%d, %d]`", hour, (hour+1)%24),
		fmt.Sprintf("allow later     /later     `now.getHours(\"Europe/Berlin\") in [%d, %d]`", (hour+12)%24, (hour+13)%24),
		fmt.Sprintf("allow today     /today     `now.getDayOfWeek(\"Europe/Berlin\") in [%d, %d]`", day, (day+1)%7),
		fmt.Sprintf("allow other     /other     `now.getDayOfWeek(\"Europe/Berlin\") in [%d, %d]`", (day+3)%7, (day+4)%7),
		"allow workdays  /workdays  `cel.bind(d, now.getDayOfWeek(\"Europe/Berlin\"), d >= 1 && d <= 5) || cel.bind(d, now.getDayOfWeek(\"Europe/Berlin\"), d == 0 || d == 6)`",
		"allow until     /until     `now < timestamp(\"2999-01-01T00:00:00Z\")`",
		"allow since     /since     `now - principal.issued_at < duration(\"5m\")`",
	))
	alice := bearer(g.issuer.UserToken("alice"))
	for path, status := range map[string]int{"/hours": 200, "/later": 403, "/today": 200, "/other": 403, "/workdays": 200, "/until": 200, "/since": 200} {
		g.expect(status, "GET", path, alice)
	}
}

func TestPoliciesReadMethodHostQueryAndHeaders(t *testing.T) {
	g := prepare(t)
	_, port, _ := net.SplitHostPort(g.address)
	g.load(strings.Replace(fmt.Sprintf(site, rules(
		"allow method   /method   `request.method in [\"GET\", \"PUT\"] && request.scheme == \"http\" && !request.tls`",
		"allow host     /host     `request.host == \"api.example.com\"`",
		"allow admins   /search   `request.query[?\"role\"].orValue([]).all(r, r != \"admin\")`",
		"deny  twice    /once     `request.query.role.size() > 1`",
		"allow once     /once     `request.query.role == [\"user\"]`",
		"allow agent    /agent    `request.headers[\"x-team\"].exists(team, team == \"blue\")`",
		"allow only     /only     `request.headers[\"x-team\"] == [\"blue\"]`",
		"allow small    /small    `request.size <= 10`",
	)), "http://ADDRESS", "http://:"+port, 1))
	alice := bearer(g.issuer.UserToken("alice"))
	host := func(name string) option { return func(r *http.Request) { r.Host = name } }
	team := func(names ...string) option {
		return func(r *http.Request) { r.Header["X-Team"] = names }
	}
	for _, test := range []struct {
		status       int
		method, path string
		options      []option
	}{
		{200, "GET", "/method", nil}, {200, "PUT", "/method", nil}, {403, "DELETE", "/method", nil}, {400, "get", "/method", nil},
		{200, "GET", "/host", []option{host("api.example.com")}}, {200, "GET", "/host", []option{host("API.Example.com:8080")}}, {200, "GET", "/host", []option{host("api.example.com.")}},
		{403, "GET", "/host", []option{host("api.example.com.evil.org")}}, {403, "GET", "/host", []option{host("evil.org"), header("X-Forwarded-Host", "api.example.com")}},
		{200, "GET", "/search?role=user", nil}, {200, "GET", "/search", nil}, {403, "GET", "/search?role=user&role=admin", nil}, {403, "GET", "/search?role=%61dmin", nil}, {400, "GET", "/search?role=user;role=admin", nil},
		{200, "GET", "/once?role=user", nil}, {403, "GET", "/once?role=user&role=user", nil}, {403, "GET", "/once", nil},
		{200, "GET", "/agent", []option{team("red", "blue")}}, {403, "GET", "/agent", []option{team("red, blue")}}, {403, "GET", "/agent", nil},
		{200, "GET", "/only", []option{team("blue")}}, {403, "GET", "/only", []option{team("blue", "blue")}}, {403, "GET", "/only", []option{team("blue", "red")}},
		{200, "POST", "/small", []option{withBody("0123456789")}}, {403, "POST", "/small", []option{withBody("0123456789x")}},
	} {
		g.expect(test.status, test.method, test.path, append(test.options, alice)...)
	}
}

// A fact that somebody else knows reaches a policy through a placeholder: a map, a variable, or a header of a proxy that is
// trusted. Directives that set variables run before cel_policy; request_header runs after it, so that removing a client's own
// header needs a route, which keeps the order of its lines.
func TestPoliciesReadFactsOfOthers(t *testing.T) {
	t.Run("geo_by_map", func(t *testing.T) {
		g := startWith(t, behindProxies("map {client_ip} {country} {\n 10.0.0.1 DE\n ~^192\\.0\\.2\\. FR\n default unknown\n }\n"+
			rules("allow europe /eu `placeholder(\"country\") in [\"DE\", \"FR\"]`", "deny unknown /de `placeholder(\"country\") == \"unknown\"`", "allow german /de `placeholder(\"country\") == \"DE\"`")))
		g.from("127.0.0.2")
		alice := bearer(g.issuer.UserToken("alice"))
		for client, status := range map[string][2]int{"10.0.0.1": {200, 200}, "192.0.2.7": {200, 403}, "198.51.100.1": {403, 403}} {
			g.expect(status[0], "GET", "/eu", alice, header("X-Forwarded-For", client))
			g.expect(status[1], "GET", "/de", alice, header("X-Forwarded-For", client))
		}
	})
	t.Run("geo_by_a_variable", func(t *testing.T) {
		g := start(t, "vars country DE\n"+rules("allow german `placeholder(\"http.vars.country\") == \"DE\"`"))
		g.expect(200, "GET", "/", bearer(g.issuer.UserToken("alice")))
	})
	device := "`placeholder(\"http.vars.trusted_proxy\") == \"true\" && request.headers[?\"x-device-managed\"].orValue([]) == [\"true\"]`"
	for name, directives := range map[string]string{
		"device_by_a_route": "route {\n @strangers not remote_ip 127.0.0.2\n request_header @strangers -X-Device-Managed\n okta_auth main\n" +
			" cel_policy `request.headers[?\"x-device-managed\"].orValue([]) == [\"true\"]`\n reverse_proxy BACKEND\n }",
		"device_by_the_rule": "okta_auth main\n cel_policy " + device,
	} {
		t.Run(name, func(t *testing.T) {
			g := startWith(t, behindProxies(directives))
			alice := bearer(g.issuer.UserToken("alice"))
			g.from("127.0.0.2")
			g.expect(200, "GET", "/", alice, header("X-Device-Managed", "true"))
			g.expect(403, "GET", "/", alice, header("X-Device-Managed", "false"))
			g.expect(403, "GET", "/", alice, header("X-Device-Managed", "true"), header("X-Device-Managed", "false"))
			g.expect(403, "GET", "/", alice)
			g.from("127.0.0.3")
			g.expect(403, "GET", "/", alice, header("X-Device-Managed", "true")) // the client's own
			g.expect(403, "GET", "/", alice, header("x-device-managed", "true"))
		})
	}
}

func TestRulesCombineOverHTTP(t *testing.T) {
	g := start(t, rules(
		"deny  closed   /closed/* `true`", "allow all `true`",
		"deny  unclear  /unclear  `claims.missing == 1`",
		"deny  number   /number   `claims.level > 3`",
		"deny  negated  /negated  `!(claims.device == \"managed\")`",
	))
	only := bearer(g.issuer.UserToken("alice"))
	number := func(v any) option {
		return bearer(g.issuer.UserToken("alice", oktatest.With("level", v), oktatest.With("device", v)))
	}
	g.expect(200, "GET", "/open", only)
	g.expect(403, "GET", "/closed/x", only)
	g.expect(403, "GET", "/unclear", only)
	g.expect(403, "GET", "/number", only)  // a missing claim denies
	g.expect(403, "GET", "/negated", only) // and does not turn round
	g.expect(200, "GET", "/number", number(3))
	g.expect(403, "GET", "/number", number(4))
	for _, v := range []any{"3", nil, []int{1}, map[string]int{"a": 1}, true} {
		g.expect(403, "GET", "/number", number(v))
		g.expect(403, "GET", "/negated", number(v))
	}
	g.expect(200, "GET", "/negated", number("managed"))
}

func TestNumbersOfClaimsCompareAsUsersExpect(t *testing.T) {
	lines := []string{
		"allow equal    /equal    `claims.n == 5`", "allow sum      /sum      `claims.n + 1 == 6`", "allow member   /member   `claims.n in [4, 5]`", "allow type /type `type(claims.n) == int`",
		"allow small    /small    `claims.n < 10`", "allow exact    /exact    `claims.n == 9007199254740993`", "allow neighbour /neighbour `claims.n == 9007199254740992`",
		"allow moment   /moment   `timestamp(int(claims.n)) < now`", "allow double /double `claims.n > 0.5`",
	}
	g := start(t, rules(lines...))
	for number, allowed := range map[string]string{
		"5": "equal sum member type small moment double", "5.0": "equal sum member type small moment double", "0.5e1": "equal sum member type small moment double",
		"9007199254740993": "type exact double", "9007199254740992": "type neighbour double", "9223372036854775807": "type double", "-9223372036854775808": "type small",
		"18446744073709551615": "double", "1e300": "double", "-0.0": "type small moment", "4.9999": "small moment double", "null": "", `"5"`: "moment", "[5]": "", `{"n":5}`: "", "true": "",
		"253402300800": "type double", "1784116800": "type moment double",
	} {
		user := bearer(g.issuer.UserToken("alice", oktatest.With("n", json.RawMessage(number))))
		for _, line := range lines {
			name := strings.Fields(line)[1]
			status := http.StatusForbidden
			if strings.Contains(" "+allowed+" ", " "+name+" ") {
				status = http.StatusOK
			}
			if a := g.send("GET", "/"+name, user); a.StatusCode != status {
				t.Errorf("claims.n is %s: /%s = %d, want %d", number, name, a.StatusCode, status)
			}
		}
	}
}

// TestClaimsOfAnyTypeAreNeverAnError sends tokens whose claims are what nobody expects, to rules that read them in every way.
func TestClaimsOfAnyTypeAreNeverAnError(t *testing.T) {
	expressions := []string{
		`claims.x == "a"`, `claims.x > 3`, `"a" in claims.x`, `claims.x[0] == "a"`, `claims.x.b == 1`, `claims.x.exists(i, i == "a")`, `claims.x.startsWith("a")`, `int(claims.x) / int(claims.y) == 1`,
		`claims.x + claims.y == 2`, `timestamp(claims.x) > now`, `duration(claims.x) > duration("1s")`, `claims.x == claims.y`, `claims == {}`, `claims.?x.?b.orValue(1) == 1`, `claims.x.matches("^a+$")`,
		`now.getHours(claims.x) == 1`, `has(claims.x.b)`, `claims.x == null`, `size(claims.x) > 1`, `string(claims.x) == "1"`, `-int(claims.x) == 1`, `claims.x ? true : false`, `!claims.x`, `claims.x in claims.y`,
		`"Admin" in principal.groups`, `principal.groups.exists(g, g == claims.x)`,
	}
	var lines []string
	for i, expression := range expressions {
		lines = append(lines, fmt.Sprintf("allow a%d /allow/%d `%s`", i, i, expression), fmt.Sprintf("deny d%d /deny/%d `%s`", i, i, expression), fmt.Sprintf("step_up s%d /step/%d {\n acr_values phr\n when `%s`\n }", i, i, expression))
	}
	lines = append(lines, "allow rest `request.path.startsWith(\"/deny/\") || request.path.startsWith(\"/step/\")`")
	g := start(t, rules(lines...))
	random := rand.New(rand.NewPCG(9, 10))
	for range 12 {
		token := g.issuer.UserToken("alice", oktatest.With("x", randomJSON(random, 3)), oktatest.With("y", randomJSON(random, 2)), oktatest.With("acr", "low"))
		for i := range expressions {
			for _, kind := range []string{"allow", "deny", "step"} {
				a := g.send("GET", fmt.Sprintf("/%s/%d", kind, i), bearer(token))
				if want := map[string]int{"allow": 403, "deny": 403, "step": 401}[kind]; a.StatusCode != want && a.StatusCode != 200 {
					t.Errorf("%s %s: %d", kind, expressions[i], a.StatusCode)
				}
			}
		}
	}
}

// randomJSON returns a JSON value of any type.
func randomJSON(random *rand.Rand, depth int) any {
	kind := random.IntN(9)
	if depth == 0 {
		kind = random.IntN(6)
	}
	switch kind {
	case 0:
		return nil
	case 1:
		return random.IntN(2) == 0
	case 2:
		return json.RawMessage([]string{"0", "1", "-1", "3.5", "9223372036854775807", "18446744073709551616", "1e308", "-0.0", "253402300800"}[random.IntN(9)])
	case 3:
		return []string{"", "a", "aaa", "1", "24h", "2026-01-01T00:00:00Z", "Europe/Berlin", "\u0000", "é"}[random.IntN(9)]
	case 4:
		return []any{}
	case 5:
		return map[string]any{}
	case 6, 7:
		list := make([]any, 1+random.IntN(3))
		for i := range list {
			list[i] = randomJSON(random, depth-1)
		}
		return list
	}
	return map[string]any{"b": randomJSON(random, depth-1), "a": randomJSON(random, depth-1)}
}
