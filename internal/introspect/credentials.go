package introspect

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
)

// credentials add what proves the gateway to be its client, to the form or to the header of a call.
type credentials func(endpoint string, form url.Values, header http.Header) error

func newCredentials(c Config) (credentials, error) {
	if c.PrivateKey == "" {
		return basic(c.ClientID, c.ClientSecret), nil
	}
	key, err := parseKey(c.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("private_key: %w", err)
	}
	key.Key = jose.JSONWebKey{Key: key.Key, KeyID: c.KeyID}
	signer, err := jose.NewSigner(key, new(jose.SignerOptions).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("private_key: %w", err)
	}
	return assertion(c.ClientID, signer), nil
}

// basic is client_secret_basic: both parts are form-encoded first (RFC 6749 §2.3.1), which plain HTTP Basic is not.
func basic(id, secret string) credentials {
	pair := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
	value := "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
	return func(_ string, _ url.Values, header http.Header) error {
		header.Set("Authorization", value)
		return nil
	}
}

// assertion is private_key_jwt (RFC 7523 §2.2, §3). Each call has one of its own: Okta takes a jti once.
func assertion(id string, signer jose.Signer) credentials {
	return func(endpoint string, form url.Values, _ http.Header) error {
		now := time.Now()
		text, err := josejwt.Signed(signer).Claims(map[string]any{
			"iss": id,
			"sub": id,
			"aud": endpoint,
			"jti": rand.Text(),
			"iat": now.Unix(),
			"exp": now.Add(time.Minute).Unix(),
		}).Serialize()
		if err != nil {
			return fmt.Errorf("signing with private_key: %w", err)
		}
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", text)
		return nil
	}
}

// parseKey reads the first private key of a PEM text, and tells with what it signs (RFC 7518 §3.1).
func parseKey(text string) (jose.SigningKey, error) {
	var key any
	for rest := []byte(text); key == nil; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return jose.SigningKey{}, errors.New("no PEM private key found")
		}
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			err = errors.New("the key is encrypted: decrypt it, for example with openssl pkey")
		}
		if err != nil {
			return jose.SigningKey{}, err
		}
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if bits := k.N.BitLen(); bits < 2048 { // RFC 7518 §3.3
			return jose.SigningKey{}, fmt.Errorf("an RSA key of %d bits is too short: at least 2048", bits)
		}
		return jose.SigningKey{Algorithm: jose.RS256, Key: k}, nil
	case *ecdsa.PrivateKey:
		algorithm, ok := map[elliptic.Curve]jose.SignatureAlgorithm{
			elliptic.P256(): jose.ES256, elliptic.P384(): jose.ES384, elliptic.P521(): jose.ES512,
		}[k.Curve]
		if ok {
			return jose.SigningKey{Algorithm: algorithm, Key: k}, nil
		}
	}
	return jose.SigningKey{}, errors.New("neither an RSA key nor an EC key on P-256, P-384 or P-521")
}
