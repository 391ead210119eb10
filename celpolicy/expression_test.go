package celpolicy

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-okta/caddy-okta/internal/principal"
)

func TestExpressionsOfAUserAreTrue(t *testing.T) {
	r := newRequest(t, "POST", "http://API.Example.com.:8080/users/alice?tag=a&tag=b&access_token=x")
	r.Header.Set("X-Tag", "one")
	r.Header.Add("X-Tag", "two")
	r.ContentLength = 12
	caddyhttp.SetVar(r.Context(), "country", "DE")
	caller := user(t)
	for _, expression := range []string{
		`principal.authenticated && principal.kind == "user"`,
		`principal.subject == "alice@example.com" && principal.user_id == "00u1" && principal.client_id == "0oa1"`,
		`principal.issuer == "https://acme.okta.com/oauth2/default" && principal.token_id == "AT.1" && principal.acr == "phr"`,
		`principal.scopes == ["read", "write"] && "Admin" in principal.groups && principal.audience == ["api://default"]`,
		`"hwk" in principal.amr && size(principal.groups) == 2`,
		`now - principal.issued_at == duration("1m") && principal.expires_at > now`,
		`now - principal.authenticated_at < duration("5m")`,
		`has(principal.acr) && principal.?acr.orValue("") == "phr"`,
		`dyn(principal).acr == "phr" && has(dyn(principal).acr) && principal == principal`,
		`claims.dept == "sales" && "dept" in claims && !("x" in claims) && claims.?x.orValue("none") == "none"`,
		`claims.exp - claims.iat == 3660`,
		`request.method == "POST" && request.scheme == "http" && !request.tls`,
		`request.host == "api.example.com" && request.path == "/users/alice" && request.ip == "10.1.2.3"`,
		`request.query["tag"] == ["a", "b"] && request.query.tag[1] == "b" && request.size == 12`,
		`request.headers["x-tag"] == ["one", "two"] && !request.headers.exists(k, k == "cookie")`,
		`cidr("10.0.0.0/8").containsIP(request.ip) && ip(request.ip).family() == 4`,
		`now.getHours("Europe/Berlin") == 14 && now.getHours() == 12 && now.getHours("+05:30") == 17 && now.getHours("-03:00") == 9 && now.getHours("02:00") == 14`,
		`now.getDayOfWeek("Europe/Berlin") == 3 && now.getMonth("UTC") == 6 && now.getDate("UTC") == 15 && now.getDayOfMonth("UTC") == 14`,
		`now.getFullYear("Asia/Tokyo") == 2026 && now.getDayOfYear("UTC") == 195 && now.getMinutes("Asia/Kolkata") == 30`,
		`now.getSeconds("UTC") == 0 && now.getMilliseconds("UTC") == 0`,
		`placeholder("http.vars.country") == "DE" && placeholder("http.vars.nothing") == "" && placeholder("http.request.method") == "POST"`,
		`"Mixed".lowerAscii() == "mixed" && [3, 1, 2].sort() == [1, 2, 3] && sets.intersects(principal.groups, ["Admin"])`,
		`math.greatest(1, 2) == 2 && base64.encode(b"a") == "YQ==" && json.encode({"a": 1}) == "{\"a\":1}"`,
		`regex.extract(principal.subject, "@(.*)$") == optional.of("example.com") && principal.subject.matches("^[a-z]+@")`,
		`cel.bind(g, principal.groups, g.exists(x, x == "Admin")) && {"a": 1}.all(k, v, v == 1)`,
	} {
		if d := evaluate(t, expression, r, caller); d.Result != Allow {
			t.Errorf("%s: %v %v, want true", expression, d.Result, d.Err)
		}
	}
}

