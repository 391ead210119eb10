package celpolicy

import (
	"encoding/json"
	"maps"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/caddy-okta/caddy-okta/internal/jwt"
	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// kindAnonymous is the principal.kind of a caller without a token.
const kindAnonymous = "anonymous"

// kinds are all values of principal.kind.
var kinds = []string{jwt.KindUser, jwt.KindService, kindAnonymous}

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

// subject is what expressions read of a caller. A value takes CEL's form when it is first read, and keeps it for all
// requests with the same token: most of a token is never read, and would lie in the cache twice.
type subject struct {
	principal object
	claims    claimsValue
	token     *jwt.Claims
	fields    []atomic.Pointer[ref.Val]
}

// anonymous is the subject of everybody without a token.
var anonymous = func() *subject {
	s := newSubject(new(jwt.Claims))
	for i, f := range principalFields {
		switch f.name {
		case "authenticated":
			s.set(i, types.False)
		case "kind":
			s.set(i, types.String(kindAnonymous))
		}
	}
	return s
}()

// subjectOf returns the subject of a caller, one for each token.
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
	s := &subject{token: c, fields: make([]atomic.Pointer[ref.Val], len(principalFields))}
	s.principal = object{fieldReader: s, kind: principalType}
	s.claims = claimsValue{Mapper: types.NewStringInterfaceMap(claimAdapter{}, c.Raw), raw: c.Raw}
	return s
}

func (s *subject) readField(index int) ref.Val {
	if value := s.fields[index].Load(); value != nil {
		return *value
	}
	return s.set(index, principalFields[index].get(s.token))
}

func (s *subject) set(index int, value ref.Val) ref.Val {
	s.fields[index].Store(&value)
	return value
}

// claimsValue is the variable claims.
type claimsValue struct {
	traits.Mapper // over raw; it converts what it is asked for, each time
	raw           map[string]any
	read          atomic.Pointer[map[string]ref.Val] // what was asked for by name; replaced, never changed
}

// Find returns a claim, which is converted once. It is what expressions that name a claim come to.
func (c *claimsValue) Find(key ref.Val) (ref.Val, bool) {
	name, isText := key.(types.String)
	claim, ok := c.raw[string(name)]
	if !isText || !ok {
		return c.Mapper.Find(key)
	}
	known := c.read.Load()
	if known != nil {
		if value, ok := (*known)[string(name)]; ok {
			return value, true
		}
	}
	value := claimValue(claim)
	more := make(map[string]ref.Val, 1)
	if known != nil {
		maps.Copy(more, *known)
	}
	more[string(name)] = value
	c.read.CompareAndSwap(known, &more) // whoever loses converts again
	return value, true
}

// Get implements traits.Indexer, as Find.
func (c *claimsValue) Get(key ref.Val) ref.Val {
	value, found := c.Find(key)
	if !found {
		return c.Mapper.Get(key)
	}
	return value
}

// claimAdapter converts claims for what reads all of them, such as a loop.
type claimAdapter struct{}

// NativeToValue implements types.Adapter.
func (claimAdapter) NativeToValue(value any) ref.Val { return claimValue(value) }

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
