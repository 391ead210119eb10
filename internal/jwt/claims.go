package jwt

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Claims is the typed view of a verified set of claims. Every claim that anything here reads has one exact type
// (RFC 7519 §4.1, OKTA for the rest); a claim of another type makes the whole token malformed. Immutable: requests
// that bring a new token at the same time share one value.
type Claims struct {
	Issuer   string // iss
	Subject  string // sub
	ClientID string // cid, or client_id (RFC 9068 §2.2)
	UserID   string // uid, Okta's stable user id; empty when no user is bound
	ID       string // jti
	ACR      string // acr
	Scopes   []string
	Groups   []string
	Audience []string
	AMR      []string

	ExpiresAt       time.Time // exp; zero when absent, as the others
	NotBefore       time.Time // nbf
	IssuedAt        time.Time // iat
	AuthenticatedAt time.Time // auth_time

	// Confirmation is the cnf object (RFC 7800): the token is bound to a key of its sender. Nil when absent.
	Confirmation map[string]any

	// Foreign names a claim that access tokens never carry, when there is one: nonce, at_hash, events.
	Foreign string

	typed  uint16 // the claims of fields that the token has, as their fields say them; bits are places in fields
	others string // names and values of the claims of no field, and of those that their fields do not say exactly, packed
}

// fields are the claims that have one.
var fields = []struct {
	name string
	get  func(*Claims) any
}{
	{"iss", func(c *Claims) any { return c.Issuer }},
	{"sub", func(c *Claims) any { return c.Subject }},
	{"cid", func(c *Claims) any { return c.ClientID }},
	{"client_id", func(c *Claims) any { return c.ClientID }},
	{"uid", func(c *Claims) any { return c.UserID }},
	{"jti", func(c *Claims) any { return c.ID }},
	{"acr", func(c *Claims) any { return c.ACR }},
	{"amr", func(c *Claims) any { return c.AMR }},
	{"aud", func(c *Claims) any { return c.Audience }},
	{"groups", func(c *Claims) any { return c.Groups }},
	{"scp", func(c *Claims) any { return c.Scopes }},
	{"exp", func(c *Claims) any { return c.ExpiresAt.Unix() }},
	{"nbf", func(c *Claims) any { return c.NotBefore.Unix() }},
	{"iat", func(c *Claims) any { return c.IssuedAt.Unix() }},
	{"auth_time", func(c *Claims) any { return c.AuthenticatedAt.Unix() }},
}

var fieldOf = func() map[string]int {
	places := make(map[string]int, len(fields))
	for i, f := range fields {
		places[f.name] = i
	}
	return places
}()

// Get returns a claim, as [DecodeObject] does.
func (c *Claims) Get(name string) (any, bool) {
	if i, ok := fieldOf[name]; ok && c.typed&(1<<i) != 0 {
		return fields[i].get(c), true
	}
	for u := unpacker(c.others); u != ""; {
		if other, value := u.text(), unpacker(u.text()); other == name {
			return value.value(), true
		}
	}
	return nil, false
}

// Has reports whether the token has a claim.
func (c *Claims) Has(name string) bool {
	_, ok := c.Get(name)
	return ok
}

// All returns all claims, as [DecodeObject] does. The map is the caller's.
func (c *Claims) All() map[string]any {
	all := make(map[string]any, len(fields))
	for u := unpacker(c.others); u != ""; {
		name, value := u.text(), unpacker(u.text())
		all[name] = value.value()
	}
	for i, f := range fields {
		if c.typed&(1<<i) != 0 {
			all[f.name] = f.get(c)
		}
	}
	return all
}

// keep keeps what the fields do not say.
func (c *Claims) keep(raw Object) {
	var packed, value [512]byte
	others := packed[:0]
	for _, m := range raw {
		i, exact := fieldOf[m.Name]
		switch v := m.Value.(type) {
		case string: // a list may be written as a text, and an empty text is as an absent one
			exact = exact && v != "" && m.Name != "aud" && m.Name != "groups"
		case []string, int64:
		default:
			exact = false
		}
		if exact {
			c.typed |= 1 << i
		} else {
			others = appendText(appendText(others, m.Name), string(appendValue(value[:0], m.Value)))
		}
	}
	c.others = string(others)
}

