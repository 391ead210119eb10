package celpolicy

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

func TestPatternsCoverPaths(t *testing.T) {
	const exact, loose = "exact", "loose"
	for _, test := range []struct {
		kind, pattern string
		yes, no       []string
	}{
		{exact, "/", []string{"/"}, []string{"/a", ""}},
		{exact, "/*", []string{"/", "/a", "/a/b/"}, []string{"", "*", "a"}},
		{exact, "/a", []string{"/a"}, []string{"/", "/a/", "/A", "/ab", "/a/b", "/%61", "a", "/b/a"}},
		{exact, "/a/", []string{"/a/"}, []string{"/a", "/a/b", "/A/"}},
		{exact, "/a/*", []string{"/a", "/a/", "/a/b", "/a/b/c/"}, []string{"/", "/ab", "/A", "/b/a"}},
		{exact, "/a b/é", []string{"/a b/é"}, []string{"/a b/É", "/a%20b/é"}},
		{exact, "/u/{id}", []string{"/u/1", "/u/ä b", "/u/{id}"}, []string{"/u", "/u/", "/u/1/", "/u/1/2", "/U/1"}},
		{exact, "/u/{id}/p", []string{"/u/1/p"}, []string{"/u//p", "/u/1", "/u/1/p/", "/u/1/P", "/u/1/2/p"}},
		{exact, "/u/{id}/*", []string{"/u/1", "/u/1/", "/u/1/2/3"}, []string{"/u", "/u/"}},
		{exact, "/{a}/{b}", []string{"/1/2"}, []string{"/1", "/1/", "/1/2/3"}},
		{loose, "/", []string{"/"}, []string{"/a"}},
		{loose, "/*", []string{"/", "/a"}, nil},
		{loose, "/a", []string{"/a", "/A", "/a/", "/A/"}, []string{"/", "/a/b", "/ab"}},
		{loose, "/a/", []string{"/a", "/A", "/a/", "/A/"}, []string{"/", "/a/b", "/ab"}},
		{loose, "/a/*", []string{"/A", "/a/", "/A/b"}, []string{"/ab"}},
		{loose, "/straße", []string{"/STRAßE", "/straẞe"}, []string{"/strasse"}},
		{loose, "/disk", []string{"/diſK", "/DISK/"}, nil}, // ſ and the Kelvin sign fold to s and k
		{loose, "/u/{id}", []string{"/U/1", "/u/1/"}, []string{"/u", "/u/", "/u/1/2"}},
	} {
		p, err := compilePattern(test.pattern, test.kind == loose)
		if err != nil {
			t.Errorf("pattern %s: %v", test.pattern, err)
			continue
		}
		for _, path := range test.yes {
			if !p.matches(path) {
				t.Errorf("%s %s does not cover %q", test.kind, test.pattern, path)
			}
		}
		for _, path := range test.no {
			if p.matches(path) {
				t.Errorf("%s %s covers %q", test.kind, test.pattern, path)
			}
		}
	}
}

