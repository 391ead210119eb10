package oktaauth

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/cache"
	"github.com/caddy-okta/caddy-okta/internal/deny"
	"github.com/caddy-okta/caddy-okta/internal/jwks"
	"github.com/caddy-okta/caddy-okta/internal/jwt"
	"github.com/caddy-okta/caddy-okta/internal/principal"
	"github.com/caddy-okta/caddy-okta/internal/telemetry"
)

// verified is a token whose signature was found good, and all that the checks of any route need to know of it. It
// says nothing about whether the token is valid now or here.
type verified struct {
	identity  *principal.Identity
	algorithm string
	typ       string
	key       *jwks.Key
	keys      *keyState
}

// authenticate judges the token for this route and now. What it learns on the way is in at.
func (h *Handler) authenticate(ctx context.Context, token string, at *attempt) *deny.Refusal {
	digest := h.tokens.Digest(token)
	refusal := h.recall(digest, at)
	if at.verified == nil && refusal == nil {
		at.cache = telemetry.Miss
		refusal = h.verify(ctx, token, digest, at)
	}
	if refusal == nil {
		refusal = at.route.judge(valid, at.verified, at.started)
	}
	if refusal != nil {
		return refusal
	}
	if at.cache == telemetry.Miss {
		// Only now: a flood of expired or foreign tokens displaces nothing.
		h.tokens.Put(digest, at.verified, at.verified.identity.ExpiresAt)
	}
	return at.route.judge(at.route.allowed, at.verified, at.started)
}

func (rt *route) judge(checks []check, v *verified, now time.Time) *deny.Refusal {
	for _, check := range checks {
		if refusal := check.judge(rt, v, now); refusal != nil {
			return refusal
		}
	}
	return nil
}

// recall looks for the token among those verified before. It finds nothing when the key was withdrawn since, or when
// the token was verified with keys that this route would not use for it.
func (h *Handler) recall(digest cache.Digest, at *attempt) *deny.Refusal {
	v, ok := h.tokens.Get(digest, at.started)
	if !ok || v.key.Retired() {
		return nil
	}
	rt := h.route(v.identity.Issuer)
	if rt == nil || rt.keys != v.keys {
		return nil
	}
	at.cache, at.route = telemetry.Hit, rt
	if err := v.keys.Usable(); err != nil {
		return keyRefusal(err)
	}
	at.verified = v
	return rt.checkAlgorithm(v.algorithm)
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

// verify parses the token and checks its signature. Requests that bring the same token at the same time share the
// work; each still honours its own context.
func (h *Handler) verify(ctx context.Context, text string, digest cache.Digest, at *attempt) *deny.Refusal {
	token, err := jwt.Parse(text)
	if err != nil {
		return deny.MalformedToken.Because("%w", err)
	}
	issuer, ok := token.Claims["iss"].(string)
	if !ok {
		return deny.MalformedToken.Because("iss is not a text")
	}
	if at.route = h.route(issuer); at.route == nil {
		return deny.WrongIssuer.Because("iss names no issuer of this route")
	}
	if refusal := at.route.checkAlgorithm(token.Algorithm); refusal != nil {
		return refusal
	}
	keys := at.route.keys
	flight := keys.flights.DoChan(string(digest[:]), func() (any, error) {
		return keys.verify(token)
	})
	select {
	case <-ctx.Done():
		return keyRefusal(&jwks.Unavailable{Err: ctx.Err()})
	case result := <-flight:
		if refusal := (*deny.Refusal)(nil); errors.As(result.Err, &refusal) {
			return refusal
		}
		at.verified = result.Val.(*verified)
		return nil
	}
}

// verify checks the signature with the issuer's keys. It does not use the context of one request, because several may
// wait for it; the look-up of a key has its own bound.
func (k *keyState) verify(token *jwt.Token) (*verified, error) {
	found, err := k.Lookup(context.Background(), token.KeyID)
	if err != nil {
		return nil, keyRefusal(err)
	}
	refusal := deny.Algorithm.Because("the key is not for this algorithm")
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
		return &verified{
			identity:  &principal.Identity{Claims: claims},
			algorithm: token.Algorithm,
			typ:       token.Type,
			key:       key,
			keys:      k,
		}, nil
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
