package celpolicy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-okta/caddy-okta/internal/deny"
)

// DefaultName is the name of a policy that has none.
const DefaultName = "policy"

// Policy is a set of rules under one name.
type Policy struct {
	// Name is what metrics, audit lines and placeholders call the policy: letters, digits, "_" and "-", a letter first.
	// Several policies may share one, as those of a snippet do that several sites import; metrics add them up then.
	// Default: policy.
	Name string `json:"name,omitempty"`

	// Rules decide together, whatever their order. A request that no allow rule covers is denied; without rules, all
	// are.
	Rules []Rule `json:"rules,omitempty"`
}

// Rule is one rule of a policy. Exactly one of allow, deny and step_up is set; it holds the rule's name.
type Rule struct {
	// Allow names a rule that allows the requests to which it applies.
	Allow string `json:"allow,omitempty"`

	// Deny names a rule that denies the requests to which it applies, or for which its expression fails.
	Deny string `json:"deny,omitempty"`

	// StepUp names a rule that demands a stronger or more recent authentication for the requests to which it applies,
	// or for which its expression fails.
	StepUp string `json:"step_up,omitempty"`

	// Methods are the request methods that the rule covers, in upper case. GET covers HEAD. Default: all.
	Methods []string `json:"methods,omitempty"`

	// Path is the place that the rule covers: exact, with parameters such as /users/{id}, or with a final /* for the
	// place and everything below. Default: all.
	Path string `json:"path,omitempty"`

	// When is a CEL expression of type bool. Required for allow; true allows all requests that the rule covers. Default
	// for deny and step_up: true.
	When string `json:"when,omitempty"`

	// ACRValues are the acceptable values of "acr", for step_up. Default: any.
	ACRValues []string `json:"acr_values,omitempty"`

	// MaxAge is how long ago the user may have authenticated ("auth_time"), for step_up. Whole seconds. Default: any
	// time ago.
	MaxAge caddy.Duration `json:"max_age,omitempty"`
}

// RuleError is a mistake in one rule of a policy.
type RuleError struct {
	Index int    // which of the policy's rules it is, counted from 0
	Rule  string // its name, where it has one
	Err   error  // what is wrong; mistakes in an expression come with line, column and caret
}

// Error names the rule.
func (e *RuleError) Error() string {
	if e.Rule == "" {
		return fmt.Sprintf("rule %d: %v", e.Index+1, e.Err)
	}
	return fmt.Sprintf("rule %s: %v", e.Rule, e.Err)
}

// Unwrap returns what is wrong.
func (e *RuleError) Unwrap() error { return e.Err }

// Compiled is a policy that can decide. It is immutable and safe for concurrent use.
type Compiled struct {
	name                string
	deny, allow, stepUp []*rule // each in the policy's order
}

// rule is a compiled Rule.
type rule struct {
	name      string
	methods   []string    // nil covers all
	path      *pattern    // nil covers all
	when      cel.Program // nil is true
	acrValues []string
	maxAge    time.Duration
}

// Compile checks a policy and makes it ready to decide. Its error joins one [RuleError] for each rule that has a mistake.
func Compile(p *Policy) (*Compiled, error) {
	c := &Compiled{name: p.Name}
	if p.Name == "" {
		c.name = DefaultName
	} else if err := checkName(p.Name); err != nil {
		return nil, fmt.Errorf("name: %w", err)
	}
	var mistakes []error
	names := make(map[string]int, len(p.Rules)) // where each occurs first
	for i := range p.Rules {
		compiled, list, err := p.Rules[i].compile(c)
		name, _ := p.Rules[i].name()
		if first, ok := names[name]; !ok {
			names[name] = i
		} else if err == nil {
			err = &nameTwice{first: first, place: fmt.Sprintf("as rule %d", first+1)}
		}
		if err != nil {
			mistakes = append(mistakes, &RuleError{Index: i, Rule: name, Err: err})
			continue
		}
		*list = append(*list, compiled)
	}
	if err := errors.Join(mistakes...); err != nil {
		return nil, err
	}
	return c, nil
}

// nameTwice is the mistake of a rule whose name is one of an earlier rule.
type nameTwice struct {
	first int    // which of the policy's rules that is
	place string // where it stands, in words
}

func (e *nameTwice) Error() string {
	return fmt.Sprintf("the policy has two rules of this name, first %s: rename one", e.place)
}

// Check reports the first mistake in the rule itself, without its name. What concerns several rules is left to [Compile].
func (r *Rule) Check() error {
	_, _, err := r.compile(new(Compiled))
	return err
}

