package celpolicy

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/caddy-okta/caddy-okta/internal/jwt"
	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// kindAnonymous is the principal.kind of a caller without a token.
const kindAnonymous = "anonymous"

// kinds are all values of principal.kind.
var kinds = []string{"user", "service", kindAnonymous}

// principalFields are the fields of principal. An absent one is nil.
var principalFields = []struct {
	name    string
	celType *cel.Type
	get     func(*jwt.Claims) ref.Val
}{
	{"authenticated", cel.BoolType, func(*jwt.Claims) ref.Val { return types.True }},
	{"subject", cel.StringType, func(c *jwt.Claims) ref.Val { return text(c.Subject) }},
	{"user_id", cel.StringType, func(c *jwt.Claims) ref.Val { return text(c.UserID) }},
	{"client_id", cel.StringType, func(c *jwt.Claims) ref.Val { return text(c.ClientID) }},
	{"issuer", cel.StringType, func(c *jwt.Claims) ref.Val { return text(c.Issuer) }},
	{"token_id", cel.StringType, func(c *jwt.Claims) ref.Val { return text(c.ID) }},
	{"acr", cel.StringType, func(c *jwt.Claims) ref.Val { return text(c.ACR) }},
	{"scopes", cel.ListType(cel.StringType), func(c *jwt.Claims) ref.Val { return texts(c.Scopes) }},
	{"groups", cel.ListType(cel.StringType), func(c *jwt.Claims) ref.Val { return texts(c.Groups) }},
	{"audience", cel.ListType(cel.StringType), func(c *jwt.Claims) ref.Val { return texts(c.Audience) }},
	{"amr", cel.ListType(cel.StringType), func(c *jwt.Claims) ref.Val { return texts(c.AMR) }},
	{"kind", cel.StringType, func(c *jwt.Claims) ref.Val { return text(c.Kind()) }},
	{"issued_at", cel.TimestampType, func(c *jwt.Claims) ref.Val { return date(c.IssuedAt) }},
	{"expires_at", cel.TimestampType, func(c *jwt.Claims) ref.Val { return date(c.ExpiresAt) }},
	{"authenticated_at", cel.TimestampType, func(c *jwt.Claims) ref.Val {
		if c.IsService() { // Okta fills auth_time for services too, with no meaning
			return nil
		}
		return date(c.AuthenticatedAt)
	}},
}

var principalType = func() *objectType {
	t := newObjectType("principal")
	for _, f := range principalFields {
		t.add(f.name, f.celType)
	}
	return t
}()

// subject is what expressions read of a caller. All values are in CEL's form already, so that evaluations only hand
// them on.
type subject struct {
	principal object
	claims    ref.Val
	fields    []ref.Val
}

// anonymous is the subject of everybody without a token.
var anonymous = func() *subject {
	s := newSubject(&jwt.Claims{})
	for i, f := range principalFields {
		switch f.name {
		case "authenticated":
			s.fields[i] = types.False
		case "kind":
			s.fields[i] = types.String(kindAnonymous)
		}
	}
	return s
}()

// subjectOf returns the subject of a caller; the caller's token is converted once.
func subjectOf(id *principal.Identity) *subject {
	if id == nil {
		return anonymous
	}
	if s, ok := id.Memo.Get(func() any { return newSubject(id.Claims) }).(*subject); ok {
		return s
	}
	return newSubject(id.Claims)
}

func newSubject(c *jwt.Claims) *subject {
	s := &subject{claims: claimsMap(c.Raw), fields: make([]ref.Val, len(principalFields))}
	s.principal = object{fieldReader: s, kind: principalType}
	for i, f := range principalFields {
		s.fields[i] = f.get(c)
	}
	return s
}

func (s *subject) readField(index int) ref.Val { return s.fields[index] }

func text(s string) ref.Val {
	if s == "" {
		return nil
	}
	return types.String(s)
}

func texts(list []string) ref.Val {
	values := make([]ref.Val, len(list))
	for i, s := range list {
		values[i] = types.String(s)
	}
	return types.NewRefValList(types.DefaultTypeAdapter, values)
}

func date(t time.Time) ref.Val {
	if t.IsZero() {
		return nil
	}
	return types.Timestamp{Time: t.UTC()}
}

func claimsMap(object map[string]any) ref.Val {
	values := make(map[string]any, len(object))
	for name, value := range object {
		values[name] = claimValue(value)
	}
	return types.NewStringInterfaceMap(types.DefaultTypeAdapter, values)
}

// claimValue returns a claim in CEL's form. An integer is an int however it is written, else arithmetic with it fails.
func claimValue(value any) ref.Val {
	switch v := value.(type) {
	case map[string]any:
		return claimsMap(v)
	case []any:
		values := make([]ref.Val, len(v))
		for i, item := range v {
			values[i] = claimValue(item)
		}
		return types.NewRefValList(types.DefaultTypeAdapter, values)
	case json.Number:
		return claimNumber(v.String())
	}
	return types.DefaultTypeAdapter.NativeToValue(value)
}

// maxExact is where a 64-bit float stops to tell neighbouring integers apart.
const maxExact = 1 << 53

func claimNumber(number string) ref.Val {
	if i, err := strconv.ParseInt(number, 10, 64); err == nil {
		return types.Int(i)
	}
	if u, err := strconv.ParseUint(number, 10, 64); err == nil {
		return types.Uint(u)
	}
	f, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil:
		return types.NewErr("a number is out of range")
	case f == math.Trunc(f) && math.Abs(f) <= maxExact: // 1.0 and 1e3
		return types.Int(int64(f))
	}
	return types.Double(f)
}
