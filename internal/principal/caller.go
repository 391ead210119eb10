package principal

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/dpop"
	"github.com/caddy-okta/caddy-okta/internal/jwt"
)

// Caller is what is known of the sender of one request. It belongs to that request alone.
type Caller struct {
	// Judged is true once okta_auth ran; before that nothing is known, not even that the caller is anonymous.
	Judged bool

	// Identity is who was verified; nil is anonymous.
	Identity *jwt.Claims

	// Preflight is true for a CORS preflight that was let through without an identity.
	Preflight bool

	// ClockSkew is the tolerance for times of the identity, as its issuer was configured.
	ClockSkew time.Duration

	// Challenge words refusals on the route, also those of the policy.
	Challenge *deny.Challenge

	// Refusal is the last refusal of okta_auth or cel_policy, nil while there is none.
	Refusal *deny.Refusal

	// Policy is the last decision of cel_policy, for placeholders and the access log.
	Policy Decision

	// Taken are the credentials that were found in the request, one of each source. A later okta_auth judges them
	// again, also those that were removed; nothing else may read them.
	Taken []*Credential

	// Owned are the names of the identity headers that okta_auth has set on the request, in canonical form.
	Owned []string
}

// Credential is what a request brought to prove who sends it.
type Credential struct {
	Source string // where it was found: a header with its scheme, or a cookie
	Token  string
	DPoP   bool        // it came with the scheme DPoP (RFC 9449 §7.1)
	Proofs []string    // the DPoP header
	Proven *dpop.Proof // once the proof was found good; it is used up then
}

// Decision is what a policy said, in the words of metrics, audit lines and placeholders.
type Decision struct {
	Policy string // the policy's name
	Rule   string // the rule that decided; empty when none applied
	Result string // allow, deny, step_up, error, or would_… in report-only mode
}

// String keeps {http.vars.*} from printing a caller, whose credential is nobody's to read.
func (*Caller) String() string { return "redacted" }

// GoString does the same for %#v.
func (*Caller) GoString() string { return "redacted" }

// MarshalText does the same for JSON, in which logs and templates write request variables.
func (*Caller) MarshalText() ([]byte, error) { return []byte("redacted"), nil }

// varKey is the request variable that holds the *Caller.
const varKey = "caddy_okta.caller"

// Of returns the caller that okta_auth attached to r, or nil when none ran.
func Of(r *http.Request) *Caller {
	c, _ := caddyhttp.GetVar(r.Context(), varKey).(*Caller)
	return c
}

// Ensure returns the caller of r, and attaches an anonymous one where there is none yet.
func Ensure(r *http.Request) *Caller {
	if c := Of(r); c != nil {
		return c
	}
	return Attach(r)
}

// Attach gives r an anonymous caller, and the placeholders that describe it.
func Attach(r *http.Request) *Caller {
	c := &Caller{Challenge: deny.Default}
	caddyhttp.SetVar(r.Context(), varKey, c)
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(c.placeholder)
	}
	return c
}

// Reason returns what became of the request so far.
func (c *Caller) Reason() deny.Reason {
	if c.Refusal != nil {
		return c.Refusal.Reason
	}
	return c.Success()
}

// Success returns as whom the request goes on.
func (c *Caller) Success() deny.Reason {
	switch {
	case c.Identity != nil:
		return deny.OK
	case c.Preflight:
		return deny.Preflight
	}
	return deny.Anonymous
}
