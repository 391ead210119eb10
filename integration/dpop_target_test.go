package integration

import (
	"net/http"
	"strings"
	"testing"
)

// 9449-48: what a client writes into htu is the same in every version of HTTP.
func TestProofsOverEveryProtocol(t *testing.T) {
	g := startEveryProtocol(t, "")
	at := "https://" + g.address
	for protocol, transport := range protocols(t) {
		t.Run(protocol, func(t *testing.T) {
			g.t = t
			h := g.holder()
			proof := h.proving("POST", at+"/private/orders")
			a := g.sendBy(transport, "/private/orders?a=b", proof)
			if a.StatusCode != http.StatusOK || a.Proto != protocol {
				t.Fatalf("%s = %d %s, want 200", a.Proto, a.StatusCode, a.Header.Values("WWW-Authenticate"))
			}
			a.expectHeader(t, "X-User-Id", "alice")
			a.expectHeader(t, "Dpop", "")
			for name, options := range map[string][]option{
				"used before":         {proof},
				"for http":            {h.proving("POST", "http://"+g.address+"/private/orders")},
				"for another host":    {h.proving("POST", "https://localhost/private/orders")},
				"for another path":    {h.proving("POST", at+"/private/orders/7")},
				"for another method":  {h.proving("GET", at+"/private/orders")},
				"two":                 {dpop(h.token, h.proof("POST", at+"/private/orders"), h.proof("POST", at+"/private/orders"))},
				"the token as bearer": {bearer(h.token)},
			} {
				a := g.sendBy(transport, "/private/orders", options...)
				if a.StatusCode != http.StatusUnauthorized || a.reached {
					t.Errorf("a proof %s = %d", name, a.StatusCode)
				}
				if got := a.Header.Values("WWW-Authenticate"); !strings.Contains(strings.Join(got, "|"), `DPoP realm="okta"`) {
					t.Errorf("a proof %s: challenges %q", name, got)
				}
			}
		})
	}
}

// 9449-15: htm and htu are what the client sent, whatever the site makes of it before okta_auth runs.
func TestProofsAreForTheRequestBeforeAnyRewrite(t *testing.T) {
	g := startTelling(t, `handle_path /api/* {
		okta_auth main
		reverse_proxy BACKEND
	}
	handle {
		method /form POST
		rewrite /old/* /new/place?a=b
		uri /v1/* strip_prefix /v1
		okta_auth main
		reverse_proxy BACKEND
	}`)
	h := g.holder()
	for path, served := range map[string]string{
		"/api/orders": "/orders", "/old/orders": "/new/place", "/v1/orders": "/orders", "/form": "/form",
		"/api/a%20b": "/a b", "/api/%C3%A9": "/é", "/api/%41": "/A",
	} {
		a := g.expectReason("ok", "GET", path, h.proving("GET", g.url(path)))
		if a.seen.Path != served {
			t.Errorf("%s was served as %s, want %s: the test proves nothing", path, a.seen.Path, served)
		}
		if method := "POST"; path == "/form" && a.seen.Method != method {
			t.Errorf("%s was served as %s, want %s: the test proves nothing", path, a.seen.Method, method)
		}
	}
	for path, wrong := range map[string]string{
		"/api/orders": "/orders", "/old/orders": "/new/place", "/v1/orders": "/orders", "/api/a%2Fb": "/api/a/b",
	} {
		g.expectUnder("DPoP", "invalid_proof", "GET", path, h.proving("GET", g.url(wrong)))
	}
	g.expectUnder("DPoP", "invalid_proof", "GET", "/form", h.proving("POST", g.url("/form")))
}

