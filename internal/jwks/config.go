package jwks

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"
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
		if _, err := c.checkURL(c.KeysURL); err != nil {
			return fmt.Errorf("keys_url %s: %w", brief(c.KeysURL), err)
		}
		return nil
	case c.Issuer == "":
		return errors.New("an issuer URL is required, or keys_url, or keys_file")
	}
	u, err := c.checkURL(c.Issuer)
	if err != nil {
		return fmt.Errorf("issuer %s: %w", brief(c.Issuer), err)
	}
	if u.RawQuery != "" || u.ForceQuery {
		return fmt.Errorf("issuer %s: a query is not allowed (RFC 8414 §2)", brief(c.Issuer))
	}
	return nil
}

// checkURL parses a URL that keys or metadata may be fetched from: https, or http where nobody is on the way.
func (c *Config) checkURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The message of a *url.Error repeats the whole URL, which may be hostile and long.
		if cause := errors.Unwrap(err); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("not a URL: %s", brief(err.Error()))
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("not an https:// URL")
	case u.Hostname() == "":
		return nil, errors.New("the URL has no host")
	case u.User != nil:
		return nil, errors.New("user and password are not allowed in the URL")
	case strings.Contains(raw, "#"):
		return nil, errors.New("a fragment is not allowed in the URL")
	case u.Scheme == "http" && !c.InsecureHTTP && !loopback(u.Hostname()):
		return nil, errors.New("http:// is only allowed for loopback addresses: use https://, or add \"insecure_http\"")
	}
	return u, nil
}

// loopback tells whether a host names this machine, so that nobody is on the way.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// parseRoots reads PEM certificates; no text is no pool, which means the system's roots. One certificate that cannot
// be read is an error: leaving it out would only show when the issuer starts to use it.
func parseRoots(bundle string) (*x509.CertPool, error) {
	if bundle == "" {
		return nil, nil
	}
	roots, count := x509.NewCertPool(), 0
	for rest := []byte(bundle); ; count++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("tls_ca: a PEM block is %q, only CERTIFICATE is expected", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("tls_ca: certificate %d: %w", count+1, err)
		}
		roots.AddCert(cert)
	}
	if count == 0 {
		return nil, errors.New("tls_ca: no PEM certificate found")
	}
	return roots, nil
}
