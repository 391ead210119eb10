package celpolicy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// write makes files in a new folder and returns it.
func write(t testing.TB, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func readCase(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func casesOf(t testing.TB, folder string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", folder, "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases in %s: %v", folder, err)
	}
	return paths
}

// Each file of testdata/mistakes has one, and says in its first comment, or as its $schema, where and what it is.
func TestMistakesInFilesAreErrorsWithTheirLine(t *testing.T) {
	for _, path := range casesOf(t, "mistakes") {
		t.Run(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), func(t *testing.T) {
			first, _, _ := strings.Cut(string(readCase(t, path)), "\n")
			if filepath.Ext(path) == ".json" {
				first = schemaMember(t, path)
			}
			line, message, ok := strings.Cut(strings.TrimPrefix(first, "# "), ": ")
			if !ok {
				t.Fatalf("the case does not say what it expects: %s", first)
			}
			want := fmt.Sprintf("%s:%s: %s", path, strings.TrimPrefix(line, "line "), message)
			policy := new(Policy)
			if err := policy.AddFiles("", []string{path}); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("AddFiles() = %v, want %s", err, want)
			}
			if len(policy.Rules) > 0 || policy.Name != "" {
				t.Errorf("the policy has %+v of a bad file", policy)
			}
		})
	}
}

