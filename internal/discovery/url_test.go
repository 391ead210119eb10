package discovery

import (
	"strings"
	"testing"
)

func TestCheckURL(t *testing.T) {
	for _, tt := range []struct {
		raw      string
		insecure bool
		want     string // in the error; "" for none
	}{
		{"https://acme.okta.com/oauth2/default/v1/keys?client_id=0oa", false, ""},
		{"http://127.0.0.1:8080", false, ""},
		{"http://127.1.2.3", false, ""},
		{"http://[::1]:8080", false, ""},
		{"http://[::ffff:127.0.0.1]", false, ""},
		{"http://LocalHost:8080", false, ""},
		{"http://okta.test", true, ""},
		{"http://okta.test", false, "http:// is only allowed for loopback addresses"},
		{"http://127.0.0.1.evil.test", false, "only allowed for loopback"},
		{"http://localhost.evil.test", false, "only allowed for loopback"},
		{"http://10.0.0.1", false, "only allowed for loopback"},
		{"http://0.0.0.0", false, "only allowed for loopback"},
		{"ftp://acme.okta.com", true, "not an https:// URL"},
		{"acme.okta.com", true, "not an https:// URL"},
		{"https:///oauth2", false, "no host"},
		{"https://:443", false, "no host"},
		{"https://user:hunter2@acme.okta.com", false, "user and password are not allowed"},
		{"https://acme.okta.com#x", false, "a fragment is not allowed"},
		{"https://acme.okta.com#", false, "a fragment is not allowed"},
		{"https://acme okta\n" + strings.Repeat("x", 10_000), false, "not a URL"},
	} {
		u, err := CheckURL(tt.raw, tt.insecure)
		if tt.want == "" && (err != nil || u == nil) || tt.want != "" && (u != nil || err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("CheckURL(%s, %t) = %v, %v, want an error with %q", Brief(tt.raw), tt.insecure, u, err, tt.want)
		}
		if err != nil && (len(err.Error()) > 300 || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("CheckURL(%s) = %v: too long, or a secret", Brief(tt.raw), err)
		}
	}
}

func TestCheckIssuer(t *testing.T) {
	for raw, want := range map[string]string{
		"https://acme.okta.com/oauth2/default":  "",
		"https://acme.okta.com/oauth2/default/": "",
		"https://acme.okta.com?tenant=1":        `issuer "https://acme.okta.com?tenant=1": a query is not allowed`,
		"https://acme.okta.com?":                "a query is not allowed",
		"urn:acme":                              `issuer "urn:acme": not an https:// URL`,
	} {
		if err := CheckIssuer(raw, false); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("CheckIssuer(%s) = %v, want an error with %q", raw, err, want)
		}
	}
}
