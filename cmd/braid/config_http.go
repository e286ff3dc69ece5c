package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// checkHTTP checks how browsers reach braid.
func (c *config) checkHTTP() error {
	if _, err := networks("http.trusted_proxies", c.HTTP.TrustedProxies); err != nil {
		return err
	}
	files, acme := c.HTTP.TLS, c.HTTP.ACME
	switch {
	case (files.Cert == "") != (files.Key == ""):
		return fmt.Errorf("http.tls: cert and key are both needed")
	case files.Cert != "" && len(acme.Domains) > 0:
		return fmt.Errorf("http.tls and http.acme: one of them is needed, not both")
	case len(acme.Domains) == 0 && acme.Email+acme.Cache+acme.Directory+acme.Root != "":
		return fmt.Errorf("http.acme.domains: is needed: the names that certificates are asked for")
	}
	for _, f := range []struct{ field, name string }{{"http.tls.cert", files.Cert}, {"http.tls.key", files.Key}, {"http.acme.root", acme.Root}} {
		if f.name == "" {
			continue
		}
		if info, err := os.Stat(f.name); err != nil {
			return fmt.Errorf("%s: %w", f.field, err)
		} else if !info.Mode().IsRegular() {
			return fmt.Errorf("%s: %s is not a file", f.field, f.name)
		}
	}
	for i, name := range acme.Domains {
		if _, err := netip.ParseAddr(name); err == nil || !strings.Contains(name, ".") || strings.ContainsAny(name, "*/: ") {
			return fmt.Errorf("http.acme.domains[%d]: %q is not a public name such as live.example.com", i, name)
		}
	}
	if u, err := url.Parse(acme.Directory); err != nil || acme.Directory != "" && (u.Scheme != "https" || u.Host == "") {
		return fmt.Errorf("http.acme.directory: %q is not https://…", acme.Directory)
	}
	return nil
}

// proxies are those of http.trusted_proxies.
func (c *config) proxies() []netip.Prefix {
	all, _ := networks("", c.HTTP.TrustedProxies) // checked before
	return all
}

// tls tells whether the HTTP listener speaks TLS.
func (c *config) tls() bool { return c.HTTP.TLS.Cert != "" || len(c.HTTP.ACME.Domains) > 0 }

// acmeCache is where certificates and account keys of ACME are kept.
func (c *config) acmeCache() string {
	if c.HTTP.ACME.Cache != "" {
		return c.HTTP.ACME.Cache
	}
	return filepath.Join(c.DataDir, "acme")
}

// httpURL is where a person on this machine reaches the HTTP listener at addr.
func (c *config) httpURL(addr string) string {
	_, port, _ := net.SplitHostPort(addr) // as bound: never malformed
	switch {
	case len(c.HTTP.ACME.Domains) > 0 && port == "443":
		return "https://" + c.HTTP.ACME.Domains[0]
	case len(c.HTTP.ACME.Domains) > 0:
		return "https://" + net.JoinHostPort(c.HTTP.ACME.Domains[0], port)
	case c.tls():
		return "https://" + reachable(addr)
	}
	return "http://" + reachable(addr)
}
