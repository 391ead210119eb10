package oktaauth

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/telemetry"
)

// route is one issuer as one handler accepts it: the issuer's rules and the handler's together.
type route struct {
	*Issuer
	handler  *Handler
	allowed  []check // what the handler demands of a caller with a valid token
	counters telemetry.AuthCounters
}

// check judges one thing about a verified token. It runs on every request.
type check struct {
	name  string // for `caddy okta verify`
	judge func(rt *route, v *verified, now time.Time) *deny.Refusal
}

// provisionRoutes combines the handler with each of its issuers.
func (h *Handler) provisionRoutes(issuers []*Issuer) error {
	if h.MaxAge < 0 || time.Duration(h.MaxAge)%time.Second != 0 {
		return fmt.Errorf("max_age %s must be positive and in whole seconds: write for example 15m", time.Duration(h.MaxAge))
	}
	for _, option := range []struct {
		name   string
		values []string
		quoted bool // in challenges
	}{{"audience", h.Audience, false}, {"client_id", h.ClientID, false}, {"scopes", h.Scopes, true}, {"acr_values", h.ACRValues, true}} {
		for _, value := range option.values {
			if value == "" {
				return fmt.Errorf("%s must not be empty: write a value, or leave the option out", option.name)
			}
			if strings.Contains(value, "{env.") {
				return fmt.Errorf("%s %s: placeholders are not replaced on a route: write {$NAME} in a Caddyfile, or the value itself", option.name, value)
			}
			if err := deny.CheckQuotable(value, false); err != nil && option.quoted {
				return fmt.Errorf("%s: %w", option.name, err)
			}
		}
	}
	var audiences []string
	for _, i := range issuers {
		if slices.ContainsFunc(h.routes, func(rt *route) bool { return rt.URL == i.URL && !i.hasPlaceholders() }) {
			return fmt.Errorf("two of the issuers have the URL %s: a token could not choose between them", i.URL)
		}
		if len(h.Audience) > 0 && !intersects(h.Audience, i.Audience) && !i.hasPlaceholders() {
			return fmt.Errorf("audience %s: none of them is an audience of issuer %s, so none of its tokens could pass: it has %s",
				strings.Join(h.Audience, " "), i.URL, strings.Join(i.Audience, " "))
		}
		audiences = append(audiences, i.Audience...)
		h.routes = append(h.routes, &route{Issuer: i, handler: h, allowed: demands(h, i)})
	}
	for _, audience := range h.Audience {
		if !slices.Contains(audiences, audience) && !slices.ContainsFunc(issuers, (*Issuer).hasPlaceholders) {
			return fmt.Errorf("audience %s is not one of the issuer's: it has %s", audience, strings.Join(audiences, " "))
		}
	}
	return nil
}

// valid is what makes a token valid for an issuer and a route, in the order of the checks.
var valid = []check{
	{"kind of token", checkType},
	{"required claims", checkRequired},
	{"audience", checkAudience},
	{"times", checkTimes},
}

// demands lists what the caller of a valid token must meet, in this order. What is not configured is not in the list.
func demands(h *Handler, i *Issuer) (checks []check) {
	if len(i.ClientID) > 0 || len(h.ClientID) > 0 {
		checks = append(checks, check{"client", checkClient})
	}
	if len(h.Scopes) > 0 {
		checks = append(checks, check{"scopes", checkScopes})
	}
	if len(h.ACRValues) > 0 || h.MaxAge > 0 {
		checks = append(checks, check{"step-up", checkStepUp})
	}
	return checks
}

// checkType refuses every kind of token that is not an access token, also when the same keys signed it (RFC 8725
// §3.11, RFC 9068 §4). Okta's own access tokens carry no typ.
func checkType(rt *route, v *verified, _ time.Time) *deny.Refusal {
	switch typ := mediaType(v.Type); {
	case v.introspected && (typ == "" || typ == "bearer" || typ == "dpop") && !strings.HasPrefix(v.identity.ID, "ID."):
	case v.introspected: // ID tokens and refresh tokens are active too (OKTA)
		return deny.WrongType.Because("the answer is not about an access token")
	case typ == "at+jwt":
	case rt.Profile == ProfileOkta && (v.Type == "" || typ == "jwt"):
	default:
		return deny.WrongType.Because("typ is not that of an access token")
	}
	if v.identity.Foreign != "" {
		return deny.WrongType.Because("access tokens carry no %s", v.identity.Foreign)
	}
	return nil
}

