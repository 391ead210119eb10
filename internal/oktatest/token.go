package oktatest

import (
	"crypto/rand"
	"crypto/sha256"
	"maps"
	"math/big"
	"strings"
	"time"
)

// UserClient is the client that user tokens and ID tokens name by default: an application that people sign in to.
const UserClient = "0oa1b2c3d4E5f6G7h8i9"

// The typ of access tokens that say what they are.
const (
	typOrg     = "application/okta-internal-at+jwt"
	typRFC9068 = "at+jwt"
)

// UserID returns the uid that a login name has, the same on every server.
func UserID(login string) string { return "00u" + derived("user", login) }

// UserToken returns the access token of a person, as a custom authorization server issues it: scp openid and profile,
// cid [UserClient], uid [UserID], sub the login name, no groups.
func (s *Server) UserToken(login string, options ...Option) string {
	return s.sign(drafted(s.userClaims(login), s.ownTyp(), options))
}

// UserClaims returns the claims that UserToken signs. They may be changed.
func (s *Server) UserClaims(login string, options ...Option) map[string]any {
	return drafted(s.userClaims(login), "", options).claims
}

func (s *Server) userClaims(login string) map[string]any {
	claims := s.accessClaims(UserClient, login)
	claims["uid"] = UserID(login)
	claims["scp"] = []string{"openid", "profile"}
	claims["auth_time"] = claims["iat"].(int64) - 5
	return claims
}

// ServiceToken returns the access token of a client that speaks for itself: sub and cid are the client, there is no
// uid, and no scp unless [Scopes] sets it.
func (s *Server) ServiceToken(client string, options ...Option) string {
	return s.sign(drafted(s.accessClaims(client, client), s.ownTyp(), options))
}

// ServiceClaims returns the claims that ServiceToken signs. They may be changed.
func (s *Server) ServiceClaims(client string, options ...Option) map[string]any {
	return drafted(s.accessClaims(client, client), "", options).claims
}

// accessClaims are what every access token has.
func (s *Server) accessClaims(client, subject string) map[string]any {
	now := s.cfg.Now()
	return map[string]any{
		"ver": 1,
		"jti": "AT." + unique(),
		"iss": s.Issuer(),
		"aud": s.cfg.Audience,
		"iat": now.Unix(),
		"exp": now.Add(s.cfg.Lifetime).Unix(),
		"cid": client,
		"sub": subject,
	}
}

// ownTyp is the typ of the server's own access tokens: only those of an organization's own server have one.
func (s *Server) ownTyp() string {
	if s.cfg.ID == "" {
		return typOrg
	}
	return ""
}

// IDToken returns the ID token of a person: same issuer, same keys, but not for any resource server. Its aud is
// [UserClient] and its sub the [UserID]; it has nonce, at_hash, idp, amr and profile claims, and neither cid nor scp.
func (s *Server) IDToken(login string, options ...Option) string {
	return s.sign(drafted(s.idClaims(login), "", options))
}

// IDClaims returns the claims that IDToken signs. They may be changed.
func (s *Server) IDClaims(login string, options ...Option) map[string]any {
	return drafted(s.idClaims(login), "", options).claims
}

func (s *Server) idClaims(login string) map[string]any {
	now := s.cfg.Now()
	hash := sha256.Sum256([]byte(login))
	name, _, _ := strings.Cut(login, "@")
	return map[string]any{
		"ver":                1,
		"jti":                "ID." + unique(),
		"iss":                s.Issuer(),
		"aud":                UserClient,
		"iat":                now.Unix(),
		"exp":                now.Add(time.Hour).Unix(), // fixed at Okta
		"auth_time":          now.Unix() - 5,
		"sub":                UserID(login),
		"name":               name,
		"email":              login,
		"preferred_username": login,
		"amr":                []string{"pwd"},
		"idp":                "00o" + derived("org", s.url),
		"nonce":              unique(),
		"at_hash":            encode(hash[:16]),
	}
}

// OrgToken returns an access token of the organization's own server: typ application/okta-internal-at+jwt, iss and aud
// the organization's URL. On a custom server it is signed with that server's key, the worst case for a verifier;
// [SignedBy] makes it come from elsewhere.
func (s *Server) OrgToken(login string, options ...Option) string {
	claims := s.userClaims(login)
	claims["iss"], claims["aud"] = s.url, s.url
	return s.sign(drafted(claims, typOrg, options))
}

// RFC9068Token returns an access token in the shape of RFC 9068, which Okta does not issue: typ at+jwt, client_id, and
// scope as one text.
func (s *Server) RFC9068Token(subject string, options ...Option) string {
	return s.sign(drafted(s.rfc9068Claims(subject), typRFC9068, options))
}

// RFC9068Claims returns the claims that RFC9068Token signs. They may be changed.
func (s *Server) RFC9068Claims(subject string, options ...Option) map[string]any {
	return drafted(s.rfc9068Claims(subject), "", options).claims
}

func (s *Server) rfc9068Claims(subject string) map[string]any {
	claims := s.accessClaims(UserClient, subject)
	maps.DeleteFunc(claims, func(name string, _ any) bool { return name == "ver" || name == "cid" })
	claims["jti"] = unique()
	claims["client_id"] = UserClient
	claims["scope"] = "openid profile"
	claims["auth_time"] = claims["iat"].(int64) - 5
	return claims
}

func joinScopes(scopes []string) string { return strings.Join(scopes, " ") }

// unique returns 43 characters that no other token has.
func unique() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return encode(b[:])
}

// derived returns the seventeen characters of an Okta id, always the same for one name.
func derived(kind, name string) string {
	sum := sha256.Sum256([]byte(kind + ":" + name))
	text := new(big.Int).SetBytes(sum[:]).Text(62)
	return text[len(text)-17:]
}
