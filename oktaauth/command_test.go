package oktaauth

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

func TestVerifyCommand(t *testing.T) {
	issuer, err := oktatest.Start(oktatest.Config{ID: "default"})
	if err != nil {
		t.Fatal(err)
	}
	defer issuer.Close()
	good := issuer.UserToken("alice")
	configured := []string{"--issuer", issuer.Issuer(), "--audience", "api://default"}
	for name, c := range map[string]struct {
		input string
		args  []string
		want  string // in the error, or in the output of a token that is good
		last  string // the last check that was played
	}{
		"a good token":           {good + "\n", configured, "user alice", "ok    binding to the sender: none"},
		"with a dash":            {good, append([]string{"-"}, configured...), "user alice", "ok    binding to the sender: none"},
		"an expired token":       {issuer.UserToken("alice", oktatest.IssuedAgo(2*time.Hour)), configured, "expired", "FAIL  times"},
		"a forged token":         {issuer.UserToken("alice", oktatest.Forged()), configured, "bad_signature", "FAIL  signature"},
		"an ID token":            {issuer.IDToken("alice"), configured, "wrong_type", "FAIL  kind of token"},
		"of an unknown key":      {issuer.UserToken("alice", oktatest.KID("nobody's")), configured, "unknown_key", "FAIL  key"},
		"of another algorithm":   {issuer.UserToken("alice", oktatest.Alg("RS512")), configured, "algorithm", "FAIL  algorithm"},
		"of another issuer":      {issuer.UserToken("alice", oktatest.With("iss", "https://x")), configured, "wrong_issuer", "FAIL  issuer"},
		"for another client":     {good, append([]string{"--client_id", "0oaOther"}, configured...), "wrong_client", "FAIL  client"},
		"issued for too long":    {good, append([]string{"--max_lifetime", "10m"}, configured...), "expired", "FAIL  times"},
		"just expired":           {issuer.UserToken("alice", oktatest.IssuedAgo(time.Hour+10*time.Second)), configured, "user alice", "ok    binding to the sender: none"},
		"expired without a skew": {issuer.UserToken("alice", oktatest.IssuedAgo(time.Hour+10*time.Second)), append([]string{"--clock_skew", "0s"}, configured...), "expired", "FAIL  times"},
		"keys that do not come":  {good, append([]string{"--keys_url", "http://127.0.0.1:1/keys"}, configured...), "keys_unavailable", "FAIL  key"},
		"bound to a key":         {issuer.UserToken("alice", oktatest.With("cnf", map[string]any{"jkt": "k"})), configured, "user alice", "need a DPoP proof of the key k"},
		"bound to a certificate": {issuer.UserToken("alice", oktatest.With("cnf", map[string]any{"x5t#S256": "c"})), configured, "user alice", "need the client certificate c"},
		"bound to who knows":     {issuer.UserToken("alice", oktatest.With("cnf", map[string]any{"kid": "k"})), configured, "proof_required", "FAIL  binding to the sender"},
		"no token":               {"", configured, "malformed_request", "FAIL  alphabet"},
		"no JWT":                 {"abc", configured, "malformed_token", "FAIL  form"},
		"too long":               {good + strings.Repeat("a", 16<<10), configured, "malformed_token", "FAIL  form"},
		"on the command line":    {"", append([]string{good}, configured...), "standard input", ""},
		"without an audience":    {good, configured[:2], "audience is required", ""},
		"without an issuer":      {good, nil, "url is required", ""},
		"an unreachable issuer":  {good, []string{"--issuer", "http://127.0.0.1:1/oauth2/default", "--audience", "a"}, "wrong_issuer", "FAIL  issuer"},
		"an option that is none": {good, []string{"--token", good}, "unknown flag", ""},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := verifyCommand()
			var out bytes.Buffer
			cmd.SetIn(strings.NewReader(c.input))
			cmd.SetOut(&out)
			cmd.SetErr(&out)
			cmd.SetArgs(c.args)
			err := cmd.ExecuteContext(t.Context())
			if succeeds := strings.HasPrefix(c.want, "user"); succeeds != (err == nil) {
				t.Errorf("verify = %v\n%s", err, out.String())
			} else if text := out.String(); succeeds && !strings.Contains(text, c.want) || !succeeds && !strings.Contains(err.Error(), c.want) {
				t.Errorf("verify = %v, want %s\n%s", err, c.want, text)
			}
			if !strings.Contains(out.String(), c.last) || c.last == "" && strings.Contains(out.String(), "ok    ") {
				t.Errorf("the last check is not %q:\n%s", c.last, out.String())
			}
			if strings.Contains(out.String(), good) {
				t.Error("the token is in the output")
			}
		})
	}
}
