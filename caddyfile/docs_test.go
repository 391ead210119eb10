package caddyfile

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-okta/caddy-okta/oktaauth"
)

// around is a Caddyfile for each block that has options, with %s for one of them.
var around = map[string]string{
	"okta":                   "{\n okta {\n %s\n }\n}\n",
	"issuer":                 "{\n okta {\n issuer main https://acme.okta.com/oauth2/default {\n %s\n }\n }\n}\n",
	"introspection":          "{\n okta {\n issuer main https://acme.okta.com/oauth2/default {\n introspection {\n %s\n }\n }\n }\n}\n",
	"guard":                  "{\n okta {\n guard {\n %s\n }\n }\n}\n",
	"okta_auth":              "example.com {\n okta_auth https://acme.okta.com/oauth2/default a {\n %s\n }\n}\n",
	"dpop":                   "example.com {\n okta_auth https://acme.okta.com/oauth2/default a {\n dpop accept {\n %s\n }\n }\n}\n",
	"okta_resource_metadata": "example.com {\n okta_resource_metadata https://example.com {\n %s\n }\n}\n",
	"cel_policy":             "example.com {\n cel_policy {\n %s\n }\n}\n",
	"step_up":                "example.com {\n cel_policy {\n step_up rule {\n %s\n }\n }\n}\n",
}

func adapt(text string) error {
	_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	return err
}

// The parsers know the words that the grammar in doc.go lists, and what they do not know they refuse with file and line:
// with the word that was meant where there is one, and else with all of them.
func TestParsersKnowTheGrammar(t *testing.T) {
	blocks := grammar(t)
	if got, want := slices.Sorted(maps.Keys(around)), slices.Sorted(maps.Keys(blocks)); !slices.Equal(got, want) {
		t.Errorf("the blocks of doc.go are %v, tried are %v", want, got)
	}
	for name, options := range blocks {
		line := ", at Caddyfile:" + strconv.Itoa(1+strings.Count(strings.Split(around[name], "%s")[0], "\n"))
		err := adapt(strings.Replace(around[name], "%s", "jjjjjjjj", 1))
		if err == nil {
			t.Errorf("an unknown word in %s is accepted", name)
			continue
		}
		m := regexp.MustCompile(`unknown option "jjjjjjjj": write one of (.+?)` + line).FindStringSubmatch(err.Error())
		if m == nil {
			t.Errorf("an unknown word in %s: %v: want the known words, file and line", name, err)
			continue
		}
		known := strings.Split(m[1], ", ")
		slices.Sort(known)
		if want := slices.Sorted(maps.Keys(options)); !slices.Equal(known, want) {
			t.Errorf("%s: the parser knows %v, doc.go lists %v", name, known, want)
		}
		for _, word := range known {
			mistyped := word[:1] + "j" + word[1:]
			err := adapt(strings.Replace(around[name], "%s", mistyped, 1))
			if want := `unknown option "` + mistyped + `": did you mean ` + word; err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), line) {
				t.Errorf("%s in %s: %v, want %s, with file and line", mistyped, name, err, want)
			}
		}
	}
}

// The README has a table for each block, with one row for each option: its syntax as in doc.go, its meaning and its default.
func TestReadmeExplainsEveryOption(t *testing.T) {
	for name, options := range grammar(t) {
		rows := optionsOf(t, name)
		explained := make(map[string]bool)
		for _, row := range rows {
			syntax := strings.Trim(row[0], "`")
			word, _, _ := strings.Cut(syntax, " ")
			if explained[word] {
				t.Errorf("README explains %s of %s twice", word, name)
			}
			explained[word] = true
			if options[word] != syntax {
				t.Errorf("README writes %q in %s, doc.go writes %q", syntax, name, options[word])
			}
			for _, cell := range row[1:] {
				if len(cell) < 2 {
					t.Errorf("README: the row of %s of %s is incomplete: %q", word, name, row)
				}
			}
		}
		for word := range options {
			if !explained[word] {
				t.Errorf("README does not explain %s of %s", word, name)
			}
		}
	}
}

// configured are the types that the blocks fill.
var configured = map[string]any{
	"okta": oktaauth.App{}, "issuer": oktaauth.Issuer{}, "introspection": oktaauth.Introspection{}, "guard": oktaauth.Guard{},
	"okta_auth": oktaauth.Handler{}, "dpop": oktaauth.DPoP{}, "okta_resource_metadata": oktaauth.ResourceMetadata{},
}

// JSON has the words of the Caddyfile. What stands in the line that begins a block has a field as well.
func TestJSONHasTheWordsOfTheCaddyfile(t *testing.T) {
	beside := map[string][]string{
		"okta": {"issuers"}, "issuer": {"url"}, "introspection": {"private_key_id"}, "okta_auth": {"issuers", "match"},
		"dpop": {"mode"}, "okta_resource_metadata": {"issuers", "resource"},
	}
	plural := map[string]string{"okta": "issuer", "okta_resource_metadata": "issuer"} // JSON has a list
	blocks := grammar(t)
	for name, value := range configured {
		var fields []string
		for field := range reflect.TypeOf(value).Fields() {
			if tag, ok := field.Tag.Lookup("json"); ok {
				word, _, _ := strings.Cut(tag, ",")
				fields = append(fields, word)
			}
		}
		want := append(slices.Collect(maps.Keys(blocks[name])), beside[name]...)
		want = slices.DeleteFunc(want, func(word string) bool { return word == plural[name] })
		slices.Sort(fields)
		slices.Sort(want)
		if !slices.Equal(fields, want) {
			t.Errorf("%s: JSON has %v, the Caddyfile %v", name, fields, want)
		}
	}
}

