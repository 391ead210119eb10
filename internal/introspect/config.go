package introspect

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/discovery"
)

// Config says whom to ask, as which client, and how long answers serve. It is comparable: equal configurations can
// share one [Client]. Nothing has a default.
type Config struct {
	// Issuer is the issuer's exact URL, where discovery starts.
	Issuer string

	// ClientID is the gateway's own id at the issuer.
	ClientID string

	// ClientSecret authenticates the gateway with client_secret_basic (RFC 6749 §2.3.1).
	ClientSecret string

	// PrivateKey authenticates the gateway with private_key_jwt (RFC 7523 §2.2) in place of a secret: a PEM block with
	// an RSA key, or an EC key on P-256, P-384 or P-521, as PKCS #8, PKCS #1 or SEC 1.
	PrivateKey string

	// KeyID names the private key to the issuer. It may be empty where the issuer knows only one.
	KeyID string

	// CacheTTL is how long an active answer is remembered at most, 0 for not at all.
	CacheTTL time.Duration

	// NegativeTTL is how long it is remembered that a token is not active, 0 for not at all.
	NegativeTTL time.Duration

	// Timeout ends a call, with the discovery that it may need. More than 0.
	Timeout time.Duration

	// CA holds the PEM certificates that TLS trusts; empty for those of the system.
	CA string

	// InsecureHTTP allows http:// beyond loopback, where whoever is on the way reads tokens and secrets.
	InsecureHTTP bool
}

// String keeps the secrets out of messages.
func (Config) String() string { return "redacted" }

// GoString does the same for %#v.
func (Config) GoString() string { return "redacted" }

func (c *Config) check() error {
	switch {
	case c.ClientID == "":
		return errors.New(`introspection needs the gateway's own client: add "client_id <id>"`)
	case c.ClientSecret == "" && c.PrivateKey == "":
		return errors.New(`introspection needs credentials: add "client_secret <secret>" or "private_key <file>"`)
	case c.ClientSecret != "" && c.PrivateKey != "":
		return errors.New("client_secret and private_key exclude each other: keep one")
	case c.KeyID != "" && c.PrivateKey == "":
		return errors.New("a key id is of use with private_key only: remove it")
	case c.CacheTTL < 0:
		return fmt.Errorf("cache_ttl %s is negative: 0 remembers nothing", c.CacheTTL)
	case c.NegativeTTL < 0:
		return fmt.Errorf("negative_ttl %s is negative: 0 remembers nothing", c.NegativeTTL)
	case c.Timeout <= 0:
		return fmt.Errorf("timeout %s ends every call: write for example 2s", c.Timeout)
	case c.Issuer == "":
		return errors.New("introspection needs an issuer URL")
	}
	return discovery.CheckIssuer(c.Issuer, c.InsecureHTTP)
}
