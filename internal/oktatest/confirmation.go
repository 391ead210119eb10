package oktatest

import (
	"crypto/sha256"
	"crypto/x509"
	"maps"
)

// Confirmation adds members to cnf, which says what the sender of a token must prove (RFC 7800 §3.1). For a cnf that is
// no object say [With].
func Confirmation(members map[string]any) Option {
	return func(d *draft) {
		cnf := map[string]any{}
		if before, ok := d.claims["cnf"].(map[string]any); ok {
			maps.Copy(cnf, before) // the claims may share it with their maker
		}
		maps.Copy(cnf, members)
		d.claims["cnf"] = cnf
	}
}

// BoundTo binds a token to a DPoP key by its [Key.Thumbprint] (RFC 9449 §6.1).
func BoundTo(thumbprint string) Option {
	return Confirmation(map[string]any{"jkt": thumbprint})
}

// BoundToCertificate binds a token to a client certificate (RFC 8705 §3.1).
func BoundToCertificate(certificate *x509.Certificate) Option {
	sum := sha256.Sum256(certificate.Raw)
	return Confirmation(map[string]any{"x5t#S256": encode(sum[:])})
}
