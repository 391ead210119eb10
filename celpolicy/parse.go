package celpolicy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// parseTree reads YAML, or JSON where the file is named so, as one tree whose nodes know their lines. JSON has its own
// parser, since YAML's does not know all of its escapes; what comes after is the same.
func parseTree(file string, data []byte) (*yaml.Node, error) {
	if !utf8.Valid(data) {
		return nil, &fileError{file, 1, errors.New("the text is not UTF-8")}
	}
	data = bytes.TrimPrefix(data, []byte("\uFEFF")) // editors of some systems write one
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, &fileError{file, 1, errEmptyFile}
	}
	if strings.EqualFold(filepath.Ext(file), ".json") {
		return parseJSON(file, data)
	}
	return parseYAML(file, data)
}

var errEmptyFile = errors.New("there is nothing in it")

// fileError is a mistake in a file.
type fileError struct {
	file string
	line int // counted from 1
	err  error
}

// Error names file and line.
func (e *fileError) Error() string { return fmt.Sprintf("%s:%d: %v", e.file, e.line, e.err) }

// Unwrap returns what is wrong.
func (e *fileError) Unwrap() error { return e.err }

func parseYAML(file string, data []byte) (*yaml.Node, error) {
	document, second, err := decodeYAML(data)
	switch {
	case err != nil:
		return nil, yamlMistake(file, data, err)
	case document == nil: // comments only
		return nil, &fileError{file, 1, errEmptyFile}
	case second != nil:
		return nil, &fileError{file, second.Line, errors.New("a second document starts here: a file holds one policy")}
	}
	return document.Content[0], nil
}

// decodeYAML returns the first two documents, nil where there is none.
func decodeYAML(data []byte) (document, second *yaml.Node, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for _, into := range []**yaml.Node{&document, &second} {
		node := new(yaml.Node)
		switch err := dec.Decode(node); {
		case errors.Is(err, io.EOF):
			return document, second, nil
		case err != nil:
			return nil, nil, err
		}
		*into = node
	}
	return document, second, nil
}

// yamlMistake finds the line on which the parser gave up, since what it tells is where the object or text begins that it
// was reading, or nothing: the file is cut behind each line until the same goes wrong.
func yamlMistake(file string, data []byte, mistake error) error {
	lines := bytes.SplitAfter(data, []byte("\n"))
	at := sort.Search(len(lines)-1, func(i int) bool {
		_, _, err := decodeYAML(bytes.Join(lines[:i+1], nil))
		return err != nil && err.Error() == mistake.Error()
	})
	text := yamlPrefix.ReplaceAllString(mistake.Error(), "")
	return &fileError{file, 1 + at, errors.New(text + yamlHint(text, string(lines[at])))}
}

var (
	yamlPrefix = regexp.MustCompile(`^yaml: (line \d+: )?`)
	tabIndent  = regexp.MustCompile(`^ *\t`)
)

// yamlHint returns what to do about a line that YAML cannot read. Mostly it holds an expression.
func yamlHint(message, line string) string {
	switch {
	case tabIndent.MatchString(line):
		return ": YAML takes no tabs there: indent with spaces"
	case strings.Contains(message, "expected ',' or"):
		return ": close the bracket"
	case strings.Contains(message, "expected '-'"):
		return ": line up what belongs together"
	}
	return `: put an expression in single quotes as a whole, with '' for each ' in it, or on the lines below "when: >-"`
}

// parseJSON returns the tree that YAML's parser would.
func parseJSON(file string, data []byte) (*yaml.Node, error) {
	p := &jsonParser{data: data, dec: json.NewDecoder(bytes.NewReader(data)), line: 1}
	var syntax *json.SyntaxError
	if err := json.Unmarshal(data, new(json.RawMessage)); errors.As(err, &syntax) {
		p.advance(min(syntax.Offset, int64(len(data))))
		return nil, &fileError{file, p.line, err}
	} else if err != nil {
		return nil, &fileError{file, 1, err}
	}
	p.dec.UseNumber()
	node, err := p.value()
	if err != nil {
		return nil, &fileError{file, p.line, err}
	}
	return node, nil
}

type jsonParser struct {
	data []byte
	dec  *json.Decoder
	read int64 // bytes whose line ends are counted
	line int
}

func (p *jsonParser) advance(offset int64) {
	p.line += bytes.Count(p.data[p.read:offset], []byte("\n"))
	p.read = offset
}

// value reads one value. How deep it nests is bounded by encoding/json here, and by the decoder.
func (p *jsonParser) value() (*yaml.Node, error) {
	token, err := p.dec.Token()
	if err != nil {
		return nil, err
	}
	p.advance(p.dec.InputOffset())
	node := &yaml.Node{Kind: yaml.ScalarNode, Line: p.line}
	switch token := token.(type) {
	case json.Delim:
		if node.Kind, node.Tag = yaml.SequenceNode, "!!seq"; token == '{' {
			node.Kind, node.Tag = yaml.MappingNode, "!!map"
		}
		for p.dec.More() { // names and values of an object take turns
			item, err := p.value()
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, item)
		}
		_, err = p.dec.Token()
		p.advance(p.dec.InputOffset())
		return node, err
	case string:
		node.Tag, node.Value = "!!str", token
	case json.Number:
		node.Tag, node.Value = "!!float", token.String()
		if _, err := strconv.ParseInt(token.String(), 10, 64); err == nil {
			node.Tag = "!!int"
		}
	case bool:
		node.Tag, node.Value = "!!bool", strconv.FormatBool(token)
	case nil:
		node.Tag, node.Value = "!!null", "null"
	}
	return node, nil
}
