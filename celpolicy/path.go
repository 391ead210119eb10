package celpolicy

import (
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// pattern is a compiled path. It is compared with decoded paths.
type pattern struct {
	segments []segment // what stands between the slashes
	below    bool      // a final /*: everything below matches too
	loose    bool      // case, one trailing slash, and dots and spaces at the end of a segment make no difference
}

// segment is a text, or a parameter.
type segment struct {
	text  string
	param string
}

// compilePattern returns nil for no pattern at all, which covers every path.
func compilePattern(path string, loose bool) (*pattern, error) {
	if path == "" {
		return nil, nil
	}
	if err := checkPattern(path); err != nil {
		return nil, err
	}
	p := &pattern{loose: loose}
	rest := path[1:]
	switch {
	case rest == "*":
		p.below = true
		return p, nil
	case strings.HasSuffix(rest, "/*"):
		p.below = true
		rest = strings.TrimSuffix(rest, "/*")
	case loose:
		rest = strings.TrimSuffix(rest, "/")
	}
	for text := range strings.SplitSeq(rest, "/") {
		s, err := compileSegment(text)
		if err != nil {
			return nil, err
		}
		if s.param != "" && slices.Contains(p.params(), s.param) {
			return nil, fmt.Errorf("{%s} occurs twice: rename one", s.param)
		}
		p.segments = append(p.segments, s)
	}
	return p, nil
}

// checkPattern refuses patterns that no path can match, or not the one that was meant.
func checkPattern(path string) error {
	switch {
	case strings.Contains(path, "{http."):
		return errors.New("a shorthand such as {path} or {host} was replaced by Caddy in it: give the parameter another name")
	case path[0] != '/':
		return fmt.Errorf("must start with a slash: write /%s", path)
	case strings.Contains(path, "//"):
		return errors.New("no path has an empty segment: write one slash")
	case strings.Contains(strings.TrimSuffix(path, "/*"), "*"):
		return errors.New(`"*" only stands for everything below, at the end: write /admin/*, or a parameter such as {id} for one segment`)
	case strings.Contains(path, "%"):
		return errors.New("paths are compared decoded: write the character itself instead of %xx")
	case strings.ContainsAny(path, "?#"):
		return errors.New("a path has no query and no fragment: compare request.query in the expression")
	}
	if reason := ambiguousText(path); reason != "" {
		return fmt.Errorf("no request can match it, since requests are refused for %s in their path", reason)
	}
	return nil
}

var (
	validParam = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

	// shorthands are the placeholders that Caddy replaces in a Caddyfile and that could be names of parameters. They
	// are refused in every format, so that a rule means the same in all of them.
	shorthands = strings.Fields(`client_ip dir file host hostport method orig_dir orig_file orig_method orig_path orig_query
		orig_uri path port query remote remote_host remote_port scheme tls_cipher tls_client_certificate_der_base64
		tls_client_certificate_pem tls_client_fingerprint tls_client_issuer tls_client_serial tls_client_subject
		tls_version upstream_hostport uri uuid`)
)

func compileSegment(text string) (segment, error) {
	if name := strings.Trim(text, ":<>"); name != text && (text[0] == ':' || text[0] == '<') {
		return segment{}, fmt.Errorf("%q is no parameter: write {%s}", text, name)
	}
	if !strings.ContainsAny(text, "{}") {
		return segment{text: text}, nil
	}
	name, opened := strings.CutPrefix(text, "{")
	name, closed := strings.CutSuffix(name, "}")
	switch {
	case !opened || !closed || strings.ContainsAny(name, "{}"):
		return segment{}, fmt.Errorf("%q: a parameter is a whole segment: write /{id}/, and compare parts of it in the expression", text)
	case !validParam.MatchString(name):
		return segment{}, fmt.Errorf("{%s} cannot be a parameter: write letters, digits and _, a letter first", name)
	case slices.Contains(shorthands, name):
		return segment{}, fmt.Errorf("{%s} is one of Caddy's own shorthands: give the parameter another name", name)
	}
	return segment{param: name}, nil
}

// params returns the names of the parameters.
func (p *pattern) params() (names []string) {
	if p == nil {
		return nil
	}
	for _, s := range p.segments {
		if s.param != "" {
			names = append(names, s.param)
		}
	}
	return names
}

// matches reports whether the pattern covers a decoded path.
func (p *pattern) matches(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	rest, more := path[1:], true
	for _, s := range p.segments {
		if !more {
			return false
		}
		var text string
		text, rest, more = strings.Cut(rest, "/")
		switch {
		case s.param != "":
			if text == "" {
				return false
			}
		case text == s.text:
		case !p.loose || !sameName(text, s.text):
			return false
		}
	}
	return !more || p.below || p.loose && rest == ""
}

// sameName reports whether some backend takes two segments for one: it might compare them in lower or in upper case, which
// is more than Unicode's folding ("İ" in lower case is "i"), and Windows knows no dots and spaces at the end.
func sameName(a, b string) bool {
	a, b = strings.TrimRight(a, ". "), strings.TrimRight(b, ". ")
	switch {
	case strings.EqualFold(a, b):
		return true
	case isASCII(a) && isASCII(b):
		return false
	}
	return strings.EqualFold(strings.ToLower(a), strings.ToLower(b)) || strings.EqualFold(strings.ToUpper(a), strings.ToUpper(b))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// values yields the parameters of a path that the pattern matches, by name.
func (p *pattern) values(path string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		if p == nil {
			return
		}
		rest := strings.TrimPrefix(path, "/")
		for _, s := range p.segments {
			var text string
			text, rest, _ = strings.Cut(rest, "/")
			if s.param != "" && !yield(s.param, text) {
				return
			}
		}
	}
}

// ambiguousText reports what in a decoded path, or a pattern, backends read in more than one way.
func ambiguousText(path string) string {
	segment := 0 // where the present segment starts
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '/':
			if isDots(path[segment:i]) {
				return "a dot segment"
			}
			if i > 0 && path[i-1] == '/' {
				return "an empty segment"
			}
			segment = i + 1
		case c == '\\':
			return "a backslash"
		case c == ';':
			return `";"`
		case c < ' ' || c == 0x7F:
			return "a control character"
		case c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]):
			return "a double encoding"
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRuneInString(path[i:])
			if r == utf8.RuneError && size == 1 {
				return "invalid UTF-8"
			}
			if unicode.IsControl(r) {
				return "a control character"
			}
			i += size - 1
		}
	}
	if isDots(path[segment:]) {
		return "a dot segment"
	}
	return ""
}

// isDots reports whether a segment is only dots, or only dots and spaces to backends that drop the spaces.
func isDots(segment string) bool { return segment != "" && strings.Trim(segment, ". ") == "" }

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
