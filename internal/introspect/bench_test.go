package introspect

import (
	"strings"
	"testing"
)

func BenchmarkIntrospectRemembered(b *testing.B) {
	token := strings.Repeat("t", 900)
	c := open(b, &issuer{respond: answers(200, active)}, nil)
	c.cacheTTL = 1 << 60
	good(b, c, token)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Introspect(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}

// An answer that is remembered costs a digest and a look into a map.
func TestARememberedAnswerAllocatesNothing(t *testing.T) {
	i := &issuer{respond: answers(200, active)}
	c := open(t, i, nil)
	ctx := t.Context()
	token := strings.Repeat("t", 900)
	good(t, c, token)
	i.does(answers(200, inactive))
	_, _ = c.Introspect(ctx, "inactive")
	for _, token := range []string{token, "inactive"} {
		if n := testing.AllocsPerRun(100, func() { _, _ = c.Introspect(ctx, token) }); n > 0 {
			t.Errorf("a remembered answer allocates %v times, want 0", n)
		}
	}
}
