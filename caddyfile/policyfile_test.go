package caddyfile

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/caddy-okta/caddy-okta/celpolicy"
)

// The policy file of the README is one that loads.
func TestThePolicyFileOfTheReadmeLoads(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(readme)
	if m == nil {
		t.Fatal("the README has no policy file")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "readme.yaml"), m[1], 0o600); err != nil {
		t.Fatal(err)
	}
	var policy celpolicy.Policy
	if err := policy.AddFiles(dir, []string{"readme.yaml"}); err != nil || len(policy.Rules) != 2 {
		t.Errorf("AddFiles(the README's file) = %v, with %d rules", err, len(policy.Rules))
	}
}
