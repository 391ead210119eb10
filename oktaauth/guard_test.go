package oktaauth

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-okta/caddy-okta/internal/deny"
)

// newGuard returns a guard of its own, and what it reported.
func newGuard(t *testing.T, g *Guard) (*Guard, *[]string) {
	t.Helper()
	var bursts []string
	if err := g.provision(func(address string, failures int) { bursts = append(bursts, fmt.Sprint(address, " ", failures)) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.lease.Release() })
	return g, &bursts
}

// from returns a request of a client address, as Caddy derives it.
func from(address string) *http.Request {
	r := newRequest()
	vars := map[string]any{caddyhttp.ClientIPVarKey: address}
	return r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, vars))
}

var forged = deny.BadSignature.Because("forged")

func TestGuard(t *testing.T) {
	second := func(n int) time.Time { return time.Unix(1_800_000_000+int64(n), 0) }
	type step struct {
		at      int // seconds
		address string
		refusal *deny.Refusal
		want    deny.Reason
	}
	steps := func(n, at int, address string, refusal *deny.Refusal) (list []step) {
		for range n {
			list = append(list, step{at, address, refusal, refusal.Reason})
		}
		return list
	}
	banned := func(at int, address string) []step { return []step{{at, address, forged, deny.TooManyFailures}} }
	none := deny.NoCredential.Because("none")
	for name, c := range map[string]struct {
		steps  [][]step
		bursts int
	}{
		"the failure after the last one allowed is banned": {[][]step{steps(3, 0, "192.0.2.1", forged), banned(0, "192.0.2.1")}, 1},
		"a ban ends": {[][]step{steps(3, 0, "192.0.2.1", forged), banned(299, "192.0.2.1"), steps(1, 300, "192.0.2.1", forged)}, 1},
		"a ban is not lengthened by more failures":          {[][]step{steps(3, 0, "192.0.2.1", forged), banned(200, "192.0.2.1"), steps(1, 300, "192.0.2.1", forged)}, 1},
		"after a ban counting begins anew":                  {[][]step{steps(3, 0, "192.0.2.1", forged), steps(2, 300, "192.0.2.1", forged)}, 1},
		"a window ends":                                     {[][]step{steps(2, 0, "192.0.2.1", forged), steps(2, 60, "192.0.2.1", forged)}, 0},
		"failures within a window add up":                   {[][]step{steps(2, 0, "192.0.2.1", forged), steps(1, 59, "192.0.2.1", forged), banned(59, "192.0.2.1")}, 1},
		"addresses are counted apart":                       {[][]step{steps(2, 0, "192.0.2.1", forged), steps(2, 0, "192.0.2.2", forged)}, 0},
		"a /64 is one client":                               {[][]step{steps(2, 0, "2001:db8::1", forged), steps(1, 0, "2001:db8::ffff:1", forged), banned(0, "2001:db8::2")}, 1},
		"another /64 is another":                            {[][]step{steps(3, 0, "2001:db8::1", forged), steps(2, 0, "2001:db8:0:1::1", forged)}, 1},
		"an IPv4 address mapped into IPv6 is that address":  {[][]step{steps(2, 0, "::ffff:192.0.2.1", forged), steps(1, 0, "192.0.2.1", forged), banned(0, "192.0.2.1")}, 1},
		"no token is no failure":                            {[][]step{steps(9, 0, "192.0.2.1", none)}, 0},
		"a banned address without a token is not told more": {[][]step{steps(3, 0, "192.0.2.1", forged), steps(1, 0, "192.0.2.1", none)}, 1},
		"a client without an address is not counted":        {[][]step{steps(9, 0, "@", forged)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			g, bursts := newGuard(t, &Guard{Failures: 3})
			for _, list := range c.steps {
				for i, s := range list {
					if got := g.judge(from(s.address), s.refusal, second(s.at)); got.Reason != s.want {
						t.Errorf("failure %d of %s after %ds = %s, want %s", i+1, s.address, s.at, got.Reason, s.want)
					}
				}
			}
			if len(*bursts) != c.bursts {
				t.Errorf("%d bursts %v, want %d", len(*bursts), *bursts, c.bursts)
			}
		})
	}
}

func TestGuardLetsSuccessesAlone(t *testing.T) {
	g, _ := newGuard(t, &Guard{Failures: 1})
	g.judge(from("192.0.2.1"), forged, time.Now())
	if got := g.judge(from("192.0.2.1"), nil, time.Now()); got != nil {
		t.Errorf("a request without a refusal = %v, want nil", got)
	}
	if got := (*Guard)(nil).judge(from("192.0.2.1"), forged, time.Now()); got != forged {
		t.Errorf("without a guard = %v, want the refusal itself", got)
	}
}

func TestGuardSettings(t *testing.T) {
	g, _ := newGuard(t, new(Guard))
	if g.Failures != DefaultGuardFailures || g.Window != caddy.Duration(DefaultGuardWindow) || g.Ban != caddy.Duration(DefaultGuardBan) {
		t.Errorf("the defaults are %+v", g)
	}
	for _, bad := range []*Guard{{Failures: -1}, {Window: -1}, {Ban: -1}} {
		if err := bad.provision(nil); err == nil {
			t.Errorf("provision(%+v) = nil, want an error", bad)
		}
	}
}

// A million addresses take bounded memory, and a ban outlives the flood.
func TestGuardUnderAMillionAddresses(t *testing.T) {
	g, bursts := newGuard(t, &Guard{Failures: 3})
	now := time.Now()
	for range 3 {
		g.judge(from("192.0.2.1"), forged, now)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := from("")
	vars := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	for i := range 1_000_000 {
		vars[caddyhttp.ClientIPVarKey] = fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)
		g.judge(r, forged, now)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := g.offenders.Len(); n > guardedAddresses {
		t.Errorf("%d addresses are remembered, at most %d", n, guardedAddresses)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	if got := g.judge(from("192.0.2.1"), forged, now); got.Reason != deny.TooManyFailures {
		t.Errorf("the banned address is answered %s", got.Reason)
	}
	if len(*bursts) != 1 {
		t.Errorf("%d bursts, want 1", len(*bursts))
	}
}
