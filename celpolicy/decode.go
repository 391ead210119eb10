package celpolicy

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"gopkg.in/yaml.v3"
)

// The bounds of one file. Aliases count as often as they are used, so that a short text cannot stand for a long one.
const (
	maxFileDepth = 32
	maxFileNodes = 200_000
)

// decoder reads a tree into Go values, by the names in their json tags. It is strict: a member that is unknown, occurs
// twice, is of another type or has no value is an error at its line.
type decoder struct {
	file  string
	nodes int
}

// nodeReader is a value that reads its node itself.
type nodeReader interface {
	readNode(d *decoder, n *yaml.Node, depth int) error
}

// located is a structure that wants to know where it stands.
type located interface {
	locate(file string, n *yaml.Node)
}

func (d *decoder) errorf(n *yaml.Node, format string, args ...any) error {
	return &fileError{d.file, n.Line, fmt.Errorf(format, args...)}
}

// enter counts a node and follows an alias.
func (d *decoder) enter(n *yaml.Node, depth int) (*yaml.Node, error) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch d.nodes++; {
	case d.nodes > maxFileNodes:
		return nil, d.errorf(n, "the file has more than %d values", maxFileNodes)
	case depth > maxFileDepth:
		return nil, d.errorf(n, "nested deeper than %d levels", maxFileDepth)
	case !slices.Contains(knownTags[n.Kind], n.Tag):
		return nil, d.errorf(n, `"!" at the start marks a type in YAML, and %q is none that is known here: put an expression that starts with "!" in quotes`, n.Tag)
	}
	return n, nil
}

var knownTags = map[yaml.Kind][]string{
	yaml.ScalarNode:   {"!!str", "!!bool", "!!int", "!!float", "!!null", "!!timestamp"},
	yaml.SequenceNode: {"!!seq"},
	yaml.MappingNode:  {"!!map"},
}

// decode reads the member called name.
func (d *decoder) decode(n *yaml.Node, name string, into reflect.Value, depth int) error {
	n, err := d.enter(n, depth)
	if err != nil {
		return err
	}
	if n.Tag == "!!null" {
		return d.errorf(n, "%s has no value: write one, or leave it out", name)
	}
	switch reader := into.Addr().Interface().(type) {
	case nodeReader:
		return reader.readNode(d, n, depth)
	case json.Unmarshaler: // such as a duration or a time
		if _, ok := reader.(*caddy.Duration); ok && n.Tag == "!!int" { // to Caddy they are nanoseconds
			return d.errorf(n, "%s: %s has no unit: write %[2]ss or %[2]sm", name, n.Value)
		}
		text, err := d.json(nil, n, depth)
		if err == nil && reader.UnmarshalJSON(text) != nil {
			err = d.errorf(n, "%s: %q is not %s", name, n.Value, examples[into.Type().String()])
		}
		return err
	}
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		return d.decode(n, name, into.Elem(), depth)
	case reflect.String:
		if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
			into.SetString(n.Value)
			return nil
		}
		return d.errorf(n, "%s must be a text%s", name, quote(n))
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(n.Value, 10, 64)
		if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil {
			return d.errorf(n, "%s must be a number such as 403", name)
		}
		into.SetInt(i)
		return nil
	case reflect.Slice:
		return d.list(n, name, into, depth)
	case reflect.Map:
		return d.textMap(n, name, into, depth)
	case reflect.Struct:
		return d.structure(n, name, into, depth)
	}
	return d.errorf(n, "%s cannot be read", name)
}

// examples are values of the types that read themselves.
var examples = map[string]string{"caddy.Duration": "a duration such as 30s or 5m", "time.Time": "a time such as 2026-07-15T12:00:00Z"}

// quote says what to do about a scalar that would be a text in quotes.
func quote(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode {
		return ": put it in quotes"
	}
	return ""
}

func (d *decoder) list(n *yaml.Node, name string, into reflect.Value, depth int) error {
	if n.Kind != yaml.SequenceNode {
		return d.errorf(n, "%s must be a list", name)
	}
	list := reflect.MakeSlice(into.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		if err := d.decode(item, "an item of "+name, list.Index(i), depth+1); err != nil {
			return err
		}
	}
	into.Set(list)
	return nil
}