func TestExpressionsReadingWhatIsAbsentFail(t *testing.T) {
	r := newRequest(t, "GET", "/")
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "@")
	for name, test := range map[string]struct {
		caller     *principal.Caller
		expression string
		want       Result
	}{
		"a text of an anonymous caller":          {new(principal.Caller), `principal.subject != "root"`, Error},
		"a time of an anonymous caller":          {new(principal.Caller), `principal.expires_at < now`, Error},
		"a text through dyn":                     {new(principal.Caller), `dyn(principal).subject != "root"`, Error},
		"asking for it":                          {new(principal.Caller), `has(principal.subject)`, Deny},
		"asking through dyn":                     {new(principal.Caller), `has(dyn(principal).subject)`, Deny},
		"lists of an anonymous caller are empty": {new(principal.Caller), `principal.groups == [] && principal.scopes == [] && principal.amr == []`, Allow},
		"an anonymous caller has a kind":         {new(principal.Caller), `principal.kind == "anonymous" && !principal.authenticated && claims == {}`, Allow},
		"the user id of a service":               {service(t), `principal.user_id == ""`, Error},
		"the auth time of a service":             {service(t), `principal.authenticated_at < now`, Error},
		"the kind of a service":                  {service(t), `principal.kind == "service" && !has(principal.authenticated_at)`, Allow},
		"a missing claim":                        {user(t), `claims.nope == 1`, Error},
		"a missing header":                       {user(t), `request.headers["x-nope"][0] == ""`, Error},
		"a client without an address":            {user(t), `request.ip != "10.0.0.1"`, Error},
		"asking for the address":                 {user(t), `has(request.ip)`, Deny},
		"an unknown placeholder":                 {user(t), `placeholder("http.nope") == ""`, Error},
		"a wrong zone that is a value":           {user(t), `now.getHours(claims.dept) < 30`, Error},
		"a claim of another type":                {user(t), `claims.dept > 3`, Error},
		"an error that does not matter":          {user(t), `claims.nope == 1 || true`, Allow},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			if d := evaluate(t, test.expression, r, test.caller); d.Result != test.want {
				t.Errorf("%s: %v %v, want %v", test.expression, d.Result, d.Err, test.want)
			}
		})
	}
}

