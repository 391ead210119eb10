package principal

import "strings"

// placeholder resolves, only when one is used:
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
	if c.Identity == nil {
		return nil, false
	}
	switch key {
	case "http.auth.okta.issuer":
		return c.Identity.Issuer, true
	case "http.auth.okta.client_id":
		return c.Identity.ClientID, true
	case "http.auth.okta.scopes":
		return strings.Join(c.Identity.Scopes, " "), true
	case "http.auth.okta.groups":
		return strings.Join(c.Identity.Groups, ","), true
	}
	return nil, false
}

func (c *Caller) userPlaceholder(claim string) (any, bool) {
	if c.Identity == nil {
		return nil, false
	}
	if claim == "id" {
		return c.Identity.Subject, true
	}
	value, ok := Claim(c.Identity.Raw, claim)
	if !ok {
		return nil, false
	}
	if list, ok := TextList(value); ok {
		return strings.Join(list, ","), true
	}
	return Text(value), true
}
