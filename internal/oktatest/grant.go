package oktatest

import (
	"crypto/subtle"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Client is an application that may ask for tokens of its own, by the client-credentials grant.
type Client struct {
	ID     string
	Secret string

	// Scopes are those it may ask for. A request without scopes gets a token without scp.
	Scopes []string

	// Claims are custom claims that its tokens get beside the usual ones.
	Claims map[string]any
}

// RegisterClient makes a client known, or replaces one with the same ID.
func (s *Server) RegisterClient(c Client) {
	c.Scopes = slices.Clone(c.Scopes)
	c.Claims = maps.Clone(c.Claims)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.ID] = c
}

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

// maxForm bounds the body of a token request.
const maxForm = 64 << 10

// serveToken is the token endpoint.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store") // RFC 6749 §5.1
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	answer, err := s.grant(r)
	if refusal := (*oauthError)(nil); errors.As(err, &refusal) {
		if _, _, basic := r.BasicAuth(); basic && refusal.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="Okta"`) // RFC 6749 §5.2
		}
		writeJSON(w, refusal.status, refusal)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// grant decides about one token request; its error is always an *oauthError.
func (s *Server) grant(r *http.Request) (answer map[string]any, err error) {
	if err := r.ParseForm(); err != nil {
		return nil, badRequest("invalid_request", "The request body is not a form.")
	}
	for name, values := range r.PostForm {
		if len(values) > 1 {
			return nil, badRequest("invalid_request", "The parameter '"+name+"' is repeated.")
		}
	}
	switch grantType := r.PostForm.Get("grant_type"); grantType {
	case "client_credentials":
		client, err := s.authenticate(r)
		if err != nil {
			return nil, err
		}
		return s.clientCredentials(client, strings.Fields(r.PostForm.Get("scope")))
	case "":
		return nil, badRequest("invalid_request", "The request is missing the parameter 'grant_type'.")
	default:
		return nil, badRequest("unsupported_grant_type", "The authorization grant type is not supported by the authorization server.")
	}
}

// authenticate finds the client by client_secret_basic or client_secret_post, never both.
func (s *Server) authenticate(r *http.Request) (Client, error) {
	id, secret, basic := r.BasicAuth()
	if basic {
		if r.PostForm.Has("client_secret") {
			return Client{}, badRequest("invalid_request", "Cannot supply multiple client credentials.")
		}
		// RFC 6749 §2.3.1: both are form-encoded before they are put together. A broken encoding matches no client.
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	s.mu.Lock()
	client, known := s.clients[id]
	s.mu.Unlock()
	if !known {
		return Client{}, &oauthError{http.StatusUnauthorized, "invalid_client", "Invalid value for 'client_id' parameter."}
	}
	if client.Secret == "" || subtle.ConstantTimeCompare([]byte(secret), []byte(client.Secret)) != 1 {
		return Client{}, &oauthError{http.StatusUnauthorized, "invalid_client", "The client secret supplied for a confidential client is invalid."}
	}
	return client, nil
}

// clientCredentials issues a token to a client that proved who it is.
func (s *Server) clientCredentials(c Client, scopes []string) (map[string]any, error) {
	for _, scope := range scopes {
		if !slices.Contains(c.Scopes, scope) {
			return nil, badRequest("invalid_scope", "One or more scopes are not configured for the authorization server resource.")
		}
	}
	answer := map[string]any{
		"token_type":   "Bearer",
		"expires_in":   int64(s.cfg.Lifetime / time.Second),
		"access_token": s.ServiceToken(c.ID, WithClaims(c.Claims), Scopes(scopes...)),
	}
	if len(scopes) > 0 {
		answer["scope"] = joinScopes(scopes)
	}
	return answer, nil
}
