package celpolicy

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// input is what the expressions of one decision read. Everything is resolved when it is first read, and then kept for
// the other rules. It belongs to one goroutine.
type input struct {
	request *http.Request
	caller  *principal.Caller
	claims  claimEntries
	table   table // the variable claims
	time    time.Time
	path    *pattern // of the rule that is being evaluated

	objects struct{ principal, request object }
	fields  []ref.Val // of request; nil until one is read
	now     ref.Val
}

func newInput(r *http.Request, caller *principal.Caller, now time.Time) *input {
	in := &input{request: r, caller: caller, claims: claimEntries{Claims: anonymous}, time: now}
	if caller.Identity != nil {
		in.claims.Claims = caller.Identity
	}
	in.objects.principal = object{fieldReader: (*subject)(in.claims.Claims), kind: principalType}
	in.objects.request = object{fieldReader: in, kind: requestType}
	in.table = table{&in.claims}
	return in
}

// Parent implements cel.Activation.
func (*input) Parent() cel.Activation { return nil }

// ResolveName implements cel.Activation.
func (in *input) ResolveName(name string) (any, bool) {
	switch name {
	case "principal":
		return &in.objects.principal, true
	case "claims":
		return &in.table, true
	case "request":
		return &in.objects.request, true
	case "params":
		return &table{paramEntries{in.path, in.request.URL.Path}}, true
	case "now":
		if in.now == nil {
			in.now = types.Timestamp{Time: in.time.UTC()}
		}
		return in.now, true
	}
	return nil, false
}

// paramEntries are what the path of the request has where the pattern of the rule has parameters.
type paramEntries struct {
	pattern *pattern
	path    string
}

func (e paramEntries) get(name string) (ref.Val, bool) {
	for param, value := range e.pattern.values(e.path) {
		if param == name {
			return types.String(value), true
		}
	}
	return nil, false
}

func (e paramEntries) all() map[string]any {
	all := make(map[string]any)
	for name, value := range e.pattern.values(e.path) {
		all[name] = value
	}
	return all
}

// requestFields are the fields of request. An absent one is nil.
var requestFields = []struct {
	name    string
	celType *cel.Type
	get     func(*input) ref.Val
}{
	{"method", cel.StringType, func(in *input) ref.Val { return types.String(in.request.Method) }},
	{"scheme", cel.StringType, requestScheme},
	{"host", cel.StringType, func(in *input) ref.Val { return types.String(hostname(in.request.Host)) }},
	{"path", cel.StringType, func(in *input) ref.Val { return types.String(in.request.URL.Path) }},
	{"ip", cel.StringType, requestIP},
	{"query", cel.MapType(cel.StringType, cel.ListType(cel.StringType)), requestQuery},
	{"headers", cel.MapType(cel.StringType, cel.ListType(cel.StringType)), requestHeaders},
	{"size", cel.IntType, bodySize},
	{"tls", cel.BoolType, func(in *input) ref.Val { return types.Bool(in.request.TLS != nil) }},
}

var requestType = func() *objectType {
	t := newObjectType("request")
	for _, f := range requestFields {
		t.add(f.name, f.celType)
	}
	return t
}()

func (in *input) readField(index int) ref.Val {
	if in.fields == nil {
		in.fields = make([]ref.Val, len(requestFields))
	}
	if in.fields[index] == nil {
		in.fields[index] = requestFields[index].get(in)
	}
	return in.fields[index]
}

// bodySize returns the size of the body. One that the client did not announce is absent: whoever compares it gets an
// error, and not a number that is smaller than every limit.
func bodySize(in *input) ref.Val {
	if in.request.ContentLength < 0 {
		return nil
	}
	return types.Int(in.request.ContentLength)
}

func requestScheme(in *input) ref.Val {
	if in.request.TLS != nil {
		return types.String("https")
	}
	return types.String("http")
}

// hostname returns a host in lower case, without port, brackets, or the dot that ends a fully qualified name.
func hostname(host string) string {
	u := url.URL{Host: host}
	return strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
}

// requestIP returns the client's address, as Caddy derives it. One that cannot be read, such as a unix socket's, is
// absent.
func requestIP(in *input) ref.Val {
	client, _ := caddyhttp.GetVar(in.request.Context(), caddyhttp.ClientIPVarKey).(string)
	if address, err := netip.ParseAddrPort(client); err == nil {
		client = address.Addr().String()
	}
	address, err := netip.ParseAddr(client)
	if err != nil {
		return nil
	}
	return types.String(address.Unmap().WithZone("").String())
}

// accessTokenParam is the query parameter of RFC 6750 §2.3; no spelling of it can be read.
const accessTokenParam = "access_token"

// requestQuery leaves out what can be a credential. The handler has seen that the query can be parsed.
func requestQuery(in *input) ref.Val {
	query, _ := url.ParseQuery(in.request.URL.RawQuery)
	values := make(map[string]any, len(query))
	for name, list := range query {
		if !strings.EqualFold(name, accessTokenParam) && !in.holdsCredential(list...) {
			values[name] = list
		}
	}
	return types.NewStringInterfaceMap(nativeAdapter{types.DefaultTypeAdapter}, values)
}

// credentialHeaders cannot be read, whatever they hold.
var credentialHeaders = []string{"authorization", "proxy-authorization", "cookie", "dpop"}

// requestHeaders leaves out what can be a credential, and what is removed before the backend anyway.
func requestHeaders(in *input) ref.Val {
	values := make(map[string]any, len(in.request.Header))
	for name, list := range in.request.Header {
		if !principal.IsSpelled(name, credentialHeaders) && !principal.IsSpelled(name, overrides) && !in.holdsCredential(list...) {
			lower := strings.ToLower(name)
			others, _ := values[lower].([]string)
			values[lower] = slices.Concat(others, list)
		}
	}
	return types.NewStringInterfaceMap(nativeAdapter{types.DefaultTypeAdapter}, values)
}

// holdsCredential reports whether one of the texts has the caller's credential in it, wherever that came from.
func (in *input) holdsCredential(list ...string) bool {
	for _, credential := range in.caller.Taken {
		holds := func(secret string) bool {
			return secret != "" && slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, secret) })
		}
		if holds(credential.Token) || slices.ContainsFunc(credential.Proofs, holds) {
			return true
		}
	}
	return false
}
