package dpop

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// judge runs a proof through the three steps and names the one that refuses it.
func judge(proof string, r Request) (outcome string, p *Proof, err error) {
	if p, err = Parse(proof); err != nil {
		return "parse", nil, err
	}
	if err := p.Check(r); err != nil {
		return "check", p, err
	}
	if err := p.Verify(); err != nil {
		return "verify", p, err
	}
	return "ok", p, nil
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.name, func(t *testing.T) {
			checkFields(t, v)
			outcome, p, err := judge(v.proof, v.request(t))
			if want := v.fields["expect"]; outcome != want {
				t.Fatalf("%s: outcome %s (%v), want %s", v.fields["comment"], outcome, err, want)
			}
			if want := v.fields["error"]; want != "" && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error is %q, want %q in it", v.fields["comment"], err, want)
			}
			if want := v.fields["thumbprint"]; want != "" && p.Thumbprint != want {
				t.Errorf("the thumbprint is %s, want %s", p.Thumbprint, want)
			}
		})
	}
}

// request is what the vector is judged for: the usual one, save for what it says.
func (v vector) request(tb testing.TB) Request {
	tb.Helper()
	r := request()
	for name, into := range map[string]*string{"method": &r.Method, "url": &r.URL, "token": &r.Token} {
		if value, ok := v.fields[name]; ok {
			*into = value
		}
	}
	if text, ok := v.fields["now"]; ok {
		now, err := time.Parse(time.RFC3339, text)
		if err != nil {
			tb.Fatal(err)
		}
		r.Now = now
	}
	return r
}

// checkFields makes sure that what a vector says about itself is true: a reader sees the header and the payload as
// text and need not decode them.
func checkFields(t *testing.T, v vector) {
	t.Helper()
	known := []string{
		"case", "comment", "error", "expect", "header", "method", "now", "payload", "thumbprint", "token", "url",
	}
	for name, value := range v.fields {
		if !slices.Contains(known, name) || value == "" {
			t.Fatalf("the line %q is not known or empty", name+": "+value)
		}
	}
	for _, name := range []string{"comment", "case", "expect"} {
		if v.fields[name] == "" {
			t.Fatalf("the line %q is missing", name)
		}
	}
	for i, name := range []string{"header", "payload"} {
		text, ok := v.fields[name]
		if !ok {
			continue
		}
		part := strings.Split(v.proof, ".")[i]
		if decoded, err := base64.RawURLEncoding.DecodeString(part); string(decoded) != text {
			t.Errorf("the proof's %s is %s (%v), not %s", name, decoded, err, text)
		}
	}
}

// No message may repeat what a proof or a token holds: they end up in logs.
func TestErrorsTellNothingOfTheProof(t *testing.T) {
	for _, v := range vectors(t) {
		r := v.request(t)
		_, _, err := judge(v.proof, r)
		if err == nil {
			continue
		}
		for _, secret := range append(strings.FieldsFunc(v.proof, func(c rune) bool { return c == '.' }), r.Token) {
			if len(secret) > 8 && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error %q repeats a part of the proof or the token", v.name, err)
			}
		}
		for _, value := range []string{"evil", "e1j3V_bKic8", "orders"} {
			if strings.Contains(err.Error(), value) {
				t.Errorf("%s: the error %q repeats a value of the proof", v.name, err)
			}
		}
	}
}

// The other implementation agrees on every proof that is good, and reads the same thumbprint from it. The other
// direction is of no interest: we are stricter in many ways.
func TestSecondOpinionOnVectors(t *testing.T) {
	agreed := 0
	for _, v := range vectors(t) {
		outcome, p, _ := judge(v.proof, v.request(t))
		if outcome != "ok" {
			continue
		}
		agreed++
		if thumbprint, err := secondOpinion(v.proof); err != nil || thumbprint != p.Thumbprint {
			t.Errorf("%s: go-jose reads the thumbprint %s (%v), want %s", v.name, thumbprint, err, p.Thumbprint)
		}
	}
	if agreed < 40 {
		t.Errorf("%d vectors are good, want at least 40: the comparison is idle", agreed)
	}
}

// The numbers are those of the conformance list. Replays and nonces have tests of their own; what is missing depends
// on a route, on the token or on HTTP, and is tested where that is known.
func TestVectorsCoverTheConformanceCases(t *testing.T) {
	covered := make(map[string]bool)
	for _, v := range vectors(t) {
		for number := range strings.FieldsSeq(v.fields["case"]) {
			covered[number] = true
		}
	}
	for source, numbers := range map[string][]int{
		"7515": {1, 2, 3, 4, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17},
		"7517": {2, 3},
		"7518": {1, 2, 3},
		"9449": {4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17, 19, 20, 21, 24, 43, 50},
	} {
		for _, n := range numbers {
			if number := fmt.Sprintf("%s-%02d", source, n); !covered[number] {
				t.Errorf("no vector covers the case %s", number)
			}
		}
	}
}
