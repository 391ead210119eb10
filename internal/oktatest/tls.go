package oktatest

import (
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
	"time"
)

// certify makes a certificate for the loopback addresses and the host that was asked for.
func (s *Server) certify(host string) (err error) {
	s.certificate, err = selfSigned("oktatest", x509.ExtKeyUsageServerAuth, host, "localhost", "127.0.0.1", "::1")
	if err == nil {
		s.certPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.certificate.Leaf.Raw})
	}
	return err
}

// NewClientCertificate makes a self-signed certificate that a client presents in the TLS handshake, with its private key
// and parsed Leaf: for [BoundToCertificate], and for programs that ask for mutual TLS.
func NewClientCertificate(commonName string) *tls.Certificate {
	certificate, err := selfSigned(commonName, x509.ExtKeyUsageClientAuth)
	if err != nil {
		panic("oktatest: " + err.Error())
	}
	return &certificate
}

func selfSigned(commonName string, usage x509.ExtKeyUsage, hosts ...string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: commonName},
		// Validity spans the clock of the machine and the fake clocks of tests, which begin in the year 2000.
		NotBefore:             time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Now().AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{usage},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// CertPEM returns the certificate to trust when the server speaks HTTPS, else nil.
func (s *Server) CertPEM() []byte { return s.certPEM }

// newClient makes the client of a server that listens. Its transport is its own: closing its idle connections must
// not touch those of the rest of the process.
func (s *Server) newClient() *http.Client {
	t := &http.Transport{}
	if s.cfg.TLS {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(s.certPEM)
		t.TLSClientConfig = &tls.Config{RootCAs: roots}
		t.ForceAttemptHTTP2 = true
	}
	return &http.Client{Transport: t}
}
