package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// auditLines returns the audit lines of a policy.
func (g *gateway) auditLines(policy string) (lines []map[string]any) {
	g.t.Helper()
	for text := range strings.Lines(g.logged()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			g.t.Fatalf("%v: %s", err, text)
		}
		if line["logger"] == "http.handlers.cel_policy.audit" && line["policy"] == policy {
			lines = append(lines, line)
		}
	}
	return lines
}

// decisions returns what the metrics page counts for a policy, by decision and rule.
func (g *gateway) decisions(policy string) (counts []string) {
	g.t.Helper()
	_, page := g.adminCall(http.MethodGet, "/metrics", "", "")
	for line := range strings.Lines(page) {
		labels, ok := strings.CutPrefix(line, "caddy_cel_policy_decisions_total{")
		if !ok || !strings.Contains(labels, fmt.Sprintf("policy=%q", policy)) {
			continue
		}
		labels = strings.ReplaceAll(labels, fmt.Sprintf("policy=%q,", policy), "")
		counts = append(counts, strings.TrimSpace(strings.NewReplacer(`decision="`, "", `rule="`, "", `"`, "", "}", "").Replace(labels)))
	}
	slices.Sort(counts)
	return counts
}

// A new policy is tried beside the one that is enforced: what it would refuse goes on, and the difference can be counted.
func TestAReportOnlyPolicyBesideAnEnforcedOne(t *testing.T) {
	suffix := fmt.Sprint(time.Now().UnixNano()) // counters live as long as the process
	live, next := "live"+suffix, "next"+suffix
	g := start(t, fmt.Sprintf(`okta_auth main
	cel_policy {
		name %s
		allow users /* `+"`principal.authenticated`"+`
		deny closed /closed `+"`true`"+`
	}
	cel_policy {
		name %s
		report_only
		allow admins /* `+"`\"Admin\" in principal.groups`"+`
		deny  quotas /quota `+"`claims.quota > 3`"+`
		step_up strong /pay {
			acr_values phr
		}
	}
	request_header X-Seen {http.policy.name}/{http.policy.rule}/{http.policy.decision}/{http.auth.okta.reason}`, live, next))
	admin := bearer(g.issuer.UserToken("carol", oktatest.Groups("Admin"), oktatest.With("acr", "low")))
	user := bearer(g.issuer.UserToken("alice"))
	for _, test := range []struct {
		path   string
		as     option
		status int
		seen   string // by the backend, of the new policy
	}{
		{"/a", admin, 200, "admins/allow/ok"},
		{"/a", user, 200, "/would_deny/ok"},
		{"/pay", admin, 200, "strong/would_step_up/ok"},
		{"/quota", admin, 200, "quotas/would_error/ok"},
		{"/closed", admin, 403, ""}, // the live policy refuses, the new one does not get to see it
	} {
		a := g.expect(test.status, "GET", test.path, test.as)
		if got := a.seen.Header.Get("X-Seen"); test.status == 200 && got != next+"/"+test.seen {
			t.Errorf("%s: the placeholders are %q, want %q", test.path, got, next+"/"+test.seen)
		}
		if a.Header.Get("WWW-Authenticate") != "" || test.status == 200 && a.Header.Get("Cache-Control") != "" {
			t.Errorf("%s: the answer carries %v", test.path, a.Header)
		}
	}

	if got, want := g.decisions(live), []string{"allow,users 4", "deny,closed 1"}; !slices.Equal(got, want) {
		t.Errorf("the live policy is counted as %q, want %q", got, want)
	}
	if got, want := g.decisions(next), []string{"allow,admins 1", "would_deny, 1", "would_error,quotas 1", "would_step_up,strong 1"}; !slices.Equal(got, want) {
		t.Errorf("the new policy is counted as %q, want %q", got, want)
	}
	var audit []string
	for _, line := range g.auditLines(next) {
		audit = append(audit, fmt.Sprint(line["level"], " ", line["decision"], " ", line["rule"], " ", line["reason"], " ", line["subject"], " ", line["path"]))
	}
	if want := []string{
		"debug allow admins ok carol /a", "warn would_deny  policy_denied alice /a",
		"warn would_step_up strong step_up_required carol /pay", "warn would_error quotas policy_error carol /quota",
	}; !slices.Equal(audit, want) {
		t.Errorf("the audit lines of the new policy are %q, want %q", audit, want)
	}
	if lines := g.auditLines(live); len(lines) != 5 || lines[4]["decision"] != "deny" || lines[4]["rule"] != "closed" {
		t.Errorf("the audit lines of the live policy are %v", lines)
	}
}

// Alone, a report-only policy leaves requests as they came, also those that an enforced one refuses before any rule.
func TestAReportOnlyPolicyTouchesNothing(t *testing.T) {
	policy := fmt.Sprintf("trial%d", time.Now().UnixNano())
	g := start(t, "okta_auth main\n cel_policy {\n name "+policy+"\n report_only\n deny all `true`\n }")
	alice := g.issuer.UserToken("alice")
	for _, target := range []string{"/a", "/a/../b", "/a%2fb;x", "//a?b;c"} {
		a := g.sendTarget("GET", target, "Authorization: Bearer "+alice, "X-Original-URL: /x", "X-HTTP-Method-Override: DELETE")
		if !a.reached || a.seen.RawURI != target || a.seen.Header.Get("X-Original-Url") != "/x" || a.seen.Header.Get("X-Http-Method-Override") != "DELETE" {
			t.Errorf("%s: %d, the backend saw %s %v", target, a.StatusCode, a.seen.RawURI, a.seen.Header)
		}
	}
	if got, want := g.decisions(policy), []string{"would_deny, 3", "would_deny,all 1"}; !slices.Equal(got, want) {
		t.Errorf("counted as %q, want %q", got, want)
	}
	reasons := make(map[any]int)
	for _, line := range g.auditLines(policy) {
		reasons[line["reason"]]++
	}
	if reasons["ambiguous_path"] != 3 || reasons["policy_denied"] != 1 {
		t.Errorf("the audit lines give %v", reasons)
	}
}
