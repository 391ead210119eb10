package jwks

import (
	"context"
	"fmt"
)

// discover returns the URL of the issuer's key set, as its metadata says now.
func (s *Source) discover(ctx context.Context) (string, error) {
	metadata, err := s.client.Find(ctx, s.config.Issuer)
	if err != nil {
		return "", err
	}
	keysURL, err := metadata.Endpoint("jwks_uri")
	if err == nil && keysURL == "" {
		err = fmt.Errorf(`%s: the metadata has no "jwks_uri": configure keys_url`, metadata.URL)
	}
	return keysURL, err
}
