package celpolicy

import (
	"bytes"
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write the .golden files anew")

// command runs "caddy cel-policy" in-process.
func command(t testing.TB, stdin string, args ...string) (stdout string, err error) {
	t.Helper()
	cmd := &cobra.Command{Use: "cel-policy", SilenceErrors: true, SilenceUsage: true}
	addCommands(cmd)
	var out bytes.Buffer
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(append([]string{}, args...)) // never nil, which stands for those of the test
	err = cmd.Execute()
	return out.String(), err
}

// golden compares with a file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(readCase(t, path)); got != want {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func TestTheTestsOfGoodFilesPass(t *testing.T) {
	for _, path := range casesOf(t, "good") {
		if out, err := command(t, "", "test", path); err != nil || !strings.Contains(out, "ok    ") || strings.Contains(out, "FAIL") {
			t.Errorf("test %s = %v\n%s", path, err, out)
		}
	}
	if out, err := command(t, "", "test", "testdata/good"); err != nil || !strings.Contains(out, "21 tests, 0 failed") {
		t.Errorf("test of the folder = %v\n%s", err, out)
	}
}

func TestReports(t *testing.T) {
	for format := range formats {
		out, err := command(t, "", "test", "--format", format, "testdata/failing/policy.yaml")
		if err == nil || err.Error() != "4 of 6 tests failed" {
			t.Errorf("--format %s = %v, want an error that counts the failures", format, err)
		}
		golden(t, filepath.Join("testdata", "failing", format+".golden"), out)
	}
}

// JUnit's readers refuse what is no XML, and a name can be anything.
func TestJUnitIsXMLWhateverTheNames(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": "tests:\n  - name: \"<&>\\\" \\u0001 \\u2028 ]]>\"\n    expect: {decision: allow}\n"})
	out, err := command(t, "", "test", "--format", "junit", dir)
	if err == nil {
		t.Error("the test passed")
	}
	var report junitReport
	if err := xml.Unmarshal([]byte(out), &report); err != nil || report.Failed != 1 || report.Suites[0].Cases[0].Failure == nil {
		t.Errorf("the report is %+v, %v:\n%s", report, err, out)
	}
}

func TestPoliciesOfAConfigurationAreTested(t *testing.T) {
	out, err := command(t, "", "test", "--config", "testdata/config/config.json")
	if err != nil || !strings.HasSuffix(out, "3 tests, 0 failed\n") ||
		!strings.HasPrefix(out, "ok    orders: 3 tests of testdata/config/policies/one.yaml, testdata/config/policies/two.yaml\n") {
		t.Errorf("test --config = %v\n%s", err, out)
	}
}

// A folder and a file in it, or a file by two names, are tested once.
func TestEachFileIsTestedOnce(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": "rules: [{allow: a, when: 'true'}]\ntests: [{name: n, expect: {decision: allow}}]\n"})
	file := filepath.Join(dir, "a.yaml")
	for _, names := range [][]string{{dir, file}, {file, dir}, {file, file}, {file, dir + "/./a.yaml"}, {dir + "/", dir}} {
		if out, err := command(t, "", append([]string{"test"}, names...)...); err != nil || !strings.HasSuffix(out, "1 test, 0 failed\n") {
			t.Errorf("test %q = %v\n%s", names, err, out)
		}
	}
}

