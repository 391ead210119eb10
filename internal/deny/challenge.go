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
}

// Default words the refusals of a route on which nothing was configured.
var Default = &Challenge{Realm: DefaultRealm}

// Respond refuses a request: it sets the headers of the answer and returns the error that lets Caddy write it, or
// run the site's handle_errors routes.
func (c *Challenge) Respond(w http.ResponseWriter, f *Refusal) error {
	h := w.Header()
	h.Set("Cache-Control", "no-store") // RFC 9111 §5.2.2.5: nobody replays a refusal
	if table[f.Reason].challenge {
		h.Set("WWW-Authenticate", c.header(f))
	}
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(f.RetryAfter.Seconds())), 10))
	}
	err := caddyhttp.Error(f.Reason.Status(), f)
	err.StatusCode, err.Err = f.Reason.Status(), f // a cause may be an answer of its own: it is not this one
	return err
}

// header returns the value of WWW-Authenticate (RFC 6750 §3, RFC 9470 §3). Every parameter is a quoted-string.
func (c *Challenge) header(f *Refusal) string {
	var b strings.Builder
	b.Grow(160)
	b.WriteString(`Bearer realm="`)
	b.WriteString(c.Realm)
	b.WriteByte('"')
	param := func(name, value string) {
		b.WriteString(`, `)
		b.WriteString(name)
		b.WriteString(`="`)
		b.WriteString(value)
		b.WriteByte('"')
	}
	row := &table[f.Reason]
	if row.oauthError != "" {
		param("error", row.oauthError)
		param("error_description", row.description)
	}
	if len(f.Scopes) > 0 {
		param("scope", strings.Join(f.Scopes, " "))
	}
	if len(f.ACRValues) > 0 {
		param("acr_values", strings.Join(f.ACRValues, " "))
	}
	if f.MaxAge > 0 {
		param("max_age", strconv.FormatInt(int64(f.MaxAge/time.Second), 10))
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
