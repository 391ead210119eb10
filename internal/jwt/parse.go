package jwt

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// MaxSize is the longest token that is read, in bytes. Caddy's own limit for all headers together is as large.
const MaxSize = 16 << 10

// Token is one compact JWS (RFC 7515 §7.1), split and decoded. Nothing in it is true before [Token.Verify].
type Token struct {
	Algorithm string         // alg
	KeyID     string         // kid; empty when absent
	Type      string         // typ; empty when absent
	Claims    map[string]any // integers that fit are int64, other numbers json.Number

	signed    string // header and payload, as they were signed
	signature []byte
}

// embedded are the header members that bring or name a key of the sender's choice (RFC 7515 §4.1.2, .3, .5, .6).
// Following one would let the token choose what it is verified with.
var embedded = []string{"jwk", "jku", "x5u", "x5c"}

// Parse reads a token. It accepts the compact serialization only: one layer, one signature, no padding, no white
// space, no duplicate members at any depth, no critical extension, no embedded key.
func Parse(token string) (*Token, error) {
	if len(token) > MaxSize {
		return nil, fmt.Errorf("the token is longer than %d bytes", MaxSize)
	}
	if strings.Count(token, ".") != 2 {
		return nil, errors.New("the token has not exactly three parts")
	}
	header, rest, _ := strings.Cut(token, ".")
	payload, signature, _ := strings.Cut(rest, ".")

	t := &Token{signed: token[:len(header)+1+len(payload)]}
	if err := t.readHeader(header); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	var err error
	if t.Claims, err = decodePart(payload); err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	if t.signature, err = decodeBase64(signature); err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	if len(t.signature) == 0 {
		return nil, errors.New("signature: empty")
	}
	return t, nil
}

func (t *Token) readHeader(part string) error {
	header, err := decodePart(part)
	if err != nil {
		return err
	}
	r := reader{raw: header}
	r.text("alg", &t.Algorithm)
	r.text("kid", &t.KeyID)
	r.text("typ", &t.Type)
	var contentType string
	r.text("cty", &contentType)
	if r.err != nil {
		return r.err
	}
	if t.Algorithm == "" {
		return errors.New("alg is missing") // RFC 7515 §4.1.1
	}
	// RFC 7515 §4.1.11: no extension is understood here. b64 (RFC 7797) changes what was signed.
	for _, name := range []string{"crit", "b64"} {
		if _, ok := header[name]; ok {
			return fmt.Errorf("%s is not supported", name)
		}
	}
	for _, name := range embedded {
		if _, ok := header[name]; ok {
			return fmt.Errorf("%s is not accepted: keys come from the issuer", name)
		}
	}
	switch strings.ToLower(contentType) { // RFC 7519 §5.2, RFC 7515 §4.1.10
	case "jwt", "application/jwt":
		return errors.New("nested tokens are not accepted")
	}
	return nil
}

// strictBase64 refuses set trailing bits, so that a token has one spelling only.
var strictBase64 = base64.RawURLEncoding.Strict()

func decodeBase64(part string) ([]byte, error) { return appendBase64(nil, part) }

func appendBase64(dst []byte, part string) ([]byte, error) {
	if strings.IndexByte(part, '\r') >= 0 || strings.IndexByte(part, '\n') >= 0 { // the decoder would skip them
		return nil, errors.New("line break within base64url")
	}
	return strictBase64.AppendDecode(dst, []byte(part))
}

// buffers hold what is read and not kept.
var buffers = sync.Pool{New: func() any { return new([MaxSize]byte) }}

func decodePart(part string) (map[string]any, error) {
	buffer := buffers.Get().(*[MaxSize]byte)
	defer buffers.Put(buffer)
	data, err := appendBase64(buffer[:0], part)
	if err != nil {
		return nil, err
	}
	return DecodeObject(data)
}
