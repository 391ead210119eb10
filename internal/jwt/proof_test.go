package jwt

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

const (
	proofHeader  = `{"alg":"ES256","typ":"dpop+jwt","kid":"1","jwk":{"kty":"EC","n":[1]},"x":{}}`
	proofPayload = `{"jti":"1","htm":"GET","htu":"https://h/","iat":1,"ath":"a","nonce":"n","exp":2.5,"nbf":3,"aud":5,"iss":null}`
)

func TestParseProofReads(t *testing.T) {
	text := encode(proofHeader) + "." + encode(proofPayload)
	p, err := ParseProof(text + "." + encode("signature"))
	if err != nil {
		t.Fatal(err)
	}
	want := &Proof{
		Token: Token{
			Header: Header{Algorithm: "ES256", KeyID: "1", Type: "dpop+jwt"}, Claims: mustDecode(t, proofPayload),
			signed: text, signature: []byte("signature"),
		},
		Key: map[string]any{"kty": "EC", "n": []any{int64(1)}},
		ID:  "1", Method: "GET", URL: "https://h/", TokenHash: "a", Nonce: "n",
		IssuedAt: time.Unix(1, 0), ExpiresAt: time.Unix(2, 5e8), NotBefore: time.Unix(3, 0),
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("ParseProof = %+v, want %+v", p, want)
	}
}

func TestParseProofRefuses(t *testing.T) {
	header := func(old, new string) string {
		return encode(strings.Replace(proofHeader, old, new, 1)) + "." + encode(proofPayload) + ".AA"
	}
	payload := func(old, new string) string {
		return encode(proofHeader) + "." + encode(strings.Replace(proofPayload, old, new, 1)) + ".AA"
	}
	for _, test := range []struct{ name, text, want string }{
		{"nothing", "", "three parts"},
		{"two parts", "e30.e30", "three parts"},
		{"four parts", "e30.e30.AA.", "three parts"},
		{"a million dots", strings.Repeat(".", 1<<20), "longer than"},
		{"a byte too many", strings.Repeat("A", MaxProofSize-2) + "...", "longer than"},
		{"a header that is no base64url", "e3+/.e30.AA", "header: illegal"},
		{"a payload that is no base64url", encode(proofHeader) + ".e3=.AA", "payload: illegal"},
		{"a signature that is no base64url", header("", "") + "=", "signature: illegal"},
		{"a line break in the signature", header("", "") + "\n", "signature: line break"},
		{"a header that is no object", "W10.e30.AA", "header: not a JSON object"},
		{"a payload that is no object", encode(proofHeader) + ".W10.AA", "payload: not a JSON object"},
		{"crit", header(`"x"`, `"crit"`), "crit is not accepted"},
		{"b64", header(`"x"`, `"b64"`), "b64 is not accepted"},
		{"jku", header(`"x"`, `"jku"`), "jku is not accepted"},
		{"x5u", header(`"x"`, `"x5u"`), "x5u is not accepted"},
		{"x5c", header(`"x"`, `"x5c"`), "x5c is not accepted"},
		{"no jwk", header(`"jwk"`, `"JWK"`), "jwk is missing"},
		{"a jwk that is a text", header(`{"kty":"EC","n":[1]}`, `"k"`), `"jwk" is not an object`},
		{"a jwk twice", header(`"x"`, `"jwk"`), "occurs twice"},
		{"an alg that is no text", header(`"ES256"`, `1`), `"alg" is not a text`},
		{"a typ that is no text", header(`"dpop+jwt"`, `null`), `"typ" is not a text`},
		{"a kid that is no text", header(`"1"`, `1`), `"kid" is not a text`},
		{"no jti", payload(`"jti"`, `"x"`), "jti is missing"},
		{"no htm", payload(`"htm"`, `"x"`), "htm is missing"},
		{"no htu", payload(`"htu"`, `"x"`), "htu is missing"},
		{"no iat", payload(`"iat"`, `"x"`), "iat is missing"},
		{"a jti that is no text", payload(`"jti":"1"`, `"jti":1`), `"jti" is not a text`},
		{"an htm that is no text", payload(`"GET"`, `1`), `"htm" is not a text`},
		{"an htu that is no text", payload(`"https://h/"`, `{}`), `"htu" is not a text`},
		{"an ath that is no text", payload(`"a"`, `null`), `"ath" is not a text`},
		{"a nonce that is no text", payload(`"n"`, `["n"]`), `"nonce" is not a text`},
		{"an iat that is no time", payload(`"iat":1`, `"iat":"1"`), `"iat" is not a time`},
		{"an exp that is no time", payload(`2.5`, `"2"`), `"exp" is not a time`},
		{"an nbf that is no time", payload(`3`, `null`), `"nbf" is not a time`},
		{"a claim twice", payload(`"aud"`, `"htm"`), "occurs twice"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := ParseProof(test.text)
			if err == nil || !strings.Contains(err.Error(), test.want) || p != nil {
				t.Errorf("ParseProof = %v, %v, want an error with %q", p, err, test.want)
			}
		})
	}
}

// A token brings no key and a proof must: neither is ever read as the other.
func TestProofsAndTokensAreKeptApart(t *testing.T) {
	proof := encode(proofHeader) + "." + encode(proofPayload) + ".AA"
	if _, err := Parse(proof); err == nil {
		t.Error("Parse reads a proof")
	}
	for _, v := range vectors(t) {
		if _, err := Parse(v.token); err != nil {
			continue
		}
		if _, err := ParseProof(v.token); err == nil {
			t.Errorf("%s: ParseProof reads a token", v.name)
		}
	}
}
