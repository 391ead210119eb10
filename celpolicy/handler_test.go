package celpolicy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/principal"
)

func provision(t testing.TB, h *Handler) *Handler {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	if err := h.Provision(ctx); err != nil {
		t.Fatalf("Provision() = %v", err)
	}
	h.now = func() time.Time { return noon }
	return h
}

// serve returns the answer's status and header, and whether the next handler ran.
func serve(t testing.TB, h *Handler, r *http.Request, as *principal.Caller) (status int, header http.Header, passed bool) {
	t.Helper()
	caller := principal.Ensure(r)
	challenge := caller.Challenge
	if as != nil {
		*caller = *as
		caller.Challenge = challenge
	}
	w := httptest.NewRecorder()
	err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { passed = true; return nil }))
	status = http.StatusOK
	var refused caddyhttp.HandlerError
	if errors.As(err, &refused) {
		status = refused.StatusCode
	} else if err != nil {
		t.Errorf("ServeHTTP() = %v, which is no HandlerError", err)
	}
	return status, w.Header(), passed
}

func TestAnswers(t *testing.T) {
	h := provision(t, &Handler{Policy: Policy{Name: "orders", Rules: []Rule{
		{Allow: "read", Path: "/read", When: "true"},
		{Allow: "known", Path: "/known", When: "principal.authenticated"},
		{Allow: "broken", Path: "/broken", When: fails},
		{Deny: "closed", Path: "/closed/*"},
		{Deny: "unclear", Path: "/unclear", When: fails},
		{Allow: "pay", Path: "/pay", When: "true"},
		{StepUp: "stronger", Path: "/pay", ACRValues: []string{"a", "b"}, MaxAge: caddy.Duration(time.Minute)},
	}}})
	anonymous := func(testing.TB) *principal.Caller { return nil }
	preflight := func(testing.TB) *principal.Caller { return &principal.Caller{Judged: true, Preflight: true} }
	for _, test := range []struct {
		name   string
		as     func(testing.TB) *principal.Caller
		method string
		target string
		reason deny.Reason
		result string
		rule   string
	}{
		{"allowed", user, "GET", "/read", deny.OK, "allow", "read"},
		{"allowed without a credential", anonymous, "GET", "/read", deny.Anonymous, "allow", "read"},
		{"no rule", user, "GET", "/other", deny.PolicyDenied, "deny", ""},
		{"no rule for nobody", anonymous, "GET", "/other", deny.NoCredential, "deny", ""},
		{"false for nobody", anonymous, "GET", "/known", deny.NoCredential, "deny", ""},
		{"denied", user, "GET", "/CLOSED/x", deny.PolicyDenied, "deny", "closed"},
		{"denied to nobody", anonymous, "GET", "/closed", deny.NoCredential, "deny", "closed"},
		{"an allow fails", user, "GET", "/broken", deny.PolicyError, "error", "broken"},
		{"an allow fails for nobody", anonymous, "GET", "/broken", deny.NoCredential, "error", "broken"},
		{"a deny fails", user, "GET", "/unclear", deny.PolicyError, "error", "unclear"},
		{"step-up of a user", user, "POST", "/pay", deny.StepUpRequired, "step_up", "stronger"},
		{"step-up of a service", service, "POST", "/pay", deny.PolicyDenied, "step_up", "stronger"},
		{"step-up of nobody", anonymous, "POST", "/pay", deny.NoCredential, "step_up", "stronger"},
		{"an ambiguous path", user, "GET", "/read/..%2Fclosed", deny.AmbiguousPath, "deny", ""},
		{"a path hidden behind a semicolon", user, "GET", "/read;/../closed", deny.AmbiguousPath, "deny", ""},
		{"the server as a whole", user, "OPTIONS", "*", deny.AmbiguousPath, "deny", ""},
		{"a method in lower case", user, "get", "/read", deny.MalformedRequest, "deny", ""},
		{"a broken query", anonymous, "GET", "/read?%", deny.MalformedRequest, "deny", ""},
		{"a preflight", preflight, "OPTIONS", "/closed", deny.Preflight, "allow", ""},
		{"an ambiguous preflight", preflight, "OPTIONS", "//closed", deny.AmbiguousPath, "deny", ""},
	} {
		t.Run(strings.ReplaceAll(test.name, " ", "_"), func(t *testing.T) {
			r := newRequest(t, test.method, test.target)
			status, header, passed := serve(t, h, r, test.as(t))
			want := test.reason.Status()
			if want == 0 {
				want = http.StatusOK
			}
			if status != want || passed != (want == http.StatusOK) {
				t.Errorf("status %d, passed on %v, want %d", status, passed, want)
			}
			caller := principal.Of(r)
			if got := caller.Reason(); got != test.reason {
				t.Errorf("reason %v, want %v", got, test.reason)
			}
			if got, want := caller.Policy, (principal.Decision{Policy: "orders", Rule: test.rule, Result: test.result}); got != want {
				t.Errorf("recorded %+v, want %+v", got, want)
			}
			repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
			if got, want := repl.ReplaceAll("{http.policy.name}|{http.policy.rule}|{http.policy.decision}", "-"), "orders|"+test.rule+"|"+test.result; strings.ReplaceAll(got, "-", "") != want {
				t.Errorf("placeholders %s, want %s", got, want)
			}
			if passed != (header.Get("Cache-Control") == "") {
				t.Errorf("Cache-Control: %q", header.Get("Cache-Control"))
			}
			challenged := map[deny.Reason]string{
				deny.NoCredential:   `Bearer realm="okta"`,
				deny.StepUpRequired: `Bearer realm="okta", error="insufficient_user_authentication", error_description="A stronger or more recent authentication is required", acr_values="a b", max_age="60"`,
			}
			if got, want := header.Get("WWW-Authenticate"), challenged[test.reason]; test.reason != deny.MalformedRequest && got != want {
				t.Errorf("WWW-Authenticate: %s, want %s", got, want)
			}
		})
	}
}

