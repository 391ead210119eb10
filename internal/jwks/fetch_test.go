package jwks

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// These tests use a real network on loopback.

func TestFetchOverHTTP(t *testing.T) {
	var elsewhere *httptest.Server
	keys := document(publish("k1", p256Key()))
	mux := http.NewServeMux()
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.UserAgent() != "caddy-okta" || r.Header.Get("Accept") != "application/json" {
			t.Errorf("the request is %s, %v", r.Method, r.Header)
		}
		_, _ = w.Write([]byte(keys))
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/keys", http.StatusMovedPermanently)
	})
	mux.HandleFunc("/moved3", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/moved2", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/moved2", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/moved", http.StatusPermanentRedirect)
	})
	mux.HandleFunc("/moved4", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/moved3", http.StatusFound) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/keys", http.StatusFound)
	})
	mux.HandleFunc("/secure", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://"+r.Host+"/keys", http.StatusFound)
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for space := []byte(strings.Repeat(" ", 1<<16)); r.Context().Err() == nil; {
			if _, err := w.Write(space); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/liar", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write([]byte(keys))
	})
	mux.HandleFunc("/nothing", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	server := httptest.NewServer(mux)
	defer server.Close()
	elsewhere = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Errorf("a redirect to another host was followed")
	}))
	defer elsewhere.Close()

	for _, tt := range []struct{ name, path, want string }{
		{"a set", "/keys", ""},
		{"a redirect on the same host", "/moved", ""},
		{"three redirects", "/moved3", ""},
		{"four redirects", "/moved4", "redirected more than 3 times"},
		{"a redirect to another port", "/away", "redirected to another place"},
		{"a redirect to another scheme", "/secure", "redirected to another place"},
		{"a body without an end", "/endless", "larger than 1048576 bytes"},
		{"a body that breaks off", "/liar", "unexpected EOF"},
		{"no content", "/nothing", "/nothing answered 204"},
		{"no such path", "/404", "/404 answered 404"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := New(Config{KeysURL: server.URL + tt.path})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Destruct()
			err = s.Refresh(t.Context())
			if tt.want == "" && err == nil {
				one(t, s, "k1")
			} else if tt.want == "" || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Refresh() = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestFetchOverTLS(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(document(publish("k1", p256Key()))))
	})
	serve := func(newest uint16) (url, ca string) {
		server := httptest.NewUnstartedServer(handler)
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: newest}
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.EnableHTTP2 = true
		server.StartTLS()
		t.Cleanup(server.Close)
		return server.URL, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	}
	url, ca := serve(tls.VersionTLS13)
	old, oldCA := serve(tls.VersionTLS11)
	for _, tt := range []struct{ name, url, ca, want string }{
		{"with the configured roots", url, ca, ""},
		{"without them", url, "", "certificate signed by unknown authority"},
		{"for another name", strings.Replace(url, "127.0.0.1", "localhost", 1), ca, "certificate is"},
		{"of an old version", old, oldCA, "protocol version"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := New(Config{KeysURL: tt.url + "/keys", CA: tt.ca})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Destruct()
			err = s.Refresh(t.Context())
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Refresh() = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// A real connection that hangs is given up by the request, and aborted by Destruct.
func TestFetchFromAHangingServer(t *testing.T) {
	arrived, aborted := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush() // the body never comes
		close(arrived)
		<-r.Context().Done()
		close(aborted)
	}))
	defer server.Close()
	s, err := New(Config{KeysURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	<-arrived
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Lookup(ctx, "k1"); err == nil {
		t.Errorf("Lookup = nil")
	}
	if err := s.Destruct(); err != nil {
		t.Error(err)
	}
	<-aborted
}
