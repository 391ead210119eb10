package oktaauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/jwt"
	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// TokenSource is the one place of a request in which the token is looked for: a header, or a cookie.
type TokenSource struct {
	// Header is the name of the header that carries the token. Required, unless cookie is set.
	Header string `json:"header,omitempty"`

	// Scheme stands before the token in the header, compared without case. Required for Authorization, where DPoP is
	// accepted beside Bearer unless dpop says otherwise. Default for other headers: none, they hold the bare token.
	Scheme string `json:"scheme,omitempty"`

	// Cookie is the name of the cookie that carries the token. It is only taken from requests that pass Go's
	// cross-origin protection (Sec-Fetch-Site, Origin); upgrade requests are held to it as well. Not together with
	// header.
	Cookie string `json:"cookie,omitempty"`
}

// source is a checked TokenSource.
type source struct {
	name   string // for operators
	key    string // of what is taken: another scheme is another credential
	header string // canonical
	scheme string
	cookie string
	dpop   bool // the scheme DPoP is accepted beside
	cross  *http.CrossOriginProtection
}

// provisionSource returns the source of the handler's credentials.
func (h *Handler) provisionSource() (err error) {
	if h.source, err = h.Token.provision(); err != nil {
		return err
	}
	h.source.name = "header " + h.source.header
	if h.source.cookie != "" {
		h.source.name = "cookie " + h.source.cookie
	}
	h.source.key = h.source.name + " " + strings.ToLower(h.source.scheme)
	standard := h.source.header == "Authorization" && strings.EqualFold(h.source.scheme, "Bearer")
	if !standard && h.DPoP != nil && h.DPoP.Mode != ProofOff {
		return errors.New("dpop needs the token in the header Authorization (RFC 9449 §7.1): remove token, or write dpop off")
	}
	h.source.dpop = standard && h.dpop.mode != ProofOff
	return nil
}

// unredacted reports whether Caddy's logs would show the credential: they hide Authorization and cookies only.
func (s *source) unredacted() bool {
	return s.cookie == "" && s.header != "Authorization" && s.header != "Proxy-Authorization"
}

func (t *TokenSource) provision() (*source, error) {
	if t == nil {
		return &source{header: "Authorization", scheme: "Bearer"}, nil
	}
	if t.Cookie != "" {
		if t.Header != "" || t.Scheme != "" {
			return nil, errors.New("token: cookie excludes header and scheme")
		}
		if !httpguts.ValidHeaderFieldName(t.Cookie) { // RFC 6265 §4.1.1: a cookie's name is a token, as a header's
			return nil, fmt.Errorf("token: %q cannot be the name of a cookie", t.Cookie)
		}
		return &source{cookie: t.Cookie, cross: http.NewCrossOriginProtection()}, nil
	}
	s := &source{header: http.CanonicalHeaderKey(t.Header), scheme: t.Scheme}
	switch {
	case t.Header == "":
		return nil, errors.New("token: write header <name> [<scheme>], or cookie <name>")
	case !httpguts.ValidHeaderFieldName(t.Header):
		return nil, fmt.Errorf("token: %q cannot be the name of a header", t.Header)
	case s.header == "Cookie":
		return nil, errors.New("token: write cookie <name> instead of header Cookie")
	case s.scheme != "" && !httpguts.ValidHeaderFieldName(s.scheme): // RFC 9110 §11.1: a scheme is a token
		return nil, fmt.Errorf("token: %q cannot be an authentication scheme", s.scheme)
	case s.header == "Authorization" && s.scheme == "":
		return nil, errors.New("token: the header Authorization needs a scheme: write header Authorization Bearer")
	}
	return s, nil
}

// take returns the request's credential, or nil when there is none. It leaves the request as it is: a token may be there
// to be kept.
func (s *source) take(r *http.Request, caller *principal.Caller) (*principal.Credential, *deny.Refusal) {
	for _, taken := range caller.Taken {
		if taken.Source == s.key {
			return taken, s.check(r, taken.Token)
		}
	}
	found, refusal := s.read(r)
	if found == nil || refusal != nil {
		return found, refusal
	}
	found.Source = s.key
	caller.Taken = append(caller.Taken, found)
	return found, s.check(r, found.Token)
}

// read finds the credential in the request.
func (s *source) read(r *http.Request) (*principal.Credential, *deny.Refusal) {
	if s.cookie != "" {
		values := cookieValues(r, s.cookie)
		switch len(values) {
		case 0:
			return nil, nil
		case 1:
			return &principal.Credential{Token: values[0]}, nil
		}
		return nil, deny.MalformedRequest.Because("the cookie %s occurs %d times", s.cookie, len(values))
	}
	values := r.Header[s.header]
	switch len(values) {
	case 0:
		return nil, nil
	case 1:
	default:
		return nil, deny.MalformedRequest.Because("the header %s occurs %d times", s.header, len(values))
	}
	if s.scheme == "" {
		return &principal.Credential{Token: values[0]}, nil
	}
	found, refusal := s.cutScheme(values[0])
	if s.dpop && found != nil {
		found.Proofs = r.Header["Dpop"]
	}
	return found, refusal
}

