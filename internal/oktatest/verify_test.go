package oktatest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

func start(t *testing.T, cfg oktatest.Config) *oktatest.Server {
	t.Helper()
	srv, err := oktatest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	return srv
}

func custom(t *testing.T) *oktatest.Server {
	t.Helper()
	return start(t, oktatest.Config{ID: "default"})
}

// get fetches a URL of srv and returns status, header and body.
func get(t *testing.T, srv *oktatest.Server, url string) (int, http.Header, string) {
	t.Helper()
	res, err := srv.Client().Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(body)
}

func getJSON(t *testing.T, srv *oktatest.Server, url string) map[string]any {
	t.Helper()
	status, _, body := get(t, srv, url)
	if status != http.StatusOK {
		t.Fatalf("GET %s: status %d", url, status)
	}
	return object(t, []byte(body))
}

func object(t *testing.T, text []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return m
}

// parts returns header, claims and signature of a token.
func parts(t *testing.T, token string) (header, claims map[string]any, signature []byte) {
	t.Helper()
	text := strings.Split(token, ".")
	if len(text) != 3 {
		t.Fatalf("a token of %d parts", len(text))
	}
	return object(t, decode(t, text[0])), object(t, decode(t, text[1])), decode(t, text[2])
}

func decode(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// verify checks a token the long way: the key comes from the published document and from nowhere else.
func verify(t *testing.T, srv *oktatest.Server, token string) error {
	t.Helper()
	header, _, _ := parts(t, token)
	for _, entry := range getJSON(t, srv, srv.EndpointURL(oktatest.Keys))["keys"].([]any) {
		if jwk := entry.(map[string]any); jwk["kid"] == header["kid"] {
			return check(t, header["alg"].(string), publicKey(t, jwk), token)
		}
	}
	return errors.New("unknown kid")
}

var hashes = map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}

// check verifies with the standard library alone.
func check(t *testing.T, alg string, public any, token string) error {
	t.Helper()
	signed := token[:strings.LastIndexByte(token, '.')]
	signature := decode(t, token[len(signed)+1:])
	hash := hashes[alg[2:]]
	var digest []byte
	if hash != 0 {
		h := hash.New()
		h.Write([]byte(signed))
		digest = h.Sum(nil)
	}
	good := false
	switch alg[:2] {
	case "RS":
		return rsa.VerifyPKCS1v15(public.(*rsa.PublicKey), hash, digest, signature)
	case "PS":
		return rsa.VerifyPSS(public.(*rsa.PublicKey), hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case "ES":
		key := public.(*ecdsa.PublicKey)
		size := (key.Curve.Params().BitSize + 7) / 8
		if len(signature) != 2*size {
			return fmt.Errorf("a signature of %d bytes", len(signature))
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		good = ecdsa.Verify(key, digest, r, s)
	case "Ed":
		good = ed25519.Verify(public.(ed25519.PublicKey), []byte(signed), signature)
	case "HS":
		mac := hmac.New(hash.New, public.([]byte))
		mac.Write([]byte(signed))
		good = hmac.Equal(mac.Sum(nil), signature)
	}
	if !good {
		return errors.New("bad signature")
	}
	return nil
}

func publicKey(t *testing.T, jwk map[string]any) any {
	t.Helper()
	bytesOf := func(name string) []byte { return decode(t, jwk[name].(string)) }
	switch jwk["kty"] {
	case "RSA":
		return &rsa.PublicKey{N: new(big.Int).SetBytes(bytesOf("n")), E: int(new(big.Int).SetBytes(bytesOf("e")).Int64())}
	case "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[jwk["crv"].(string)]
		key, err := ecdsa.ParseUncompressedPublicKey(curve, bytes.Join([][]byte{{4}, bytesOf("x"), bytesOf("y")}, nil))
		if err != nil {
			t.Fatal(err)
		}
		return key
	case "OKP":
		return ed25519.PublicKey(bytesOf("x"))
	}
	t.Fatalf("an unknown kty %v", jwk["kty"])
	return nil
}

// members returns the names in a JSON object, sorted.
func members(m map[string]any) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), " ")
}
