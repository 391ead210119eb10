package oktaauth

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/cache"
	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/jwks"
	"github.com/caddy-okta/caddy-okta/internal/jwt"
	"github.com/caddy-okta/caddy-okta/internal/principal"
	"github.com/caddy-okta/caddy-okta/internal/telemetry"
)

// verified is a token whose signature was found good, or that its issuer said to be active, and all that the checks of
// any route need to know of it. It says nothing about whether the token is valid now or here.
type verified struct {
	identity     *jwt.Claims
	introspected bool
	jwt.Seal     // with the number of a [jwks.Key]; of an introspection answer, the type alone
}

func (v *verified) pack() string { return v.identity.Pack(v.Seal) }

func unpack(text string) *verified {
	var v struct {
		verified
		claims jwt.Claims
	}
	v.identity = &v.claims
	v.Seal = jwt.Unpack(text, &v.claims)
	return &v.verified
}

// authenticate judges the credential for this route and now. What it learns on the way is in at.
func (h *Handler) authenticate(r *http.Request, cred *principal.Credential, at *attempt) *deny.Refusal {
	if refusal := h.find(r.Context(), cred.Token, at); refusal != nil {
		return refusal
	}
	if h.Introspect == IntrospectAlways && !at.verified.introspected {
		var refusal *deny.Refusal
		if at.introspected, refusal = at.route.ask(r.Context(), cred.Token, at.started); refusal != nil {
			return refusal
		}
	}
	if refusal := h.checkBinding(r, cred, at); refusal != nil {
		return refusal
	}
	return at.route.judge(at.route.allowed, at.verified, at.started)
}

// find returns, in at, the token as its issuer vouches for it, valid for this route and now.
func (h *Handler) find(ctx context.Context, token string, at *attempt) (refusal *deny.Refusal) {
	if h.isOpaque(token) {
		at.route = h.opaque
		at.verified, refusal = at.route.ask(ctx, token, at.started)
		return refusal
	}
	digest := h.tokens.Digest(token)
	if refusal = h.recall(digest, at); refusal != nil {
		return refusal
	}
	if at.verified != nil {
		return at.route.judge(valid, at.verified, at.started)
	}
	at.cache = telemetry.Miss
	if refusal = h.verify(ctx, token, digest, at); refusal != nil || at.verified.introspected {
		return refusal
	}
	if refusal = at.route.judge(valid, at.verified, at.started); refusal == nil {
		// Only now: a flood of expired or foreign tokens displaces nothing.
		h.tokens.Put(digest, at.verified.pack(), at.verified.identity.ExpiresAt)
	}
	return refusal
}

func (rt *route) judge(checks []check, v *verified, now time.Time) *deny.Refusal {
	for _, check := range checks {
		if refusal := check.judge(rt, v, now); refusal != nil {
			return refusal
		}
	}
	return nil
}

// recall looks for the token among those verified before. It finds nothing when its key is not, or no longer, one that
// this route would use for it.
func (h *Handler) recall(digest cache.Digest, at *attempt) *deny.Refusal {
	text, ok := h.tokens.Get(digest, at.started)
	if !ok {
		return nil
	}
	v := unpack(text)
	rt := h.route(v.identity.Issuer)
	if rt == nil || rt.keys == nil || !rt.keys.Has(v.KeyNumber) {
		return nil
	}
	at.cache, at.route = telemetry.Hit, rt
	if err := rt.keys.Usable(); err != nil {
		return keyRefusal(err)
	}
	at.verified = v
	return rt.checkAlgorithm(v.Algorithm)
}

// route returns the route for tokens of one issuer, nil when the issuer is not trusted here.
func (h *Handler) route(issuer string) *route {
	for _, rt := range h.routes {
		if rt.URL == issuer {
			return rt
		}
	}
	return nil
}

func (rt *route) checkAlgorithm(algorithm string) *deny.Refusal {
	if !slices.Contains(rt.Algorithms, algorithm) {
		return deny.Algorithm.Because("the algorithm is not one of the issuer's")
	}
	return nil
}

// verify parses the token and checks its signature. Requests that bring the same token at the same time share that work.
func (h *Handler) verify(ctx context.Context, text string, digest cache.Digest, at *attempt) *deny.Refusal {
	token, err := jwt.Parse(text)
	if err != nil {
		return deny.MalformedToken.Because("%w", err)
	}
	named, _ := token.Claims.Get("iss")
	issuer, ok := named.(string)
	if !ok {
		return deny.MalformedToken.Because("iss is not a text")
	}
	if at.route = h.route(issuer); at.route == nil {
		return deny.WrongIssuer.Because("iss names no issuer of this route")
	}
	keys := at.route.keys
	if keys == nil { // Okta's org server: its tokens are never verified here
		var refusal *deny.Refusal
		at.verified, refusal = at.route.ask(ctx, text, at.started)
		return refusal
	}
	if refusal := at.route.checkAlgorithm(token.Algorithm); refusal != nil {
		return refusal
	}
	found, err := keys.Lookup(ctx, token.KeyID)
	if err != nil {
		return keyRefusal(err)
	}
	// What is left takes no longer than a signature: nobody has to wait for it in vain.
	result, err, _ := keys.flights.Do(string(digest[:]), func() (any, error) { return keys.verify(token, found) })
	if refusal := (*deny.Refusal)(nil); errors.As(err, &refusal) {
		return refusal
	}
	at.verified = result.(*verified)
	return nil
}

// verify checks the signature with the keys that the token names.
func (k *keyState) verify(token *jwt.Token, found []*jwks.Key) (*verified, error) {
	var refusal *deny.Refusal
	for _, key := range found {
		if !key.Supports(token.Algorithm) {
			continue
		}
		if err := token.Verify(key.Public); err != nil {
			refusal = deny.BadSignature.Because("%w", err)
			continue
		}
		claims, err := jwt.ParseClaims(token.Claims)
		if err != nil {
			return nil, deny.MalformedToken.Because("%w", err)
		}
		return &verified{identity: claims, Seal: jwt.Seal{Type: token.Type, Algorithm: token.Algorithm, KeyNumber: key.Number}}, nil
	}
	if refusal == nil {
		refusal = deny.Algorithm.Because("the key is not for this algorithm")
	}
	return nil, refusal
}

// keyRefusal says why there is no key.
func keyRefusal(err error) *deny.Refusal {
	var unavailable *jwks.Unavailable
	if !errors.As(err, &unavailable) {
		return deny.UnknownKey.Because("%w", err)
	}
	refusal := deny.KeysUnavailable.Because("%w", err)
	refusal.RetryAfter = max(unavailable.RetryAfter, time.Second)
	return refusal
}
