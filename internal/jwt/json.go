package jwt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// maxDepth is how deep objects and lists may nest. Okta's deepest claims (act chains, SCIM groups) need single digits.
const maxDepth = 32

// DecodeObject reads one JSON object, more strictly than encoding/json does: members are unique at every depth and
// compared exactly, the text is Unicode (no invalid UTF-8, no lone surrogates), nesting is bounded, and every number
// is one that a 64-bit float can hold. Integers that fit become int64, other numbers stay json.Number.
func DecodeObject(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	if !json.Valid(data) {
		return nil, errors.New("not JSON")
	}
	if hasLoneSurrogate(data) {
		return nil, errors.New("a text holds half of a surrogate pair")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	value, err := decodeValue(dec, 0)
	if err != nil {
		return nil, err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("not a JSON object")
	}
	return object, nil
}

func decodeValue(dec *json.Decoder, depth int) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Delim:
		if depth == maxDepth {
			return nil, fmt.Errorf("nested deeper than %d levels", maxDepth)
		}
		if token == '{' {
			return decodeMembers(dec, depth+1)
		}
		return decodeItems(dec, depth+1)
	case json.Number:
		return decodeNumber(token)
	}
	return token, nil
}

func decodeMembers(dec *json.Decoder, depth int) (any, error) {
	object := make(map[string]any)
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		key, _ := name.(string) // json.Valid saw that member names are texts
		if _, ok := object[key]; ok {
			return nil, errors.New("a member occurs twice")
		}
		if object[key], err = decodeValue(dec, depth); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token() // the closing brace
	return object, err
}

func decodeItems(dec *json.Decoder, depth int) (any, error) {
	list := []any{}
	for dec.More() {
		item, err := decodeValue(dec, depth)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	_, err := dec.Token() // the closing bracket
	return list, err
}

func decodeNumber(n json.Number) (any, error) {
	if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
		return i, nil
	}
	if _, err := n.Float64(); err != nil {
		return nil, errors.New("a number is out of range")
	}
	return n, nil
}

// hasLoneSurrogate reports whether valid JSON holds an escape for one half of a surrogate pair without the other
// (RFC 8259 §8.2). encoding/json would replace it silently, and two different texts would become one.
func hasLoneSurrogate(data []byte) bool {
	for {
		i := bytes.IndexByte(data, '\\')
		if i < 0 {
			return false
		}
		data = data[i+1:]
		if data[0] != 'u' {
			data = data[1:]
			continue
		}
		unit := hexUnit(data[1:5])
		data = data[5:]
		switch {
		case unit < 0xD800 || unit > 0xDFFF:
		case unit > 0xDBFF:
			return true // a low half comes first
		case len(data) < 6 || data[0] != '\\' || data[1] != 'u':
			return true
		default:
			if low := hexUnit(data[2:6]); low < 0xDC00 || low > 0xDFFF {
				return true
			}
			data = data[6:]
		}
	}
}

func hexUnit(digits []byte) uint64 {
	unit, _ := strconv.ParseUint(string(digits), 16, 16) // json.Valid saw four hexadecimal digits
	return unit
}
