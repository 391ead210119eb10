package celpolicy

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
)

// explanation says how a policy comes to its decision.
type explanation struct {
	Policy     string `json:"policy"`
	ReportOnly bool   `json:"report_only,omitempty"`

	verdict

	// Rules are all rules, in the policy's order; none when the request was refused before they could judge it.
	Rules []ruleExplanation `json:"rules"`
}

// ruleExplanation says what one rule makes of a request. Each rule is evaluated, also when another one decides.
type ruleExplanation struct {
	Rule string `json:"rule"`
	Kind string `json:"kind"` // allow, deny, step_up

	// Applies is true when method, path and expression do; for a deny rule that means that it denies.
	Applies bool `json:"applies"`

	// Because says what does not apply: method, path, when, or error.
	Because string `json:"because,omitempty"`
	Error   string `json:"error,omitempty"`

	// Satisfied, of a step_up rule, says whether the caller authenticated as the rule demands.
	Satisfied *bool `json:"satisfied,omitempty"`

	Methods []string          `json:"methods,omitempty"`
	Path    string            `json:"path,omitempty"`
	Params  map[string]string `json:"params,omitempty"` // of the path

	// When is the expression, with what each part of it gave.
	When *part `json:"when,omitempty"`
}

// explain decides as [Handler.ServeHTTP] does, with programs that remember what their parts gave.
func (h *Handler) explain(s *scenario, now time.Time) (*explanation, error) {
	if !s.Now.IsZero() {
		now = s.Now
	}
	r, caller, err := s.build()
	if err != nil {
		return nil, err
	}
	traced, traces, err := h.compiled.traced(h.policy.Rules)
	if err != nil {
		return nil, err
	}
	e := &explanation{ReportOnly: h.ReportOnly, Policy: h.compiled.name, Rules: []ruleExplanation{}}
	tracing := &Handler{ReportOnly: h.ReportOnly, compiled: traced}
	judged := false
	if e.verdict, judged = tracing.outcomeOf(r, caller, now); !judged {
		return e, nil
	}
	in := newInput(r, caller, now)
	for i := range h.policy.Rules {
		source := &h.policy.Rules[i]
		name, kind := source.name()
		compiled := traced.find(name)
		x := ruleExplanation{Rule: name, Kind: kind, Methods: source.Methods, Path: source.Path}
		x.judge(compiled, in, r)
		if trace := traces[name]; trace != nil && x.Because != "method" && x.Because != "path" {
			x.When = trace.parts()
		}
		e.Rules = append(e.Rules, x)
	}
	return e, nil
}

func (x *ruleExplanation) judge(compiled *rule, in *input, r *http.Request) {
	if !compiled.coversMethod(in) {
		x.Because = "method"
		return
	}
	if !compiled.coversPath(in) {
		x.Because = "path"
		return
	}
	if len(compiled.path.params()) > 0 {
		x.Params = maps.Collect(compiled.path.values(r.URL.Path))
	}
	var err error
	switch x.Applies, err = compiled.applies(in); {
	case err != nil:
		x.Because, x.Error = "error", err.Error()
	case !x.Applies:
		x.Because = "when"
	}
	if x.Kind == "step_up" && (x.Applies || err != nil) {
		satisfied := compiled.satisfied(in)
		x.Satisfied = &satisfied
	}
}

// find returns the rule of a name.
func (c *Compiled) find(name string) *rule {
	for _, list := range [][]*rule{c.deny, c.allow, c.stepUp} {
		if i := slices.IndexFunc(list, func(r *rule) bool { return r.name == name }); i >= 0 {
			return list[i]
		}
	}
	return nil
}

// traced returns a copy of c that decides the same with programs that remember what their parts gave, and these programs
// by the names of their rules.
func (c *Compiled) traced(rules []Rule) (*Compiled, map[string]*trace, error) {
	traces := make(map[string]*trace)
	for i := range rules {
		name, _ := rules[i].name()
		if rules[i].When == "" {
			continue
		}
		t, err := newTrace(rules[i].When)
		if err != nil {
			return nil, nil, fmt.Errorf("rule %s: %w", name, err)
		}
		traces[name] = t
	}
	trace := func(list []*rule) []*rule {
		list = slices.Clone(list)
		for i, r := range list {
			if t := traces[r.name]; t != nil {
				traced := *r
				traced.when = t
				list[i] = &traced
			}
		}
		return list
	}
	traced := *c
	traced.deny, traced.allow, traced.stepUp = trace(c.deny), trace(c.allow), trace(c.stepUp)
	return &traced, traces, nil
}

// trace is a program that remembers what the parts of its expression gave when it ran last. It belongs to one goroutine.
type trace struct {
	cel.Program
	ast     *cel.Ast
	details *cel.EvalDetails
}

// tracingEnvironment is the environment of all expressions; it also remembers which macro a loop was written as.
var tracingEnvironment = sync.OnceValues(func() (*cel.Env, error) {
	env, err := sharedEnvironment()
	if err != nil {
		return nil, err
	}
	return env.Extend(cel.EnableMacroCallTracking())
})

// newTrace plans an expression that was checked before.
func newTrace(source string) (*trace, error) {
	env, err := tracingEnvironment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(source)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize|cel.OptTrackState))
	if err != nil {
		return nil, err
	}
	return &trace{Program: program, ast: ast}, nil
}