func TestMistakesInExpressionsAreErrorsWithAPosition(t *testing.T) {
	for name, test := range map[string]struct{ expression, want string }{
		"a misspelt field of principal": {`principal.scope == "x"`, "when:1:10: undefined field 'scope'"},
		"a misspelt field of request":   {`request.header == {}`, "when:1:8: undefined field 'header'"},
		"a misspelt variable":           {`principle.acr == ""`, "when:1:1: undeclared reference to 'principle'"},
		"a wrong type":                  {`principal.groups == "Admin"`, "when:1:18: found no matching overload"},
		"the second line":               {"true &&\n  request.size == \"1\"", "when:2:16: found no matching overload"},
		"a caret":                       {`principal.scope == "x"`, "\n | .........^"},
		"a syntax error":                {`1 == 1 &&`, "when:1:10: Syntax error"},
		"a text":                        {`principal.acr`, "must be of type bool, this is string"},
		"a dyn":                         {`claims.admin`, "compare it, as in claims.admin == true"},
		"a bad pattern":                 {`request.path.matches("(")`, "when:1:22: error parsing regexp"},
		"a bad pattern, global style":   {`matches(request.path, "(")`, "when:1:23: error parsing regexp"},
		"a pattern from a claim":        {`request.path.matches(claims.p)`, "when:1:28: a pattern must be one literal text"},
		"a pattern from a text, joined": {`request.path.matches("^" + principal.subject)`, "a pattern must be one literal text"},
		"a pattern that is bound":       {`cel.bind(p, principal.subject, request.path.matches(p))`, "a pattern must be one literal text"},
		"replacing by a value":          {`regex.replace(request.path, claims.p, "") == ""`, "a pattern must be one literal text"},
		"extracting by a value":         {`regex.extractAll(request.path, params.p) == []`, "a pattern must be one literal text"},
		"extracting two groups":         {`regex.extract(request.path, "(a)(b)").hasValue()`, "2 capturing groups"},
		"a huge repetition":             {`request.path.matches("(a{1000}){100}")`, "when:1:22:"},
		"a huge pattern":                {`request.path.matches("` + strings.Repeat("ab", 2000) + `")`, "when:1:22: the pattern compiles to 4002 instructions, and the limit is 2000"},
		"a text that doubles":           {`cel.bind(a, request.path + request.path, cel.bind(b, a + a, cel.bind(c, b + b, c.contains(c))))`, "could cost"},
		"a wrong zone":                  {`now.getHours("Europe/Berln") > 8`, `when:1:14: "Europe/Berln" is not a time zone`},
		"a wrong offset":                {`now.getHours("+25:00") > 8`, "is not an offset from UTC"},
		"a wrong duration":              {`duration("5x") > duration("1m")`, "when:1:10: invalid duration"},
		"a wrong timestamp":             {`now > timestamp("2026")`, "invalid timestamp"},
		"a wrong network":               {`cidr("10.0.0.0/40").containsIP(request.ip)`, "invalid cidr"},
		"a wrong format":                {`"%d".format(["x"]) == "x"`, "when:1:14: error during formatting"},
		"a loop within two loops":       {`[1].all(a, [1].all(b, [1].all(c, true)))`, "when:1:30: a loop within 2 others"},
		"a product of lists":            {`request.query["a"].exists(x, request.query["b"].exists(y, x == y))`, "when:1:26: the expression could cost 2147549188 units"},
		"a growing text":                {`request.path.replace("a", request.path.replace("b", request.path)) == ""`, "could cost"},
		"sorting, by pairs":             {`request.query["a"].sort()[0] == "Admin"`, "could cost"}, // once a panic of the estimate
		"deep nesting":                  {strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100), "recursion"},
		"a long expression":             {`"` + strings.Repeat("x", maxLength) + `" == ""`, "size exceeds limit"},
		"deep binds":                    {strings.Repeat(`cel.bind(x, 1, `, 9) + "true" + strings.Repeat(")", 9), "nesting limit"},
		"a shadowed variable":           {`[1].exists(request, true)`, "request is a variable of every policy"},
		"a bound variable":              {`cel.bind(now, 1, now == 1)`, "now is a variable of every policy"},
		"a built object":                {`principal{subject: "root"} == principal`, "objects cannot be built"},
		"a built message":               {`google.protobuf.Int64Value{value: 1} == 1`, "objects cannot be built"},
		"a replaced shorthand":          {`{http.request.host} == "x"`, "when:1:1: Caddy replaced a shorthand"},
		"a parameter without a path":    {`params.id == ""`, "the path of the rule has no parameters: write {id}"},
		"a parameter by index":          {`params["id"] == ""`, "the path of the rule has no parameters"},
		"an optional parameter":         {`params.?id.orValue("") == ""`, "the path of the rule has no parameters"},
		"an optional index":             {`params[?"id"].orValue("") == ""`, "the path of the rule has no parameters"},
		"asking for a parameter":        {`has(params.id)`, "the path of the rule has no parameters"},
		"looking for a parameter":       {`"id" in params`, "the path of the rule has no parameters"},
		"a name that is a value":        {`placeholder(claims.name) == ""`, "when:1:19: the name of a placeholder must be one literal"},
		"a name that is joined":         {`placeholder("http." + "x") == ""`, "must be one literal"},
		"no name":                       {`true && placeholder() == ""`, "when:1:20: write placeholder"},
		"two names":                     {`placeholder("a", "b") == ""`, "with one name"},
		"an empty name":                 {`placeholder("") == ""`, "is empty"},
		"a name in braces":              {`placeholder("{x}") == ""`, "when:1:13: leave the braces out"},
		"the inner name of placeholder": {`@placeholder(request, "http.request.body") == ""`, "Syntax error"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			_, _, err := checkSource(test.expression, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("compile(%.60s) = %v, want …%s…", test.expression, err, test.want)
			}
		})
	}
}

func TestCheapEnoughExpressionsCompile(t *testing.T) {
	for _, expression := range []string{
		`principal.groups.exists(g, g in principal.scopes)`,
		`principal.groups.exists(g, g.startsWith("a") || g.matches("^b.*c$") || g.contains("x") || g.endsWith("y"))`,
		`claims.?roles.orValue([]).exists(r, r in principal.groups)`,
		`sets.intersects(principal.groups, principal.scopes)`,
		`cel.bind(admins, ["a", "b"], principal.groups.exists(g, g in admins))`,
		`["a", "b"].exists(a, principal.groups.exists(g, g.startsWith(a)))`,
		`principal.groups.map(g, g.lowerAscii()).exists(g, g == "admin")`,
		`request.headers.all(k, v, size(v) < 2)`,
		`request.path.split("/").exists(x, x.contains("q"))`,
		`principal.scopes.sortBy(s, s.size())[0] == "x"`,
	} {
		if _, _, err := checkSource(expression, nil); err != nil {
			t.Errorf("compile(%s) = %v", expression, err)
		}
	}
}

