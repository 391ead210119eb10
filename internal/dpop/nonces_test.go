package dpop

import (
	"strings"
	"testing"
	"time"
)

// 9449-27, 9449-29
func TestNoncesOfThisAndTheLastStepAreGood(t *testing.T) {
	n := NewNonces()
	given := n.Current(issued) // the first moment of a step
	for _, test := range []struct {
		after time.Duration
		want  bool
	}{
		{-time.Nanosecond, false}, {0, true}, {step - 1, true}, {step, true}, {2*step - 1, true}, {2 * step, false}, {3 * step, false},
		{-step, false}, {24 * time.Hour, false},
	} {
		if got := n.Valid(given, issued.Add(test.after)); got != test.want {
			t.Errorf("%s later, Valid = %t, want %t", test.after, got, test.want)
		}
	}
	if next := n.Current(issued.Add(step)); next == given {
		t.Error("the nonce of the next step is the same, want another one")
	}
	if again := n.Current(issued.Add(step - 1)); again != given {
		t.Error("the nonce changes within its step")
	}
}

// 9449-27, 9449-31
func TestNoncesOfOthersAreNotGood(t *testing.T) {
	n := NewNonces()
	good := n.Current(issued)
	for name, nonce := range map[string]string{
		"none at all":          "",
		"one that is too long": good + "A",
		"a part of it":         good[:len(good)-1],
		"another case":         strings.ToLower(good),
		"another server's":     NewNonces().Current(issued),
		"an issuer's":          "eyJ7S_zG.eyJH0-Z.HX4w-7v",
	} {
		if n.Valid(nonce, issued) {
			t.Errorf("Valid(%s) = true, want false", name)
		}
	}
}

// 9449-30
func TestNoncesAreMadeOfNonceCharacters(t *testing.T) {
	n := NewNonces()
	for i := range 1000 {
		nonce := n.Current(issued.Add(time.Duration(i) * step))
		for _, c := range []byte(nonce) {
			if c < 0x21 || c == 0x22 || c == 0x5C || c > 0x7E {
				t.Fatalf("the nonce %q has the character %#x", nonce, c)
			}
		}
		if len(nonce) < 22 {
			t.Fatalf("the nonce %q has less than 128 bits", nonce)
		}
	}
}
