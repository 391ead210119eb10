package jwks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/discovery"
)

// maxBody is the size from which a key set is refused before it is read.
const maxBody = discovery.MaxBody

// download is what one fetch of the keys brought.
type download struct {
	set     *keySet
	keysURL string

	maxAge    time.Duration // of the key set's Cache-Control
	hasMaxAge bool
}

// fetch asks the issuer for its keys. The metadata is asked each time, so that a jwks_uri may move.
func (s *Source) fetch(ctx context.Context) (*download, error) {
	d := &download{keysURL: s.config.KeysURL}
	var err error
	if d.keysURL == "" {
		if d.keysURL, err = s.discover(ctx); err != nil {
			return nil, err
		}
	}
	document, err := s.client.Get(ctx, d.keysURL)
	if err != nil {
		return nil, err
	}
	if d.set, err = parseSet(document.Body); err != nil {
		return nil, fmt.Errorf("%s: %w", d.keysURL, err)
	}
	d.maxAge, d.hasMaxAge = document.MaxAge()
	return d, nil
}

// askedDelay returns the Retry-After that came with a failed fetch, or 0.
func askedDelay(err error) time.Duration {
	var status *discovery.StatusError
	if errors.As(err, &status) {
		return status.RetryAfter
	}
	return 0
}
