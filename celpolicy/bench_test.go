package celpolicy

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// manyRules returns a policy of n rules, of which the last allow applies.
func manyRules(n int) []Rule {
	rules := make([]Rule, 0, n)
	for i := range n - 1 {
		switch i % 4 {
		case 0:
			rules = append(rules, Rule{Deny: fmt.Sprintf("deny%d", i), Path: fmt.Sprintf("/admin%d/*", i), When: `!("Admin" in principal.groups)`})
		case 1:
			rules = append(rules, Rule{Allow: fmt.Sprintf("allow%d", i), Methods: []string{"GET"}, When: fmt.Sprintf(`"role%d" in principal.groups`, i)})
		default:
			rules = append(rules, Rule{Allow: fmt.Sprintf("allow%d", i), Path: fmt.Sprintf("/things/{id}/part%d", i), When: `params.id == principal.subject`})
		}
	}
	return append(rules, Rule{Allow: "last", Methods: []string{"GET"}, Path: "/users/{id}/*", When: `"Admin" in principal.groups && "read" in principal.scopes`})
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("%d_rules", n), func(b *testing.B) {
			c, r, caller := compile(b, manyRules(n)...), newRequest(b, "GET", "/users/alice/profile"), user(b)
			b.ReportAllocs()
			for b.Loop() {
				if d := c.Decide(r, caller, noon); d.Result != Allow {
					b.Fatal(d)
				}
			}
		})
	}
}

func BenchmarkDecideReading(b *testing.B) {
	for name, expression := range map[string]string{
		"claims": `claims.dept == "sales"`, "path_parameter": `params.id == "alice"`, "client_address": `cidr("10.0.0.0/8").containsIP(request.ip)`,
		"local_time": `now.getHours("Europe/Berlin") == 14`, "header": `request.headers["x-tag"][0] == "one"`, "placeholder": `placeholder("http.request.method") == "GET"`,
	} {
		b.Run(name, func(b *testing.B) {
			c, r, caller := compile(b, Rule{Allow: "a", Path: "/users/{id}", When: expression}), newRequest(b, "GET", "/users/alice"), user(b)
			r.Header.Set("X-Tag", "one")
			b.ReportAllocs()
			for b.Loop() {
				if d := c.Decide(r, caller, noon); d.Result != Allow {
					b.Fatal(d)
				}
			}
		})
	}
}

// BenchmarkServeHTTP is the whole handler, of which most rules are for other paths; its floor is a handler that does nothing.
func BenchmarkServeHTTP(b *testing.B) {
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	each := func(name string, handler func(http.ResponseWriter, *http.Request) error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r, w := newRequest(b, "GET", "/users/alice/profile"), httptest.NewRecorder()
				attach(r, user(b))
				for pb.Next() {
					if err := handler(w, r); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
	each("floor", next)
	for _, n := range []int{1, 10, 100} {
		h := provision(b, &Handler{Policy: Policy{Name: fmt.Sprint("bench", n), Rules: manyRules(n)}})
		h.audit = zap.NewNop()
		each(fmt.Sprintf("%d_rules", n), func(w http.ResponseWriter, r *http.Request) error { return h.ServeHTTP(w, r, next) })
	}
}

// BenchmarkServeHTTPRefused has each reason of cel_policy. Its floor is that of BenchmarkServeHTTP.
func BenchmarkServeHTTPRefused(b *testing.B) {
	h := provision(b, &Handler{Policy: Policy{Name: "refusing", Rules: []Rule{
		{Allow: "open", Path: "/open", When: "true"},
		{Allow: "broken", Path: "/broken", When: fails},
		{Allow: "paid", Path: "/pay", When: "true"},
		{StepUp: "strong", Path: "/pay", ACRValues: []string{"other"}},
	}}})
	h.audit = zap.NewNop()
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	for _, refused := range []struct {
		reason deny.Reason
		path   string
		caller *principal.Caller
	}{
		{deny.NoCredential, "/", &principal.Caller{Judged: true}},
		{deny.PolicyDenied, "/", user(b)},
		{deny.PolicyError, "/broken", user(b)},
		{deny.StepUpRequired, "/pay", user(b)},
		{deny.AmbiguousPath, "/a/../b", user(b)},
		{deny.MalformedRequest, "/open?a;b", user(b)},
	} {
		b.Run(refused.reason.String(), func(b *testing.B) {
			r, w := newRequest(b, "GET", refused.path), httptest.NewRecorder()
			attach(r, refused.caller)
			b.ReportAllocs()
			for b.Loop() {
				var refusal *deny.Refusal
				if err := h.ServeHTTP(w, r, next); !errors.As(err, &refusal) || refusal.Reason != refused.reason {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCheckRequest is the check of path, method and query before any rule; its floor reads the path once.
func BenchmarkCheckRequest(b *testing.B) {
	r := newRequest(b, "GET", "/users/alice@example.com/documents/2026/report%20final.pdf?page=2&sort=name")
	b.Run("floor", func(b *testing.B) {
		for b.Loop() {
			if strings.IndexByte(r.URL.Path, '\\') >= 0 {
				b.Fatal("a backslash")
			}
		}
	})
	b.Run("all", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if refusal := checkRequest(r); refusal != nil {
				b.Fatal(refusal)
			}
		}
	})
}

// TestDecisionsStayWithinTheirAllocations holds what a rule costs on every request: one allocation per decision, and
// none per rule that reads lists, is what BenchmarkDecide shows. The race detector empties pools at random, hence the room.
func TestDecisionsStayWithinTheirAllocations(t *testing.T) {
	for _, test := range []struct {
		name   string
		rules  []Rule
		budget float64
	}{
		{"no expression", []Rule{{Allow: "a", When: "true"}}, 1},
		{"lists of the principal", manyRules(1), 2},
		{"ten rules", manyRules(10), 4},
		{"a hundred rules", manyRules(100), 14},
		{"claims", []Rule{{Allow: "a", When: `claims.dept == "sales"`}}, 3},
		{"local time", []Rule{{Allow: "a", When: `now.getHours("Europe/Berlin") == 14`}}, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, r, caller := compile(t, test.rules...), newRequest(t, "GET", "/users/alice/profile"), user(t)
			if n := testing.AllocsPerRun(200, func() { c.Decide(r, caller, noon) }); n > test.budget {
				t.Errorf("%v allocations, budget %v", n, test.budget)
			}
		})
	}
}
