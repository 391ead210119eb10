package jwt

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestDecodeObjectReads(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       map[string]any
	}{
		{"an empty object", `{}`, map[string]any{}},
		{"an object between white space", " \t\r\n{ } \n", map[string]any{}},
		{"texts, booleans and null as they are", `{"a":"b","t":true,"f":false,"n":null}`, map[string]any{"a": "b", "t": true, "f": false, "n": nil}},
		{"an integer as int64", `{"n":7}`, map[string]any{"n": int64(7)}},
		{"the largest int64", `{"n":9223372036854775807}`, map[string]any{"n": int64(math.MaxInt64)}},
		{"the smallest int64", `{"n":-9223372036854775808}`, map[string]any{"n": int64(math.MinInt64)}},
		{"the next integer as a number", `{"n":9223372036854775808}`, map[string]any{"n": json.Number("9223372036854775808")}},
		{"an integer of 300 digits as a number", `{"n":1` + strings.Repeat("0", 300) + `}`, map[string]any{"n": json.Number("1" + strings.Repeat("0", 300))}},
		{"minus zero as zero", `{"n":-0}`, map[string]any{"n": int64(0)}},
		{"a fraction as a number", `{"n":1.50}`, map[string]any{"n": json.Number("1.50")}},
		{"an exponent as a number", `{"n":1e3}`, map[string]any{"n": json.Number("1e3")}},
		{"an exponent with a sign as a number", `{"n":1E+3,"m":1e-3}`, map[string]any{"n": json.Number("1E+3"), "m": json.Number("1e-3")}},
		{"a number too small for a float", `{"n":1e-999}`, map[string]any{"n": json.Number("1e-999")}},
		{"an empty list as texts", `{"l":[]}`, map[string]any{"l": []string{}}},
		{"a list of texts", `{"l":["a","","iss"]}`, map[string]any{"l": []string{"a", "", "iss"}}},
		{"a list of texts and others", `{"l":["a",null],"m":[["a"],"b"]}`, map[string]any{"l": []any{"a", nil}, "m": []any{[]string{"a"}, "b"}}},
		{"lists and objects within each other", `{"l":[1,{"a":[null]}]}`, map[string]any{"l": []any{int64(1), map[string]any{"a": []any{nil}}}}},
		{"an empty name", `{"":1}`, map[string]any{"": int64(1)}},
		{"names that differ in case as two", `{"a":1,"A":2}`, map[string]any{"a": int64(1), "A": int64(2)}},
		{"names that differ in normalisation as two", `{"\u00e9":1,"e\u0301":2}`, map[string]any{"é": int64(1), "e\u0301": int64(2)}},
		{"equal names in different objects", `{"a":{"a":[{"a":1},{"a":2}]}}`, map[string]any{"a": map[string]any{"a": []any{map[string]any{"a": int64(1)}, map[string]any{"a": int64(2)}}}}},
		{"escapes", `{"s":"\"\\\/\b\f\n\r\t\u0041"}`, map[string]any{"s": "\"\\/\b\f\n\r\tA"}},
		{"control characters by escape", `{"s":"\u0000\u001f"}`, map[string]any{"s": "\x00\x1f"}},
		{"a surrogate pair", `{"s":"\ud83d\uDE00"}`, map[string]any{"s": "😀"}},
		{"the first and the last surrogate pair", `{"s":"\ud800\udc00\udbff\udfff"}`, map[string]any{"s": "\U00010000\U0010FFFF"}},
		{"the neighbours of surrogates", `{"s":"\ud7ff\ue000"}`, map[string]any{"s": "\ud7ff\ue000"}},
		{"a backslash before text that looks like a surrogate", `{"s":"\\ud800"}`, map[string]any{"s": `\ud800`}},
		{"a replacement character that was sent", `{"s":"\ufffd","t":"�"}`, map[string]any{"s": "\ufffd", "t": "\ufffd"}},
		{"a number after a pair, which is the end of the scan", `{"s":"\ud83d\ude00\u0041"}`, map[string]any{"s": "😀A"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := DecodeObject([]byte(test.text))
			if err != nil || !reflect.DeepEqual(got.Map(), test.want) {
				t.Errorf("DecodeObject(%s) = %#v, %v, want %#v", test.text, got, err, test.want)
			}
		})
	}
}

