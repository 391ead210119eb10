package jwks

import (
	"context"
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

// discover returns the URL of the issuer's key set, as its metadata says now.
func (s *Source) discover(ctx context.Context) (string, error) {
	issuer, err := s.config.checkURL(s.config.Issuer)
	if err != nil {
		return "", err
	}
	var missing []error
	for _, at := range metadataURLs(issuer) {
		a, err := s.get(ctx, at)
		var status *statusError
		if errors.As(err, &status) {
			missing = append(missing, err) // the next form may be the one that this issuer knows
			continue
		}
		if err != nil {
			return "", err
		}
		keysURL, err := s.readMetadata(a.body)
		if err != nil {
			return "", fmt.Errorf("%s: %w", at, err)
		}
		return keysURL, nil
	}
	err = missing[0]
	for _, other := range missing[1:] {
		err = fmt.Errorf("%w; %w", err, other)
	}
	return "", fmt.Errorf("no metadata of the issuer: %w", err)
}

// readMetadata returns the jwks_uri of a metadata document that is the issuer's own.
func (s *Source) readMetadata(document []byte) (string, error) {
	members, err := object(document)
	if err != nil {
		return "", err
	}
	// RFC 8414 §3.3, §4: identical, code point by code point. Else one tenant could answer for another.
	issuer, err := text(members, "issuer")
	if err != nil {
		return "", err
	}
	if issuer != s.config.Issuer {
		return "", fmt.Errorf("the metadata names the issuer %s, expected %s", brief(issuer), brief(s.config.Issuer))
	}
	keysURL, err := text(members, "jwks_uri")
	if err != nil {
		return "", err
	}
	if keysURL == "" {
		return "", errors.New(`the metadata has no "jwks_uri": configure keys_url`)
	}
	if _, err := s.config.checkURL(keysURL); err != nil {
		return "", fmt.Errorf("the jwks_uri %s: %w", brief(keysURL), err)
	}
	return keysURL, nil
}
