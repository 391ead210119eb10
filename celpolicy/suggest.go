package celpolicy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// suggest completes the messages of the type checker with what was probably meant.
func (env *environment) suggest(parsed *cel.Ast, issues *cel.Issues) {
	nodes := make(map[int64]ast.Expr)
	ast.PreOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) { nodes[e.ID()] = e }))
	for _, mistake := range issues.Errors() {
		node, ok := nodes[mistake.ExprID]
		if !ok {
			continue
		}
		mistake.Message = readable(mistake)
		if hint := env.hint(mistake.Message, node); hint != "" {
			mistake.Message += ": " + hint
		}
	}
}

var quotedName = regexp.MustCompile(`'([^']*)'`)

// readable writes operators as their users do, and leaves out what says nothing to them.
func readable(mistake *common.Error) string {
	message := strings.TrimSuffix(mistake.Message, " (in container '')")
	return quotedName.ReplaceAllStringFunc(message, func(quoted string) string {
		if symbol, ok := operators.FindReverse(strings.Trim(quoted, "'")); ok && symbol != "" {
			return "'" + symbol + "'"
		}
		return quoted
	})
}

// hint returns what to write instead, or nothing.
func (env *environment) hint(message string, node ast.Expr) string {
	switch {
	case strings.HasPrefix(message, "undefined field"):
		return fieldHint(node)
	case strings.HasPrefix(message, "undeclared reference") && node.Kind() == ast.CallKind:
		return env.functionHint(node.AsCall())
	case strings.HasPrefix(message, "undeclared reference"):
		if name, ok := qualified(node); ok {
			return env.nameHint(name)
		}
	case strings.HasPrefix(message, "found no matching overload for '_[_]'") && node.Kind() == ast.CallKind:
		if operand, field := selection(node); operand != nil && field != "" {
			return fmt.Sprintf("fields are read with a dot, as in .%s", field)
		}
	case strings.HasSuffix(message, "does not support field selection") && node.Kind() == ast.SelectKind:
		if function, ok := meant(node.AsSelect().FieldName(), env.functionNames(), ""); ok {
			return fmt.Sprintf("did you mean .%s()?", function)
		}
	case comparesListWithOther.MatchString(message):
		return "a list is compared with a list; to look into it write … in …"
	case strings.HasPrefix(message, "found no matching overload for 'or' applied to '("): // the method of optionals
		return "write … || …"
	case looksIntoList.MatchString(message):
		return lookInto
	}
	return ""
}

var looksIntoList = regexp.MustCompile(`^found no matching overload for '(contains|indexOf|lastIndexOf|matches|startsWith|endsWith)' applied to 'list\(`)

var comparesListWithOther = regexp.MustCompile(`'[=!]=' applied to '\((list\(.*\), [a-z]+|[a-z]+, list\(.*\))\)'`)

// fieldHint is for a field that principal or request does not have.
func fieldHint(node ast.Expr) string {
	operand, field := selection(node)
	if operand == nil || operand.Kind() != ast.IdentKind {
		return ""
	}
	object := objectTypeOf(operand.AsIdent())
	if object == nil {
		return ""
	}
	if name, ok := meant(field, object.names, object.name+"."); ok {
		return fmt.Sprintf("did you mean %s.%s?", object.name, name)
	}
	all := fmt.Sprintf("%s has %s", object.name, strings.Join(object.names, ", "))
	if object == principalType {
		all += fmt.Sprintf("; a claim of the token is claims.%s", field)
	}
	return all
}

// selection returns the parts of x.field, x.?field, x["field"] and their kin.
func selection(node ast.Expr) (operand ast.Expr, field string) {
	switch node.Kind() {
	case ast.SelectKind:
		s := node.AsSelect()
		return s.Operand(), s.FieldName()
	case ast.CallKind:
		call := node.AsCall()
		switch call.FunctionName() {
		case operators.Index, operators.OptIndex, operators.OptSelect:
			if key, ok := literal(call.Args()[1]); ok {
				return call.Args()[0], key
			}
		}
	}
	return nil, ""
}