// A default is the same in the code, in the comment of its field, and in the README.
func TestDefaultsAreDocumentedAsTheyAre(t *testing.T) {
	documented := make(map[string]string)
	for name, value := range configured {
		comments := fieldComments(t, reflect.TypeOf(value).Name())
		for _, row := range optionsOf(t, name) {
			word := strings.Trim(strings.Fields(row[0])[0], "`")
			value, ok := exactly(row[2])
			if !ok {
				continue
			}
			documented[name+" "+word] = value
			if m := regexp.MustCompile(`Default: ([^\s]+)\.(\s|$)`).FindStringSubmatch(comments[word]); m == nil || m[1] != value {
				t.Errorf("%s of %s: README says the default is %s, the comment of the field says %q", word, name, value, comments[word])
			}
		}
	}
	for option, want := range map[string]any{
		"okta token_cache": oktaauth.DefaultTokenCache, "issuer profile": oktaauth.ProfileOkta,
		"issuer clock_skew": oktaauth.DefaultClockSkew, "issuer keys_refresh": oktaauth.DefaultKeysRefresh,
		"issuer keys_max_stale": oktaauth.DefaultKeysMaxStale, "guard failures": oktaauth.DefaultGuardFailures,
		"guard window": oktaauth.DefaultGuardWindow, "guard ban": oktaauth.DefaultGuardBan,
		"introspection cache_ttl": oktaauth.DefaultIntrospectionTTL, "introspection negative_ttl": oktaauth.DefaultIntrospectionNegativeTTL,
		"introspection timeout": oktaauth.DefaultIntrospectionTimeout, "dpop max_age": oktaauth.DefaultProofAge,
		"okta_auth mtls_bound": oktaauth.ProofAccept,
	} {
		var got any = documented[option]
		switch want.(type) {
		case int:
			got, _ = strconv.Atoi(documented[option])
		case time.Duration:
			got, _ = time.ParseDuration(documented[option])
		}
		if got != want {
			t.Errorf("README says that the default of %s is %q, it is %v", option, documented[option], want)
		}
	}
}

// exactly returns the one word that a cell consists of.
func exactly(cell string) (string, bool) {
	m := regexp.MustCompile("^`([^` ]+)`$").FindStringSubmatch(cell)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// fieldComments returns the comments of a type's fields, by their names in JSON.
func fieldComments(t *testing.T, name string) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../oktaauth/*.go")
	if err != nil {
		t.Fatal(err)
	}
	comments := make(map[string]string)
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != name {
				return true
			}
			for _, field := range spec.Type.(*ast.StructType).Fields.List {
				if field.Tag == nil {
					continue
				}
				tag, _ := strconv.Unquote(field.Tag.Value)
				word, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
				comments[word] = strings.Join(strings.Fields(field.Doc.Text()), " ")
			}
			return false
		})
	}
	if len(comments) == 0 {
		t.Fatalf("oktaauth has no type %s with options", name)
	}
	return comments
}

// grammar returns the options of each block in the package comment, each with its syntax in one line.
func grammar(t *testing.T) map[string]map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	options := make(map[string]map[string]string)
	var blocks []string
	for line := range strings.Lines(file.Doc.Text()) {
		if !strings.HasPrefix(line, "\t") {
			continue
		}
		fields := strings.Fields(line)
		if fields[0] == "}" {
			blocks = blocks[:len(blocks)-1]
			continue
		}
		opens := fields[len(fields)-1] == "{"
		if len(blocks) > 0 && regexp.MustCompile(`^[a-z_]+$`).MatchString(fields[0]) {
			name := blocks[len(blocks)-1]
			if options[name] == nil {
				options[name] = make(map[string]string)
			}
			syntax := strings.Join(fields, " ")
			if opens {
				syntax += " … }"
			}
			options[name][fields[0]] = syntax
		}
		if opens {
			blocks = append(blocks, fields[0])
		}
	}
	return options
}

// optionsOf returns the cells of the table with the options of a block.
func optionsOf(t *testing.T, block string) [][]string {
	t.Helper()
	return rowsOf(t, "| option of `"+block+"[` ]")
}

// rowsOf returns the cells of the one table of the README whose first line begins so.
func rowsOf(t *testing.T, header string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	tables := regexp.MustCompile("\n"+strings.ReplaceAll(header, "|", `\|`)).Split(string(text), -1)
	if len(tables) != 2 {
		t.Fatalf("README.md has %d tables %q, want one", len(tables)-1, header)
	}
	columns := 0
	for n, line := range strings.Split(tables[1], "\n") {
		if n == 0 {
			columns = strings.Count(line, " |")
		} else if !strings.HasPrefix(line, "|") {
			return rows
		}
		if n > 1 {
			const bar = "\x00" // one that does not separate cells
			cells := strings.ReplaceAll(strings.Trim(line, "| "), `\|`, bar)
			row := strings.Split(strings.ReplaceAll(strings.ReplaceAll(cells, " | ", "\n"), bar, "|"), "\n")
			if len(row) != columns {
				t.Fatalf("README: a row of the table %q has %d cells, want %d: %s", header, len(row), columns, line)
			}
			rows = append(rows, row)
		}
	}
	return rows
}
