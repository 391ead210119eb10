package oktaauth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-okta/caddy-okta/internal/cache"
	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/dpop"
	"github.com/caddy-okta/caddy-okta/internal/principal"
	"github.com/caddy-okta/caddy-okta/internal/telemetry"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler validates the access token of each request, removes it, and sets identity headers for the backend. Several
// handlers in the way of one request each apply their own checks; a later one judges the credential that an earlier
// one removed.
//
// Placeholders: {http.auth.user.id}, {http.auth.user.<claim path>}, {http.auth.okta.issuer}, {http.auth.okta.client_id},
// {http.auth.okta.scopes}, {http.auth.okta.groups}, {http.auth.okta.reason}, {http.auth.okta.error_description}.
type Handler struct {
	// Issuers names issuers of the okta app. With several, the token's "iss" chooses, exactly; keys are never pooled.
	// Two issuers with one URL cannot stand together. Either this or issuer is required.
	Issuers []string `json:"issuers,omitempty"`

	// Issuer declares one issuer in place. Equal declarations share keys and caches.
	Issuer *Issuer `json:"issuer,omitempty"`

	// Matchers limits authentication to the requests that match. Other requests go on without an identity, but what
	// a client wrote into identity headers is removed from them too. Default: all requests.
	Matchers caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	// Audience narrows the issuers' audiences: "aud" must hold one of these as well. Each must be an audience of one
	// of the issuers. Default: the issuers' audiences.
	Audience []string `json:"audience,omitempty"`

	// ClientID narrows the accepted clients; others are answered 403. Default: the clients that the issuer accepts.
	ClientID []string `json:"client_id,omitempty"`

	// Scopes are all required, else 403 insufficient_scope. Default: none.
	Scopes []string `json:"scopes,omitempty"`

	// ACRValues are the acceptable values of "acr"; without one of them the answer is a step-up challenge (RFC 9470).
	// Default: any.
	ACRValues []string `json:"acr_values,omitempty"`

	// MaxAge is how long ago the user may have authenticated ("auth_time"), plus the issuer's clock skew; else the
	// answer is a step-up challenge. Whole seconds. Default: any time ago.
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	// Token is where the token is looked for; nowhere else is. Default: the header Authorization, scheme Bearer.
	Token *TokenSource `json:"token,omitempty"`

	// Optional lets requests without a token go on as anonymous. A bad token is refused all the same.
	Optional bool `json:"optional,omitempty"`

	// CORSPreflight "pass" lets genuine CORS preflights go on, without identity and cookies. Default: they need a
	// token as every request, which browsers cannot send.
	CORSPreflight string `json:"cors_preflight,omitempty"`

	// Realm is the realm of challenges. Default: okta.
	Realm string `json:"realm,omitempty"`

	// Headers are the identity headers that the backend gets. Null: X-User-ID, X-User-Scopes, X-User-Groups,
	// X-User-Email and X-Client-ID. With several issuers X-User-Issuer is sent in any case. An empty list: none, and
	// nothing is removed either.
	Headers []IdentityHeader `json:"headers,omitzero"`

	// KeepToken leaves the token in the request for the next handler. A DPoP proof is removed all the same: it is used up.
	KeepToken bool `json:"keep_token,omitempty"`

	// DPoP is what happens to tokens that are bound to a key of their sender (RFC 9449). Default: they pass with a valid
	// proof, sent as "Authorization: DPoP", and only so.
	DPoP *DPoP `json:"dpop,omitempty"`

	// MTLSBound is what happens to tokens that are bound to a client certificate (RFC 8705): "accept", they pass over a
	// connection with that certificate, and only so; "require", tokens that are not bound do not pass; "off", bound tokens
	// do not pass. Caddy asks for certificates where client_auth of its tls directive says so. Default: accept.
	MTLSBound string `json:"mtls_bound,omitempty"`

	// Introspect is which tokens the issuer is asked about (RFC 7662): "opaque", those that cannot be verified here;
	// "always", every token, also after its signature was found good, so that revoked ones are refused; "off", none.
	// Default: opaque when an issuer of the route has introspection, else off.
	Introspect string `json:"introspect,omitempty"`

	// Resource is the identifier of the protected resource, a URL. Challenges then name its metadata (RFC 9728 §5.1), which
	// okta_resource_metadata serves. Default: they name none.
	Resource string `json:"resource,omitempty"`

	// ExternalURL is what clients see before the path, such as https://api.example.com. DPoP proofs name the URL that the
	// client called. Default: as Caddy received the request, or as trusted proxies tell by X-Forwarded-Proto and
	// X-Forwarded-Host.
	ExternalURL string `json:"external_url,omitempty"`

	matchers   caddyhttp.MatcherSets
	tokens     *cache.Texts
	proofs     *proofs
	guard      *Guard
	routes     []*route
	opaque     *route // whose issuer is asked about opaque tokens; nil for none
	source     *source
	dpop       dpopRules
	headers    *headers
	challenges struct{ bearer, dpop *deny.Challenge } // by the scheme that a request tried
	counters   telemetry.AuthCounters                 // before an issuer was chosen
	audit      *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.okta_auth", New: func() caddy.Module { return new(Handler) }}
}

