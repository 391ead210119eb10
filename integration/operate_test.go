package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// guarded is a site with a guard that bans after three invalid tokens, and takes client addresses from a header.
const guarded = `{
	admin ADMIN
	persist_config off
	log {
		output file LOGS
		level DEBUG
	}
	servers {
		trusted_proxies static 127.0.0.1/32
	}
	events {
		on okta.refusal_burst probe
		on okta.keys_unreachable probe
		on okta.keys_recovered probe
	}
	okta {
		issuer main ISSUER {
			audience api://default
		}
		guard {
			failures 3
			window 1m
			ban 5m
		}
	}
}
http://ADDRESS {
	bind 127.0.0.1
	okta_auth main
	reverse_proxy BACKEND
}
`

// probe is an events handler that tells the test.
type probe struct{}

var (
	probed  = make(chan caddy.Event, 100)
	handled atomic.Int64
)

func init() { caddy.RegisterModule(probe{}) }

func (probe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.probe", New: func() caddy.Module { return new(probe) }}
}

func (probe) Handle(_ context.Context, e caddy.Event) error {
	handled.Add(1)
	select {
	case probed <- e:
	default: // a test that floods counts only
	}
	return nil
}

func (probe) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return nil }

var _ caddyevents.Handler = probe{}

// nextEvent waits for an event of a name.
func nextEvent(t *testing.T, name string) map[string]any {
	t.Helper()
	for {
		select {
		case e := <-probed:
			if e.Name() == name {
				return e.Data
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("the event %s did not come", name)
		}
	}
}

func TestGuardBansAddressesThatKeepSendingInvalidTokens(t *testing.T) {
	g := startWith(t, guarded)
	from := func(address string) option { return header("X-Forwarded-For", address) }
	good := bearer(g.issuer.UserToken("alice"))
	bad := bearer(g.issuer.UserToken("alice", oktatest.Forged()))
	for range 3 {
		g.expect(http.StatusUnauthorized, "GET", "/", bad, from("192.0.2.1"))
	}
	data := nextEvent(t, "okta.refusal_burst")
	for data["client_ip"] != "192.0.2.1" { // of a test before
		data = nextEvent(t, "okta.refusal_burst")
	}
	if data["count"] != 3 {
		t.Errorf("the event says %v", data)
	}
	a := g.expectChallenge(http.StatusTooManyRequests, nil, "GET", "/", bad, from("192.0.2.1"))
	if a.Header.Get("Retry-After") != "300" {
		t.Errorf("Retry-After %q, want 300", a.Header.Get("Retry-After"))
	}
	g.expect(http.StatusOK, "GET", "/", good, from("192.0.2.1"))
	g.expect(http.StatusUnauthorized, "GET", "/", from("192.0.2.1")) // no token is not an invalid one
	g.expect(http.StatusUnauthorized, "GET", "/", bad, from("192.0.2.2"))

	// One client can choose from a whole /64.
	for i := range 3 {
		g.expect(http.StatusUnauthorized, "GET", "/", bad, from(fmt.Sprintf("2001:db8::%d", i)))
	}
	g.expect(http.StatusTooManyRequests, "GET", "/", bad, from("2001:db8::ffff"))
	g.expect(http.StatusUnauthorized, "GET", "/", bad, from("2001:db8:0:1::1"))

	// A reload forgets nothing.
	if status, text := g.post(strings.Replace(guarded, "okta_auth main", "okta_auth main {\n realm other\n }", 1)); status != http.StatusOK {
		t.Fatalf("reload = %d: %s", status, text)
	}
	g.expect(http.StatusTooManyRequests, "GET", "/", bad, from("192.0.2.1"))
}

// A flood of bans blocks no request, and delivers no more events than the queue and the rate allow.
func TestEventsAreBounded(t *testing.T) {
	g := startWith(t, strings.Replace(guarded, "failures 3", "failures 1", 1))
	bad := bearer(g.issuer.UserToken("alice", oktatest.Forged()))
	const flood = 1000
	began, before := time.Now(), handled.Load()
	for i := range flood {
		g.expect(http.StatusUnauthorized, "GET", "/", bad, header("X-Forwarded-For", fmt.Sprintf("10.0.%d.%d", i/250, i%250)))
	}
	for len(probed) > 0 {
		<-probed
	}
	// Delivery is behind the requests: wait until no event has come for as long as ten would take.
	for last := int64(-1); last != handled.Load(); {
		last = handled.Load()
		select {
		case <-probed:
		case <-time.After(time.Second):
		}
	}
	delivered := handled.Load() - before
	if most := 64 + 64 + int64(12*time.Since(began).Seconds()); delivered == 0 || delivered > most {
		t.Errorf("%d of %d events were delivered, at most %d may be", delivered, flood, most)
	}
}

func TestEventsTellOfKeys(t *testing.T) {
	g := prepare(t)
	g.issuer.Down()
	g.load(guarded)
	data := nextEvent(t, "okta.keys_unreachable")
	if data["issuer"] != g.issuer.Issuer() || !strings.Contains(fmt.Sprint(data["error"]), "refused") {
		t.Errorf("the event says %v", data)
	}
	if err := g.issuer.Up(); err != nil {
		t.Fatal(err)
	}
	if data := nextEvent(t, "okta.keys_recovered"); data["issuer"] != g.issuer.Issuer() {
		t.Errorf("the event says %v", data)
	}
}

func TestProviderBesideBasicAuth(t *testing.T) {
	g := prepare(t)
	// The hash is of "password".
	config := `{
		"admin": {"listen": "ADMIN", "config": {"persist": false}},
		"logging": {"logs": {"default": {"writer": {"output": "discard"}}}},
		"apps": {"http": {"servers": {"site": {"listen": ["ADDRESS"], "automatic_https": {"disable": true}, "routes": [{"handle": [
			{"handler": "headers", "request": {"delete": ["X-User-*", "X-Client-ID"]}},
			{"handler": "authentication", "providers": {
				"http_basic": {"accounts": [{"username": "bob", "password": "$2a$14$Ss4VMNTmeMHnG1bAaRLhYuDnQMGzyk3UhFLJ9b7bzVwY3jNkEm9Gq"}]},
				"okta": {"issuer": {"url": "ISSUER", "audience": ["api://default"]}}
			}},
			{"handler": "cel_policy", "rules": [{"allow": "known", "when": "principal.subject == 'alice'"}, {"allow": "basic", "when": "placeholder('http.auth.user.id') == 'bob'"}]},
			{"handler": "reverse_proxy", "upstreams": [{"dial": "BACKEND"}]}
		]}]}}}}
	}`
	config = strings.Replace(config, "$2a$14$Ss4VMNTmeMHnG1bAaRLhYuDnQMGzyk3UhFLJ9b7bzVwY3jNkEm9Gq", hashed(t, "password"), 1)
	if err := caddy.Load([]byte(g.expand(config)), false); err != nil {
		t.Fatal(err)
	}
	a := g.expect(http.StatusOK, "GET", "/", bearer(g.issuer.UserToken("alice")), header("X-User-ID", "root"))
	if got := a.seen.Header.Values("X-User-Id"); len(got) != 1 || got[0] != "alice" || a.seen.Header.Get("Authorization") != "" {
		t.Errorf("the backend saw %v", a.seen.Header)
	}
	a = g.expect(http.StatusOK, "GET", "/", basic("bob", "password"), header("X-User-ID", "root"))
	if strings.Contains(fmt.Sprint(a.seen.Header), "root") {
		t.Errorf("the backend saw %v", a.seen.Header)
	}
	for _, credential := range []option{basic("bob", "wrong"), bearer(g.issuer.UserToken("alice", oktatest.Forged())), func(*http.Request) {}} {
		if a := g.expect(http.StatusUnauthorized, "GET", "/", credential); a.Header.Get("WWW-Authenticate") == "" {
			t.Error("401 without a challenge")
		}
	}
	g.expect(http.StatusForbidden, "GET", "/", bearer(g.issuer.UserToken("mallory")))
	for _, field := range []string{`"optional": true`, `"cors_preflight": "pass"`} {
		bad := strings.Replace(config, `"okta": {`, `"okta": {`+field+`, `, 1)
		if err := caddy.Load([]byte(g.expand(bad)), false); err == nil || !strings.Contains(err.Error(), "okta_auth") {
			t.Errorf("%s: load = %v, want an error that names okta_auth", field, err)
		}
	}
}

func basic(user, password string) option {
	return func(r *http.Request) { r.SetBasicAuth(user, password) }
}

func TestAdminAPI(t *testing.T) {
	g := start(t, "okta_auth main")
	g.expect(http.StatusOK, "GET", "/", bearer(g.issuer.UserToken("alice")))
	status, text := g.adminCall(http.MethodGet, "/okta/issuers", "", "")
	var issuers []struct {
		Name string
		URL  string
		Keys []struct {
			ID         string `json:"kid"`
			Algorithms []string
		}
		Usable    bool      `json:"usable"`
		FetchedAt time.Time `json:"fetched_at"`
		Age       float64   `json:"age"`
		LastError string    `json:"last_error"`
	}
	if err := json.Unmarshal([]byte(text), &issuers); err != nil || status != http.StatusOK {
		t.Fatalf("GET /okta/issuers = %d: %v: %s", status, err, text)
	}
	if len(issuers) != 1 || issuers[0].Name != "main" || issuers[0].URL != g.issuer.Issuer() || len(issuers[0].Keys) != 2 || !issuers[0].Usable || issuers[0].FetchedAt.IsZero() || issuers[0].Age <= 0 || issuers[0].Age > 60 {
		t.Errorf("GET /okta/issuers: %s", text)
	}
	if issuers[0].Keys[0].ID != g.issuer.ActiveKey().ID && issuers[0].Keys[1].ID != g.issuer.ActiveKey().ID {
		t.Errorf("the active key is missing: %s", text)
	}

	g.issuer.RotateUnannounced()
	before := g.issuer.Hits(oktatest.Keys)
	if status, text := g.adminCall(http.MethodPost, "/okta/issuers/main/refresh", "", ""); status != http.StatusOK || !strings.Contains(text, g.issuer.ActiveKey().ID) {
		t.Errorf("POST refresh = %d: %s", status, text)
	}
	if g.issuer.Hits(oktatest.Keys) != before+1 {
		t.Error("the refresh fetched no keys")
	}
	g.issuer.Down()
	if status, text := g.adminCall(http.MethodPost, "/okta/issuers/main/refresh", "", ""); status != http.StatusBadGateway || !strings.Contains(text, `"error"`) {
		t.Errorf("POST refresh while the issuer is down = %d: %s", status, text)
	}
	for path, want := range map[string]int{
		"/okta/issuers/nobody/refresh": http.StatusNotFound, "/okta/issuers/main": http.StatusNotFound, "/okta/issuers//refresh": http.StatusNotFound,
	} {
		if status, text := g.adminCall(http.MethodPost, path, "", ""); status != want && status != http.StatusMovedPermanently && status != http.StatusTemporaryRedirect {
			t.Errorf("POST %s = %d, want %d: %s", path, status, want, text)
		}
	}
	// 9110-13
	if status, _ := g.adminCall(http.MethodDelete, "/okta/issuers", "", ""); status != http.StatusMethodNotAllowed {
		t.Errorf("DELETE /okta/issuers = %d, want 405", status)
	}
	if status, _ := g.adminCall(http.MethodGet, "/okta/issuers/main/refresh", "", ""); status != http.StatusMethodNotAllowed {
		t.Errorf("GET refresh = %d, want 405", status)
	}
}

func TestMetricsAuditAndAccessLog(t *testing.T) {
	policy := fmt.Sprintf("orders%d", time.Now().UnixNano()) // counters live as long as the process
	g := start(t, "okta_auth main\n cel_policy {\n name "+policy+"\n allow readers GET /orders/* `\"orders:read\" in principal.scopes`\n }")
	reader := g.issuer.UserToken("alice", oktatest.Scopes("orders:read"))
	g.expect(http.StatusOK, "GET", "/orders/7", bearer(reader))
	g.expect(http.StatusOK, "GET", "/orders/7", bearer(reader))
	g.expect(http.StatusForbidden, "POST", "/orders/7", bearer(reader))
	forged := g.issuer.UserToken("alice", oktatest.Forged())
	g.expect(http.StatusUnauthorized, "GET", "/orders/7", bearer(forged))
	g.expect(http.StatusUnauthorized, "GET", "/orders/7")

	_, metrics := g.adminCall(http.MethodGet, "/metrics", "", "")
	for _, line := range []string{
		fmt.Sprintf(`caddy_okta_auth_total{issuer="%s",reason="ok"} `, g.issuer.Issuer()),
		fmt.Sprintf(`caddy_okta_auth_total{issuer="%s",reason="bad_signature"} 1`, g.issuer.Issuer()),
		`caddy_okta_auth_total{issuer="",reason="no_credential"} `,
		`caddy_okta_auth_duration_seconds_count{cache="hit"} `,
		`caddy_okta_auth_duration_seconds_count{cache="miss"} `,
		fmt.Sprintf(`caddy_okta_keys_age_seconds{issuer="%s"} `, g.issuer.Issuer()),
		fmt.Sprintf(`caddy_okta_keys_fetch_total{issuer="%s",result="ok"} 1`, g.issuer.Issuer()),
		`caddy_okta_token_cache_total{result="hit"} `,
		fmt.Sprintf(`caddy_cel_policy_decisions_total{decision="allow",policy="%s",rule="readers"} 2`, policy),
		fmt.Sprintf(`caddy_cel_policy_decisions_total{decision="deny",policy="%s",rule=""} 1`, policy),
		fmt.Sprintf(`caddy_cel_policy_duration_seconds_count{policy="%s"} 3`, policy),
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}

	lines := g.logLines()
	refused := find(lines, "http.handlers.okta_auth.audit", "reason", "bad_signature")
	if refused == nil || refused["level"] != "warn" || refused["decision"] != "deny" || refused["path"] != "/orders/7" || refused["client_ip"] != "127.0.0.1" || refused["request_id"] == "" {
		t.Errorf("the audit line of a refusal is %v", refused)
	}
	granted := find(lines, "http.handlers.cel_policy.audit", "policy", policy)
	if granted == nil || granted["level"] != "debug" || granted["decision"] != "allow" || granted["rule"] != "readers" || granted["subject"] != "alice" || granted["client_id"] != oktatest.UserClient {
		t.Errorf("the audit line of a grant is %v", granted)
	}
	access := find(lines, "http.log.access", "policy_rule", "readers")
	if access == nil {
		access = find(lines, "http.log.access.log0", "policy_rule", "readers")
	}
	if access == nil || access["user_id"] != "alice" || access["auth_reason"] != "ok" {
		t.Errorf("the access log line is %v", access)
	}
	for _, secret := range []string{reader, forged, reader[strings.LastIndex(reader, "."):], strings.Split(reader, ".")[1]} {
		if strings.Contains(g.logged()+metrics, secret) {
			t.Error("a token is in the logs or metrics")
		}
	}
}

// What became of a request is one reason wherever it is told: also when the policy refused it, or let somebody through whom
// nobody knows.
func TestReasonsAreTheSameEverywhere(t *testing.T) {
	g := start(t, "okta_auth main {\n optional\n cors_preflight pass\n }\n cel_policy {\n allow open /open/* `true`\n }")
	token := g.issuer.UserToken("alice")
	g.expect(http.StatusOK, "GET", "/open/anonymous")
	g.expect(http.StatusOK, "OPTIONS", "/open/preflight", header("Origin", "https://app.test"), header("Access-Control-Request-Method", "GET"))
	g.expect(http.StatusOK, "GET", "/open/known", bearer(token))
	g.expect(http.StatusForbidden, "GET", "/closed/known", bearer(token))
	g.expect(http.StatusUnauthorized, "GET", "/closed/anonymous")
	g.expect(http.StatusBadRequest, "GET", "/open//ambiguous", bearer(token))
	reasons := map[string]string{
		"/open/anonymous": "anonymous", "/open/preflight": "preflight", "/open/known": "ok", "/closed/known": "policy_denied",
		"/closed/anonymous": "no_credential", "/open//ambiguous": "ambiguous_path",
	}
	audited, logged := make(map[string]string), make(map[string]string)
	for _, line := range g.logLines() {
		switch logger, _ := line["logger"].(string); {
		case logger == "http.handlers.cel_policy.audit":
			audited[line["path"].(string)] = line["reason"].(string)
		case strings.HasPrefix(logger, "http.log.access"):
			logged[line["request"].(map[string]any)["uri"].(string)] = line["auth_reason"].(string)
		}
	}
	if !maps.Equal(audited, reasons) {
		t.Errorf("the audit lines of the policy say %v, want %v", audited, reasons)
	}
	if !maps.Equal(logged, reasons) {
		t.Errorf("the access log says %v, want %v", logged, reasons)
	}
}

// A later okta_auth judges what an earlier one took, if it would have taken it too: another scheme is another credential. One
// that finds none reports nobody, whoever the request is from.
func TestEachOktaAuthJudgesItsOwnCredential(t *testing.T) {
	g := start(t, "route /scheme/* {\n okta_auth main\n okta_auth main {\n token header Authorization Token\n }\n }\n"+
		"route /same/* {\n okta_auth main\n okta_auth main {\n token header Authorization BEARER\n }\n }\n"+
		"route /cookie/* {\n okta_auth main\n okta_auth main {\n token cookie tok\n optional\n }\n }")
	token := g.issuer.UserToken("alice")
	g.expect(http.StatusUnauthorized, "GET", "/scheme/x", bearer(token))
	g.expect(http.StatusOK, "GET", "/same/x", bearer(token))
	g.expect(http.StatusOK, "GET", "/cookie/x", bearer(token)).expectHeader(t, "X-User-ID", "alice")
	var reasons []string
	for _, line := range g.logLines() {
		if line["logger"] == "http.handlers.okta_auth.audit" {
			reasons = append(reasons, fmt.Sprint(line["path"], " ", line["reason"], " ", line["subject"]))
		}
	}
	if want := []string{
		"/scheme/x ok alice", "/scheme/x no_credential ", "/same/x ok alice", "/same/x ok alice", "/cookie/x ok alice", "/cookie/x anonymous ",
	}; !slices.Equal(reasons, want) {
		t.Errorf("the audit lines are %q, want %q", reasons, want)
	}
}

// logLines returns the JSON lines of the log.
func (g *gateway) logLines() (lines []map[string]any) {
	g.t.Helper()
	for text := range strings.Lines(g.logged()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			g.t.Fatalf("%v: %s", err, text)
		}
		lines = append(lines, line)
	}
	return lines
}

func find(lines []map[string]any, logger, field, value string) map[string]any {
	for _, line := range lines {
		if line["logger"] == logger && line[field] == value {
			return line
		}
	}
	return nil
}

func hashed(t *testing.T, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}
