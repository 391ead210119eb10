package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Well-known suffixes of OpenID Connect Discovery 1.0 §4 and RFC 8414 §3.
const (
	openIDConfiguration = "/.well-known/openid-configuration"
	oauthServer         = "/.well-known/oauth-authorization-server"
)

// metadataURLs returns where an issuer may publish its metadata, in the order in which it is tried: appended as in
// OpenID Connect, inserted between host and path as in RFC 8414 §3.1, appended with the suffix of RFC 8414.
func metadataURLs(issuer *url.URL) []string {
	base := strings.TrimSuffix(issuer.String(), "/")
	host := issuer.Scheme + "://" + issuer.Host
	path := strings.TrimSuffix(issuer.EscapedPath(), "/")
	return slices.Compact([]string{
		base + openIDConfiguration,
		host + oauthServer + path,
		base + oauthServer,
	})
}

// Metadata is what an issuer says of itself.
type Metadata struct {
	// URL is where it was found.
	URL string

	members      map[string]json.RawMessage
	insecureHTTP bool
}

// Find returns the metadata of an issuer, as it is now.
func (c *Client) Find(ctx context.Context, issuer string) (*Metadata, error) {
	u, err := CheckURL(issuer, c.insecureHTTP)
	if err != nil {
		return nil, err
	}
	var missing []error
	for _, at := range metadataURLs(u) {
		d, err := c.Get(ctx, at)
		var status *StatusError
		if errors.As(err, &status) {
			missing = append(missing, err) // the next form may be the one that this issuer knows
			continue
		}
		if err != nil {
			return nil, err
		}
		m := &Metadata{URL: at, insecureHTTP: c.insecureHTTP}
		if err := m.read(d.Body, issuer); err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		return m, nil
	}
	err = missing[0]
	for _, other := range missing[1:] {
		err = fmt.Errorf("%w; %w", err, other)
	}
	return nil, fmt.Errorf("no metadata of the issuer: %w", err)
}

// read takes the members of a document that is the issuer's own. Their names keep their case: encoding/json would match
// the fields of a struct without regard to it, and "ISSUER" is not "issuer".
func (m *Metadata) read(document []byte, issuer string) error {
	if err := json.Unmarshal(document, &m.members); err != nil {
		return fmt.Errorf("not a JSON object: %w", err)
	}
	if m.members == nil {
		return errors.New("not a JSON object: null")
	}
	// RFC 8414 §3.3, §4: identical, code point by code point. Else one tenant could answer for another.
	named, err := m.text("issuer")
	if err != nil {
		return err
	}
	if named != issuer {
		return fmt.Errorf("the metadata names the issuer %s, expected %s", Brief(named), Brief(issuer))
	}
	return nil
}

// Endpoint returns the URL that a member of the metadata holds, such as jwks_uri or introspection_endpoint (RFC 8414
// §2), and "" where it has none. A URL that breaks the rules of [CheckURL] is an error.
func (m *Metadata) Endpoint(name string) (string, error) {
	endpoint, err := m.text(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", m.URL, err)
	}
	if endpoint == "" {
		return "", nil
	}
	if _, err := CheckURL(endpoint, m.insecureHTTP); err != nil {
		return "", fmt.Errorf("%s: the %s %s: %w", m.URL, name, Brief(endpoint), err)
	}
	return endpoint, nil
}

// text returns a member that is a string; "" stands for one that is absent or null.
func (m *Metadata) text(name string) (string, error) {
	raw, ok := m.members[name]
	if !ok {
		return "", nil
	}
	var value string
	if err := json.Unmarshal(raw, &value); err != nil {
		return "", fmt.Errorf("its member %q is not a text", name)
	}
	return value, nil
}
