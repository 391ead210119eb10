package oktatest

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// oktaCacheControl is what Okta sends with its keys: about 44 days, counted down towards the next rotation.
const oktaCacheControl = "max-age=3832304, must-revalidate"

// SetCacheControl changes the Cache-Control of metadata and keys; "" sends none. Default: exactly Okta's,
// "max-age=3832304, must-revalidate".
func (s *Server) SetCacheControl(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cacheControl = value
}

// SetMetadata changes members of all metadata documents; a nil value leaves the member out. It replaces what an earlier
// call changed: SetMetadata(nil) is the truth again.
func (s *Server) SetMetadata(changes map[string]any) {
	copied := make(map[string]any, len(changes))
	for name, value := range changes {
		copied[name] = value
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metadata = copied
}

// document serves a JSON document the way Okta serves metadata and keys.
func (s *Server) document(content func() any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		s.mu.Lock()
		cacheControl := s.cacheControl
		s.mu.Unlock()
		if cacheControl != "" {
			w.Header().Set("Cache-Control", cacheControl)
		}
		writeJSON(w, http.StatusOK, content())
	})
}

func writeJSON(w http.ResponseWriter, status int, content any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(mustJSON(content)) // the client may have gone
}

// mustJSON is for values that this package or its caller built.
func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("oktatest: " + err.Error())
	}
	return text
}

// metadataOf returns the members that Okta publishes. Endpoints that are named but not modelled answer 404.
func (s *Server) metadataOf(e Endpoint) map[string]any {
	base := strings.TrimSuffix(s.EndpointURL(Keys), "/keys")
	// How clients may authenticate, also in ways that are not modelled; what signs their requests, not Okta's tokens.
	methods := []string{"client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"}
	hmac := []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512}
	doc := map[string]any{
		"issuer":                                s.Issuer(),
		"authorization_endpoint":                base + "/authorize",
		"token_endpoint":                        s.EndpointURL(Token),
		"registration_endpoint":                 s.url + "/oauth2/v1/clients",
		"jwks_uri":                              s.EndpointURL(Keys),
		"introspection_endpoint":                s.EndpointURL(Introspect),
		"revocation_endpoint":                   base + "/revoke",
		"end_session_endpoint":                  base + "/logout",
		"device_authorization_endpoint":         base + "/device/authorize",
		"pushed_authorization_request_endpoint": base + "/par",
		"response_types_supported": []string{
			"code", "token", "id_token", "code id_token", "code token", "id_token token", "code id_token token",
		},
		"response_modes_supported": []string{"query", "fragment", "form_post", "okta_post_message"},
		"grant_types_supported": []string{
			"authorization_code", "implicit", "refresh_token", "password", "client_credentials",
			"urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange",
		},
		"subject_types_supported":                       []string{"public"},
		"scopes_supported":                              []string{"openid", "profile", "email", "address", "phone", "offline_access", "device_sso"},
		"token_endpoint_auth_methods_supported":         methods,
		"introspection_endpoint_auth_methods_supported": methods,
		"revocation_endpoint_auth_methods_supported":    methods,
		"code_challenge_methods_supported":              []string{"S256"},
		"request_parameter_supported":                   true,
		"request_object_signing_alg_values_supported":   append(hmac, clientAlgorithms...),
		"dpop_signing_alg_values_supported":             clientAlgorithms,
		"backchannel_token_delivery_modes_supported":    []string{"poll"},
	}
	if e == OpenIDConfiguration {
		doc["userinfo_endpoint"] = base + "/userinfo"
		doc["id_token_signing_alg_values_supported"] = []string{s.cfg.Alg}
		doc["claims_supported"] = []string{
			"iss", "ver", "sub", "aud", "iat", "exp", "jti", "auth_time", "amr", "idp", "nonce", "name", "nickname",
			"preferred_username", "given_name", "middle_name", "family_name", "email", "email_verified", "profile",
			"zoneinfo", "locale", "address", "phone_number", "picture", "website", "gender", "birthdate",
			"updated_at", "at_hash", "c_hash",
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, value := range s.metadata {
		if value == nil {
			delete(doc, name)
		} else {
			doc[name] = value
		}
	}
	return doc
}
