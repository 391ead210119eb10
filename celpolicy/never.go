package celpolicy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// What no request can make true is a mistake, and in a deny rule a dangerous one. Only what is certain is reported; an
// expression that is constant is not, since {$SWITCH} == "on" is a way to switch a rule.

// field returns the name of a field of a variable: "path" for request.path.
func field(e ast.Expr, variable string) (string, bool) {
	if e.Kind() != ast.SelectKind || e.AsSelect().IsTestOnly() {
		return "", false
	}
	s := e.AsSelect()
	return s.FieldName(), s.Operand().Kind() == ast.IdentKind && s.Operand().AsIdent() == variable
}

// entry reports a header or a query parameter that is never there.
func (c *expressionCheck) entry(at, of ast.Expr, key string) {
	name, ok := field(of, "request")
	switch {
	case !ok:
	case name == "headers" && principal.IsSpelled(key, credentialHeaders),
		name == "query" && strings.EqualFold(key, accessTokenParam):
		c.report(at, "request.%s never has %q: it can carry a credential; what the token says is in claims", name, key)
	case name == "headers" && principal.IsSpelled(key, overrides):
		c.report(at, "request.headers never has %q: it could override the method or the path, and is removed", key)
	case name == "headers" && key != strings.ToLower(key):
		c.report(at, "request.headers never has %q, since names are in lower case there: write %q", key, strings.ToLower(key))
	}
}

// oneOf is comparison with each item of a list.
func (c *expressionCheck) oneOf(value, list ast.Expr) {
	if list.Kind() != ast.ListKind {
		return
	}
	for _, item := range list.AsList().Elements() {
		c.comparison(value, item)
	}
}

// comparison reports a literal that a field never equals.
func (c *expressionCheck) comparison(value, with ast.Expr) {
	text, ok := literal(with)
	if !ok || text == "" {
		return
	}
	if name, ok := field(value, "principal"); ok && name == "kind" {
		c.vocabulary(with, "principal.kind", text, kinds)
	}
	name, ok := field(value, "request")
	switch {
	case !ok:
	case name == "scheme":
		c.vocabulary(with, "request.scheme", text, []string{"http", "https"})
	case name == "method" && text != strings.ToUpper(text):
		c.report(with, "request.method is never %q: write %q", text, strings.ToUpper(text))
	case name == "host" && strings.Count(text, ":") < 2 && text != hostname(text):
		c.report(with, "request.host is never %q, since it is in lower case and has no port: write %q", text, hostname(text))
	case name == "path" && (text[0] != '/' || ambiguousText(text) != ""):
		c.report(with, "request.path is never %q: it starts with a slash, is decoded, and has no dot segments and the like", text)
	case name == "ip":
		c.address(with, text)
	}
}

func (c *expressionCheck) vocabulary(at ast.Expr, name, text string, words []string) {
	if slices.Contains(words, text) {
		return
	}
	hint := fmt.Sprintf("it is one of %q", words)
	if word, ok := meant(text, words, ""); ok {
		hint = fmt.Sprintf("did you mean %q?", word)
	}
	c.report(at, "%s is never %q: %s", name, text, hint)
}

func (c *expressionCheck) address(at ast.Expr, text string) {
	if _, err := netip.ParsePrefix(text); err == nil {
		c.report(at, `request.ip is never a network: write cidr(%q).containsIP(request.ip)`, text)
		return
	}
	address, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		c.report(at, "request.ip is never %q, which is no IP address", text)
	case address.Unmap().WithZone("").String() != text:
		c.report(at, "request.ip is never %q: write %q", text, address.Unmap().WithZone("").String())
	}
}

// checkReach reports a rule whose expression contradicts its methods or its path, so that it never applies.
func checkReach(r *rule, checked *cel.Ast) error {
	issues := issuesOf(checked)
	methods, limited := r.methods, r.methods != nil
	for _, e := range conjuncts(checked.NativeRep().Expr(), nil) {
		if wanted := wants(e, "method"); wanted != nil {
			if limited && !slices.ContainsFunc(wanted, func(m string) bool { return slices.Contains(methods, m) }) {
				issues.ReportErrorAtID(e.ID(), "the rule never applies: it covers %s, and its expression wants %s",
					strings.Join(methods, ", "), strings.Join(wanted, ", "))
				return mistakes(checked.Source(), issues.Errors())
			}
			methods, limited = wanted, true
		}
		if wanted := wants(e, "path"); wanted != nil && r.path != nil && !slices.ContainsFunc(wanted, r.path.matches) {
			issues.ReportErrorAtID(e.ID(), "the rule never applies: its path does not cover %s, which its expression wants", strings.Join(wanted, ", "))
			return mistakes(checked.Source(), issues.Errors())
		}
	}
	return nil
}

// conjuncts returns the expressions that all have to be true.
func conjuncts(e ast.Expr, list []ast.Expr) []ast.Expr {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.LogicalAnd {
		for _, arg := range e.AsCall().Args() {
			list = conjuncts(arg, list)
		}
		return list
	}
	return append(list, e)
}

// wants returns the literals one of which a field of request must equal for an expression to be true, or nil.
func wants(e ast.Expr, name string) []string {
	if e.Kind() != ast.CallKind || len(e.AsCall().Args()) != 2 {
		return nil
	}
	call := e.AsCall()
	value, with := call.Args()[0], call.Args()[1]
	var list []ast.Expr
	switch call.FunctionName() {
	case operators.Equals:
		if value.Kind() == ast.LiteralKind {
			value, with = with, value
		}
		list = []ast.Expr{with}
	case operators.In:
		if with.Kind() == ast.ListKind {
			list = with.AsList().Elements()
		}
	}
	if got, ok := field(value, "request"); !ok || got != name {
		return nil
	}
	var texts []string
	for _, item := range list {
		text, ok := literal(item)
		if !ok || text == "" {
			return nil
		}
		texts = append(texts, text)
	}
	return texts
}
