package telemetry_test

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-okta/caddy-okta/internal/jwt"
	"github.com/caddy-okta/caddy-okta/internal/telemetry"
)

// auditFields are the fields of an audit line, as they are documented.
var auditFields = []string{
	"client_id", "client_ip", "decision", "duration", "host", "issuer", "jti", "method", "path", "policy", "reason",
	"request_id", "rule", "subject",
}

// request returns a request as Caddy's server prepares it.
func request(t *testing.T, server *caddyhttp.Server) (*http.Request, *caddy.Replacer) {
	t.Helper()
	repl := caddy.NewReplacer()
	r := httptest.NewRequest(http.MethodPost, "https://api.acme.test/orders/7?access_token=secret", nil)
	r.Header.Set("Authorization", "Bearer secret")
	r = caddyhttp.PrepareRequest(r, repl, httptest.NewRecorder(), server)
	repl.Set("http.request.uuid", "5f1e")
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.7")
	return r, repl
}

func audited(t *testing.T, rec *telemetry.Record, r *http.Request) observer.LoggedEntry {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	rec.Audit(zap.New(core), r)
	if logs.Len() != 1 {
		t.Fatalf("%d lines, want one", logs.Len())
	}
	return logs.All()[0]
}

func TestAuditWritesTheDocumentedFields(t *testing.T) {
	r, _ := request(t, new(caddyhttp.Server))
	rec := &telemetry.Record{
		Decision: "deny", Refused: true, Reason: "policy_denied", Policy: "orders", Rule: "owner", Started: time.Now().Add(-time.Second),
		Claims: &jwt.Claims{Issuer: "https://acme.okta.test", Subject: "ada", ClientID: "0oa", ID: "AT.1"},
	}
	line := audited(t, rec, r)
	got := line.ContextMap()
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, auditFields) || len(line.Context) != len(auditFields) {
		t.Errorf("the fields are %v, want %v", names, auditFields)
	}
	if took, ok := got["duration"].(time.Duration); !ok || took < time.Second || took > time.Minute {
		t.Errorf("duration is %v, want about a second", got["duration"])
	}
	delete(got, "duration")
	want := map[string]any{
		"decision": "deny", "reason": "policy_denied", "policy": "orders", "rule": "owner", "issuer": "https://acme.okta.test", "subject": "ada",
		"client_id": "0oa", "jti": "AT.1", "method": "POST", "host": "api.acme.test", "path": "/orders/7", "client_ip": "192.0.2.7", "request_id": "5f1e",
	}
	if !maps.Equal(got, want) {
		t.Errorf("the line is %v, want %v", got, want)
	}
}

func TestAuditChoosesTheLevel(t *testing.T) {
	r, _ := request(t, new(caddyhttp.Server))
	for refused, want := range map[bool]zapcore.Level{true: zapcore.WarnLevel, false: zapcore.DebugLevel} {
		line := audited(t, &telemetry.Record{Decision: "allow", Refused: refused}, r)
		if line.Level != want || line.Message != "decision" {
			t.Errorf("refused %t: %s %q, want %s \"decision\"", refused, line.Level, line.Message, want)
		}
	}
}

// A line always has all fields: whoever searches for an empty subject finds the anonymous requests.
func TestAuditWritesAllFieldsOfNobody(t *testing.T) {
	line := audited(t, &telemetry.Record{Decision: "deny", Refused: true, Reason: "no_credential"}, httptest.NewRequest(http.MethodGet, "/", nil))
	got := line.ContextMap()
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, auditFields) {
		t.Errorf("the fields are %v, want %v", names, auditFields)
	}
	for _, name := range []string{"issuer", "subject", "client_id", "jti", "client_ip", "request_id", "policy", "rule"} {
		if got[name] != "" {
			t.Errorf("%s is %q, want empty", name, got[name])
		}
	}
}

func TestAuditThatNobodyReadsCostsNothing(t *testing.T) {
	r, _ := request(t, new(caddyhttp.Server))
	core, logs := observer.New(zapcore.WarnLevel)
	log := zap.New(core)
	rec := &telemetry.Record{Decision: "allow", Started: time.Now()}
	if got := testing.AllocsPerRun(100, func() { rec.Audit(log, r) }); got > 0 {
		t.Errorf("Audit makes %.0f allocations, want none", got)
	}
	if logs.Len() != 0 {
		t.Errorf("%d lines at DEBUG, want none", logs.Len())
	}
}

// accessLogged returns the extra fields that the access log line of r gets.
func accessLogged(t *testing.T, r *http.Request) map[string]any {
	t.Helper()
	fields, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields)
	if !ok {
		t.Fatal("Caddy prepared no extra log fields")
	}
	got := make(map[string]any)
	list := reflect.ValueOf(fields).Elem().FieldByName("fields") // Caddy lets nobody read them but its own logger
	for i := range list.Len() {
		got[list.Index(i).FieldByName("Key").String()] = list.Index(i).FieldByName("String").String()
	}
	return got
}

func TestAccessLogIsWrittenOnlyIfTheServerWritesOne(t *testing.T) {
	for name, server := range map[string]*caddyhttp.Server{
		"with": {Logs: new(caddyhttp.ServerLogConfig)}, "without": new(caddyhttp.Server),
	} {
		r, _ := request(t, server)
		telemetry.AccessLog(r, "auth_reason", "no_credential")
		telemetry.AccessLog(r, "auth_reason", "ok") // a later handler knows better
		got := accessLogged(t, r)
		if want := name == "with"; want != (got["auth_reason"] == "ok") || !want && len(got) > 0 {
			t.Errorf("%s an access log the fields are %v", name, got)
		}
	}
}

func TestAccessLogWithoutCaddyDoesNothing(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	telemetry.AccessLog(r, "user_id", "ada")
	server := &caddyhttp.Server{Logs: new(caddyhttp.ServerLogConfig)}
	telemetry.AccessLog(r.WithContext(context.WithValue(r.Context(), caddyhttp.ServerCtxKey, server)), "user_id", "ada")
}
