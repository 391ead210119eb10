package celpolicy

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/caddyserver/caddy/v2"
)

func readSchema(t *testing.T) (root map[string]any) {
	t.Helper()
	if err := json.Unmarshal(schema, &root); err != nil {
		t.Fatal(err)
	}
	return root
}

// TestTheSchemaHasTheMembersOfTheTypes compares names, types and documentation.
func TestTheSchemaHasTheMembersOfTheTypes(t *testing.T) {
	root := readSchema(t)
	defs := root["$defs"].(map[string]any)
	for name, test := range map[string]struct {
		schema any
		goType reflect.Type
	}{
		"file":    {root, reflect.TypeFor[policyFile]()},
		"rule":    {defs["rule"], reflect.TypeFor[Rule]()},
		"test":    {defs["test"], reflect.TypeFor[fileTest]()},
		"request": {defs["request"], reflect.TypeFor[scenarioRequest]()},
		"expect":  {defs["expect"], reflect.TypeFor[expectation]()},
	} {
		object := test.schema.(map[string]any)
		if object["additionalProperties"] != false {
			t.Errorf("%s: unknown members are allowed", name)
		}
		properties := object["properties"].(map[string]any)
		known := 0
		for _, field := range reflect.VisibleFields(test.goType) {
			word, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if word == "" {
				continue
			}
			known++
			property, ok := properties[word].(map[string]any)
			if !ok {
				t.Errorf("%s: the schema does not know %s", name, word)
				continue
			}
			if text, _ := property["description"].(string); len(text) < 10 || !strings.HasSuffix(text, ".") {
				t.Errorf("%s.%s is described as %q", name, word, text)
			}
			if got, want := resolve(root, property)["type"], schemaType(field.Type); got != want {
				t.Errorf("%s.%s is %v in the schema, want %s", name, word, got, want)
			}
		}
		if len(properties) != known {
			t.Errorf("%s: the schema has %d members, the type %d", name, len(properties), known)
		}
	}
}

func schemaType(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[caddy.Duration](), reflect.TypeFor[Result]():
		return "string"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaType(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Int, reflect.Int64:
		return "integer"
	case reflect.Slice:
		return "array"
	case reflect.Struct:
		if t.Name() == "Time" {
			return "string"
		}
	}
	return "object"
}

// Files that are right are right for the schema, and those that are wrong in their shape are wrong.
func TestTheSchemaAgreesWithTheFiles(t *testing.T) {
	root := readSchema(t)
	for _, folder := range []string{"good/*.*", "failing/*.yaml", "explain/policy.yaml", "config/policies/*.yaml"} {
		paths, err := filepath.Glob(filepath.Join("testdata", folder))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no files in %s: %v", folder, err)
		}
		for _, path := range paths {
			if err := conforms(root, root, readValue(t, path), "file"); err != nil {
				t.Errorf("%s: the schema refuses it: %v", path, err)
			}
		}
	}
	for _, name := range []string{
		"an_unknown_member.yaml", "an_unknown_member_at_the_top.yaml", "an_unknown_member_in_json.json", "a_number_as_a_path.yaml", "a_boolean_as_an_expression.yaml",
		"a_text_as_a_list.yaml", "a_list_as_a_rule.yaml", "a_list_as_a_file.yaml", "an_empty_member.yaml", "an_empty_text.yaml", "an_empty_list.yaml",
		"neither_rules_nor_tests.yaml", "a_bad_path.yaml", "a_bad_method.yaml", "two_kinds_of_rule.yaml", "no_kind_of_rule.yaml", "a_bad_name.yaml",
		"a_duration_without_a_unit.yaml", "a_test_without_a_name.yaml", "a_test_that_expects_nothing.yaml", "a_test_that_expects_what_cannot_be.yaml",
		"claims_without_a_value.yaml", "a_number_as_a_header.yaml", "an_unknown_scheme.yaml", "a_size_that_is_none.yaml", "a_status_that_is_none.yaml",
	} {
		if err := conforms(root, root, readValue(t, filepath.Join("testdata", "mistakes", name)), "file"); err == nil {
			t.Errorf("%s: the schema accepts it", name)
		}
	}
}