// compile returns the compiled rule, and the list of c in which it has its place.
func (r *Rule) compile(c *Compiled) (*rule, *[]*rule, error) {
	name, list := r.name()
	switch {
	case list == "" && name == "":
		return nil, nil, errors.New("the rule has no name: write allow, deny or step_up, and a name")
	case list == "":
		return nil, nil, errors.New("the rule is of several kinds: write one of allow, deny and step_up")
	}
	if err := checkName(name); err != nil {
		return nil, nil, err
	}
	compiled := &rule{name: name, acrValues: r.ACRValues, maxAge: time.Duration(r.MaxAge)}
	lists := map[string]*[]*rule{"allow": &c.allow, "deny": &c.deny, "step_up": &c.stepUp}
	if err := r.checkStepUp(list == "step_up"); err != nil {
		return nil, nil, err
	}
	var err error
	if compiled.methods, err = compileMethods(r.Methods); err != nil {
		return nil, nil, fmt.Errorf("methods: %w", err)
	}
	// What restricts is compared loosely, what grants exactly: either way a path that a backend reads differently is
	// not let through.
	if compiled.path, err = compilePattern(r.Path, list != "allow"); err != nil {
		return nil, nil, fmt.Errorf("path %s: %w", r.Path, err)
	}
	if list == "allow" && strings.TrimSpace(r.When) == "" { // such as an unset variable: it must not open the place
		return nil, nil, errors.New("when is missing: write the expression, and true to allow all requests")
	}
	if err = compiled.compileWhen(r.When); err != nil {
		return nil, nil, err
	}
	return compiled, lists[list], nil
}

// compileWhen compiles the expression; none is true.
func (r *rule) compileWhen(source string) error {
	if source == "" {
		return nil
	}
	env, checked, err := checkSource(source, r.path)
	if err != nil {
		return err
	}
	if err := checkReach(r, checked); err != nil {
		return err
	}
	r.when, err = env.program(checked)
	return err
}

// name returns the rule's name, and its kind unless there are several.
func (r *Rule) name() (name, kind string) {
	for _, k := range [...][2]string{{"allow", r.Allow}, {"deny", r.Deny}, {"step_up", r.StepUp}} {
		switch {
		case k[1] == "":
		case name != "":
			return name, ""
		default:
			kind, name = k[0], k[1]
		}
	}
	return name, kind
}

func (r *Rule) checkStepUp(stepUp bool) error {
	maxAge := time.Duration(r.MaxAge)
	demands := len(r.ACRValues) > 0 || maxAge != 0
	switch {
	case stepUp && !demands:
		return errors.New("step_up demands nothing: add acr_values or max_age")
	case !stepUp && demands:
		return errors.New("acr_values and max_age belong to step_up rules only")
	case maxAge < 0 || maxAge%time.Second != 0: // RFC 9470 §3: a challenge counts whole seconds
		return fmt.Errorf("max_age %s must be positive and in whole seconds", maxAge)
	}
	for _, value := range r.ACRValues {
		if err := deny.CheckQuotable(value, false); err != nil {
			return fmt.Errorf("acr_values: %w", err)
		}
	}
	return nil
}

var validName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

func checkName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%q cannot be a name: write letters, digits, _ and -, a letter first", name)
	}
	return nil
}

// tokenPunctuation are the characters other than letters and digits of which a method can consist (RFC 9110 §5.6.2).
const tokenPunctuation = "!#$%&'*+-.^_`|~"

// standardMethods are those of RFC 9110 §9.3 and RFC 5789. Others are accepted, unless they look like one of these
// mistyped: a deny rule for a method that never comes would fail open.
var standardMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}

func compileMethods(methods []string) ([]string, error) {
	if methods != nil && len(methods) == 0 {
		return nil, errors.New("the list is empty, and covers no request: leave it out to cover all")
	}
	for i, method := range methods {
		if upper := strings.ToUpper(method); upper != method {
			return nil, fmt.Errorf("%q matches no request: write %s", method, upper)
		}
		notToken := func(c rune) bool {
			return !('A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune(tokenPunctuation, c))
		}
		if method == "" || strings.ContainsFunc(method, notToken) {
			return nil, fmt.Errorf("%q is not a method: write one such as GET", method)
		}
		if slices.Contains([]string{"*", "ANY", "ALL"}, method) {
			return nil, fmt.Errorf("%q is not a method: leave methods out to cover all", method)
		}
		if !slices.Contains(standardMethods, method) {
			if name, ok := meant(method, standardMethods, ""); ok {
				return nil, fmt.Errorf("%q is no method of HTTP: did you mean %s?", method, name)
			}
		}
		if slices.Contains(methods[:i], method) {
			return nil, fmt.Errorf("%s is listed twice: write the other method that was meant, or leave it out", method)
		}
	}
	if slices.Contains(methods, "GET") && !slices.Contains(methods, "HEAD") { // RFC 9110 §9.3.2: HEAD is GET without content
		methods = append(slices.Clone(methods), "HEAD")
	}
	return methods, nil
}
