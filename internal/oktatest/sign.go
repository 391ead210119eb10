package oktatest

import (
	"maps"
	"slices"
	"time"
)

// Option changes a token or a proof that is about to be signed. Options work from left to right.
type Option func(*draft)

// draft is a token before it is signed.
type draft struct {
	claims     map[string]any
	rawPayload []byte // in the place of the claims, unless nil
	typ        string
	header     map[string]any // changes; a nil value removes
	rawHeader  string
	key        *Key
	alg        string
	forged     bool
	der        bool
}

// With sets a claim.
func With(name string, value any) Option {
	return func(d *draft) { d.claims[name] = value }
}

// WithClaims sets several claims.
func WithClaims(claims map[string]any) Option {
	return func(d *draft) { maps.Copy(d.claims, claims) }
}

// Without removes claims.
func Without(names ...string) Option {
	return func(d *draft) {
		for _, name := range names {
			delete(d.claims, name)
		}
	}
}

// Scopes sets the scopes, in the form the token has them: scp as a list, or for the RFC 9068 shape scope as one text.
// Scopes() removes them.
func Scopes(scopes ...string) Option {
	return func(d *draft) {
		name, value := "scp", any(scopes)
		if _, ok := d.claims["scope"].(string); ok {
			name, value = "scope", joinScopes(scopes)
		}
		if d.claims[name] = value; len(scopes) == 0 {
			delete(d.claims, name)
		}
	}
}

// Groups sets the groups claim.
func Groups(groups ...string) Option { return With("groups", groups) }

// Audience sets aud: one value as a text, any other number as a list.
func Audience(values ...string) Option {
	if len(values) == 1 {
		return With("aud", values[0])
	}
	return With("aud", append([]string{}, values...))
}

// Lifetime sets exp to so long after iat.
func Lifetime(d time.Duration) Option {
	return func(t *draft) {
		if iat, ok := t.claims["iat"].(int64); ok {
			t.claims["exp"] = iat + int64(d/time.Second)
		}
	}
}

// IssuedAgo moves iat, exp, nbf and auth_time into the past; a negative duration moves them into the future.
// IssuedAgo(2 * time.Hour) makes an expired token of default lifetime.
func IssuedAgo(d time.Duration) Option {
	return func(t *draft) {
		for _, name := range []string{"iat", "exp", "nbf", "auth_time"} {
			if at, ok := t.claims[name].(int64); ok {
				t.claims[name] = at - int64(d/time.Second)
			}
		}
	}
}

// Header sets members of the header, whatever really signs; a nil value removes one.
func Header(members map[string]any) Option {
	return func(d *draft) {
		if d.header == nil {
			d.header = map[string]any{}
		}
		maps.Copy(d.header, members)
	}
}

// RawHeader puts any text in the place of the header: duplicate members, arrays, no JSON at all. It is encoded and
// signed over.
func RawHeader(text string) Option { return func(d *draft) { d.rawHeader = text } }

// RawPayload puts any text in the place of the claims: duplicate members, numbers out of range, no JSON at all. Options
// that change claims have no effect beside it.
func RawPayload(text string) Option { return func(d *draft) { d.rawPayload = []byte(text) } }

// KID sets the kid of the header, and nothing else.
func KID(kid string) Option { return Header(map[string]any{"kid": kid}) }

// SignedBy signs with another key, under its own kid and algorithm.
func SignedBy(k *Key) Option { return func(d *draft) { d.key = k } }

// Alg really signs with another algorithm: RS256 to RS512, PS256 to PS512, ES256 to ES512, EdDSA; HS256 to HS512 with
// [SignedBy] and [NewSecret]; "none" leaves the signature empty. For other spellings say [Header] too. When the key is
// not of that kind, a published one that is takes its place; when there is none, a key that no server publishes, under
// the kid of the active one.
func Alg(alg string) Option { return func(d *draft) { d.alg = alg } }

// Forged signs with a foreign key of the same kind under the kid of the right one.
func Forged() Option { return func(d *draft) { d.forged = true } }

// DERSignature leaves an ECDSA signature in its ASN.1 form, which is wrong in a JWS.
func DERSignature() Option { return func(d *draft) { d.der = true } }

// Sign returns a token with these claims and no others, as the options change them; claims itself stays as it is.
// Without options it is RS256 by the active key, and its header is alg and kid.
func (s *Server) Sign(claims map[string]any, options ...Option) string {
	return s.sign(drafted(maps.Clone(claims), "", options))
}

// SignPayload is [Server.Sign] with [RawPayload].
func (s *Server) SignPayload(payload []byte, options ...Option) string {
	d := drafted(nil, "", options)
	d.rawPayload = append([]byte{}, payload...) // not nil, also when it is empty
	return s.sign(d)
}

func drafted(claims map[string]any, typ string, options []Option) *draft {
	if claims == nil {
		claims = map[string]any{}
	}
	d := &draft{claims: claims, typ: typ}
	for _, option := range options {
		option(d)
	}
	return d
}

func (s *Server) sign(d *draft) string { return d.sign(s.ActiveKey(), s.PublishedKeys()) }

// sign makes the JWS. Its signer is own unless an option says otherwise.
func (d *draft) sign(own *Key, published []*Key) string {
	key, kid, alg := d.signer(own, published)
	header := map[string]any{"alg": alg, "kid": kid}
	if d.typ != "" {
		header["typ"] = d.typ
	}
	for name, value := range d.header {
		if header[name] = value; value == nil {
			delete(header, name)
		}
	}
	head, payload := mustJSON(header), d.rawPayload
	if d.rawHeader != "" {
		head = []byte(d.rawHeader)
	}
	if payload == nil {
		payload = mustJSON(d.claims)
	}
	token := encode(head) + "." + encode(payload)
	if alg == "none" {
		return token + "."
	}
	signature, err := key.sign(alg, []byte(token), d.der)
	if err != nil {
		panic("oktatest: " + err.Error())
	}
	return token + "." + encode(signature)
}

// signer finds who really signs, and what the header says about it.
func (d *draft) signer(own *Key, published []*Key) (key *Key, kid, alg string) {
	if key = d.key; key == nil {
		key = own
	}
	if alg = d.alg; alg == "" {
		alg = key.Alg
	}
	kid = key.ID
	if alg == "none" {
		return key, kid, alg
	}
	if !key.fits(alg) {
		fitting := slices.IndexFunc(published, func(k *Key) bool { return k.fits(alg) })
		if fitting < 0 {
			return strays.take(alg), kid, alg
		}
		key = published[fitting]
		kid = key.ID
	}
	if d.forged {
		key = strays.take(alg)
	}
	return key, kid, alg
}
