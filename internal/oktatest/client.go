package oktatest

import (
	"crypto/subtle"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Client is an application that the server knows: it may ask for tokens of its own by the client-credentials grant, and
// introspect the tokens of others.
type Client struct {
	ID string

	// Secret is for client_secret_basic and client_secret_post.
	Secret string

	// Keys are for private_key_jwt. Okta has only their public part. An assertion without a kid is good when there is
	// only one.
	Keys []*Key

	// DPoP makes a proof mandatory in its token requests. Without it a proof is welcome, and its token bound as well.
	DPoP bool

	// Scopes are those it may ask for. A request without scopes gets a token without scp.
	Scopes []string

	// Claims are custom claims that its tokens get beside the usual ones.
	Claims map[string]any
}

// RegisterClient makes a client known, or replaces one with the same ID.
func (s *Server) RegisterClient(c Client) {
	c.Keys = slices.Clone(c.Keys)
	c.Scopes = slices.Clone(c.Scopes)
	c.Claims = maps.Clone(c.Claims)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.ID] = c
}

func (s *Server) clientByID(id string) (c Client, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known = s.clients[id]
	return c, known
}

func invalidClient(description string) error {
	return &oauthError{http.StatusUnauthorized, "invalid_client", description}
}

// authenticate finds the client by one kind of credentials, never several. An assertion must be made for e.
func (s *Server) authenticate(r *http.Request, e Endpoint) (Client, error) {
	id, secret, basic := r.BasicAuth()
	post, assertion := r.PostForm.Has("client_secret"), r.PostForm.Has("client_assertion")
	if basic && post || basic && assertion || post && assertion {
		return Client{}, badRequest("invalid_request", "Cannot supply multiple client credentials.")
	}
	switch {
	case assertion:
		return s.asserted(r.PostForm, s.EndpointURL(e))
	case basic:
		// RFC 6749 §2.3.1: both are form-encoded before they are put together. A broken encoding matches no client.
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	default:
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	client, known := s.clientByID(id)
	if !known {
		return Client{}, invalidClient("Invalid value for 'client_id' parameter.")
	}
	if client.Secret == "" || subtle.ConstantTimeCompare([]byte(secret), []byte(client.Secret)) != 1 {
		return Client{}, invalidClient("The client secret supplied for a confidential client is invalid.")
	}
	return client, nil
}

// clientAlgorithms are those that Okta takes for what clients sign: assertions and proofs.
var clientAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}

const (
	assertionType     = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	assertionLifetime = time.Hour // the longest that Okta allows
)

// asserted finds the client by private_key_jwt (RFC 7523 §3).
func (s *Server) asserted(form url.Values, audience string) (Client, error) {
	if form.Get("client_assertion_type") != assertionType {
		return Client{}, badRequest("invalid_request", "The client_assertion_type is invalid.")
	}
	signed, err := jose.ParseSignedCompact(form.Get("client_assertion"), clientAlgorithms)
	if err != nil {
		return Client{}, invalidClient("The client_assertion is not a signed JWT.")
	}
	var claims jwt.Claims
	if err := json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &claims); err != nil {
		return Client{}, invalidClient("The client_assertion has no readable claims.")
	}
	client, known := s.clientByID(claims.Subject)
	if id := form.Get("client_id"); !known || id != "" && id != client.ID {
		return Client{}, invalidClient("The client_assertion names another client.")
	}
	if !signedByOneOf(client.Keys, signed) {
		return Client{}, invalidClient("The client_assertion signature is invalid.")
	}
	now := s.cfg.Now()
	expected := jwt.Expected{Issuer: client.ID, Subject: client.ID, AnyAudience: jwt.Audience{audience}, Time: now}
	if err := claims.ValidateWithLeeway(expected, 0); err != nil {
		return Client{}, invalidClient("The client_assertion is not for this server, not for this endpoint or not for this time.")
	}
	if claims.Expiry == nil || claims.Expiry.Time().Sub(now) > assertionLifetime {
		return Client{}, invalidClient("The client_assertion must expire within one hour.")
	}
	if claims.ID != "" && !s.spent.first("assertion", client.ID, claims.ID, now) {
		return Client{}, invalidClient("The client_assertion was used before.")
	}
	return client, nil
}

// signedByOneOf tells whether a key made the signature, under its own kid; without a kid it must be the only one.
func signedByOneOf(keys []*Key, signed *jose.JSONWebSignature) bool {
	kid := signed.Signatures[0].Header.KeyID
	return slices.ContainsFunc(keys, func(k *Key) bool {
		if kid != k.ID && (kid != "" || len(keys) > 1) {
			return false
		}
		_, err := signed.Verify(k.Public())
		return err == nil
	})
}
