package celpolicy

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// checkRequest refuses a request that a backend could read differently than the rules do. A clean one costs no
// allocation.
func checkRequest(r *http.Request) *deny.Refusal {
	if reason := ambiguity(r.URL); reason != "" {
		return deny.AmbiguousPath.Because("the path has %s", reason)
	}
	if hasLowerCase(r.Method) {
		return deny.MalformedRequest.Because("the method has a lower-case letter")
	}
	if !validQuery(r.URL.RawQuery) {
		return deny.MalformedRequest.Because("the query cannot be parsed")
	}
	return nil
}

// hasLowerCase reports whether a method could be read as another one. RFC 9110 §9.1: methods are case-sensitive; not every
// backend knows.
func hasLowerCase(method string) bool {
	for i := range len(method) {
		if c := method[i]; 'a' <= c && c <= 'z' {
			return true
		}
	}
	return false
}

// ambiguity reports what in the path of u backends read in more than one way. EscapedPath is what goes upstream: it is
// an encoding of Path, so what Path shows need not be looked for twice; only an encoded slash does not show there.
func ambiguity(u *url.URL) string {
	if u.Opaque != "" || u.Path == "" || u.Path[0] != '/' {
		return "no slash at its start"
	}
	if reason := ambiguousText(u.Path); reason != "" {
		return reason
	}
	for escaped := u.EscapedPath(); ; {
		i := strings.IndexByte(escaped, '%')
		if i < 0 || i+2 >= len(escaped) {
			return ""
		}
		if escaped[i+1] == '2' && escaped[i+2]|0x20 == 'f' {
			return "an encoded slash"
		}
		escaped = escaped[i+3:]
	}
}

// maxQueryParams is how many parameters url.ParseQuery takes by default.
const maxQueryParams = 10000

// validQuery reports whether url.ParseQuery takes a query as a whole. What it cannot read it leaves out, and a deny
// rule would not see it.
func validQuery(query string) bool {
	params := 1
	for i := 0; i < len(query); i++ {
		switch query[i] {
		case ';':
			return false
		case '&':
			params++
		case '%':
			if i+2 >= len(query) || !isHex(query[i+1]) || !isHex(query[i+2]) {
				return false
			}
		}
	}
	return params <= maxQueryParams
}

// overrides are the headers by which some backends let a client change the method or the path after the decision.
var overrides = []string{
	"x-http-method-override", "x-http-method", "x-method-override",
	"x-original-url", "x-original-uri", "x-original-method", "x-original-path",
	"x-rewrite-url", "x-rewrite-uri",
	"x-forwarded-uri", "x-forwarded-method", "x-forwarded-path",
}

// removeOverrides removes them from the headers and the trailers of a request.
func removeOverrides(r *http.Request) {
	for _, header := range []http.Header{r.Header, r.Trailer} {
		for name := range header {
			if principal.IsSpelled(name, overrides) {
				delete(header, name)
			}
		}
	}
}
