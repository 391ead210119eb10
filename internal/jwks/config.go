package jwks

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/discovery"
)

// Config says where the keys of an issuer come from, and how long they serve. It is comparable: configurations of the
// same [Config.Origin] can share one [Source].
type Config struct {
	// Issuer is the issuer's exact URL. Discovery starts there when KeysURL and Keys are empty.
	Issuer string

	// KeysURL is where the key set is, instead of discovery.
	KeysURL string

	// Keys is a pinned key set, as JSON. With it nothing is ever fetched, and the keys never grow old.
	Keys string

	// CA holds the PEM certificates that TLS trusts. Default: those of the system.
	CA string

	// InsecureHTTP allows http:// beyond loopback, where whoever is on the way can replace the keys.
	InsecureHTTP bool

	// Refresh and MaxStale count until a user joins with terms of its own.

	// Refresh is the time from one good fetch to the next, give or take a tenth. The issuer's Cache-Control may
	// shorten it, never below one minute, and it always stays below MaxStale. At least 1s. Default: 1h.
	Refresh time.Duration

	// MaxStale is how long the last good keys serve while the issuer is unreachable. At least 1s. Default: 24h.
	MaxStale time.Duration
}

const (
	defaultRefresh  = time.Hour
	defaultMaxStale = 24 * time.Hour
)

// Origin returns c without what the users of one source may see differently.
func (c Config) Origin() Config {
	c.Refresh, c.MaxStale = 0, 0
	return c
}

func (c *Config) setDefaults() {
	if c.Refresh == 0 {
		c.Refresh = defaultRefresh
	}
	if c.MaxStale == 0 {
		c.MaxStale = defaultMaxStale
	}
}

// prepare checks c and fills in defaults.
func (c *Config) prepare() error {
	c.setDefaults()
	switch {
	case c.Refresh < time.Second:
		return fmt.Errorf("keys_refresh %s is too short: at least 1s", c.Refresh)
	case c.MaxStale < time.Second:
		return fmt.Errorf("keys_max_stale %s is too short: at least 1s", c.MaxStale)
	case c.Keys != "" && c.KeysURL != "":
		return errors.New("keys_file and keys_url exclude each other: keep one")
	case c.Keys != "":
		return nil
	case c.KeysURL != "":
		if _, err := discovery.CheckURL(c.KeysURL, c.InsecureHTTP); err != nil {
			return fmt.Errorf("keys_url %s: %w", discovery.Brief(c.KeysURL), err)
		}
		return nil
	case c.Issuer == "":
		return errors.New("an issuer URL is required, or keys_url, or keys_file")
	}
	return discovery.CheckIssuer(c.Issuer, c.InsecureHTTP)
}