func TestDecodeObjectRefuses(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"nothing", ``, "not JSON"},
		{"white space", " \n", "not JSON"},
		{"a list", `[]`, "not a JSON object"},
		{"a text", `"a"`, "not a JSON object"},
		{"a number", `1`, "not a JSON object"},
		{"null", `null`, "not a JSON object"},
		{"half an object", `{"a":1`, "not JSON"},
		{"a brace too many", `{}}`, "not JSON"},
		{"a second object", `{}{}`, "not JSON"},
		{"a letter after the object", `{}x`, "not JSON"},
		{"a zero byte after the object", "{}\x00", "not JSON"},
		{"a trailing comma", `{"a":1,}`, "not JSON"},
		{"a missing colon", `{"a" 1}`, "not JSON"},
		{"a name without quotes", `{a:1}`, "not JSON"},
		{"a name without its first quote", `{a":1}`, "not JSON"},
		{"a comma at the end", `{"a":1,`, "not JSON"},
		{"single quotes", `{'a':1}`, "not JSON"},
		{"a comment", `{/*a*/}`, "not JSON"},
		{"a bare line break in a text", "{\"a\":\"\n\"}", "not JSON"},
		{"a bare zero byte in a text", "{\"a\":\"\x00\"}", "not JSON"},
		{"an unknown escape", `{"a":"\x41"}`, "not JSON"},
		{"an escape in octal", `{"a":"\0041"}`, "not JSON"},
		{"an escape at the end", `{"a":"\`, "not JSON"},
		{"an escape in hexadecimal at the end", `{"a":"\u`, "not JSON"},
		{"an escape with a sign", `{"a":"\u+041"}`, "not JSON"},
		{"an escape with an underscore", `{"a":"\u0_41"}`, "not JSON"},
		{"an escape in capitals", `{"a":"\U0041"}`, "not JSON"},
		{"a bad escape after a half of a pair", `{"a":"\ud800\u00"}`, "not JSON"},
		{"a bare line break after an escape", "{\"a\":\"\\n\n\"}", "not JSON"},
		{"a text without an end", `{"a`, "not JSON"},
		{"a text without an end after an escape", `{"a\n`, "not JSON"},
		{"a short escape", `{"a":"\u41"}`, "not JSON"},
		{"a leading zero", `{"a":01}`, "not JSON"},
		{"a plus sign", `{"a":+1}`, "not JSON"},
		{"a hexadecimal number", `{"a":0x1}`, "not JSON"},
		{"NaN", `{"a":NaN}`, "not JSON"},
		{"True", `{"a":True}`, "not JSON"},
		{"half of true", `{"a":tru}`, "not JSON"},
		{"half of true at the end", `{"a":tru`, "not JSON"},
		{"more than true", `{"a":truer}`, "not JSON"},
		{"a lone minus", `{"a":-}`, "not JSON"},
		{"two minuses", `{"a":--1}`, "not JSON"},
		{"a leading zero after a minus", `{"a":-01}`, "not JSON"},
		{"a point without digits before", `{"a":.5}`, "not JSON"},
		{"a point without digits behind", `{"a":1.}`, "not JSON"},
		{"an exponent without digits", `{"a":1e}`, "not JSON"},
		{"an exponent with a sign alone", `{"a":1e-}`, "not JSON"},
		{"an exponent with two signs", `{"a":1e+-1}`, "not JSON"},
		{"a fraction after an exponent", `{"a":1e1.5}`, "not JSON"},
		{"a number with underscores", `{"a":1_0}`, "not JSON"},
		{"infinity", `{"a":Infinity}`, "not JSON"},
		{"a comma alone", `{,}`, "not JSON"},
		{"a comma at the beginning", `{,"a":1}`, "not JSON"},
		{"two commas", `{"a":1,,"b":2}`, "not JSON"},
		{"no comma", `{"a":1"b":2}`, "not JSON"},
		{"two colons", `{"a"::1}`, "not JSON"},
		{"no value", `{"a":}`, "not JSON"},
		{"a name alone", `{"a"}`, "not JSON"},
		{"a number as a name", `{1:1}`, "not JSON"},
		{"an object closed as a list", `{"a":1]`, "not JSON"},
		{"a list closed as an object", `{"a":[1}}`, "not JSON"},
		{"a list with a trailing comma", `{"a":[1,]}`, "not JSON"},
		{"a list without commas", `{"a":[1 2]}`, "not JSON"},
		{"a form feed between members", "{\f}", "not JSON"},
		{"a no-break space between members", "{\u00a0}", "not JSON"},

		{"a byte order mark", "\ufeff{}", "not JSON"},
		{"UTF-16, little endian", "{\x00}\x00", "not JSON"},
		{"UTF-16, big endian", "\x00{\x00}", "not JSON"},
		{"UTF-16 with a byte order mark", "\xff\xfe{\x00}\x00", "not UTF-8"},
		{"a stray byte in a text", "{\"a\":\"\xff\"}", "not UTF-8"},
		{"a stray byte in a name", "{\"\x80\":1}", "not UTF-8"},
		{"an overlong encoding", "{\"a\":\"\xc0\xaf\"}", "not UTF-8"},
		{"a surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", "not UTF-8"},
		{"a character beyond Unicode", "{\"a\":\"\xf4\x90\x80\x80\"}", "not UTF-8"},

		{"a duplicate", `{"a":1,"a":2}`, "twice"},
		{"a duplicate after others", `{"a":1,"b":2,"c":3,"a":4}`, "twice"},
		{"a duplicate of null", `{"a":null,"a":null}`, "twice"},
		{"a duplicate by escape", `{"sub":"a","su\u0062":"b"}`, "twice"},
		{"a duplicate of two escapes", `{"\u0061":1,"\u0061":2}`, "twice"},
		{"a duplicate pair of surrogates", `{"😀":1,"\ud83d\ude00":2}`, "twice"},
		{"a duplicate empty name", `{"":1,"":2}`, "twice"},
		{"a duplicate in an object", `{"o":{"a":1,"a":2}}`, "twice"},
		{"a duplicate in a list", `{"l":[1,{"a":1,"a":2}]}`, "twice"},
		{"a duplicate after an object with the same names", `{"a":{"b":1},"b":1,"b":2}`, "twice"},
		{"a duplicate at the deepest level", nested(31, `{"a":1,"a":2}`), "twice"},

		{"a high surrogate at the end", `{"s":"\ud800"}`, "surrogate"},
		{"a high surrogate before a letter", `{"s":"\ud800aaaaaaaa"}`, "surrogate"},
		{"a high surrogate before another escape", `{"s":"\ud800\n\n\n\n"}`, "surrogate"},
		{"a high surrogate before an escaped letter", `{"s":"\ud800\u0041"}`, "surrogate"},
		{"a high surrogate before the character after the surrogates", `{"s":"\ud800\ue000"}`, "surrogate"},
		{"two high surrogates", `{"s":"\ud800\udbff"}`, "surrogate"},
		{"two low surrogates", `{"s":"\udc00\udc00"}`, "surrogate"},
		{"a high surrogate before an escape and text like a low one", `{"s":"\ud800\ndc00"}`, "surrogate"},
		{"a low surrogate alone", `{"s":"\udc00"}`, "surrogate"},
		{"the last low surrogate alone", `{"s":"\udfff"}`, "surrogate"},
		{"the last high surrogate alone", `{"s":"\udbff"}`, "surrogate"},
		{"a low surrogate before a high one", `{"s":"\ude00\ud83d"}`, "surrogate"},
		{"a low surrogate after a pair", `{"s":"\ud83d\ude00\ude00"}`, "surrogate"},
		{"a lone surrogate in capitals", `{"s":"\uD800"}`, "surrogate"},
		{"a lone surrogate after an escaped backslash", `{"s":"\\\ud800"}`, "surrogate"},
		{"a lone surrogate in a name", `{"\udead":1}`, "surrogate"},
		{"a lone surrogate in depth", `{"l":[{"a":["\ud800"]}]}`, "surrogate"},

		{"a number beyond floats", `{"n":1e999}`, "out of range"},
		{"a negative number beyond floats", `{"n":-1e999}`, "out of range"},
		{"an integer beyond floats", `{"n":` + strings.Repeat("9", 400) + `}`, "out of range"},
		{"a number beyond floats in depth", `{"l":[[{"n":1e999}]]}`, "out of range"},
		{"a number beyond floats at the top", `1e999`, "out of range"},

		{"33 objects", nested(32, `{}`), "deeper than 32"},
		{"33 levels of objects and lists", nested(32, `[]`), "deeper than 32"},
		{"33 lists", strings.Repeat("[", 33) + strings.Repeat("]", 33), "deeper than 32"},
		{"5000 levels", nested(5000, `1`), "deeper than 32"},
		{"a million brackets", strings.Repeat("[", 1<<20), "deeper than 32"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := DecodeObject([]byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) || got != nil {
				t.Errorf("DecodeObject(%.80s) = %v, %v, want an error about %q", test.text, got, err, test.want)
			}
		})
	}
}

