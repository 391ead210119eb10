package jwt

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

// shared tells whether two equal texts are one in memory.
func shared(a, b string) bool { return a == b && unsafe.StringData(a) == unsafe.StringData(b) }

func TestTokensShareWhatTheyHaveInCommon(t *testing.T) {
	const text = `{"iss":"https://a.test","aud":["x.test"],"client_id":"client 1","scp":["scope 1"],"groups":["group 1"],"sub":"ada 1"}`
	read := func() *Claims {
		c, err := ParseClaims(mustDecode(t, text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	read() // and learn
	a, b := read(), read()
	for name, pair := range map[string][2]string{
		"iss":    {a.Issuer, b.Issuer},
		"aud":    {a.Audience[0], b.Audience[0]},
		"client": {a.ClientID, b.ClientID},
		"scp":    {a.Scopes[0], b.Scopes[0]},
		"groups": {a.Groups[0], b.Groups[0]},
	} {
		if !shared(pair[0], pair[1]) {
			t.Errorf("%s is kept twice: %q and %q", name, pair[0], pair[1])
		}
	}
	if shared(a.Subject, b.Subject) {
		t.Error("a subject was learnt: there are too many of them")
	}
}

func TestAVocabularyIsBounded(t *testing.T) {
	v := newVocabulary([]string{"first"})
	v.learn([]string{strings.Repeat("w", maxWord+1)})
	if n := len(*v.known.Load()); n != 1 {
		t.Errorf("after a text of %d bytes there are %d, want 1", maxWord+1, n)
	}
	v.learn([]string{strings.Repeat("w", maxWord)})
	if n := len(*v.known.Load()); n != 2 {
		t.Errorf("after a text of %d bytes there are %d, want 2", maxWord, n)
	}
	for i := range maxWords {
		v.learn([]string{fmt.Sprint("a", i)}, []string{fmt.Sprint("b", i), fmt.Sprint("c", i), "first"})
	}
	if n := len(*v.known.Load()); n != maxWords {
		t.Errorf("after thousands of texts there are %d, want %d", n, maxWords)
	}
	if (*v.known.Load())["first"] != "first" {
		t.Error("the first one is gone")
	}
}

// Once it is full, a vocabulary costs those nothing who bring other words, as most tokens then do.
func TestAFullVocabularyStaysAsItIs(t *testing.T) {
	v := newVocabulary(nil)
	for i := range maxWords {
		v.learn([]string{fmt.Sprint(i)})
	}
	before := v.known.Load()
	v.learn([]string{"another"})
	if v.known.Load() != before {
		t.Error("a full vocabulary was made anew")
	}
}

// A word that came as part of a longer text does not keep the rest of it.
func TestAVocabularyKeepsWordsAlone(t *testing.T) {
	long := strings.Repeat("x", 10_000) + "word"
	word := long[10_000:]
	if known, _ := (*newVocabulary([]string{word}).known.Load())[word].(string); known != word || shared(known, word) {
		t.Errorf("%q is %q, want a copy", word, known)
	}
}

func TestAVocabularyIsSafeForConcurrentUse(t *testing.T) {
	v := newVocabulary(nil)
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range maxWords {
				word := fmt.Sprint(i*7%500 + worker)
				if known, ok := (*v.known.Load())[word]; ok && known != word {
					t.Errorf("%q is %q", word, known)
				}
				v.learn([]string{word})
			}
		})
	}
	all.Wait()
	if n := len(*v.known.Load()); n != 503 {
		t.Errorf("there are %d words, want 503", n)
	}
}
