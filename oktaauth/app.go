package oktaauth

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/sync/singleflight"

	"github.com/caddy-okta/caddy-okta/internal/cache"
	"github.com/caddy-okta/caddy-okta/internal/jwks"
	"github.com/caddy-okta/caddy-okta/internal/lease"
)

func init() {
	caddy.RegisterModule(new(App))
}

// DefaultTokenCache is how many verified signatures are kept unless token_cache says otherwise.
const DefaultTokenCache = 100_000

// App holds the named issuers and the state that all okta_auth handlers share and that survives reloads: the keys of
// each issuer and the cache of verified signatures.
type App struct {
	// Issuers are the authorization servers that handlers refer to by name. A name is a letter followed by letters,
	// digits, "_" and "-".
	Issuers map[string]*Issuer `json:"issuers,omitempty"`

	// TokenCache is how many verified signatures are kept; 0 turns the cache off, and every request is verified anew.
	// What depends on time or on the route is checked on every request in any case. Default: 100000.
	TokenCache *int `json:"token_cache,omitempty"`

	tokens    lease.Lease[*tokenCache]
	cacheSize int
	leased    []*Issuer
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "okta", New: func() caddy.Module { return new(App) }}
}

// What outlives a configuration. keyStates are keyed by where the keys come from and how they are fetched.
var (
	keyStates   = lease.NewPool[jwks.Config, *keyState]()
	tokenCaches = lease.NewPool[struct{}, *tokenCache]()
)

// tokenCache holds verified tokens by keyed digest.
type tokenCache = cache.Cache[*verified]

// keyState is what one source of keys shares between all its users.
type keyState struct {
	*jwks.Source
	flights singleflight.Group // verifications under way, by token digest
}

func newKeyState(config jwks.Config) (*keyState, error) {
	source, err := jwks.New(config)
	if err != nil {
		return nil, err
	}
	return &keyState{Source: source}, nil
}

// Provision checks the issuers and leases what they share.
func (a *App) Provision(caddy.Context) error {
	size := DefaultTokenCache
	if a.TokenCache != nil {
		size = *a.TokenCache
	}
	if size < 0 {
		return errors.New("token_cache must not be negative: 0 turns it off")
	}
	var err error
	if a.tokens, err = tokenCaches.Take(struct{}{}, func() (*tokenCache, error) { return cache.New[*verified](size), nil }); err != nil {
		return err
	}
	a.cacheSize = size
	for _, name := range slices.Sorted(maps.Keys(a.Issuers)) {
		if !Name.MatchString(name) {
			return fmt.Errorf("issuer name %q: %s", name, NameRule)
		}
		if a.Issuers[name] == nil {
			return fmt.Errorf("issuer %s is null: give it a url and an audience", name)
		}
		if err := a.adopt(a.Issuers[name]); err != nil {
			return fmt.Errorf("issuer %s: %w", name, err)
		}
	}
	return nil
}

// Name is what issuers may be called.
var Name = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

// NameRule says in words what [Name] matches.
const NameRule = `a name is a letter followed by letters, digits, "_" and "-"`

// adopt provisions an issuer and keeps its lease for the life of the app.
func (a *App) adopt(i *Issuer) error {
	if err := i.provision(); err != nil {
		return err
	}
	a.leased = append(a.leased, i)
	return nil
}

// named returns the issuers of the given names.
func (a *App) named(names []string) ([]*Issuer, error) {
	issuers := make([]*Issuer, len(names))
	for n, name := range names {
		if issuers[n] = a.Issuers[name]; issuers[n] == nil {
			known := strings.Join(slices.Sorted(maps.Keys(a.Issuers)), ", ")
			if known == "" {
				return nil, fmt.Errorf("issuer %q is not declared: declare it in the global okta option, or write its URL and audience in place", name)
			}
			return nil, fmt.Errorf("issuer %q is not declared: declared are %s", name, known)
		}
	}
	return issuers, nil
}

// Start begins to fetch keys in the background. It does not wait for them. The shared cache takes its size here and
// not in Provision, which also runs for configurations that are refused.
func (a *App) Start() error {
	a.tokens.Value.SetCapacity(a.cacheSize)
	for _, i := range a.leased {
		i.keys.Start()
	}
	return nil
}

// Stop does nothing: what was leased goes back in Cleanup, once the new configuration runs.
func (*App) Stop() error { return nil }

// Cleanup gives back what Provision took.
func (a *App) Cleanup() error {
	var errs []error
	for _, i := range a.leased {
		errs = append(errs, i.lease.Release())
	}
	return errors.Join(append(errs, a.tokens.Release())...)
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
