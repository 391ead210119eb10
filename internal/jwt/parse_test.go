package jwt

import (
	"reflect"
	"strings"
	"testing"
)

// valid is a token that Parse accepts: it looks at no signature.
var valid = encode(`{"alg":"RS256","kid":"k","typ":"JWT"}`) + "." + encode(`{"sub":"ada"}`) + "." + encode("signature")

func TestParseReads(t *testing.T) {
	parsed := mustParse(t, valid)
	if parsed.Algorithm != "RS256" || parsed.KeyID != "k" || parsed.Type != "JWT" || !reflect.DeepEqual(parsed.Claims, Object{{"sub", "ada"}}) {
		t.Errorf("Parse = %+v, want RS256, k, JWT, sub ada", parsed)
	}
	if want := valid[:strings.LastIndexByte(valid, '.')]; parsed.signed != want || string(parsed.signature) != "signature" {
		t.Errorf("signed %q and signature %q, want %q and signature", parsed.signed, parsed.signature, want)
	}
	parsed = mustParse(t, encode(`{"alg":"x"}`)+"."+encode(`{}`)+"."+encode("s"))
	if parsed.Algorithm != "x" || parsed.KeyID != "" || parsed.Type != "" || len(parsed.Claims) != 0 {
		t.Errorf("Parse = %+v, want alg x and nothing else", parsed)
	}
}

// The vectors hold the attacks; here each part says that it is the one at fault.
func TestParseNamesThePartAtFault(t *testing.T) {
	head, payload, signature := encode(`{"alg":"RS256"}`), encode(`{}`), encode("s")
	for _, test := range []struct{ name, token, want string }{
		{"the empty text", "", "three parts"},
		{"a thousand dots", strings.Repeat(".", 1000), "three parts"},
		{"an empty header", "." + payload + "." + signature, "header: "},
		{"a header that is not base64url", "e30=." + payload + "." + signature, "header: "},
		{"a header that is no object", encode(`[]`) + "." + payload + "." + signature, "header: "},
		{"a header without alg", encode(`{}`) + "." + payload + "." + signature, "header: alg"},
		{"an empty payload", head + ".." + signature, "payload: "},
		{"a payload that is not base64url", head + ".e30=." + signature, "payload: "},
		{"a payload with a line break", head + ".e30\n." + signature, "payload: "},
		{"a payload that is no object", head + "." + encode(`7`) + "." + signature, "payload: "},
		{"an empty signature", head + "." + payload + ".", "signature: "},
		{"a signature that is not base64url", head + "." + payload + ".A", "signature: "},
		{"a signature of line breaks alone", head + "." + payload + ".\n\r", "signature: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			parsed, err := Parse(test.token)
			if parsed != nil || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Parse(%.60q) = %v, %v, want an error about %q", test.token, parsed, err, test.want)
			}
		})
	}
}

func TestParseRefusesHeaderMembers(t *testing.T) {
	for _, member := range []string{
		`"crit":[]`, `"b64":true`, `"jwk":{}`, `"jku":"u"`, `"x5u":"u"`, `"x5c":[]`, `"cty":"JWT"`, `"cty":"application/JWT"`, `"cty":7`, `"typ":""`, `"typ":null`,
	} {
		header := `{"alg":"RS256",` + member + `}`
		if parsed, err := Parse(encode(header) + "." + encode(`{}`) + "." + encode("s")); err == nil {
			t.Errorf("Parse(header %s) = %+v, want an error", header, parsed)
		}
	}
}

// Whatever arrives is read once at most, and what is too long is not read at all.
func TestParseIsBounded(t *testing.T) {
	fill := encode(`{"alg":"RS256"}`) + "." + encode(`{}`) + "."
	if _, err := Parse(fill + strings.Repeat("A", MaxSize-len(fill)-len(fill)%4)); err != nil {
		t.Errorf("Parse(a long signature) = %v, want a token", err)
	}
	for _, text := range []string{
		fill + strings.Repeat("A", MaxSize),
		strings.Repeat(".", 10<<20),
		valid + strings.Repeat(" ", MaxSize),
	} {
		allocs := testing.AllocsPerRun(5, func() {
			if _, err := Parse(text); err == nil {
				t.Errorf("Parse(%d bytes) = nil, want an error", len(text))
			}
		})
		if allocs > 4 {
			t.Errorf("Parse(%d bytes) makes %.0f allocations, want at most 4", len(text), allocs)
		}
	}
}

// Headers repeat, and are then not read again. What one token brought must not show in another, and what was refused is
// refused each time.
func TestParseReadsEachHeaderAsItIs(t *testing.T) {
	rest := "." + encode(`{}`) + "." + encode("s")
	for range 2 {
		for _, kid := range []string{"one", "one", "two", "one"} {
			if parsed := mustParse(t, encode(`{"alg":"x","kid":"`+kid+`"}`)+rest); parsed.KeyID != kid || parsed.Type != "" {
				t.Errorf("Parse reads kid %q and typ %q, want %q alone", parsed.KeyID, parsed.Type, kid)
			}
		}
		if parsed := mustParse(t, valid); parsed.Type != "JWT" || parsed.KeyID != "k" {
			t.Errorf("Parse reads kid %q and typ %q, want k and JWT", parsed.KeyID, parsed.Type)
		}
	}
	proof := encode(proofHeader)
	for range 2 {
		if _, err := ParseProof(proof + "." + encode(proofPayload) + "." + encode("s")); err != nil {
			t.Fatal(err)
		}
		if parsed, err := Parse(proof + rest); err == nil {
			t.Errorf("Parse(header of a proof) = %+v, want an error", parsed)
		}
	}
}
