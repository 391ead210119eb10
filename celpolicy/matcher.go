package celpolicy

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/principal"
	"github.com/caddy-okta/caddy-okta/internal/telemetry"
)

func init() {
	caddy.RegisterModule(new(Matcher))
}

// Matcher matches the requests of which a CEL expression is true: the expressions of cel_policy, for routing. It decides
// nothing and records nothing; what may not be reached belongs into a policy.
//
// A matcher that cannot tell is an error, not a request that does not match, since whoever writes "not" would get the
// opposite. The answer is
//
//   - 403 policy_error where the expression fails, as on a missing claim;
//   - 403 policy_error where it reads principal or claims and okta_auth has not judged the request: before it nothing is
//     known, not even that the caller is anonymous;
//   - 400 ambiguous_path or malformed_request where it reads the path, the method or the query, and a backend could read
//     the request differently, as with cel_policy itself. The path is the one at the place of the matcher: before
//     rewrites, if it stands before them.
//
// In JSON it is the expression alone, or {"expr": "…"}.
type Matcher struct {
	// Expr is a CEL expression of type bool, over everything that rules read except params, since a matcher has no
	// path. Required.
	Expr string `json:"expr"`

	program cel.Program
	reads   reads
	now     func() time.Time
}

// CaddyModule returns the module's ID.
func (*Matcher) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.cel_policy",
		New: func() caddy.Module { return new(Matcher) },
	}
}

// UnmarshalCaddyfile parses "cel_policy <expression>". The expression is checked here already, so that a mistake is
// reported with its file and line.
func (m *Matcher) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	args := d.RemainingArgs()
	if len(args) != 1 {
		return d.Err("write cel_policy <expression>; the expression is one token, in backticks")
	}
	m.Expr = args[0]
	if err := m.compile(); err != nil {
		return d.Errf("cel_policy: %v", err)
	}
	if d.Next() {
		return d.Err("cel_policy stands once in a matcher, without a block: join the expressions with && or ||")
	}
	return nil
}

// MarshalJSON writes the expression alone.
func (m *Matcher) MarshalJSON() ([]byte, error) { return json.Marshal(m.Expr) }

// UnmarshalJSON reads an expression, or an object that has one.
func (m *Matcher) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, &m.Expr)
	}
	type plain Matcher // without this method
	return caddy.StrictUnmarshalJSON(text, (*plain)(m))
}

// Provision compiles the expression.
func (m *Matcher) Provision(caddy.Context) error {
	m.now = time.Now
	return m.compile()
}

func (m *Matcher) compile() error {
	if m.Expr == "" {
		return errors.New("the expression is empty: write true to match everything")
	}
	env, checked, err := checkSource(m.Expr, nil)
	if err != nil {
		return err
	}
	m.reads = readsOf(checked)
	if m.reads.params {
		return errors.New("when: a matcher has no path and so no params: compare request.path")
	}
	m.program, err = env.program(checked)
	return err
}

// MatchWithError implements caddyhttp.RequestMatcherWithError. An error is an answer: a caddyhttp.HandlerError whose status
// is 400 or 403.
func (m *Matcher) MatchWithError(r *http.Request) (bool, error) {
	caller := principal.Of(r)
	refusal := m.reads.check(r, caller)
	if refusal == nil {
		var matches bool
		if matches, refusal = m.evaluate(r, caller); refusal == nil {
			return matches, nil
		}
	}
	principal.Ensure(r).Refusal = refusal
	telemetry.AccessLog(r, "auth_reason", refusal.Reason.String())
	return false, caddyhttp.Error(refusal.Reason.Status(), refusal)
}

func (m *Matcher) evaluate(r *http.Request, caller *principal.Caller) (bool, *deny.Refusal) {
	if caller == nil {
		caller = new(principal.Caller)
	}
	value, _, err := m.program.Eval(newInput(r, caller, m.now()))
	if err != nil { // it can quote values of the request
		return false, deny.PolicyError.Because("the expression of a cel_policy matcher could not be evaluated")
	}
	truth, ok := value.(types.Bool)
	if !ok {
		return false, deny.PolicyError.Because("the expression of a cel_policy matcher gave no bool")
	}
	return bool(truth), nil
}

// reads is what an expression reads, whether or not an evaluation comes to it.
type reads struct {
	identity, params    bool
	path, method, query bool
}

// check refuses a request about which the expression could be wrong.
func (rd *reads) check(r *http.Request, caller *principal.Caller) *deny.Refusal {
	switch {
	case rd.identity && (caller == nil || !caller.Judged):
		return deny.PolicyError.Because("a cel_policy matcher reads principal or claims, and okta_auth did not run before it")
	case rd.identity && caller.Identity == nil && caller.Refusal != nil && caller.Refusal.Reason != deny.NoCredential:
		// In handle_errors: who sent a bad token is not anonymous.
		return deny.PolicyError.Because("a cel_policy matcher reads principal or claims of a request that was refused")
	case rd.path:
		if reason := ambiguity(r.URL); reason != "" {
			return deny.AmbiguousPath.Because("the path has %s", reason)
		}
	}
	switch {
	case rd.method && hasLowerCase(r.Method):
		return deny.MalformedRequest.Because("the method has a lower-case letter")
	case rd.query && !validQuery(r.URL.RawQuery):
		return deny.MalformedRequest.Because("the query cannot be parsed")
	}
	return nil
}

// readsOf finds out what a checked expression reads. The variable request as a whole, as in dyn(request), is everything.
func readsOf(checked *cel.Ast) (rd reads) {
	known := make(map[int64]bool) // mentions of request of which only a field is read
	ast.PreOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		operand, field := selection(e)
		name := ""
		switch {
		case e.Kind() == ast.CallKind && e.AsCall().FunctionName() == readPlaceholder:
			operand = e.AsCall().Args()[0]
			name, _ = literal(e.AsCall().Args()[1])
			rd.placeholder(name)
		case e.Kind() == ast.IdentKind:
			rd.variable(e.AsIdent(), known[e.ID()])
			return
		}
		if operand != nil && operand.Kind() == ast.IdentKind && operand.AsIdent() == "request" {
			known[operand.ID()] = true
			if name == "" {
				rd.path = rd.path || field == "path"
				rd.method = rd.method || field == "method"
				rd.query = rd.query || field == "query"
			}
		}
	}))
	return rd
}

func (rd *reads) variable(name string, fieldOnly bool) {
	switch name {
	case "principal", "claims":
		rd.identity = true
	case "params":
		rd.params = true
	case "request":
		if !fieldOnly {
			rd.path, rd.method, rd.query = true, true, true
		}
	}
}

// placeholder notes what Caddy's own name for something says of it.
func (rd *reads) placeholder(name string) {
	switch {
	case strings.HasPrefix(name, "http.auth."):
		rd.identity = true
	case strings.HasPrefix(name, "http.request.uri.query."), strings.HasPrefix(name, "http.request.orig_uri.query."):
		rd.query = true
	case strings.HasPrefix(name, "http.request.uri"), strings.HasPrefix(name, "http.request.orig_uri"):
		rd.path = true
	case name == "http.request.method", name == "http.request.orig_method":
		rd.method = true
	}
}

// Interface guards
var (
	_ caddy.Provisioner                 = (*Matcher)(nil)
	_ caddyfile.Unmarshaler             = (*Matcher)(nil)
	_ caddyhttp.RequestMatcherWithError = (*Matcher)(nil)
)
