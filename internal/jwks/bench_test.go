package jwks

import "testing"

// A token's key is looked up while all is well, in a set as large as Okta's. The floor is the bare map.
func BenchmarkLookup(b *testing.B) {
	kids := []string{"Wz3sQ9mJ0cG7dXv1kT5aYbR8uHfLn2Pe", "pL0oKi9uJ8yHt7GrF6eDw5SqA4zXc3Vb", "mN1bV2cX3zA4sD5fG6hJ7kL8qW9eR0tY"}
	s, err := New(Config{Keys: document(publish(kids[0], rsaKey()), publish(kids[1], p256Key()), publish(kids[2], edKey()))})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("floor", func(b *testing.B) {
		keys := s.set.Load().byID
		for i := 0; b.Loop(); i++ {
			if len(keys[kids[i%len(kids)]]) != 1 {
				b.Fatal("not found")
			}
		}
	})
	b.Run("source", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if keys, err := s.Lookup(b.Context(), kids[i%len(kids)]); err != nil || keys[0].Supports("none") {
				b.Fatal(err)
			}
		}
	})
}

func TestALookUpAllocatesNothing(t *testing.T) {
	s, err := New(Config{Keys: document(publish("k", edKey()))})
	if err != nil {
		t.Fatal(err)
	}
	allocs := testing.AllocsPerRun(100, func() {
		keys, err := s.Lookup(t.Context(), "k")
		if err != nil || !keys[0].Supports("EdDSA") || !s.Has(keys[0].Number) || s.Usable() != nil {
			t.Errorf("Lookup = %v, %v", keys, err)
		}
	})
	if allocs > 0 {
		t.Errorf("a look-up makes %.0f allocations, want none", allocs)
	}
}