// nested returns inner within so many objects.
func nested(levels int, inner string) string {
	return strings.Repeat(`{"a":`, levels) + inner + strings.Repeat("}", levels)
}

func TestDecodeObjectReads32Levels(t *testing.T) {
	for _, text := range []string{nested(31, `{}`), nested(31, `[]`), nested(32, `1`)} {
		if _, err := DecodeObject([]byte(text)); err != nil {
			t.Errorf("DecodeObject(%s) = %v, want an object", text, err)
		}
	}
}

// What is read first has a place that is used again: nothing of it may show in what comes later.
func TestDecodeObjectReadsAnyNumberOfMembersAndItems(t *testing.T) {
	for _, n := range []int{1, 2, 8, 9, 16, 17, 100} {
		var members, items []string
		want := map[string]any{}
		var list []any
		for i := range n {
			items = append(items, fmt.Sprint(i))
			list = append(list, int64(i))
			want[fmt.Sprint("m", i)] = map[string]any{"l": slices.Clone(list)}
			members = append(members, fmt.Sprintf(`"m%d":{"l":[%s]}`, i, strings.Join(items, ",")))
		}
		text := "{" + strings.Join(members, ",") + "}"
		if got := mustDecode(t, text).Map(); !reflect.DeepEqual(got, want) {
			t.Errorf("DecodeObject(%s) = %v, want %v", text, got, want)
		}
	}
}

