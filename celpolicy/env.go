package celpolicy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/ext"
)

// What an expression may cost. Everything is judged when it is compiled: evaluation is not metered.
const (
	// maxLength is the length of an expression, in characters.
	maxLength = 16 << 10

	// maxDepth is how deep the parser follows nested parentheses, calls and operators.
	maxDepth = 64

	// maxNodes is how many nodes an expression has once macros are expanded.
	maxNodes = 10_000

	// maxLoops is how deep all(), exists(), map() and their kin nest, and maxBinds how deep cel.bind() does.
	maxLoops = 2
	maxBinds = 8

	// maxRegex is the size of a compiled pattern, in instructions.
	maxRegex = 2000

	// maxRange is the longest list that lists.range() makes: what it costs counts its time, and not its memory. Its
	// length is always literal, since that of another could cost anything.
	maxRange = 10_000

	// maxCost is the worst case of one evaluation, in the units of CEL's cost model, for the sizes in cost.go. A unit
	// is some 10 ns: the limit is near a tenth of a second, which only hostile inputs to a nested loop come close to. A
	// token whose issuer fills it with longer lists than cost.go counts on can take several times as long.
	maxCost = 10_000_000
)

// environment is what expressions are compiled in: it has no state of a configuration and is built once per process.
type environment struct {
	*cel.Env
	zones *zoneCache
}

var sharedEnvironment = sync.OnceValues(newEnvironment)

// newEnvironment pins the versions of all libraries, so that an update of cel-go does not change what expressions mean.
func newEnvironment() (*environment, error) {
	zones := new(zoneCache)
	env, err := cel.NewEnv(
		cel.OptionalTypes(cel.OptionalTypesVersion(2)),
		ext.Strings(ext.StringsVersion(5), ext.StringsValidateFormatCalls(true)),
		ext.Lists(ext.ListsVersion(4)),
		ext.Sets(ext.SetsVersion(1)),
		ext.Math(ext.MathVersion(3)),
		ext.Encoders(ext.EncodersVersion(1)),
		cel.CostEstimatorOptions(checker.OverloadCostEstimate("json_encode_dyn", encodeCost)),
		ext.Regex(ext.RegexVersion(1)),
		ext.Network(ext.NetworkVersion(ext.Version1)),
		ext.Bindings(ext.BindingsVersion(0)),
		ext.TwoVarComprehensions(ext.TwoVarComprehensionsVersion(0)),
		placeholderLibrary(),
		zones.library(),

		cel.Variable("principal", principalType.celType),
		cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("request", requestType.celType),
		cel.Variable("params", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("now", cel.TimestampType),

		cel.ParserExpressionSizeLimit(maxLength),
		cel.ParserRecursionLimit(maxDepth),
		cel.ExpressionNodeLimit(maxNodes),
		cel.ASTValidators(
			cel.ValidateDurationLiterals(),
			cel.ValidateTimestampLiterals(),
			cel.ValidateBindNestingLimit(maxBinds),
		),
		withObjectTypes, // last, as the next: they wrap the types that the libraries brought
		withNativeAdapter,
	)
	if err != nil {
		return nil, fmt.Errorf("building the environment of expressions: %w", err)
	}
	return &environment{Env: env, zones: zones}, nil
}

// checkSource parses an expression and finds what is wrong with it: mistakes come with line, column, caret, and what was
// probably meant. The path is that of the rule; its parameters are the only ones that the expression may read.
func checkSource(source string, path *pattern) (*environment, *cel.Ast, error) {
	env, err := sharedEnvironment()
	if err != nil {
		return nil, nil, err
	}
	text := common.NewStringSource(source, "when")
	if err := checkShorthands(text); err != nil {
		return nil, nil, err
	}
	parsed, issues := env.ParseSource(text)
	if failed(issues) {
		return nil, nil, syntaxMistakes(text, issues)
	}
	checked, issues := env.Check(parsed)
	if failed(issues) {
		env.suggest(parsed, issues)
		return nil, nil, mistakes(text, issues.Errors())
	}
	issues = issuesOf(checked)
	checkExpression(env, checked, path, issues)
	checkOutput(checked, issues)
	if failed(issues) {
		return nil, nil, mistakes(text, issues.Errors())
	}
	if err := checkCost(env, checked, issues); err != nil {
		return nil, nil, fmt.Errorf("when: %w", err)
	}
	if failed(issues) {
		return nil, nil, mistakes(text, issues.Errors())
	}
	return env, checked, nil
}

// issuesOf returns an empty list of mistakes in an expression that was checked.
func issuesOf(checked *cel.Ast) *cel.Issues {
	return cel.NewIssuesWithSourceInfo(common.NewErrors(checked.Source()), checked.NativeRep().SourceInfo())
}

// program plans what was checked.
func (env *environment) program(checked *cel.Ast) (cel.Program, error) {
	program, err := env.Program(checked, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("when: %w", err)
	}
	return program, nil
}

// failed reports whether there are mistakes. Their text, which issues.Err makes, takes long for long expressions.
func failed(issues *cel.Issues) bool { return len(issues.Errors()) > 0 }

// maxMistakes is how many mistakes of one expression are told.
const maxMistakes = 10

// mistakes tells the first of them, with their carets.
func mistakes(source common.Source, found []*common.Error) error {
	found = slices.SortedStableFunc(slices.Values(found), byPlace)
	var told []string
	for i, mistake := range found {
		if i == maxMistakes {
			told = append(told, fmt.Sprintf("when: and %d more", len(found)-i))
			break
		}
		text := strings.TrimPrefix(mistake.ToDisplayString(source), "ERROR: ")
		if mistake.Location.Line() < 1 { // it concerns no place in particular
			text = source.Description() + ": " + mistake.Message
		}
		told = append(told, text)
	}
	return errors.New(strings.Join(told, "\n"))
}

func byPlace(a, b *common.Error) int {
	return cmp.Or(cmp.Compare(a.Location.Line(), b.Location.Line()), cmp.Compare(a.Location.Column(), b.Location.Column()))
}

// checkOutput wants exactly bool: a dyn could be anything once requests come, and a rule that always fails decides
// nothing.
func checkOutput(ast *cel.Ast, issues *cel.Issues) {
	switch output := ast.OutputType(); {
	case output.IsExactType(cel.BoolType):
	case output.IsExactType(cel.DynType):
		issues.ReportErrorAtID(ast.NativeRep().Expr().ID(),
			"the expression must be of type bool, and the type of this is only known at run time: compare it, as in claims.admin == true")
	default:
		issues.ReportErrorAtID(ast.NativeRep().Expr().ID(),
			"the expression must be of type bool, this is %s: compare it with something", cel.FormatCELType(output))
	}
}
