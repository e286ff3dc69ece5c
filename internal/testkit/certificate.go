package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"
)

// Certificate makes one for 127.0.0.1, or for a name, that is its own authority
// and valid for the two days up to a time; roots are who trusts it.
func Certificate(t testing.TB, name string, until time.Time) (cert tls.Certificate, roots *x509.CertPool) {
	t.Helper()
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: until.Add(-48 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true}
	if name == "" {
		form.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	} else {
		form.DNSNames = []string{name}
	}
	cert = Signed(t, form, nil)
	roots = x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	return cert, roots
}

// Signed makes a key and a certificate of a form for it, signed by an authority;
// nil: by itself.
func Signed(t testing.TB, form *x509.Certificate, by *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if by == nil {
		by = &tls.Certificate{Leaf: form, PrivateKey: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, form, by.Leaf, &key.PublicKey, by.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}
