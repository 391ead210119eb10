package celpolicy

import (
	"net/http"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// readPlaceholder is what placeholder() expands to. No expression can call it by this name, so its argument is always
// one that the macro has seen.
const readPlaceholder = "@placeholder"

// placeholderLibrary adds
//
//	placeholder(<literal text>) -> string
//
// which reads a placeholder of Caddy, named without braces. One that is unknown when the request comes is an error; one
// that is known but empty is "".
//
//	placeholder("http.vars.country") == "DE"
//	placeholder("http.request.tls.client.subject") == "CN=device-7,O=Example"    // "" without a certificate
//	placeholder(claims.name)                        // error: the name must be literal
//	placeholder("http.request.header.Cookie")       // error: it can carry a credential
func placeholderLibrary() cel.EnvOption {
	return func(env *cel.Env) (*cel.Env, error) {
		env, err := cel.Macros(cel.GlobalVarArgMacro("placeholder", expandPlaceholder))(env)
		if err != nil {
			return nil, err
		}
		return cel.Function(readPlaceholder, cel.Overload("placeholder_request_string",
			[]*cel.Type{requestType.celType, cel.StringType}, cel.StringType, cel.BinaryBinding(evalPlaceholder)))(env)
	}
}

func expandPlaceholder(factory cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	if len(args) != 1 {
		here := factory.NewLiteral(types.True).ID() // a new node is where the macro is
		return nil, factory.NewError(here, `write placeholder("<name>"), with one name`)
	}
	name, ok := literal(args[0])
	if !ok {
		return nil, factory.NewError(args[0].ID(), "the name of a placeholder must be one literal text"+quoteHint(args[0]))
	}
	if problem := checkPlaceholder(name); problem != "" {
		return nil, factory.NewError(args[0].ID(), problem)
	}
	return factory.NewCall(readPlaceholder, factory.NewIdent("request"), args[0]), nil
}

// quoteHint is for a name without quotes, which is no value of the environment.
func quoteHint(arg ast.Expr) string {
	name, ok := qualified(arg)
	if first, _, _ := strings.Cut(name, "."); !ok || slices.Contains(variables, first) {
		return ""
	}
	return `: put it in quotes, placeholder("` + name + `")`
}

// credentialPlaceholders can carry a credential: by name, or, with a dot at the end, by prefix.
var credentialPlaceholders = []string{
	"http.request.cookie.",
	"http.request.uri.query.access_token",
	"http.request.body", "http.request.body_base64",
	"http.response.header.set-cookie",
	"http.vars.caddy_okta.",

	// These hold the whole query, and with it an access_token.
	"http.request.uri", "http.request.uri_escaped",
	"http.request.uri.query", "http.request.uri.query_escaped", "http.request.uri.prefixed_query",
	"http.request.orig_uri", "http.request.orig_uri.query", "http.request.orig_uri.prefixed_query",
}

// checkPlaceholder returns what is wrong with a name, or nothing.
func checkPlaceholder(name string) string {
	switch {
	case name == "":
		return "the name of the placeholder is empty"
	case strings.ContainsAny(name, "{}"):
		return `leave the braces out: write placeholder("` + strings.Trim(name, "{}") + `")`
	}
	lower := strings.ToLower(name)
	if header, ok := strings.CutPrefix(lower, "http.request.header."); ok && principal.IsSpelled(header, credentialHeaders) {
		return "this placeholder can carry a credential: it cannot be read"
	}
	for _, secret := range credentialPlaceholders {
		if lower == secret || strings.HasSuffix(secret, ".") && strings.HasPrefix(lower, secret) {
			return "this placeholder can carry a credential: it cannot be read; for parts of the URI write request.path or request.query"
		}
	}
	return ""
}

func evalPlaceholder(request, name ref.Val) ref.Val {
	o, _ := request.(*object)
	in, ok := o.fieldReader.(*input)
	if !ok {
		return types.NewErr("placeholder() without a request")
	}
	replacer, ok := in.request.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return types.NewErr("placeholder() without Caddy's replacer")
	}
	key := string(name.(types.String))
	value, known := replacer.Get(key)
	if !known {
		return types.NewErr("the placeholder %s is unknown", key)
	}
	if hasNoCertificate(in.request) && strings.HasPrefix(strings.ToLower(key), "http.request.tls.client.") {
		return types.String("") // Caddy describes an empty certificate, which even has a fingerprint
	}
	text := caddy.ToString(value)
	if in.holdsCredential(text) {
		return types.NewErr("the placeholder %s holds a credential", key)
	}
	return types.String(text)
}

func hasNoCertificate(r *http.Request) bool { return r.TLS == nil || len(r.TLS.PeerCertificates) == 0 }
