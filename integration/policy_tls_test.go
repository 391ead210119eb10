package integration

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, key: newCertificateKey(t)}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert = a.sign(template, template, &a.key.PublicKey)
	return a
}

func newCertificateKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(template, parent *x509.Certificate, public *ecdsa.PublicKey) *x509.Certificate {
	a.t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// issue returns a certificate for a server on loopback or for a client.
func (a *authority) issue(subject pkix.Name, names ...string) tls.Certificate {
	a.t.Helper()
	key := newCertificateKey(a.t)
	cert := a.sign(&x509.Certificate{
		Subject: subject, DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// write writes PEM blocks to a file of the test and returns its name.
func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	var b bytes.Buffer
	if err := pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}); err != nil {
		a.t.Fatal(err)
	}
	file := filepath.Join(a.t.TempDir(), name)
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return file
}

// dial reaches the gateway whatever name is dialled.
func (g *gateway) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, g.address)
}

// What a client's certificate says comes through Caddy's placeholders. Subjects are compared as a whole: a part of one can
// be what a client was allowed to choose.
func TestPoliciesReadClientCertificates(t *testing.T) {
	ca := newAuthority(t)
	server := ca.issue(pkix.Name{CommonName: "server"}, "gateway.test")
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	g := prepare(t)
	_, port, _ := net.SplitHostPort(g.address)
	directives := fmt.Sprintf("tls %s %s {\n client_auth {\n mode verify_if_given\n trust_pool file %s\n }\n }\n",
		ca.write("server.pem", "CERTIFICATE", server.Certificate[0]), ca.write("server-key.pem", "PRIVATE KEY", key), ca.write("ca.pem", "CERTIFICATE", ca.cert.Raw))
	directives += rules(
		"allow device  /device  `placeholder(\"http.request.tls.client.subject\") == \"CN=device-7,O=Example\"`",
		"allow name    /name    `placeholder(\"http.request.tls.client.san.dns_names.0\").endsWith(\".devices.example.com\")`",
		"allow secure  /secure  `request.tls && request.scheme == \"https\"`",
		"deny  without /with    `placeholder(\"http.request.tls.client.fingerprint\") == \"\"`", "allow with /with `true`",
	)
	g.load(strings.Replace(strings.Replace(fmt.Sprintf(site, directives), "http://ADDRESS", "https://gateway.test:"+port, 1), "admin ADMIN", "admin ADMIN\n auto_https disable_redirects", 1))
	alice := bearer(g.issuer.UserToken("alice"))
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	for _, test := range []struct {
		name    string
		client  []tls.Certificate
		allowed string
	}{
		{"the device", []tls.Certificate{ca.issue(pkix.Name{CommonName: "device-7", Organization: []string{"Example"}}, "d7.devices.example.com")}, "device name secure with"},
		{"another device", []tls.Certificate{ca.issue(pkix.Name{CommonName: "device-8", Organization: []string{"Example"}}, "d8.devices.example.com")}, "name secure with"},
		{"another organization", []tls.Certificate{ca.issue(pkix.Name{CommonName: "device-7", Organization: []string{"Example,O=Example"}}, "devices.example.com.evil.org")}, "secure with"},
		{"no certificate", nil, "secure"},
	} {
		t.Run(strings.ReplaceAll(test.name, " ", "_"), func(t *testing.T) {
			client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: g.dial, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: test.client}}}
			defer client.CloseIdleConnections()
			for _, path := range []string{"device", "name", "secure", "with"} {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://gateway.test:"+port+"/"+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				alice(r)
				resp, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				want := http.StatusForbidden
				if strings.Contains(" "+test.allowed+" ", " "+path+" ") {
					want = http.StatusOK
				}
				if resp.StatusCode != want {
					t.Errorf("/%s = %d, want %d", path, resp.StatusCode, want)
				}
			}
		})
	}
}

// The example of clients with certificates trusts one authority: what another one of that name signed does not even connect.
func TestExampleOfClientCertificatesRefusesStrangers(t *testing.T) {
	e := newExample(t, "mtls-clients")
	e.load()
	meter := pkix.Name{CommonName: "0oaMeter", Organization: []string{"Example"}}
	for name, test := range map[string]struct {
		client   *http.Client
		connects bool
	}{
		"its authority":     {e.newClient(e.ca.issue(meter)), true},
		"another authority": {e.newClient(newAuthority(t).issue(meter)), false},
	} {
		resp, err := test.client.Get("https://api.example.com/meters/7")
		if (err == nil) != test.connects {
			t.Errorf("a certificate of %s: %v, want a connection: %t", name, err, test.connects)
		}
		if err == nil {
			resp.Body.Close()
		}
	}
}
