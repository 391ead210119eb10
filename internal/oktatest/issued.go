package oktatest

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// issued is what the server remembers of its tokens: the claims of those that do not carry them, and which are revoked.
// It forgets nothing; a test does not last.
type issued struct {
	mu      sync.Mutex
	opaque  map[string][]byte // claims as JSON
	revoked map[string]bool
}

// OpaqueToken returns an access token that only introspection understands: random, without dots. Its claims are those
// of [Server.UserToken], as the options change them; options for header and signature have no effect.
func (s *Server) OpaqueToken(login string, options ...Option) string {
	return s.issued.remember(drafted(s.userClaims(login), "", options))
}

// RefreshToken returns a refresh token, which is opaque at Okta too. It is not for any resource server, but introspects
// as active: without aud, iss and jti.
func (s *Server) RefreshToken(login string, options ...Option) string {
	return s.issued.remember(drafted(map[string]any{
		"exp":       s.cfg.Now().Add(100 * 24 * time.Hour).Unix(),
		"cid":       UserClient,
		"sub":       login,
		"scp":       []string{"openid", "profile", "offline_access"},
		"device_id": derived("device", login),
	}, "", options))
}

// Revoke makes any token of the server inactive, which only introspection notices.
func (s *Server) Revoke(token string) {
	s.issued.mu.Lock()
	defer s.issued.mu.Unlock()
	if s.issued.revoked == nil {
		s.issued.revoked = map[string]bool{}
	}
	s.issued.revoked[token] = true
}

func (i *issued) remember(d *draft) (token string) {
	token = unique()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.opaque == nil {
		i.opaque = map[string][]byte{}
	}
	i.opaque[token] = mustJSON(d.claims)
	return token
}

// find returns the claims of an opaque token; nil for one that it does not know.
func (i *issued) find(token string) (claims []byte, revoked bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.opaque[token], i.revoked[token]
}

// claimsOf returns the claims of a token that this server issued and did not revoke, else nil.
func (s *Server) claimsOf(token string) map[string]any {
	payload, revoked := s.issued.find(token)
	if revoked {
		return nil
	}
	if payload != nil {
		return readClaims(payload)
	}
	signed, err := jose.ParseSignedCompact(token, tokenAlgorithms)
	if err != nil || !signedByOneOf(s.PublishedKeys(), signed) {
		return nil
	}
	claims := readClaims(signed.UnsafePayloadWithoutVerification())
	// The keys may be those of another issuer too, and sign what is no token: SETs, logout requests.
	access := claims["cid"] != nil || claims["client_id"] != nil
	if claims["iss"] != s.Issuer() || !access && !isIDToken(claims) {
		return nil
	}
	return claims
}

// tokenAlgorithms are those that a server of this package may sign tokens with.
var tokenAlgorithms = append([]jose.SignatureAlgorithm{jose.PS256, jose.PS384, jose.PS512, jose.EdDSA}, clientAlgorithms...)

func isIDToken(claims map[string]any) bool {
	jti, _ := claims["jti"].(string)
	return strings.HasPrefix(jti, "ID.")
}

// readClaims keeps numbers as they are written. It returns nil for what is no object.
func readClaims(payload []byte) (claims map[string]any) {
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	if err := decoder.Decode(&claims); err != nil {
		return nil
	}
	return claims
}
