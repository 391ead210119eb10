package celpolicy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
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
	var document, second yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	switch err := dec.Decode(&document); {
	case errors.Is(err, io.EOF): // comments only
		return nil, &fileError{file, 1, errEmptyFile}
	case err != nil:
		return nil, yamlError(file, err)
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		return nil, &fileError{file, second.Line, errors.New("a second document starts here: a file holds one policy")}
	case !errors.Is(err, io.EOF):
		return nil, yamlError(file, err)
	}
	return document.Content[0], nil
}

var yamlMessage = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// yamlError moves the line, which YAML's parser tells in its text, and leaves out where that is the first.
func yamlError(file string, err error) error {
	line, text := 1, err.Error()
	if m := yamlMessage.FindStringSubmatch(text); m != nil {
		text = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	if strings.HasPrefix(text, "mapping values are not allowed") {
		text += `: put a text with ": " in it, such as an expression, in quotes`
	}
	return &fileError{file, line, errors.New(text)}
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
