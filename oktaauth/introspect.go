package oktaauth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/introspect"
	"github.com/caddy-okta/caddy-okta/internal/jwt"
)

// Which tokens of a route the issuer is asked about.
const (
	IntrospectOpaque = "opaque" // those that cannot be verified here
	IntrospectAlways = "always" // every token, also after its signature was found good
	IntrospectOff    = "off"    // none
)

// Defaults of introspection.
const (
	DefaultIntrospectionTTL         = 30 * time.Second
	DefaultIntrospectionNegativeTTL = 5 * time.Second
	DefaultIntrospectionTimeout     = 2 * time.Second
)

// Introspection lets the gateway ask the issuer about tokens (RFC 7662), as a client of the issuer. It is the only way
// to accept opaque tokens and tokens of Okta's org server, and the only way to see that a token was revoked. The endpoint
// is the introspection_endpoint of the issuer's metadata.
type Introspection struct {
	// ClientID is the gateway's own client at the issuer. Required.
	ClientID string `json:"client_id,omitempty"`

	// ClientSecret authenticates the gateway with client_secret_basic. Write {env.NAME}, so that the secret is in no
	// file. Either this or private_key is required.
	ClientSecret string `json:"client_secret,omitempty"`

	// PrivateKey is a PEM file with the key that signs the gateway's assertions (private_key_jwt): RSA, or ECDSA.
	// Relative to the working directory, read when the configuration loads.
	PrivateKey string `json:"private_key,omitempty"`

	// PrivateKeyID is the "kid" of the assertions, as the issuer knows the key. Default: none is sent.
	PrivateKeyID string `json:"private_key_id,omitempty"`

	// CacheTTL is how long it is remembered that a token is active, never past its "exp"; a token that is revoked may
	// pass that long. 0 remembers nothing. Default: 30s.
	CacheTTL *caddy.Duration `json:"cache_ttl,omitempty"`

	// NegativeTTL is how long it is remembered that a token is not active. 0 remembers nothing. Default: 5s.
	NegativeTTL *caddy.Duration `json:"negative_ttl,omitempty"`

	// Timeout bounds one call, with the discovery of the endpoint that it may need. Default: 2s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
}

// config returns what the client of an issuer needs.
func (n *Introspection) config(i *Issuer, ca string) (introspect.Config, error) {
	config := introspect.Config{
		Issuer:       i.URL,
		ClientID:     n.ClientID,
		ClientSecret: n.ClientSecret,
		KeyID:        n.PrivateKeyID,
		CacheTTL:     orDefault(n.CacheTTL, DefaultIntrospectionTTL),
		NegativeTTL:  orDefault(n.NegativeTTL, DefaultIntrospectionNegativeTTL),
		Timeout:      time.Duration(n.Timeout),
		CA:           ca,
		InsecureHTTP: i.InsecureHTTP,
	}
	if config.Timeout == 0 {
		config.Timeout = DefaultIntrospectionTimeout
	}
	if err := n.check(); err != nil {
		return config, err
	}
	var err error
	config.PrivateKey, err = readFile("private_key", n.PrivateKey)
	return config, err
}

func (n *Introspection) check() error {
	switch {
	case n.ClientID == "":
		return errors.New("client_id is required: the gateway's own client at the issuer")
	case (n.ClientSecret == "") == (n.PrivateKey == ""):
		return errors.New("client_secret or private_key is required, and only one of them")
	case n.PrivateKeyID != "" && n.PrivateKey == "":
		return errors.New("private_key_id names the key of private_key, which is not set")
	case orDefault(n.CacheTTL, 0) < 0 || orDefault(n.NegativeTTL, 0) < 0 || n.Timeout < 0:
		return errors.New("cache_ttl, negative_ttl and timeout must not be negative")
	}
	return nil
}

func orDefault(value *caddy.Duration, otherwise time.Duration) time.Duration {
	if value == nil {
		return otherwise
	}
	return time.Duration(*value)
}

