package introspect

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
)

// Keys are made once: RSA takes a while.
var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return generated(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey    = sync.OnceValue(func() *ecdsa.PrivateKey { return newEC(elliptic.P256()) })
	ecKeyPEM = sync.OnceValue(func() string { return block("PRIVATE KEY", pkcs8(ecKey())) })
)

func generated[K any](key K, err error) K {
	if err != nil {
		panic(err)
	}
	return key
}

func newEC(curve elliptic.Curve) *ecdsa.PrivateKey {
	return generated(ecdsa.GenerateKey(curve, rand.Reader))
}

func pkcs8(key any) []byte { return generated(x509.MarshalPKCS8PrivateKey(key)) }

func block(kind string, data []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
}

// 7662-01, 7662-02: both parts of client_secret_basic are form-encoded before they are Basic (RFC 6749 §2.3.1).
func TestClientSecretBasic(t *testing.T) {
	for _, tt := range []struct{ id, secret, want string }{
		{"0oaGateway", "hunter2", "MG9hR2F0ZXdheTpodW50ZXIy"},
		{"a:b c", "p+/=&%ü:", "YSUzQWIrYzpwJTJCJTJGJTNEJTI2JTI1JUMzJUJDJTNB"}, // a%3Ab+c:p%2B%2F%3D%26%25%C3%BC%3A
	} {
		i := &issuer{respond: answers(200, active)}
		good(t, listen(t, i, func(c *Config) { c.ClientID, c.ClientSecret = tt.id, tt.secret }), "token")
		got := i.calls()[0]
		if v := got.header.Values("Authorization"); len(v) != 1 || v[0] != "Basic "+tt.want {
			t.Errorf("Authorization is %q, want Basic %s", v, tt.want)
		}
		if len(got.form) != 2 {
			t.Errorf("the form is %v, want nothing but token and token_type_hint", got.form)
		}
	}
}

// 7662-01: the assertion of private_key_jwt, read by an independent implementation's verifier.
func TestPrivateKeyJWT(t *testing.T) {
	p384, p521 := newEC(elliptic.P384()), newEC(elliptic.P521())
	parameters := block("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}) // as openssl writes it
	for _, tt := range []struct {
		name, pem, kid string
		algorithm      jose.SignatureAlgorithm
		public         crypto.PublicKey
	}{
		{"RSA in PKCS 8", block("PRIVATE KEY", pkcs8(rsaKey())), "k1", jose.RS256, rsaKey().Public()},
		{"RSA in PKCS 1", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey())), "", jose.RS256, rsaKey().Public()},
		{"P-256 in PKCS 8", ecKeyPEM(), "k 2", jose.ES256, ecKey().Public()},
		{"P-256 in SEC 1", parameters + block("EC PRIVATE KEY", generated(x509.MarshalECPrivateKey(ecKey()))), "", jose.ES256, ecKey().Public()},
		{"P-384", block("PRIVATE KEY", pkcs8(p384)), "", jose.ES384, p384.Public()},
		{"P-521", block("PRIVATE KEY", pkcs8(p521)), "", jose.ES512, p521.Public()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			i := &issuer{respond: answers(200, active)}
			c := listen(t, i, func(c *Config) { c.ClientSecret, c.PrivateKey, c.KeyID = "", tt.pem, tt.kid })
			good(t, c, "one")
			good(t, c, "two")
			ids := make(map[any]bool)
			for _, got := range i.calls() {
				if got.header.Get("Authorization") != "" || len(got.form) != 4 ||
					got.form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
					t.Errorf("the call is %v, %v", got.header, got.form)
				}
				assertion, err := josejwt.ParseSigned(got.form.Get("client_assertion"), []jose.SignatureAlgorithm{tt.algorithm})
				if err != nil {
					t.Fatal(err)
				}
				var claims map[string]any
				if err := assertion.Claims(tt.public, &claims); err != nil {
					t.Fatal(err)
				}
				if h := assertion.Headers[0]; h.KeyID != tt.kid || h.ExtraHeaders["typ"] != "JWT" {
					t.Errorf("the header is %+v", h)
				}
				exp, iat := claims["exp"].(float64), claims["iat"].(float64)
				if age := float64(time.Now().Unix()) - iat; age < 0 || age > 30 || exp-iat != 60 {
					t.Errorf("iat is %.0f, exp is %.0f", iat, exp)
				}
				endpoint := "http://" + got.host + got.path
				if claims["iss"] != "0oaGateway" || claims["sub"] != "0oaGateway" || claims["aud"] != endpoint || len(claims) != 6 {
					t.Errorf("the claims are %v, want the audience %s", claims, endpoint)
				}
				ids[claims["jti"]] = true
			}
			if len(ids) != 2 || ids[""] {
				t.Errorf("two calls have the ids %v", ids)
			}
		})
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	broken := pkcs8(ecKey())
	for name, tt := range map[string]struct{ pem, want string }{
		"nothing":           {"", "no PEM private key found"},
		"a certificate":     {block("CERTIFICATE", []byte{1}), "no PEM private key found"},
		"a public key":      {block("PUBLIC KEY", generated(x509.MarshalPKIXPublicKey(ecKey().Public()))), "no PEM private key found"},
		"an encrypted key":  {block("ENCRYPTED PRIVATE KEY", []byte{1}), "the key is encrypted"},
		"a broken key":      {block("PRIVATE KEY", broken[:len(broken)-9]), "asn1"},
		"a broken RSA key":  {block("RSA PRIVATE KEY", []byte{1}), "asn1"},
		"a broken EC key":   {block("EC PRIVATE KEY", []byte{1}), "failed to parse EC private key"},
		"an Ed25519 key":    {block("PRIVATE KEY", pkcs8(ed)), "neither an RSA key nor an EC key"},
		"a key on P-224":    {block("PRIVATE KEY", pkcs8(newEC(elliptic.P224()))), "neither an RSA key nor an EC key"},
		"a short RSA key":   {block("PRIVATE KEY", pkcs8(generated(rsa.GenerateKey(rand.Reader, 1024)))), "1024 bits is too short: at least 2048"},
		"a text after junk": {strings.Repeat("-----BEGIN ", 3), "no PEM private key found"},
	} {
		key, err := parseKey(tt.pem)
		if key.Key != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("parseKey(%s) = %v, want an error with %q", name, err, tt.want)
		}
	}
	if key, err := parseKey("notes\n" + block("CERTIFICATE", []byte{1}) + ecKeyPEM()); err != nil || !bytes.Equal(pkcs8(key.Key), pkcs8(ecKey())) {
		t.Errorf("parseKey(a certificate and a key) = %v", err)
	}
}
