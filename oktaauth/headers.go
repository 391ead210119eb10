package oktaauth

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/jwt"
	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// IdentityHeader is a header that tells the backend something about the caller.
type IdentityHeader struct {
	// Header is the name of the header. Required.
	Header string `json:"header,omitempty"`

	// Claim is the claim that the header carries, by its dotted path. Lists of texts are joined by a comma, numbers
	// and booleans are JSON text, objects and other lists compact JSON. Bytes outside %x20-7E, "%", in lists "," and
	// a space at either end are percent-encoded. An absent claim leaves no header. Required.
	Claim string `json:"claim,omitempty"`
}

// maxIdentityHeader bounds one identity header, in bytes. Nothing is ever cut off: a larger one is refused.
const maxIdentityHeader = 8 << 10

// identityHeader is one header and where its value comes from.
type identityHeader struct {
	name  string // canonical
	value func(*jwt.Claims) string
}

var defaultHeaders = []identityHeader{
	{"X-User-Id", func(id *jwt.Claims) string { return encode(id.Subject) }},
	{"X-User-Scopes", func(id *jwt.Claims) string { return encodeList(id.Scopes, " ") }},
	{"X-User-Groups", func(id *jwt.Claims) string { return encodeList(id.Groups, ",") }},
	{"X-User-Email", claimValue("email")},
	{"X-Client-Id", func(id *jwt.Claims) string { return encode(id.ClientID) }},
}

// issuerHeader tells apart subjects of several issuers: a subject is unique within its issuer only.
var issuerHeader = identityHeader{"X-User-Issuer", func(id *jwt.Claims) string { return encode(id.Issuer) }}

// headers are the identity headers of one handler.
type headers struct {
	sent    []identityHeader
	removed []string // names in lower case
}

// newHeaders checks a configured list; nil stands for the default one.
func newHeaders(configured []IdentityHeader, severalIssuers bool) (*headers, error) {
	switch {
	case configured != nil && len(configured) == 0:
		return &headers{}, nil
	case configured == nil && severalIssuers:
		return defaultWithIssuer, nil
	case configured == nil:
		return defaultOnly, nil
	}
	var sent []identityHeader
	for _, c := range configured {
		name := http.CanonicalHeaderKey(c.Header)
		switch {
		case !httpguts.ValidHeaderFieldName(c.Header) || strings.ContainsAny(c.Header, "_."):
			return nil, fmt.Errorf("headers: %q cannot be the name of an identity header: use letters, digits and -", c.Header)
		case reserved[name]:
			return nil, fmt.Errorf("headers: %s has a meaning of its own and cannot carry an identity", name)
		case c.Claim == "":
			return nil, fmt.Errorf("headers: %s needs a claim", name)
		case slices.ContainsFunc(sent, func(other identityHeader) bool { return other.name == name }):
			return nil, fmt.Errorf("headers: %s occurs twice", name)
		}
		sent = append(sent, identityHeader{name, claimValue(c.Claim)})
	}
	if severalIssuers && !slices.ContainsFunc(sent, func(other identityHeader) bool { return other.name == issuerHeader.name }) {
		sent = append(sent, issuerHeader)
	}
	return sending(sent), nil
}

// The headers of all handlers that configure none: shared, so that their values are too.
var (
	defaultOnly       = sending(defaultHeaders)
	defaultWithIssuer = sending(append(slices.Clone(defaultHeaders), issuerHeader))
)

// sending returns headers that send some, and remove these and the default ones.
func sending(sent []identityHeader) *headers {
	h := &headers{sent: sent}
	for _, header := range slices.Concat(sent, defaultHeaders, []identityHeader{issuerHeader}) {
		if name := strings.ToLower(header.name); !slices.Contains(h.removed, name) {
			h.removed = append(h.removed, name)
		}
	}
	return h
}

