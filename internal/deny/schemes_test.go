package deny_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-okta/caddy-okta/internal/deny"
)

// Which schemes a challenge offers, and under which of them it tells the error, depends on what the route accepts, on what
// the request tried, and on the reason.
func TestRespondOffersTheSchemesThatWouldHelp(t *testing.T) {
	both := &deny.Challenge{Realm: "okta", DPoP: "ES256 RS256"}
	required := &deny.Challenge{Realm: "okta", DPoP: "ES256 RS256", NoBearer: true}
	const (
		bearer      = `Bearer realm="okta"`
		dpop        = `DPoP realm="okta", algs="ES256 RS256"`
		bearerError = `Bearer realm="okta", error="ERROR", error_description="DESCRIPTION"`
		dpopError   = `DPoP realm="okta", error="ERROR", error_description="DESCRIPTION", algs="ES256 RS256"`
	)
	for name, test := range map[string]struct {
		challenge *deny.Challenge
		reasons   []deny.Reason
		want      []string
	}{
		"nothing was tried": { // 9449-40: Bearer first
			both, []deny.Reason{deny.NoCredential}, []string{bearer, dpop},
		},
		"Bearer was tried": { // 9449-41: DPoP would not help
			both, []deny.Reason{deny.Expired, deny.MalformedRequest, deny.InsufficientScope, deny.StepUpRequired, deny.Revoked}, []string{bearerError},
		},
		"Bearer was tried, DPoP is the way out": { // 9449-32, RFC 9449 §7.2
			both, []deny.Reason{deny.ProofRequired}, []string{bearerError, dpop},
		},
		"DPoP was tried": { // 9449-38, 9449-41, 9470-09
			both.ForDPoP(), []deny.Reason{
				deny.Expired, deny.MalformedRequest, deny.InsufficientScope, deny.StepUpRequired, deny.ProofRequired, deny.InvalidProof, deny.NonceRequired,
			}, []string{dpopError},
		},
		"DPoP was tried, a policy wants a credential": {both.ForDPoP(), []deny.Reason{deny.NoCredential}, []string{bearer, dpop}},
		"a proof is wrong, whatever was tried":        {both, []deny.Reason{deny.InvalidProof, deny.NonceRequired}, []string{dpopError}},
		"Bearer is not accepted": { // 9449-35
			required, []deny.Reason{deny.NoCredential}, []string{dpop},
		},
		"Bearer is not accepted, and was tried": {required, []deny.Reason{deny.ProofRequired, deny.Expired}, []string{dpopError}},
		"only DPoP is accepted, and was tried":  {required.ForDPoP(), []deny.Reason{deny.InvalidProof, deny.Expired}, []string{dpopError}},
		"DPoP is not accepted":                  {deny.Default, []deny.Reason{deny.ProofRequired, deny.Expired}, []string{bearerError}},
		"DPoP is not accepted, nothing tried":   {deny.Default, []deny.Reason{deny.NoCredential}, []string{bearer}},
		"DPoP was tried and is not accepted":    {deny.Default.ForDPoP(), []deny.Reason{deny.ProofRequired, deny.Expired, deny.InvalidProof}, []string{bearerError}},
	} {
		for _, reason := range test.reasons {
			t.Run(fmt.Sprintf("%s, %s", name, reason), func(t *testing.T) {
				header, _ := respond(test.challenge, reason.Because("some cause"))
				want := slices.Clone(test.want)
				for i := range want {
					want[i] = strings.NewReplacer("ERROR", answers[reason].oauth, "DESCRIPTION", reason.Description()).Replace(want[i])
				}
				got := header.Values("WWW-Authenticate")
				if !slices.Equal(got, want) {
					t.Errorf("WWW-Authenticate: %q\nwant              %q", got, want)
				}
				for _, line := range got {
					if _, err := readChallenge(strings.Fields(line)[0], line); err != nil {
						t.Errorf("%s: %v", line, err)
					}
				}
			})
		}
	}
}

// 9728-18: beside every other parameter, under each scheme.
func TestChallengesNameTheResourceMetadata(t *testing.T) {
	const at = "https://api.example.com/.well-known/oauth-protected-resource/orders?a=b"
	c := &deny.Challenge{Realm: "okta", DPoP: "ES256", ResourceMetadata: at}
	for name, test := range map[string]struct {
		challenge *deny.Challenge
		refusal   deny.Refusal
		want      []string
	}{
		"without an error": {c, deny.Refusal{Reason: deny.NoCredential}, []string{
			`Bearer realm="okta", resource_metadata="` + at + `"`,
			`DPoP realm="okta", resource_metadata="` + at + `", algs="ES256"`,
		}},
		"with all that a refusal can say": {
			c.ForDPoP(), deny.Refusal{Reason: deny.StepUpRequired, Scopes: []string{"a", "b"}, ACRValues: []string{"phr"}, MaxAge: 60e9},
			[]string{`DPoP realm="okta", error="insufficient_user_authentication", error_description="A stronger or more recent authentication is required", ` +
				`scope="a b", acr_values="phr", max_age="60", resource_metadata="` + at + `", algs="ES256"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			header, _ := respond(test.challenge, &test.refusal)
			if got := header.Values("WWW-Authenticate"); !slices.Equal(got, test.want) {
				t.Errorf("WWW-Authenticate: %q\nwant              %q", got, test.want)
			}
		})
	}
}

// What one request tried says nothing about the next.
func TestForDPoPLeavesTheChallengeAlone(t *testing.T) {
	c := &deny.Challenge{Realm: "orders", DPoP: "ES256", ResourceMetadata: "https://api.example.com/x"}
	if c.ForDPoP() == c {
		t.Fatal("ForDPoP returns the same challenge")
	}
	header, _ := respond(c, deny.Expired.Because("late"))
	if got := header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer ") {
		t.Errorf("WWW-Authenticate: %s, want a Bearer challenge", got)
	}
}

// 9449-26: the nonce travels beside the challenge, under the name that RFC 9449 §8 writes.
func TestRespondGivesOutTheNonce(t *testing.T) {
	c := (&deny.Challenge{Realm: "okta", DPoP: "ES256"}).ForDPoP()
	refusal := deny.NonceRequired.Because("none")
	refusal.Nonce = "eyJ7S_zG"
	w := httptest.NewRecorder()
	var answer caddyhttp.HandlerError
	if !errors.As(c.Respond(w, refusal), &answer) || answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d, want 401", answer.StatusCode)
	}
	if got := w.Header().Values("DPoP-Nonce"); !slices.Equal(got, []string{"eyJ7S_zG"}) || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("the header is %v, want the nonce and no-store", w.Header())
	}
	if header, _ := respond(c, deny.InvalidProof.Because("bad")); len(header.Values("DPoP-Nonce")) > 0 {
		t.Errorf("DPoP-Nonce: %q, want none", header.Values("DPoP-Nonce"))
	}
}
