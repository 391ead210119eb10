package jwt

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// judge runs a token through the three steps, with the look-up of the key between them as the handler does it, and
// names what became of it.
func judge(token string, allowed []string, keys map[string]testKey) (outcome string, parsed *Token, claims *Claims) {
	parsed, err := Parse(token)
	if err != nil {
		return "malformed", nil, nil
	}
	if !slices.Contains(allowed, parsed.Algorithm) {
		return "algorithm", nil, nil
	}
	key, ok := keys[parsed.KeyID]
	if !ok {
		return "unknown_key", nil, nil
	}
	if key.algorithm != "" && key.algorithm != parsed.Algorithm { // RFC 7517 §4.4
		return "algorithm", nil, nil
	}
	if parsed.Verify(key.public) != nil {
		return "bad_signature", nil, nil
	}
	if claims, err = ParseClaims(parsed.Claims); err != nil {
		return "claims", nil, nil
	}
	return "ok", parsed, claims
}

func TestVectors(t *testing.T) {
	keys := issuerKeys(t)
	for _, v := range vectors(t) {
		t.Run(v.name, func(t *testing.T) {
			checkFields(t, v)
			allowed := []string{"RS256"}
			if list, ok := v.fields["allow"]; ok {
				allowed = strings.Fields(list)
			}
			outcome, parsed, claims := judge(v.token, allowed, keys)
			if want := v.fields["expect"]; outcome != want {
				t.Fatalf("%s: outcome %s, want %s", v.fields["comment"], outcome, want)
			}
			want, ok := v.fields["result"]
			if !ok {
				return
			}
			got := summary(parsed, claims)
			for field := range strings.SplitSeq(want, "; ") {
				name, value, _ := strings.Cut(field, "=")
				if got[name] != value {
					t.Errorf("%s: %s is %s, want %s", v.fields["comment"], name, got[name], value)
				}
			}
		})
	}
}

// checkFields makes sure that what a vector says about itself is true: a reader sees the header and the payload as
// text and need not decode them.
func checkFields(t *testing.T, v vector) {
	t.Helper()
	known := []string{"allow", "case", "comment", "expect", "header", "payload", "result"}
	for name, value := range v.fields {
		if !slices.Contains(known, name) || value == "" {
			t.Fatalf("the line %q is not known or empty", name+": "+value)
		}
	}
	for _, name := range []string{"comment", "case", "expect"} {
		if v.fields[name] == "" {
			t.Fatalf("the line %q is missing", name)
		}
	}
	for i, name := range []string{"header", "payload"} {
		text, ok := v.fields[name]
		if !ok {
			continue
		}
		part := strings.TrimRight(strings.Split(v.token, ".")[i], "=")
		if decoded, err := base64.RawURLEncoding.DecodeString(part); string(decoded) != text {
			t.Errorf("the token's %s is %s (%v), not %s", name, decoded, err, text)
		}
	}
}

// summary says what was understood of a good token.
func summary(t *Token, c *Claims) map[string]string {
	expires := "none"
	if !c.ExpiresAt.IsZero() {
		expires = c.ExpiresAt.UTC().Format(time.RFC3339Nano)
	}
	return map[string]string{
		"typ":     quoted(t.Type),
		"sub":     quoted(c.Subject),
		"client":  quoted(c.ClientID),
		"kind":    c.Kind(),
		"aud":     quotedList(c.Audience),
		"scopes":  quotedList(c.Scopes),
		"groups":  quotedList(c.Groups),
		"foreign": c.Foreign,
		"exp":     expires,
		"cnf":     strings.Join(slices.Sorted(maps.Keys(c.Confirmation)), " "),
	}
}

// quoted returns a text as it is where that is readable.
func quoted(s string) string {
	if q := strconv.Quote(s); strings.Contains(s, " ") || q != `"`+s+`"` {
		return q
	}
	return s
}

func quotedList(list []string) string {
	items := make([]string, len(list))
	for i, s := range list {
		items[i] = quoted(s)
	}
	return fmt.Sprint(items)
}

// The numbers are those of the conformance list. What is missing here depends on time, on a route or on the key set,
// and is tested where that is known.
func TestVectorsCoverTheConformanceCases(t *testing.T) {
	covered := make(map[string]bool)
	for _, v := range vectors(t) {
		for number := range strings.FieldsSeq(v.fields["case"]) {
			covered[number] = true
		}
	}
	for source, numbers := range map[string][]int{
		"7515": {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21},
		"7517": {3},
		"7518": {1, 3},
		"7519": {1, 2, 6, 7, 10, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23},
		"8725": {1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 17},
		"9068": {1, 4, 5, 7, 10, 14, 15, 16, 17, 18},
		"9470": {6, 7},
	} {
		for _, n := range numbers {
			if number := fmt.Sprintf("%s-%02d", source, n); !covered[number] {
				t.Errorf("no vector covers the case %s", number)
			}
		}
	}
}
