package integration

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// snippet is a block of a Markdown file.
type snippet struct {
	file string
	line int
	text string
}

// snippets returns the blocks of a language.
func snippets(t *testing.T, file, language string) (found []snippet) {
	t.Helper()
	number, open := 0, -1
	var text strings.Builder
	for line := range strings.Lines(readText(t, file)) {
		number++
		switch fence := strings.TrimSpace(line); {
		case open < 0 && fence == "```"+language:
			open = number
		case open >= 0 && fence == "```":
			found = append(found, snippet{file, open, text.String()})
			text.Reset()
			open = -1
		case open >= 0:
			text.WriteString(line)
		}
	}
	return found
}

// whole returns a snippet as a whole Caddyfile: directives in a site, options of a site's servers in the global block.
func (s snippet) whole() string {
	const issuers = "okta {\n issuer main https://acme.okta.com/oauth2/default {\n audience api://default\n }\n}\n"
	first := strings.Fields(s.text)[0]
	switch {
	case first == "{" || strings.Contains(first, "."):
		return s.text
	case first == "okta" || first == "events" || first == "servers":
		return "{\n" + s.text + "}\n"
	default:
		return "{\n" + issuers + "}\nexample.com {\n" + s.text + "}\n"
	}
}

// execHandler stands for the plugin that the README names, which a user builds in.
type execHandler struct {
	Args []string `json:"args,omitempty"`
}

func init() { caddy.RegisterModule(execHandler{}) }

func (execHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.exec", New: func() caddy.Module { return new(execHandler) }}
}

func (*execHandler) Handle(context.Context, caddy.Event) error { return nil }

func (h *execHandler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	h.Args = d.RemainingArgs()
	return nil
}

var _ caddyevents.Handler = (*execHandler)(nil)

// Whoever copies a piece of Caddyfile from a page gets one that loads.
func TestReadmeSnippetsAreValid(t *testing.T) {
	pages, err := filepath.Glob("../examples/*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []snippet
	for _, page := range append(pages, "../README.md", "../xcaddy.md") {
		all = append(all, snippets(t, page, "caddyfile")...)
	}
	if len(all) < 6 {
		t.Errorf("there are %d snippets: the test reads the wrong pages", len(all))
	}
	t.Chdir(t.TempDir())
	if err := os.Mkdir("policies", 0o700); err != nil {
		t.Fatal(err)
	}
	issuer, err := oktatest.New(oktatest.Config{ID: "default"})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(map[string]any{"keys": published(issuer)})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"keys.json": string(keys), "policies/orders.yaml": "rules:\n  - allow: all\n    when: \"true\"\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("OKTA_SECRET", "not-a-secret")
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		text := strings.ReplaceAll(s.whole(), "/var/log/caddy/", here+"/")
		config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": filepath.Join(here, "Caddyfile")})
		if err == nil {
			err = validateJSON(config)
		}
		if err != nil {
			t.Errorf("%s:%d: %v\n%s", s.file, s.line, err, text)
		}
	}
}

// The links of the pages lead somewhere.
func TestReadmeLinksLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob("../examples/*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := make(map[string]bool)
	for _, m := range regexp.MustCompile("(?m)^#+ (.*)$").FindAllStringSubmatch(readText(t, "../README.md"), -1) {
		anchor := strings.Map(func(c rune) rune {
			switch {
			case c == ' ':
				return '-'
			case strings.ContainsRune("`'.,", c):
				return -1
			}
			return c
		}, strings.ToLower(m[1]))
		headings[anchor] = true
	}
	for _, page := range append(pages, "../README.md", "../xcaddy.md") {
		for _, m := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(readText(t, page), -1) {
			file, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), file)); err != nil {
				t.Errorf("%s: %s leads nowhere", page, m[1])
			}
			if anchor != "" && !headings[anchor] {
				t.Errorf("%s: there is no heading for %s", page, m[1])
			}
		}
	}
}

// table returns the cells of a table of the README, found by its first header cells.
func table(t *testing.T, readme, header string) (rows [][]string) {
	t.Helper()
	_, text, ok := strings.Cut(readme, "\n| "+header+" |")
	if !ok {
		t.Fatalf("README.md has no table %q", header)
	}
	for n, line := range strings.Split(text, "\n") {
		if n > 0 && !strings.HasPrefix(line, "|") {
			return rows
		}
		if n > 1 {
			rows = append(rows, strings.Split(strings.Trim(line, "| "), " | "))
		}
	}
	return rows
}

var quotedWord = regexp.MustCompile("`([^`]+)`")

// quotedWords returns what stands in backquotes.
func quotedWords(text string) (words []string) {
	for _, m := range quotedWord.FindAllStringSubmatch(text, -1) {
		words = append(words, m[1])
	}
	return words
}

