package jwks

import (
	"encoding/pem"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestNew(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	keys := document(publish("k1", p256Key()))
	const issuer = "https://acme.okta.com/oauth2/default"
	tests := []struct {
		name   string
		config Config
		want   string // in the error; "" for none
	}{
		{"an issuer", Config{Issuer: issuer}, ""},
		{"an issuer with a slash at the end", Config{Issuer: issuer + "/"}, ""},
		{"a keys URL with a query", Config{KeysURL: issuer + "/v1/keys?client_id=0oa"}, ""},
		{"pinned keys", Config{Keys: keys}, ""},
		{"pinned keys of any issuer", Config{Issuer: "urn:example:issuer", Keys: keys}, ""},
		{"a keys URL of any issuer", Config{Issuer: "urn:example:issuer", KeysURL: issuer}, ""},
		{"certificates", Config{Issuer: issuer, CA: "# ours\n" + ca + ca}, ""},
		{"http to 127.0.0.1", Config{Issuer: "http://127.0.0.1:8080"}, ""},
		{"http to another loopback address", Config{Issuer: "http://127.1.2.3"}, ""},
		{"http to ::1", Config{Issuer: "http://[::1]:8080"}, ""},
		{"http to localhost", Config{Issuer: "http://LocalHost:8080"}, ""},
		{"http where it is allowed", Config{Issuer: "http://okta.test", InsecureHTTP: true}, ""},

		{"nothing", Config{}, "an issuer URL is required"},
		{"both kinds of keys", Config{Keys: keys, KeysURL: issuer}, "exclude each other"},
		{"http", Config{Issuer: "http://acme.okta.com"}, "http:// is only allowed for loopback addresses"},
		{"http to a name that looks like loopback", Config{Issuer: "http://127.0.0.1.evil.test"}, "only allowed for loopback"},
		{"http to a subdomain of localhost", Config{Issuer: "http://localhost.evil.test"}, "only allowed for loopback"},
		{"http to a private address", Config{KeysURL: "http://10.0.0.1/keys"}, "keys_url \"http://10.0.0.1/keys\": http:// is only"},
		{"another scheme", Config{Issuer: "ftp://acme.okta.com", InsecureHTTP: true}, "not an https:// URL"},
		{"a file", Config{KeysURL: "file:///etc/keys.json"}, "not an https:// URL"},
		{"no scheme", Config{Issuer: "acme.okta.com"}, "not an https:// URL"},
		{"no host", Config{Issuer: "https:///oauth2/default"}, "no host"},
		{"only a port", Config{Issuer: "https://:443"}, "no host"},
		{"a password", Config{Issuer: "https://user:secret@acme.okta.com"}, "user and password are not allowed"},
		{"a query", Config{Issuer: issuer + "?tenant=1"}, "a query is not allowed"},
		{"an empty query", Config{Issuer: issuer + "?"}, "a query is not allowed"},
		{"a fragment", Config{Issuer: issuer + "#x"}, "a fragment is not allowed"},
		{"an empty fragment", Config{KeysURL: issuer + "#"}, "a fragment is not allowed"},
		{"no URL", Config{Issuer: "https://acme okta\n"}, "not a URL"},
		{"a negative refresh", Config{Issuer: issuer, Refresh: -1}, "keys_refresh -1ns is too short"},
		{"a refresh below a second", Config{Issuer: issuer, Refresh: time.Millisecond}, "keys_refresh 1ms is too short"},
		{"a stale time below a second", Config{Issuer: issuer, MaxStale: time.Millisecond}, "keys_max_stale 1ms is too short"},
		{"pinned keys that are no JSON", Config{Keys: "-----BEGIN PUBLIC KEY-----"}, "keys_file: not a JSON object"},
		{"pinned keys that cannot be used", Config{Keys: document(publish("k", p256Key()).with("use", "enc"))}, `keys_file: the key set has no usable key: key 1 is not used: "k": its use is "enc"`},
		{"a single pinned key", Config{Keys: keys[len(`{"keys":[`) : len(keys)-2]}, `no member "keys"`},
		{"certificates that are none", Config{Issuer: issuer, CA: "corp-root.pem"}, "tls_ca: no PEM certificate found"},
		{"a certificate that is broken", Config{Issuer: issuer, CA: ca + strings.Replace(ca, "MII", "AAA", 1)}, "tls_ca: certificate 2"},
		{"a private key for certificates", Config{Issuer: issuer, CA: ca + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}, `a PEM block is "PRIVATE KEY"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := New(tt.config)
			if tt.want == "" {
				if err != nil {
					t.Errorf("New = %v", err)
				}
				return
			}
			if s != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New = %v, %v, want an error with %q", s, err, tt.want)
			}
		})
	}
}
