package deny_test

import (
	"errors"
	"io"
	"regexp"
	"slices"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/deny"
)

// answer is what one reason must look like from outside, written down a second time: the table in reason.go can only
// be changed together with this one.
type answer struct {
	code      string
	status    int
	challenge bool
	oauth     string // the challenge's error
}

var answers = map[deny.Reason]answer{
	deny.OK:                {"ok", 0, false, ""},
	deny.Anonymous:         {"anonymous", 0, false, ""},
	deny.Preflight:         {"preflight", 0, false, ""},
	deny.NoCredential:      {"no_credential", 401, true, ""},
	deny.MalformedRequest:  {"malformed_request", 400, true, "invalid_request"},
	deny.MalformedToken:    {"malformed_token", 401, true, "invalid_token"},
	deny.BadSignature:      {"bad_signature", 401, true, "invalid_token"},
	deny.UnknownKey:        {"unknown_key", 401, true, "invalid_token"},
	deny.Algorithm:         {"algorithm", 401, true, "invalid_token"},
	deny.WrongIssuer:       {"wrong_issuer", 401, true, "invalid_token"},
	deny.WrongAudience:     {"wrong_audience", 401, true, "invalid_token"},
	deny.WrongType:         {"wrong_type", 401, true, "invalid_token"},
	deny.Expired:           {"expired", 401, true, "invalid_token"},
	deny.NotYetValid:       {"not_yet_valid", 401, true, "invalid_token"},
	deny.Revoked:           {"revoked", 401, true, "invalid_token"},
	deny.ProofRequired:     {"proof_required", 401, true, "invalid_token"},
	deny.InvalidProof:      {"invalid_proof", 401, true, "invalid_dpop_proof"},
	deny.NonceRequired:     {"nonce_required", 401, true, "use_dpop_nonce"},
	deny.InsufficientScope: {"insufficient_scope", 403, true, "insufficient_scope"},
	deny.StepUpRequired:    {"step_up_required", 401, true, "insufficient_user_authentication"},
	deny.WrongClient:       {"wrong_client", 403, false, ""},
	deny.CrossOrigin:       {"cross_origin", 403, false, ""},
	deny.IdentityTooLarge:  {"identity_too_large", 403, false, ""},
	deny.TooManyFailures:   {"too_many_failures", 429, false, ""},
	deny.PolicyDenied:      {"policy_denied", 403, false, ""},
	deny.PolicyError:       {"policy_error", 403, false, ""},
	deny.AmbiguousPath:     {"ambiguous_path", 400, false, ""},
	deny.KeysUnavailable:   {"keys_unavailable", 503, false, ""},

	deny.IntrospectionUnavailable: {"introspection_unavailable", 503, false, ""},
}

func TestTheTableIsClosedAndComplete(t *testing.T) {
	all := deny.All()
	if len(all) != len(answers) {
		t.Errorf("All() has %d reasons, want %d", len(all), len(answers))
	}
	var codes []string
	for i, reason := range all {
		if int(reason) != i {
			t.Errorf("All()[%d] = %d, want the order of the table", i, reason)
		}
		want, ok := answers[reason]
		if !ok {
			t.Errorf("the reason %q is in no specification", reason)
			continue
		}
		if reason.String() != want.code || reason.Status() != want.status {
			t.Errorf("%d is %q with status %d, want %q with %d", reason, reason, reason.Status(), want.code, want.status)
		}
		if got := reason.IsInvalidToken(); got != (want.oauth == "invalid_token" || want.oauth == "invalid_dpop_proof") {
			t.Errorf("%s: IsInvalidToken() = %t, but its error is %q", reason, got, want.oauth)
		}
		codes = append(codes, reason.String())
	}
	slices.Sort(codes)
	if len(slices.Compact(codes)) != len(all) {
		t.Errorf("a code occurs twice in %v", codes)
	}
}

// Codes are metric labels, log fields and part of the URL of nothing: plain words.
func TestCodesAreWords(t *testing.T) {
	word := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	for _, reason := range deny.All() {
		if !word.MatchString(reason.String()) {
			t.Errorf("the code %q is not words in lower case", reason)
		}
	}
}

func TestDescriptionsCanBeQuoted(t *testing.T) {
	for reason, want := range answers {
		description := reason.Description()
		if described := want.status != 0 && reason != deny.NoCredential; (description != "") != described {
			t.Errorf("%s is described as %q, a description is wanted: %t", reason, description, described)
		}
		if description == "" {
			continue
		}
		if err := deny.CheckQuotable(description, true); err != nil {
			t.Errorf("the description of %s: %v", reason, err)
		}
		if len(description) > 80 {
			t.Errorf("the description of %s has %d characters, want at most 80", reason, len(description))
		}
	}
}

func TestTheZeroReasonIsARefusal(t *testing.T) {
	var reason deny.Reason
	if reason.Status() != 401 {
		t.Errorf("the zero reason %q has the status %d, want 401", reason, reason.Status())
	}
	if refusal := new(deny.Refusal); refusal.Reason.Status() != 401 {
		t.Errorf("the zero refusal has the status %d, want 401", refusal.Reason.Status())
	}
}

func TestARefusalTellsItsCause(t *testing.T) {
	refusal := deny.UnknownKey.Because("asking for %q: %w", "kid", io.ErrUnexpectedEOF)
	if want := `unknown_key: asking for "kid": unexpected EOF`; refusal.Error() != want {
		t.Errorf("Error() = %q, want %q", refusal, want)
	}
	if !errors.Is(refusal, io.ErrUnexpectedEOF) {
		t.Error("the cause cannot be unwrapped")
	}
	bare := &deny.Refusal{Reason: deny.NoCredential}
	if bare.Error() != "no_credential" || bare.Unwrap() != nil {
		t.Errorf("a refusal without a cause says %q and unwraps to %v", bare, bare.Unwrap())
	}
}
