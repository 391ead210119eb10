package telemetry

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-okta/caddy-okta/internal/jwt"
)

// Record is what one handler decided about one request.
type Record struct {
	// Decision is "allow" or "deny" for okta_auth; for cel_policy what the policy said, such as "step_up" or
	// "would_deny".
	Decision string

	// Refused is true when the request did not go on, or would not have but for report-only mode. It decides the level of
	// the audit line.
	Refused bool

	// Reason is the code of the reason table.
	Reason string

	// Policy and Rule say what decided; empty for okta_auth.
	Policy, Rule string

	// Claims are those of a token whose signature was good; nil when there was none.
	Claims *jwt.Claims

	// Started is when the handler began.
	Started time.Time
}

// Audit writes the record to log: refusals at WARN, everything else at DEBUG. The fields are stable; README lists
// them. A level that nobody listens to costs one comparison.
func (rec *Record) Audit(log *zap.Logger, r *http.Request) {
	level := zapcore.DebugLevel
	if rec.Refused {
		level = zapcore.WarnLevel
	}
	entry := log.Check(level, "decision")
	if entry == nil {
		return
	}
	var none jwt.Claims
	claims := rec.Claims
	if claims == nil {
		claims = &none
	}
	clientIP, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	var requestID string
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		requestID, _ = repl.GetString("http.request.uuid")
	}
	entry.Write(
		zap.String("decision", rec.Decision),
		zap.String("reason", rec.Reason),
		zap.String("policy", rec.Policy),
		zap.String("rule", rec.Rule),
		zap.String("issuer", claims.Issuer),
		zap.String("subject", claims.Subject),
		zap.String("client_id", claims.ClientID),
		zap.String("jti", claims.ID),
		zap.String("method", r.Method),
		zap.String("host", r.Host),
		zap.String("path", r.URL.Path),
		zap.String("client_ip", clientIP),
		zap.String("request_id", requestID),
		zap.Duration("duration", time.Since(rec.Started)),
	)
}

// AccessLog adds a field to the access log line of the request, if the server writes one.
func AccessLog(r *http.Request, key, value string) {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.Logs == nil {
		return
	}
	if fields, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		fields.Set(zap.String(key, value))
	}
}
