package dpop

import (
	"errors"
	"net/url"
	"strings"
)

var errURL = errors.New("not an absolute http or https URL in ASCII without user information")

// defaultPorts are left out of a normalised URL (RFC 3986 §6.2.3).
var defaultPorts = map[string]string{"http": ":80", "https": ":443"}

// normalise returns a URL without query and fragment, in the form in which equal ones are equal texts
// (RFC 9449 §4.3; RFC 3986 §6.2.2, §6.2.3): scheme and host in lower case, no default port, percent-encoding only
// where it is needed and in upper case, no dot segments, "/" for the empty path. It never turns one octet of the path
// into another: %2F stays apart from "/".
func normalise(text string) (string, error) {
	if end := strings.IndexAny(text, "?#"); end >= 0 {
		text = text[:end]
	}
	if strings.ContainsFunc(text, notPlain) {
		return "", errURL
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return "", errURL
	}
	if strings.ContainsFunc(u.Host, func(c rune) bool { return c == '%' || notPlain(c) }) {
		return "", errURL // url.Parse decodes some of what a host may hold by RFC 3986; DNS knows none of it
	}
	port, ok := defaultPorts[u.Scheme]
	if !ok {
		return "", errURL
	}
	path := u.RawPath
	if path == "" {
		path = u.EscapedPath() // what was sent, when RawPath is empty
	}
	host := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(u.Host), port), ":")
	return u.Scheme + "://" + host + removeDots(decodeUnreserved(path)), nil
}

func notPlain(c rune) bool { return c <= ' ' || c > '~' }

// decodeUnreserved normalises the percent-encoding of a path that url.Parse took (RFC 3986 §6.2.2.1, §6.2.2.2).
func decodeUnreserved(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			b.WriteByte(path[i])
			continue
		}
		octet := path[i : i+3]
		i += 2
		if char, _ := url.PathUnescape(octet); isUnreserved(char[0]) {
			b.WriteString(char)
		} else {
			b.WriteString(strings.ToUpper(octet))
		}
	}
	return b.String()
}

func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// removeDots removes the segments "." and ".." of a path (RFC 3986 §5.2.4). Unlike path.Clean it keeps empty ones.
func removeDots(path string) string {
	if !strings.Contains(path, "/.") {
		return "/" + strings.TrimPrefix(path, "/")
	}
	var kept []string
	segments := strings.Split(path, "/")[1:]
	for i, segment := range segments {
		if segment != "." && segment != ".." {
			kept = append(kept, segment)
			continue
		}
		if segment == ".." && len(kept) > 0 {
			kept = kept[:len(kept)-1]
		}
		if i == len(segments)-1 {
			kept = append(kept, "") // it named a folder
		}
	}
	return "/" + strings.Join(kept, "/")
}
