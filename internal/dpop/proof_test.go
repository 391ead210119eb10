package dpop

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/jwt"
)

// A proof may be signed with whatever a token may be signed with, and that is what can be verified.
func TestAlgorithmsAreThoseOfTokens(t *testing.T) {
	if ours, theirs := slices.Sorted(slices.Values(Algorithms)), slices.Sorted(slices.Values(jwt.Algorithms)); !slices.Equal(ours, theirs) {
		t.Errorf("the algorithms are %v, those of tokens %v", ours, theirs)
	}
}

// 9449-04
func TestParseRefusesProofsThatAreTooLong(t *testing.T) {
	c := newClient(t)
	empty := len(c.sign(t, c.header(""), claims("")))
	fitting := (jwt.MaxProofSize - empty) * 3 / 4
	text := c.sign(t, c.header(""), claims(strings.Repeat("j", fitting-2)))
	if _, err := Parse(text); err != nil || len(text) < jwt.MaxProofSize-8 {
		t.Errorf("Parse(%d bytes) = %v, want a proof near the limit", len(text), err)
	}
	text = c.sign(t, c.header(""), claims(strings.Repeat("j", fitting+2)))
	if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), "longer than") || len(text) > jwt.MaxProofSize+8 {
		t.Errorf("Parse(%d bytes) = %v, want it refused for its length", len(text), err)
	}
}

// Whoever configures a wrong URL gets no proof past it.
func TestCheckRefusesARequestWithoutAURL(t *testing.T) {
	c := newClient(t)
	p := c.proof(t, claims("1"))
	for _, url := range []string{"", "/orders/17", "api.example.com/orders/17"} {
		r := request()
		r.URL = url
		if err := p.Check(r); err == nil || !strings.Contains(err.Error(), "own URL") {
			t.Errorf("Check(%q) = %v, want an error about the request's URL", url, err)
		}
	}
}

func TestParseReturnsWhatTheCallerJudges(t *testing.T) {
	c := newClient(t)
	p := c.proof(t, strings.Replace(claims("1"), `"htm"`, `"nonce":"n-0S6","htm"`, 1))
	if p.Nonce != "n-0S6" {
		t.Errorf("the nonce is %q, want n-0S6", p.Nonce)
	}
	if p := c.proof(t, claims("1")); p.Nonce != "" {
		t.Errorf("the nonce is %q, want none", p.Nonce)
	}
}

// Nobody else's signature passes, whatever the key in the header says about itself.
func TestVerifyBindsTheSignatureToTheKey(t *testing.T) {
	c := newClient(t)
	text := c.sign(t, c.header(""), claims("1"))
	parts := strings.Split(text, ".")
	others := []string{ // a part of another genuine proof each
		strings.Split(c.sign(t, c.header(`,"x":1`), claims("1")), ".")[0],
		strings.Split(c.sign(t, c.header(""), claims("2")), ".")[1],
		strings.Split(c.sign(t, c.header(""), claims("2")), ".")[2],
	}
	for i, other := range others {
		changed := slices.Clone(parts)
		changed[i] = other
		p, err := Parse(strings.Join(changed, "."))
		if err != nil {
			t.Fatal(err)
		}
		if p.Verify() == nil {
			t.Errorf("a proof verifies with part %d of another one", i)
		}
	}
}
