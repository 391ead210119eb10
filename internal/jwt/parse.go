package jwt

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// MaxSize is the longest token that is read, in bytes. Caddy's own limit for all headers together is as large.
const MaxSize = 16 << 10

// Token is one compact JWS (RFC 7515 §7.1), split and decoded. Nothing in it is true before [Token.Verify].
type Token struct {
	Header
	Claims Object

	signed    string // header and payload, as they were signed
	signature []byte
}

// Header is what is read of a header.
type Header struct {
	Algorithm string // alg
	KeyID     string // kid; empty when absent
	Type      string // typ; empty when absent
}

// latest is the header that was read last: the tokens of an issuer have one and the same until its key changes.
var latest atomic.Pointer[knownHeader]

type knownHeader struct {
	text string
	Header
}

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
	var err error
	if t.Header, err = readHeader(header); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
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

func readHeader(part string) (h Header, err error) {
	if known := latest.Load(); known != nil && known.text == part {
		return known.Header, nil
	}
	header, err := decodePart(part)
	if err != nil {
		return h, err
	}
	var r reader
	for _, m := range header {
		switch m.Name {
		case "alg":
			r.text(m, &h.Algorithm)
		case "kid":
			r.text(m, &h.KeyID)
		case "typ":
			if r.text(m, &h.Type); h.Type == "" {
				r.fail(m, "the name of a type") // it is not absent
			}
		case "cty":
			var contentType string
			r.text(m, &contentType)
			switch strings.ToLower(contentType) { // RFC 7519 §5.2, RFC 7515 §4.1.10
			case "jwt", "application/jwt":
				return Header{}, errors.New("nested tokens are not accepted")
			}
		case "crit", "b64": // RFC 7515 §4.1.11: no extension is understood here. b64 (RFC 7797) changes what was signed.
			return Header{}, fmt.Errorf("%s is not supported", m.Name)
		case "jwk", "jku", "x5u", "x5c":
			// A key of the sender's choice, or its name (RFC 7515 §4.1.2, .3, .5, .6): following it would let the token
			// choose what it is verified with.
			return Header{}, fmt.Errorf("%s is not accepted: keys come from the issuer", m.Name)
		}
	}
	if r.err == nil && h.Algorithm == "" {
		r.err = errors.New("alg is missing") // RFC 7515 §4.1.1
	}
	if r.err != nil {
		return Header{}, r.err
	}
	latest.Store(&knownHeader{strings.Clone(part), h})
	return h, nil
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

func decodePart(part string) (Object, error) {
	buffer := buffers.Get().(*[MaxSize]byte)
	defer buffers.Put(buffer)
	data, err := appendBase64(buffer[:0], part)
	if err != nil {
		return nil, err
	}
	return DecodeObject(data)
}
