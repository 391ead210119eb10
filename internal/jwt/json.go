package jwt

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep objects and lists may nest. Okta's deepest claims (act chains, SCIM groups) need single digits.
const maxDepth = 32

var (
	errNotJSON = errors.New("not JSON")
	errTwice   = errors.New("a member occurs twice")
)

// Object is a JSON object: its members, in the order of the text. No two have the same name.
type Object []Member

// Member is one member of an [Object].
type Member struct {
	Name  string
	Value any
}

// Get returns the value of a member.
func (o Object) Get(name string) (any, bool) {
	for i := range o {
		if o[i].Name == name {
			return o[i].Value, true
		}
	}
	return nil, false
}

// Has reports whether there is a member of a name.
func (o Object) Has(name string) bool {
	_, ok := o.Get(name)
	return ok
}

// Map returns the members as a map.
func (o Object) Map() map[string]any {
	members := make(map[string]any, len(o))
	for _, m := range o {
		members[m.Name] = m.Value
	}
	return members
}

// usualMembers is how many members most objects of tokens have at most.
const usualMembers = 16

// unique compares the names, which for a few is faster than to make a map of them.
func (o Object) unique() bool {
	if len(o) > usualMembers {
		return len(o.Map()) == len(o)
	}
	for i := range o {
		if o[:i].Has(o[i].Name) {
			return false
		}
	}
	return true
}

// DecodeObject reads one JSON object, more strictly than encoding/json does: members are unique at every depth and
// compared exactly, the text is Unicode (no invalid UTF-8, no lone surrogates), nesting is bounded, and every number
// is one that a 64-bit float can hold. Integers that fit become int64, other numbers stay json.Number. Lists that hold
// texts only, and empty ones, become []string, other lists []any, and objects within it map[string]any.
//
// What is returned shares no memory with data. Its texts share one copy of it.
func DecodeObject(data []byte) (Object, error) {
	value, err := decode(string(data))
	if err != nil {
		return nil, err
	}
	object, ok := value.(Object)
	if !ok {
		return nil, errors.New("not a JSON object")
	}
	return object, nil
}

// decode reads any JSON value; an object that is not within another value as an [Object]. Texts without an escape are
// parts of the text.
func decode(text string) (any, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("not UTF-8")
	}
	d := decoder{json: text}
	value := d.value(0)
	if d.next(); d.at < len(d.json) {
		d.fail(errNotJSON)
	}
	return value, d.err
}

// decoder reads JSON (RFC 8259) in one pass and keeps the first error. It is on the path of every token that is not in
// the cache, where encoding/json takes several times as long to find less.
type decoder struct {
	json string
	at   int
	err  error
}

// fail goes to the end of the text, where nothing more can be read.
func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.at = len(d.json)
}

