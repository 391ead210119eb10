package integration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// conformance counts the cases of each RFC (and of Okta's shapes) that a resource server has to answer for.
var conformance = map[string]int{
	"6750": 33, "7515": 21, "7517": 7, "7518": 3, "7519": 23, "8725": 17, "9068": 19, "8414": 16, "9470": 16, "9110": 14,
	"9111": 2, "OKTA": 22,
}

// untested are the cases without a test, each with its reason.
var untested = map[string]string{
	"6750-16": "tokens in the query are never accepted",
	"6750-26": "challenges carry no error_uri",
	"6750-29": "Caddy decides where TLS ends; a plaintext listener behind a terminator is common",
	"8725-06": "there is no HMAC to configure",
	"8725-16": "there is no other endpoint that takes tokens",
	"9068-06": "encryption cannot be agreed: encrypted tokens are refused",
	"9068-19": "only the first document that answers 200 is read, so no two can disagree",
	"9470-09": "DPoP is not accepted yet",
	"9470-12": "there is no introspection yet",
	"9470-16": "a rule on amr is a policy of the user's, with acr_values of its own",
	"9110-07": "there is one challenge, since only one scheme is accepted",
	"9111-02": "Caddy has no cache of its own that could stand before okta_auth",
	"OKTA-13": "there is no introspection yet",
	"OKTA-14": "there is no introspection yet",
	"OKTA-17": "there is no receiver of events",
	"OKTA-18": "there is no endpoint for Universal Logout",
	"OKTA-19": "there is no endpoint for Universal Logout",
	"OKTA-20": "there is no endpoint for event hooks",
	"OKTA-21": "encrypted tokens are refused",
}

// Every case is named by a test or a vector, or has a reason why it is not.
func TestEveryConformanceCaseHasATestOrAReason(t *testing.T) {
	number := regexp.MustCompile(`\b(\d{4}|OKTA)-(\d{2})\b`)
	tested := make(map[string]bool)
	err := filepath.WalkDir("..", func(name string, entry fs.DirEntry, err error) error {
		vector := strings.Contains(filepath.ToSlash(name), "/testdata/") && filepath.Ext(name) == ".txt"
		if err != nil || entry.IsDir() || !vector && !strings.HasSuffix(name, "_test.go") || entry.Name() == "cases_test.go" {
			return err
		}
		text, err := os.ReadFile(name)
		for _, found := range number.FindAllString(string(text), -1) {
			tested[found] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for source, cases := range conformance {
		for n := 1; n <= cases; n++ {
			name := fmt.Sprintf("%s-%02d", source, n)
			reason, excused := untested[name]
			switch {
			case !tested[name] && !excused:
				t.Errorf("%s has no test and no reason", name)
			case tested[name] && excused:
				t.Errorf("%s has a test, and a reason to have none: %s", name, reason)
			}
		}
	}
}