func TestAnswersHoldNoValues(t *testing.T) {
	h := provision(t, &Handler{Policy: Policy{Rules: []Rule{{Allow: "a", When: `int(claims.dept) == 1`}}}})
	r := newRequest(t, "GET", "/")
	serve(t, h, r, user(t))
	if refusal := principal.Of(r).Refusal; refusal == nil || strings.Contains(refusal.Error(), "sales") || !strings.Contains(refusal.Error(), "rule a") {
		t.Errorf("refusal = %v, want one that names the rule and no value", refusal)
	}
}

func TestReportOnlyRefusesAndTouchesNothing(t *testing.T) {
	h := provision(t, &Handler{ReportOnly: true, Policy: Policy{Rules: []Rule{
		{Allow: "read", Path: "/read", When: `!request.headers.exists(k, k == "x-original-url")`},
		{Deny: "unclear", Path: "/unclear", When: fails},
		{Allow: "pay", Path: "/pay", When: "true"},
		{StepUp: "stronger", Path: "/pay", ACRValues: []string{"a"}},
	}}})
	for target, want := range map[string]principal.Decision{
		"/read":    {Rule: "read", Result: "allow"},
		"/other":   {Result: "would_deny"},
		"/unclear": {Rule: "unclear", Result: "would_error"},
		"/pay":     {Rule: "stronger", Result: "would_step_up"},
		"/a/../b":  {Result: "would_deny"},
		"/read?%":  {Result: "would_deny"},
	} {
		want.Policy = DefaultName
		r := newRequest(t, "GET", target)
		r.Header.Set("X-Original-URL", "/x")
		status, header, passed := serve(t, h, r, user(t))
		if status != http.StatusOK || !passed || len(header) > 0 || r.Header.Get("X-Original-URL") != "/x" {
			t.Errorf("%s: status %d, passed on %v, answer %v, request %v; want it untouched", target, status, passed, header, r.Header)
		}
		if caller := principal.Of(r); caller.Policy != want || caller.Refusal != nil {
			t.Errorf("%s: recorded %+v, refusal %v, want %+v", target, caller.Policy, caller.Refusal, want)
		}
	}
}

func TestOverrideHeadersReachNobody(t *testing.T) {
	h := provision(t, &Handler{Policy: Policy{Rules: []Rule{
		{Allow: "a", Path: "/a", When: `placeholder("http.request.header.X-Original-URL") == "" && request.headers == {}`},
	}}})
	for _, target := range []string{"/a", "/refused", "/a/../b"} {
		r := newRequest(t, "GET", target)
		r.Header["X_Original_URL"] = []string{"/admin"}
		r.Header.Set("X-HTTP-Method-Override", "DELETE")
		status, _, _ := serve(t, h, r, user(t))
		if len(r.Header) > 0 {
			t.Errorf("%s: %v is left", target, r.Header)
		}
		if (status == http.StatusOK) != (target == "/a") {
			t.Errorf("%s: status %d", target, status)
		}
	}
}

func TestABadPolicyDoesNotLoad(t *testing.T) {
	h := &Handler{Policy: Policy{Name: "orders", Rules: []Rule{{Allow: "a", When: "claims.admin"}}}}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	if err := h.Provision(ctx); err == nil || !strings.Contains(err.Error(), "rule a: when:1:7:") {
		t.Errorf("Provision() = %v, want an error that names the rule", err)
	}
}

func TestTheModuleIsRegistered(t *testing.T) {
	info, err := caddy.GetModule("http.handlers.cel_policy")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := info.New().(*Handler); !ok {
		t.Errorf("New() = %T, want *Handler", info.New())
	}
}

// Without its metrics a policy would run unseen.
func TestMetricsThatCannotBeRegisteredAreAnError(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	other := prometheus.NewCounter(prometheus.CounterOpts{Name: "caddy_cel_policy_decisions_total", Help: "of somebody else"})
	if err := ctx.GetMetricsRegistry().Register(other); err != nil {
		t.Fatal(err)
	}
	if err := new(Handler).Provision(ctx); err == nil || !strings.Contains(err.Error(), "caddy_cel_policy_decisions_total") {
		t.Errorf("Provision() = %v, want an error", err)
	}
}
