package principal

import (
	"encoding/json"
	"strings"

	"github.com/caddy-okta/caddy-okta/internal/jwt"
)

// Claim returns the claim at a dotted path. A claim whose own name holds dots, such as a URL, is found before a
// nested one.
func Claim(claims *jwt.Claims, path string) (value any, ok bool) { return member(claims.Get, path) }

func member(get func(name string) (any, bool), path string) (value any, ok bool) {
	if value, ok = get(path); ok {
		return value, value != nil
	}
	for i := range len(path) {
		if path[i] != '.' {
			continue
		}
		value, _ = get(path[:i])
		if nested, isObject := value.(map[string]any); isObject {
			of := func(name string) (any, bool) { value, ok := nested[name]; return value, ok }
			if value, ok = member(of, path[i+1:]); ok {
				return value, true
			}
		}
	}
	return nil, false
}

// Text returns a claim as text: a text as it is, everything else as compact JSON.
func Text(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return "" // values come from a JSON parser: they always have a JSON form
	}
	return strings.TrimSuffix(b.String(), "\n")
}