// mediaType returns a typ in lower case and without its optional prefix (RFC 7515 §4.1.9).
func mediaType(typ string) string {
	typ = strings.ToLower(typ)
	if rest, ok := strings.CutPrefix(typ, "application/"); ok && !strings.Contains(rest, "/") {
		return rest
	}
	return typ
}

// checkRequired refuses tokens that lack what their profile requires (OKTA; RFC 9068 §2.2). The answer about a refresh
// token has neither iss nor aud nor jti (OKTA).
func checkRequired(rt *route, v *verified, _ time.Time) *deny.Refusal {
	c := v.identity
	var missing string
	switch {
	case c.Issuer == "":
		missing = "iss"
	case c.Audience == nil:
		missing = "aud"
	case c.ExpiresAt.IsZero():
		missing = "exp"
	case c.IssuedAt.IsZero() && !v.introspected:
		missing = "iat"
	case c.Subject == "":
		missing = "sub"
	case c.ClientID == "":
		missing = "cid"
	case v.introspected && c.ID == "":
		missing = "jti"
	case v.introspected:
		return nil
	case rt.Profile == ProfileRFC9068 && !c.Has("client_id"): // cid does not stand in for it
		missing = "client_id"
	case rt.Profile == ProfileRFC9068 && c.ID == "":
		missing = "jti"
	default:
		return nil
	}
	return deny.MalformedToken.Because("the claim %s is missing", missing)
}

func checkAudience(rt *route, v *verified, _ time.Time) *deny.Refusal {
	if !intersects(rt.Audience, v.identity.Audience) {
		return deny.WrongAudience.Because("aud names none of the issuer's audiences")
	}
	if narrowed := rt.handler.Audience; len(narrowed) > 0 && !intersects(narrowed, v.identity.Audience) {
		return deny.WrongAudience.Because("aud names none of the route's audiences")
	}
	return nil
}

// checkTimes compares exp, nbf and iat with the clock (RFC 7519 §4.1.4 to .6), and the lifetime with its limit.
func checkTimes(rt *route, v *verified, now time.Time) *deny.Refusal {
	c := v.identity
	switch {
	case !now.Before(c.ExpiresAt.Add(rt.skew)):
		return deny.Expired.Because("exp has passed")
	case c.NotBefore.After(now.Add(rt.skew)):
		return deny.NotYetValid.Because("nbf has not come")
	case c.IssuedAt.After(now.Add(rt.skew)):
		return deny.NotYetValid.Because("iat has not come")
	case rt.MaxLifetime > 0 && c.ExpiresAt.Sub(c.IssuedAt) > time.Duration(rt.MaxLifetime):
		return deny.Expired.Because("the token was issued for longer than %s", time.Duration(rt.MaxLifetime))
	}
	return nil
}

func checkClient(rt *route, v *verified, _ time.Time) *deny.Refusal {
	for _, allowed := range [][]string{rt.ClientID, rt.handler.ClientID} {
		if len(allowed) > 0 && !slices.Contains(allowed, v.identity.ClientID) {
			return deny.WrongClient.Because("the client is not on the list")
		}
	}
	return nil
}

// checkScopes wants all scopes of the route, compared exactly (RFC 6749 §3.3).
func checkScopes(rt *route, v *verified, _ time.Time) *deny.Refusal {
	for _, scope := range rt.handler.Scopes {
		if !slices.Contains(v.identity.Scopes, scope) {
			refusal := deny.InsufficientScope.Because("scope %s is missing", scope)
			refusal.Scopes = rt.handler.Scopes
			return refusal
		}
	}
	return nil
}

// checkStepUp wants a strong and recent authentication of the user (RFC 9470). A service cannot authenticate again:
// a challenge would only send it round in circles.
func checkStepUp(rt *route, v *verified, now time.Time) *deny.Refusal {
	h := rt.handler
	if v.identity.MeetsStepUp(h.ACRValues, time.Duration(h.MaxAge), rt.skew, now) {
		return nil
	}
	if v.identity.IsService() {
		return deny.PolicyDenied.Because("a service cannot step up")
	}
	refusal := deny.StepUpRequired.Because("acr or auth_time is not enough")
	refusal.ACRValues, refusal.MaxAge = h.ACRValues, time.Duration(h.MaxAge)
	return refusal
}

func intersects(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}
