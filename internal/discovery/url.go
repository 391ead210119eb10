package discovery

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// CheckURL parses a URL that may be asked: https, or http where nobody is on the way. insecureHTTP allows http
// everywhere.
func CheckURL(raw string, insecureHTTP bool) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The message of a *url.Error repeats the whole URL, which may be hostile and long.
		if cause := errors.Unwrap(err); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("not a URL: %s", Brief(err.Error()))
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
	case u.Scheme == "http" && !insecureHTTP && !loopback(u.Hostname()):
		return nil, errors.New("http:// is only allowed for loopback addresses")
	}
	return u, nil
}

// CheckIssuer is [CheckURL] for an issuer, whose error names it.
func CheckIssuer(issuer string, insecureHTTP bool) error {
	u, err := CheckURL(issuer, insecureHTTP)
	if err != nil {
		return fmt.Errorf("issuer %s: %w", Brief(issuer), err)
	}
	if u.RawQuery != "" || u.ForceQuery {
		return fmt.Errorf("issuer %s: a query is not allowed (RFC 8414 §2)", Brief(issuer))
	}
	return nil
}

// loopback tells whether a host names this machine, so that nobody is on the way.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// Brief quotes a value of somebody else's document for a message, without letting it fill the log.
func Brief(s string) string {
	const most = 200
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}