// What operators build on is what the README lists: metrics with their labels, audit fields, reasons.
func TestReadmeTablesMatchARunningGateway(t *testing.T) {
	readme := readText(t, "../README.md")
	e := newExample(t, "metrics-alerts")
	e.check()
	page := e.metrics()

	documented := make(map[string]bool)
	for _, row := range table(t, readme, "metric") {
		name, labels := quotedWords(row[0])[0], quotedWords(row[1])
		documented[name] = true
		samples := page[name]
		if samples == nil {
			if samples = page[name+"_count"]; samples == nil {
				t.Errorf("the metric %s of the README does not exist", name)
			}
		}
		slices.Sort(labels)
		if got := slices.Sorted(maps.Keys(samples)); !slices.Equal(got, labels) {
			t.Errorf("%s has the labels %v, the README says %v", name, got, labels)
		}
	}
	for name := range page {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if !documented[base] {
			t.Errorf("the README does not list the metric %s", name)
		}
	}

	var fields []string
	for _, row := range table(t, readme, "audit field") {
		fields = append(fields, quotedWords(row[0])...)
	}
	slices.Sort(fields)
	lines, _ := e.audited(0)
	for _, line := range lines {
		for _, name := range []string{"level", "ts", "logger", "msg"} { // Caddy's
			delete(line, name)
		}
		if got := slices.Sorted(maps.Keys(line)); !slices.Equal(got, fields) {
			t.Errorf("an audit line has the fields %v, the README says %v", got, fields)
			break
		}
	}

	explained := make(map[string]string)
	for _, row := range table(t, readme, "status | reason") {
		explained[quotedWords(row[1])[0]] = row[0]
	}
	answers := readme[strings.Index(readme, "### Answers"):]
	answers = answers[:strings.Index(answers, "### Metrics")]
	known := slices.Compact(slices.Sorted(slices.Values(page["caddy_okta_auth_total"]["reason"])))
	for _, reason := range known {
		if slices.Contains([]string{"ok", "anonymous", "preflight"}, reason) {
			continue
		}
		status, ok := explained[reason]
		if !ok {
			t.Errorf("the troubleshooting table lacks the reason %s", reason)
		}
		if !regexp.MustCompile(`(?m)^\| ` + status + `.*` + "`" + reason + "`").MatchString(answers) {
			t.Errorf("the table of answers lacks %s with the status %s", reason, status)
		}
		delete(explained, reason)
	}
	for reason := range explained {
		if !slices.Contains(known, reason) {
			t.Errorf("the troubleshooting table explains %s, which is no reason", reason)
		}
	}
}

// The paths and fields of the admin API are those of the README. The issuer of this example is declared in place: such an
// issuer was not listed, because Caddy provisions its admin endpoint before the app that it brings along.
func TestReadmeListsTheAdminAPI(t *testing.T) {
	readme := readText(t, "../README.md")
	e := newExample(t, "one-api")
	e.check()
	for _, row := range table(t, readme, "request") {
		method, path, _ := strings.Cut(quotedWords(row[0])[0], " ")
		if strings.Contains(path, "<") || method != http.MethodGet {
			continue
		}
		a, err := (&scriptRequest{admin: true, method: method, path: path}).send(e)
		if err != nil {
			t.Fatal(err)
		}
		if a.status != "200" || !json.Valid([]byte(a.body)) {
			t.Errorf("%s %s = %s: %s", method, path, a.status, a.body)
		}
		for _, field := range quotedWords(row[1]) {
			if field != "last_error" && !strings.Contains(a.body, `"`+field+`"`) {
				t.Errorf("%s %s has no field %s: %s", method, path, field, a.body)
			}
		}
	}
}

// Every placeholder of the README stands for something: Caddy leaves those that nobody knows as they are.
func TestReadmePlaceholdersAreKnown(t *testing.T) {
	_, section, _ := strings.Cut(readText(t, "../README.md"), "### Placeholders")
	section, _, _ = strings.Cut(section, "\n### ")
	placeholders := strings.ReplaceAll(strings.Join(quotedWords(section), " "), "<claim path>", "email")
	if strings.Count(placeholders, "{") < 10 {
		t.Fatalf("the README lists %s: the test reads the wrong section", placeholders)
	}
	g := start(t, "okta_auth main\n cel_policy `true`\n respond \""+placeholders+"\"")
	a := g.send("GET", "/", bearer(g.issuer.UserToken("alice", oktatest.With("email", "alice@example.com"))))
	if strings.ContainsAny(a.body, "{}") || !strings.HasPrefix(a.body, "alice alice@example.com ") {
		t.Errorf("%s are %s", placeholders, a.body)
	}
}

// xcaddy.md shows what a build must list.
func TestReadmeListsTheModulesOfABuild(t *testing.T) {
	var ours []string
	for _, id := range caddy.Modules() {
		if strings.Contains(id, "okta") || strings.Contains(id, "cel_policy") {
			ours = append(ours, id)
		}
	}
	slices.Sort(ours)
	if want := "\n```\n" + strings.Join(ours, "\n") + "\n```\n"; !strings.Contains(readText(t, "../xcaddy.md"), want) {
		t.Errorf("xcaddy.md does not list the modules:%s", want)
	}
}

// The README names the events and the flags that the code has.
func TestReadmeNamesEventsAndFlags(t *testing.T) {
	readme := readText(t, "../README.md")
	var events []string
	for _, row := range table(t, readme, "event") {
		events = append(events, quotedWords(row[0])...)
	}
	slices.Sort(events)
	var want []string
	for _, m := range regexp.MustCompile(`"(okta\.[a-z_]+)"`).FindAllStringSubmatch(readText(t, "../oktaauth/events.go"), -1) {
		want = append(want, m[1])
	}
	slices.Sort(want)
	if !slices.Equal(events, want) {
		t.Errorf("the README lists the events %v, want %v", events, want)
	}
	verify := readme[strings.Index(readme, "### `caddy okta verify`"):]
	verify = verify[:strings.Index(verify, "\n## ")]
	flags := make(map[string]bool)
	for _, m := range regexp.MustCompile(`flags\.\w+Var\(&[\w.]+, "([a-z_]+)"`).FindAllStringSubmatch(readText(t, "../oktaauth/command.go"), -1) {
		flags["--"+m[1]] = true
	}
	for _, flag := range regexp.MustCompile(`--[a-z_]+`).FindAllString(verify, -1) {
		if _, ok := flags[flag]; !ok {
			t.Errorf("the README names the flag %s, which does not exist", flag)
		}
		flags[flag] = false
	}
	for flag, missing := range flags {
		if missing {
			t.Errorf("the README does not name the flag %s", flag)
		}
	}
}