func TestMistakesInPatternsAreErrors(t *testing.T) {
	for pattern, want := range map[string]string{
		"admin":                   "must start with a slash: write /admin",
		"*":                       "must start with a slash",
		"/admin*":                 `"*" only stands for everything below`,
		"/*/x":                    `"*" only stands`,
		"/a/**":                   `"*" only stands`,
		"/a/*/*":                  `"*" only stands`,
		"/a//b":                   "empty segment",
		"//":                      "empty segment",
		"/a/../b":                 "a dot segment",
		"/a/.":                    "a dot segment",
		"/./*":                    "a dot segment",
		"/a%20b":                  "write the character itself",
		"/a;b":                    `";"`,
		`/a\b`:                    "a backslash",
		"/a?x=1":                  "compare request.query",
		"/a#b":                    "no fragment",
		"/a\x00":                  "a control character",
		"/a\xff":                  "invalid UTF-8",
		"/u/{id}.json":            "a parameter is a whole segment",
		"/u/x{id}":                "a parameter is a whole segment",
		"/u/{id":                  "a parameter is a whole segment",
		"/u/{a}{b}":               "a parameter is a whole segment",
		"/u/{}":                   "cannot be a parameter",
		"/u/{1a}":                 "cannot be a parameter",
		"/u/{a-b}":                "cannot be a parameter",
		"/u/{path}":               "one of Caddy's own shorthands",
		"/u/{file}/x":             "one of Caddy's own shorthands",
		"/u/{http.request.host}":  "a shorthand such as {path} or {host}",
		"/u/{http.request.uuid}x": "a shorthand such as {path} or {host}",
		"/u/{id}/{id}":            "{id} occurs twice",
	} {
		for _, loose := range []bool{false, true} {
			if _, err := compilePattern(pattern, loose); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("pattern %q: %v, want …%s…", pattern, err, want)
			}
		}
	}
}

func TestParametersAreDecodedSegments(t *testing.T) {
	r := newRequest(t, "GET", "/users/a%20b/files/%C3%A9")
	p, err := compilePattern("/users/{id}/files/{name}", false)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := maps.Collect(p.values(r.URL.Path)), map[string]string{"id": "a b", "name": "é"}; !maps.Equal(got, want) {
		t.Errorf("parameters = %v, want %v", got, want)
	}
	rules := []Rule{
		{Deny: "one", Path: "/users/{id}/*", When: `params.id == "x"`},
		{Allow: "two", Path: "/users/{who}/files/{name}", When: `params.who == "a b" && params["name"] == "é" && size(params) == 2`},
	}
	if d := compile(t, rules...).Decide(r, user(t), noon); d.Result != Allow {
		t.Errorf("Decide() = %+v, want allow: each rule has its own parameters", d)
	}
}

// TestPatternsAgreeWithSplitting compares the matcher with a slower one on all short paths of a small alphabet.
func TestPatternsAgreeWithSplitting(t *testing.T) {
	var paths []string
	for n := range 4 * 4 * 4 * 4 * 4 {
		path := "/"
		for ; n > 0; n /= 4 {
			path += string("/aAb"[n%4])
		}
		paths = append(paths, path)
	}
	for _, pattern := range []string{"/", "/*", "/a", "/a/", "/a/*", "/{x}", "/{x}/", "/{x}/*", "/a/{x}", "/{x}/a", "/a/{x}/*", "/a/b/{x}"} {
		for _, loose := range []bool{false, true} {
			p, err := compilePattern(pattern, loose)
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range paths {
				if got, want := p.matches(path), splitMatch(pattern, path, loose); got != want {
					t.Errorf("%s (loose %v) matches %s = %v, want %v", pattern, loose, path, got, want)
				}
			}
		}
	}
}

func splitMatch(pattern, path string, loose bool) bool {
	if loose {
		path, pattern = strings.ToLower(path), strings.ToLower(pattern)
	}
	prefix, below := strings.CutSuffix(pattern, "/*")
	if loose && !below && !strings.HasSuffix(path, "//") {
		prefix, path = strings.TrimSuffix(prefix, "/"), strings.TrimSuffix(path, "/")
	}
	want, got := strings.Split(prefix, "/"), strings.Split(path, "/")
	if below && len(got) > len(want) {
		got = got[:len(want)]
	}
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if strings.HasPrefix(want[i], "{") && got[i] != "" {
			continue
		}
		if want[i] != got[i] {
			return false
		}
	}
	return true
}

func ExampleRule_path() {
	for _, path := range []string{"/admin/*", "/admin*"} {
		fmt.Println((&Rule{Allow: "admins", Path: path, When: "true"}).Check())
	}
	// Output:
	// <nil>
	// path /admin*: "*" only stands for everything below, at the end: write /admin/*, or a parameter such as {id} for one segment
}