// Provision finds the issuers and prepares everything that requests share.
func (h *Handler) Provision(ctx caddy.Context) error {
	module, err := ctx.App("okta")
	if err != nil {
		return err
	}
	app := module.(*App)
	h.tokens, h.proofs, h.guard = app.tokens.Value, app.proofs.Value, app.Guard
	h.audit = ctx.Logger().Named("audit")
	if err := telemetry.Register(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	issuers, err := h.issuers(app)
	if err != nil {
		return err
	}
	if err := h.prepare(issuers); err != nil {
		return err
	}
	h.warn(ctx.Logger())
	if h.Resource != "" {
		if err := app.protect(h); err != nil {
			return err
		}
	}
	h.count()
	if h.Matchers == nil {
		return nil
	}
	sets, err := ctx.LoadModule(h, "Matchers")
	if err != nil {
		return fmt.Errorf("match: %w", err)
	}
	if err := h.matchers.FromInterface(sets); err != nil {
		return fmt.Errorf("match: %w", err)
	}
	return nil
}

// warn tells of credentials in Caddy's own logs: it copies requests into its log lines before any handler can change them,
// and redacts Authorization and cookies only.
func (h *Handler) warn(log *zap.Logger) {
	header := h.source.header
	switch {
	case h.source.unredacted():
	case h.source.dpop && h.dpop.mode == ProofRequire:
		header = "DPoP"
	default:
		return
	}
	log.Warn("Caddy does not redact this header in its logs, so credentials will be written there: add a log filter, "+
		"as the README shows under access log", zap.String("header", header))
}

// count finds the counters of the handler's judgements.
func (h *Handler) count() {
	h.counters = telemetry.NewAuthCounters("")
	for _, rt := range h.routes {
		rt.counters = telemetry.NewAuthCounters(rt.URL)
	}
}

// Check reports the first mistake that shows without files, environment and network, given the issuers of the app. It
// changes nothing: it is for adapters, which can name file and line.
func (h *Handler) Check(issuers map[string]*Issuer) error {
	app := &App{Issuers: make(map[string]*Issuer, len(issuers))}
	for name, i := range issuers {
		trial := *i
		app.Issuers[name] = &trial
	}
	trial := *h
	if h.Issuer != nil {
		issuer := *h.Issuer
		if err := issuer.Check(); err != nil {
			return err
		}
		return trial.prepare([]*Issuer{&issuer})
	}
	named, err := trial.issuers(app)
	if err != nil {
		return err
	}
	return trial.prepare(named)
}

// prepare checks the settings and combines them with the issuers. What it needs of those is in their configuration.
func (h *Handler) prepare(issuers []*Issuer) (err error) {
	if h.CORSPreflight != "" && h.CORSPreflight != "pass" {
		return fmt.Errorf("cors_preflight %q is unknown: write pass, or leave it out", h.CORSPreflight)
	}
	if h.dpop, err = h.DPoP.provision(); err != nil {
		return err
	}
	if h.MTLSBound, err = proofMode("mtls_bound", h.MTLSBound); err != nil {
		return err
	}
	if err := checkExternalURL(h.ExternalURL); err != nil {
		return err
	}
	if err := h.provisionSource(); err != nil {
		return err
	}
	if h.headers, err = newHeaders(h.Headers, len(issuers) > 1); err != nil {
		return err
	}
	if h.headers.names(h.source.header) {
		return fmt.Errorf("token: %s is an identity header, which every request loses: take the token from another one", h.source.header)
	}
	if err := h.provisionRoutes(issuers); err != nil {
		return err
	}
	if err := h.provisionIntrospection(); err != nil {
		return err
	}
	return h.provisionChallenges()
}

// provisionChallenges words the refusals of the route.
func (h *Handler) provisionChallenges() error {
	if h.Realm == "" {
		h.Realm = deny.DefaultRealm
	}
	if err := deny.CheckQuotable(h.Realm, true); err != nil {
		return fmt.Errorf("realm: %w", err)
	}
	if strings.Contains(h.Realm, "{") {
		return fmt.Errorf("realm %s: placeholders are not replaced on a route: write {$NAME} in a Caddyfile, or the value itself", h.Realm)
	}
	challenge := &deny.Challenge{Realm: h.Realm}
	if h.source.dpop {
		challenge.DPoP = strings.Join(dpop.Algorithms, " ")
		challenge.NoBearer = h.dpop.mode == ProofRequire
	}
	if h.Resource != "" {
		metadata, err := metadataURL(h.Resource)
		if err != nil {
			return fmt.Errorf("resource: %w", err)
		}
		challenge.ResourceMetadata = metadata.String()
	}
	h.challenges.bearer, h.challenges.dpop = challenge, challenge.ForDPoP()
	return nil
}

// issuers returns the issuers of the route, named or in place.
func (h *Handler) issuers(app *App) ([]*Issuer, error) {
	switch {
	case h.Issuer != nil && len(h.Issuers) > 0:
		return nil, errors.New("issuer and issuers exclude each other: name issuers, or declare one in place")
	case h.Issuer != nil:
		if err := app.adopt(h.Issuer); err != nil {
			return nil, err
		}
		return []*Issuer{h.Issuer}, nil
	case len(h.Issuers) > 0:
		return app.named(h.Issuers)
	}
	return nil, errors.New("an issuer is required: name one of the global okta option, or write its URL and audience")
}

// ServeHTTP lets a request with a valid token go on.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	caller := principal.Of(r)
	h.headers.remove(r, caller)
	if len(h.matchers) > 0 {
		match, err := h.matchers.AnyMatchWithError(r)
		if err != nil {
			return err
		}
		if !match {
			return next.ServeHTTP(w, r)
		}
	}
	if caller == nil {
		caller = principal.Attach(r)
	}
	h.judge(r, caller)
	if caller.Refusal != nil {
		return caller.Challenge.Respond(w, caller.Refusal)
	}
	err := next.ServeHTTP(w, r)
	if err != nil && caller.Refusal != nil && errors.Is(err, caller.Refusal) { // a matcher refuses, and cannot answer
		return caller.Challenge.Respond(w, caller.Refusal)
	}
	return err
}