func TestCommandsThatCannotRunAreErrors(t *testing.T) {
	dir := write(t, map[string]string{
		"none/readme.txt": "",
		"bare/a.yaml":     "rules: [{allow: a, when: 'true'}]\n",
		"two/a.yaml":      "rules: [{allow: a, path: x}]\n",
		"two/b.yaml":      "rules: [{allow: b, path: y}]\n",
		"no.json":         `{"apps": {}}`,
		"bad.json":        `{"apps": {"http": {"x": {"handler": "cel_policy", "rule": []}}}}`,
		"broken.json":     `{`,
		"claims":          "eyJhbGciOiJSUzI1NiJ9.e30.c2VjcmV0",
	})
	policy, request, token := filepath.Join(dir, "bare/a.yaml"), "GET /", "eyJhbGciOiJSUzI1NiJ9.e30.c2VjcmV0"
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"nothing", nil, "write test, explain or schema"},
		{"another command", []string{"tset", dir}, `unknown command "tset"`},
		{"an unknown flag", []string{"test", "--nope"}, "unknown flag: --nope"},
		{"nothing to test", []string{"test"}, "write the files or folders to test"},
		{"files and a configuration", []string{"test", "--config", "x", "y"}, "write files, or --config"},
		{"an unknown format", []string{"test", "--format", "xml", policy}, `unknown format "xml"`},
		{"no tests", []string{"test", filepath.Join(dir, "bare")}, "there are no tests"},
		{"a folder without policies", []string{"test", filepath.Join(dir, "none")}, "there is no policy file in it"},
		{"a missing file", []string{"test", filepath.Join(dir, "missing")}, "no such file"},
		{"two bad files", []string{"test", filepath.Join(dir, "two")}, "path y: must start with a slash"},
		{"no such configuration", []string{"test", "--config", filepath.Join(dir, "missing")}, "no such file"},
		{"a configuration without a policy", []string{"test", "--config", filepath.Join(dir, "no.json")}, "has no cel_policy"},
		{"an unknown member", []string{"test", "--config", filepath.Join(dir, "bad.json")}, `at /apps/http/x: json: unknown field "rule"`},
		{"a broken configuration", []string{"test", "--config", filepath.Join(dir, "broken.json")}, "unexpected end of JSON"},
		{"an unknown adapter", []string{"test", "--adapter", "x", "--config", filepath.Join(dir, "no.json")}, `unknown config adapter "x"`},

		{"nothing to explain", []string{"explain", "--request", request}, "write --file"},
		{"a file and a configuration", []string{"explain", "--request", request, "--file", policy, "--config", "x"}, "write --file or --config"},
		{"no request", []string{"explain", "--file", policy}, "write --request"},
		{"a request without a method", []string{"explain", "--file", policy, "--request", "/orders"}, "write --request"},
		{"a request without a path", []string{"explain", "--file", policy, "--request", "GET orders"}, "write --request"},
		{"a bad time", []string{"explain", "--file", policy, "--request", request, "--now", "noon"}, `now: "noon" is not a time`},
		{"a bad address", []string{"explain", "--file", policy, "--request", request, "--ip", "home"}, `ip: "home" is not an address`},
		{"a bad header", []string{"explain", "--file", policy, "--request", request, "--header", "x"}, "write --header"},
		{"a bad placeholder", []string{"explain", "--file", policy, "--request", request, "--placeholder", "x"}, "write --placeholder"},
		{"a bad format", []string{"explain", "--file", policy, "--request", request, "--format", "junit"}, `unknown format "junit"`},
		{"claims on the command line", []string{"explain", "--file", policy, "--request", request, `{"sub":"alice"}`}, "explain takes flags only"},
		{"a token in place of a flag", []string{"explain", "--file", policy, "--request", request, token}, "explain takes flags only"},
		{"a token in place of a file", []string{"explain", "--file", policy, "--request", request, "--claims", token}, "claims: this is a token"},
		{"a token in place of policies", []string{"test", token}, "this is a token, which is never taken"},
		{"missing claims", []string{"explain", "--file", policy, "--request", request, "--claims", filepath.Join(dir, "x")}, "no such file"},
		{"a token as claims", []string{"explain", "--file", policy, "--request", request, "--claims", filepath.Join(dir, "claims")}, "claims: not JSON"},
		{"claims of another type", []string{"explain", "--file", policy, "--request", request, "--claims", "-"}, `claims: the claim "sub" is not a text`},
		{"no policy of the name", []string{"explain", "--request", request, "--config", "testdata/config/config.json", "--policy", "x"}, `no policy is named "x": write one of orders`},
		{"another policy than that of the file", []string{"explain", "--request", request, "--file", policy, "--policy", "nope"}, `no policy is named "nope": write one of policy`},
	} {
		t.Run(strings.ReplaceAll(test.name, " ", "_"), func(t *testing.T) {
			out, err := command(t, `{"sub": 7}`, test.args...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%q = %v, want …%s…", test.args, err, test.want)
			}
			if strings.Contains(out+err.Error(), "c2VjcmV0") {
				t.Errorf("%q prints a token: %s %v", test.args, out, err)
			}
		})
	}
}

