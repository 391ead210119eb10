package dpop

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A proof comes with every request, so what it costs beside its signature is bounded. The numbers leave a little room
// for other versions of Go.
func TestAProofTakesFewAllocations(t *testing.T) {
	c := newClient(t)
	text, r := c.sign(t, c.header(""), claims("1")), request()
	p, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	m := NewReplays(1000)
	mustUse(t, m, p, r)
	for _, test := range []struct {
		name string
		most float64
		do   func() error
	}{
		{"Parse", 100, func() error { _, err := Parse(text); return err }},
		{"Check", 6, func() error { return p.Check(r) }},
		{"Verify", 28, p.Verify},
		{"Use", 0, func() error { _ = m.Use(p, r); return nil }},
	} {
		got := testing.AllocsPerRun(100, func() {
			if err := test.do(); err != nil {
				t.Error(err)
			}
		})
		if got > test.most {
			t.Errorf("%s makes %.0f allocations, want at most %.0f", test.name, got, test.most)
		}
	}
}

// BenchmarkProof is all that a proof costs; BenchmarkSignature is what no implementation can save.
func BenchmarkProof(b *testing.B) {
	c := newClient(b)
	text, r := c.sign(b, c.header(""), claims("1")), request()
	b.ReportAllocs()
	for b.Loop() {
		p, err := Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		if err := p.Check(r); err != nil {
			b.Fatal(err)
		}
		if err := p.Verify(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignature(b *testing.B) {
	c := newClient(b)
	text := c.sign(b, c.header(""), claims("1"))
	end := strings.LastIndexByte(text, '.')
	signature, err := base64.RawURLEncoding.DecodeString(text[end+1:])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		digest := sha256.Sum256([]byte(text[:end]))
		rs := new(big.Int).SetBytes(signature[:32])
		if !ecdsa.Verify(&c.key.PublicKey, digest[:], rs, new(big.Int).SetBytes(signature[32:])) {
			b.Fatal("the signature is wrong")
		}
	}
}

func BenchmarkParse(b *testing.B) {
	c := newClient(b)
	text := c.sign(b, c.header(""), claims("1"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

// Thousand keys, new proofs all the time, and a clock that runs: entries come and go.
func BenchmarkReplaysUse(b *testing.B) {
	m := NewReplays(1_000_000)
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprintf("%043d", i)
	}
	var count atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := request()
		p := used("", orders, "", issued)
		for pb.Next() {
			n := count.Add(1)
			r.Now = issued.Add(time.Duration(n) * 200 * time.Microsecond) // 5000 in a second
			p.Thumbprint, p.jws.IssuedAt, p.jws.ID = keys[n%1000], r.Now, time.Duration(n).String()
			if err := m.Use(p, r); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