// 9449-15, 9449-16: only what a trusted proxy says of the scheme and the host counts, and only where it is plain.
func TestProofsBehindAProxy(t *testing.T) {
	g := startWith(t, behindProxies("okta_auth main"+telling))
	const proxy, stranger, public = "127.0.0.2", "127.0.0.3", "https://api.example.com"
	https, host := header("X-Forwarded-Proto", "https"), header("X-Forwarded-Host", "api.example.com")
	own := g.url("")
	h := g.holder()
	for name, c := range map[string]struct {
		from, reason, target string
		options              []option
	}{
		"the public URL":                     {proxy, "ok", public, []option{https, host}},
		"the public URL with its port":       {proxy, "ok", public + ":443", []option{https, host}},
		"a host with a port":                 {proxy, "ok", public + ":8443", []option{https, header("X-Forwarded-Host", "api.example.com:8443")}},
		"a host in upper case":               {proxy, "ok", public, []option{https, header("X-Forwarded-Host", "API.example.com")}},
		"the scheme alone":                   {proxy, "ok", "https" + own[len("http"):], []option{https}},
		"the host alone":                     {proxy, "ok", "http://api.example.com", []option{host}},
		"nothing":                            {proxy, "ok", own, nil},
		"the inner URL":                      {proxy, "invalid_proof", own, []option{https, host}},
		"another public host":                {proxy, "invalid_proof", "https://api.example.org", []option{https, host}},
		"two hosts":                          {proxy, "ok", own, []option{header("X-Forwarded-Host", "api.example.com, "+g.address)}},
		"two hosts, the first":               {proxy, "invalid_proof", "http://api.example.com", []option{header("X-Forwarded-Host", "api.example.com, "+g.address)}},
		"two hosts in two headers":           {proxy, "ok", own, []option{host, header("X-Forwarded-Host", "api.example.org")}},
		"two schemes":                        {proxy, "ok", own, []option{header("X-Forwarded-Proto", "https, http")}},
		"an empty host":                      {proxy, "ok", own, []option{header("X-Forwarded-Host", "")}},
		"a scheme that is none":              {proxy, "invalid_proof", own, []option{header("X-Forwarded-Proto", "ftp")}},
		"the names of others":                {proxy, "ok", own, []option{header("Forwarded", "proto=https;host=api.example.com"), header("X-Original-Host", "api.example.com"), header("X-Forwarded-Port", "443")}},
		"a stranger's own URL":               {stranger, "ok", own, nil},
		"a stranger's own URL, with headers": {stranger, "ok", own, []option{https, host}},
		"what a stranger invents":            {stranger, "invalid_proof", public, []option{https, host}},
		"the scheme that a stranger invents": {stranger, "invalid_proof", "https" + own[len("http"):], []option{https}},
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			g.from(c.from)
			g.expectReason(c.reason, "GET", "/orders", append(c.options, h.proving("GET", c.target+"/orders"))...)
		})
	}
}

// 9449-15: where nothing tells the public URL, external_url does.
func TestProofsForAnExternalURL(t *testing.T) {
	g := startWith(t, behindProxies(`handle_path /inner/* {
		okta_auth main {
			external_url https://api.example.com/orders
		}
		reverse_proxy BACKEND
	}
	handle {
		okta_auth main {
			external_url https://api.example.com
		}
		reverse_proxy BACKEND
	}`+telling))
	h := g.holder()
	for _, c := range []struct {
		reason, path, target string
		options              []option
	}{
		{"ok", "/a?b=c", "https://api.example.com/a", nil},
		{"ok", "/a", "https://api.example.com:443/a", nil},
		{"invalid_proof", "/a", g.url("/a"), nil},
		{"invalid_proof", "/a", "http://api.example.com/a", nil},
		{"ok", "/inner/a", "https://api.example.com/orders/inner/a", nil}, // before what the client sends, not in its place
		{"ok", "/a", "https://api.example.com/a", []option{header("X-Forwarded-Host", "api.example.org")}},
		{"invalid_proof", "/a", "https://api.example.org/a", []option{header("X-Forwarded-Host", "api.example.org"), header("X-Forwarded-Proto", "https")}},
	} {
		for _, from := range []string{"127.0.0.2", "127.0.0.1"} {
			g.from(from)
			g.expectReason(c.reason, "GET", c.path, append(c.options, h.proving("GET", c.target))...)
		}
	}
}

// The target of a request can be what no htu can name: then nothing is reached, and nothing breaks.
func TestProofsForTargetsThatAreNoPath(t *testing.T) {
	g := startTelling(t, "okta_auth main")
	h := g.holder()
	for _, c := range []struct {
		target, proof string
		passes        bool
	}{
		{"*", g.url("/"), false},                     // net/http answers by itself
		{"http://other.example/", g.url("/"), false}, // no site has this host
		{"//" + g.address + "/", g.url("/"), false},
		{"/" + strings.Repeat("a", 3000), g.url("/"), false},
		{g.url("/"), g.url("/"), true},
		{"/?a=b#c", g.url("/"), true},
		{"/a|b", g.url("/a|b"), true}, // as it was sent, though nobody should
		{"/a|b", g.url("/a%7Cb"), false},
		{"/a%7cb", g.url("/a%7Cb"), true},
		{"/a%21b", g.url("/a%21b"), true},
	} {
		a := g.sendTarget("OPTIONS", c.target, "Authorization: DPoP "+h.token, "DPoP: "+h.proof("OPTIONS", c.proof))
		if a.reached != c.passes || c.passes != (a.StatusCode == http.StatusOK && a.reached) {
			t.Errorf("OPTIONS %.40s = %d, the backend was reached: %t", c.target, a.StatusCode, a.reached)
		}
	}
}
