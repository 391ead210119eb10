package oktaauth

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-okta/caddy-okta/internal/discovery"
	"github.com/caddy-okta/caddy-okta/internal/introspect"
	"github.com/caddy-okta/caddy-okta/internal/jwks"
	"github.com/caddy-okta/caddy-okta/internal/jwt"
	"github.com/caddy-okta/caddy-okta/internal/lease"
)

// The token profiles.
const (
	ProfileOkta    = "okta"
	ProfileRFC9068 = "rfc9068"
)

// Defaults and bounds of an issuer's settings.
const (
	DefaultClockSkew    = 30 * time.Second
	maxClockSkew        = 5 * time.Minute
	DefaultKeysRefresh  = time.Hour
	minKeysRefresh      = time.Minute
	minKeysMaxStale     = time.Second
	DefaultKeysMaxStale = 24 * time.Hour
)

// Issuer is an authorization server whose tokens are accepted, and what they must say. Placeholders such as
// {env.NAME} are resolved in every text when the configuration loads; an unset or empty one is an error.
type Issuer struct {
	// URL is the issuer, exactly as tokens carry it in "iss". With profile okta, a custom authorization server:
	// https://{domain}/oauth2/{id}. https only, unless the host is a loopback address or insecure_http is set.
	// Required.
	URL string `json:"url,omitempty"`

	// Audience lists the accepted values of "aud"; any one must match, exactly. Required.
	Audience []string `json:"audience,omitempty"`

	// ClientID lists the clients whose tokens are accepted ("cid" or "client_id"). Default: all clients.
	ClientID []string `json:"client_id,omitempty"`

	// Profile is the shape of the access tokens. "okta": "typ" is absent, "JWT" or "at+jwt"; iss, aud, exp, iat, sub
	// and a client id are required. "rfc9068": "typ" must be "at+jwt"; iss, aud, exp, iat, sub, client_id and jti are
	// required, and any issuer URL will do. Default: okta.
	Profile string `json:"profile,omitempty"`

	// Algorithms lists the accepted signature algorithms: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384,
	// ES512, EdDSA. Default: RS256.
	Algorithms []string `json:"algorithms,omitempty"`

	// ClockSkew is the tolerance for exp, nbf, iat and auth_time. At most 5m. Default: 30s.
	ClockSkew *caddy.Duration `json:"clock_skew,omitempty"`

	// MaxLifetime refuses, as expired, tokens that were issued for longer (exp - iat). Default: off.
	MaxLifetime caddy.Duration `json:"max_lifetime,omitempty"`

	// KeysURL is the JWKS of the issuer. Default: what its metadata names as jwks_uri.
	KeysURL string `json:"keys_url,omitempty"`

	// KeysFile is a JWKS file with pinned keys; no network is used at all. Relative to the working directory, read
	// when the configuration loads. Not together with keys_url.
	KeysFile string `json:"keys_file,omitempty"`

	// KeysRefresh is how often keys are fetched in the background, ±10 %. The server's max-age may shorten it, never
	// below 1m, and keys_max_stale does: keys are fetched before they are too old. Issuers that share keys use the
	// shortest. At least 1m. Default: 1h.
	KeysRefresh caddy.Duration `json:"keys_refresh,omitempty"`

	// KeysMaxStale is how long the last good keys serve while the issuer cannot be reached, also over a restart: they
	// are kept in Caddy's storage. Issuers that share keys use the shortest. At least 1s. Default: 24h.
	KeysMaxStale caddy.Duration `json:"keys_max_stale,omitempty"`

	// TLSCA is a PEM file with the roots that the issuer's certificate must chain to, instead of the system's, for keys
	// and introspection.
	// Relative to the working directory, read when the configuration loads.
	TLSCA string `json:"tls_ca,omitempty"`

	// InsecureHTTP allows http:// beyond loopback addresses: whoever is between can then forge keys, and so tokens, and
	// reads what is introspected. Default: false.
	InsecureHTTP bool `json:"insecure_http,omitempty"`

	// Introspection lets the gateway ask the issuer about tokens. With it, the URL may be that of Okta's org server:
	// https://{domain}, whose tokens are never verified here. Default: the issuer is never asked.
	Introspection *Introspection `json:"introspection,omitempty"`

	resolved     bool // the texts have no placeholders any more
	skew         time.Duration
	keys         *keyState // nil for Okta's org server
	lease        lease.Lease[*keyState]
	introspector *introspect.Client // nil without introspection
	asking       lease.Lease[*introspect.Client]
}

