package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// allowing is a policy that lets one group in.
func allowing(group string) string {
	return fmt.Sprintf(site, fmt.Sprintf("okta_auth main\n cel_policy {\n allow group `%q in principal.groups`\n }", group))
}

func TestReloadTakesEffectAndKeepsKeys(t *testing.T) {
	g := startWith(t, allowing("Blue"))
	blue := bearer(g.issuer.UserToken("alice", oktatest.Groups("Blue")))
	green := bearer(g.issuer.UserToken("bob", oktatest.Groups("Green")))
	g.expect(http.StatusOK, "GET", "/", blue)
	g.expect(http.StatusForbidden, "GET", "/", green)

	if status, text := g.post(allowing("Green")); status != http.StatusOK {
		t.Fatalf("POST /load = %d: %s", status, text)
	}
	g.expect(http.StatusForbidden, "GET", "/", blue)
	g.expect(http.StatusOK, "GET", "/", green)
	if hits := g.issuer.Hits(oktatest.Keys); hits != 1 {
		t.Errorf("%d fetches of keys over a reload, want 1", hits)
	}
	g.issuer.Down()
	if status, text := g.post(allowing("Blue")); status != http.StatusOK {
		t.Fatalf("POST /load while the issuer is down = %d: %s", status, text)
	}
	g.expect(http.StatusOK, "GET", "/", blue)
}

func TestPatchOfTheConfiguration(t *testing.T) {
	g := startWith(t, allowing("Blue"))
	green := bearer(g.issuer.UserToken("bob", oktatest.Groups("Green")))
	g.expect(http.StatusForbidden, "GET", "/", green)
	path := g.configPath("cel_policy") + "/rules/0/when"
	if status, text := g.adminCall(http.MethodPatch, path, "application/json", `"\"Green\" in principal.groups"`); status != http.StatusOK {
		t.Fatalf("PATCH %s = %d: %s", path, status, text)
	}
	g.expect(http.StatusOK, "GET", "/", green)
	if status, text := g.adminCall(http.MethodPatch, path, "application/json", `"principal.gruops == []"`); status == http.StatusOK || !strings.Contains(text, "gruops") {
		t.Errorf("PATCH with a mistake = %d: %s", status, text)
	}
	g.expect(http.StatusOK, "GET", "/", green)
}

// configPath finds a handler of the running configuration.
func (g *gateway) configPath(handler string) string {
	g.t.Helper()
	_, text := g.adminCall(http.MethodGet, "/config/", "", "")
	var config any
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		g.t.Fatal(err)
	}
	path, ok := findHandler(config, handler)
	if !ok {
		g.t.Fatalf("no handler %s in %s", handler, text)
	}
	return "/config" + path
}

func findHandler(value any, handler string) (path string, ok bool) {
	switch value := value.(type) {
	case map[string]any:
		if value["handler"] == handler {
			return "", true
		}
		for name, member := range value {
			if path, ok := findHandler(member, handler); ok {
				return "/" + name + path, true
			}
		}
	case []any:
		for i, item := range value {
			if path, ok := findHandler(item, handler); ok {
				return fmt.Sprintf("/%d%s", i, path), true
			}
		}
	}
	return "", false
}

func TestBadPolicyIsRefusedAndTheOldOneGoesOn(t *testing.T) {
	g := startWith(t, allowing("Blue"))
	blue := bearer(g.issuer.UserToken("alice", oktatest.Groups("Blue")))
	bad := strings.Replace(allowing("Green"), "principal.groups", "principal.gruops", 1)
	status, text := g.post(bad)
	if status != http.StatusBadRequest || !strings.Contains(text, "undefined field 'gruops'") || !strings.Contains(text, "Caddyfile:") {
		t.Errorf("POST /load = %d: %s", status, text)
	}
	g.expect(http.StatusOK, "GET", "/", blue)
}

// bareResets counts the connections that Caddy without our modules resets over so many reloads under the same traffic.
func bareResets(t *testing.T, reloads int) (resets int64) {
	t.Helper()
	bare := func(i int) string { return fmt.Sprintf(site, fmt.Sprintf("header X-Reload %d", i)) }
	g := startWith(t, strings.Replace(bare(0), "okta {\n\t\tissuer main ISSUER {\n\t\t\taudience api://default\n\t\t}\n\t}", "", 1))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	var count atomic.Int64
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				if _, err := g.trySend(ctx, "GET", "/"); err != nil && ctx.Err() == nil {
					count.Add(1)
				}
			}
		})
	}
	for i := range reloads {
		if status, text := g.post(bare(i + 1)); status != http.StatusOK {
			t.Fatalf("reload %d of bare Caddy = %d: %s", i, status, text)
		}
	}
	cancel()
	clients.Wait()
	return count.Load()
}

