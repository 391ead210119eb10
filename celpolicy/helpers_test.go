package celpolicy

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-okta/caddy-okta/internal/jwt"
	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// noon is when the tests take place: a Wednesday, 14:00 in Berlin.
var noon = time.Date(2026, 7, 15, 12, 0, 0, 0, time.UTC)

// quiet is a logger for tests that make many decisions.
var quiet = zap.NewNop()

// stepUpSkew is the clock skew of the callers in tests.
const stepUpSkew = 30 * time.Second

// newRequest returns a request as Caddy hands it to handlers.
func newRequest(t testing.TB, method, target string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Method = method
	ctx := context.WithValue(r.Context(), caddyhttp.OriginalRequestCtxKey, *r)
	r = r.WithContext(ctx)
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), new(caddyhttp.Server))
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "10.1.2.3")
	return r
}

// identity returns the identity of a token with these claims.
func identity(t testing.TB, claims map[string]any) *jwt.Claims {
	t.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwt.DecodeObject(text)
	if err != nil {
		t.Fatalf("DecodeObject(%s) = %v", text, err)
	}
	parsed, err := jwt.ParseClaims(raw)
	if err != nil {
		t.Fatalf("ParseClaims(%s) = %v", text, err)
	}
	return parsed
}

func user(t testing.TB) *principal.Caller {
	t.Helper()
	return &principal.Caller{Judged: true, ClockSkew: stepUpSkew, Identity: identity(t, map[string]any{
		"iss": "https://acme.okta.com/oauth2/default", "sub": "alice@example.com", "cid": "0oa1", "uid": "00u1", "jti": "AT.1",
		"acr": "phr", "amr": []any{"pwd", "hwk"}, "aud": "api://default", "scp": []any{"read", "write"}, "groups": []any{"Everyone", "Admin"},
		"iat": noon.Add(-time.Minute).Unix(), "exp": noon.Add(time.Hour).Unix(), "auth_time": noon.Add(-2 * time.Minute).Unix(),
		"dept": "sales",
	})}
}

func service(t testing.TB) *principal.Caller {
	t.Helper()
	return &principal.Caller{Judged: true, ClockSkew: stepUpSkew, Identity: identity(t, map[string]any{
		"iss": "https://acme.okta.com/oauth2/default", "sub": "0oa2", "cid": "0oa2", "acr": "phr", "scp": []any{"read"},
		"iat": noon.Unix(), "exp": noon.Add(time.Hour).Unix(), "auth_time": noon.Unix(),
	})}
}

func compile(t testing.TB, rules ...Rule) *Compiled {
	t.Helper()
	c, err := Compile(&Policy{Rules: rules})
	if err != nil {
		t.Fatalf("Compile(%+v) = %v", rules, err)
	}
	return c
}

// evaluate decides with one allow rule: Allow is true, Deny is false, Error is an error.
func evaluate(t testing.TB, expression string, r *http.Request, caller *principal.Caller) Decision {
	t.Helper()
	return compile(t, Rule{Allow: "it", When: expression}).Decide(r, caller, noon)
}
