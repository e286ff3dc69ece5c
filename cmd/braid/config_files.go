package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// roots are the authorities that every outgoing TLS connection trusts: the system's and
// those of outbound.roots. nil: the system's alone.
func (c *config) roots() (*x509.CertPool, error) {
	if len(c.Outbound.Roots) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil { // a system without
		pool = x509.NewCertPool()
	}
	for i, name := range c.Outbound.Roots {
		if err := addRoots(pool, name); err != nil {
			return nil, fmt.Errorf("outbound.roots[%d]: %w", i, err)
		}
	}
	return pool, nil
}

// addRoots adds each certificate of a PEM file. One that cannot be read is an error, as
// connections would fail for want of it later.
func addRoots(pool *x509.CertPool, name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	found := 0
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("%s holds a %s; only certificates are wanted", name, block.Type)
		}
		found++
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("%s: certificate %d: %w", name, found, err)
		}
		pool.AddCert(cert)
	}
	if found == 0 {
		return fmt.Errorf("%s has no certificate in PEM", name)
	}
	return nil
}

// trusting is how a client speaks TLS that trusts roots; nil: those of the system.
func trusting(roots *x509.CertPool) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
}

// warnExposed says which files with secrets every user of this machine can read. Nobody
// else is refused for it: in a container, where such modes are usual, there may be no
// other user.
func (c *config) warnExposed(log *slog.Logger) {
	for _, f := range []struct{ what, name string }{
		{"the config", c.secretFile},
		{"http.tls.key", c.HTTP.TLS.Key},
		{"metrics.token_file", c.Metrics.TokenFile},
		{"the credentials of the first start", filepath.Join(c.DataDir, "credentials.json")},
		{"the database", filepath.Join(c.DataDir, "braid.db")},
	} {
		if mode, exposed := readableByAll(f.name); exposed {
			log.Warn("a file with secrets can be read by every user of this machine; chmod 600 keeps them out", "what", f.what, "file", f.name, "mode", fmt.Sprintf("%04o", mode))
		}
	}
}

// hasSecrets tells whether the config's file has any, before what a first start made is
// added.
func (c *config) hasSecrets() bool {
	inFile := *c
	if c.Metrics.TokenFile != "" {
		inFile.Metrics.Token = ""
	}
	dsn, _ := url.Parse(c.Store.DSN) // what is no URL may have it as a word
	word := strings.Contains(c.Store.DSN, "password=")
	if dsn != nil && dsn.User != nil {
		_, word = dsn.User.Password()
	}
	return word || c.Origin.AuthKey != "" || slices.ContainsFunc(inFile.secrets(), func(s string) bool { return s != "" })
}

// readableByAll tells whether everyone can read a file and get to it in its directory.
// Files that are not there are nobody's to read.
func readableByAll(name string) (mode os.FileMode, exposed bool) {
	if name == "" || runtime.GOOS == "windows" { // where modes say nothing
		return 0, false
	}
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	dir, err := os.Stat(filepath.Dir(name))
	if err != nil {
		return 0, false
	}
	return info.Mode().Perm(), info.Mode().Perm()&0o004 != 0 && dir.Mode().Perm()&0o001 != 0
}