// Under traffic: nothing is answered wrongly, keys are not fetched again, and nothing is left behind.
func TestReloadsUnderTraffic(t *testing.T) {
	const reloads = 100
	var baseline int64
	t.Run("bare Caddy", func(t *testing.T) { baseline = bareResets(t, reloads) })
	g := startWith(t, allowing("Blue"))
	good := bearer(g.issuer.UserToken("alice", oktatest.Groups("Blue", "Green")))
	bad := bearer(g.issuer.UserToken("mallory", oktatest.Groups("Red")))
	forged := bearer(g.issuer.UserToken("alice", oktatest.Groups("Blue", "Green"), oktatest.Forged()))
	g.expect(http.StatusOK, "GET", "/", good)

	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var answered, resets atomic.Int64
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				for status, credential := range map[int]option{http.StatusOK: good, http.StatusForbidden: bad, http.StatusUnauthorized: forged} {
					a, err := g.trySend(ctx, "GET", "/", credential)
					switch {
					case ctx.Err() != nil:
						return
					case isReset(err):
						resets.Add(1) // bare Caddy resets a few fresh connections as well
					case err != nil:
						t.Errorf("a request failed: %v", err)
					case a.StatusCode != status:
						t.Errorf("a request was answered %d, want %d", a.StatusCode, status)
					default:
						answered.Add(1)
					}
				}
			}
		})
	}
	goroutines := 0
	for i := range reloads {
		group := []string{"Blue", "Green"}[i%2]
		config := allowing(group)
		want := http.StatusOK
		if i%3 == 2 {
			config, want = strings.Replace(config, "principal.groups", "principal.gruops", 1), http.StatusBadRequest
		}
		if i%10 == 5 { // fails in Provision, after other modules were provisioned
			config, want = strings.Replace(config, "audience api://default", "audience api://default\n clock_skew 1h", 1), http.StatusBadRequest
		}
		if status, text := g.post(config); status != want {
			t.Fatalf("reload %d = %d, want %d: %s", i, status, want, text)
		}
		if i == reloads/10 {
			goroutines = runtime.NumGoroutine()
		}
	}
	cancel()
	clients.Wait()
	if answered.Load() < reloads {
		t.Errorf("only %d requests were answered", answered.Load())
	}
	t.Logf("%d requests answered over %d reloads, %d connections reset, %d by bare Caddy", answered.Load(), reloads, resets.Load(), baseline)
	if resets.Load() > 3*baseline+10 { // chance decides which connections wait for a listener that closes
		t.Errorf("%d connections were reset, %d by bare Caddy", resets.Load(), baseline)
	}
	if hits := g.issuer.Hits(oktatest.Keys); hits != 1 {
		t.Errorf("%d fetches of keys, want 1", hits)
	}
	g.client.CloseIdleConnections()
	g.backend.server.SetKeepAlivesEnabled(false) // Caddy keeps idle connections of old configurations for minutes
	deadline := time.Now().Add(20 * time.Second)
	for runtime.NumGoroutine() > goroutines+5 && time.Now().Before(deadline) {
		runtime.Gosched()
		time.Sleep(20 * time.Millisecond)
	}
	if now := runtime.NumGoroutine(); now > goroutines+5 {
		t.Errorf("%d goroutines after %d reloads, %d after a tenth of them", now, reloads, goroutines)
	}
}

// isReset reports whether a connection ended before the server read a request from it: what waited for the old
// listener when it closed.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, io.EOF)
}

// A request that is under way when the configuration changes is answered by the old one.
func TestRequestUnderWayIsNotCut(t *testing.T) {
	g := startWith(t, allowing("Blue"))
	blue := bearer(g.issuer.UserToken("alice", oktatest.Groups("Blue")))
	arrived, release := g.backend.hold()
	result := make(chan answer, 1)
	go func() {
		a, err := g.trySend(t.Context(), "GET", "/slow", blue)
		if err != nil {
			t.Errorf("the request was cut: %v", err)
		}
		result <- a
	}()
	<-arrived
	done := make(chan struct{})
	go func() {
		defer close(done)
		if status, text := g.post(allowing("Green")); status != http.StatusOK {
			t.Errorf("POST /load = %d: %s", status, text)
		}
	}()
	fresh := &gateway{t: t, issuer: g.issuer, backend: g.backend, address: g.address, admin: g.admin, client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}}
	defer fresh.client.CloseIdleConnections()
	fresh.eventually(http.StatusForbidden, "/", blue)
	release()
	if a := <-result; a.StatusCode != http.StatusOK || a.seen.Header.Get("X-User-Id") != "alice" {
		t.Errorf("the request under way was answered %d", a.StatusCode)
	}
	<-done
}
