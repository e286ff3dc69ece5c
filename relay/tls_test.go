package relay

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"braid/media/rtmp"
)

// certificate is one for 127.0.0.1 (or for a name), by its own authority.
func certificate(t testing.TB, name string, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: until.Add(-48 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true}
	if name == "" {
		form.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	} else {
		form.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// A push over TLS to an origin with a certificate of a private authority; and what
// is wrong with a certificate, in words.
func TestPushTLS(t *testing.T) {
	soon := time.Now().Add(time.Hour)
	for _, c := range []struct {
		name, host string
		until      time.Time
		trusted    bool
		server     *tls.Config // what is special
		want       string
	}{
		{name: "works", until: soon, trusted: true, want: "connecting live"},
		{name: "unknown authority", until: soon, want: "connecting waiting:tls (the certificate is of an unknown authority)"},
		{name: "expired", until: time.Now().Add(-time.Hour), trusted: true, want: "connecting waiting:tls (the certificate has expired, or is not valid yet)"},
		{name: "another name", host: "other.example", until: soon, trusted: true, want: "connecting waiting:tls (the certificate is for another name)"},
		{name: "too old a version", until: soon, trusted: true, server: &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}, //nolint:gosec // that it is refused
			want: "connecting waiting:tls (the origin says: protocol version not supported)"},
		{name: "wants a certificate of ours", until: soon, trusted: true, server: &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12},
			want: "connecting waiting:tls"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pushLeaks(t)
			cert, roots := certificate(t, c.host, c.until)
			if !c.trusted {
				roots = x509.NewCertPool()
			}
			cfg := &tls.Config{}
			if c.server != nil {
				cfg = c.server
			}
			cfg.Certificates = []tls.Certificate{cert}
			o := &pushOrigin{}
			ctx, cancel := context.WithCancel(t.Context())
			url := listen(t, func(nc net.Conn) {
				_ = rtmp.Serve(ctx, tls.Server(nc, cfg), o, slog.New(slog.DiscardHandler))
			})
			t.Cleanup(cancel)
			aus, audio := pushUnits(t)
			r := runPush(t, PushConfig{URL: strings.Replace(url, "rtmp:", "rtmps:", 1), Video: true, Audio: audio, Dial: rtmp.Options{TLS: &tls.Config{RootCAs: roots}}})
			feed(t, r.Push, aus)
			eventually(t, c.want, func() bool { return strings.HasPrefix(r.story(), c.want) || strings.Count(r.story(), "waiting") > 0 })
			if got := r.story(); !strings.HasPrefix(got, c.want) {
				t.Errorf("phases: %s", got)
			}
			if c.name == "works" {
				nextSession(t, o, 0)
			}
		})
	}
}
