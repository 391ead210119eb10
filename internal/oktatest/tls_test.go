package oktatest_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

func TestClientCertificateWorksInAHandshake(t *testing.T) {
	certificate := oktatest.NewClientCertificate("a client")
	if certificate.Leaf.Subject.CommonName != "a client" {
		t.Errorf("the common name is %q", certificate.Leaf.Subject.CommonName)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(certificate.Leaf)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(r.TLS.PeerCertificates[0].Raw)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted}
	server.StartTLS()
	defer server.Close()
	client := server.Client()
	client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{*certificate}
	res, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	seen, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	srv := custom(t)
	_, claims, _ := parts(t, srv.UserToken("ada", oktatest.BoundToCertificate(certificate.Leaf)))
	want := sha256.Sum256(seen)
	if got := decode(t, claims["cnf"].(map[string]any)["x5t#S256"].(string)); string(got) != string(want[:]) {
		t.Errorf("x5t#S256 = %x, want the hash of the certificate that the server saw, %x", got, want)
	}
}

func TestConfirmationsAddUp(t *testing.T) {
	srv := custom(t)
	certificate, key := oktatest.NewClientCertificate("a client"), oktatest.NewKey("ES256")
	both := srv.ServiceToken("svc", oktatest.BoundTo(key.Thumbprint()), oktatest.BoundToCertificate(certificate.Leaf))
	if _, claims, _ := parts(t, both); members(claims["cnf"].(map[string]any)) != "jkt x5t#S256" {
		t.Errorf("cnf = %v, want both", claims["cnf"])
	}
	mine := map[string]any{"cnf": map[string]any{"kid": "x"}}
	_, claims, _ := parts(t, srv.Sign(mine, oktatest.Confirmation(map[string]any{"jku": "y"})))
	if members(claims["cnf"].(map[string]any)) != "jku kid" {
		t.Errorf("cnf = %v, want jku and kid", claims["cnf"])
	}
	if len(mine["cnf"].(map[string]any)) != 1 {
		t.Error("Confirmation changed the claims of its caller")
	}
}