// schemaMember returns the first text after $schema, also from what is no JSON.
func schemaMember(t *testing.T, path string) (text string) {
	t.Helper()
	_, rest, _ := bytes.Cut(readCase(t, path), []byte(`"$schema":`))
	if err := json.NewDecoder(bytes.NewReader(rest)).Decode(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

func TestACommentThatCutsAnExpressionIsTold(t *testing.T) {
	for when, cut := range map[string]bool{
		`claims.x == "order #7"`:      true,
		`claims.x == 'order #7'`:      true,
		`claims.x == "a" && y # test`: false,
		`'claims.x == "a # b" && y'`:  false,
		`claims.x == "a`:              false,
	} {
		dir := write(t, map[string]string{"a.yaml": "rules:\n  - allow: a\n    when: " + when + "\n"})
		err := new(Policy).AddFiles(dir, []string{"a.yaml"})
		if err == nil || strings.Contains(err.Error(), "is a comment in YAML: put the expression in single quotes") != cut {
			t.Errorf("when: %s: %v, cut: %v", when, err, cut)
		}
	}
}

func TestYAMLAndJSONAreOneShape(t *testing.T) {
	const asYAML = `
name: orders
rules:
  - {allow: own, methods: [GET, POST], path: "/users/{id}", when: 'params.id == "a/b"'}
  - {step_up: strong, acr_values: [phr], max_age: 5m}
`
	const asJSON = `{"name": "orders", "rules": [
		{"allow": "own", "methods": ["GET", "POST"], "path": "/users/{id}", "when": "params.id == \"a\/b\""},
		{"step_up": "strong", "acr_values": ["phr"], "max_age": "5m"}
	]}`
	dir := write(t, map[string]string{"a.yaml": asYAML, "a.JSON": asJSON})
	var one, other Policy
	if err := errors.Join(one.AddFiles(dir, []string{"a.yaml"}), other.AddFiles(dir, []string{"a.JSON"})); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(one, other) || len(one.Rules) != 2 || one.Name != "orders" {
		t.Errorf("YAML gave %+v, JSON %+v", one, other)
	}
	var config Policy
	if err := json.Unmarshal([]byte(asJSON), &config); err != nil || !reflect.DeepEqual(config, one) {
		t.Errorf("the same JSON in a config gave %+v, %v, want %+v", config, err, one)
	}
}

func TestFilesJoinTheRulesOfAPolicy(t *testing.T) {
	dir := write(t, map[string]string{
		"policies/b.yaml":       "rules: [{allow: b, when: 'true'}]\n",
		"policies/a.yaml":       "name: orders\nrules: [{allow: a, when: 'true'}]\n",
		"policies/.hidden.yaml": "rules: [{allow: hidden, when: 'true'}]\n",
		"policies/note.txt":     "no policy",
		"more.json":             `{"rules": [{"deny": "more"}]}`,
		"[odd]*/c.yaml":         "rules: [{allow: c, when: 'true'}]\n",
	})
	for _, test := range []struct {
		name     string
		dir      string
		patterns []string
		want     string
	}{
		{"one file", dir, []string{"more.json"}, "own more"},
		{"a pattern, in order, without hidden files", dir, []string{"policies/*.yaml"}, "own a b"},
		{"several patterns", dir, []string{"more.json", "policies/b.yaml"}, "own more b"},
		{"a file that two patterns match counts once", dir, []string{"policies/b.yaml", "policies/*.yaml"}, "own b a"},
		{"a hidden file by its name", dir, []string{"policies/.hidden.yaml"}, "own hidden"},
		{"a folder above", filepath.Join(dir, "policies"), []string{"../more.json"}, "own more"},
		{"an absolute path", "elsewhere", []string{filepath.Join(dir, "more.json")}, "own more"},
		{"a folder whose name looks like a pattern", filepath.Join(dir, "[odd]*"), []string{"*.yaml"}, "own c"},
		{"a file in a folder whose name looks like a pattern", filepath.Join(dir, "[odd]*"), []string{"c.yaml"}, "own c"},
	} {
		t.Run(strings.ReplaceAll(test.name, " ", "_"), func(t *testing.T) {
			own := Policy{Rules: append(make([]Rule, 0, 8), Rule{Allow: "own", When: "true"})}
			merged := own
			if err := merged.AddFiles(test.dir, test.patterns); err != nil {
				t.Fatal(err)
			}
			var names []string
			for i := range merged.Rules {
				name, _ := merged.Rules[i].name()
				names = append(names, name)
			}
			if got := strings.Join(names, " "); got != test.want {
				t.Errorf("rules %s, want %s", got, test.want)
			}
			if extra := own.Rules[:2][1]; extra.Allow+extra.Deny != "" {
				t.Errorf("the policy's own list was extended in place by %+v", extra)
			}
		})
	}
}

func TestFilesThatCannotBeReadAreErrors(t *testing.T) {
	dir := write(t, map[string]string{
		"empty.yaml":      " \n",
		"empty.json":      "",
		"latin.yaml":      "rules: [{allow: \xe9}]\n",
		"huge.yaml":       "rules: [{allow: a, when: 'true'}]\n#" + strings.Repeat("x", maxFileSize),
		"folder/x.yaml":   "rules: [{allow: a, when: 'true'}]\n",
		"orders.yaml":     "name: orders\nrules:\n  - {allow: orders, when: 'true'}\n",
		"invoices.yaml":   "name: invoices\nrules:\n  - {allow: invoices, when: 'true'}\n",
		"same-rule.yaml":  "rules:\n  - {allow: other, when: 'true'}\n  - deny: own\n",
		"same-again.yaml": "rules:\n  - deny: orders\n",
		"two.yaml":        "rules:\n  - allow: a\n    path: x\n  - deny: b\n    when: '1'\n",
	})
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling.yaml")); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		patterns []string
		want     string
	}{
		"a pattern that matches nothing": {[]string{"none*.yaml"}, "none*.yaml: no file matches the pattern"},
		"a missing file":                 {[]string{"none.yaml"}, "none.yaml: no such file or directory"},
		"a link to nowhere":              {[]string{"dangl*.yaml"}, "dangling.yaml: no such file or directory"},
		"a bad pattern":                  {[]string{"[.yaml"}, "[.yaml: syntax error in pattern"},
		"a folder":                       {[]string{"folder"}, "folder: is no file"},
		"an empty file":                  {[]string{"empty.yaml"}, "empty.yaml:1: there is nothing in it"},
		"an empty JSON file":             {[]string{"empty.json"}, "empty.json:1: there is nothing in it"},
		"a huge file":                    {[]string{"huge.yaml"}, "huge.yaml: is larger than 1024 KiB: split it"},
		"a file that is no UTF-8":        {[]string{"latin.yaml"}, "latin.yaml:1: the text is not UTF-8"},
		"two names":                      {[]string{"orders.yaml", "invoices.yaml"}, "orders.yaml calls the policy orders, and invoices.yaml calls it invoices: give the policy"},
		"a rule that the policy has":     {[]string{"same-rule.yaml"}, "same-rule.yaml:3: rule own: the policy has two rules of this name, first in the policy itself, beside its files: rename one"},
		"a rule that another file has":   {[]string{"orders.yaml", "same-again.yaml"}, "same-again.yaml:2: rule orders: the policy has two rules of this name, first at orders.yaml:3: rename one"},
		"several mistakes":               {[]string{"two.yaml"}, "two.yaml:3: rule a: path x: must start with a slash: write /x\ntwo.yaml:5: rule b: when:1:1: the expression must be of type bool"},
		"several bad files":              {[]string{"empty.yaml", "latin.yaml"}, "empty.yaml:1: there is nothing in it\nlatin.yaml:1: "},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			policy := Policy{Rules: []Rule{{Allow: "own", When: "true"}}}
			if err := policy.AddFiles(dir, test.patterns); err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("AddFiles(%q) = %v, want %s", test.patterns, err, test.want)
			}
		})
	}
	named := Policy{Name: "api"}
	if err := named.AddFiles(dir, []string{"orders.yaml", "invoices.yaml"}); err != nil || named.Name != "api" {
		t.Errorf("a policy with a name of its own: %v, named %s", err, named.Name)
	}
	if err := new(Policy).AddFiles(dir, []string{"huge.yaml"}); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("AddFiles(huge.yaml) = %v", err)
	}
}

