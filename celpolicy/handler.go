package celpolicy

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/principal"
	"github.com/caddy-okta/caddy-okta/internal/telemetry"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler decides with CEL rules whether the caller may do what the request asks for. It belongs behind okta_auth, in
// whose words it refuses; without one, every caller is anonymous.
//
// Placeholders: {http.policy.name}, {http.policy.rule}, {http.policy.decision}.
type Handler struct {
	Policy

	// File lists policy files, whose rules join those above: YAML or JSON, as patterns such as policies/*.yaml, relative
	// to the working directory. A single one may be a text. They are read when the configuration loads. A Caddyfile has
	// their rules in place instead.
	File FileList `json:"file,omitempty"`

	// ReportOnly decides and records, but refuses nothing and leaves the request as it is. Decisions that would have
	// refused a request are recorded as would_deny, would_step_up and would_error. Default: false.
	ReportOnly bool `json:"report_only,omitempty"`

	policy   *Policy // with the rules of the files
	compiled *Compiled
	counters *telemetry.PolicyCounters
	now      func() time.Time
	audit    *zap.Logger
}

// FileList is patterns of files, in JSON a list or one text.
type FileList []string

// UnmarshalJSON reads both.
func (l *FileList) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		*l = make(FileList, 1)
		return json.Unmarshal(text, &(*l)[0])
	}
	return json.Unmarshal(text, (*[]string)(l))
}

// CaddyModule returns the module's ID.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.cel_policy",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision reads and compiles the policy.
func (h *Handler) Provision(ctx caddy.Context) (err error) {
	h.now = time.Now
	h.audit = ctx.Logger().Named("audit")
	if err := telemetry.Register(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	if err := h.load(); err != nil {
		return err
	}
	h.counters = telemetry.NewPolicyCounters(h.compiled.name)
	running.add(h, ctx)
	return nil
}

// load reads the policy files and compiles everything.
func (h *Handler) load() error {
	loaded, err := load(h.Policy, "", h.File)
	if err != nil {
		return err
	}
	h.policy, h.compiled = &loaded.policy, loaded.compiled
	return nil
}

// Cleanup takes the policy out of what the admin API shows.
func (h *Handler) Cleanup() error {
	running.remove(h)
	return nil
}

// ServeHTTP lets the request go on, or refuses it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	started := h.now()
	caller := principal.Ensure(r)
	decision, refusal := h.judge(r, caller, started)
	caller.Policy = h.record(decision)
	h.observe(r, caller, refusal, started)
	if refusal != nil && !h.ReportOnly {
		caller.Refusal = refusal
		telemetry.AccessLog(r, "auth_reason", refusal.Reason.String())
		return caller.Challenge.Respond(w, refusal)
	}
	return next.ServeHTTP(w, r)
}

// observe reports the decision, once. In report-only mode the refusal is the one that would have been.
func (h *Handler) observe(r *http.Request, caller *principal.Caller, refusal *deny.Refusal, started time.Time) {
	d := &caller.Policy
	h.counters.Observe(d.Rule, d.Result, time.Since(started))
	telemetry.AccessLog(r, "policy_rule", d.Rule)
	record := telemetry.Record{
		Decision: d.Result, Refused: refusal != nil, Policy: d.Policy, Rule: d.Rule, Started: started,
		Reason: caller.Success().String(), Claims: caller.Identity,
	}
	if refusal != nil {
		record.Reason = refusal.Reason.String()
	}
	record.Audit(h.audit, r)
}

// judge decides. What it returns as a refusal is nil exactly when the decision is Allow. Headers that override the method
// or the path are gone then.
func (h *Handler) judge(r *http.Request, caller *principal.Caller, now time.Time) (Decision, *deny.Refusal) {
	if !h.ReportOnly {
		removeOverrides(r)
	}
	if refusal := checkRequest(r); refusal != nil {
		return Decision{Result: Deny}, refusal
	}
	if caller.Preflight { // it carries no credential: rules have nothing to judge
		return Decision{Result: Allow}, nil
	}
	decision := h.compiled.Decide(r, caller, now)
	if decision.Result == Allow {
		return decision, nil
	}
	return decision, refuse(decision, caller)
}

// refuse returns what the caller is told. An anonymous one is asked for a credential first, whatever the rules said;
// a service cannot answer a step-up challenge. Causes name rules, never values.
func refuse(d Decision, caller *principal.Caller) *deny.Refusal {
	reason := deny.PolicyDenied
	switch {
	case caller.Identity == nil:
		reason = deny.NoCredential
	case d.Result == Error:
		reason = deny.PolicyError
	case d.Result == StepUp && !caller.Identity.IsService():
		refusal := deny.StepUpRequired.Because("rule %s demands it", d.Rule)
		refusal.ACRValues, refusal.MaxAge = d.ACRValues, d.MaxAge
		return refusal
	}
	switch {
	case d.Rule == "":
		return reason.Because("no rule allows the request")
	case d.Result == Error:
		return reason.Because("rule %s could not be evaluated", d.Rule)
	case d.Result == StepUp:
		return reason.Because("rule %s demands a step-up", d.Rule)
	}
	return reason.Because("rule %s denies the request", d.Rule)
}

// record returns a decision in the words of metrics, audit lines and placeholders.
func (h *Handler) record(d Decision) principal.Decision {
	result := string(d.Result)
	if h.ReportOnly && d.Result != Allow {
		result = "would_" + result
	}
	return principal.Decision{Policy: h.compiled.name, Rule: d.Rule, Result: result}
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
