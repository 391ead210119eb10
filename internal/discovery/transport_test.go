package discovery

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTransportTrusts(t *testing.T) {
	serve := func(newest uint16) (url, ca string) {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: newest}
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		t.Cleanup(server.Close)
		return server.URL, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	}
	url, ca := serve(tls.VersionTLS13)
	old, oldCA := serve(tls.VersionTLS11)
	for _, tt := range []struct{ name, url, ca, want string }{
		{"the configured roots", url, "# ours\n" + ca + ca, ""},
		{"nobody unknown", url, "", "certificate signed by unknown authority"},
		{"no other name", strings.Replace(url, "127.0.0.1", "localhost", 1), ca, "certificate is"},
		{"no old version", old, oldCA, "protocol version"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			transport, err := Transport(tt.ca)
			if err != nil {
				t.Fatal(err)
			}
			c := New(transport, false)
			defer c.CloseIdleConnections()
			_, err = c.Get(t.Context(), tt.url)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Get = %v, want an error with %q", err, tt.want)
			}
		})
	}
	for _, tt := range []struct{ name, ca, want string }{
		{"no certificates", "corp-root.pem", "tls_ca: no PEM certificate found"},
		{"a broken certificate", ca + strings.Replace(ca, "MII", "AAA", 1), "tls_ca: certificate 2"},
		{"a private key", ca + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", `tls_ca: a PEM block is "PRIVATE KEY"`},
	} {
		if transport, err := Transport(tt.ca); transport != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Transport(%s) = %v, %v, want an error with %q", tt.name, transport, err, tt.want)
		}
	}
}
