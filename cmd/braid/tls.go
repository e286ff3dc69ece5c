package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// strictFor is how long browsers shall reach this name by HTTPS alone.
const strictFor = 180 * 24 * time.Hour

// tlsConfig is how the HTTP listener proves who it is; nil when it does not.
// Certificates of ACME are got by TLS-ALPN-01 on the listener itself
// (RFC 8737), which therefore has to be reached at port 443.
func tlsConfig(c *config, log *slog.Logger) (*tls.Config, error) {
	switch {
	case c.HTTP.TLS.Cert != "":
		f := &certFiles{cert: c.HTTP.TLS.Cert, key: c.HTTP.TLS.Key, log: log}
		if err := f.load(); err != nil {
			return nil, fmt.Errorf("http.tls: %w", err)
		}
		return &tls.Config{GetCertificate: f.get, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}, nil
	case len(c.HTTP.ACME.Domains) > 0:
		client, err := acmeClient(c)
		if err != nil {
			return nil, err
		}
		m := &autocert.Manager{
			Prompt: autocert.AcceptTOS, HostPolicy: autocert.HostWhitelist(c.HTTP.ACME.Domains...),
			Cache: autocert.DirCache(c.acmeCache()), Email: c.HTTP.ACME.Email,
			Client: &acme.Client{DirectoryURL: c.HTTP.ACME.Directory, UserAgent: "braid", HTTPClient: client}, // "" is Let's Encrypt
		}
		cfg := m.TLSConfig()
		cfg.MinVersion = tls.VersionTLS12
		get := cfg.GetCertificate
		cfg.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, err := get(hello)
			if err != nil {
				log.Warn("acme: no certificate", "name", hello.ServerName, "error", err)
			}
			return cert, err
		}
		return cfg, nil
	}
	return nil, nil
}

// acmeClient trusts http.acme.root alone, or whom all outgoing connections do.
func acmeClient(c *config) (*http.Client, error) {
	roots, err := c.roots()
	if err != nil {
		return nil, err
	}
	if c.HTTP.ACME.Root != "" {
		roots = x509.NewCertPool()
		if err := addRoots(roots, c.HTTP.ACME.Root); err != nil {
			return nil, fmt.Errorf("http.acme.root: %w", err)
		}
	}
	if roots == nil {
		return nil, nil
	}
	return &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: trusting(roots), ForceAttemptHTTP2: true}}, nil
}

// lookEvery is how often the files of a certificate are looked at, at most.
const lookEvery = 10 * time.Second

// certFiles is a certificate that is read anew when its files change. Files that
// cannot be read leave the last one in use.
type certFiles struct {
	cert, key string
	log       *slog.Logger

	mu     sync.Mutex
	now    *tls.Certificate
	looked time.Time
	was    [2]stamp // of the files that now was read from, or that were wrong
}

// stamp shows that a file has changed.
type stamp struct {
	at   time.Time
	size int64
}

func (f *certFiles) stamps() (s [2]stamp, err error) {
	for i, name := range []string{f.cert, f.key} {
		info, err := os.Stat(name)
		if err != nil {
			return s, err
		}
		s[i] = stamp{info.ModTime(), info.Size()}
	}
	return s, nil
}

// load reads the files when they have changed.
func (f *certFiles) load() error {
	stamps, err := f.stamps()
	if err != nil || stamps == f.was {
		return err
	}
	cert, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return err // perhaps one of the two is new and the other is not yet
	}
	f.now, f.was = &cert, stamps
	return nil
}

// get implements tls.Config.GetCertificate.
func (f *certFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.looked) >= lookEvery {
		f.looked = now
		before := f.now
		if err := f.load(); err != nil {
			f.log.Warn("http.tls: the certificate's files cannot be read anew; the last one stays", "error", err)
		} else if f.now != before {
			f.log.Info("http.tls: the certificate was read anew", "cert", f.cert)
		}
	}
	return f.now, nil
}

// strict says in answers that came by HTTPS that browsers shall come so again
// (RFC 6797); on others the header means nothing.
func strict(next http.Handler) http.Handler {
	value := fmt.Sprintf("max-age=%d", int(strictFor/time.Second))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil {
			w.Header().Set("Strict-Transport-Security", value)
		}
		next.ServeHTTP(w, r)
	})
}