// accepts reports whether a credential of this scheme is ours, and whether it is one of RFC 9449.
func (s *source) accepts(scheme string) (ours, dpop bool) {
	if strings.EqualFold(scheme, s.scheme) {
		return true, false
	}
	dpop = s.dpop && strings.EqualFold(scheme, "DPoP")
	return dpop, dpop
}

// cutScheme splits "scheme 1*SP token" (RFC 9110 §11.4). A value of another scheme is no credential of ours, unless
// one of ours is joined to it with a comma.
func (s *source) cutScheme(value string) (*principal.Credential, *deny.Refusal) {
	scheme, rest := splitScheme(value)
	ours, dpop := s.accepts(scheme)
	if !ours {
		for _, part := range strings.Split(value, ",")[1:] {
			scheme, _ := splitScheme(strings.TrimLeft(part, " \t"))
			if joined, _ := s.accepts(scheme); joined {
				return nil, deny.MalformedRequest.Because("the header %s holds two credentials", s.header)
			}
		}
		return nil, nil
	}
	token := strings.TrimLeft(rest, " ")
	if token == "" || len(token) == len(rest) {
		return &principal.Credential{DPoP: dpop}, deny.MalformedRequest.Because("the header %s holds no token after its scheme", s.header)
	}
	return &principal.Credential{Token: token, DPoP: dpop}, nil
}

func splitScheme(value string) (scheme, rest string) {
	end := strings.IndexFunc(value, func(c rune) bool { return !httpguts.IsTokenRune(c) })
	if end < 0 {
		end = len(value)
	}
	return value[:end], value[end:]
}

// check judges the credential by its looks, and where it came from.
func (s *source) check(r *http.Request, token string) *deny.Refusal {
	if !isB64Token(token) {
		return deny.MalformedRequest.Because("the token in the %s holds a character that no token has", s.name)
	}
	if len(token) > jwt.MaxSize {
		return deny.MalformedToken.Because("the token is longer than %d bytes", jwt.MaxSize)
	}
	if s.cookie == "" {
		if hasQueryToken(r.URL.RawQuery) { // RFC 6750 §2: at most one method per request
			return deny.MalformedRequest.Because("a token in the %s and one in the query", s.name)
		}
		return nil
	}
	if err := s.checkOrigin(r); err != nil {
		return deny.CrossOrigin.Because("%w", err)
	}
	return nil
}

// checkOrigin refuses what a foreign site made a browser send. An upgrade starts with a GET, which would count as
// safe, but opens a two-way channel: it is held to the rules of an unsafe method.
func (s *source) checkOrigin(r *http.Request) error {
	if len(r.Header["Upgrade"]) > 0 {
		unsafe := *r
		unsafe.Method = http.MethodPost
		r = &unsafe
	}
	return s.cross.Check(r)
}

// remove takes the credential out of the request.
func (s *source) remove(r *http.Request) {
	if s.cookie == "" {
		delete(r.Header, s.header)
		return
	}
	lines := r.Header["Cookie"]
	kept := make([]string, 0, len(lines))
	for _, line := range lines {
		var rest []string
		for pair := range strings.SplitSeq(line, ";") {
			if pair = strings.TrimSpace(pair); pair != "" && !isCookie(pair, s.cookie) {
				rest = append(rest, pair)
			}
		}
		if len(rest) > 0 {
			kept = append(kept, strings.Join(rest, "; "))
		}
	}
	if len(kept) == 0 {
		delete(r.Header, "Cookie")
		return
	}
	r.Header["Cookie"] = kept
}

// cookieValues returns the raw values of all cookies of one name. Unlike [http.Request.CookiesNamed] it drops none
// that is malformed: a bad token is refused, not overlooked.
func cookieValues(r *http.Request, name string) (values []string) {
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if pair = strings.TrimSpace(pair); isCookie(pair, name) {
				_, value, _ := strings.Cut(pair, "=")
				values = append(values, strings.TrimSpace(value))
			}
		}
	}
	return values
}

func isCookie(pair, name string) bool {
	found, _, _ := strings.Cut(pair, "=")
	return strings.TrimSpace(found) == name
}

// inB64Token are the bytes of a b64token (RFC 6750 §2.1), the alphabet of bearer tokens, before its padding. A table,
// since every byte of every token is looked up in it.
var inB64Token = func() (table [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/") {
		table[c] = true
	}
	return table
}()

// isB64Token reports whether s is a b64token.
func isB64Token(s string) bool {
	body := strings.TrimRight(s, "=")
	for i := range len(body) {
		if !inB64Token[body[i]] {
			return false
		}
	}
	return body != ""
}

// hasQueryToken reports whether the query names an access_token, in any spelling.
func hasQueryToken(query string) bool {
	if query == "" || !strings.Contains(query, "access_token") && !strings.Contains(query, "%") {
		return false
	}
	values, _ := url.ParseQuery(query) // what cannot be parsed is left out, as backends do
	return values.Has("access_token")
}