func (d *decoder) textMap(n *yaml.Node, name string, into reflect.Value, depth int) error {
	into.Set(reflect.MakeMap(into.Type()))
	return d.members(n, name, func(key, value *yaml.Node) error {
		item := reflect.New(into.Type().Elem()).Elem()
		if err := d.decode(value, name+"."+key.Value, item, depth+1); err != nil {
			return err
		}
		into.SetMapIndex(reflect.ValueOf(key.Value), item)
		return nil
	})
}

func (d *decoder) structure(n *yaml.Node, name string, into reflect.Value, depth int) error {
	fields := make(map[string]reflect.StructField)
	var known []string
	for _, field := range reflect.VisibleFields(into.Type()) {
		if word, _, _ := strings.Cut(field.Tag.Get("json"), ","); word != "" {
			fields[word] = field
			known = append(known, word)
		}
	}
	err := d.members(n, name, func(key, value *yaml.Node) error {
		field, ok := fields[key.Value]
		if !ok {
			hint := "write one of " + strings.Join(known, ", ")
			if name, ok := meant(key.Value, known, "member."); ok {
				hint = "did you mean " + name + "?"
			}
			return d.errorf(key, "unknown member %q in %s: %s", key.Value, name, hint)
		}
		target := into.FieldByIndex(field.Index)
		if err := d.decode(value, key.Value, target, depth+1); err != nil {
			return err
		}
		if k := target.Kind(); (k == reflect.String || k == reflect.Slice) && target.Len() == 0 {
			return d.errorf(key, "%s is empty: write a value, or leave it out", key.Value)
		}
		return nil
	})
	if place, ok := into.Addr().Interface().(located); ok && err == nil {
		place.locate(d.file, n)
	}
	return err
}

// members calls member for each member of an object.
func (d *decoder) members(n *yaml.Node, name string, member func(key, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return d.errorf(n, "%s must be an object with named members", name)
	}
	lines := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch first := lines[key.Value]; {
		case key.Tag == "!!merge":
			return d.errorf(key, `"<<" merges nothing here: write the members`)
		case key.Kind != yaml.ScalarNode || key.Tag != "!!str":
			return d.errorf(key, "the name of a member of %s is no text%s", name, quote(key))
		case first != 0:
			return d.errorf(key, "the member %q occurs twice, first in line %d", key.Value, first)
		}
		lines[key.Value] = key.Line
		if err := member(key, value); err != nil {
			return err
		}
	}
	return nil
}

// json appends a node's value as JSON.
func (d *decoder) json(b []byte, n *yaml.Node, depth int) ([]byte, error) {
	switch n.Kind {
	case yaml.MappingNode:
		b = append(b, '{')
		err := d.members(n, "the object", func(key, value *yaml.Node) (err error) {
			if b[len(b)-1] != '{' {
				b = append(b, ',')
			}
			b = append(appendText(b, key.Value), ':')
			b, err = d.jsonItem(b, value, depth)
			return err
		})
		return append(b, '}'), err
	case yaml.SequenceNode:
		b = append(b, '[')
		for i, item := range n.Content {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = d.jsonItem(b, item, depth); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	}
	switch n.Tag {
	case "!!null":
		return append(b, "null"...), nil
	case "!!bool":
		return append(b, strings.ToLower(n.Value)...), nil
	case "!!int", "!!float":
		number, err := jsonNumber(n)
		if err != nil {
			return nil, d.errorf(n, "%q is not a number that JSON has", n.Value)
		}
		return append(b, number...), nil
	}
	return appendText(b, n.Value), nil
}

func (d *decoder) jsonItem(b []byte, n *yaml.Node, depth int) ([]byte, error) {
	n, err := d.enter(n, depth+1)
	if err != nil {
		return nil, err
	}
	return d.json(b, n, depth+1)
}

func appendText(b []byte, s string) []byte {
	text, _ := json.Marshal(s) // a text has a JSON form
	return append(b, text...)
}

// jsonNumber returns a number as JSON writes it: YAML has more forms, such as 0x1F and 1_000.
func jsonNumber(n *yaml.Node) (string, error) {
	if json.Valid([]byte(n.Value)) {
		return n.Value, nil
	}
	var i int64
	if err := n.Decode(&i); err == nil {
		return strconv.FormatInt(i, 10), nil
	}
	var f float64
	if err := n.Decode(&f); err != nil {
		return "", err
	}
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return "", errors.New("not finite")
	}
	return strconv.FormatFloat(f, 'g', -1, 64), nil
}