func TestPlaceholdersThatCarryCredentialsAreErrors(t *testing.T) {
	for _, name := range []string{
		"http.request.header.authorization", "http.request.header.Authorization", "http.request.header.AUTHORIZATION",
		"http.request.header.Proxy-Authorization", "http.request.header.proxy_authorization", "http.request.header.Cookie",
		"http.request.header.DPoP", "http.request.header.dpop", "http.request.cookie.sid", "http.request.cookie.x",
		"HTTP.Request.Cookie.sid", "http.request.uri.query.access_token", "http.request.uri.query.Access_Token",
		"http.request.uri", "http.request.uri_escaped", "http.request.uri.query", "http.request.uri.query_escaped",
		"http.request.uri.prefixed_query", "http.request.orig_uri", "http.request.orig_uri.query",
		"http.request.orig_uri.prefixed_query", "http.request.body", "http.request.body_base64",
		"http.vars.caddy_okta.caller", "http.vars.caddy_okta.x", "http.response.header.Set-Cookie",
	} {
		_, _, err := checkSource(`placeholder("`+name+`") == ""`, nil)
		if err == nil || !strings.Contains(err.Error(), "when:1:13: this placeholder can carry a credential") {
			t.Errorf("compile(placeholder(%s)) = %v, want an error", name, err)
		}
	}
	for _, name := range []string{"http.request.uri.path", "http.request.uri.query.page", "http.request.header.Accept", "http.vars.country", "env.HOME"} {
		if _, _, err := checkSource(`placeholder("`+name+`") == ""`, nil); err != nil {
			t.Errorf("compile(placeholder(%s)) = %v", name, err)
		}
	}
}

func TestCredentialsAreHidden(t *testing.T) {
	const token, proof = "eyJhbGciOiJub25lIn0.e30.c2ln", "eyJ0eXAiOiJkcG9wK2p3dCJ9.e30.c2ln"
	r := newRequest(t, "GET", "/?access_token="+token+"&ACCESS_TOKEN=x&a="+token+"&b=1&access%5Ftoken=y")
	for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie", "DPoP", "Proxy_Authorization"} {
		r.Header[name] = []string{"secret"}
	}
	r.Header.Set("X-Token", "Token "+token)
	r.Header.Set("X-Proof", proof)
	r.Header.Set("X-Original-URL", "/other")
	r.Header.Set("X-Fine", "1")
	caller := user(t)
	caller.Taken = []*principal.Credential{{Source: "header X-Token", Token: token, Proofs: []string{"", proof}}, {Source: "cookie empty"}}
	caddyhttp.SetVar(r.Context(), "copy", "it is "+token)
	for _, expression := range []string{
		`request.headers == {"x-fine": ["1"]}`,
		`request.query == {"b": ["1"]}`,
	} {
		if d := evaluate(t, expression, r, caller); d.Result != Allow {
			t.Errorf("%s: %v %v, want true", expression, d.Result, d.Err)
		}
	}
	for _, expression := range []string{`placeholder("http.vars.copy") != ""`, `placeholder("http.request.header.X-Token") != ""`, `placeholder("http.request.uri.query.a") != ""`} {
		d := evaluate(t, expression, r, caller)
		if d.Result != Error || strings.Contains(d.Err.Error(), token) {
			t.Errorf("%s: %v %v, want an error without the token", expression, d.Result, d.Err)
		}
	}
}

