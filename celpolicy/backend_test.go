package celpolicy

import (
	"math/rand/v2"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// backends turn what goes upstream into the path that they serve. Each stands for servers that are in use.
var backends = map[string]func(raw string) string{
	"decodes":                         decoded,
	"does not decode":                 func(raw string) string { return raw },
	"decodes twice":                   func(raw string) string { return decoded(decoded(raw)) },
	"removes dot segments":            func(raw string) string { return decoded(withoutDots(raw)) },
	"decodes, then removes them":      func(raw string) string { return withoutDots(decoded(raw)) },
	"removes them, decodes and again": func(raw string) string { return withoutDots(decoded(withoutDots(raw))) },
	"merges slashes":                  func(raw string) string { return mergedSlashes(decoded(raw)) },
	"merges slashes, then decodes":    func(raw string) string { return decoded(mergedSlashes(raw)) },
	"decodes, then cleans":            func(raw string) string { return cleaned(decoded(raw)) },
	"cuts parameters of segments":     func(raw string) string { return withoutDots(decoded(cutParameters.ReplaceAllString(raw, ""))) },
	"decodes, then cuts parameters":   func(raw string) string { return withoutDots(cutParameters.ReplaceAllString(decoded(raw), "")) },
	"cuts the path at a parameter":    func(raw string) string { return until(decoded(raw), ";") },
	"turns backslashes":               func(raw string) string { return withoutDots(mergedSlashes(strings.ReplaceAll(decoded(raw), `\`, "/"))) },
	"ends at NUL":                     func(raw string) string { return until(decoded(raw), "\x00") },
	"ends at the end of a line":       func(raw string) string { return until(decoded(raw), "\r\n") },
	"drops control characters":        func(raw string) string { return strings.Map(withoutControls, decoded(raw)) },
	"reads overlong UTF-8":            func(raw string) string { return withoutDots(overlong.Replace(decoded(raw))) },
	"drops invalid UTF-8":             func(raw string) string { return strings.ToValidUTF8(decoded(raw), "") },
	"keeps encoded slashes":           func(raw string) string { return decoded(encodedSlash.ReplaceAllString(raw, "%25$1")) },
	"decodes segments":                decodedSegments,
	"knows no case":                   func(raw string) string { return strings.ToLower(decoded(raw)) },
	"knows no case, in upper case":    func(raw string) string { return strings.ToUpper(decoded(raw)) },
	"serves files of a folded volume": func(raw string) string { return withoutDots(strings.ToLower(mergedSlashes(decoded(raw)))) },
	"serves files of Windows": func(raw string) string {
		return strings.ToLower(mergedSlashes(windows.ReplaceAllString(strings.ReplaceAll(decoded(raw), `\`, "/"), "$1")))
	},
	"does not care for the last slash": func(raw string) string { return "/" + strings.Trim(decoded(raw), "/") },
}

// loosely lists the backends for which one place has many names. No exact rule can cover that: what an allow rule covers
// is one of the names, and what deny and step_up rules cover is all of them.
var loosely = []string{"knows no case", "knows no case, in upper case", "serves files of a folded volume", "serves files of Windows", "does not care for the last slash"}

var (
	cutParameters = regexp.MustCompile(`;[^/]*`)
	encoding      = regexp.MustCompile(`%[0-9a-fA-F]{2}`)
	slashes       = regexp.MustCompile(`/+`)
	encodedSlash  = regexp.MustCompile(`%(2[fF])`)
	windows       = regexp.MustCompile(`[. ]+(/|$)`)
	overlong      = strings.NewReplacer("\xc0\xaf", "/", "\xc0\xae", ".", "\xe0\x80\xaf", "/", "\xc1\x9c", `\`)
)

// decoded decodes once; what is no encoding stays.
func decoded(s string) string {
	return encoding.ReplaceAllStringFunc(s, func(code string) string {
		text, _ := url.PathUnescape(code)
		return text
	})
}

func decodedSegments(raw string) string {
	segments := strings.Split(raw, "/")
	for i, s := range segments {
		segments[i] = decoded(s)
	}
	return strings.Join(segments, "/")
}

// withoutDots removes dot segments as RFC 3986 §5.2.4 does, so that empty segments stay.
func withoutDots(s string) string {
	var kept []string
	segments := strings.Split(strings.TrimPrefix(s, "/"), "/")
	for i, segment := range segments {
		switch last := i == len(segments)-1; {
		case segment == ".." && len(kept) > 0:
			kept = kept[:len(kept)-1]
			fallthrough
		case segment == "..", segment == ".":
			if last {
				kept = append(kept, "")
			}
		default:
			kept = append(kept, segment)
		}
	}
	return "/" + strings.Join(kept, "/")
}

func mergedSlashes(s string) string { return slashes.ReplaceAllString(s, "/") }

func cleaned(s string) string {
	clean := path.Clean("/" + s)
	if strings.HasSuffix(s, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

func until(s, any string) string {
	if i := strings.IndexAny(s, any); i >= 0 {
		return s[:i]
	}
	return s
}

func withoutControls(r rune) rune {
	if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
		return -1
	}
	return r
}

// pieces are what spellings are made of: texts that rules name, and everything that makes two readers disagree.
var pieces = []string{
	"/", "/", "/", "a", "A", "public", "admin", "ADMIN", "adm", "in", "%61dmin", "%41", "adm%C4%B0n", "adm%C4%B1n", "adminİ", "%E2%84%AA", "k", "ſecret", "secret", "%C5%BFecret",
	".", "..", "...", "%2e", "%2E%2e", ".%2e", "%252e", "/./", "/../", "//", "/..;/", "/.;x=1/", ";", ";x=/..", "%3b", "%3B..",
	"%2f", "%2F", "%252f", "%5c", "%5C..%5c", "%255c", "%25", "%2525", "%25%32%66", "%", "%zz", "%2", "%u002f",
	"%00", "%0a", "%0d%0a", "%09", "%7f", "%c2%85", "%c0%af", "%c0%ae", "%e0%80%af", "%c1%9c", "%ff", "%ed%a0%80", "%ef%bc%8f", "%e2%88%95",
	"%20", "+", " ", "?", "?/../x", "#", "%3f", "%23", "*", ":", "@", "~", "é", "%C3%A9", "e%CC%81", "|", "{", "}", "[", "^", "`", "\"", "<", "\\", "a.", "a%20", "::$DATA", "\x00",
}

// spelling returns a request target.
func spelling(random *rand.Rand) string {
	var b strings.Builder
	b.WriteByte('/')
	for range 1 + random.IntN(6) {
		b.WriteString(pieces[random.IntN(len(pieces))])
	}
	return b.String()
}

// upstream returns what the policy judges and what goes upstream, as net/http reads and Caddy's reverse_proxy writes it.
func upstream(target string) (judged, raw string, ok bool) {
	u, err := url.ParseRequestURI(target)
	if err != nil || checkRequest(&http.Request{Method: "GET", URL: u}) != nil {
		return "", "", false
	}
	raw, _, _ = strings.Cut((&url.URL{Scheme: "http", Host: "backend", Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}).RequestURI(), "?")
	return u.Path, raw, true
}

// checkServed compares what is judged with what each backend serves.
func checkServed(t *testing.T, target string) (judged bool) {
	t.Helper()
	want, raw, ok := upstream(target)
	if !ok {
		return false
	}
	for name, serves := range backends {
		got := serves(raw)
		if name == "does not decode" {
			got = decoded(got) // it serves one place under several names, none of which is another place's
		}
		if slices.Contains(loosely, name) {
			checkNames(t, target, name, want, got)
		} else if got != want {
			t.Errorf("%q is judged as %q, and a backend that %s serves %q", target, want, name, got)
		}
	}
	return true
}

// checkNames wants every deny rule that names what is served to cover what is judged.
func checkNames(t *testing.T, target, backend, judged, served string) {
	t.Helper()
	for rule, p := range denied() {
		if p.matches(served) && !p.matches(judged) {
			t.Errorf("%q is served as %q by a backend that %s, which deny %s covers; it does not cover %q, which is judged", target, served, backend, rule, judged)
		}
	}
}

var denied = sync.OnceValue(func() map[string]*pattern {
	patterns := make(map[string]*pattern)
	for _, rule := range []string{"/admin", "/admin/*", "/secret", "/a/secret/*", "/k/*", "/a/admin", "/public/{x}/secret", "/café", "/"} {
		patterns[rule], _ = compilePattern(rule, true)
	}
	return patterns
})

// TestTheJudgedPathIsTheServedOne goes through thousands of spellings. An attacker who finds one that is judged as one
// path and served as another gets past every rule that names a path.
func TestTheJudgedPathIsTheServedOne(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	judged, refused := 0, 0
	for range 20_000 {
		if checkServed(t, spelling(random)) {
			judged++
		} else {
			refused++
		}
	}
	if judged < 2000 || refused < 2000 {
		t.Errorf("%d spellings were judged and %d refused: the test shows little", judged, refused)
	}
}

// TestTheSpellingsTellBackendsApart makes sure that the test above could fail: without the check, every backend reads some
// spelling in its own way.
func TestTheSpellingsTellBackendsApart(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	differs := make(map[string]bool)
	for range 20_000 {
		u, err := url.ParseRequestURI(spelling(random))
		if err != nil {
			continue
		}
		for name, serves := range backends {
			differs[name] = differs[name] || serves(u.EscapedPath()) != u.Path
		}
	}
	for name := range backends {
		if !differs[name] && name != "decodes" && name != "decodes segments" {
			t.Errorf("no spelling tells a backend that %s from one that decodes", name)
		}
	}
}

func FuzzTheJudgedPathIsTheServedOne(f *testing.F) {
	for _, target := range []string{"/", "/admin", "/a/..%2fadmin", "/public/..;/admin", "/%2561dmin", "/adm%C4%B0n", "/admin.", "/admin%20", "//admin", "/a%5c..%5cadmin", "/a?b/../c"} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) { checkServed(t, target) })
}

// FuzzEveryPatternCoversAPath shows that no pattern compiles that no request can match.
func FuzzEveryPatternCoversAPath(f *testing.F) {
	for _, pattern := range []string{"/", "/*", "/a/{id}/*", "/a b", "/é", "/a+b", "/{a}/{b}", "/a/", "/100%", "/a:b@c"} {
		f.Add(pattern, false)
		f.Add(pattern, true)
	}
	parameter := regexp.MustCompile(`\{[A-Za-z0-9_]+\}`)
	f.Fuzz(func(t *testing.T, pattern string, loose bool) {
		p, err := compilePattern(pattern, loose)
		if err != nil || p == nil {
			return
		}
		place := parameter.ReplaceAllString(strings.TrimSuffix(pattern, "*"), "x")
		judged, _, ok := upstream((&url.URL{Path: place}).EscapedPath())
		if !ok || !utf8.ValidString(place) || !p.matches(judged) {
			t.Errorf("pattern %q does not cover %q, read as %q", pattern, place, judged)
		}
	})
}
