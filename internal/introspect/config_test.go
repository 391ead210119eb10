package introspect

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*Config)
		want string // in the error; "" for none
	}{
		{"a secret", func(*Config) {}, ""},
		{"a private key", func(c *Config) { c.ClientSecret, c.PrivateKey = "", ecKeyPEM() }, ""},
		{"a private key with an id", func(c *Config) { c.ClientSecret, c.PrivateKey, c.KeyID = "", ecKeyPEM(), "k1" }, ""},
		{"nothing remembered", func(c *Config) { c.CacheTTL, c.NegativeTTL = 0, 0 }, ""},
		{"an issuer on loopback", func(c *Config) { c.Issuer = "http://127.0.0.1:1" }, ""},
		{"an issuer over http where it is allowed", func(c *Config) { c.Issuer, c.InsecureHTTP = "http://a.test", true }, ""},

		{"no issuer", func(c *Config) { c.Issuer = "" }, "introspection needs an issuer URL"},
		{"an issuer over http", func(c *Config) { c.Issuer = "http://a.test" }, `issuer "http://a.test": http:// is only allowed for loopback`},
		{"an issuer with a query", func(c *Config) { c.Issuer += "?x" }, "a query is not allowed"},
		{"no client", func(c *Config) { c.ClientID = "" }, `add "client_id <id>"`},
		{"no credentials", func(c *Config) { c.ClientSecret = "" }, `add "client_secret <secret>" or "private_key <file>"`},
		{"two credentials", func(c *Config) { c.PrivateKey = ecKeyPEM() }, "client_secret and private_key exclude each other"},
		{"a key id without a key", func(c *Config) { c.KeyID = "k1" }, "a key id is of use with private_key only"},
		{"a key that is none", func(c *Config) { c.ClientSecret, c.PrivateKey = "", "gateway.pem" }, "private_key: no PEM private key found"},
		{"a negative cache_ttl", func(c *Config) { c.CacheTTL = -1 }, "cache_ttl -1ns is negative"},
		{"a negative negative_ttl", func(c *Config) { c.NegativeTTL = -1 }, "negative_ttl -1ns is negative"},
		{"no timeout", func(c *Config) { c.Timeout = 0 }, "timeout 0s ends every call: write for example 2s"},
		{"a negative timeout", func(c *Config) { c.Timeout = -time.Second }, "timeout -1s ends every call"},
		{"certificates that are none", func(c *Config) { c.CA = "root.pem" }, "tls_ca: no PEM certificate found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := config()
			tt.edit(&c)
			client, err := New(c)
			if err == nil {
				destruct(t, client)
			}
			if tt.want == "" && err != nil || tt.want != "" && (client != nil || err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("New = %v, %v, want an error with %q", client, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error holds the secret: %v", err)
			}
		})
	}
}

func TestAConfigDoesNotPrintItsSecrets(t *testing.T) {
	c := config()
	c.PrivateKey = "hunter3"
	client := open(t, &issuer{}, nil)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb+verb+verb, c, &c, client); strings.Contains(text, "hunter") {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}

func TestEqualConfigsAreOneKey(t *testing.T) {
	keys := map[Config]bool{config(): true}
	if !keys[config()] {
		t.Error("a map does not find an equal configuration")
	}
}
