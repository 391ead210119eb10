package integration

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// A kid that nobody knows waits for the issuer, for two seconds at most. Who has a known one does not notice.
func TestHangingIssuerOnlyDelaysUnknownKids(t *testing.T) {
	k := restartInOutage(t)
	if err := k.issuer.Up(); err != nil {
		t.Fatal(err)
	}
	for _, endpoint := range []oktatest.Endpoint{oktatest.Discovery, oktatest.Keys} {
		release := k.issuer.Hang(endpoint)
		before := k.issuer.Hits(endpoint)
		k.run()
		if err := k.issuer.WaitHits(t.Context(), before+1, endpoint); err != nil {
			t.Fatal(err)
		}
		var strangers sync.WaitGroup
		var refused atomic.Int64
		for range 20 {
			token := k.user(0, oktatest.SignedBy(oktatest.NewKey("ES256")), oktatest.Header(map[string]any{"alg": "RS256"}))
			strangers.Go(func() {
				begin := time.Now()
				a, err := k.trySend(t.Context(), "GET", k.path(0), token)
				if took := time.Since(begin); err != nil || a.StatusCode != http.StatusUnauthorized || took < time.Second || took > 4*time.Second {
					t.Errorf("an unknown kid: %v, %v after %s, want 401 after two seconds", a.Response, err, took)
				}
				refused.Add(1)
			})
		}
		sent := 0
		for ; refused.Load() == 0; sent++ {
			begin := time.Now()
			k.expect(http.StatusOK, "GET", k.path(0), k.user(0))
			if took := time.Since(begin); took > 1500*time.Millisecond {
				t.Errorf("a known kid took %s", took)
			}
		}
		strangers.Wait()
		if sent < 20 {
			t.Errorf("only %d valid requests while strangers waited", sent)
		}
		if hits := k.issuer.Hits(endpoint); hits != before+1 {
			t.Errorf("%d requests to the issuer, want one", hits-before)
		}
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
		release()
	}
}

// stranger returns a token with the claims of a real one and a kid that nobody has heard of.
func stranger(token string) string {
	_, rest, _ := strings.Cut(token, ".")
	header := fmt.Sprintf(`{"alg":"RS256","kid":%q}`, rand.Text())
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + rest
}

// crowd are clients that send requests which are refused.
type crowd struct {
	connections int
	pace        time.Duration // from one request of a connection to its next; 0 is as soon as it was answered
	credential  func() option
	answered    func(answer, error)
}

// flood lets a crowd send requests until stop is called.
func (g *gateway) flood(path string, c crowd) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	sender := *g
	sender.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: c.connections}}
	var all sync.WaitGroup
	for range c.connections {
		all.Go(func() {
			tick := time.NewTicker(max(c.pace, 1))
			defer tick.Stop()
			for ctx.Err() == nil {
				if a, err := sender.trySend(ctx, "GET", path, c.credential()); ctx.Err() == nil {
					c.answered(a, err)
				}
				if c.pace > 0 {
					select {
					case <-tick.C:
					case <-ctx.Done():
					}
				}
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
		sender.client.CloseIdleConnections()
	}
}

// OKTA-12, 7515-19: 10,000 unknown kids from 100 connections, for longer than one may cause a fetch.
func TestFloodOfUnknownKids(t *testing.T) {
	k := prepareKeys(t, 1)
	begin := time.Now()
	k.run()
	k.expect(http.StatusOK, "GET", k.path(0), k.user(0))
	var refused, known atomic.Int64
	token := k.issuer.UserToken("mallory")
	stop := k.flood(k.path(0), crowd{100, 0, func() option { return bearer(stranger(token)) }, func(a answer, err error) {
		switch {
		case err != nil:
			t.Errorf("a request failed: %v", err)
		case a.StatusCode != http.StatusUnauthorized:
			t.Errorf("an unknown kid was answered %d", a.StatusCode)
		default:
			refused.Add(1)
		}
	}})
	for refused.Load() < 10_000 || k.issuer.Hits(oktatest.Keys) < 2 {
		k.expect(http.StatusOK, "GET", k.path(0), k.user(0))
		known.Add(1)
		if time.Since(begin) > time.Minute {
			t.Errorf("%d refused, %d fetches in a minute", refused.Load(), k.issuer.Hits(oktatest.Keys))
			break
		}
	}
	stop()
	took := time.Since(begin)
	if hits, most := k.issuer.Hits(oktatest.Keys), 1+int(took/(10*time.Second)); hits > most {
		t.Errorf("%d fetches in %s, want at most %d", hits, took, most)
	}
	t.Logf("%d unknown and %d known kids in %s, %d fetches", refused.Load(), known.Load(), took, k.issuer.Hits(oktatest.Keys))
}

// BenchmarkValidRequests measures whole requests with tokens that were never seen, alone and beside a crowd. Client,
// crowd, issuer and backend share the machine with the gateway: as fast as 100 connections can, they take all of it,
// and the crowd without a token shows how much of that is not about keys.
func BenchmarkValidRequests(b *testing.B) {
	issuer, err := oktatest.Start(oktatest.Config{ID: "default"})
	if err != nil {
		b.Fatal(err)
	}
	defer issuer.Close()
	echo := &backend{}
	server := httptest.NewServer(echo)
	defer server.Close()
	echo.address = server.Listener.Addr().String()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	g := &gateway{issuer: issuer, backend: echo, address: address, client: &http.Client{Transport: &http.Transport{}}}
	defer g.client.CloseIdleConnections()
	config, err := adapt(g.expand(`{
		admin off
		persist_config off
		log {
			output discard
		}
	}
	http://ADDRESS {
		bind 127.0.0.1
		okta_auth ISSUER api://default
		reverse_proxy BACKEND
	}`))
	if err != nil {
		b.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = caddy.Stop() }()
	mallory := issuer.UserToken("mallory")
	unknown := func() option { return bearer(stranger(mallory)) }
	for _, row := range []struct {
		name  string
		crowd crowd
	}{
		{"alone", crowd{}},
		{"beside 1000 unknown kids a second", crowd{connections: 100, pace: time.Second / 10, credential: unknown}},
		{"beside 100 connections of unknown kids", crowd{connections: 100, credential: unknown}},
		{"beside 100 connections without a token", crowd{connections: 100, credential: func() option { return header("X-Nothing", "at all") }}},
	} {
		b.Run(row.name, func(b *testing.B) {
			var refused atomic.Int64
			row.crowd.answered = func(a answer, err error) {
				if err != nil || a.StatusCode != http.StatusUnauthorized {
					b.Errorf("one of the crowd: %v, %v", a.Response, err)
				}
				refused.Add(1)
			}
			stop := g.flood("/", row.crowd)
			defer stop()
			begin := time.Now()
			var latencies []time.Duration
			for b.Loop() {
				b.StopTimer()
				token := bearer(issuer.UserToken("alice"))
				b.StartTimer()
				sent := time.Now()
				if a, err := g.trySend(b.Context(), "GET", "/", token); err != nil || a.StatusCode != http.StatusOK {
					b.Fatalf("a valid request: %v, %v", a.Response, err)
				}
				latencies = append(latencies, time.Since(sent))
			}
			slices.Sort(latencies)
			b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(refused.Load())/time.Since(begin).Seconds(), "refused/s")
		})
	}
}
