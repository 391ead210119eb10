package caddyokta

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/caddy-okta/caddy-okta"

// source is one Go file of the project.
type source struct {
	path string // relative, with slashes
	dir  string
	file *ast.File
	text []byte
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func sources(t *testing.T) (all []source) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && name != "." && strings.HasPrefix(entry.Name(), ".") {
			return fs.SkipDir
		}
		if entry.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(fset, name, text, parser.ParseComments)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		all = append(all, source{name, path.Dir(name), file, text})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("found %d files: the test reads the wrong folder", len(all))
	}
	return all
}

// arrows lists what each folder may import of the project. Tests may import oktatest besides.
var arrows = map[string][]string{
	".":                     {"caddyfile"},
	"caddyfile":             {"celpolicy", "oktaauth"},
	"celpolicy":             {"internal/deny", "internal/jwt", "internal/principal", "internal/telemetry"},
	"oktaauth":              {"internal/cache", "internal/deny", "internal/discovery", "internal/dpop", "internal/introspect", "internal/jwks", "internal/jwt", "internal/lease", "internal/principal", "internal/telemetry"},
	"internal/principal":    {"internal/deny", "internal/dpop", "internal/jwt"},
	"internal/telemetry":    {"internal/deny", "internal/jwt"},
	"examples/quickstart":   {".", "internal/oktatest"},
	"integration":           {".", "internal/oktatest"},
	"integration/loadbench": {".", "internal/oktatest"},
	"examples/mcp":          {},
	"internal/dpop":         {"internal/jwks", "internal/jwt"},
	"internal/introspect":   {"internal/cache", "internal/discovery", "internal/jwt"},
	"internal/discovery":    nil,
	"internal/cache":        nil,
	"internal/deny":         nil,
	"internal/jwks":         {"internal/discovery"},
	"internal/jwt":          nil,
	"internal/lease":        nil,
	"internal/oktatest":     nil,
}

func TestImportsPointOneWay(t *testing.T) {
	for _, s := range sources(t) {
		allowed, known := arrows[s.dir]
		if !known {
			t.Errorf("%s: the folder has no place in the architecture: add it to arrows, with a reason", s.path)
		}
		for _, spec := range s.file.Imports {
			target, _ := strconv.Unquote(spec.Path.Value)
			if target != module && !strings.HasPrefix(target, module+"/") {
				continue
			}
			target = strings.TrimPrefix(strings.TrimPrefix(target, module), "/")
			if target == "" {
				target = "."
			}
			if target == s.dir || slices.Contains(allowed, target) || s.isTest() && target == "internal/oktatest" {
				continue
			}
			t.Errorf("%s imports %s, which %s must not", s.path, target, s.dir)
		}
	}
}

// jwx v2 gets no more fixes, so what depends on it stays in sight.
func TestJWXIsContained(t *testing.T) {
	allowed := []string{"internal/jwks/set.go", "internal/jwt/verify.go"}
	var importing []string
	for _, s := range sources(t) {
		for _, spec := range s.file.Imports {
			if strings.Contains(spec.Path.Value, "lestrrat-go/jwx") && !slices.Contains(importing, s.path) {
				importing = append(importing, s.path)
			}
		}
	}
	slices.Sort(importing)
	if !slices.Equal(importing, allowed) {
		t.Errorf("jwx is imported by %v, want %v", importing, allowed)
	}
}

func TestEveryPackageHasADocComment(t *testing.T) {
	documented := make(map[string]bool)
	for _, s := range sources(t) {
		if !s.isTest() {
			documented[s.dir] = documented[s.dir] || s.file.Doc.Text() != ""
		}
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("package %s has no doc comment", dir)
		}
	}
}

func TestFilesStayReadable(t *testing.T) {
	const ceiling = 420
	for _, s := range sources(t) {
		if lines := bytes.Count(s.text, []byte("\n")); !s.isTest() && lines > ceiling {
			t.Errorf("%s has %d lines: it is more than one concept", s.path, lines)
		}
	}
}

// The comment of a configuration field is its manual page.
func TestConfigFieldsAreDocumented(t *testing.T) {
	fields := 0
	for _, s := range sources(t) {
		if s.dir != "oktaauth" && s.dir != "celpolicy" || s.isTest() {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			decl, ok := n.(*ast.TypeSpec)
			if !ok || !decl.Name.IsExported() {
				return true
			}
			structure, ok := decl.Type.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range structure.Fields.List {
				if field.Tag == nil || len(field.Names) == 0 || !field.Names[0].IsExported() {
					continue
				}
				tag, _ := strconv.Unquote(field.Tag.Value)
				if name := reflect.StructTag(tag).Get("json"); name == "" || name == "-" {
					continue
				}
				fields++
				if len(field.Doc.Text()) < 40 {
					t.Errorf("%s: %s.%s needs a comment: what it does, limits, default", s.path, decl.Name, field.Names[0])
				}
			}
			return true
		})
	}
	if fields < 20 {
		t.Errorf("found %d configuration fields: the test reads the wrong types", fields)
	}
}

// Every direct dependency has its reason in the README.
func TestDependenciesAreExplained(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	direct := 0
	for line := range strings.Lines(string(mod)) {
		fields := strings.Fields(line)
		if len(fields) != 2 || !strings.HasPrefix(fields[1], "v") {
			continue // indirect ones carry a comment
		}
		direct++
		if !strings.Contains(string(readme), "`"+fields[0]+"`") {
			t.Errorf("README does not say what %s is for", fields[0])
		}
	}
	if direct < 5 {
		t.Errorf("found %d direct dependencies: the test reads the wrong file", direct)
	}
}

func TestTopLevelIsFixed(t *testing.T) {
	allowed := []string{
		"LICENSE", "README.md", "arch_test.go", "caddyfile", "celpolicy", "examples", "go.mod", "go.sum", "integration",
		"internal", "oktaauth", "okta.go", "xcaddy.md",
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if name := entry.Name(); !strings.HasPrefix(name, ".") && !slices.Contains(allowed, name) {
			t.Errorf("%s has no place at the top level", name)
		}
	}
}
