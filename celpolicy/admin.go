package celpolicy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
)

func init() {
	caddy.RegisterModule(new(Admin))
}

// Admin shows the policies of the running configuration on Caddy's admin endpoint:
//
//	GET  /okta/policies           every cel_policy with all its rules, those of files included
//	POST /okta/policies/explain   what they make of a request; nothing is sent anywhere
//
// The body of explain is JSON and has the request, claims, now and placeholders of a test in a policy file, and policy,
// the name of the policies to explain (default: all). The answer is a list with one explanation for each. Values of the
// machine, such as {env.HOME}, are not read: give them as placeholders. now is the present time unless given.
type Admin struct{}

// CaddyModule returns the module's ID.
func (*Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.cel_policy",
		New: func() caddy.Module { return new(Admin) },
	}
}

// Routes implements caddy.AdminRouter.
func (*Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/okta/policies", Handler: caddy.AdminHandlerFunc(listPolicies)},
		{Pattern: "/okta/policies/explain", Handler: caddy.AdminHandlerFunc(explainPolicies)},
	}
}

// registry knows the policies of the configurations of this process.
type registry struct {
	mu       sync.Mutex
	handlers []registered
}

type registered struct {
	*Handler
	config <-chan struct{} // closed with the configuration; all that derive from its context share it
}

// running is filled and emptied by handlers. During a reload it holds those of two configurations.
var running registry

func (r *registry) add(h *Handler, ctx caddy.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handlers = append(r.handlers, registered{h, ctx.Done()})
}

func (r *registry) remove(h *Handler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handlers = slices.DeleteFunc(r.handlers, func(known registered) bool { return known.Handler == h })
}

// of returns the handlers of one configuration, in the order in which they were loaded.
func (r *registry) of(config caddy.Context) (handlers []*Handler) {
	if config.Context == nil { // none was loaded yet
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, known := range r.handlers {
		if known.config == config.Done() {
			handlers = append(handlers, known.Handler)
		}
	}
	return handlers
}

// shownPolicy is a policy as the admin API shows it.
type shownPolicy struct {
	Name       string   `json:"name"`
	Rules      []Rule   `json:"rules"`
	File       []string `json:"file,omitempty"`
	ReportOnly bool     `json:"report_only,omitempty"`
}

func listPolicies(w http.ResponseWriter, r *http.Request) error {
	if err := allowMethods(w, r, http.MethodGet, http.MethodHead); err != nil {
		return err
	}
	shown := []shownPolicy{}
	for _, h := range running.of(caddy.ActiveContext()) {
		shown = append(shown, shownPolicy{h.compiled.name, append([]Rule{}, h.policy.Rules...), h.File, h.ReportOnly})
	}
	return answerJSON(w, shown)
}

// explainRequest is the body of POST /okta/policies/explain.
type explainRequest struct {
	Policy string `json:"policy,omitempty"`
	scenario
}

func explainPolicies(w http.ResponseWriter, r *http.Request) error {
	if err := allowMethods(w, r, http.MethodPost); err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFileSize))
	if err != nil {
		return refused(http.StatusRequestEntityTooLarge, fmt.Errorf("reading the body: %w", err))
	}
	var asked explainRequest
	if err := decodeFile("body.json", "the body", body, &asked); err != nil {
		return refused(http.StatusBadRequest, err)
	}
	handlers := running.of(caddy.ActiveContext())
	if asked.Policy != "" {
		handlers = slices.DeleteFunc(handlers, func(h *Handler) bool { return h.compiled.name != asked.Policy })
		if len(handlers) == 0 {
			return refused(http.StatusNotFound, fmt.Errorf("no policy is named %q: GET /okta/policies lists them", asked.Policy))
		}
	}
	explanations := []*explanation{}
	now := time.Now()
	for _, h := range handlers {
		e, err := h.explain(&asked.scenario, now)
		if err != nil {
			return refused(http.StatusBadRequest, err)
		}
		explanations = append(explanations, e)
	}
	return answerJSON(w, explanations)
}

// allowMethods refuses others (RFC 9110 §15.5.6).
func allowMethods(w http.ResponseWriter, r *http.Request, methods ...string) error {
	if slices.Contains(methods, r.Method) {
		return nil
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	return refused(http.StatusMethodNotAllowed, fmt.Errorf("method %s is not allowed: use %s", r.Method, methods[0]))
}

func refused(status int, err error) error { return caddy.APIError{HTTPStatus: status, Err: err} }

func answerJSON(w http.ResponseWriter, value any) error {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}

// Interface guards
var (
	_ caddy.AdminRouter = (*Admin)(nil)
)
