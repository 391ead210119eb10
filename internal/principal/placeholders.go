package principal

import (
	"strings"

	"github.com/caddy-okta/caddy-okta/internal/jwt"
)

// placeholder resolves, only when one is used. Where okta_auth found nobody, all are empty but the claims, which are
// unknown, as one that a token lacks: a policy that reads one must not take it for a value.
//
//   - {http.auth.user.id}: the subject; Caddy's access log reads it too
//   - {http.auth.user.<claim>}: a claim by its dotted path, as text
//   - {http.auth.okta.issuer}, …client_id, …scopes (joined by a space), …groups (joined by a comma)
//   - {http.auth.okta.reason}, …error_description: of the refusal, else ok, anonymous or preflight
//   - {http.policy.name}, …rule, …decision: of the last cel_policy
func (c *Caller) placeholder(key string) (any, bool) {
	if claim, ok := strings.CutPrefix(key, "http.auth.user."); ok {
		return c.userPlaceholder(claim)
	}
	switch key {
	case "http.auth.okta.reason":
		return c.Reason().String(), c.Judged || c.Refusal != nil
	case "http.auth.okta.error_description":
		return c.Reason().Description(), true
	case "http.policy.name":
		return c.Policy.Policy, c.Policy.Policy != ""
	case "http.policy.rule":
		return c.Policy.Rule, c.Policy.Policy != ""
	case "http.policy.decision":
		return c.Policy.Result, c.Policy.Policy != ""
	}
	id := c.Identity
	if id == nil {
		id = nobody
	}
	switch key {
	case "http.auth.okta.issuer":
		return id.Issuer, c.Judged
	case "http.auth.okta.client_id":
		return id.ClientID, c.Judged
	case "http.auth.okta.scopes":
		return strings.Join(id.Scopes, " "), c.Judged
	case "http.auth.okta.groups":
		return strings.Join(id.Groups, ","), c.Judged
	}
	return nil, false
}

// nobody is an identity that says nothing.
var nobody = new(jwt.Claims)

func (c *Caller) userPlaceholder(claim string) (any, bool) {
	if claim == "id" {
		if c.Identity == nil {
			return "", c.Judged
		}
		return c.Identity.Subject, true
	}
	if c.Identity == nil {
		return nil, false
	}
	value, ok := Claim(c.Identity, claim)
	if !ok {
		return nil, false
	}
	if list, ok := value.([]string); ok {
		return strings.Join(list, ","), true
	}
	return Text(value), true
}
