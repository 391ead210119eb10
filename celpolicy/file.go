package celpolicy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxFileSize is the size of one policy file. Thousands of rules fit.
const maxFileSize = 1 << 20

// policyFile is the shape of a policy file. policy.schema.json describes it for editors.
type policyFile struct {
	Schema string     `json:"$schema,omitempty"` // for editors
	Name   string     `json:"name,omitempty"`
	Rules  []fileRule `json:"rules,omitempty"`
	Tests  []fileTest `json:"tests,omitempty"`

	file string
	node *yaml.Node
}

func (f *policyFile) locate(file string, n *yaml.Node) { f.file, f.node = file, n }

// fileRule is a rule and where it stands.
type fileRule struct {
	Rule
	place rulePlace
}

type rulePlace struct {
	file string
	node *yaml.Node
}

// String says where that is.
func (p rulePlace) String() string {
	if p.node == nil {
		return "in the policy itself, beside its files"
	}
	return fmt.Sprintf("at %s:%d", p.file, p.node.Line)
}

func (r *fileRule) locate(file string, n *yaml.Node) { r.place = rulePlace{file, n} }

// AddFiles adds the rules of all policy files that match the patterns to p, behind its own, and checks everything.
// Patterns are those of [filepath.Match], relative to dir. Where p has no name, it takes that of the files.
// Mistakes in files are told with file and line, those in p's own rules as by [Compile].
func (p *Policy) AddFiles(dir string, patterns []string) error {
	loaded, err := load(*p, dir, patterns)
	if err != nil {
		return err
	}
	*p = loaded.policy
	return nil
}

// loadedPolicy is a policy with the rules of its files.
type loadedPolicy struct {
	policy   Policy
	compiled *Compiled
	files    []*policyFile

	reportOnly bool // of the handler that uses them
}

// load reads the files and compiles the policy with all its rules. It does not change own.
func load(own Policy, dir string, patterns []string) (*loadedPolicy, error) {
	l := &loadedPolicy{policy: own}
	paths, err := findFiles(dir, patterns)
	if err != nil {
		return nil, err
	}
	var mistakes []error
	for _, path := range paths {
		file, err := readPolicyFile(dir, path)
		if err != nil {
			mistakes = append(mistakes, err)
			continue
		}
		l.files = append(l.files, file)
	}
	if err := errors.Join(mistakes...); err != nil {
		return nil, err
	}
	if err := l.merge(own); err != nil {
		return nil, err
	}
	return l, nil
}

// merge joins the rules, and compiles them.
func (l *loadedPolicy) merge(own Policy) (err error) {
	places := make([]rulePlace, len(own.Rules))
	l.policy.Rules = slices.Clip(own.Rules)
	named := ""
	for _, file := range l.files {
		for _, r := range file.Rules {
			l.policy.Rules = append(l.policy.Rules, r.Rule)
			places = append(places, r.place)
		}
		switch {
		case own.Name != "" || file.Name == "" || file.Name == l.policy.Name:
		case named != "":
			return fmt.Errorf("%s calls the policy %s, and %s calls it %s: give the policy that uses both a name of its own", named, l.policy.Name, file.file, file.Name)
		default:
			l.policy.Name, named = file.Name, file.file
		}
	}
	l.compiled, err = Compile(&l.policy)
	return locateMistakes(err, places)
}

// locateMistakes gives the mistakes in rules of files their places.
func locateMistakes(err error, places []rulePlace) error {
	mistakes := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		mistakes = joined.Unwrap()
	}
	for i, mistake := range mistakes {
		var r *RuleError
		if !errors.As(mistake, &r) || r.Index >= len(places) || places[r.Index].node == nil {
			continue
		}
		if twice := new(nameTwice); errors.As(r.Err, &twice) {
			twice.place = places[twice.first].String()
		}
		mistakes[i] = places[r.Index].locate(r)
	}
	return errors.Join(mistakes...)
}

// locate tells a mistake at the line of the member that it is about, or else of the rule.
func (p rulePlace) locate(mistake *RuleError) error {
	line, text := p.node.Line, mistake.Err.Error()
	for i := 0; i+1 < len(p.node.Content); i += 2 {
		key, value := p.node.Content[i], p.node.Content[i+1]
		if !strings.HasPrefix(text, key.Value) || !strings.HasPrefix(text[len(key.Value):], ":") && !strings.HasPrefix(text[len(key.Value):], " ") {
			continue
		}
		line = key.Line
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		if key.Value == "when" {
			line = expressionLine(value, text)
			if value.LineComment != "" && strings.Count(value.Value, `"`)%2+strings.Count(value.Value, "'")%2 > 0 {
				mistake.Err = fmt.Errorf("%w\n%q is a comment in YAML: put the expression in single quotes as a whole", mistake.Err, value.LineComment)
			}
		}
	}
	return &fileError{p.file, line, mistake}
}

