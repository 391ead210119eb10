package celpolicy

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"cel.dev/cel-go/common/types"

	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// Result is what a policy says about a request.
type Result string

// The results of a decision. Only Allow lets the request go on.
const (
	Allow  Result = "allow"
	Deny   Result = "deny"
	StepUp Result = "step_up"
	Error  Result = "error"
)

// Decision is the outcome for one request. The zero value allows nothing.
type Decision struct {
	// Result is what becomes of the request.
	Result Result

	// Rule is the rule that decided; empty when no rule applied.
	Rule string

	// ACRValues and MaxAge are what the rule demands, for StepUp.
	ACRValues []string
	MaxAge    time.Duration

	// Err is why the rule could not be evaluated, for Error. It can quote values of the request: it is for whoever
	// asks for an explanation, not for logs and answers.
	Err error
}

// Decide combines the rules. Their order does not change the result; it only chooses which of several rules is named,
// the first. That is why a deny rule that fails does not end the search: another one may plainly be true.
func (c *Compiled) Decide(r *http.Request, caller *principal.Caller, now time.Time) Decision {
	in := newInput(r, caller, now)

	denied := firstOf(c.deny, in)
	if denied.Rule != "" {
		return denied.as(Deny)
	}
	allowed := firstOf(c.allow, in)
	if allowed.Rule == "" || allowed.Err != nil {
		return allowed.as(Deny)
	}
	for _, rule := range c.stepUp {
		applies, err := rule.applies(in)
		if (applies || err != nil) && !rule.satisfied(in) {
			return Decision{Result: StepUp, Rule: rule.name, ACRValues: rule.acrValues, MaxAge: rule.maxAge}
		}
	}
	return allowed.as(Allow)
}

// as gives a decision its result, which is Error when its rule failed.
func (d Decision) as(result Result) Decision {
	d.Result = result
	if d.Err != nil {
		d.Result = Error
	}
	return d
}

// firstOf names the first rule that applies; else, with its error, the first that failed; else none.
func firstOf(rules []*rule, in *input) (d Decision) {
	for _, rule := range rules {
		switch applies, err := rule.applies(in); {
		case applies:
			return Decision{Rule: rule.name}
		case err != nil && d.Err == nil:
			d = Decision{Rule: rule.name, Err: err}
		}
	}
	return d
}

// applies reports whether the rule's method, path and expression are true of the request. It is never true when there
// is an error.
func (r *rule) applies(in *input) (bool, error) {
	if !r.coversMethod(in) || !r.coversPath(in) {
		return false, nil
	}
	if r.when == nil {
		return true, nil
	}
	in.path = r.path
	value, _, err := r.when.Eval(in)
	if err != nil {
		return false, err
	}
	if truth, ok := value.(types.Bool); ok {
		return bool(truth), nil
	}
	return false, fmt.Errorf("the expression gave no bool") // the checker knows better, but nothing depends on that
}

func (r *rule) coversMethod(in *input) bool {
	return r.methods == nil || slices.Contains(r.methods, in.request.Method)
}

func (r *rule) coversPath(in *input) bool {
	return r.path == nil || r.path.matches(in.request.URL.Path)
}

// satisfied reports whether the caller authenticated as the rule demands. Nobody is an anonymous caller's user.
func (r *rule) satisfied(in *input) bool {
	id := in.caller.Identity
	return id != nil && id.MeetsStepUp(r.acrValues, r.maxAge, in.caller.ClockSkew, in.time)
}
