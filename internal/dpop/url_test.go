package dpop

import (
	"strings"
	"testing"
)

// 9449-12, 9449-14: what is equal and what is not, one line each.
func TestNormalise(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"https://h", "https://h/"},
		{"https://h/", "https://h/"},
		{"https://h?x", "https://h/"},
		{"https://h#x", "https://h/"},
		{"https://h/#x?y", "https://h/"},
		{"https://h/?é", "https://h/"},
		{"https://h/#%zz", "https://h/"},
		{"HTTPS://H.Example/A", "https://h.example/A"},
		{"https://h:443/a", "https://h/a"},
		{"https://h:/a", "https://h/a"},
		{"http://h:80/a", "http://h/a"},
		{"http://h:443/a", "http://h:443/a"},
		{"https://h:4430/a", "https://h:4430/a"},
		{"https://h:8443/a", "https://h:8443/a"},
		{"https://[::1]/a", "https://[::1]/a"},
		{"https://[::443]/a", "https://[::443]/a"},
		{"https://[2001:DB8::1]:443/a", "https://[2001:db8::1]/a"},
		{"https://127.0.0.1:8443/", "https://127.0.0.1:8443/"},
		{"https://h/%61%5A%30%2d%2E%5f%7e", "https://h/aZ0-._~"},
		{"https://h/%2f%3a%20%c3%a9", "https://h/%2F%3A%20%C3%A9"},
		{"https://h/%25%32%66", "https://h/%252f"}, // decoded once only
		{"https://h/%252f", "https://h/%252f"},
		{"https://h/a%2Fb|c", "https://h/a%2Fb|c"},
		{"https://h/a/./b", "https://h/a/b"},
		{"https://h/a/../b", "https://h/b"},
		{"https://h/a/%2e%2e/b", "https://h/b"},
		{"https://h/a/..%2Fb", "https://h/a/..%2Fb"},
		{"https://h/a/.", "https://h/a/"},
		{"https://h/a/..", "https://h/"},
		{"https://h/a/b/..", "https://h/a/"},
		{"https://h/..", "https://h/"},
		{"https://h/../../a", "https://h/a"},
		{"https://h/.a/..b/...", "https://h/.a/..b/..."},
		{"https://h//a//b/", "https://h//a//b/"},
		{"https://h//../a", "https://h/a"},
		{"https://h//..//a", "https://h//a"},
		{"https://h/a//../b", "https://h/a/b"},
		{"https://h/a;x=1/b,c:d@e", "https://h/a;x=1/b,c:d@e"},
	} {
		if got, err := normalise(test.text); err != nil || got != test.want {
			t.Errorf("normalise(%q) = %q, %v, want %q", test.text, got, err, test.want)
		}
	}
	for _, text := range []string{
		"", "/", "/a", "h/a", "h:443", "//h/a", "https:", "https:/a", "https:///a", "https://:443/a", "https://?x", "ftp://h/a", "wss://h/a",
		"https://u@h/a", "https://u:p@h/a", "https://@h/a", "https://h/%", "https://h/%4", "https://h/%zz", "https://h/a b",
		" https://h/a", "https://h/a\n", "https://h/\x00", "https://h/\x7f", "https://h/é", "https://\u212a/", "https://é/",
		"https://h%41/", "https://h%c3%a9/", "https://h\xff/a", "https://[fe80::1%25en0]/", "https://h:x/", "https://h::443/", "https://[::1/", "https://a b/",
	} {
		if got, err := normalise(text); err == nil {
			t.Errorf("normalise(%q) = %q, want an error", text, got)
		}
	}
}

// What a URL is turned into stays as it is and has nothing left to normalise.
func FuzzNormalise(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.request(f).URL)
	}
	for _, text := range []string{"https://h/a/%2e%2E/./b//..", "https://[::1]:443/%2f?x#y", "http://H:80", "https://h/a|b/..", "https://h:/%7e"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := normalise(text)
		if err != nil {
			if got != "" {
				t.Fatalf("normalise(%q) = %q beside an error, want nothing", text, got)
			}
			return
		}
		if again, err := normalise(got); err != nil || again != got {
			t.Fatalf("normalise(%q) = %q, which becomes %q, %v", text, got, again, err)
		}
		if more, err := normalise(got + "?query#fragment"); err != nil || more != got {
			t.Fatalf("with a query, %q becomes %q, %v", got, more, err)
		}
		path := got[strings.Index(got, "://")+3:]
		host, path, ok := strings.Cut(path, "/")
		if !ok || host == "" || host != strings.ToLower(host) || strings.ContainsAny(got, "?# ") {
			t.Fatalf("normalise(%q) = %q, which is not in its normal form", text, got)
		}
		for _, segment := range strings.Split(path, "/") {
			if segment == "." || segment == ".." {
				t.Fatalf("normalise(%q) = %q, which has dot segments", text, got)
			}
		}
		// A path that needs no decoding loses its dot segments and nothing else.
		if end := strings.IndexAny(text, "?#"); end >= 0 {
			text = text[:end]
		}
		if _, sent, ok := strings.Cut(text[strings.Index(text, "://")+3:], "/"); ok && !strings.Contains(text, "%") {
			if want := withoutDots("/" + sent); "/"+path != want {
				t.Errorf("the path of %q becomes %q, want %q", text, "/"+path, want)
			}
		}
	})
}

// withoutDots is the algorithm of RFC 3986 §5.2.4 to the letter, for a path that starts with a slash.
func withoutDots(in string) (out string) {
	for in != "" {
		switch {
		case strings.HasPrefix(in, "/./"): // B
			in = in[2:]
		case in == "/.":
			in = "/"
		case strings.HasPrefix(in, "/../") || in == "/..": // C
			in = "/" + strings.TrimPrefix(in[3:], "/")
			out = out[:max(strings.LastIndexByte(out, '/'), 0)]
		default: // E
			end := len(in)
			if next := strings.IndexByte(in[1:], '/'); next >= 0 {
				end = next + 1
			}
			out, in = out+in[:end], in[end:]
		}
	}
	return out
}