// provision checks the issuer, sets defaults, and leases its keys. It does no network I/O.
func (i *Issuer) provision() error {
	if err := i.resolve(); err != nil {
		return err
	}
	if err := i.check(); err != nil {
		return err
	}
	source := jwks.Config{
		Issuer:       i.URL,
		KeysURL:      i.KeysURL,
		InsecureHTTP: i.InsecureHTTP,
		Refresh:      time.Duration(i.KeysRefresh),
		MaxStale:     time.Duration(i.KeysMaxStale),
	}
	var err error
	if source.Keys, err = readFile("keys_file", i.KeysFile); err != nil {
		return err
	}
	if source.CA, err = readFile("tls_ca", i.TLSCA); err != nil {
		return err
	}
	if i.Introspection != nil {
		config, err := i.Introspection.config(i, source.CA)
		if err != nil {
			return fmt.Errorf("introspection: %w", err)
		}
		if i.asking, err = introspectors.Take(config, func() (*introspect.Client, error) { return introspect.New(config) }); err != nil {
			return fmt.Errorf("introspection: %w", err)
		}
		i.introspector = i.asking.Value
	}
	if i.isOrgServer() {
		return nil
	}
	i.lease, err = keyStates.Take(source.Origin(), func() (*keyState, error) { return newKeyState(source) })
	i.keys = i.lease.Value
	return err
}

// Check reports the first mistake that shows without files, environment and network. It changes nothing: it is for
// adapters, which can name file and line. Of an issuer with placeholders, only what holds for any value is judged.
func (i *Issuer) Check() error {
	trial := *i
	if i.Introspection != nil {
		if err := i.Introspection.check(); err != nil {
			return fmt.Errorf("introspection: %w", err)
		}
	}
	if i.hasPlaceholders() {
		return trial.checkFixed()
	}
	return trial.check()
}

// hasPlaceholders reports whether some text is only known when the configuration loads.
func (i *Issuer) hasPlaceholders() bool {
	return !i.resolved && slices.ContainsFunc(append([]string{i.URL, i.Profile, i.KeysURL}, slices.Concat(i.Audience, i.ClientID, i.Algorithms)...),
		func(text string) bool { return strings.Contains(text, "{") })
}