var whenPosition = regexp.MustCompile(`^when:(\d+):\d+:`)

// expressionLine returns the line of the file that holds the line which a message about an expression names. Only a
// literal block (when: |) keeps the lines of its text.
func expressionLine(n *yaml.Node, message string) int {
	m := whenPosition.FindStringSubmatch(message)
	if m == nil || n.Style&yaml.LiteralStyle == 0 {
		return n.Line
	}
	within, _ := strconv.Atoi(m[1]) // the expression saw digits
	return n.Line + within
}

// readPolicyFile reads one file. Its rules are not compiled yet.
func readPolicyFile(dir, path string) (*policyFile, error) {
	display := shortPath(dir, path)
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", display, err)
	}
	return parsePolicyFile(display, data)
}

// shortPath returns a path as people know it: relative to the folder it was looked for in, or else to the present one.
func shortPath(dir, path string) string {
	if dir == "" {
		dir, _ = os.Getwd() // without one the path stays as it is
	}
	if relative, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(relative) {
		return relative
	}
	return path
}

func parsePolicyFile(name string, data []byte) (*policyFile, error) {
	file := new(policyFile)
	if err := decodeFile(name, "a policy file", data, file); err != nil {
		return nil, err
	}
	if len(file.Rules) == 0 && len(file.Tests) == 0 {
		return nil, &fileError{name, 1, errors.New("the file has neither rules nor tests")}
	}
	if file.Name != "" {
		if err := checkName(file.Name); err != nil {
			return nil, &fileError{name, memberLine(file.node, "name"), fmt.Errorf("name: %w", err)}
		}
	}
	for i := range file.Tests {
		if err := file.Tests[i].check(); err != nil {
			return nil, &fileError{name, file.Tests[i].line, err}
		}
	}
	return file, nil
}

func memberLine(n *yaml.Node, name string) int {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i].Line
		}
	}
	return n.Line
}

// decodeFile reads YAML or JSON into a structure.
func decodeFile(name, what string, data []byte, into any) error {
	root, err := parseTree(name, data)
	if err != nil {
		return err
	}
	d := &decoder{file: name}
	return d.decode(root, what, reflect.ValueOf(into).Elem(), 0)
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, plainError(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("is no file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, plainError(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	switch {
	case err != nil:
		return nil, plainError(err)
	case len(data) > maxFileSize:
		return nil, fmt.Errorf("is larger than %d KiB: split it", maxFileSize>>10)
	}
	return data, nil
}

// plainError leaves out the path, which the message has already.
func plainError(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// findFiles returns the files that match the patterns, each once, sorted within its pattern.
func findFiles(dir string, patterns []string) (paths []string, err error) {
	for _, pattern := range patterns {
		full := pattern
		if !filepath.IsAbs(pattern) && dir != "" {
			full = filepath.Join(escapeGlob(dir), pattern)
		}
		matches := []string{full}
		if !strings.ContainsAny(pattern, `*?[\`) {
			matches[0] = pattern
			if !filepath.IsAbs(pattern) {
				matches[0] = filepath.Join(dir, pattern)
			}
		} else if matches, err = filepath.Glob(full); err != nil {
			return nil, fmt.Errorf("%s: %w", pattern, err)
		}
		// Like import, a pattern leaves out hidden files, where editors keep theirs.
		matches = slices.DeleteFunc(matches, func(path string) bool {
			return strings.HasPrefix(filepath.Base(path), ".") && !strings.HasPrefix(filepath.Base(pattern), ".")
		})
		if len(matches) == 0 {
			return nil, fmt.Errorf("%s: no file matches the pattern", pattern)
		}
		for _, path := range matches {
			if !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	return paths, nil
}

var globCharacters = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// escapeGlob makes a folder's name stand for itself. On Windows, where "\" separates, patterns have no escapes.
func escapeGlob(dir string) string {
	if filepath.Separator == '\\' {
		return dir
	}
	return globCharacters.Replace(dir)
}
