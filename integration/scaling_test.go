package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// guardedSite answers after both handlers did their work, without a proxy and without a log that anybody reads.
const guardedSite = `{
	admin off
	persist_config off
	log {
		level ERROR
	}
	okta {
		issuer main ISSUER {
			audience api://default
			algorithms ES256
		}
	}
}
http://ADDRESS {
	bind 127.0.0.1
	handle /guarded/* {
		okta_auth main
		cel_policy {
			deny  suspended                        ` + "`claims.?suspended.orValue(false) == true`" + `
			allow own      GET /guarded/users/{id} ` + "`params.id == principal.subject`" + `
			allow admins   /guarded/admin/*        ` + "`\"Admin\" in principal.groups`" + `
		}
		respond 204
	}
	handle {
		respond 204
	}
}
`

// server is Caddy's own, called without sockets: what is measured is the gateway, and not the kernel.
type server struct {
	tb     testing.TB
	server http.Handler
	tokens []string
}

// startServer starts a gateway that knows n tokens.
func startServer(tb testing.TB, n int) *server {
	tb.Helper()
	issuer, err := oktatest.Start(oktatest.Config{Addr: freeAddress(tb), ID: "default", Keys: []*oktatest.Key{oktatest.NewKey("RS256"), oktatest.NewKey("ES256")}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(issuer.Close)
	config, err := adapt(strings.NewReplacer("ADDRESS", freeAddress(tb), "ISSUER", issuer.Issuer()).Replace(guardedSite))
	if err != nil {
		tb.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = caddy.Stop() })
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		tb.Fatal(err)
	}
	s := &server{tb: tb}
	for _, each := range app.(*caddyhttp.App).Servers {
		s.server = each
	}
	for i := range n {
		user := fmt.Sprintf("user%d", i)
		s.tokens = append(s.tokens, issuer.UserToken(user, oktatest.Alg("ES256"), oktatest.Groups("Everyone", "Engineering")))
		s.send("/guarded", i)
	}
	return s
}

// send hands one request to the server, as user i.
func (s *server) send(site string, i int) {
	i %= len(s.tokens)
	r := httptest.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1%s/users/user%d", site, i), nil)
	for _, name := range []string{"User-Agent", "Accept", "Accept-Encoding"} {
		r.Header[name] = []string{"some value"}
	}
	r.Header["Authorization"] = []string{"Bearer " + s.tokens[i]}
	w := httptest.NewRecorder()
	if s.server.ServeHTTP(w, r); w.Code != http.StatusNoContent {
		s.tb.Fatalf("the answer is %d %v, want 204", w.Code, w.Header())
	}
}

// BenchmarkServer is a whole request within Caddy, but for sockets and proxy; the floor is Caddy without our handlers.
func BenchmarkServer(b *testing.B) {
	for _, n := range []int{1, 1000} {
		s := startServer(b, n)
		for _, site := range []string{"", "/guarded"} {
			name := fmt.Sprintf("%d tokens%s", n, site)
			if site == "" {
				name += "/floor"
			}
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				var workers atomic.Int64
				b.RunParallel(func(pb *testing.PB) {
					for i := int(workers.Add(7919)); pb.Next(); i++ {
						s.send(site, i)
					}
				})
			})
		}
	}
}

// Requests with known tokens, however many at once, wait for no lock of ours, and for none of a library on our behalf.
func TestKnownTokensWaitForNoLock(t *testing.T) {
	s := startServer(t, 50)
	defer runtime.SetMutexProfileFraction(runtime.SetMutexProfileFraction(1))
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 10_000 {
				s.send("/guarded", worker+i)
			}
		})
	}
	all.Wait()
	records := make([]runtime.BlockProfileRecord, 10_000)
	n, ok := runtime.MutexProfile(records)
	if !ok {
		t.Fatalf("%d records, more than there is room for", n)
	}
	for _, record := range records[:n] {
		if where := lockedBy(record.Stack()); strings.HasPrefix(where, "github.com/caddy-okta/") && !strings.Contains(where, "/integration.") {
			t.Errorf("%d requests waited for a lock that %s held", record.Count, where)
		}
	}
}

// lockedBy returns the function on whose behalf a lock was held: the first on the stack that is ours, Caddy's or the
// server's. The runtime's own locks are nobody's: those of its memory, and the one of pools that a collection emptied.
func lockedBy(stack []uintptr) string {
	frames := runtime.CallersFrames(stack)
	for first := true; ; first = false {
		frame, more := frames.Next()
		if first && strings.HasPrefix(frame.Function, "runtime.") || strings.HasPrefix(frame.Function, "sync.(*Pool).") {
			return ""
		}
		for _, owner := range []string{"github.com/caddy-okta/", "github.com/caddyserver/", "net/http."} {
			if strings.HasPrefix(frame.Function, owner) {
				return frame.Function
			}
		}
		if !more {
			return ""
		}
	}
}
