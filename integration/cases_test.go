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
	"9111": 2, "9449": 50, "8705": 13, "7662": 20, "9728": 22, "7009": 2, "OKTA": 22,
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
	"9470-16": "a rule on amr is a policy of the user's, with acr_values of its own",
	"9449-45": "the CORS headers of a site are its own; README says which ones a browser needs",
	"8705-13": "the gateway proves itself to the issuer by a secret or a signed assertion, never by a certificate",
	"7662-20": "there is no such option: no answer is used beyond cache_ttl",
	"9728-13": "resources sign nothing here: there is no jwks_uri",
	"9728-15": "there is no signed_metadata",
	"9111-02": "Caddy has no cache of its own that could stand before okta_auth",
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
