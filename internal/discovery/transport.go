package discovery

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Transport returns a transport to one issuer. ca holds the PEM certificates that TLS trusts; without any, those of the
// system. Documents are fetched about once an hour, so connections are not kept for long.
func Transport(ca string) (*http.Transport, error) {
	roots, err := parseRoots(ca)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    5 * time.Second,
		ResponseHeaderTimeout:  8 * time.Second,
		IdleConnTimeout:        5 * time.Second, // discovery and keys share a connection
		MaxIdleConns:           2,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
	}, nil
}

// parseRoots reads PEM certificates; no text is no pool, which means the system's roots. One certificate that cannot
// be read is an error: leaving it out would only show when the issuer starts to use it.
func parseRoots(bundle string) (*x509.CertPool, error) {
	if bundle == "" {
		return nil, nil
	}
	roots, count := x509.NewCertPool(), 0
	for rest := []byte(bundle); ; count++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("tls_ca: a PEM block is %q, only CERTIFICATE is expected", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("tls_ca: certificate %d: %w", count+1, err)
		}
		roots.AddCert(cert)
	}
	if count == 0 {
		return nil, errors.New("tls_ca: no PEM certificate found")
	}
	return roots, nil
}
