package celpolicy

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/parser"
)

// part is a part of an expression and what it gave.
type part struct {
	Expression string `json:"expression"`

	// Value is in JSON's types where there is one, else a text. Without value and error the part was not evaluated,
	// since the others decided.
	Value json.RawMessage `json:"value,omitempty"`
	Error string          `json:"error,omitempty"`

	// LastRound marks what a loop such as exists() evaluates for each item: the value is that of the last item it saw.
	LastRound bool `json:"last_round,omitempty"`

	Parts []*part `json:"parts,omitempty"`
}

func (p *part) evaluated() bool { return p.Value != nil || p.Error != "" }

// Eval implements cel.Program.
func (t *trace) Eval(in any) (ref.Val, *cel.EvalDetails, error) {
	value, details, err := t.Program.Eval(in)
	t.details = details
	return value, details, err
}

// parts returns the expression as a tree.
func (t *trace) parts() *part {
	root := &part{Value: json.RawMessage("null")}
	t.add(root, t.ast.NativeRep().Expr(), false, false)
	if len(root.Parts) == 0 { // a literal, which says what it is
		text := t.text(t.ast.NativeRep().Expr())
		return &part{Expression: text, Value: json.RawMessage(text)}
	}
	return root.Parts[0]
}

// add adds e to its parent. What says nothing on its own gives way to its parts, and of what was not evaluated only the
// largest part is told. The steps within a selection such as claims.a.b are taken at once and need not have values.
func (t *trace) add(parent *part, e ast.Expr, loop, within bool) {
	here := parent
	if p := t.part(e); p != nil && (p.evaluated() || parent.evaluated() && !within) {
		p.LastRound = loop && p.evaluated()
		parent.Parts = append(parent.Parts, p)
		here = p
	}
	for i, child := range t.children(e) {
		t.add(here, child.Expr, loop || child.loop, i == 0 && selects(e))
	}
}

func selects(e ast.Expr) bool {
	switch e.Kind() {
	case ast.SelectKind:
		return true
	case ast.CallKind:
		return slices.Contains([]string{operators.Index, operators.OptIndex, operators.OptSelect}, e.AsCall().FunctionName())
	}
	return false
}

// part returns e and its value, or nil for literals and whole variables, which everybody can see.
func (t *trace) part(e ast.Expr) *part {
	switch e.Kind() {
	case ast.LiteralKind:
		return nil
	case ast.ListKind, ast.MapKind:
		if isConstant(e) {
			return nil
		}
	case ast.IdentKind:
		if name := e.AsIdent(); name != "now" && slices.Contains(variables, name) {
			return nil
		}
	}
	p := &part{Expression: t.text(e)}
	var value ref.Val
	if t.details != nil && t.details.State() != nil {
		value, _ = t.details.State().Value(e.ID())
	}
	switch v := value.(type) {
	case nil:
		if isConstant(e) {
			return nil
		}
	case *types.Err:
		p.Error = v.Error()
	default:
		p.Value, _ = json.Marshal(jsonValue(v)) // jsonValue gives only what JSON knows
	}
	return p
}

func (t *trace) text(e ast.Expr) string {
	text, err := parser.Unparse(e, t.ast.NativeRep().SourceInfo(), parser.WrapOnColumn(maxLength))
	if err != nil {
		return "…"
	}
	return text
}

// child is a part of an expression; loop is true for one that is evaluated once for each item.
type child struct {
	ast.Expr
	loop bool
}

func (t *trace) children(e ast.Expr) (list []child) {
	add := func(loop bool, parts ...ast.Expr) {
		for _, p := range parts {
			list = append(list, child{p, loop})
		}
	}
	switch e.Kind() {
	case ast.SelectKind:
		add(false, e.AsSelect().Operand())
	case ast.CallKind:
		if e.AsCall().IsMemberFunction() {
			add(false, e.AsCall().Target())
		}
		add(false, e.AsCall().Args()...)
	case ast.ListKind:
		add(false, e.AsList().Elements()...)
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			add(false, entry.AsMapEntry().Key(), entry.AsMapEntry().Value())
		}
	case ast.ComprehensionKind:
		loop := e.AsComprehension()
		if !isInternal(loop.AccuVar()) { // cel.bind(name, value, expression)
			add(false, loop.AccuInit(), loop.Result())
			break
		}
		add(false, loop.IterRange())
		add(true, without(loop.AccuVar(), loop.LoopStep())...)
	}
	return list
}

// isInternal reports whether a name is one that macros give and users cannot.
func isInternal(name string) bool {
	return strings.HasPrefix(name, "@") || strings.HasPrefix(name, "__")
}

// without returns the largest parts of e that do not read a variable: of "@result || f(x)" it is f(x).
func without(name string, e ast.Expr) []ast.Expr {
	if !mentions(e, func(n string) bool { return n == name }) {
		return []ast.Expr{e}
	}
	if e.Kind() != ast.CallKind {
		return nil
	}
	var parts []ast.Expr
	for _, arg := range e.AsCall().Args() {
		parts = append(parts, without(name, arg)...)
	}
	return parts
}

func isConstant(e ast.Expr) bool { return !mentions(e, func(string) bool { return true }) }

func mentions(e ast.Expr, is func(name string) bool) (found bool) {
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		found = found || e.Kind() == ast.IdentKind && is(e.AsIdent())
	}))
	return found
}

// jsonValue returns a value in the types of JSON. What JSON has no type for is a text.
func jsonValue(v ref.Val) any {
	switch v := v.(type) {
	case types.Null:
		return nil
	case types.Double:
		if f := float64(v); math.IsInf(f, 0) || math.IsNaN(f) {
			return fmt.Sprint(f)
		}
	case types.Timestamp:
		return v.Format(time.RFC3339Nano)
	case types.Duration:
		return v.String()
	case *types.Optional:
		if !v.HasValue() {
			return "optional.none()"
		}
		return jsonValue(v.GetValue())
	case *types.Err:
		return "error: " + v.Error()
	case *object:
		return v.kind.name
	case ref.Type:
		return v.TypeName()
	case traits.Mapper:
		object := make(map[string]any)
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			object[fmt.Sprint(key.Value())] = jsonValue(v.Get(key))
		}
		return object
	case traits.Lister:
		list := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			list = append(list, jsonValue(it.Next()))
		}
		return list
	}
	switch native := v.Value().(type) {
	case bool, int64, uint64, float64, string, []byte:
		return native
	case fmt.Stringer: // such as an address
		return native.String()
	}
	return v.Type().TypeName()
}
