package oktatest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

func TestDiscovery(t *testing.T) {
	for name, tt := range map[string]struct {
		id    string
		paths []string
		base  string
	}{
		"custom server": {"default", []string{
			"/oauth2/default/.well-known/openid-configuration",
			"/.well-known/oauth-authorization-server/oauth2/default",
			"/oauth2/default/.well-known/oauth-authorization-server",
		}, "/oauth2/default/v1"},
		"org server": {"", []string{
			"/.well-known/openid-configuration",
			"/.well-known/oauth-authorization-server",
		}, "/oauth2/v1"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := start(t, oktatest.Config{ID: tt.id})
			for _, path := range tt.paths {
				doc := getJSON(t, srv, srv.URL()+path)
				if doc["issuer"] != srv.Issuer() {
					t.Errorf("%s: issuer = %v, want %s", path, doc["issuer"], srv.Issuer())
				}
				if want := srv.URL() + tt.base + "/keys"; doc["jwks_uri"] != want || srv.EndpointURL(oktatest.Keys) != want {
					t.Errorf("%s: jwks_uri = %v, want %s", path, doc["jwks_uri"], want)
				}
				if want := srv.URL() + tt.base + "/token"; doc["token_endpoint"] != want {
					t.Errorf("%s: token_endpoint = %v, want %s", path, doc["token_endpoint"], want)
				}
				if _, ok := doc["userinfo_endpoint"]; ok != strings.Contains(path, "openid") {
					t.Errorf("%s: userinfo_endpoint present: %v", path, ok)
				}
			}
			if got := srv.Hits(oktatest.Discovery); got != len(tt.paths) {
				t.Errorf("Hits(Discovery) = %d, want %d", got, len(tt.paths))
			}
			for _, e := range []oktatest.Endpoint{oktatest.OpenIDConfiguration, oktatest.OAuthMetadata, oktatest.OAuthMetadataAppended} {
				if status, _, _ := get(t, srv, srv.EndpointURL(e)); status != http.StatusOK {
					t.Errorf("EndpointURL(%s) answers %d", e, status)
				}
			}
			for _, path := range []string{"/", "/oauth2/other/v1/keys", "/oauth2/default/v1/keys/"} {
				if status, _, _ := get(t, srv, srv.URL()+path); status != http.StatusNotFound {
					t.Errorf("%s answers %d, want 404", path, status)
				}
			}
			if got := srv.Hits(oktatest.Unknown); got != 3 {
				t.Errorf("Hits(Unknown) = %d, want 3", got)
			}
		})
	}
}

func TestSetMetadata(t *testing.T) {
	srv := custom(t)
	url := srv.EndpointURL(oktatest.OpenIDConfiguration)
	srv.SetMetadata(map[string]any{"issuer": "https://evil.example", "jwks_uri": nil})
	if doc := getJSON(t, srv, url); doc["issuer"] != "https://evil.example" || doc["jwks_uri"] != nil {
		t.Errorf("issuer %v, jwks_uri %v", doc["issuer"], doc["jwks_uri"])
	}
	srv.SetMetadata(nil)
	if doc := getJSON(t, srv, url); doc["issuer"] != srv.Issuer() || doc["jwks_uri"] == nil {
		t.Errorf("issuer %v, jwks_uri %v", doc["issuer"], doc["jwks_uri"])
	}
	srv.SetCacheControl("")
	if _, header, _ := get(t, srv, url); header.Values("Cache-Control") != nil {
		t.Errorf("Cache-Control = %q, want none", header.Values("Cache-Control"))
	}
}

