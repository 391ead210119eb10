package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-okta/caddy-okta/internal/oktatest"
)

// startMutual runs a site over TLS that is telling, with what stands in the block of its tls directive.
func startMutual(t *testing.T, client, directives string) *gateway {
	t.Helper()
	ca := newAuthority(t)
	server := ca.issue(pkix.Name{CommonName: "server"})
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(
		"okta_auth main", "tls "+ca.write("server.pem", "CERTIFICATE", server.Certificate[0])+" "+ca.write("key.pem", "PRIVATE KEY", key)+" {\n"+client+"\n}\n"+directives,
		"http://ADDRESS", "https://ADDRESS", "admin ADMIN", "admin ADMIN\n auto_https off",
	).Replace(withIssuers(mainWith(""), "okta_auth main"))
	g := prepare(t)
	g.address = strings.Replace(g.address, "127.0.0.1", "localhost", 1) // with client_auth, Caddy wants a name in the handshake
	g.load(text)
	return g
}

// secure sends a request to the site over TLS.
func secure(r *http.Request) { r.URL.Scheme = "https" }

// presenting makes the client present a certificate on every connection; nil presents none.
func (g *gateway) presenting(certificate *tls.Certificate) {
	g.client.CloseIdleConnections()
	config := insecure()
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	g.client.Transport = &http.Transport{TLSClientConfig: config}
}

// mutual are clients that speak one version of HTTP each, and present a certificate.
func mutual(t *testing.T, certificate *tls.Certificate) map[string]http.RoundTripper {
	t.Helper()
	a := &authority{t: t}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	three := &reverseproxy.HTTPTransport{Versions: []string{"3"}, TLS: &reverseproxy.TLSConfig{
		InsecureSkipVerify:       true,
		ClientCertificateFile:    a.write("client.pem", "CERTIFICATE", certificate.Certificate[0]),
		ClientCertificateKeyFile: a.write("client-key.pem", "PRIVATE KEY", key),
	}}
	if err := three.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	config := insecure()
	config.Certificates = []tls.Certificate{*certificate}
	one := &http.Transport{TLSClientConfig: config, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	two := &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true}
	t.Cleanup(func() {
		one.CloseIdleConnections()
		two.CloseIdleConnections()
		if err := three.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	return map[string]http.RoundTripper{"HTTP/1.1": one, "HTTP/2.0": two, "HTTP/3.0": three}
}

// expired is a certificate that nobody vouches for, of last year.
func expired(t *testing.T) *tls.Certificate {
	t.Helper()
	key := newCertificateKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "expired"}, NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: time.Now().AddDate(-1, 0, 0)}
	return signed(t, template, template, key, key)
}

