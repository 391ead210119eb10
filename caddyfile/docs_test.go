package caddyfile

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

// What the grammar in doc.go lists, what the parsers accept and what the README explains are the same words.
func TestGrammarParsersAndReadmeAgree(t *testing.T) {
	grammar := grammarWords(t)
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for block, around := range map[string]string{
		"okta":       "{\n okta {\n %s\n }\n}\n",
		"issuer":     "{\n okta {\n issuer main https://acme.okta.com/oauth2/default {\n %s\n }\n }\n}\n",
		"guard":      "{\n okta {\n guard {\n %s\n }\n }\n}\n",
		"okta_auth":  "example.com {\n okta_auth https://acme.okta.com/oauth2/default a {\n %s\n }\n}\n",
		"cel_policy": "example.com {\n cel_policy {\n %s\n }\n}\n",
		"step_up":    "example.com {\n cel_policy {\n step_up rule {\n %s\n }\n }\n}\n",
	} {
		_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(strings.Replace(around, "%s", "mistyped", 1)), nil)
		if err == nil {
			t.Errorf("an unknown word in %s is accepted", block)
			continue
		}
		m := regexp.MustCompile(`unknown option "mistyped": write one of (.+?), at Caddyfile:\d+`).FindStringSubmatch(err.Error())
		if m == nil {
			t.Errorf("an unknown word in %s: %v: want the known words, file and line", block, err)
			continue
		}
		words := strings.Split(m[1], ", ")
		slices.Sort(words)
		if !slices.Equal(words, grammar[block]) {
			t.Errorf("%s: the parser knows %v, doc.go lists %v", block, words, grammar[block])
		}
		for _, word := range words {
			if !regexp.MustCompile("`" + word + "[ `]").Match(readme) {
				t.Errorf("README does not explain %s of %s", word, block)
			}
		}
	}
}

// grammarWords returns the options of each block in the package comment, sorted.
func grammarWords(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	words := make(map[string][]string)
	var blocks []string
	for line := range strings.Lines(string(text)) {
		line, ok := strings.CutPrefix(line, "//\t")
		if !ok {
			continue
		}
		fields := strings.Fields(line)
		opens := fields[len(fields)-1] == "{"
		if word := fields[0]; word == "}" {
			blocks = blocks[:len(blocks)-1]
			continue
		} else if len(blocks) > 0 && regexp.MustCompile(`^[a-z_]+$`).MatchString(word) {
			parent := blocks[len(blocks)-1]
			words[parent] = append(words[parent], word)
		}
		if opens {
			blocks = append(blocks, fields[0])
		}
	}
	for _, list := range words {
		slices.Sort(list)
	}
	return words
}