// ParseClaims types the claims of raw, as [Parse] or [DecodeObject] returned it.
func ParseClaims(raw Object) (*Claims, error) {
	c := new(Claims)
	var cid, clientID string
	var r reader
	for _, m := range raw {
		switch m.Name {
		case "iss":
			r.text(m, &c.Issuer)
		case "sub":
			r.text(m, &c.Subject)
		case "cid":
			r.text(m, &cid)
		case "client_id":
			r.text(m, &clientID)
		case "uid":
			r.text(m, &c.UserID)
		case "jti":
			r.text(m, &c.ID)
		case "acr":
			r.text(m, &c.ACR)
		case "amr":
			r.list(m, &c.AMR, nil)
		case "aud":
			r.list(m, &c.Audience, single)
		case "groups":
			r.list(m, &c.Groups, single)
		case "scp":
			r.list(m, &c.Scopes, nil)
		case "scope":
			if !raw.Has("scp") {
				r.list(m, &c.Scopes, words)
			}
		case "exp":
			r.date(m, &c.ExpiresAt)
		case "nbf":
			r.date(m, &c.NotBefore)
		case "iat":
			r.date(m, &c.IssuedAt)
		case "auth_time":
			r.date(m, &c.AuthenticatedAt)
		case "cnf":
			r.object(m, &c.Confirmation)
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	if cid != clientID && raw.Has("cid") && raw.Has("client_id") {
		return nil, errors.New(`the claims "cid" and "client_id" differ`)
	}
	if c.ClientID = cid; cid == "" {
		c.ClientID = clientID
	}
	for _, name := range []string{"nonce", "at_hash", "events"} {
		if raw.Has(name) {
			c.Foreign = name
			break
		}
	}
	c.keep(raw)
	return c, nil
}

// The two kinds of callers that a token can name.
const (
	KindUser    = "user"
	KindService = "service"
)

// Kind tells a person from a service that speaks for itself. A client-credentials token has no uid, and its subject is
// its own client (OKTA; RFC 9068 §2.2): a user whose name equals some client's id gains nothing.
func (c *Claims) Kind() string {
	if c.UserID == "" && c.Subject == c.ClientID {
		return KindService
	}
	return KindUser
}

// IsService reports whether the kind is a service.
func (c *Claims) IsService() bool { return c.Kind() == KindService }

// MeetsStepUp reports whether the user authenticated as a step-up demands (RFC 9470): with one of acrValues, unless
// there are none, and at most maxAge plus skew ago, unless it is zero. An auth_time that is absent or in the future
// meets nothing, and neither does that of a service, which Okta fills with no meaning.
func (c *Claims) MeetsStepUp(acrValues []string, maxAge, skew time.Duration, now time.Time) bool {
	if len(acrValues) > 0 && !slices.Contains(acrValues, c.ACR) {
		return false
	}
	if maxAge == 0 {
		return true
	}
	at := c.AuthenticatedAt
	return !c.IsService() && !at.IsZero() && !at.After(now.Add(skew)) && now.Sub(at) <= maxAge+skew
}

// reader takes members of exact types and keeps the first error.
type reader struct{ err error }

func (r *reader) fail(m Member, want string) {
	if r.err == nil {
		r.err = fmt.Errorf("the claim %q is not %s", m.Name, want)
	}
}

func (r *reader) text(m Member, into *string) {
	var ok bool
	if *into, ok = m.Value.(string); !ok {
		r.fail(m, "a text")
	}
}

func single(s string) []string { return []string{s} }

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' })
}

// list reads a list of texts. Where a plain text is allowed in its place, alone tells what it means.
func (r *reader) list(m Member, into *[]string, alone func(string) []string) {
	switch v := m.Value.(type) {
	case string:
		if alone != nil {
			*into = alone(v)
			return
		}
	case []string:
		*into = v
		return
	}
	r.fail(m, "a list of texts")
}

// maxDate is the end of the year 9999: beyond, a time has no RFC 3339 form and no use.
const maxDate = 253402300799

// date reads a NumericDate (RFC 7519 §2): seconds since 1970, fractions allowed and never rounded up.
func (r *reader) date(m Member, into *time.Time) {
	switch n := m.Value.(type) {
	case int64:
		if n >= -maxDate && n <= maxDate {
			*into = time.Unix(n, 0)
			return
		}
	case json.Number:
		f, err := n.Float64()
		if err == nil && f >= -maxDate && f <= maxDate {
			whole := math.Floor(f)
			*into = time.Unix(int64(whole), int64((f-whole)*1e9))
			return
		}
	}
	r.fail(m, "a time in seconds")
}

func (r *reader) object(m Member, into *map[string]any) {
	var ok bool
	if *into, ok = m.Value.(map[string]any); !ok {
		r.fail(m, "an object")
	}
}