// reserved headers steer HTTP itself or carry credentials.
var reserved = map[string]bool{
	"Authorization": true, "Connection": true, "Content-Encoding": true, "Content-Length": true, "Content-Type": true,
	"Cookie": true, "Dpop": true, "Expect": true, "Host": true, "Keep-Alive": true, "Proxy-Authorization": true,
	"Proxy-Connection": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// remove takes out of the request every identity header that is not ours, in every spelling that a backend could read
// as the same name, from the headers, the trailers, and the list of headers that Connection would have dropped.
func (h *headers) remove(r *http.Request, caller *principal.Caller) {
	if len(h.removed) == 0 {
		return
	}
	var owned []string
	if caller != nil {
		owned = caller.Owned
	}
	for name := range r.Header {
		if h.names(name) && !slices.Contains(owned, name) {
			delete(r.Header, name)
		}
	}
	if _, ok := r.Header["Connection"]; ok {
		h.removeFromConnection(r.Header)
	}
	if r.Trailer != nil {
		h.removeFromTrailer(r)
	}
}

func (h *headers) names(name string) bool { return principal.IsSpelled(name, h.removed) }

// removeFromConnection keeps a client from having our headers dropped as hop-by-hop (RFC 9110 §7.6.1).
func (h *headers) removeFromConnection(header http.Header) {
	var kept []string
	for _, line := range header["Connection"] {
		for option := range strings.SplitSeq(line, ",") {
			if option = strings.TrimSpace(option); option != "" && !h.names(option) {
				kept = append(kept, option)
			}
		}
	}
	if len(kept) == 0 {
		delete(header, "Connection")
		return
	}
	header["Connection"] = []string{strings.Join(kept, ", ")}
}

// removeFromTrailer removes what was announced, and what comes with the end of the body whether announced or not:
// net/http adds it to the same map.
func (h *headers) removeFromTrailer(r *http.Request) {
	clean := func() {
		for name := range r.Trailer {
			if h.names(name) {
				delete(r.Trailer, name)
			}
		}
	}
	clean()
	if r.Body != nil {
		r.Body = &trailerBody{ReadCloser: r.Body, clean: clean}
	}
}

// trailerBody cleans the trailers before anyone who reads the body to its end can see them.
type trailerBody struct {
	io.ReadCloser
	clean func()
}

func (b *trailerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.clean()
	}
	return n, err
}

// set gives the request the identity headers of its caller. Those of another caller, whom an okta_auth before found by
// another token, leave: the backend never sees two halves of two identities.
func (h *headers) set(r *http.Request, caller *principal.Caller, id *jwt.Claims, values []string) {
	if before := caller.Identity; before != nil && before != id && !reflect.DeepEqual(before, id) {
		disown(r, caller)
	}
	if len(values) == 0 {
		return
	}
	caller.Owned = slices.Grow(caller.Owned, len(values))
	for i, header := range h.sent {
		if values[i] == "" {
			continue
		}
		r.Header[header.name] = values[i : i+1 : i+1]
		if !slices.Contains(caller.Owned, header.name) {
			caller.Owned = append(caller.Owned, header.name)
		}
	}
}

// values returns the values of the headers that are sent, empty for those that the identity lacks.
func (h *headers) values(id *jwt.Claims) ([]string, *deny.Refusal) {
	values := make([]string, len(h.sent))
	for i, header := range h.sent {
		values[i] = header.value(id)
		if size := len(values[i]); size > maxIdentityHeader {
			return nil, deny.IdentityTooLarge.Because("%s would have %d bytes, at most %d are sent", header.name, size, maxIdentityHeader)
		}
	}
	return values, nil
}

// disown takes the identity headers that were set off the request again.
func disown(r *http.Request, caller *principal.Caller) {
	for _, name := range caller.Owned {
		delete(r.Header, name)
	}
	caller.Owned = nil
}

// claimValue returns how a header gets its value from a claim.
func claimValue(path string) func(*jwt.Claims) string {
	return func(id *jwt.Claims) string {
		value, ok := principal.Claim(id, path)
		if !ok {
			return ""
		}
		if list, ok := value.([]string); ok {
			return encodeList(list, ",")
		}
		return encode(principal.Text(value))
	}
}

// encode percent-encodes what cannot stand in a header value as it is, so that one decoding gives the text back.
func encode(text string) string { return inText.encode(text) }

// encodeList joins texts. Within them, the separators of lists are encoded.
func encodeList(list []string, separator string) string {
	items := inCommaList
	if separator == " " {
		items = inSpaceList
	}
	if len(list) == 1 {
		return items.encode(list[0])
	}
	var room [512]byte
	joined := room[:0]
	for i, text := range list {
		if i > 0 {
			joined = append(joined, separator...)
		}
		joined = append(joined, items.encode(text)...)
	}
	return string(joined)
}

// alphabet is the bytes that stand for themselves.
type alphabet [256]bool

var inText, inCommaList, inSpaceList = printableBut("%"), printableBut("%,"), printableBut("%, ")

func printableBut(excluded string) *alphabet {
	a := new(alphabet)
	for c := byte(' '); c <= '~'; c++ {
		a[c] = strings.IndexByte(excluded, c) < 0
	}
	return a
}

// encode percent-encodes all other bytes, and a space at either end.
func (a *alphabet) encode(text string) string {
	if a.spells(text) {
		return text
	}
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, len(text)+16)
	for i := range len(text) {
		c := text[i]
		if a[c] && (c != ' ' || i > 0 && i < len(text)-1) {
			b = append(b, c)
		} else {
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return string(b)
}

// spells reports whether nothing in text has to be encoded.
func (a *alphabet) spells(text string) bool {
	for i := range len(text) {
		if !a[text[i]] {
			return false
		}
	}
	return text == "" || text[0] != ' ' && text[len(text)-1] != ' '
}