func TestOverride(t *testing.T) {
	srv := custom(t)
	keys, openid := srv.EndpointURL(oktatest.Keys), srv.EndpointURL(oktatest.OpenIDConfiguration)
	expect := func(url string, want int) {
		t.Helper()
		if got, _, _ := get(t, srv, url); got != want {
			t.Errorf("%s answers %d, want %d", url, got, want)
		}
	}
	srv.Override(oktatest.All, oktatest.Answer(503, "down", "Retry-After", "7"))
	srv.Override(oktatest.Discovery, http.NotFoundHandler())
	srv.OverrideNext(oktatest.Keys, 2, oktatest.Answer(200, "garbage", "Content-Type", "text/plain"))
	expect(openid, 404)
	for range 2 {
		if status, header, body := get(t, srv, keys); status != 200 || body != "garbage" || header.Get("Content-Type") != "text/plain" {
			t.Errorf("keys: %d %q %q", status, header.Get("Content-Type"), body)
		}
	}
	if status, header, _ := get(t, srv, keys); status != 503 || header.Get("Retry-After") != "7" {
		t.Errorf("keys: %d, Retry-After %q", status, header.Get("Retry-After"))
	}
	srv.Override(oktatest.All, nil)
	expect(keys, 200)
	expect(openid, 404)
	srv.Override(oktatest.Discovery, nil)
	expect(openid, 200)

	other := custom(t)
	srv.Override(oktatest.Keys, http.RedirectHandler(other.EndpointURL(oktatest.Keys), http.StatusFound))
	if _, _, body := get(t, srv, keys); body != string(other.JWKS()) {
		t.Error("the redirect leads elsewhere")
	}
	srv.Override(oktatest.Keys, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Wrapped", "yes")
		srv.Genuine(oktatest.Keys).ServeHTTP(w, r)
	}))
	if _, header, body := get(t, srv, keys); header.Get("X-Wrapped") != "yes" || body != string(srv.JWKS()) {
		t.Error("an override cannot wrap the genuine answer")
	}
	srv.Override(oktatest.Keys, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	if res, err := srv.Client().Get(keys); err == nil {
		res.Body.Close()
		t.Error("the connection was not cut")
	}
}

func TestHang(t *testing.T) {
	srv := custom(t)
	release := srv.Hang(oktatest.Keys)
	answered := make(chan string)
	go func() {
		res, err := srv.Client().Get(srv.EndpointURL(oktatest.Keys))
		if err != nil {
			answered <- err.Error()
			return
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		answered <- string(body)
	}()
	if err := srv.WaitHits(t.Context(), 1, oktatest.Keys); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-answered:
		t.Fatalf("answered %q before the release", got)
	default:
	}
	release()
	release()
	if got := <-answered; got != string(srv.JWKS()) {
		t.Errorf("answered %q, want the key set", got)
	}
	getJSON(t, srv, srv.EndpointURL(oktatest.Keys)) // no longer hanging

	again := srv.Hang(oktatest.All)
	defer again()
	go func() {
		res, err := srv.Client().Get(srv.EndpointURL(oktatest.Keys))
		if err == nil {
			res.Body.Close()
		}
	}()
	if err := srv.WaitHits(t.Context(), 3, oktatest.Keys); err != nil {
		t.Fatal(err)
	}
	srv.Close() // must not wait for the release
}

func TestWaitHitsGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := custom(t).WaitHits(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("WaitHits = %v, want cancelled", err)
	}
}

func TestDownAndUp(t *testing.T) {
	srv := custom(t)
	keys := srv.EndpointURL(oktatest.Keys)
	for range 3 {
		getJSON(t, srv, keys) // leaves an idle connection behind
		srv.Down()
		srv.Down()
		if res, err := srv.Client().Get(keys); !errors.Is(err, syscall.ECONNREFUSED) {
			if err == nil {
				res.Body.Close()
			}
			t.Fatalf("while down: %v, want refused", err)
		}
		for range 2 {
			if err := srv.Up(); err != nil {
				t.Fatal(err)
			}
		}
	}
	getJSON(t, srv, keys)
	srv.Close()
	srv.Close()
	srv.Down()
	if err := srv.Up(); err == nil {
		t.Error("a closed server came up again")
	}
	if srv.UserToken("ada") == "" {
		t.Error("a closed server mints nothing")
	}
}

func TestTLS(t *testing.T) {
	srv := start(t, oktatest.Config{ID: "default", TLS: true, Addr: "localhost:0"})
	if !strings.HasPrefix(srv.Issuer(), "https://localhost:") {
		t.Errorf("issuer = %s", srv.Issuer())
	}
	getJSON(t, srv, srv.EndpointURL(oktatest.Keys))
	if !strings.Contains(string(srv.CertPEM()), "BEGIN CERTIFICATE") {
		t.Errorf("CertPEM = %q", srv.CertPEM())
	}
	stranger := &http.Client{Transport: &http.Transport{}}
	if res, err := stranger.Get(srv.URL()); err == nil {
		res.Body.Close()
		t.Error("a client without the certificate trusts the server")
	}
	if custom(t).CertPEM() != nil {
		t.Error("a server without TLS has a certificate")
	}
}

func TestTransportInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := oktatest.New(oktatest.Config{ID: "default"})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		if srv.Issuer() != "https://acme.okta.test/oauth2/default" {
			t.Errorf("issuer = %s", srv.Issuer())
		}
		if err := verify(t, srv, srv.UserToken("ada")); err != nil {
			t.Error(err)
		}
		keys := srv.EndpointURL(oktatest.Keys)

		release := srv.Hang(oktatest.Keys)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, keys, nil)
		if _, err := srv.Transport().RoundTrip(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("hanging: %v, want deadline exceeded", err)
		}
		if waited := time.Since(began); waited != time.Hour {
			t.Errorf("waited %s of bubble time, want 1h", waited)
		}
		release()

		srv.Override(oktatest.Keys, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
		if _, err := srv.Client().Get(keys); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut: %v, want unexpected EOF", err)
		}
		srv.Override(oktatest.Keys, nil)
		srv.Down()
		if _, err := srv.Client().Get(keys); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("down: %v, want refused", err)
		}
		if err := srv.Up(); err != nil {
			t.Error(err)
		}
		if res, err := srv.Client().Get(keys); err != nil || res.Status != "200 OK" {
			t.Errorf("up: %v, %v", res, err)
		}
		if _, err := srv.Client().Get("https://elsewhere.test/"); err == nil {
			t.Error("another host answered")
		}
	})
}

func TestConfigMistakes(t *testing.T) {
	for name, cfg := range map[string]oktatest.Config{
		"id":      {ID: "a/b"},
		"alg":     {Alg: "RS257"},
		"address": {Addr: "nonsense"},
		"port":    {Addr: "127.0.0.1:99999"},
	} {
		if srv, err := oktatest.Start(cfg); err == nil {
			srv.Close()
			t.Errorf("%s: Start(%+v) = nil error", name, cfg)
		}
	}
}

func TestEverythingAtOnce(t *testing.T) {
	srv := custom(t)
	srv.RegisterClient(oktatest.Client{ID: "c", Secret: "s"})
	fetch := func(e oktatest.Endpoint) {
		res, err := srv.Client().Get(srv.EndpointURL(e))
		if err != nil {
			t.Error(err)
			return
		}
		res.Body.Close()
	}
	var wg sync.WaitGroup
	for _, act := range []func(){
		srv.Rotate,
		srv.RotateUnannounced,
		func() { srv.Unpublish("nothing"); srv.Publish() },
		func() { srv.UserToken("ada", oktatest.Forged()) },
		func() { fetch(oktatest.Keys) },
		func() { fetch(oktatest.OAuthMetadata) },
		func() { srv.SetMetadata(map[string]any{"x": 1}); srv.SetCacheControl("no-store") },
		func() { srv.Override(oktatest.Token, http.NotFoundHandler()); srv.Hang(oktatest.Token)() },
		func() { srv.Hits(); srv.RegisterClient(oktatest.Client{ID: "d"}) },
		func() { srv.Revoke(srv.OpaqueToken("ada")); srv.SetDPoPNonce(srv.DPoPNonce()) },
		func() { srv.LimitIntrospection(9, time.Now().Add(time.Hour)); introspect(t, gateway(srv), "x") },
		func() { _ = srv.WaitHits(t.Context(), 1) },
	} {
		wg.Go(func() {
			for range 5 {
				act()
			}
		})
	}
	wg.Wait()
	if got := srv.Hits(oktatest.Keys, oktatest.OAuthMetadata); got != 10 {
		t.Errorf("Hits = %d, want 10", got)
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 5 {
		srv, err := oktatest.Start(oktatest.Config{TLS: true})
		if err != nil {
			t.Fatal(err)
		}
		getJSON(t, srv, srv.EndpointURL(oktatest.Keys))
		srv.Down()
		if err := srv.Up(); err != nil {
			t.Fatal(err)
		}
		getJSON(t, srv, srv.EndpointURL(oktatest.Keys))
		srv.Close()
	}
	// Connections notice that they are closed a moment later; the server's own goroutine is gone already.
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines, before %d", runtime.NumGoroutine(), before)
}
