package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// metricsPage is what a scraper of the running gateway gets: by metric and label, the values.
type metricsPage map[string]map[string][]string

var (
	metricSample  = regexp.MustCompile(`(?m)^(caddy_(?:okta|cel_policy)_[a-z_]+)(?:\{(.*)\})? `)
	metricMatcher = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"([^"]*)"`)
	metricUse     = regexp.MustCompile(`\b(caddy_[a-z_]+)(\{[^}]*\})?`)
	metricLabels  = regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
)

// metrics reads the metrics of this project.
func (e *example) metrics() metricsPage {
	e.t.Helper()
	a, err := (&scriptRequest{admin: true, method: http.MethodGet, path: "/metrics"}).send(e)
	if err != nil {
		e.t.Fatal(err)
	}
	page := make(metricsPage)
	for _, sample := range metricSample.FindAllStringSubmatch(a.body, -1) {
		labels := page[sample[1]]
		if labels == nil {
			labels = make(map[string][]string)
			page[sample[1]] = labels
		}
		for _, label := range metricMatcher.FindAllStringSubmatch(sample[2], -1) {
			labels[label[1]] = append(labels[label[1]], label[3])
		}
	}
	return page
}

// compare finds what a PromQL expression, and the templates beside it, name that is not on the page.
func (page metricsPage) compare(expression string, templates ...string) (mistakes []string) {
	known := make(map[string]bool)
	uses := metricUse.FindAllStringSubmatch(expression, -1)
	if len(uses) == 0 {
		mistakes = append(mistakes, "it names no metric")
	}
	for _, use := range uses {
		labels, ok := page[use[1]]
		if !ok {
			mistakes = append(mistakes, "there is no metric "+use[1])
		}
		for label := range labels {
			known[label] = true
		}
		for _, m := range metricMatcher.FindAllStringSubmatch(use[2], -1) {
			values, ok := labels[m[1]]
			if !ok {
				mistakes = append(mistakes, fmt.Sprintf("%s has no label %s", use[1], m[1]))
				continue
			}
			for _, value := range strings.Split(m[3], "|") {
				pattern := regexp.MustCompile("^(?:" + value + ")$")
				if value != "" && !slices.ContainsFunc(values, pattern.MatchString) {
					mistakes = append(mistakes, fmt.Sprintf("%s is never %s", m[1], value))
				}
			}
		}
	}
	for _, list := range metricLabels.FindAllStringSubmatch(expression, -1) {
		for label := range strings.SplitSeq(list[1], ",") {
			if label = strings.TrimSpace(label); !known[label] {
				mistakes = append(mistakes, "no metric has the label "+label)
			}
		}
	}
	for _, template := range templates {
		for _, m := range regexp.MustCompile(`\$labels\.([a-z_]+)|\{\{([a-z_]+)\}\}`).FindAllStringSubmatch(template, -1) {
			if !known[m[1]+m[2]] {
				mistakes = append(mistakes, "no metric has the label "+m[1]+m[2])
			}
		}
	}
	return mistakes
}

// The dashboard and the alerts ask for nothing that the gateway does not tell.
func TestExampleDashboardAndAlertsMatchTheMetrics(t *testing.T) {
	e := newExample(t, "metrics-alerts")
	e.check()
	page := e.metrics()

	var alerts struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(readText(t, "alerts.yaml")), &alerts); err != nil {
		t.Fatal(err)
	}
	named := make(map[string]bool)
	for _, rule := range alerts.Groups[0].Rules {
		if named[rule.Alert] || rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" {
			t.Errorf("alert %s: want a name of its own, a severity and a summary", rule.Alert)
		}
		named[rule.Alert] = true
		for _, mistake := range page.compare(rule.Expr, rule.Annotations["summary"], rule.Annotations["description"]) {
			t.Errorf("alert %s: %s", rule.Alert, mistake)
		}
	}
	for _, name := range []string{"OktaKeysAgeing", "OktaRefusalsRising", "OktaIssuerUnreachable"} {
		if !named[name] {
			t.Errorf("the alert %s is missing", name)
		}
	}

	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal([]byte(readText(t, "dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	shown := ""
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			shown += target.Expr + "\n"
			for _, mistake := range page.compare(target.Expr, target.LegendFormat) {
				t.Errorf("panel %q: %s", panel.Title, mistake)
			}
		}
	}
	for name := range page {
		if base := strings.TrimSuffix(strings.TrimSuffix(name, "_sum"), "_count"); base == name && !strings.Contains(shown, name) {
			t.Errorf("no panel shows %s", name)
		}
	}

	var scrape struct {
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(readText(t, "prometheus.yaml")), &scrape); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(scrape.RuleFiles, []string{"alerts.yaml"}) || !strings.HasSuffix(scrape.ScrapeConfigs[0].StaticConfigs[0].Targets[0], ":9180") {
		t.Errorf("prometheus.yaml scrapes %v with the rules %v", scrape.ScrapeConfigs, scrape.RuleFiles)
	}
}