// resolve replaces the placeholders in every text of the issuer.
func (i *Issuer) resolve() error {
	repl := caddy.NewReplacer()
	resolve := func(name string, text *string) error {
		if *text == "" {
			return nil
		}
		resolved, err := repl.ReplaceOrErr(*text, true, true)
		if err != nil && strings.HasSuffix(name, "client_secret") && !strings.HasPrefix(*text, "{env.") { // the error quotes what stands in braces
			return fmt.Errorf("%s: a placeholder in it is unknown, unset or empty", name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*text = resolved
		return nil
	}
	type field struct {
		name string
		text *string
	}
	fields := []field{
		{"url", &i.URL}, {"profile", &i.Profile}, {"keys_url", &i.KeysURL}, {"keys_file", &i.KeysFile}, {"tls_ca", &i.TLSCA},
	}
	if n := i.Introspection; n != nil {
		fields = append(fields, field{"introspection: client_id", &n.ClientID}, field{"introspection: client_secret", &n.ClientSecret},
			field{"introspection: private_key", &n.PrivateKey}, field{"introspection: private_key_id", &n.PrivateKeyID})
	}
	for _, option := range []struct {
		name   string
		values []string
	}{{"audience", i.Audience}, {"client_id", i.ClientID}, {"algorithms", i.Algorithms}} {
		for n := range option.values {
			if option.values[n] == "" {
				return fmt.Errorf("%s must not be empty: write a value, or leave it out", option.name)
			}
			fields = append(fields, field{option.name, &option.values[n]})
		}
	}
	for _, f := range fields {
		if err := resolve(f.name, f.text); err != nil {
			return err
		}
	}
	i.resolved = true
	return nil
}

func (i *Issuer) check() error {
	if i.URL == "" {
		return errors.New("url is required: the issuer as tokens carry it in \"iss\"")
	}
	if i.Profile == "" {
		i.Profile = ProfileOkta
	}
	if i.Profile != ProfileOkta && i.Profile != ProfileRFC9068 {
		return fmt.Errorf("profile %q is unknown: write okta or rfc9068", i.Profile)
	}
	if err := i.checkURL(); err != nil {
		return err
	}
	if len(i.Algorithms) == 0 {
		i.Algorithms = []string{"RS256"}
	}
	for _, algorithm := range i.Algorithms {
		if !slices.Contains(jwt.Algorithms, algorithm) {
			return fmt.Errorf("algorithms: %q cannot be used: write one of %s", algorithm, strings.Join(jwt.Algorithms, ", "))
		}
	}
	return i.checkFixed()
}

// checkFixed judges what no placeholder can change, and sets defaults.
func (i *Issuer) checkFixed() error {
	if len(i.Audience) == 0 {
		return errors.New(`audience is required: add "audience <value>", as the authorization server puts it into "aud"`)
	}
	i.skew = DefaultClockSkew
	if i.ClockSkew != nil {
		i.skew = time.Duration(*i.ClockSkew)
	}
	if i.skew < 0 || i.skew > maxClockSkew {
		return fmt.Errorf("clock_skew %s is out of range: write 0s to %s", i.skew, maxClockSkew)
	}
	if i.MaxLifetime < 0 {
		return errors.New("max_lifetime must be positive: write a duration such as 1h, or leave it out")
	}
	if i.KeysRefresh == 0 {
		i.KeysRefresh = caddy.Duration(DefaultKeysRefresh)
	}
	if i.KeysRefresh < caddy.Duration(minKeysRefresh) {
		return fmt.Errorf("keys_refresh %s is too short: write %s or more", time.Duration(i.KeysRefresh), minKeysRefresh)
	}
	if i.KeysMaxStale == 0 {
		i.KeysMaxStale = caddy.Duration(DefaultKeysMaxStale)
	}
	if i.KeysMaxStale < caddy.Duration(minKeysMaxStale) {
		return fmt.Errorf("keys_max_stale %s is too short: write %s or more", time.Duration(i.KeysMaxStale), minKeysMaxStale)
	}
	if i.KeysFile != "" && i.KeysURL != "" {
		return errors.New("keys_file and keys_url exclude each other: remove one")
	}
	return nil
}

// customServer is the path of an Okta custom authorization server; everything else is the org's own (OKTA).
var customServer = regexp.MustCompile(`^/oauth2/[^/]+$`)

// adminHost is the host of Okta's admin console, never that of an issuer.
var adminHost = regexp.MustCompile(`(?i)^([^.]+)-admin(\.[^.]*okta[^.]*\.(?:com|mil))$`)

func (i *Issuer) checkURL() error {
	u, err := i.checkScheme("issuer", i.URL)
	if err != nil {
		return err
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(i.URL, "#") { // RFC 8414 §2
		return fmt.Errorf("issuer %s must have no query and no fragment", i.URL)
	}
	if m := adminHost.FindStringSubmatch(u.Hostname()); m != nil {
		return fmt.Errorf("issuer %s is the admin console: write %s", i.URL, strings.Replace(i.URL, m[0], m[1]+m[2], 1))
	}
	if i.KeysURL != "" {
		if _, err := i.checkScheme("keys_url", i.KeysURL); err != nil {
			return err
		}
	}
	if !i.isOrgServer() {
		return nil
	}
	if strings.HasSuffix(u.Path, "/") && customServer.MatchString(strings.TrimSuffix(u.Path, "/")) {
		return fmt.Errorf("issuer %s: Okta's issuers end without a slash: write %s", i.URL, strings.TrimSuffix(i.URL, "/"))
	}
	switch {
	case i.Introspection == nil:
		return fmt.Errorf("issuer %s has no /oauth2/{id} path, so it is Okta's org server, whose tokens can only be checked by"+
			" introspection: add introspection, or write the URL of a custom authorization server, such as %s://%s/oauth2/default",
			i.URL, u.Scheme, u.Host)
	case i.KeysURL != "" || i.KeysFile != "":
		return fmt.Errorf("issuer %s is Okta's org server, whose tokens are introspected: keys_url and keys_file have no use", i.URL)
	}
	return nil
}

// isOrgServer reports whether the issuer is the org's own authorization server, whose access tokens are for Okta alone
// to read (OKTA).
func (i *Issuer) isOrgServer() bool {
	u, err := url.Parse(i.URL)
	return i.Profile != ProfileRFC9068 && err == nil && !i.hasPlaceholders() && !customServer.MatchString(u.Path)
}

// checkScheme parses an absolute URL that keys may be fetched from.
func (i *Issuer) checkScheme(name, text string) (*url.URL, error) {
	u, err := discovery.CheckURL(text, i.InsecureHTTP)
	if err != nil {
		return nil, fmt.Errorf("%s%s: %w: write a URL such as https://acme.okta.com/oauth2/default, or insecure_http as well", name, shown(text), err)
	}
	return u, nil
}

// shown returns a URL for a message, without the password that it may hold, or nothing when it cannot be told.
func shown(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return " " + u.Redacted()
}

// readFile returns the content of a configured file, or nothing where none is configured.
func readFile(option, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", option, err)
	}
	if len(data) == 0 {
		return "", fmt.Errorf("%s: %s is empty", option, name)
	}
	return string(data), nil
}