func TestExplainCommand(t *testing.T) {
	args := []string{
		"explain", "--file", "testdata/explain/policy.yaml", "--request", "GET /documents/bob/7?page=2", "--claims", "testdata/explain/claims.json",
		"--ip", "10.1.2.3", "--now", "2026-07-15T12:00:00Z", "--header", "X-Device: unknown",
	}
	for _, format := range []string{"text", "json"} {
		out, err := command(t, "", append(args, "--format", format)...)
		if err != nil {
			t.Errorf("explain --format %s = %v", format, err)
		}
		golden(t, filepath.Join("testdata", "explain", format+".golden"), out)
	}
}

func TestExplainReadsItsFlags(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": `rules:
  - allow: flags
    when: >-
      request.method == "PUT" && request.path == "/x" && request.query.q == ["1"] && request.host == "api.example.com" &&
      request.scheme == "http" && request.size == 7 && request.ip == "192.0.2.7" &&
      request.headers["x-tag"] == ["a", "b: c"] && placeholder("http.vars.country") == "D=E" && principal.subject == "alice" &&
      now == timestamp("2026-07-15T12:00:00Z")
`})
	out, err := command(t, `{"sub": "alice"}`, "explain", "-f", filepath.Join(dir, "a.yaml"), "-r", "PUT /x?q=1", "--claims", "-",
		"--host", "api.example.com", "--scheme", "http", "--size", "7", "--ip", "192.0.2.7", "-H", "x-tag: a", "-H", "X-Tag:b: c",
		"--placeholder", "http.vars.country=D=E", "--now", "2026-07-15T12:00:00Z")
	if err != nil || !strings.HasPrefix(out, "policy policy: allow by rule flags (ok, status 200)\n") {
		t.Errorf("explain = %v\n%s", err, out)
	}
}

func TestExplainReadsAConfiguration(t *testing.T) {
	out, err := command(t, "", "explain", "--config", "testdata/config/config.json", "--policy", "orders", "--request", "GET /x")
	if err != nil || !strings.HasPrefix(out, "policy orders: deny (no_credential, status 401)\n") {
		t.Errorf("explain = %v\n%s", err, out)
	}
	dir := write(t, map[string]string{
		"c.json":    `[{"handler": "cel_policy", "report_only": true}, {"handler": "cel_policy", "name": "b"}]`,
		"same.json": `[{"handler": "cel_policy", "name": "a"}, {"handler": "cel_policy", "name": "b"}, {"handler": "cel_policy", "name": "a"}]`,
	})
	if _, err := command(t, "", "explain", "--config", filepath.Join(dir, "same.json"), "--policy", "c", "--request", "GET /x"); err == nil || !strings.HasSuffix(err.Error(), "write one of a, b") {
		t.Errorf("explain of a policy that is none = %v", err)
	}
	if out, err := command(t, "", "explain", "--config", filepath.Join(dir, "same.json"), "--policy", "a", "--request", "GET /x"); err != nil || strings.Count(out, "policy a: deny") != 2 {
		t.Errorf("explain of a name that two policies have = %v\n%s", err, out)
	}
	out, err = command(t, "", "explain", "--config", filepath.Join(dir, "c.json"), "--request", "GET /x")
	if err != nil || out != "policy policy: would_deny (no_credential, status 401)\npolicy b: deny (no_credential, status 401)\n" {
		t.Errorf("explain of two policies = %v\n%s", err, out)
	}
}

func TestTheSchemaIsPrinted(t *testing.T) {
	if out, err := command(t, "", "schema"); err != nil || out != string(readCase(t, "policy.schema.json")) {
		t.Errorf("schema = %v\n%s", err, out)
	}
}