// The comparison above finds mistakes.
func TestExampleMetricsComparisonFindsMistakes(t *testing.T) {
	page := metricsPage{"caddy_okta_auth_total": {"issuer": {""}, "reason": {"ok", "expired"}}}
	for expression, want := range map[string]int{
		`caddy_okta_auth_total`:                                0,
		`sum by (reason) (caddy_okta_auth_total{issuer=""})`:   0,
		`caddy_okta_auth_total{reason=~"ok|expired"}`:          0,
		`caddy_okta_auth_totals`:                               1,
		`caddy_okta_auth_total{result="ok"}`:                   1,
		`caddy_okta_auth_total{reason!~"okay|expired"}`:        1,
		`sum by (issuer, cause) (rate(caddy_okta_auth_total))`: 1,
		`up`: 1,
		`caddy_okta_auth_total{reason="ok"} / caddy_other_total`: 1,
	} {
		if got := page.compare(expression); len(got) != want {
			t.Errorf("%s: mistakes %q, want %d", expression, got, want)
		}
	}
	if got := page.compare("caddy_okta_auth_total", "{{ $labels.user }}", "{{issuer}} {{rule}}"); len(got) != 2 {
		t.Errorf("templates: mistakes %q, want 2", got)
	}
}

// Bursts of refusals by client are found in the audit lines alone; the command of the README finds the same.
func TestExampleAuditLinesTellBurstsOfRefusals(t *testing.T) {
	e := newExample(t, "audit-siem")
	e.check()
	file := filepath.Join("logs", "audit.json")
	refused := make(map[string]int)
	for text := range strings.Lines(readText(t, file)) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if line["decision"] == "deny" {
			refused[fmt.Sprint(line["client_ip"])]++
		}
		if logger := line["logger"]; logger != "http.handlers.okta_auth.audit" && logger != "http.handlers.cel_policy.audit" {
			t.Errorf("the file has a line of %v", logger)
		}
		for name, token := range e.tokens {
			if strings.Contains(text, token[strings.LastIndex(token, ".")+1:]) || strings.Contains(text, "secret=1") {
				t.Errorf("a line has the token %s, or the query: %s", name, text)
			}
		}
	}
	if refused["198.51.100.66"] != 25 || refused["203.0.113.7"] != 3 || refused["203.0.113.6"] != 1 || refused["203.0.113.5"] != 0 {
		t.Errorf("refusals by client: %v", refused)
	}
	_, block, ok := strings.Cut(readText(t, "README.md"), "```sh\n")
	command, _, closed := strings.Cut(block, "```")
	if !ok || !closed || !strings.HasPrefix(command, "jq ") {
		t.Fatalf("README.md has no command for jq: %q", command)
	}
	if _, err := exec.LookPath("jq"); err != nil {
		t.Skip("there is no jq: the command of README.md cannot be tried")
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	found := 0 // a burst may lie in two minutes
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "198.51.100.66 ") {
			t.Errorf("the command names %s", line)
		}
		found++
	}
	if found == 0 {
		t.Errorf("the command finds nothing: %s", out)
	}
}

// The workflow of the policy files runs what check.txt runs.
func TestExampleWorkflowRunsWhatIsChecked(t *testing.T) {
	dir := filepath.Join("..", "examples", "policy-files")
	var workflow struct {
		Jobs map[string]struct {
			Steps []struct{ Uses, Run string }
		}
	}
	if err := yaml.Unmarshal([]byte(readText(t, filepath.Join(dir, ".github", "workflows", "policies.yml"))), &workflow); err != nil {
		t.Fatal(err)
	}
	script := readText(t, filepath.Join(dir, "check.txt"))
	tests, built := 0, false
	for _, step := range workflow.Jobs["test"].Steps {
		built = built || strings.Contains(step.Run, "xcaddy build "+caddyVersion(t)+" --with github.com/caddy-okta/caddy-okta")
		command, ok := strings.CutPrefix(step.Run, "./caddy cel-policy ")
		if !ok {
			continue
		}
		command, _, _ = strings.Cut(command, " >")
		if tests++; !strings.Contains(script, "caddy cel-policy "+command+" -> 0\n") {
			t.Errorf("check.txt does not run caddy cel-policy %s", command)
		}
	}
	if tests == 0 || !built {
		t.Errorf("the workflow runs %d tests, builds Caddy as go.mod says: %t", tests, built)
	}
}

// caddyVersion returns the version of Caddy in go.mod.
func caddyVersion(t *testing.T) string {
	t.Helper()
	m := regexp.MustCompile(`github.com/caddyserver/caddy/v2 (v\S+)`).FindStringSubmatch(readText(t, "../go.mod"))
	if m == nil {
		t.Fatal("go.mod names no Caddy")
	}
	return m[1]
}
