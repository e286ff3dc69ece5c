package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"braid/internal/testkit"
	"braid/media/rtmp"
)

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
			testkit.NoLeaks(t)
			cert, roots := testkit.Certificate(t, c.host, c.until)
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
			testkit.Eventually(t, c.want, func() bool { return strings.HasPrefix(r.story(), c.want) || strings.Count(r.story(), "waiting") > 0 })
			if got := r.story(); !strings.HasPrefix(got, c.want) {
				t.Errorf("phases: %s", got)
			}
			if c.name == "works" {
				nextSession(t, o, 0)
			}
		})
	}
}
