package jwt

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// parts returns the decoded header and payload of every vector that has them.
func parts(f *testing.F) (headers, payloads []string) {
	for _, v := range vectors(f) {
		for i, part := range strings.Split(v.token, ".") {
			text, err := base64.RawURLEncoding.DecodeString(part)
			if err != nil {
				continue
			}
			switch i {
			case 0:
				headers = append(headers, string(text))
			case 1:
				payloads = append(payloads, string(text))
			}
		}
	}
	slices.Sort(headers)
	slices.Sort(payloads)
	return slices.Compact(headers), slices.Compact(payloads)
}

// A token that is accepted has one spelling only: what was understood, encoded again, is the token.
func FuzzParse(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		parsed, err := Parse(token)
		again, errAgain := Parse(token)
		if (err == nil) != (errAgain == nil) || !reflect.DeepEqual(parsed, again) {
			t.Fatalf("Parse is not deterministic: %v, %v and %v, %v", parsed, err, again, errAgain)
		}
		if err != nil {
			if parsed != nil {
				t.Fatalf("Parse = %v beside the error %v, want nil", parsed, err)
			}
			return
		}
		texts := strings.Split(token, ".")
		if len(texts) != 3 || len(token) > MaxSize {
			t.Fatalf("Parse accepts %d parts and %d bytes", len(texts), len(token))
		}
		for _, text := range texts {
			decoded, err := base64.RawURLEncoding.DecodeString(text)
			if err != nil || base64.RawURLEncoding.EncodeToString(decoded) != text {
				t.Fatalf("Parse accepts the part %q, which has another spelling", text)
			}
		}
		if got := parsed.signed + "." + base64.RawURLEncoding.EncodeToString(parsed.signature); got != token {
			t.Fatalf("the parts make %q, want the token", got)
		}
		if parsed.Algorithm == "" || parsed.Claims == nil || len(parsed.signature) == 0 {
			t.Fatalf("Parse accepts a token without algorithm, claims or signature: %+v", parsed)
		}
		_, _ = ParseClaims(parsed.Claims)
	})
}

// JSON is what encoding/json takes for it. What is accepted means the same there, and to DecodeObject itself after
// another round.
func FuzzDecodeObject(f *testing.F) {
	headers, payloads := parts(f)
	for _, text := range append(headers, payloads...) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := DecodeObject(text)
		if valid := json.Valid(text); err == nil && !valid || errors.Is(err, errNotJSON) && valid {
			t.Fatalf("DecodeObject(%q): %v, valid to encoding/json: %t", text, err, valid)
		}
		if err != nil {
			if got != nil {
				t.Fatalf("DecodeObject = %v beside the error %v, want nil", got, err)
			}
			return
		}
		var want map[string]any
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		if err := dec.Decode(&want); err != nil {
			t.Fatalf("DecodeObject accepts %q, encoding/json says %v", text, err)
		}
		if err := sameValue(got.Map(), want); err != nil {
			t.Fatalf("DecodeObject(%q): %v", text, err)
		}
		written, err := json.Marshal(got.Map())
		if err != nil {
			t.Fatalf("what DecodeObject(%q) returns has no JSON form: %v", text, err)
		}
		if again, err := DecodeObject(written); err != nil || !reflect.DeepEqual(again.Map(), got.Map()) {
			t.Fatalf("DecodeObject(%q) = %v, %v, want %v as before", written, again, err, got)
		}
	})
}

// sameValue compares with what encoding/json read, where all numbers are json.Number.
func sameValue(got, want any) error {
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok || len(object) != len(want) {
			return fmt.Errorf("%v is not %v", got, want)
		}
		for name, value := range want {
			member, ok := object[name]
			if !ok {
				return fmt.Errorf("the member %q is missing", name)
			}
			if err := sameValue(member, value); err != nil {
				return err
			}
		}
		return nil
	case []any:
		list, _ := got.([]any)
		texts, isTexts := got.([]string)
		if isTexts == slices.ContainsFunc(want, func(item any) bool { _, ok := item.(string); return !ok }) {
			return fmt.Errorf("%v is a %T", want, got)
		}
		for _, text := range texts {
			list = append(list, text)
		}
		if len(list) != len(want) {
			return fmt.Errorf("%v is not %v", got, want)
		}
		for i, value := range want {
			if err := sameValue(list[i], value); err != nil {
				return err
			}
		}
		return nil
	case json.Number:
		if n, ok := got.(int64); ok && (fmt.Sprint(n) == want.String() || n == 0 && want == "-0") {
			return nil
		}
		if got == want {
			_, err := want.Int64()
			_, errFloat := want.Float64()
			if err != nil && errFloat == nil {
				return nil
			}
		}
		return fmt.Errorf("the number %v (%T) is not %v", got, got, want)
	}
	if s, ok := got.(string); ok && !utf8.ValidString(s) {
		return fmt.Errorf("the text %q is not UTF-8", s)
	}
	if got != want {
		return fmt.Errorf("%v is not %v", got, want)
	}
	return nil
}

// Whatever the claims are, what comes out is what they say, and they stay as they are.
func FuzzParseClaims(f *testing.F) {
	_, payloads := parts(f)
	for _, text := range payloads {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		raw, err := DecodeObject(text)
		if err != nil {
			return
		}
		untouched, err := DecodeObject(text)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseClaims(raw)
		if !reflect.DeepEqual(raw, untouched) {
			t.Fatalf("ParseClaims changed the claims %q", text)
		}
		if err != nil {
			return
		}
		if err := sameClaims(c, raw); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		said := raw.Map()
		for name, got := range map[string]string{"iss": c.Issuer, "sub": c.Subject, "uid": c.UserID, "jti": c.ID, "acr": c.ACR} {
			if want, present := said[name]; present && want != got || !present && got != "" {
				t.Errorf("%q: %s is %q, want %v", text, name, got, want)
			}
		}
		for name, date := range map[string]interface {
			IsZero() bool
			Unix() int64
		}{"exp": c.ExpiresAt, "nbf": c.NotBefore, "iat": c.IssuedAt, "auth_time": c.AuthenticatedAt} {
			if n, ok := said[name].(int64); ok && date.Unix() != n {
				t.Errorf("%q: %s is %d, want %d", text, name, date.Unix(), n)
			}
			if _, present := said[name]; !present && !date.IsZero() {
				t.Errorf("%q: %s is set, want zero", text, name)
			}
		}
		for name, got := range map[string][]string{"aud": c.Audience, "groups": c.Groups, "amr": c.AMR} {
			if want := listOf(said[name]); !slices.Equal(got, want) {
				t.Errorf("%q: %s is %q, want %q", text, name, got, want)
			}
		}
		if text, ok := said["scope"].(string); ok && said["scp"] == nil {
			if want := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' }); !slices.Equal(c.Scopes, want) {
				t.Errorf("scope %q is read as %q, want %q", text, c.Scopes, want)
			}
		}
		if want := listOf(said["scp"]); said["scp"] != nil && !slices.Equal(c.Scopes, want) {
			t.Errorf("scp is read as %q, want %q", c.Scopes, want)
		}
		if c.Kind() == KindService && c.UserID != "" {
			t.Errorf("%q: a service with a user id", text)
		}
	})
}

// listOf is the plain reading of a claim that is a text or a list of texts.
func listOf(value any) (list []string) {
	switch value := value.(type) {
	case string:
		return []string{value}
	case []string:
		return value
	}
	return list
}
