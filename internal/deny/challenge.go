package deny

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// DefaultRealm is the realm of challenges where nothing else is configured.
const DefaultRealm = "okta"

// Challenge is how the refusals of one route are worded. It is immutable once requests use it.
type Challenge struct {
	// Realm is the protection space (RFC 9110 §11.5). Always sent, so that a bare challenge has an auth-param
	// (RFC 6750 §3).
	Realm string

	// DPoP lists the algorithms of proofs, separated by spaces (RFC 9449 §7.1). Empty: the scheme is not accepted.
	DPoP string

	// NoBearer is true where the scheme Bearer is not accepted.
	NoBearer bool

	// ResourceMetadata is the URL of the resource's metadata (RFC 9728 §5.1). Empty: none.
	ResourceMetadata string

	attempted bool // the request tried the scheme DPoP
}

// Default words the refusals of a route on which nothing was configured.
var Default = &Challenge{Realm: DefaultRealm}

// ForDPoP returns the challenge for requests that tried the scheme DPoP: errors are told under that scheme.
func (c *Challenge) ForDPoP() *Challenge {
	attempted := *c
	attempted.attempted = true
	return &attempted
}

// Respond refuses a request: it sets the headers of the answer and returns the error that lets Caddy write it, or
// run the site's handle_errors routes.
func (c *Challenge) Respond(w http.ResponseWriter, f *Refusal) error {
	h := w.Header()
	h.Set("Cache-Control", "no-store") // RFC 9111 §5.2.2.5: nobody replays a refusal
	if table[f.Reason].challenge {
		h["Www-Authenticate"] = c.lines(f)
	}
	if f.Nonce != "" {
		h.Set("DPoP-Nonce", f.Nonce) // RFC 9449 §8
	}
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(f.RetryAfter.Seconds())), 10))
	}
	err := caddyhttp.Error(f.Reason.Status(), f)
	err.StatusCode, err.Err = f.Reason.Status(), f // a cause may be an answer of its own: it is not this one
	return err
}

// lines returns the values of WWW-Authenticate: one line for each scheme that would help, Bearer first. The error is
// told under the scheme that was tried, and the other scheme is offered where it is the way out (RFC 9449 §7.1, §7.2).
func (c *Challenge) lines(f *Refusal) []string {
	bare := table[f.Reason].oauthError == ""
	tried := c.NoBearer || c.DPoP != "" && (c.attempted || f.Reason == InvalidProof || f.Reason == NonceRequired) // DPoP
	lines := make([]string, 0, 2)
	if !c.NoBearer && (bare || !tried) {
		lines = append(lines, c.line("Bearer", f, !bare))
	}
	if c.DPoP != "" && (bare || tried || f.Reason == ProofRequired) {
		lines = append(lines, c.line("DPoP", f, !bare && tried))
	}
	return lines
}

// line returns one challenge (RFC 6750 §3, RFC 9470 §3, RFC 9449 §7.1, RFC 9728 §5.1). Every parameter is a
// quoted-string.
func (c *Challenge) line(scheme string, f *Refusal, tellError bool) string {
	var b strings.Builder
	b.Grow(160)
	b.WriteString(scheme)
	b.WriteString(` realm="`)
	b.WriteString(c.Realm)
	b.WriteByte('"')
	param := func(name, value string) {
		b.WriteString(`, `)
		b.WriteString(name)
		b.WriteString(`="`)
		b.WriteString(value)
		b.WriteByte('"')
	}
	if tellError {
		row := &table[f.Reason]
		param("error", row.oauthError)
		param("error_description", row.description)
		if len(f.Scopes) > 0 {
			param("scope", strings.Join(f.Scopes, " "))
		}
		if len(f.ACRValues) > 0 {
			param("acr_values", strings.Join(f.ACRValues, " "))
		}
		if f.MaxAge > 0 {
			param("max_age", strconv.FormatInt(int64(f.MaxAge/time.Second), 10))
		}
	}
	if c.ResourceMetadata != "" {
		param("resource_metadata", c.ResourceMetadata)
	}
	if scheme == "DPoP" {
		param("algs", c.DPoP)
	}
	return b.String()
}

// CheckQuotable returns an error unless value can stand in a challenge between quotes without escapes: RFC 6750 §3
// allows a scope token %x21, %x23-5B and %x5D-7E, and a realm or description the space besides.
func CheckQuotable(value string, space bool) error {
	if value == "" {
		return fmt.Errorf("must not be empty")
	}
	for i := range len(value) {
		switch b := value[i]; {
		case b == ' ' && space:
		case b <= ' ', b >= 0x7F, b == '"', b == '\\':
			return fmt.Errorf("%q holds a character that cannot stand in a WWW-Authenticate challenge", value)
		}
	}
	return nil
}
