package deny

import (
	"fmt"
	"net/http"
	"time"
)

// Reason is why a request was let through or refused. The zero value is a refusal, so that a forgotten assignment
// never reads as success.
type Reason uint8

// The rows of the table.
const (
	NoCredential Reason = iota
	OK
	Anonymous
	Preflight
	MalformedRequest
	CrossOrigin
	TooManyFailures
	MalformedToken
	Algorithm
	WrongIssuer
	UnknownKey
	KeysUnavailable
	BadSignature
	WrongAudience
	Expired
	NotYetValid
	WrongType
	Revoked
	IntrospectionUnavailable
	ProofRequired
	InvalidProof
	NonceRequired
	WrongClient
	InsufficientScope
	StepUpRequired
	IdentityTooLarge
	AmbiguousPath
	PolicyDenied
	PolicyError
	reasons // how many there are
)

// OAuth error codes of RFC 6750 §3.1, RFC 9470 §3, and RFC 9449 §7.1 and §9.
const (
	invalidRequest     = "invalid_request"
	invalidToken       = "invalid_token"
	insufficientScope  = "insufficient_scope"
	insufficientUserAu = "insufficient_user_authentication"
	invalidProof       = "invalid_dpop_proof"
	useNonce           = "use_dpop_nonce"
)

// row is what the world sees of a reason.
type row struct {
	code        string // metric label, audit field, placeholder
	status      int    // HTTP status; 0 for a request that goes on
	challenge   bool   // the answer carries WWW-Authenticate
	oauthError  string // the challenge's error; empty for a bare challenge (RFC 6750 §3.1: no credentials, no error)
	description string // the challenge's error_description: only %x20-21, %x23-5B, %x5D-7E, and never a value of the token
}

var table = [reasons]row{
	OK:        {code: "ok"},
	Anonymous: {code: "anonymous"},
	Preflight: {code: "preflight"},

	NoCredential: {"no_credential", http.StatusUnauthorized, true, "", ""},

	MalformedRequest: {"malformed_request", http.StatusBadRequest, true, invalidRequest, "The request is malformed or carries more than one credential"},

	MalformedToken: {"malformed_token", http.StatusUnauthorized, true, invalidToken, "The access token is malformed"},
	Algorithm:      {"algorithm", http.StatusUnauthorized, true, invalidToken, "The signature algorithm of the access token is not accepted"},
	WrongIssuer:    {"wrong_issuer", http.StatusUnauthorized, true, invalidToken, "The issuer of the access token is not trusted here"},
	UnknownKey:     {"unknown_key", http.StatusUnauthorized, true, invalidToken, "The access token was signed with an unknown key"},
	BadSignature:   {"bad_signature", http.StatusUnauthorized, true, invalidToken, "The signature of the access token is invalid"},
	WrongAudience:  {"wrong_audience", http.StatusUnauthorized, true, invalidToken, "The access token is meant for another audience"},
	Expired:        {"expired", http.StatusUnauthorized, true, invalidToken, "The access token expired"},
	NotYetValid:    {"not_yet_valid", http.StatusUnauthorized, true, invalidToken, "The access token is not valid yet"},
	WrongType:      {"wrong_type", http.StatusUnauthorized, true, invalidToken, "The token is not an access token for this resource"},
	Revoked:        {"revoked", http.StatusUnauthorized, true, invalidToken, "The access token is not active"},
	ProofRequired:  {"proof_required", http.StatusUnauthorized, true, invalidToken, "The access token must be bound to a key that its sender proves to hold"},

	InvalidProof:  {"invalid_proof", http.StatusUnauthorized, true, invalidProof, "The DPoP proof is missing or invalid"},
	NonceRequired: {"nonce_required", http.StatusUnauthorized, true, useNonce, "The DPoP proof needs the nonce of this answer"},

	InsufficientScope: {"insufficient_scope", http.StatusForbidden, true, insufficientScope, "The access token lacks a required scope"},
	StepUpRequired:    {"step_up_required", http.StatusUnauthorized, true, insufficientUserAu, "A stronger or more recent authentication is required"},

	WrongClient:      {"wrong_client", http.StatusForbidden, false, "", "The client is not allowed here"},
	CrossOrigin:      {"cross_origin", http.StatusForbidden, false, "", "The request came from a foreign site"},
	IdentityTooLarge: {"identity_too_large", http.StatusForbidden, false, "", "An identity header would be too large"},
	TooManyFailures:  {"too_many_failures", http.StatusTooManyRequests, false, "", "Too many invalid tokens from this address"},
	PolicyDenied:     {"policy_denied", http.StatusForbidden, false, "", "The policy denies this request"},
	PolicyError:      {"policy_error", http.StatusForbidden, false, "", "The policy could not be evaluated for this request"},
	AmbiguousPath:    {"ambiguous_path", http.StatusBadRequest, false, "", "The path could be read in more than one way"},
	KeysUnavailable:  {"keys_unavailable", http.StatusServiceUnavailable, false, "", "The keys of the issuer are not available"},

	IntrospectionUnavailable: {"introspection_unavailable", http.StatusServiceUnavailable, false, "", "The issuer cannot be asked about the token"},
}

// String returns the reason's code, as metrics, audit lines and placeholders carry it.
func (r Reason) String() string { return table[r].code }

// Status returns the HTTP status that answers r, or 0 when the request goes on.
func (r Reason) Status() int { return table[r].status }

// IsInvalidToken reports whether a token was presented that is no good, or is not the sender's.
func (r Reason) IsInvalidToken() bool {
	return table[r].oauthError == invalidToken || r == InvalidProof
}

// Description returns one sentence for clients and operators. It never holds a value of the request.
func (r Reason) Description() string { return table[r].description }

// All returns every reason, in the order of the table.
func All() []Reason {
	all := make([]Reason, reasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// Because returns a refusal for r. The cause is for the operator (logs at DEBUG, {http.error.message}); it names what
// was wrong but holds no token, no signature and no claim value.
func (r Reason) Because(format string, args ...any) *Refusal {
	return &Refusal{Reason: r, cause: fmt.Errorf(format, args...)}
}

// Refusal is a reason not to serve one request, and what its answer has to say beyond the reason.
type Refusal struct {
	Reason Reason

	// Scopes is what the route needs, for [InsufficientScope].
	Scopes []string

	// ACRValues and MaxAge are what the route needs, for [StepUpRequired]. A zero MaxAge is not mentioned.
	ACRValues []string
	MaxAge    time.Duration

	// Nonce is what the next proof has to carry, for [NonceRequired].
	Nonce string

	// RetryAfter is when to try again, for [KeysUnavailable], [IntrospectionUnavailable] and [TooManyFailures]. Rounded up
	// to whole seconds.
	RetryAfter time.Duration

	cause error
}

// Error returns the code of the reason and its cause.
func (f *Refusal) Error() string {
	if f.cause == nil {
		return f.Reason.String()
	}
	return f.Reason.String() + ": " + f.cause.Error()
}

// Unwrap returns the cause.
func (f *Refusal) Unwrap() error { return f.cause }