// A mistake in a rule of the configuration is told as one, also where there are files.
func TestMistakesInOwnRulesKeepTheirWords(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": "rules: [{allow: a, when: 'true'}]\n"})
	policy := Policy{Rules: []Rule{{Allow: "own", Path: "x", When: "true"}}}
	err := policy.AddFiles(dir, []string{"a.yaml"})
	var mistake *RuleError
	if !errors.As(err, &mistake) || mistake.Index != 0 || err.Error() != "rule own: path x: must start with a slash: write /x" {
		t.Errorf("AddFiles() = %v, want the mistake as Compile tells it", err)
	}
}

// What Caddy replaces in a Caddyfile is plain text in a file.
func TestPlaceholdersAreNotSpecialInFiles(t *testing.T) {
	t.Setenv("CADDY_OKTA_TEST", "replaced")
	const expression = `request.query.q == ["{$CADDY_OKTA_TEST} {env.CADDY_OKTA_TEST} {path}"]`
	dir := write(t, map[string]string{"a.yaml": "rules:\n  - allow: a\n    when: " + expression + "\n"})
	h := provision(t, &Handler{File: []string{filepath.Join(dir, "a.yaml")}})
	if got := h.policy.Rules[0].When; got != expression {
		t.Errorf("when is %s, want %s", got, expression)
	}
}

func FuzzPolicyFilesNeverPanic(f *testing.F) {
	for _, folder := range []string{"good", "mistakes", "failing", "explain"} {
		for _, path := range casesOf(f, folder) {
			f.Add(readCase(f, path), filepath.Ext(path) == ".json")
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, asJSON bool) {
		name := "file.yaml"
		if asJSON {
			name = "file.json"
		}
		file, err := parsePolicyFile(name, text)
		if err != nil {
			if file != nil || !strings.HasPrefix(err.Error(), name+":") {
				t.Fatalf("parsePolicyFile() = %v, %v, want an error with file and line, and nothing else", file, err)
			}
			return
		}
		loaded := &loadedPolicy{files: []*policyFile{file}}
		if err := loaded.merge(Policy{}); err == nil {
			loaded.test()
		}
	})
}
