package celpolicy

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

func TestMistakesInRulesAreErrors(t *testing.T) {
	for name, test := range map[string]struct {
		rule Rule
		want string
	}{
		"no kind":                        {Rule{When: "true"}, "the rule has no name: write allow, deny or step_up"},
		"two kinds":                      {Rule{Allow: "a", Deny: "b"}, "write one of allow, deny and step_up"},
		"a name with a space":            {Rule{Allow: "a b", When: "true"}, `"a b" cannot be a name`},
		"a name that starts with -":      {Rule{Deny: "-a"}, "cannot be a name"},
		"a name that starts with 1":      {Rule{Deny: "1a"}, "cannot be a name"},
		"an allow without expression":    {Rule{Allow: "a", Path: "/a"}, "when is missing: write the expression, and true to allow all"},
		"an allow with a blank one":      {Rule{Allow: "a", When: " \n"}, "when is missing: write the expression, and true to allow all"},
		"a mistyped method":              {Rule{Deny: "a", Methods: []string{"DELTE"}}, `methods: "DELTE" is no method of HTTP: did you mean DELETE?`},
		"a parameter of another dialect": {Rule{Deny: "a", Path: "/admin/:id"}, `path /admin/:id: ":id" is no parameter: write {id}`},
		"a parameter in angle brackets":  {Rule{Deny: "a", Path: "/admin/<id>"}, `path /admin/<id>: "<id>" is no parameter: write {id}`},
		"a method in lower case":         {Rule{Allow: "a", Methods: []string{"get"}, When: "true"}, `methods: "get" matches no request: write GET`},
		"a method with a comma":          {Rule{Allow: "a", Methods: []string{"GET,POST"}, When: "true"}, "is not a method"},
		"a method for all":               {Rule{Deny: "a", Methods: []string{"*"}}, `"*" is not a method: leave methods out to cover all`},
		"any method":                     {Rule{Deny: "a", Methods: []string{"GET", "ANY"}}, `"ANY" is not a method: leave methods out`},
		"all methods":                    {Rule{Deny: "a", Methods: []string{"ALL"}}, `"ALL" is not a method: leave methods out`},
		"an empty method":                {Rule{Allow: "a", Methods: []string{""}, When: "true"}, "is not a method"},
		"a bad path":                     {Rule{Allow: "a", Path: "x", When: "true"}, "path x: must start with a slash: write /x"},
		"a bad expression":               {Rule{Allow: "a", When: "nope"}, "when:1:1: undeclared reference"},
		"another parameter":              {Rule{Allow: "a", Path: "/u/{name}", When: "params.id == ''"}, "or one of params.name here"},
		"a step-up that demands nothing": {Rule{StepUp: "a"}, "demands nothing: add acr_values or max_age"},
		"acr_values of an allow":         {Rule{Allow: "a", ACRValues: []string{"phr"}}, "belong to step_up"},
		"max_age of a deny":              {Rule{Deny: "a", MaxAge: caddy.Duration(time.Second)}, "belong to step_up"},
		"a negative max_age":             {Rule{StepUp: "a", MaxAge: caddy.Duration(-time.Second)}, "positive"},
		"half a second of max_age":       {Rule{StepUp: "a", MaxAge: caddy.Duration(time.Second / 2)}, "whole seconds"},
		"an acr value with a quote":      {Rule{StepUp: "a", ACRValues: []string{`x"`}}, "acr_values"},
		"an acr value with a space":      {Rule{StepUp: "a", ACRValues: []string{"a b"}}, "acr_values"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			if err := test.rule.Check(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Check() = %v, want …%s…", err, test.want)
			}
			_, err := Compile(&Policy{Rules: []Rule{{Allow: "fine", When: "true"}, test.rule}})
			var mistake *RuleError
			if !errors.As(err, &mistake) || mistake.Index != 1 || !strings.Contains(mistake.Error(), test.want) {
				t.Errorf("Compile() = %v, want a RuleError of the second rule", err)
			}
		})
	}
}

func TestMistakesInPoliciesAreErrors(t *testing.T) {
	for name, test := range map[string]struct {
		policy Policy
		want   string
	}{
		"a bad name": {Policy{Name: "a b", Rules: []Rule{{Allow: "a", When: "true"}}}, `name: "a b" cannot be a name`},
		"one name twice, of two kinds": {Policy{Rules: []Rule{{Allow: "a", When: "true"}, {Deny: "b"}, {Deny: "a"}}},
			"rule a: the policy has two rules of this name, first as rule 1: rename one"},
		"two mistakes": {Policy{Rules: []Rule{{Allow: "a", Path: "x", When: "true"}, {Deny: "b", When: "1"}}},
			"rule a: path x: must start with a slash: write /x\nrule b: when:1:1: the expression must be of type bool, this is int"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			if _, err := Compile(&test.policy); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Compile() = %v, want …%s…", err, test.want)
			}
		})
	}
}

func TestTheShapeInJSONIsThatOfPolicyFiles(t *testing.T) {
	const config = `{"name":"orders","rules":[` +
		`{"allow":"own","methods":["GET"],"path":"/users/{id}","when":"params.id == principal.subject"},` +
		`{"deny":"outside","when":"!cidr('10.0.0.0/8').containsIP(request.ip)"},` +
		`{"step_up":"payments","path":"/payments/*","acr_values":["phr"],"max_age":300000000000}],"report_only":true}`
	var h Handler
	if err := caddy.StrictUnmarshalJSON([]byte(config), &h); err != nil {
		t.Fatal(err)
	}
	if _, err := Compile(&h.Policy); err != nil {
		t.Error(err)
	}
	if got, err := json.Marshal(h); err != nil || string(got) != config {
		t.Errorf("marshalled: %s %v, want %s", got, err, config)
	}
	var short Rule
	if err := json.Unmarshal([]byte(`{"step_up":"a","max_age":"5m"}`), &short); err != nil || time.Duration(short.MaxAge) != 5*time.Minute {
		t.Errorf("max_age 5m: %v %v", time.Duration(short.MaxAge), err)
	}
}

func TestCompilingChangesNoConfiguration(t *testing.T) {
	methods := append(make([]string, 0, 4), "GET")
	compile(t, Rule{Allow: "a", Methods: methods, When: "true"})
	if extra := methods[:2][1]; extra != "" {
		t.Errorf("the list of methods was extended in place by %q", extra)
	}
}
