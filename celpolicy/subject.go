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
)

// kindAnonymous is the principal.kind of a caller without a token.
const kindAnonymous = "anonymous"

// kinds are all values of principal.kind.
var kinds = []string{jwt.KindUser, jwt.KindService, kindAnonymous}

// anonymous are the claims of everybody without a token.
var anonymous = new(jwt.Claims)

// subject is the variable principal. It reads the claims as they are: nothing is kept in another form, neither with the
// token nor for the request.
type subject jwt.Claims

func (s *subject) readField(index int) ref.Val { return principalFields[index].get((*jwt.Claims)(s)) }

// principalFields are the fields of principal. An absent one is nil.
var principalFields = []struct {
	name    string
	celType *cel.Type
	get     func(*jwt.Claims) ref.Val
}{
	{"authenticated", cel.BoolType, func(c *jwt.Claims) ref.Val { return types.Bool(c != anonymous) }},
	{"subject", cel.StringType, func(c *jwt.Claims) ref.Val { return text(c.Subject) }},
	{"user_id", cel.StringType, func(c *jwt.Claims) ref.Val { return text(c.UserID) }},
	{"client_id", cel.StringType, func(c *jwt.Claims) ref.Val { return text(c.ClientID) }},
	{"issuer", cel.StringType, func(c *jwt.Claims) ref.Val { return text(c.Issuer) }},
	{"token_id", cel.StringType, func(c *jwt.Claims) ref.Val { return text(c.ID) }},
	{"acr", cel.StringType, func(c *jwt.Claims) ref.Val { return text(c.ACR) }},
	{"scopes", cel.ListType(cel.StringType), func(c *jwt.Claims) ref.Val { return (*textList)(&c.Scopes) }},
	{"groups", cel.ListType(cel.StringType), func(c *jwt.Claims) ref.Val { return (*textList)(&c.Groups) }},
	{"audience", cel.ListType(cel.StringType), func(c *jwt.Claims) ref.Val { return (*textList)(&c.Audience) }},
	{"amr", cel.ListType(cel.StringType), func(c *jwt.Claims) ref.Val { return (*textList)(&c.AMR) }},
	{"kind", cel.StringType, func(c *jwt.Claims) ref.Val {
		if c == anonymous {
			return types.String(kindAnonymous)
		}
		return types.String(c.Kind())
	}},
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

// claimEntries are the variable claims. Lists and objects that were read are kept for the other rules of the request.
type claimEntries struct {
	*jwt.Claims
	read []claimRead
}

type claimRead struct {
	name  string
	value ref.Val
}

func (e *claimEntries) get(name string) (ref.Val, bool) {
	for _, known := range e.read {
		if known.name == name {
			return known.value, true
		}
	}
	native, ok := e.Get(name)
	if !ok {
		return nil, false
	}
	value := natives.NativeToValue(native)
	switch native.(type) {
	case []string, []any, map[string]any:
		e.read = append(e.read, claimRead{name, value})
	}
	return value, true
}

func (e *claimEntries) all() map[string]any { return e.All() }

func text(s string) ref.Val {
	if s == "" {
		return nil
	}
	return types.String(s)
}

func date(t time.Time) ref.Val {
	if t.IsZero() {
		return nil
	}
	return types.Timestamp{Time: t.UTC()}
}

// nativeAdapter gives claims their form in CEL, when they are read.
type nativeAdapter struct{ types.Adapter }

func withNativeAdapter(env *cel.Env) (*cel.Env, error) {
	return cel.CustomTypeAdapter(nativeAdapter{env.CELTypeAdapter()})(env)
}

// NativeToValue implements types.Adapter for what [jwt.DecodeObject] returns.
func (a nativeAdapter) NativeToValue(value any) ref.Val {
	switch v := value.(type) {
	case json.Number:
		return claimNumber(v.String())
	case []string:
		list := textList(v)
		return &list
	case []any:
		return types.NewDynamicList(a, v)
	case map[string]any:
		return types.NewStringInterfaceMap(a, v)
	}
	return a.Adapter.NativeToValue(value)
}

// maxExact is where a 64-bit float stops to tell neighbouring integers apart.
const maxExact = 1 << 53

// claimNumber returns an int for an integer, however it is written: else arithmetic with it fails.
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