// next returns the next byte that is not white space, without reading it; 0, which begins nothing, at the end.
func (d *decoder) next() byte {
	for ; d.at < len(d.json); d.at++ {
		switch c := d.json[d.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// skip reads text if it comes at once.
func (d *decoder) skip(text string) bool {
	if !strings.HasPrefix(d.json[d.at:], text) {
		return false
	}
	d.at += len(text)
	return true
}

func (d *decoder) value(depth int) any {
	switch d.next() {
	case '{':
		return d.object(depth)
	case '[':
		return d.list(depth)
	case '"':
		return d.text()
	}
	switch {
	case d.skip("true"):
		return true
	case d.skip("false"):
		return false
	case d.skip("null"):
		return nil
	}
	return d.number()
}

func (d *decoder) object(depth int) any {
	var room [usualMembers]Member
	members := Object(room[:0])
	for more := d.enter('}', depth); more; more = d.proceed('}') {
		d.next()
		name := d.text()
		if d.next(); !d.skip(":") {
			d.fail(errNotJSON)
		}
		members = append(members, Member{name, d.value(depth + 1)})
	}
	if depth > 0 {
		object := members.Map()
		if len(object) < len(members) {
			d.fail(errTwice)
		}
		return object
	}
	if !members.unique() {
		d.fail(errTwice)
	}
	object := make(Object, len(members))
	copy(object, members)
	return object
}

// list returns []string for a list of nothing but texts, which claims share with those who read them typed.
func (d *decoder) list(depth int) any {
	var room [16]string
	texts, mixed := room[:0], []any(nil)
	for more := d.enter(']', depth); more; more = d.proceed(']') {
		if mixed == nil && d.next() == '"' {
			texts = append(texts, d.text())
			continue
		}
		if mixed == nil {
			mixed = make([]any, len(texts), len(texts)+1)
			for i, text := range texts {
				mixed[i] = text
			}
		}
		mixed = append(mixed, d.value(depth+1))
	}
	if mixed != nil {
		return mixed
	}
	list := make([]string, len(texts))
	copy(list, texts)
	return list
}

// enter reads the bracket that begins an object or a list, and tells whether there is anything before the end.
func (d *decoder) enter(end byte, depth int) bool {
	if depth == maxDepth {
		d.fail(fmt.Errorf("nested deeper than %d levels", maxDepth))
		return false
	}
	d.at++
	if d.next() == end {
		d.at++
		return false
	}
	return true
}

// proceed reads the comma after a member or an item and returns true, or the end and returns false.
func (d *decoder) proceed(end byte) bool {
	switch d.next() {
	case ',':
		d.at++
		return true
	case end:
		d.at++
	default:
		d.fail(errNotJSON)
	}
	return false
}

// text returns what is between two quotes.
func (d *decoder) text() string {
	if !d.skip(`"`) {
		d.fail(errNotJSON)
		return ""
	}
	start := d.at
	for ; d.at < len(d.json); d.at++ {
		switch c := d.json[d.at]; {
		case c == '"':
			d.at++
			return d.json[start : d.at-1]
		case c == '\\':
			return d.escaped([]byte(d.json[start:d.at]))
		case c < ' ':
			d.fail(errNotJSON)
			return ""
		}
	}
	d.fail(errNotJSON)
	return ""
}

// escaped reads the rest of a text, from its first escape on.
func (d *decoder) escaped(text []byte) string {
	for d.at < len(d.json) {
		c := d.json[d.at]
		d.at++
		switch {
		case c == '"':
			return string(text)
		case c == '\\':
			text = utf8.AppendRune(text, d.escape())
		case c < ' ':
			d.fail(errNotJSON)
		default:
			text = append(text, c)
		}
	}
	d.fail(errNotJSON)
	return ""
}

// escape reads an escape behind its backslash. Beyond 16 bits, a character has two, which mean nothing alone (RFC 8259
// §7, §8.2): encoding/json would replace one silently, and two different texts would become one.
func (d *decoder) escape() rune {
	const letters, meanings = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if d.at < len(d.json) {
		if i := strings.IndexByte(letters, d.json[d.at]); i >= 0 {
			d.at++
			return rune(meanings[i])
		}
	}
	if !d.skip("u") {
		d.fail(errNotJSON)
	}
	unit := d.unit()
	if !utf16.IsSurrogate(unit) {
		return unit
	}
	if d.skip(`\u`) {
		unit = utf16.DecodeRune(unit, d.unit())
	}
	if unit < 1<<16 {
		d.fail(errors.New("a text holds half of a surrogate pair"))
	}
	return unit
}

// unit reads four hexadecimal digits, one unit of UTF-16.
func (d *decoder) unit() rune {
	const length = 4
	if rest := d.json[d.at:]; len(rest) >= length {
		if unit, err := strconv.ParseUint(rest[:length], 16, 16); err == nil {
			d.at += length
			return rune(unit)
		}
	}
	d.fail(errNotJSON)
	return 0
}

func (d *decoder) number() any {
	start := d.at
	d.skip("-")
	if !d.skip("0") {
		d.digits()
	}
	if d.skip(".") {
		d.digits()
	}
	if d.skip("e") || d.skip("E") {
		_ = d.skip("+") || d.skip("-")
		d.digits()
	}
	text := d.json[start:d.at]
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i
	}
	n := json.Number(text)
	if _, err := n.Float64(); err != nil {
		d.fail(errors.New("a number is out of range"))
	}
	return n
}

// digits reads one digit or more.
func (d *decoder) digits() {
	start := d.at
	for d.at < len(d.json) && '0' <= d.json[d.at] && d.json[d.at] <= '9' {
		d.at++
	}
	if d.at == start {
		d.fail(errNotJSON)
	}
}
