package caddyfile

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

func TestMistypedRulesAreExplained(t *testing.T) {
	for rule, want := range map[string]string{
		"allow x \"Admin\" in principal.groups":   "the expression is one token, in backticks",
		"allow x GET /a":                          "the expression is missing",
		"allow x GET":                             "undeclared reference to 'GET'",
		"allow x":                                 "write allow <rule>",
		"deny x DELTE /a `true`":                  "did you mean DELETE",
		"deny x /a/:id `true`":                    "write {id}",
		"step_up x GET /a now {\n max_age 5m\n }": `unexpected "now"`,
	} {
		_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("example.com {\n cel_policy {\n "+rule+"\n }\n}\n"), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %s", rule, err, want)
		}
	}
}

// A mistake in a rule is reported at the line on which the rule begins, also behind a block.
func TestMistakesAreReportedAtTheLineOfTheRule(t *testing.T) {
	for name, rule := range map[string]string{
		"allow":                     "allow me `principal.athenticated`",
		"deny":                      "deny me `principal.athenticated`",
		"step_up with a block":      "step_up me {\n max_age 5m\n when `principal.athenticated`\n }",
		"an expression of 3 lines":  "allow me `true &&\n principal.athenticated\n && true`",
		"the second of two rules":   "allow one `true`\n deny one `true`",
		"a path that cannot match":  "allow me path `true`",
		"step_up without a demand":  "step_up me {\n when `true`\n }",
		"a misspelt method in GET,": "allow me get /x `true`",
	} {
		config := "example.com {\n cel_policy {\n name orders\n " + rule + "\n }\n}\n"
		want := "Caddyfile:4"
		if strings.HasPrefix(name, "the second") {
			want = "Caddyfile:5"
		}
		_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error at %s", name, err, want)
		}
	}
}

func TestANameOfTwoRulesSaysWhereTheFirstIs(t *testing.T) {
	config := "example.com {\n cel_policy {\n step_up me {\n max_age 5m\n }\n allow me `true`\n }\n}\n"
	_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), nil)
	if err == nil || !strings.Contains(err.Error(), "allow me: the policy has two rules of this name, first at Caddyfile:3: rename one, at Caddyfile:6") {
		t.Errorf("two rules of one name: %v", err)
	}
}
