package oktaauth

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/sync/singleflight"

	"github.com/caddy-okta/caddy-okta/internal/cache"
	"github.com/caddy-okta/caddy-okta/internal/introspect"
	"github.com/caddy-okta/caddy-okta/internal/jwks"
	"github.com/caddy-okta/caddy-okta/internal/lease"
)

func init() {
	caddy.RegisterModule(new(App))
}

// DefaultTokenCache is how many verified signatures are kept unless token_cache says otherwise.
const DefaultTokenCache = 100_000

// App holds the named issuers and the state that all okta_auth handlers share and that survives reloads: the keys of
// each issuer, the cache of verified signatures, answers of introspection, used DPoP proofs, and what the guard counts.
type App struct {
	// Issuers are the authorization servers that handlers refer to by name. A name is a letter followed by letters,
	// digits, "_" and "-".
	Issuers map[string]*Issuer `json:"issuers,omitempty"`

	// TokenCache is how many verified tokens are kept, with 1 KiB of room for each; 0 turns the cache off, and every request
	// is verified anew. Memory is taken as tokens come, a quarter of all that room at a time, at least
	// 256 KiB and at most 32 MiB.
	// What depends on time or on the route is checked on every request in any case. Default: 100000.
	TokenCache *int `json:"token_cache,omitempty"`

	// Guard answers 429 to addresses that keep sending invalid tokens. Default: off.
	Guard *Guard `json:"guard,omitempty"`

	events    *emitter
	tokens    lease.Lease[*cache.Texts]
	proofs    lease.Lease[*proofs]
	protected map[string][]*Handler // by the resource that they protect
	described map[string]string     // resources, by the URL of their metadata
	documents map[string]bool       // the paths of metadata documents
	cacheSize int
	leased    []*Issuer
	storage   jwks.Storage
	leave     []func() // what Stop ends, by source of keys
	metrics   *keysCollector
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "okta", New: func() caddy.Module { return new(App) }}
}

// What outlives a configuration. keyStates are keyed by where the keys come from and whom TLS trusts.
var (
	keyStates     = lease.NewPool[jwks.Config, *keyState]()
	tokenCaches   = lease.NewPool[struct{}, *cache.Texts]()
	proofMemories = lease.NewPool[struct{}, *proofs]()
	introspectors = lease.NewPool[introspect.Config, *introspect.Client]()
)

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
func (a *App) Provision(ctx caddy.Context) error {
	a.storage = ctx.Storage()
	a.metrics = new(keysCollector)
	if err := ctx.GetMetricsRegistry().Register(a.metrics); err != nil {
		return err
	}
	size := DefaultTokenCache
	if a.TokenCache != nil {
		size = *a.TokenCache
	}
	if size < 0 {
		return errors.New("token_cache must not be negative: 0 turns it off")
	}
	var err error
	if a.tokens, err = tokenCaches.Take(struct{}{}, func() (*cache.Texts, error) { return cache.NewTexts(size), nil }); err != nil {
		return err
	}
	a.cacheSize = size
	if a.proofs, err = proofMemories.Take(struct{}{}, newProofs); err != nil {
		return err
	}
	if a.events, err = newEmitter(ctx); err != nil {
		return err
	}
	if a.Guard != nil {
		if err := a.Guard.provision(a.burst); err != nil {
			return err
		}
	}
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

// keysChanged returns what tells subscribers that the keys of an issuer cannot be fetched, or can again.
func (a *App) keysChanged(issuer string) func(error) {
	return func(err error) {
		if err == nil {
			a.events.emit(EventKeysRecovered, map[string]any{"issuer": issuer})
			return
		}
		a.events.emit(EventKeysUnreachable, map[string]any{"issuer": issuer, "error": err.Error()})
	}
}

// burst tells subscribers that the guard banned an address.
func (a *App) burst(address string, failures int) {
	a.events.emit(EventRefusalBurst, map[string]any{"client_ip": address, "count": failures})
}

// Name is what issuers may be called.
var Name = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

// NameRule says in words what [Name] matches.
const NameRule = `a name is a letter followed by letters, digits, "_" and "-"`

// adopt provisions an issuer and keeps its lease for the life of the app.
func (a *App) adopt(i *Issuer) error {
	a.leased = append(a.leased, i) // also when it fails: it may have leased something by then
	return i.provision()
}

// protect notes that a handler protects its resource, for the metadata of that.
func (a *App) protect(h *Handler) error {
	if err := a.describe(h.Resource); err != nil {
		return err
	}
	if a.protected == nil {
		a.protected = make(map[string][]*Handler)
	}
	a.protected[h.Resource] = append(a.protected[h.Resource], h)
	return nil
}

// describe notes that a resource has metadata. Clients compare identifiers code point by code point (RFC 9728 §3.3), so
// one document cannot be that of two.
func (a *App) describe(resource string) error {
	at, err := metadataURL(resource)
	if err != nil {
		return err
	}
	if a.described == nil {
		a.described = make(map[string]string)
	}
	if other, ok := a.described[at.String()]; ok && other != resource {
		return fmt.Errorf("resource: %s and %s have the same metadata: write one of them everywhere", resource, other)
	}
	a.described[at.String()] = resource
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

// Start begins to fetch keys in the background, and to look for those in the storage. It does not wait for them. What
// is shared takes its settings here and not in Provision, which also runs for configurations that are refused.
func (a *App) Start() error {
	a.tokens.Value.SetCapacity(a.cacheSize)
	met := make(map[*keyState]bool)
	for _, i := range a.leased {
		if i.keys == nil {
			continue
		}
		terms := jwks.Terms{Refresh: time.Duration(i.KeysRefresh), MaxStale: time.Duration(i.KeysMaxStale)}
		if !met[i.keys] {
			// Once, however many issuers share the keys.
			terms.Storage, terms.Changed = a.storage, a.keysChanged(i.URL)
			met[i.keys] = true
		}
		a.leave = append(a.leave, i.keys.Join(terms))
	}
	for keys := range met {
		keys.Start()
	}
	a.metrics.watch(a.leased)
	return nil
}

// Stop ends the use of this configuration's storage. What was leased goes back in Cleanup, once the new configuration
// runs.
func (a *App) Stop() error {
	if a.events != nil {
		a.events.stop()
	}
	for _, leave := range a.leave {
		leave()
	}
	return nil
}

// Cleanup gives back what Provision took. It also runs without Stop, when a configuration fails to start.
func (a *App) Cleanup() error {
	errs := []error{a.Stop()}
	for _, i := range a.leased {
		errs = append(errs, i.lease.Release(), i.asking.Release())
	}
	if a.Guard != nil {
		errs = append(errs, a.Guard.lease.Release())
	}
	return errors.Join(append(errs, a.tokens.Release(), a.proofs.Release())...)
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
