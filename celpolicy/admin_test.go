package celpolicy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

func TestHandlersAreKnownWhileTheirConfigurationRuns(t *testing.T) {
	old, cancelOld := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancelOld()
	next, cancelNext := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancelNext()
	names := func(config caddy.Context) (list []string) {
		for _, h := range running.of(config) {
			list = append(list, h.compiled.name)
		}
		return list
	}
	load := func(config caddy.Context, name string) *Handler {
		h := &Handler{Policy: Policy{Name: name}}
		if err := h.Provision(config); err != nil {
			t.Fatal(err)
		}
		return h
	}
	a, b := load(old, "a"), load(old, "b")
	c := load(next.WithValue(caddy.CtxKey("x"), "y"), "c") // as an HTTP server hands it to its handlers
	bad := &Handler{Policy: Policy{Name: "bad name"}}
	if err := bad.Provision(next); err == nil {
		t.Error("a bad policy was loaded")
	}
	if got := strings.Join(names(old), " "); got != "a b" {
		t.Errorf("the old configuration has %s, want a b", got)
	}
	if got := strings.Join(names(next), " "); got != "c" {
		t.Errorf("the new configuration has %s, want c", got)
	}
	if got := names(caddy.Context{}); got != nil {
		t.Errorf("no configuration has %v", got)
	}
	for _, h := range []*Handler{a, bad, a} {
		if err := h.Cleanup(); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(names(old), " "); got != "b" {
		t.Errorf("after Cleanup the old configuration has %s, want b", got)
	}
	for _, h := range []*Handler{b, c} {
		_ = h.Cleanup()
	}
	if got := append(names(old), names(next)...); got != nil {
		t.Errorf("%v is left", got)
	}
}

func TestAdminRefusals(t *testing.T) {
	routes := make(map[string]caddy.AdminHandler)
	for _, route := range new(Admin).Routes() {
		routes[route.Pattern] = route.Handler
	}
	for name, test := range map[string]struct {
		method, path, body string
		status             int
		want               string
	}{
		"an explanation without its body": {"HEAD", "/okta/policies/explain", "", 405, "use POST"},
		"a list that is posted":           {"POST", "/okta/policies", "", 405, "method POST is not allowed: use GET"},
		"an explanation that is got":      {"GET", "/okta/policies/explain", "", 405, "method GET is not allowed: use POST"},
		"an empty body":                   {"POST", "/okta/policies/explain", "", 400, "body.json:1: there is nothing in it"},
		"a body that is no JSON":          {"POST", "/okta/policies/explain", "a: b", 400, "body.json:1: invalid character"},
		"an unknown member":               {"POST", "/okta/policies/explain", "{\n\"polcy\": \"a\"}", 400, `body.json:2: unknown member "polcy" in the body: did you mean policy?`},
		"claims of another type":          {"POST", "/okta/policies/explain", `{"claims": {"sub": 7}}`, 400, `body.json:1: claims: the claim "sub" is not a text`},
		"a policy that does not run here": {"POST", "/okta/policies/explain", `{"policy": "x"}`, 404, `no policy is named "x"`},
		"a large body":                    {"POST", "/okta/policies/explain", `{"policy": "` + strings.Repeat("x", maxFileSize) + `"}`, 413, "too large"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			w := httptest.NewRecorder()
			err := routes[test.path].ServeHTTP(w, httptest.NewRequest(test.method, test.path, strings.NewReader(test.body)))
			var refusal caddy.APIError
			if !errors.As(err, &refusal) || refusal.HTTPStatus != test.status || !strings.Contains(refusal.Err.Error(), test.want) {
				t.Errorf("%s %s = %+v, want %d …%s…", test.method, test.path, err, test.status, test.want)
			}
			if allow := w.Header().Get("Allow"); (allow != "") != (test.status == http.StatusMethodNotAllowed) {
				t.Errorf("Allow: %s", allow)
			}
		})
	}
}

// As GET /okta/issuers does: who asks may ask for the header only.
func TestTheListOfPoliciesAnswersHEAD(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		w := httptest.NewRecorder()
		if err := listPolicies(w, httptest.NewRequest(method, "/okta/policies", nil)); err != nil || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s /okta/policies = %v, %v", method, err, w.Header())
		}
	}
	w := httptest.NewRecorder()
	if err := listPolicies(w, httptest.NewRequest(http.MethodDelete, "/okta/policies", nil)); err == nil || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("DELETE /okta/policies = %v, Allow: %s", err, w.Header().Get("Allow"))
	}
}

func TestTheAdminModuleIsRegistered(t *testing.T) {
	info, err := caddy.GetModule("admin.api.cel_policy")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := info.New().(caddy.AdminRouter); !ok {
		t.Errorf("New() = %T, want a caddy.AdminRouter", info.New())
	}
}
