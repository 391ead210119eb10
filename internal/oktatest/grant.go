package oktatest

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// oauthError is an answer of RFC 6749 §5.2.
type oauthError struct {
	status      int
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func (e *oauthError) Error() string { return e.Code + ": " + e.Description }

func badRequest(code, description string) error {
	return &oauthError{http.StatusBadRequest, code, description}
}

// maxForm bounds the body of a request.
const maxForm = 64 << 10

// oauth serves an endpoint that takes a form from an authenticated client. The error of decide is always an *oauthError.
func (s *Server) oauth(decide func(*http.Request) (map[string]any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store") // RFC 6749 §5.1
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", "POST")
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		err := readForm(r)
		var answer map[string]any
		if err == nil {
			answer, err = decide(r)
		}
		if refusal := (*oauthError)(nil); errors.As(err, &refusal) {
			if _, _, basic := r.BasicAuth(); basic && refusal.status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Basic realm="Okta"`) // RFC 6749 §5.2
			}
			if refusal.Code == useDPoPNonce {
				w.Header().Set("DPoP-Nonce", s.DPoPNonce()) // RFC 9449 §8
			}
			writeJSON(w, refusal.status, refusal)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	})
}

func readForm(r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return badRequest("invalid_request", "The request body is not a form.")
	}
	for name, values := range r.PostForm {
		if len(values) > 1 {
			return badRequest("invalid_request", "The parameter '"+name+"' is repeated.")
		}
	}
	return nil
}

// grant decides about one token request.
func (s *Server) grant(r *http.Request) (map[string]any, error) {
	switch grantType := r.PostForm.Get("grant_type"); grantType {
	case "client_credentials":
		client, err := s.authenticate(r, Token)
		if err != nil {
			return nil, err
		}
		thumbprint := ""
		if client.DPoP || r.Header.Values("DPoP") != nil {
			if thumbprint, err = s.checkProof(r); err != nil {
				return nil, err
			}
		}
		return s.clientCredentials(client, strings.Fields(r.PostForm.Get("scope")), thumbprint)
	case "":
		return nil, badRequest("invalid_request", "The request is missing the parameter 'grant_type'.")
	default:
		return nil, badRequest("unsupported_grant_type", "The authorization grant type is not supported by the authorization server.")
	}
}

// clientCredentials issues a token to a client that proved who it is. With a thumbprint the token is bound to that key.
func (s *Server) clientCredentials(c Client, scopes []string, thumbprint string) (map[string]any, error) {
	for _, scope := range scopes {
		if !slices.Contains(c.Scopes, scope) {
			return nil, badRequest("invalid_scope", "One or more scopes are not configured for the authorization server resource.")
		}
	}
	tokenType, options := "Bearer", []Option{WithClaims(c.Claims), Scopes(scopes...)}
	if thumbprint != "" {
		tokenType, options = "DPoP", append(options, BoundTo(thumbprint)) // RFC 9449 §5
	}
	answer := map[string]any{
		"token_type":   tokenType,
		"expires_in":   int64(s.cfg.Lifetime / time.Second),
		"access_token": s.ServiceToken(c.ID, options...),
	}
	if len(scopes) > 0 {
		answer["scope"] = joinScopes(scopes)
	}
	return answer, nil
}