func signed(t *testing.T, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *tls.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

const requestCertificate = "client_auth {\n mode request\n }"

func TestCertificateBoundTokensOverEveryProtocol(t *testing.T) {
	g := startMutual(t, requestCertificate, "okta_auth main")
	right, wrong := oktatest.NewClientCertificate("right"), oktatest.NewClientCertificate("wrong")
	token := bearer(g.issuer.UserToken("alice", oktatest.BoundToCertificate(right.Leaf)))
	for protocol, transport := range mutual(t, right) {
		g.client.Transport = transport
		a := g.expectReason("ok", "GET", "/", secure, token) // 8705-01
		a.expectHeader(t, "X-User-Id", "alice")
		if a.Proto != protocol {
			t.Errorf("the request went over %s, want %s", a.Proto, protocol)
		}
	}
	for _, transport := range mutual(t, wrong) {
		g.client.Transport = transport
		g.expectUnder("Bearer", "proof_required", "GET", "/", secure, token) // 8705-02
	}
	for _, transport := range protocols(t) {
		g.client.Transport = transport
		g.expectUnder("Bearer", "proof_required", "GET", "/", secure, token) // 8705-03
	}
}

// 8705-07: the binding is to the certificate itself. Whether anyone vouches for it is for client_auth to ask.
func TestTheChainOfACertificateSaysNothingAboutItsTokens(t *testing.T) {
	ca := newAuthority(t)
	leaf := ca.issue(pkix.Name{CommonName: "client"})
	leaf.Certificate = append(leaf.Certificate, ca.cert.Raw)
	for _, mode := range []string{"request", "require"} {
		g := startMutual(t, "client_auth {\n mode "+mode+"\n }", "okta_auth main")
		for _, certificate := range []*tls.Certificate{expired(t), oktatest.NewClientCertificate("self-signed"), &leaf} {
			g.presenting(certificate)
			g.expectReason("ok", "GET", "/", secure, bearer(g.issuer.UserToken("alice", oktatest.BoundToCertificate(certificate.Leaf))))
		}
		// Whoever signed the certificate does not hold the client's key.
		g.expectReason("proof_required", "GET", "/", secure, bearer(g.issuer.UserToken("alice", oktatest.BoundToCertificate(ca.cert))))
	}
}

func TestThumbprintsOfCertificates(t *testing.T) {
	g := startMutual(t, requestCertificate, "okta_auth main")
	certificate := oktatest.NewClientCertificate("client")
	g.presenting(certificate)
	der := certificate.Leaf.Raw
	sum, sumOfKey := sha256.Sum256(der), sha256.Sum256(certificate.Leaf.RawSubjectPublicKeyInfo)
	sumOfPEM := sha256.Sum256(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	raw := base64.RawURLEncoding
	right := raw.EncodeToString(sum[:])
	for name, c := range map[string]struct {
		reason string
		cnf    any
	}{
		"the hash of the certificate": {"ok", map[string]any{"x5t#S256": right}},                                                 // 8705-01
		"with padding":                {"proof_required", map[string]any{"x5t#S256": right + "="}},                               // 8705-04
		"in hex":                      {"proof_required", map[string]any{"x5t#S256": hex.EncodeToString(sum[:])}},                // 8705-04
		"with a space":                {"proof_required", map[string]any{"x5t#S256": right + " "}},                               // 8705-04
		"with a line break":           {"proof_required", map[string]any{"x5t#S256": right[:20] + "\n" + right[20:]}},            // 8705-04
		"in the other alphabet":       {"proof_required", map[string]any{"x5t#S256": base64.StdEncoding.EncodeToString(sum[:])}}, // 8705-04
		"in upper case":               {"proof_required", map[string]any{"x5t#S256": strings.ToUpper(right)}},                    // 8705-04
		"the hash of the public key":  {"proof_required", map[string]any{"x5t#S256": raw.EncodeToString(sumOfKey[:])}},           // 8705-05
		"the hash of the PEM text":    {"proof_required", map[string]any{"x5t#S256": raw.EncodeToString(sumOfPEM[:])}},           // 8705-05
		"the beginning of the hash":   {"proof_required", map[string]any{"x5t#S256": right[:20]}},
		"an empty text":               {"proof_required", map[string]any{"x5t#S256": ""}},
		"a number":                    {"proof_required", map[string]any{"x5t#S256": 7}},
		"a list":                      {"proof_required", map[string]any{"x5t#S256": []string{right}}},
		"the name of another hash":    {"proof_required", map[string]any{"x5t": right}},
		"the name in lower case":      {"proof_required", map[string]any{"x5t#s256": right}},
		"something unknown beside it": {"proof_required", map[string]any{"x5t#S256": right, "kid": "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			g.expectReason(c.reason, "GET", "/", secure, bearer(g.issuer.UserToken("alice", oktatest.With("cnf", c.cnf))))
		})
	}
}

func TestWhatARouteDoesWithCertificateBoundTokens(t *testing.T) {
	g := startMutual(t, requestCertificate, `okta_auth /accept/* main
	okta_auth /require/* main {
		mtls_bound require
	}
	okta_auth /off/* main {
		mtls_bound off
	}
	okta_auth /both/* main {
		mtls_bound require
		dpop require
	}`)
	certificate, key := oktatest.NewClientCertificate("client"), oktatest.NewKey("ES256")
	toCertificate, toKey := oktatest.BoundToCertificate(certificate.Leaf), oktatest.BoundTo(key.Thumbprint())
	holding := func(options ...oktatest.Option) holder { return holder{key, g.issuer.UserToken("alice", options...)} }
	free, bound, proven, both := holding(), holding(toCertificate), holding(toKey), holding(toCertificate, toKey)
	asBearer := func(h holder) func(string) option { return func(string) option { return bearer(h.token) } }
	withProof := func(h holder) func(string) option {
		return func(path string) option { return h.proving("GET", "https://"+g.address+path) }
	}
	for name, c := range map[string]struct {
		send          func(path string) option
		with, without string // the reasons on /accept/, /require/, /off/ and /both/, with and without the certificate
	}{
		"a free token": { // 8705-10
			asBearer(free), "ok proof_required ok proof_required", "ok proof_required ok proof_required",
		},
		"a token bound to the certificate": { // 8705-01, 8705-03
			asBearer(bound), "ok ok proof_required proof_required", "proof_required proof_required proof_required proof_required",
		},
		"a token bound to the certificate, with the scheme DPoP": { // 9449-33
			withProof(bound), "wrong_type wrong_type wrong_type wrong_type", "wrong_type wrong_type wrong_type wrong_type",
		},
		"a token bound to a key": {
			withProof(proven), "ok proof_required ok proof_required", "ok proof_required ok proof_required",
		},
		"a token bound to both": { // 8705-09
			withProof(both), "ok ok proof_required ok", "proof_required proof_required proof_required proof_required",
		},
		"a token bound to both, with the proof for another request": { // 8705-09
			func(string) option { return both.proving("GET", "https://"+g.address+"/else") },
			"invalid_proof invalid_proof proof_required invalid_proof", "proof_required proof_required proof_required proof_required",
		},
		"a token bound to both, without a proof": { // 8705-09
			asBearer(both), "proof_required proof_required proof_required proof_required", "proof_required proof_required proof_required proof_required",
		},
	} {
		for presented, reasons := range map[*tls.Certificate]string{certificate: c.with, nil: c.without} {
			g.presenting(presented)
			for i, path := range []string{"/accept/", "/require/", "/off/", "/both/"} {
				if a := g.expectReason(strings.Fields(reasons)[i], "GET", path, secure, c.send(path)); t.Failed() {
					t.Fatalf("%s, certificate %t, on %s: %s", name, presented != nil, path, a.body)
				}
			}
		}
	}
}

// 8705-06: a certificate that a header names proves nothing.
func TestCertificatesInHeadersProveNothing(t *testing.T) {
	g := startMutual(t, requestCertificate, "okta_auth main")
	certificate := oktatest.NewClientCertificate("client")
	g.presenting(nil)
	token := bearer(g.issuer.UserToken("alice", oktatest.BoundToCertificate(certificate.Leaf)))
	text := base64.StdEncoding.EncodeToString(certificate.Leaf.Raw)
	sum := sha256.Sum256(certificate.Leaf.Raw)
	for name, value := range map[string]string{
		"Client-Cert": ":" + text + ":", "X-SSL-Cert": text, "X-SSL-Client-Cert": text, "SSL-Client-Cert": text, "X-Client-Cert": text,
		"X-Forwarded-Client-Cert": "Hash=" + hex.EncodeToString(sum[:]) + ";Cert=" + text, "X-Amzn-Mtls-Clientcert": text,
	} {
		g.expectReason("proof_required", "GET", "/", secure, token, header(name, value))
	}
}

// 8705-11: where nobody asks for certificates, bound tokens do not pass, and free ones do.
func TestBoundTokensWhereNobodyAsksForCertificates(t *testing.T) {
	certificate := oktatest.NewClientCertificate("client")
	g := startMutual(t, "", "okta_auth main")
	g.presenting(certificate)
	g.expectReason("proof_required", "GET", "/", secure, bearer(g.issuer.UserToken("alice", oktatest.BoundToCertificate(certificate.Leaf))))
	g.expectReason("ok", "GET", "/", secure, bearer(g.issuer.UserToken("alice")))

	g = startTelling(t, "okta_auth main") // no TLS at all
	g.expectReason("proof_required", "GET", "/", bearer(g.issuer.UserToken("alice", oktatest.BoundToCertificate(certificate.Leaf))))
}

// 8705-12: a later connection proves its certificate anew, also where the client would resume the session of another.
func TestEveryConnectionProvesItsCertificate(t *testing.T) {
	g := startMutual(t, requestCertificate, "okta_auth main")
	certificate := oktatest.NewClientCertificate("client")
	token := bearer(g.issuer.UserToken("alice", oktatest.BoundToCertificate(certificate.Leaf)))
	sessions := tls.NewLRUClientSessionCache(8)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, present := range []bool{true, false, true} {
			g.client.CloseIdleConnections()
			config := insecure()
			config.ClientSessionCache, config.MaxVersion = sessions, version
			reason := "proof_required"
			if present {
				config.Certificates, reason = []tls.Certificate{*certificate}, "ok"
			}
			g.client.Transport = &http.Transport{TLSClientConfig: config}
			g.expectReason(reason, "GET", "/", secure, token)
		}
	}
}
