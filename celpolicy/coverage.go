package celpolicy

// coverage is what the tests of a policy left unseen.
type coverage struct {
	// Unreached are the rules that no test had to judge: no request had their method and path, or another rule had decided
	// before they could matter.
	Unreached []string `json:"unreached"`

	// NeverTrue and NeverFalse are reached rules whose expression never was so.
	NeverTrue  []string `json:"never_true"`
	NeverFalse []string `json:"never_false"`
}

// complete reports whether nothing was left unseen.
func (c *coverage) complete() bool {
	return len(c.Unreached)+len(c.NeverTrue)+len(c.NeverFalse) == 0
}

// tracker sees which rules the tests of a policy reach. As the order of the rules means nothing, each is evaluated on its
// own, and not only those up to the first that decides.
type tracker struct {
	compiled *Compiled
	names    []string // in the policy's order
	seen     map[string]*sighting
}

type sighting struct {
	reached, wasTrue, wasFalse bool
	expression                 bool // there is one
}

func newTracker(h *Handler) *tracker {
	t := &tracker{compiled: h.compiled, seen: make(map[string]*sighting)}
	for i := range h.policy.Rules {
		name, _ := h.policy.Rules[i].name()
		t.names = append(t.names, name)
		t.seen[name] = &sighting{expression: h.policy.Rules[i].When != ""}
	}
	return t
}

// observe sees one decision. Allow rules matter unless a deny rule decided, step_up rules once the request is allowed.
func (t *tracker) observe(in *input, decided verdict) {
	denied := t.evaluate(t.compiled.deny, in, decided.Rule)
	if denied {
		return
	}
	t.evaluate(t.compiled.allow, in, decided.Rule)
	if result := Result(decided.Decision); result == Allow || result == StepUp {
		t.evaluate(t.compiled.stepUp, in, decided.Rule)
	}
}

// evaluate reports whether the rule that decided is among the rules.
func (t *tracker) evaluate(rules []*rule, in *input, decided string) (found bool) {
	for _, rule := range rules {
		found = found || rule.name == decided
		if !rule.coversMethod(in) || !rule.coversPath(in) {
			continue
		}
		s := t.seen[rule.name]
		s.reached = true
		applies, err := rule.applies(in)
		s.wasTrue = s.wasTrue || applies
		s.wasFalse = s.wasFalse || !applies && err == nil
	}
	return found
}

func (t *tracker) coverage() coverage {
	c := coverage{Unreached: []string{}, NeverTrue: []string{}, NeverFalse: []string{}}
	for _, name := range t.names {
		switch s := t.seen[name]; {
		case !s.reached:
			c.Unreached = append(c.Unreached, name)
		case s.expression && !s.wasTrue:
			c.NeverTrue = append(c.NeverTrue, name)
			if !s.wasFalse { // it failed each time
				c.NeverFalse = append(c.NeverFalse, name)
			}
		case s.expression && !s.wasFalse:
			c.NeverFalse = append(c.NeverFalse, name)
		}
	}
	return c
}
