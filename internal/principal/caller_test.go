package principal_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/jwt"
	"github.com/caddy-okta/caddy-okta/internal/principal"
)

// request returns a request as Caddy's server prepares it, and its replacer.
func request(t *testing.T) (*http.Request, *caddy.Replacer) {
	t.Helper()
	repl := caddy.NewReplacer()
	r := httptest.NewRequest(http.MethodGet, "https://api.acme.test/orders/7", nil)
	return caddyhttp.PrepareRequest(r, repl, httptest.NewRecorder(), new(caddyhttp.Server)), repl
}

func identity(t *testing.T, text string) *jwt.Claims {
	t.Helper()
	raw, err := jwt.DecodeObject([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	claims, err := jwt.ParseClaims(raw)
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestARequestHasOneCaller(t *testing.T) {
	r, _ := request(t)
	if c := principal.Of(r); c != nil {
		t.Fatalf("Of(a new request) = %v, want nil", c)
	}
	first := principal.Ensure(r)
	if first.Judged || first.Identity != nil || first.Challenge != deny.Default {
		t.Errorf("Ensure = %#v, want an anonymous caller that nobody judged", first.Identity)
	}
	if again := principal.Ensure(r); again != first || principal.Of(r) != first {
		t.Error("a second Ensure attached another caller")
	}
	other, _ := request(t)
	if principal.Ensure(other) == first {
		t.Error("two requests share a caller")
	}
}

// A handler behind us may hand on a request with a derived context; the caller goes along.
func TestTheCallerFollowsTheContext(t *testing.T) {
	r, _ := request(t)
	c := principal.Ensure(r)
	if principal.Of(r.Clone(r.Context())) != c {
		t.Error("a cloned request lost its caller")
	}
}

// A request that Caddy's server did not prepare has no variables. Nothing is found on it, and nothing panics.
func TestARequestWithoutCaddyHasNoCaller(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if c := principal.Of(r); c != nil {
		t.Errorf("Of = %v, want nil", c)
	}
}

func TestEnsureWorksWithoutAReplacer(t *testing.T) {
	r, _ := request(t)
	vars := r.Context().Value(caddyhttp.VarsCtxKey)
	bare := httptest.NewRequest(http.MethodGet, "/", nil)
	bare = bare.WithContext(contextWith(bare, caddyhttp.VarsCtxKey, vars))
	if c := principal.Ensure(bare); c == nil || principal.Of(bare) != c {
		t.Error("Ensure attached no caller")
	}
}

func TestReason(t *testing.T) {
	ada := &jwt.Claims{Subject: "ada"}
	refusal := deny.Expired.Because("late")
	for _, test := range []struct {
		name   string
		caller principal.Caller
		want   deny.Reason
	}{
		{"nobody is anonymous", principal.Caller{}, deny.Anonymous},
		{"somebody is ok", principal.Caller{Identity: ada}, deny.OK},
		{"a preflight is a preflight", principal.Caller{Preflight: true}, deny.Preflight},
		{"a refusal comes before all", principal.Caller{Identity: ada, Preflight: true, Refusal: refusal}, deny.Expired},
		{"an identity comes before a preflight", principal.Caller{Identity: ada, Preflight: true}, deny.OK},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.caller.Reason(); got != test.want {
				t.Errorf("Reason() = %s, want %s", got, test.want)
			}
		})
	}
}

// The caller holds the credential that was taken from the request, and it is a request variable, which access logs,
// templates and responses can print.
func TestNothingPrintsACaller(t *testing.T) {
	const secret = "eyJhbGciOiJSUzI1NiJ9.c2VjcmV0.c2lnbmF0dXJl"
	r, repl := request(t)
	c := principal.Ensure(r)
	c.Taken = []*principal.Credential{{Source: "header Authorization", Token: secret, DPoP: true, Proofs: []string{secret}}}
	c.Identity = &jwt.Claims{Subject: "ada"}

	core, logs := observer.New(zapcore.DebugLevel)
	zap.New(core).Info("line", zap.Any("caller", c), zap.Reflect("again", c))
	fields, err := json.Marshal(logs.All()[0].ContextMap())
	if err != nil {
		t.Fatal(err)
	}
	vars, err := json.Marshal(r.Context().Value(caddyhttp.VarsCtxKey))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	slog.New(slog.NewJSONHandler(&text, nil)).Info("line", "caller", c)
	for name, printed := range map[string]string{
		"Sprint":      fmt.Sprint(c),
		"%v":          fmt.Sprintf("%v", c),
		"%+v":         fmt.Sprintf("%+v", c),
		"%#v":         fmt.Sprintf("%#v", c),
		"%q":          fmt.Sprintf("%q", c),
		"%v of vars":  fmt.Sprintf("%v", r.Context().Value(caddyhttp.VarsCtxKey)),
		"placeholder": repl.ReplaceAll("{http.vars.caddy_okta.caller}", "empty"),
		"JSON":        string(vars),
		"zap":         string(fields),
		"slog":        text.String(),
	} {
		if strings.Contains(printed, secret) || strings.Contains(printed, "c2VjcmV0") {
			t.Errorf("%s prints the credential: %s", name, printed)
		}
		if !strings.Contains(printed, "redacted") {
			t.Errorf("%s prints %q, want redacted", name, printed)
		}
	}
}
