package jwt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
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
	d := decoder{data: data}
	value, err := d.value(0)
	if err != nil {
		return nil, err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("not a JSON object")
	}
	return object, nil
}

// decoder reads text that json.Valid has seen: it only has to find where things end. That costs a fraction of what
// json.Decoder takes for each token, on the path of every token that is not in the cache.
type decoder struct {
	data []byte
	at   int
}

// next returns the next byte that is neither white space nor a separator, without reading it.
func (d *decoder) next() byte {
	for strings.IndexByte(" \t\r\n,:", d.data[d.at]) >= 0 {
		d.at++
	}
	return d.data[d.at]
}

func (d *decoder) value(depth int) (any, error) {
	switch c := d.next(); c {
	case '{', '[':
		if depth == maxDepth {
			return nil, fmt.Errorf("nested deeper than %d levels", maxDepth)
		}
		d.at++
		if c == '{' {
			return d.members(depth + 1)
		}
		return d.items(depth + 1)
	case '"':
		return d.text(), nil
	case 't':
		d.at += len("true")
		return true, nil
	case 'f':
		d.at += len("false")
		return false, nil
	case 'n':
		d.at += len("null")
		return nil, nil
	}
	return d.number()
}

func (d *decoder) members(depth int) (any, error) {
	object := make(map[string]any)
	for d.next() != '}' {
		name := d.text()
		if _, ok := object[name]; ok {
			return nil, errors.New("a member occurs twice")
		}
		value, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		object[name] = value
	}
	d.at++
	return object, nil
}

func (d *decoder) items(depth int) (any, error) {
	list := []any{}
	for d.next() != ']' {
		item, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, item)
	}
	d.at++
	return list, nil
}

// text reads a text. One with escapes is left to encoding/json.
func (d *decoder) text() (text string) {
	start, escaped := d.at, false
	for d.at++; d.data[d.at] != '"'; d.at++ {
		if d.data[d.at] == '\\' {
			escaped = true
			d.at++
		}
	}
	d.at++
	if !escaped {
		return string(d.data[start+1 : d.at-1])
	}
	_ = json.Unmarshal(d.data[start:d.at], &text) // json.Valid has seen it: there is no error to be had
	return text
}

func (d *decoder) number() (any, error) {
	start := d.at
	for d.at < len(d.data) && strings.IndexByte("+-.0123456789Ee", d.data[d.at]) >= 0 {
		d.at++
	}
	n := json.Number(d.data[start:d.at])
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
