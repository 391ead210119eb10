package caddyfile

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-okta/caddy-okta/celpolicy"
)

// shortForm is the name of the one rule of "cel_policy <expression>".
const shortForm = "expression"

// parsePolicy parses the directive cel_policy. Rules are compiled here already, so that a mistake is reported with the
// file and line of its rule.
func parsePolicy(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	handler := new(celpolicy.Handler)
	switch args := h.RemainingArgs(); len(args) {
	case 0:
	case 1:
		handler.Rules = []celpolicy.Rule{{Allow: shortForm, When: args[0]}}
		if err := handler.Rules[0].Check(); err != nil {
			return nil, h.Errf("expression: %v", err)
		}
		return handler, noBlock(h.Dispenser, "cel_policy <expression>")
	default:
		return nil, h.Errf("unexpected %q: the expression is one token, in backticks", args[1])
	}
	p := policyParser{d: h.Dispenser, handler: handler, seen: make(map[string]bool), rules: make(map[string]string)}
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		if err := p.option(); err != nil {
			return nil, err
		}
	}
	if err := p.addFiles(h.Option(celpolicy.KeepFiles) == true); err != nil {
		return nil, err
	}
	return handler, nil
}

type policyParser struct {
	d       *caddyfile.Dispenser
	handler *celpolicy.Handler
	seen    map[string]bool   // options, which may come once
	rules   map[string]string // where each rule stands, by its name

	files   []string            // patterns of policy files
	filesAt caddyfile.Dispenser // where they stand
}

func (p *policyParser) option() error {
	d, word := p.d, p.d.Val()
	switch word {
	case "allow", "deny", "step_up":
		return p.rule(word)
	case "name", "file", "report_only":
	default:
		return d.Errf("unknown option %q: %s", word, instead(word, []string{"allow", "deny", "step_up", "name", "file", "report_only"}))
	}
	if p.seen[word] {
		return d.Errf("%s is already set", word)
	}
	p.seen[word] = true
	switch word {
	case "name":
		if err := text(d, &p.handler.Name)(); err != nil {
			return err
		}
	case "file":
		p.filesAt = *d
		if err := list(d, &p.files)(); err != nil {
			return err
		}
	default:
		p.handler.ReportOnly = true
	}
	if d.NextArg() {
		return d.Errf("unexpected %q: one option per line", d.Val())
	}
	return nil
}

// addFiles puts the rules of the policy files behind those of the block, so that the configuration holds what the files
// say now: a reload sees a change. Paths are relative to the file that names them, as those of import are.
func (p *policyParser) addFiles(keep bool) error {
	if len(p.files) == 0 {
		return nil
	}
	at, err := caddy.FastAbs(p.filesAt.File())
	if err != nil {
		return p.filesAt.Errf("file: %v", err)
	}
	dir := filepath.Dir(at)
	if !keep {
		if err := p.handler.AddFiles(dir, p.files); err != nil {
			return p.filesAt.Errf("file: %v", err)
		}
		return nil
	}
	for _, pattern := range p.files {
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(dir, pattern)
		}
		p.handler.File = append(p.handler.File, pattern)
	}
	return nil
}

// rule parses "<kind> <rule> [<METHOD>[,<METHOD>…]] [<path>]", and then an expression or, for step_up, a block.
func (p *policyParser) rule(kind string) error {
	d := p.d
	at := *d // the line of the rule, also behind its block
	args := d.RemainingArgs()
	if len(args) == 0 || kind != "step_up" && len(args) < 2 {
		return d.Errf("write %s", usage[kind])
	}
	name, args := args[0], args[1:]
	var r celpolicy.Rule
	if kind != "step_up" {
		r.When, args = args[len(args)-1], args[:len(args)-1]
	}
	if strings.HasPrefix(r.When, "/") {
		return at.Errf("%s %s: the expression is missing: write %s, with `true` for all requests", kind, name, usage[kind])
	}
	if len(args) > 0 && !strings.HasPrefix(args[0], "/") {
		r.Methods, args = strings.Split(args[0], ","), args[1:]
	}
	if len(args) > 0 && strings.HasPrefix(args[0], "/") {
		r.Path, args = args[0], args[1:]
	}
	if len(args) > 0 {
		return at.Errf("unexpected %q: write %s; the expression is one token, in backticks", args[0], usage[kind])
	}
	switch kind {
	case "allow":
		r.Allow = name
	case "deny":
		r.Deny = name
	case "step_up":
		r.StepUp = name
		if err := block(d, map[string]func() error{
			"acr_values": list(d, &r.ACRValues),
			"max_age":    duration(d, &r.MaxAge),
			"when":       text(d, &r.When),
		}); err != nil {
			return err
		}
	}
	if err := r.Check(); err != nil {
		return at.Errf("%s %s: %v", kind, name, err)
	}
	if first, ok := p.rules[name]; ok {
		return at.Errf("%s %s: the policy has two rules of this name, first at %s: rename one", kind, name, first)
	}
	p.rules[name] = fmt.Sprintf("%s:%d", at.File(), at.Line())
	p.handler.Rules = append(p.handler.Rules, r)
	return nil
}

var usage = map[string]string{
	"allow":   "allow <rule> [<METHOD>[,<METHOD>…]] [<path>] <expression>",
	"deny":    "deny <rule> [<METHOD>[,<METHOD>…]] [<path>] <expression>",
	"step_up": "step_up <rule> [<METHOD>[,<METHOD>…]] [<path>] { … }",
}