func TestDecodeObjectRefusesADuplicateAmongAnyNumberOfMembers(t *testing.T) {
	for _, n := range []int{1, 2, 15, 16, 17, 40} {
		members := make([]string, n)
		for i := range members {
			members[i] = fmt.Sprintf(`"m%d":%d`, i, i)
		}
		for i := range members {
			text := "{" + strings.Join(members, ",") + fmt.Sprintf(`,"m%d":true}`, i)
			for _, text := range []string{text, `{"o":` + text + `}`, `{"l":[` + text + `]}`} {
				if _, err := DecodeObject([]byte(text)); !errors.Is(err, errTwice) {
					t.Errorf("DecodeObject(%s) = %v, want %v", text, err, errTwice)
				}
			}
		}
	}
}

func TestDecodeObjectStopsAtTheFirstError(t *testing.T) {
	for _, first := range []string{`"\u00"`, `"\x"`, "\"\n\"", `01`, `tru`, `{"a" 1}`, `[1 2]`, `{"a":1,"a":1}`, `1e999`, `"\ud800"`, strings.Repeat("[", 33)} {
		text := []byte(`{"a":[` + first + strings.Repeat(`,"text"`, 1000) + `]}`)
		allocs := testing.AllocsPerRun(5, func() {
			if _, err := DecodeObject(text); err == nil {
				t.Errorf("DecodeObject(%.20s) = nil, want an error", text)
			}
		})
		if allocs > 100 {
			t.Errorf("DecodeObject(%.20s) makes %.0f allocations, want at most 100", text, allocs)
		}
	}
}

// The caller's bytes are its own again: whatever is written there later changes no claim.
func TestDecodeObjectKeepsNothingOfTheData(t *testing.T) {
	const text = `{"unheard":"of","sub":"ada","esc\u0061ped":"\n","n":1.5,"l":["x"],"long":"` + "0123456789012345678901234567890123456789" + `"}`
	data := []byte(text)
	got, err := DecodeObject(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if want := mustDecode(t, text); !reflect.DeepEqual(got, want) {
		t.Errorf("the object became %v, want %v", got, want)
	}
}

// Errors are logged: what an attacker or a user wrote is not in them.
func TestErrorsHoldNoValues(t *testing.T) {
	for _, text := range []string{`{"hunter2":1,"hunter2":2}`, `{"a":"hunter2`, `{"hunter2":"\ud800"}`, `{"hunter2":1e999}`, "{\"hunter2\":\"\xff\"}", `"hunter2"`} {
		if _, err := DecodeObject([]byte(text)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("DecodeObject(%s) = %v, want an error without the text", text, err)
		}
	}
	for _, one := range []Object{
		{{"jti", int64(1)}}, {{"groups", int64(2)}}, {{"exp", "hunter2"}}, {{"cnf", "hunter2"}}, {{"cid", "hunter2"}, {"client_id", "hunter"}},
	} {
		if _, err := ParseClaims(one); err == nil || strings.Contains(err.Error(), "hunter") {
			t.Errorf("ParseClaims(%v) = %v, want an error without the value", one, err)
		}
	}
}
