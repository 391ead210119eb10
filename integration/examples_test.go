package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// quickstart is the example whose script is a program, with tests of its own.
const quickstart = "quickstart"

// exampleNames lists the folders of the examples that are scripts.
func exampleNames(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join("..", "examples"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.IsDir() && entry.Name() != quickstart {
			names = append(names, entry.Name())
		}
	}
	return names
}

func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestExamples(t *testing.T) {
	for _, name := range exampleNames(t) {
		t.Run(name, func(t *testing.T) {
			newExample(t, name).check()
		})
	}
}

func TestExampleFoldersAreComplete(t *testing.T) {
	readme := readText(t, "../README.md")
	names := append(exampleNames(t), quickstart)
	if len(names) < 18 {
		t.Errorf("there are %d examples: the test reads the wrong folder", len(names))
	}
	for _, name := range names {
		if !strings.Contains(readme, "(examples/"+name+")") {
			t.Errorf("README.md does not link examples/%s", name)
		}
		dir := filepath.Join("..", "examples", name)
		if _, err := os.Stat(filepath.Join(dir, "config.json")); err != nil {
			readText(t, filepath.Join(dir, "Caddyfile"))
		}
		text := readText(t, filepath.Join(dir, "README.md"))
		if lines := strings.Count(text, "\n"); lines < 8 || lines > 40 || !strings.HasPrefix(text, "# ") {
			t.Errorf("%s/README.md has %d lines: want a title and about ten lines", name, lines)
		}
		if name == quickstart {
			continue
		}
		if _, err := parseScript(readText(t, filepath.Join(dir, "check.txt"))); err != nil {
			t.Errorf("%s/check.txt: %v", name, err)
		}
	}
}

// An example with an access log shows how DPoP proofs stay out of it.
func TestExamplesKeepProofsOutOfTheirAccessLogs(t *testing.T) {
	logging := 0
	for _, name := range append(exampleNames(t), quickstart) {
		path := filepath.Join("..", "examples", name, "Caddyfile")
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it is JSON
		}
		blocks, err := caddyfile.Parse(path, text)
		if err != nil {
			t.Fatal(err)
		}
		for _, site := range blocks {
			logs := slices.ContainsFunc(site.Segments, func(s caddyfile.Segment) bool { return s.Directive() == "log" })
			if len(site.Keys) == 0 || !logs {
				continue
			}
			if logging++; !strings.Contains(string(text), "request>headers>Dpop delete") {
				t.Errorf("%s/Caddyfile has an access log, and no filter for proofs", name)
			}
		}
	}
	if logging == 0 {
		t.Error("no example has an access log: the test reads the wrong files")
	}
}

// A script that says what nobody checks must not pass.
func TestExampleScriptsAreStrict(t *testing.T) {
	const good = "GET / -> 200\n"
	for name, text := range map[string]string{
		"no request":             "token alice user alice\n",
		"nothing":                "",
		"an unknown step":        good + "wait 5s\n",
		"an unknown kind":        good + "token alice person alice\n",
		"an unknown word":        good + "token alice user alice expird\n",
		"an unknown option":      "GET / to alice -> 200\n",
		"an unknown method":      "FETCH / -> 200\n",
		"an unknown expectation": good + "    sees X-User-ID: alice\n",
		"an expectation of none": "    backend X-User-ID: alice\n" + good,
		"behind another step":    good + "restart\n    challenge none\n",
		"no status":              "GET /\n",
		"half a status":          "GET / ->\n",
		"a word for a status":    "GET / -> fine\n",
		"words behind it":        "GET / -> 200 ok and more\n",
		"an open quote":          `GET / with "A: b -> 200` + "\n",
		"a header without value": "GET / with X-A -> 200\n",
		"never":                  "GET / times 0 -> 200\n",
		"an issuer that sleeps":  good + "issuer acme asleep\n",
		"an unknown protocol":    good + "backend a:1 speaks smtp\n",
	} {
		if _, err := parseScript(text); err == nil {
			t.Errorf("%s: the script is accepted:\n%s", name, text)
		}
	}
	if s, err := parseScript("# comment\n\n" + good + "    challenge none\n"); err != nil || s.requests != 1 {
		t.Errorf("a good script = %v, %v", s, err)
	}
}