// nameHint is for a variable that does not exist; also for a field whose variable was forgotten.
func (env *environment) nameHint(name string) string {
	first, _, _ := strings.Cut(name, ".")
	if env.isNamespace(first) {
		return "" // the function in it is reported as well
	}
	for _, object := range []*objectType{principalType, requestType} {
		if slices.Contains(object.names, first) {
			return fmt.Sprintf("did you mean %s.%s?", object.name, first)
		}
	}
	if variable, ok := meant(first, variables, ""); ok {
		return fmt.Sprintf("did you mean %s?", variable)
	}
	return "the variables are " + strings.Join(variables, ", ")
}

// functionHint is for a function that does not exist.
func (env *environment) functionHint(call ast.CallExpr) string {
	name := call.FunctionName()
	switch word := strings.ToLower(name); {
	case call.IsMemberFunction() && slices.Contains([]string{"has", "contain", "include", "includes", "hasany"}, word):
		return lookInto
	case word == "not":
		return "write !(…)"
	case word == "and":
		return "write … && …"
	}
	if call.IsMemberFunction() {
		if namespace, ok := qualified(call.Target()); ok && env.isNamespace(namespace) {
			name = namespace + "." + name
		}
	}
	if function, ok := meant(name, env.functionNames(), ""); ok {
		return fmt.Sprintf("did you mean %s()?", function)
	}
	return ""
}

// functionNames returns what expressions can call, sorted.
func (env *environment) functionNames() (names []string) {
	for name := range env.Functions() {
		if c := name[0] | 0x20; 'a' <= c && c <= 'z' { // operators and inner functions start with something else
			names = append(names, name)
		}
	}
	for _, macro := range env.Macros() {
		names = append(names, macro.Function())
	}
	names = append(names, "cel.bind", "math.greatest", "math.least") // macros whose namespace is their receiver
	slices.Sort(names)
	return slices.Compact(names)
}

func (env *environment) isNamespace(name string) bool {
	return slices.ContainsFunc(env.functionNames(), func(function string) bool { return strings.HasPrefix(function, name+".") })
}

// qualified returns the dotted name that an expression is.
func qualified(e ast.Expr) (string, bool) {
	switch e.Kind() {
	case ast.IdentKind:
		return e.AsIdent(), true
	case ast.SelectKind:
		if prefix, ok := qualified(e.AsSelect().Operand()); ok {
			return prefix + "." + e.AsSelect().FieldName(), true
		}
	}
	return "", false
}

// synonyms are names that other products, or the token itself, use for ours.
var synonyms = map[string]string{
	"principal.sub": "subject", "principal.uid": "user_id", "principal.cid": "client_id", "principal.iss": "issuer",
	"principal.jti": "token_id", "principal.scp": "scopes", "principal.aud": "audience", "principal.exp": "expires_at",
	"principal.iat": "issued_at", "principal.auth_time": "authenticated_at", "principal.roles": "groups",
	"request.url": "path", "request.uri": "path", "request.client_ip": "ip", "request.remote_ip": "ip", "request.address": "ip",
	"lower": "lowerAscii", "toLowerCase": "lowerAscii", "upper": "upperAscii", "toUpperCase": "upperAscii", "length": "size", "len": "size",
	"any": "exists", "some": "exists", "every": "all", "hasPrefix": "startsWith", "hasSuffix": "endsWith",
	"user": "principal", "subject": "principal", "token": "claims", "jwt": "claims", "req": "request", "time": "now",
	"True": "true", "TRUE": "true", "False": "false", "FALSE": "false", "nil": "null", "None": "null", "NULL": "null", "undefined": "null",
}

// meant returns the one of the known names that a wrong one is closest to.
func meant(wrong string, known []string, scope string) (string, bool) {
	if name, ok := synonyms[scope+wrong]; ok {
		return name, true
	}
	best, distance := "", 1+max(1, len(wrong)/3)
	for _, name := range known {
		if d := editDistance(plain(wrong), plain(name)); d < distance {
			best, distance = name, d
		}
	}
	return best, best != ""
}

// plain makes userId, user-id and user_id one.
func plain(name string) string { return unseparated.Replace(strings.ToLower(name)) }

var unseparated = strings.NewReplacer("_", "", "-", "")

// editDistance counts the letters to insert, to delete, to replace, or to swap with their neighbour.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row := rows[(i+1)%3], rows[(i-1)%3], rows[i%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(last[j]+1, row[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}
