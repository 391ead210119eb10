package celpolicy

import (
	"regexp/syntax"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// variables are the names that expressions may not give to anything else.
var variables = []string{"principal", "claims", "request", "params", "now"}

// checkExpression reports mistakes that the type checker does not know as such.
func checkExpression(env *environment, checked *cel.Ast, path *pattern, issues *cel.Issues) {
	c := &expressionCheck{env: env, params: path.params(), issues: issues}
	ast.PostOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(c.visit))
	c.loops(ast.NavigateAST(checked.NativeRep()), 0)
}

type expressionCheck struct {
	env    *environment
	params []string
	issues *cel.Issues
}

func (c *expressionCheck) report(e ast.Expr, format string, args ...any) {
	c.issues.ReportErrorAtID(e.ID(), format, args...)
}

func (c *expressionCheck) visit(e ast.Expr) {
	switch e.Kind() {
	case ast.StructKind:
		c.report(e, "objects cannot be built in a policy")
	case ast.ComprehensionKind:
		loop := e.AsComprehension()
		for _, name := range []string{loop.IterVar(), loop.IterVar2(), loop.AccuVar()} {
			if slices.Contains(variables, name) {
				c.report(e, "%s is a variable of every policy: choose another name", name)
			}
		}
	case ast.SelectKind:
		s := e.AsSelect()
		if isParams(s.Operand()) {
			c.param(e, s.FieldName())
		}
		c.entry(e, s.Operand(), s.FieldName())
	case ast.CallKind:
		c.call(e.AsCall())
	}
}

// loops reports loops that stand in more than maxLoops others. One that goes through what another made, as in
// groups.filter(…).map(…).exists(…), stands beside it.
func (c *expressionCheck) loops(e ast.NavigableExpr, around int) {
	isLoop := false
	if e.Kind() == ast.ComprehensionKind {
		items := e.AsComprehension().IterRange()
		isLoop = items.Kind() != ast.ListKind || items.AsList().Size() > 0 // else it is cel.bind
	}
	if isLoop && around == maxLoops {
		c.report(e, "a loop within %d others: write them one behind the other, or use \"in\"", maxLoops)
		return
	}
	for i, child := range e.Children() {
		if isLoop && i > 0 { // the first is what the loop goes through
			c.loops(child, around+1)
		} else {
			c.loops(child, around)
		}
	}
}

func isParams(e ast.Expr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == "params" }

// param reports a parameter that the rule's path does not have.
func (c *expressionCheck) param(e ast.Expr, name string) {
	switch {
	case slices.Contains(c.params, name):
	case len(c.params) == 0:
		c.report(e, "params.%s: the path of the rule has no parameters: write {%s} in place of a segment", name, name)
	default:
		c.report(e, "params.%s: the path of the rule has no {%s}: write it in place of a segment, or one of params.%s here",
			name, name, strings.Join(c.params, ", params."))
	}
}

func (c *expressionCheck) call(call ast.CallExpr) {
	args := call.Args()
	switch name := call.FunctionName(); name {
	case operators.Index, operators.OptIndex, operators.OptSelect:
		key, ok := literal(args[1])
		if ok && isParams(args[0]) {
			c.param(args[1], key)
		}
		if ok {
			c.entry(args[1], args[0], key)
		}
	case operators.In:
		key, ok := literal(args[0])
		if ok && isParams(args[1]) {
			c.param(args[0], key)
		}
		if ok {
			c.entry(args[0], args[1], key)
		}
		c.oneOf(args[0], args[1])
	case operators.Equals, operators.NotEquals:
		c.comparison(args[0], args[1])
		c.comparison(args[1], args[0])
	case "matches":
		if len(args) > 0 {
			c.regex(args[len(args)-1], -1) // the last one in both styles: text.matches(p) and matches(text, p)
		}
	case "regex.extract", "regex.extractAll":
		c.regex(args[1], 1)
	case "regex.replace":
		c.regex(args[1], -1)
	case "lists.range":
		if n, ok := args[0].AsLiteral().(types.Int); ok && (n < 0 || n > maxRange) {
			c.report(args[0], "lists.range makes no list of %d items: write a number up to %d", n, maxRange)
		}
	default:
		if zone, ok := zoneArgument(call); ok {
			if err := c.env.zones.remember(zone); err != nil {
				c.report(args[0], "%v", err)
			}
		}
	}
}

// regex reports a pattern that is not literal, since values never become patterns, or that is wrong.
func (c *expressionCheck) regex(e ast.Expr, maxGroups int) {
	text, ok := literal(e)
	if !ok {
		c.report(e, "a pattern must be one literal text: to compare with a value use ==, contains or startsWith")
		return
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		c.report(e, "%v", err)
		return
	}
	// As regexp.Compile does it. The limit that cel-go has for this panics on {n}, which it does not simplify.
	program, err := syntax.Compile(parsed.Simplify())
	switch {
	case err != nil:
		c.report(e, "%v", err)
	case len(program.Inst) > maxRegex:
		c.report(e, "the pattern compiles to %d instructions, and the limit is %d: shorten it, or write several", len(program.Inst), maxRegex)
	case maxGroups >= 0 && parsed.MaxCap() > maxGroups:
		c.report(e, "the pattern has %d capturing groups, and only one can be extracted: write (?:…) for the others", parsed.MaxCap())
	}
}

// zoneArgument returns the literal time zone of now.getHours("Europe/Berlin") and its kin.
func zoneArgument(call ast.CallExpr) (zone string, ok bool) {
	if _, isGetter := zoneGetters[call.FunctionName()]; !isGetter || !call.IsMemberFunction() || len(call.Args()) != 1 {
		return "", false
	}
	return literal(call.Args()[0])
}

// literal returns the value of a literal text.
func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	text, ok := e.AsLiteral().(types.String)
	return string(text), ok
}

// checkCost refuses an expression whose worst case is too expensive.
func checkCost(env *environment, checked *cel.Ast, issues *cel.Issues) error {
	cost, err := env.EstimateCost(checked, newSizes(checked.NativeRep()))
	if err != nil {
		return err
	}
	if cost.Max > maxCost {
		issues.ReportErrorAtID(checked.NativeRep().Expr().ID(), "the expression could cost %d units, and the limit is %d: use \"in\" or sets.intersects instead of a loop within a loop, and compare short texts",
			cost.Max, maxCost)
	}
	return nil
}
