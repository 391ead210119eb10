package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// folder makes files in a new folder.
func folder(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		rewrite(t, filepath.Join(dir, name), text)
	}
	return dir
}

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// adaptFile adapts a Caddyfile of a folder.
func adaptFile(t *testing.T, path string) ([]byte, error) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": path})
	return config, err
}

// groupFile is a policy file that lets one group in.
func groupFile(group string) string {
	return fmt.Sprintf("name: groups\nrules:\n  - allow: group\n    when: '%q in principal.groups'\n", group)
}

func TestPolicyFilesAreInlinedSoThatAReloadSeesAChange(t *testing.T) {
	g := prepare(t)
	dir := folder(t, map[string]string{
		"policies/a.yaml": groupFile("Blue"),
		"policies/b.json": `{"rules": [{"deny": "closed", "path": "/closed/*"}]}`,
		"Caddyfile":       g.expand(fmt.Sprintf(site, "okta_auth main\n cel_policy {\n file policies/*.yaml policies/b.json\n allow inline /inline `true`\n }")),
	})
	reload := func() (status int, text string) {
		config, err := adaptFile(t, filepath.Join(dir, "Caddyfile"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(config), "policies/") {
			t.Errorf("the configuration names policy files: %s", config)
		}
		return g.adminCall(http.MethodPost, "/load", "application/json", string(config))
	}
	g.load(fmt.Sprintf(site, "okta_auth main"))
	if status, text := reload(); status != http.StatusOK {
		t.Fatalf("POST /load = %d: %s", status, text)
	}
	blue := bearer(g.issuer.UserToken("alice", oktatest.Groups("Blue")))
	green := bearer(g.issuer.UserToken("bob", oktatest.Groups("Green")))
	g.expect(http.StatusOK, "GET", "/", blue)
	g.expect(http.StatusForbidden, "GET", "/closed/x", blue)
	g.expect(http.StatusForbidden, "GET", "/", green)
	g.expect(http.StatusOK, "GET", "/inline", green)

	rewrite(t, filepath.Join(dir, "policies/a.yaml"), groupFile("Green"))
	g.expect(http.StatusForbidden, "GET", "/", green) // nothing is read while requests are served
	if status, text := reload(); status != http.StatusOK {
		t.Fatalf("POST /load = %d: %s", status, text)
	}
	g.expect(http.StatusOK, "GET", "/", green)
	g.expect(http.StatusForbidden, "GET", "/", blue)

	rewrite(t, filepath.Join(dir, "policies/a.yaml"), "rules:\n  - allow: group\n    when: principal.gruops == []\n")
	_, err := adaptFile(t, filepath.Join(dir, "Caddyfile"))
	if err == nil || !strings.Contains(err.Error(), "file: policies/a.yaml:3: rule group: when:1:10: undefined field 'gruops'") || !strings.Contains(err.Error(), "Caddyfile:2") {
		t.Errorf("adapting with a mistake in a policy file = %v, want file and line of both", err)
	}
	g.expect(http.StatusOK, "GET", "/", green)
}

// A Caddyfile that is imported names files from where it stands, and a name twice is an error wherever it comes from.
func TestPolicyFilesAreFoundFromTheFileThatNamesThem(t *testing.T) {
	files := map[string]string{
		"Caddyfile":            "import sites/*.caddyfile\n",
		"sites/a.caddyfile":    ":9 {\n cel_policy {\n  name own-name\n  file ../rules.yaml\n }\n}\n",
		"rules.yaml":           groupFile("Blue"),
		"twice/Caddyfile":      ":9 {\n cel_policy {\n  file ../rules.yaml\n  allow group `true`\n }\n}\n",
		"nothing/Caddyfile":    ":9 {\n cel_policy {\n  file *.yaml\n }\n}\n",
		"again/Caddyfile":      ":9 {\n cel_policy {\n  file ../rules.yaml\n  file ../rules.yaml\n }\n}\n",
		"without/Caddyfile":    ":9 {\n cel_policy {\n  file\n }\n}\n",
		"unresolved/Caddyfile": ":9 {\n cel_policy {\n  file {env.HOME}/rules.yaml\n }\n}\n",
	}
	dir := folder(t, files)
	config, err := adaptFile(t, filepath.Join(dir, "Caddyfile"))
	if err != nil || !strings.Contains(string(config), `"name":"own-name","rules":[{"allow":"group","when":"\"Blue\" in principal.groups"}]`) {
		t.Errorf("adapted: %s, %v", config, err)
	}
	for name, want := range map[string]string{
		"twice":      "rules.yaml:3: rule group: the policy has two rules of this name, first in the policy itself, beside its files: rename one, at ",
		"nothing":    "file: *.yaml: no file matches the pattern, at ",
		"again":      "file is already set",
		"without":    "file needs a value",
		"unresolved": "file: {env.HOME}/rules.yaml: no such file or directory, at ",
	} {
		path := filepath.Join(dir, name, "Caddyfile")
		if _, err := adaptFile(t, path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want …%s… and the Caddyfile", name, err, want)
		}
	}
}

// In a JSON configuration files are read when it loads, and a mistake in one keeps the old configuration.
func TestPolicyFilesOfAJSONConfigurationAreReadWhenItLoads(t *testing.T) {
	g := start(t, "okta_auth main\n cel_policy {\n allow all `true`\n }")
	dir := folder(t, map[string]string{"a.yaml": groupFile("Blue")})
	blue := bearer(g.issuer.UserToken("alice", oktatest.Groups("Blue")))
	green := bearer(g.issuer.UserToken("bob", oktatest.Groups("Green")))
	handler := g.configPath("cel_policy")
	pattern := filepath.Join(dir, "*.yaml")
	var config []byte
	for _, file := range []any{pattern, []string{pattern}} { // a single pattern need not be in a list
		var err error
		if config, err = json.Marshal(map[string]any{"handler": "cel_policy", "file": file}); err != nil {
			t.Fatal(err)
		}
		if status, text := g.adminCall(http.MethodPatch, handler, "application/json", string(config)); status != http.StatusOK {
			t.Fatalf("PATCH = %d: %s", status, text)
		}
		g.expect(http.StatusOK, "GET", "/", blue)
		g.expect(http.StatusForbidden, "GET", "/", green)
	}
	if status, text := g.adminCall(http.MethodPatch, handler, "application/json", `{"handler":"cel_policy","file":7}`); status == http.StatusOK {
		t.Errorf("PATCH with a number for a file = %d: %s", status, text)
	}
	rewrite(t, filepath.Join(dir, "a.yaml"), "rules: []\n")
	status, text := g.adminCall(http.MethodPatch, handler, "application/json", string(config[:len(config)-1])+`,"report_only":true}`)
	if status == http.StatusOK || !strings.Contains(text, "a.yaml:1: rules is empty") {
		t.Errorf("PATCH with a bad file = %d: %s", status, text)
	}
	g.expect(http.StatusForbidden, "GET", "/", green)
}

// celPolicy runs "caddy cel-policy" in-process.
func celPolicy(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	cmd := &cobra.Command{Use: "cel-policy", SilenceErrors: true, SilenceUsage: true}
	caddycmd.Commands()["cel-policy"].CobraFunc(cmd)
	var text bytes.Buffer
	cmd.SetOut(&text)
	cmd.SetErr(&text)
	cmd.SetArgs(args)
	err = cmd.Execute()
	return text.String(), err
}

func TestPoliciesOfACaddyfileAreTested(t *testing.T) {
	const tests = "tests:\n  - {name: blue, claims: {sub: alice, groups: [Blue]}, expect: {decision: allow, rule: group}}\n" +
		"  - {name: the rules of the Caddyfile, request: {path: /inline}, expect: {decision: allow, rule: inline, reason: anonymous}}\n"
	dir := folder(t, map[string]string{
		"Caddyfile":      ":9 {\n cel_policy {\n  file groups.yaml\n  allow inline /inline `!principal.authenticated`\n }\n handle /x {\n  cel_policy `true`\n }\n}\n",
		"groups.yaml":    groupFile("Blue") + tests,
		"bad.caddyfile":  ":9 {\n cel_policy {\n  fiel groups.yaml\n }\n}\n",
		"gone/Caddyfile": ":9 {\n cel_policy {\n  file groups.yaml\n }\n}\n",
	})
	out, err := celPolicy(t, "test", "--config", filepath.Join(dir, "Caddyfile"))
	if err != nil || !strings.Contains(out, "ok    groups: 2 tests of ") || !strings.Contains(out, "ok    policy: 0 tests of none\n") {
		t.Errorf("test --config = %v\n%s", err, out)
	}
	rewrite(t, filepath.Join(dir, "groups.yaml"), groupFile("Green")+tests)
	if out, err := celPolicy(t, "test", "--config", filepath.Join(dir, "Caddyfile")); err == nil || err.Error() != "1 of 2 tests failed" {
		t.Errorf("test --config of a broken policy = %v\n%s", err, out)
	}
	for name, want := range map[string]string{"bad.caddyfile": `unknown option "fiel"`, "gone/Caddyfile": "groups.yaml: no such file"} {
		if _, err := celPolicy(t, "test", "--config", filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("test --config %s = %v, want …%s…", name, err, want)
		}
	}
}

// shownPolicy is what the admin API lists.
type shownPolicy struct {
	Name       string
	Rules      []map[string]any
	ReportOnly bool `json:"report_only"`
}

func (g *gateway) policies() (shown []shownPolicy) {
	g.t.Helper()
	status, text := g.adminCall(http.MethodGet, "/okta/policies", "", "")
	if err := json.Unmarshal([]byte(text), &shown); err != nil || status != http.StatusOK {
		g.t.Fatalf("GET /okta/policies = %d, %v: %s", status, err, text)
	}
	return shown
}

func TestTheAdminAPIShowsTheRunningPolicies(t *testing.T) {
	const first = "okta_auth main\n cel_policy {\n name one\n allow group `\"Blue\" in principal.groups`\n }\n cel_policy {\n name two\n allow all `true`\n report_only\n }"
	g := start(t, first)
	shown := g.policies()
	if len(shown) != 2 || shown[0].Name != "one" || shown[1].Name != "two" || !shown[1].ReportOnly || shown[0].Rules[0]["when"] != `"Blue" in principal.groups` {
		t.Errorf("GET /okta/policies = %+v", shown)
	}
	if status, text := g.post(fmt.Sprintf(site, "okta_auth main\n cel_policy `principal.gruops == []`")); status == http.StatusOK {
		t.Fatalf("a bad policy loads: %s", text)
	}
	if again := g.policies(); len(again) != 2 {
		t.Errorf("after a failed reload: %+v", again)
	}
	bad := strings.Replace(fmt.Sprintf(site, first), "audience api://default", "audience api://default\n clock_skew 1h", 1)
	if status, text := g.post(bad); status == http.StatusOK { // fails once handlers are provisioned
		t.Fatalf("a bad issuer loads: %s", text)
	}
	if again := g.policies(); len(again) != 2 {
		t.Errorf("after a reload that failed late: %+v", again)
	}
	if status, text := g.post(fmt.Sprintf(site, "okta_auth main\n cel_policy `true`")); status != http.StatusOK {
		t.Fatalf("POST /load = %d: %s", status, text)
	}
	if shown = g.policies(); len(shown) != 1 || shown[0].Name != "policy" {
		t.Errorf("after a reload: %+v", shown)
	}
	if status, text := g.post(fmt.Sprintf(site, "okta_auth main")); status != http.StatusOK {
		t.Fatalf("POST /load = %d: %s", status, text)
	}
	if shown = g.policies(); shown == nil || len(shown) != 0 {
		t.Errorf("without a policy: %+v, want an empty list", shown)
	}
}

// A snippet brings its policy, and its name, to every site that imports it, also with other arguments.
func TestPoliciesMayShareAName(t *testing.T) {
	g := start(t, "okta_auth main\n handle /a* {\n cel_policy {\n name shared\n allow a `true`\n }\n }\n handle {\n cel_policy {\n name shared\n allow b `false`\n }\n }")
	if shown := g.policies(); len(shown) != 2 || shown[0].Name != "shared" || shown[1].Name != "shared" {
		t.Errorf("GET /okta/policies = %+v, want both", shown)
	}
	status, text := g.adminCall(http.MethodPost, "/okta/policies/explain", "application/json", `{"policy": "shared", "claims": {"sub": "alice"}}`)
	if status != http.StatusOK || strings.Count(text, `"policy":"shared"`) != 2 || !strings.Contains(text, `"decision":"allow"`) || !strings.Contains(text, `"decision":"deny"`) {
		t.Errorf("POST /okta/policies/explain = %d: %s, want both", status, text)
	}
}

func TestTheAdminAPIExplainsDecisions(t *testing.T) {
	t.Setenv("CADDY_OKTA_SECRET", "hunter2")
	g := start(t, `okta_auth main
	cel_policy {
		name one
		allow own GET /users/{id} `+"`params.id == principal.subject`"+`
		deny country /users/* `+"`placeholder(\"http.vars.country\") == \"XX\" || placeholder(\"env.CADDY_OKTA_SECRET\") == \"\"`"+`
	}
	cel_policy {
		name two
		allow all `+"`true`"+`
	}`)
	type explanation struct {
		Policy, Decision, Rule, Reason, Error string
		Status                                int
		Rules                                 []struct {
			Rule, Kind, Because string
			Applies             bool
			When                map[string]any
		}
	}
	explain := func(body string) (list []explanation, text string) {
		t.Helper()
		status, text := g.adminCall(http.MethodPost, "/okta/policies/explain", "application/json", body)
		if err := json.Unmarshal([]byte(text), &list); err != nil || status != http.StatusOK {
			t.Fatalf("POST /okta/policies/explain = %d, %v: %s", status, err, text)
		}
		return list, text
	}
	const request = `"request": {"path": "/users/alice"}, "claims": {"sub": "alice"}`
	list, text := explain(`{` + request + `, "policy": "one", "placeholders": {"env.CADDY_OKTA_SECRET": "given"}}`)
	if len(list) != 1 || list[0].Decision != "allow" || list[0].Rule != "own" || list[0].Reason != "ok" || list[0].Status != 200 || len(list[0].Rules) != 2 {
		t.Fatalf("explained: %s", text)
	}
	if own := list[0].Rules[0]; own.Rule != "own" || !own.Applies || own.When["expression"] != "params.id == principal.subject" || own.When["value"] != true {
		t.Errorf("rule own: %s", text)
	}
	list, text = explain(`{` + request + `}`)
	if len(list) != 2 || list[0].Decision != "error" || list[0].Rule != "country" || !strings.Contains(list[0].Error, "env.CADDY_OKTA_SECRET is unknown") || list[1].Decision != "allow" {
		t.Errorf("explained: %s", text)
	}
	if strings.Contains(text, "hunter2") {
		t.Errorf("the answer has a value of the machine: %s", text)
	}
	for body, want := range map[string]int{`{"policy": "three"}`: http.StatusNotFound, `{"claims": []}`: http.StatusBadRequest, `{`: http.StatusBadRequest,
		`{"request": {"method": "GET /a"}}`: http.StatusBadRequest, `{"request": {"headers": {"X-A": "b\r\nX-C: d"}}}`: http.StatusBadRequest} {
		status, text := g.adminCall(http.MethodPost, "/okta/policies/explain", "application/json", body)
		var refusal struct{ Error string }
		if err := json.Unmarshal([]byte(text), &refusal); status != want || err != nil || refusal.Error == "" {
			t.Errorf("POST %s = %d: %s, want %d and a JSON error", body, status, text, want)
		}
	}
	for method, want := range map[string]int{http.MethodHead: http.StatusOK, http.MethodDelete: http.StatusMethodNotAllowed} {
		for _, path := range []string{"/okta/policies", "/okta/issuers"} { // the same for both
			if status, _ := g.adminCall(method, path, "", ""); status != want {
				t.Errorf("%s %s = %d, want %d", method, path, status, want)
			}
		}
	}
	// What was explained was not sent: the backend saw nothing.
	if n := g.backend.requests.Load(); n != 0 {
		t.Errorf("the backend got %d requests", n)
	}
}