func TestClaimsHaveTheirNaturalTypes(t *testing.T) {
	caller := &principal.Caller{Identity: identity(t, map[string]any{
		"int": int64(5), "exponent": json.Number("1e3"), "point": json.Number("2.0"), "half": json.Number("0.5"),
		"huge": json.Number("18446744073709551615"), "larger": json.Number("1e300"), "tiny": json.Number("1e-999999999"),
		"negative": json.Number("-3"), "yes": true, "null": nil, "empty": []any{}, "mixed": []any{int64(1), "a", json.Number("2.0"), nil},
		"nested":      map[string]any{"list": []any{map[string]any{"n": json.Number("7.0")}}, "m": map[string]any{"n": json.Number("1e1")}},
		"a b":         "space",
		"https://x/y": "url",
	})}
	for _, expression := range []string{
		`claims.int + 1 == 6 && type(claims.int) == int`,
		`claims.exponent + 1 == 1001 && claims.point == 2 && claims.point + 1 == 3`,
		`claims.half * 2.0 == 1.0 && type(claims.half) == double`,
		`claims.huge == 18446744073709551615u && type(claims.huge) == uint`,
		`type(claims.larger) == double && claims.larger > 1.0`,
		`claims.tiny == 0 && claims.negative - 1 == -4`,
		`claims.yes == true && claims["null"] == null && has(claims.yes)`,
		`claims.empty == [] && claims.mixed == [1, "a", 2, null] && 2 in claims.mixed`,
		`claims.mixed.exists(v, v == 2) && claims.mixed.filter(v, type(v) == int) == [1, 2] && claims.mixed[2] == 2`,
		`claims.nested == {"list": [{"n": 7}], "m": {"n": 10}} && claims.nested.list.all(o, o.n == 7 && type(o.n) == int)`,
		`claims.nested.exists(k, v, k == "m" && dyn(v).n == 10) && claims.nested.m.all(k, v, type(v) == int)`,
		`claims.nested.list[0].n + 1 == 8 && has(claims.nested.list) && !has(claims.nested.other)`,
		`claims["a b"] == "space" && claims["https://x/y"] == "url"`,
		`claims.exists(k, k == "int") && size(claims) == 15`,
	} {
		if d := evaluate(t, expression, newRequest(t, "GET", "/"), caller); d.Result != Allow {
			t.Errorf("%s: %v %v, want true", expression, d.Result, d.Err)
		}
	}
}

func TestAddressesAreUnmappedAndHaveNoZone(t *testing.T) {
	for client, want := range map[string]string{
		"::ffff:10.0.0.1": "10.0.0.1", "fe80::1%eth0": "fe80::1", "2001:DB8::1": "2001:db8::1", "192.0.2.1": "192.0.2.1",
		"192.0.2.1:443": "192.0.2.1", "[fe80::1%eth0]:80": "fe80::1",
	} {
		r := newRequest(t, "GET", "/")
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, client)
		if d := evaluate(t, `request.ip == "`+want+`"`, r, user(t)); d.Result != Allow {
			t.Errorf("request.ip of %s: not %s: %v", client, want, d.Err)
		}
	}
}

func TestHostsHaveNoPortAndNoBrackets(t *testing.T) {
	for host, want := range map[string]string{
		"Example.COM": "example.com", "example.com:8443": "example.com", "example.com.": "example.com", "[::1]:80": "::1", "[::1]": "::1", "": "",
	} {
		r := newRequest(t, "GET", "/")
		r.Host = host
		r.TLS = new(tls.ConnectionState)
		if d := evaluate(t, `request.host == "`+want+`" && request.scheme == "https" && request.tls`, r, user(t)); d.Result != Allow {
			t.Errorf("request.host of %q: not %q: %v", host, want, d.Err)
		}
	}
}

// Caddy takes a client without a certificate for one with an empty certificate: its fingerprint is that of nothing, and a
// rule that asks for any fingerprint was true of everybody.
func TestAClientWithoutACertificateHasNoFingerprint(t *testing.T) {
	for _, state := range []*tls.ConnectionState{nil, {}, {PeerCertificates: []*x509.Certificate{{Raw: []byte("x"), Subject: pkix.Name{CommonName: "device"}}}}} {
		r := newRequest(t, "GET", "/")
		r.TLS = state
		want := Deny
		if state != nil && len(state.PeerCertificates) > 0 {
			want = Allow
		}
		for _, field := range []string{"fingerprint", "subject", "FINGERPRINT"} {
			if d := evaluate(t, `placeholder("http.request.tls.client.`+field+`") != ""`, r, user(t)); d.Result != want {
				t.Errorf("%+v has a %s: %v %v, want %v", state, field, d.Result, d.Err, want)
			}
		}
		if d := evaluate(t, `placeholder("http.request.tls.client.nope") == ""`, r, user(t)); d.Result != Error {
			t.Errorf("an unknown field of a certificate is %v, want error", d.Result)
		}
	}
}

func TestAPlaceholderThatPanicsIsAnError(t *testing.T) {
	r := newRequest(t, "GET", "/")
	r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Map(func(key string) (any, bool) {
		if key == "test.panics" {
			panic("no")
		}
		return nil, false
	})
	if d := evaluate(t, `placeholder("test.panics") == ""`, r, user(t)); d.Result != Error {
		t.Errorf("a placeholder that panics: %v, want error", d.Result)
	}
}