// judge decides about the request, and reports the decision. Afterwards caller says who it is, or why not.
func (h *Handler) judge(r *http.Request, caller *principal.Caller) {
	caller.Judged = true
	caller.Challenge = h.challenges.bearer
	at := attempt{started: time.Now()}
	if caller.Refusal = h.guard.judge(r, h.admit(r, caller, &at), at.started); caller.Refusal != nil {
		disown(r, caller)
	}
	h.observe(r, caller, &at)
}

// attempt is how far the judgement of one request came.
type attempt struct {
	started      time.Time
	route        *route    // the issuer that was chosen; nil before
	verified     *verified // the token, once its signature was good; nil before
	introspected *verified // the issuer's answer about a token whose signature was good; nil when it was not asked
	cache        telemetry.Cache
}

// admit decides about the request, and gives it the identity of its caller. A refused request loses its credential even
// where it is to be kept: whoever renders error pages is not the backend that the token is for.
func (h *Handler) admit(r *http.Request, caller *principal.Caller, at *attempt) *deny.Refusal {
	cred, refusal := h.source.take(r, caller)
	if h.source.dpop {
		delete(r.Header, "Dpop")
	}
	if refusal == nil && cred == nil {
		return h.admitWithout(r, caller)
	}
	if cred != nil && cred.DPoP {
		caller.Challenge = h.challenges.dpop
	}
	if refusal == nil {
		refusal = h.authenticate(r, cred, at)
	}
	var values []string
	if refusal == nil {
		values, refusal = h.headers.values(at.verified.identity)
	}
	if refusal != nil || !h.KeepToken {
		h.source.remove(r)
	}
	if refusal != nil {
		return refusal
	}
	h.headers.set(r, caller, at.verified.identity, values) // where the credential was is room: the map seldom has to grow
	caller.Identity, caller.Preflight, caller.ClockSkew = at.verified.identity, false, at.route.skew
	return nil
}

// observe reports the judgement, once.
func (h *Handler) observe(r *http.Request, caller *principal.Caller, at *attempt) {
	reason := caller.Reason()
	telemetry.AccessLog(r, "auth_reason", reason.String())
	if reason == deny.OK && at.verified == nil { // another okta_auth knows the caller, by another credential
		reason = deny.Anonymous
	}
	counters := h.counters
	if at.route != nil {
		counters = at.route.counters
	}
	counters.Observe(reason, at.cache, time.Since(at.started))
	record := telemetry.Record{Decision: "allow", Reason: reason.String(), Started: at.started}
	if caller.Refusal != nil {
		record.Decision, record.Refused = "deny", true
	}
	if at.verified != nil {
		record.Claims = at.verified.identity
	}
	record.Audit(h.audit, r)
}

// admitWithout decides about a request that carries no credential.
func (h *Handler) admitWithout(r *http.Request, caller *principal.Caller) *deny.Refusal {
	if h.CORSPreflight == "pass" && len(caller.Taken) == 0 && isPreflight(r) {
		r.Header.Del("Cookie")
		caller.Preflight = true
		return nil
	}
	if h.Optional {
		return nil
	}
	return deny.NoCredential.Because("no access token in the %s", h.source.name)
}

// isPreflight tells a genuine CORS preflight (Fetch §4.8): a browser sends it without a body and without credentials.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions &&
		r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != "" &&
		r.ContentLength == 0 && len(r.TransferEncoding) == 0 &&
		r.Header.Get("Authorization") == ""
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
