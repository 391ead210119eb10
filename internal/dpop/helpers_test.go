package dpop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// token is the access token that the vectors are made for.
const token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"

// issued is the iat of the vectors, 2026-01-01T00:00:00Z.
var issued = time.Unix(1767225600, 0)

// request is what the vectors are made for, ten seconds later.
func request() Request {
	return Request{
		Method: "GET", URL: "https://api.example.com/orders/17", Token: token,
		Now: issued.Add(10 * time.Second), MaxAge: 60 * time.Second, Skew: 30 * time.Second,
	}
}

// clientKeys returns the keys that the vectors are signed with, by kid. Their private halves lie beside the vectors,
// so that anybody can sign another one.
func clientKeys(tb testing.TB) map[string]jose.JSONWebKey {
	tb.Helper()
	text, err := os.ReadFile("testdata/keys/client.json")
	if err != nil {
		tb.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(text, &set); err != nil {
		tb.Fatal(err)
	}
	keys := make(map[string]jose.JSONWebKey)
	for _, k := range set.Keys {
		keys[k.KeyID] = k
	}
	if len(keys) < 5 {
		tb.Fatalf("found %d keys, want at least 5", len(keys))
	}
	return keys
}

// client makes proofs with the key es256, in many ways.
type client struct {
	key *ecdsa.PrivateKey
	jwk string
}

func newClient(tb testing.TB) client {
	tb.Helper()
	key, ok := clientKeys(tb)["es256"].Key.(*ecdsa.PrivateKey)
	if !ok {
		tb.Fatal("es256 is no ECDSA key")
	}
	return client{key, publicJWK(tb, key)}
}

func publicJWK(tb testing.TB, key *ecdsa.PrivateKey) string {
	tb.Helper()
	point, err := key.PublicKey.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	return fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, encode(point[1:33]), encode(point[33:]))
}

// header returns a proof's header, with more members at its end.
func (c client) header(more string) string {
	return fmt.Sprintf(`{"typ":"dpop+jwt","alg":"ES256","jwk":%s%s}`, c.jwk, more)
}

// claims returns what request() asks for, as JSON members that a test may replace.
func claims(jti string) string {
	digest := sha256.Sum256([]byte(token))
	return fmt.Sprintf(`{"jti":%q,"htm":"GET","htu":"https://api.example.com/orders/17","iat":%d,"ath":%q}`,
		jti, issued.Unix(), encode(digest[:]))
}

func (c client) sign(tb testing.TB, header, payload string) string {
	tb.Helper()
	signed := encode([]byte(header)) + "." + encode([]byte(payload))
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, c.key, digest[:])
	if err != nil {
		tb.Fatal(err)
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + encode(signature[:])
}

// proof returns a parsed proof of the client.
func (c client) proof(tb testing.TB, payload string) *Proof {
	tb.Helper()
	p, err := Parse(c.sign(tb, c.header(""), payload))
	if err != nil {
		tb.Fatalf("Parse(%s) = %v, want a proof", payload, err)
	}
	return p
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// vector is one file of testdata: lines of "name: value", an empty line, and the value of a DPoP header.
type vector struct {
	name   string
	fields map[string]string
	proof  string
}

// vectors reads testdata. The last line break of a file is not part of its proof; others are.
func vectors(tb testing.TB) (all []vector) {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		tb.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		head, proof, ok := strings.Cut(string(text), "\n\n")
		proof, ended := strings.CutSuffix(proof, "\n")
		if !ok || !ended {
			tb.Fatalf("%s: want lines, an empty line, a proof and a line break", file)
		}
		v := vector{strings.TrimSuffix(filepath.Base(file), ".txt"), map[string]string{}, proof}
		for line := range strings.SplitSeq(head, "\n") {
			name, value, ok := strings.Cut(line, ": ")
			if _, twice := v.fields[name]; !ok || twice {
				tb.Fatalf("%s: the line %q is no new \"name: value\"", file, line)
			}
			v.fields[name] = value
		}
		all = append(all, v)
	}
	if len(all) < 130 {
		tb.Fatalf("found %d vectors, want at least 130", len(all))
	}
	return all
}

// secondOpinion verifies a proof with another implementation, with the key that it reads from the proof, and returns
// that key's thumbprint.
func secondOpinion(proof string) (string, error) {
	algorithms := make([]jose.SignatureAlgorithm, len(Algorithms))
	for i, name := range Algorithms {
		algorithms[i] = jose.SignatureAlgorithm(name)
	}
	jws, err := jose.ParseSignedCompact(proof, algorithms)
	if err != nil {
		return "", err
	}
	key := jws.Signatures[0].Header.JSONWebKey
	if key == nil || !key.IsPublic() {
		return "", errors.New("there is no public key in the header")
	}
	if _, err = jws.Verify(key); err != nil {
		return "", err
	}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	return encode(thumbprint), err
}
