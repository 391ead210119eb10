package principal_test

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/jwt"
	"github.com/caddy-okta/caddy-okta/internal/principal"
)

func TestClaim(t *testing.T) {
	claims := identity(t, `{"sub":"ada","null":null,"zero":0,"false":false,"empty":"","list":["x"],
		"o":{"a":1,"null":null,"o":{"a":2,"b.c":3}},
		"o.a":"dotted","o.null":"dotted","x.y":{"z":4},"x":{"y":{"w":5},"y.z":6},"n.m":null,"n":{"m":7},
		"https://acme.example/claims":{"dept":"R"},"":{"":8},".":9}`)
	for path, want := range map[string]any{
		"sub":                              "ada",
		"zero":                             int64(0),
		"false":                            false,
		"empty":                            "",
		"list":                             []string{"x"},
		"o.a":                              "dotted",
		"o.o.a":                            int64(2),
		"o.o.b.c":                          int64(3),
		"o.null":                           "dotted",
		"x.y.z":                            int64(6),
		"x.y.w":                            int64(5),
		"https://acme.example/claims":      map[string]any{"dept": "R"},
		"https://acme.example/claims.dept": "R",
		".":                                int64(9),
		"":                                 map[string]any{"": int64(8)},
	} {
		if got, ok := principal.Claim(claims, path); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("Claim(%q) = %v, %t, want %v", path, got, ok, want)
		}
	}
	for _, path := range []string{
		"missing", "null", "Sub", "sub.x", "sub.", ".sub", "list.0", "list.x", "o.", "o.b", "o.o.a.b", "o.o.b", "n.m", "https://acme", "o.o.a.",
	} {
		if got, ok := principal.Claim(claims, path); ok || got != nil {
			t.Errorf("Claim(%q) = %v, %t, want nothing", path, got, ok)
		}
	}
	if got, ok := principal.Claim(new(jwt.Claims), "a.b"); ok {
		t.Errorf("Claim(no claims) = %v, want nothing", got)
	}
}

func TestText(t *testing.T) {
	for want, value := range map[string]any{
		"ada":                  "ada",
		`"quoted"`:             `"quoted"`,
		"a\nb":                 "a\nb",
		"7":                    int64(7),
		"-9223372036854775808": int64(math.MinInt64),
		"1.50":                 json.Number("1.50"),
		"true":                 true,
		"null":                 nil,
		`["a",1,null]`:         []any{"a", int64(1), nil},
		`{"a":"<&>","b":[]}`:   map[string]any{"b": []any{}, "a": "<&>"},
		"":                     func() {}, // has no JSON form and comes from no parser
	} {
		if got := principal.Text(value); got != want {
			t.Errorf("Text(%v) = %q, want %q", value, got, want)
		}
	}
}
