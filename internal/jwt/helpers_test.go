package jwt

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// testKey is one of the fixed keys that the vectors are signed with. Their private halves lie beside them, so that
// anybody can sign another vector.
type testKey struct {
	algorithm string // the alg of the JWK; empty when it has none
	private   any
	public    crypto.PublicKey
}

// issuerKeys returns the keys that the issuer of the vectors publishes, by kid.
func issuerKeys(tb testing.TB) map[string]testKey {
	tb.Helper()
	text, err := os.ReadFile("testdata/keys/issuer.json")
	if err != nil {
		tb.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(text, &set); err != nil {
		tb.Fatal(err)
	}
	keys := make(map[string]testKey)
	for _, k := range set.Keys {
		keys[k.KeyID] = testKey{k.Algorithm, k.Key, k.Public().Key}
	}
	if len(keys) < 6 {
		tb.Fatalf("found %d keys, want at least 6", len(keys))
	}
	return keys
}

// vector is one file of testdata: lines of "name: value", an empty line, and a token.
type vector struct {
	name   string
	fields map[string]string
	token  string
}

// vectors reads testdata. The last line break of a file is not part of its token; others are.
func vectors(tb testing.TB) (all []vector) {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		tb.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		head, token, ok := strings.Cut(string(text), "\n\n")
		token, ended := strings.CutSuffix(token, "\n")
		if !ok || !ended {
			tb.Fatalf("%s: want lines, an empty line, a token and a line break", file)
		}
		v := vector{strings.TrimSuffix(filepath.Base(file), ".txt"), map[string]string{}, token}
		for line := range strings.SplitSeq(head, "\n") {
			name, value, ok := strings.Cut(line, ": ")
			if _, twice := v.fields[name]; !ok || twice {
				tb.Fatalf("%s: the line %q is no new \"name: value\"", file, line)
			}
			v.fields[name] = value
		}
		all = append(all, v)
	}
	if len(all) < 200 {
		tb.Fatalf("found %d vectors, want at least 200", len(all))
	}
	return all
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func mustParse(t *testing.T, token string) *Token {
	t.Helper()
	parsed, err := Parse(token)
	if err != nil {
		t.Fatalf("Parse(%s) = %v, want a token", token, err)
	}
	return parsed
}

func mustDecode(t *testing.T, text string) Object {
	t.Helper()
	object, err := DecodeObject([]byte(text))
	if err != nil {
		t.Fatalf("DecodeObject(%s) = %v, want an object", text, err)
	}
	return object
}
