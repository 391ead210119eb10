package oktaauth

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-okta/caddy-okta/internal/jwks"
)

func init() {
	caddy.RegisterModule(new(Admin))
}

// Admin serves, on Caddy's admin endpoint:
//
//   - GET /okta/issuers: the issuers of the running configuration, with their keys, the age of the keys, the last error
//     and the next refresh
//   - POST /okta/issuers/<name>/refresh: fetches the keys of a named issuer now, and answers with the result
//
// Answers and errors are JSON. They hold nothing secret: keys are public ones, by their kid.
type Admin struct{}

// CaddyModule returns the Caddy module information.
func (*Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.okta", New: func() caddy.Module { return new(Admin) }}
}

// Routes returns the endpoints.
func (a *Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/okta/issuers", Handler: caddy.AdminHandlerFunc(a.list)},
		{Pattern: "/okta/issuers/", Handler: caddy.AdminHandlerFunc(a.refresh)},
	}
}

// issuerStatus is what the endpoints say of one issuer.
type issuerStatus struct {
	Name          string   `json:"name,omitempty"` // empty for issuers declared in place
	URL           string   `json:"url"`
	Audience      []string `json:"audience"`
	Age           float64  `json:"age,omitempty"` // of the keys, in seconds
	Introspection bool     `json:"introspection,omitempty"`
	*jwks.Status           // nil without keys
}

// running returns the app of the running configuration. Caddy provisions its admin endpoint before the apps, so the one
// that issuers in place bring along is not known before a request.
func running() *App {
	app, err := caddy.ActiveContext().AppIfConfigured("okta")
	if err != nil {
		return new(App)
	}
	return app.(*App)
}

func (a *App) statuses() []issuerStatus {
	statuses := []issuerStatus{}
	for _, i := range a.leased {
		status := issuerStatus{Name: a.nameOf(i), URL: i.URL, Audience: i.Audience, Introspection: i.introspector != nil}
		if i.keys != nil {
			keys := i.keys.Status()
			status.Status = &keys
			if !keys.FetchedAt.IsZero() {
				status.Age = time.Since(keys.FetchedAt).Seconds()
			}
		}
		statuses = append(statuses, status)
	}
	return statuses
}

// nameOf returns the name of an issuer, or nothing when it was declared in place.
func (a *App) nameOf(issuer *Issuer) string {
	for name, i := range a.Issuers {
		if i == issuer {
			return name
		}
	}
	return ""
}

func (*Admin) list(w http.ResponseWriter, r *http.Request) error {
	if err := allow(w, r, http.MethodGet, http.MethodHead); err != nil {
		return err
	}
	return answerJSON(w, running().statuses())
}

func (*Admin) refresh(w http.ResponseWriter, r *http.Request) error {
	name, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/okta/issuers/"), "/refresh")
	app := running()
	statuses := app.statuses()
	n := slices.IndexFunc(statuses, func(s issuerStatus) bool { return s.Name != "" && s.Name == name })
	if !ok || n < 0 {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("no issuer at %s: GET /okta/issuers lists them, and those of the global option have a name", r.URL.Path)}
	}
	if err := allow(w, r, http.MethodPost); err != nil {
		return err
	}
	if app.Issuers[name].keys == nil {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("issuer %s has no keys: its tokens are introspected", name)}
	}
	if err := app.Issuers[name].keys.Refresh(r.Context()); err != nil {
		return caddy.APIError{HTTPStatus: http.StatusBadGateway, Err: fmt.Errorf("fetching the keys of issuer %s: %w", name, err)}
	}
	return answerJSON(w, app.statuses()[n])
}

// allow refuses other methods (RFC 9110 §15.5.6).
func allow(w http.ResponseWriter, r *http.Request, methods ...string) error {
	if slices.Contains(methods, r.Method) {
		return nil
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("method %s is not allowed: use %s", r.Method, methods[0])}
}

func answerJSON(w http.ResponseWriter, value any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(value)
}

// Interface guard
var _ caddy.AdminRouter = (*Admin)(nil)
