package telemetry_test

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/telemetry"
)

// registered returns a registry as a new configuration gets one.
func registered(t *testing.T) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewRegistry()
	if err := telemetry.Register(registry); err != nil {
		t.Fatalf("Register = %v, want nil", err)
	}
	return registry
}

// unique returns the URL of an issuer that no test run has counted: the collectors live as long as the process.
func unique() string { return "https://" + rand.Text() + ".okta.test" }

// values returns what a registry exposes: by name and labels, the value of a counter or how often a histogram observed.
func values(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, label := range m.GetLabel() {
				name += fmt.Sprintf(" %s=%s", label.GetName(), label.GetValue())
			}
			all[name] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

// Every configuration has a registry of its own; the counts go on.
func TestValuesSurviveAReload(t *testing.T) {
	issuer := unique()
	before := registered(t)
	telemetry.NewAuthCounters(issuer).Observe(deny.Expired, telemetry.Miss, time.Millisecond)
	after := registered(t)
	telemetry.NewAuthCounters(issuer).Observe(deny.Expired, telemetry.Miss, time.Millisecond)
	for name, registry := range map[string]*prometheus.Registry{"old": before, "new": after} {
		if got := values(t, registry)["caddy_okta_auth_total issuer="+issuer+" reason=expired"]; got != 2 {
			t.Errorf("the %s registry counts %v, want 2", name, got)
		}
	}
}

func TestASecondRegistrationDoesNothing(t *testing.T) {
	registry := registered(t)
	if err := telemetry.Register(registry); err != nil {
		t.Errorf("Register twice = %v, want nil", err)
	}
}

func TestAForeignMetricOfTheSameNameIsAnError(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "caddy_okta_token_cache_total", Help: "Something else."}))
	if err := telemetry.Register(registry); err == nil {
		t.Error("Register = nil, want an error")
	}
}

func TestObserve(t *testing.T) {
	issuer := unique()
	registry := registered(t)
	counters := telemetry.NewAuthCounters(issuer)
	for cache, label := range map[telemetry.Cache]string{telemetry.None: "none", telemetry.Hit: "hit", telemetry.Miss: "miss"} {
		before := values(t, registry)
		counters.Observe(deny.OK, cache, time.Millisecond)
		after := values(t, registry)
		for name := range after {
			want := before[name]
			switch name {
			case "caddy_okta_auth_total issuer=" + issuer + " reason=ok", "caddy_okta_auth_duration_seconds cache=" + label:
				want++
			case "caddy_okta_token_cache_total result=" + label: // no look-up has no result
				want++
			}
			if after[name] != want {
				t.Errorf("%s: %s is %v, want %v", label, name, after[name], want)
			}
		}
		if _, ok := after["caddy_okta_token_cache_total result=none"]; ok {
			t.Error("a request that did not ask the cache has a result")
		}
	}
}

// The series of an issuer exist before the first request, so that a rate over the first refusal is seen.
func TestEveryReasonHasASeries(t *testing.T) {
	issuer := unique()
	registry := registered(t)
	counters := telemetry.NewAuthCounters(issuer)
	for _, reason := range deny.All() {
		name := "caddy_okta_auth_total issuer=" + issuer + " reason=" + reason.String()
		if got, ok := values(t, registry)[name]; !ok || got != 0 {
			t.Errorf("%s is %v, %t, want 0", name, got, ok)
		}
		counters.Observe(reason, telemetry.None, 0)
		if got := values(t, registry)[name]; got != 1 {
			t.Errorf("%s is %v, want 1", name, got)
		}
	}
}

func TestPolicyCounters(t *testing.T) {
	registry := registered(t)
	policy := rand.Text()
	counters := telemetry.NewPolicyCounters(policy)
	counters.Observe("owner", "allow", time.Microsecond)
	counters.Observe("", "deny", time.Microsecond)
	telemetry.NewPolicyCounters(policy).Observe("owner", "allow", time.Microsecond) // after a reload
	got := values(t, registry)
	for name, want := range map[string]float64{
		"caddy_cel_policy_decisions_total decision=allow policy=" + policy + " rule=owner": 2,
		"caddy_cel_policy_decisions_total decision=deny policy=" + policy + " rule=":       1,
		"caddy_cel_policy_duration_seconds policy=" + policy:                               3,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

// Names and labels are a contract with dashboards, and labels are what could grow without bound.
func TestMetricsAreTheDocumentedOnes(t *testing.T) {
	registry := registered(t)
	telemetry.NewAuthCounters("").Observe(deny.NoCredential, telemetry.None, 0)
	telemetry.NewPolicyCounters("p").Observe("r", "allow", 0)
	want := map[string]string{
		"caddy_okta_auth_total":             "issuer reason",
		"caddy_okta_auth_duration_seconds":  "cache",
		"caddy_okta_token_cache_total":      "result",
		"caddy_cel_policy_decisions_total":  "decision policy rule",
		"caddy_cel_policy_duration_seconds": "policy",
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(families) != len(want) {
		t.Errorf("%d metrics, want %d", len(families), len(want))
	}
	for _, f := range families {
		var labels []string
		for _, label := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, label.GetName())
		}
		if got := strings.Join(labels, " "); got != want[f.GetName()] {
			t.Errorf("%s has the labels %q, want %q", f.GetName(), got, want[f.GetName()])
		}
	}
}

func TestObserveAllocatesNothing(t *testing.T) {
	counters := telemetry.NewAuthCounters("https://allocs.okta.test")
	if got := testing.AllocsPerRun(100, func() { counters.Observe(deny.OK, telemetry.Hit, time.Microsecond) }); got > 0 {
		t.Errorf("Observe makes %.0f allocations, want none", got)
	}
}
