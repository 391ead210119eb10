package celpolicy

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/deny"
)

func TestAmbiguousPathsAreRefused(t *testing.T) {
	for _, path := range []string{
		"/a/../b", "/..", "/../", "/a/..", "/./a", "/a/.", "/.", "/a/./b",
		"/...", "/a/..../b", "/a/..%20/b", "/a/%20../b", "/a/.%20.", "/%20", "/a/%20%20/b",
		"/%2e%2e/a", "/%2E%2e/a", "/.%2e/a", "/%2e/a", "/a/%2E", "/a/%2e%2E/b",
		"//a", "/a//b", "/a//", "//", "///a", "/a/%2fb", "/%2f/a",
		"/a%2fb", "/a%2Fb", "/%2F", "/a%2F..%2Fb", "/a%20b%2Fc",
		`/a\b`, "/a%5cb", "/a%5Cb", "/..%5c..%5c", `/\`, "/%5c",
		"/a;b", "/a;b=1/c", "/a%3bb", "/a%3Bb", "/..;/a", "/.;/a", "/;", "/a/..%3b/b",
		"/a%00", "/%00", "/a%00.html", "/a%0a", "/a%0d%0ab", "/a%09b", "/a%1f", "/a%7f", "/a%c2%85b", "/a%C2%9F",
		"/a%ff", "/a%c0%af", "/a%c0%ae", "/a%ed%a0%80", "/a%f8%80%80%80%af", "/%e0%80%af", "/a%c3",
		"/a%252fb", "/a%252Fb", "/a%255cb", "/a%252e%252e/b", "/a%253bb", "/a%2500", "/a%2525", "/a%25252fb", "/%2561dmin", "/a%25c0%25af",
	} {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Errorf("%q is no URI: %v", path, err)
			continue
		}
		if reason := ambiguity(u); reason == "" {
			t.Errorf("%q is not ambiguous", path)
		}
	}
	for _, u := range []url.URL{
		{Path: "*"}, {Path: ""}, {Path: "a"}, {Opaque: "//evil/x", Path: "/a"}, {Path: "/a\x00"}, {Path: "/a\xff"}, {Path: "/a\\b"},
		{Path: "/a/b", RawPath: "/a%2fb"}, // an encoding of Path, and so what goes upstream
	} {
		if reason := ambiguity(&u); reason == "" {
			t.Errorf("%#v is not ambiguous", u)
		}
	}
}

func TestPlainPathsAreNotAmbiguous(t *testing.T) {
	for _, path := range []string{
		"/", "/a", "/a/", "/a/b.c", "/.well-known/x", "/a/..b", "/a../b", "/...a", "/a.", "/a%20/b", "/a%20b", "/%C3%A9/é", "/a+b", "/a,b=c:d@e",
		"/~x/!$&'()*", "/100%25", "/50%25-off", "/%41", "/a%3Fb", "/a%23b", "/%7Bid%7D", "/a%25", "/a%252", "/日本", "/a?x=/../;//",
	} {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Errorf("%q is no URI: %v", path, err)
			continue
		}
		if reason := ambiguity(u); reason != "" {
			t.Errorf("%q is ambiguous: %s", path, reason)
		}
	}
	// A rewrite that leaves a stale RawPath behind: EscapedPath does not use it, and so neither does the backend's URL.
	if reason := ambiguity(&url.URL{Path: "/a", RawPath: "/b%2fc"}); reason != "" {
		t.Errorf("a stale RawPath is ambiguous: %s", reason)
	}
}

func TestMalformedRequestsAreRefused(t *testing.T) {
	for _, test := range []struct {
		method, target string
		want           deny.Reason
	}{
		{"get", "/", deny.MalformedRequest},
		{"Get", "/", deny.MalformedRequest},
		{"GEt", "/", deny.MalformedRequest},
		{"GET", "/?a=%zz", deny.MalformedRequest},
		{"GET", "/?a;b", deny.MalformedRequest},
		{"GET", "/?%", deny.MalformedRequest},
		{"GET", "/?a=%2", deny.MalformedRequest},
		{"GET", "/?" + strings.Repeat("&", 10000), deny.MalformedRequest},
		{"GET", "/a/../b?%", deny.AmbiguousPath},
		{"GET", "/?" + strings.Repeat("&", 9999), deny.OK},
		{"GET", "/?a=%20&b=+&=&&c", deny.OK},
		{"M-SEARCH", "/", deny.OK},
	} {
		r := newRequest(t, test.method, test.target)
		got := deny.OK
		if refusal := checkRequest(r); refusal != nil {
			got = refusal.Reason
		}
		if got != test.want {
			t.Errorf("%s %.30s: %v, want %v", test.method, test.target, got, test.want)
		}
	}
}

func FuzzQueriesAreJudgedAsTheParserDoes(f *testing.F) {
	for _, query := range []string{"", "a=b", "a;b", "%", "%2", "%20", "a=%zz", "&&", "%%", "a=%2%20"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		if _, err := url.ParseQuery(query); (err == nil) != validQuery(query) {
			t.Errorf("validQuery(%q) = %v, ParseQuery says %v", query, validQuery(query), err)
		}
	})
}

// FuzzUnambiguousPathsHaveOneReading looks at what passed the way a backend would.
func FuzzUnambiguousPathsHaveOneReading(f *testing.F) {
	for _, path := range []string{"/", "/a/b", "/%2e", "/a%2fb", "/a%252fb", "/%c0%af", "/a;b", "/é"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || ambiguity(u) != "" {
			return
		}
		if again, err := url.PathUnescape(u.Path); err == nil && again != u.Path {
			t.Errorf("%q decodes once to %q and twice to %q", path, u.Path, again)
		}
		if u.JoinPath().Path != u.Path || strings.ContainsAny(u.Path, ";\\\x00\n") {
			t.Errorf("%q cleaned is %q", path, u.JoinPath().Path)
		}
		if strings.Count(u.EscapedPath(), "/") != strings.Count(u.Path, "/") {
			t.Errorf("%q has other segments than %q", u.EscapedPath(), u.Path)
		}
	})
}

func TestOverrideHeadersAreRemovedInEverySpelling(t *testing.T) {
	r := newRequest(t, "GET", "/")
	r.Trailer = http.Header{"X-Original-Url": nil, "X-Checksum": nil}
	for _, name := range []string{
		"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Original-URI", "X-Original-Method",
		"X-Original-Path", "X-Rewrite-URL", "X-Rewrite-URI", "X-Forwarded-URI", "X-Forwarded-Method", "X-Forwarded-Path",
	} {
		r.Header[name] = []string{"x"}
		r.Header[http.CanonicalHeaderKey(name)] = []string{"x"}
		r.Header[strings.ToLower(name)] = []string{"x"}
		r.Header[strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = []string{"x"}
		r.Header[strings.Replace(name, "-", ".", 1)] = []string{"x"}
		r.Header[strings.Replace(name, "-", "~", 1)] = []string{"x"}
	}
	kept := []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Original", "X-Rewrite-Urls", "Accept", "X-Http-Methods"}
	for _, name := range kept {
		r.Header[name] = []string{"x"}
	}
	removeOverrides(r)
	for _, name := range kept {
		if _, ok := r.Header[name]; !ok {
			t.Errorf("%s was removed", name)
		}
		delete(r.Header, name)
	}
	if len(r.Header) > 0 || len(r.Trailer) != 1 {
		t.Errorf("left over: %v, trailers %v", r.Header, r.Trailer)
	}
}

func TestACleanRequestCostsNoAllocation(t *testing.T) {
	r := newRequest(t, "GET", "/users/alice/orders?page=2&q=a%20b")
	r.Header.Set("X-Forwarded-For", "192.0.2.1")
	if n := testing.AllocsPerRun(100, func() {
		if refusal := checkRequest(r); refusal != nil {
			t.Fatal(refusal)
		}
		removeOverrides(r)
	}); n > 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
