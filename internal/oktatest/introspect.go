package oktatest

import (
	"encoding/json"
	"net/http"
	"time"
)

// introspect is the introspection endpoint (RFC 7662 §2). Any client that the server knows may ask about any token.
func (s *Server) introspect(r *http.Request) (map[string]any, error) {
	if _, err := s.authenticate(r, Introspect); err != nil {
		return nil, err
	}
	token := r.PostForm.Get("token")
	if token == "" {
		return nil, badRequest("invalid_request", "The request is missing the parameter 'token'.")
	}
	claims := s.claimsOf(token)
	if claims == nil || expired(claims, s.cfg.Now()) {
		return map[string]any{"active": false}, nil // RFC 7662 §2.2: and never why
	}
	return introspected(claims), nil
}

func expired(claims map[string]any, now time.Time) bool {
	exp, ok := claims["exp"].(json.Number)
	if !ok {
		return false // a test may want an answer without it
	}
	at, err := exp.Float64()
	return err != nil || float64(now.Unix()) >= at
}

// introspected turns the claims of a token into Okta's answer: the names of RFC 7662 §2.2 in the place of Okta's own,
// and all other claims as they are.
func introspected(claims map[string]any) map[string]any {
	answer := map[string]any{}
	for name, value := range claims {
		switch name {
		case "ver":
		case "cid":
			answer["client_id"] = value
		case "scp":
			answer["scope"] = joined(value)
		case "sub":
			answer["sub"], answer["username"] = value, value
		default:
			if _, taken := answer[name]; !taken {
				answer[name] = value
			}
		}
	}
	if isIDToken(claims) {
		answer["client_id"], answer["username"] = claims["aud"], claims["preferred_username"]
	}
	answer["active"] = true
	answer["token_type"] = "Bearer" // also for bound tokens: cnf tells
	return answer
}

// joined returns a list of texts as one; anything else, which a test made, as it is.
func joined(scopes any) any {
	list, ok := scopes.([]any)
	if !ok {
		return scopes
	}
	var texts []string
	for _, scope := range list {
		text, ok := scope.(string)
		if !ok {
			return scopes
		}
		texts = append(texts, text)
	}
	return joinScopes(texts)
}