// provisionIntrospection settles of which tokens the issuers are asked.
func (h *Handler) provisionIntrospection() error {
	var asked []*route
	for _, rt := range h.routes {
		if rt.Introspection != nil {
			asked = append(asked, rt)
		}
	}
	switch h.Introspect {
	case "":
		h.Introspect = IntrospectOff
		if len(asked) > 0 {
			h.Introspect = IntrospectOpaque
		}
	case IntrospectOpaque, IntrospectOff:
	case IntrospectAlways:
		if len(asked) < len(h.routes) {
			return errors.New("introspect always: each issuer of the route needs introspection")
		}
	default:
		return fmt.Errorf("introspect %q is unknown: write opaque, always or off", h.Introspect)
	}
	switch {
	case h.Introspect == IntrospectOpaque && len(asked) == 0:
		return errors.New("introspect opaque: none of the route's issuers has introspection")
	case h.Introspect == IntrospectOpaque && len(asked) > 1:
		return errors.New("introspect: several of the route's issuers have introspection, and an opaque token cannot tell which one to ask:" +
			" use one of them for each route, or write introspect off")
	case h.Introspect == IntrospectOff && slices.ContainsFunc(h.routes, func(rt *route) bool { return rt.isOrgServer() }):
		return errors.New("introspect off: tokens of Okta's org server can only be introspected")
	case h.Introspect != IntrospectOff && len(asked) == 1:
		h.opaque = asked[0]
	}
	return nil
}

// isOpaque reports whether nothing of the token can be read here. What has the shape of a signed token is never opaque:
// a forged one must not get a second chance.
func (h *Handler) isOpaque(token string) bool {
	if h.opaque == nil {
		return false
	}
	if len(h.routes) == 1 && h.opaque.keys == nil {
		return true // of Okta's org server, whose tokens may look like anything
	}
	part, _, found := strings.Cut(token, ".")
	header, err := base64.RawURLEncoding.DecodeString(toURLAlphabet.Replace(part))
	if !found || err != nil || !strings.HasPrefix(strings.TrimLeft(string(header), " \t\r\n"), "{") {
		return true
	}
	members, err := jwt.DecodeObject(header)
	enc, _ := members.Get("enc")
	return err == nil && enc != nil && strings.Count(token, ".") == 4 // encrypted for the issuer (RFC 7516 §3.1)
}

// toURLAlphabet undoes what a lenient decoder would read as the same.
var toURLAlphabet = strings.NewReplacer("+", "-", "/", "_")

// ask asks the issuer about a token, and judges the answer for this route and now.
func (rt *route) ask(ctx context.Context, token string, now time.Time) (*verified, *deny.Refusal) {
	answer, err := rt.introspector.Introspect(ctx, token)
	var unavailable *introspect.Unavailable
	switch {
	case err == nil:
	case errors.Is(err, introspect.ErrInactive):
		return nil, deny.Revoked.Because("%w", err)
	case errors.As(err, &unavailable):
		refusal := deny.IntrospectionUnavailable.Because("%w", err)
		refusal.RetryAfter = max(unavailable.RetryAfter, time.Second)
		return nil, refusal
	default:
		return nil, deny.MalformedToken.Because("%w", err)
	}
	if answer.Identity.Issuer != "" && answer.Identity.Issuer != rt.URL {
		return nil, deny.WrongIssuer.Because("the answer is about a token of another issuer")
	}
	v := &verified{identity: answer.Identity, introspected: true, Seal: jwt.Seal{Type: answer.TokenType}}
	if _, bound := answer.Identity.Confirmation["jkt"]; mediaType(v.Type) == "dpop" && !bound { // RFC 9449 §5
		return v, deny.ProofRequired.Because("the answer says that the token is bound to a DPoP key, and not to which")
	}
	return v, rt.judge(valid, v, now)
}