// readValue reads a file without our decoder, as an editor does.
func readValue(t *testing.T, path string) any {
	t.Helper()
	var root yaml.Node
	if filepath.Ext(path) == ".json" {
		var value any
		if err := json.Unmarshal(readCase(t, path), &value); err != nil {
			t.Fatal(path, err)
		}
		return value
	}
	if err := yaml.Unmarshal(readCase(t, path), &root); err != nil {
		t.Fatal(path, err)
	}
	return nodeValue(t, root.Content[0])
}

func nodeValue(t *testing.T, n *yaml.Node) any {
	switch n.Kind {
	case yaml.AliasNode:
		return nodeValue(t, n.Alias)
	case yaml.MappingNode:
		object := make(map[string]any)
		for i := 0; i < len(n.Content); i += 2 {
			object[n.Content[i].Value] = nodeValue(t, n.Content[i+1])
		}
		return object
	case yaml.SequenceNode:
		list := []any{}
		for _, item := range n.Content {
			list = append(list, nodeValue(t, item))
		}
		return list
	}
	var value any
	if n.Tag == "!!timestamp" {
		return n.Value // JSON has no times
	}
	if err := n.Decode(&value); err != nil {
		t.Fatal(err)
	}
	if i, ok := value.(int); ok {
		return float64(i)
	}
	return value
}

func resolve(root, s map[string]any) map[string]any {
	if ref, ok := s["$ref"].(string); ok {
		return root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	return s
}

// conforms validates with the part of JSON Schema that ours uses. A keyword that it does not know is an error.
func conforms(root, s map[string]any, value any, at string) error {
	s = resolve(root, s)
	for keyword, argument := range s {
		if err := keywordHolds(root, s, keyword, argument, value, at); err != nil {
			return err
		}
	}
	return nil
}

func keywordHolds(root, s map[string]any, keyword string, argument, value any, at string) error {
	wrong := fmt.Errorf("%s: %v breaks %s %v", at, value, keyword, argument)
	text, isText := value.(string)
	list, isList := value.([]any)
	object, isObject := value.(map[string]any)
	number, isNumber := value.(float64)
	switch keyword {
	case "$schema", "$id", "$defs", "title", "description", "format":
	case "type":
		holds := map[string]bool{
			"string": isText, "array": isList, "object": isObject, "integer": isNumber && number == math.Trunc(number),
		}
		if !holds[argument.(string)] {
			return wrong
		}
	case "enum":
		if !slices.Contains(argument.([]any), value) {
			return wrong
		}
	case "minLength":
		if isText && len(text) < int(argument.(float64)) {
			return wrong
		}
	case "pattern":
		if isText && !regexp.MustCompile(argument.(string)).MatchString(text) {
			return wrong
		}
	case "minItems":
		if isList && len(list) < int(argument.(float64)) {
			return wrong
		}
	case "minimum":
		if isNumber && number < argument.(float64) {
			return wrong
		}
	case "items":
		for i, item := range list {
			if err := conforms(root, argument.(map[string]any), item, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case "required":
		for _, name := range argument.([]any) {
			if _, ok := object[name.(string)]; isObject && !ok {
				return wrong
			}
		}
	case "properties":
		for name, property := range argument.(map[string]any) {
			if member, ok := object[name]; ok {
				if err := conforms(root, property.(map[string]any), member, at+"."+name); err != nil {
					return err
				}
			}
		}
	case "additionalProperties":
		properties, _ := s["properties"].(map[string]any)
		for name, member := range object {
			if _, known := properties[name]; known {
				continue
			}
			other, ok := argument.(map[string]any)
			if !ok {
				return fmt.Errorf("%s: unknown member %s", at, name)
			}
			if err := conforms(root, other, member, at+"."+name); err != nil {
				return err
			}
		}
	case "oneOf", "anyOf":
		held := 0
		for _, option := range argument.([]any) {
			if conforms(root, option.(map[string]any), value, at) == nil {
				held++
			}
		}
		if held == 0 || keyword == "oneOf" && held != 1 {
			return wrong
		}
	default:
		return fmt.Errorf("%s: the test does not know the keyword %s", at, keyword)
	}
	return nil
}
