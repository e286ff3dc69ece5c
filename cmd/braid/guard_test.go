package main

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func TestGuard(t *testing.T) {
	own := netip.MustParseAddrPort("127.0.0.1:1935")
	strict := newGuard(nil, own)
	open := newGuard([]netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}, netip.AddrPort{})
	for _, c := range []struct {
		network, address string
		strict, open     bool
	}{
		{"tcp4", "8.8.8.8:80", true, true},
		{"tcp6", "[2606:4700::1111]:443", true, true},
		{"tcp4", "127.0.0.1:1935", true, true},
		{"tcp4", "127.0.0.1:1936", false, true},
		{"udp4", "8.8.8.8:80", true, true},
		{"udp6", "[2606:4700::1111]:443", true, true},
		{"udp4", "127.0.0.1:1935", false, true},
		{"udp4", "169.254.169.254:80", false, false},
		{"udp6", "[::1]:80", false, false},
		{"tcp4", "127.8.9.1:80", false, true},
		{"tcp4", "10.1.2.3:80", false, true},
		{"tcp4", "10.2.2.3:80", false, false},
		{"tcp4", "172.16.0.1:80", false, false},
		{"tcp4", "192.168.1.1:80", false, false},
		{"tcp4", "169.254.169.254:80", false, false},
		{"tcp4", "100.64.0.1:80", false, false},
		{"tcp4", "0.0.0.0:80", false, false},
		{"tcp4", "224.0.0.1:80", false, false},
		{"tcp4", "255.255.255.255:80", false, false},
		{"tcp4", "192.0.2.1:80", false, false},
		{"tcp6", "[::1]:80", false, false},
		{"tcp6", "[::]:80", false, false},
		{"tcp6", "[fd00::1]:80", false, true},
		{"tcp6", "[fe80::1]:80", false, false},
		{"tcp6", "[::ffff:127.0.0.1]:80", false, false},
		{"tcp6", "[64:ff9b::7f00:1]:80", false, false},
		{"tcp6", "[2002:7f00:1::]:80", false, false},
		{"tcp6", "[ff02::1]:80", false, false},
		{"tcp6", "[fd00:ec2::254]:80", false, true},
	} {
		if err := strict.control(c.network, c.address, nil); (err == nil) != c.strict {
			t.Errorf("%s without a list: got %v", c.address, err)
		}
		if err := open.control(c.network, c.address, nil); (err == nil) != c.open {
			t.Errorf("%s with a list: got %v", c.address, err)
		}
	}
}

// TestGuardDials goes through a real dialer: by address, by a name that points
// to loopback, and where the list allows it.
func TestGuardDials(t *testing.T) {
	h := httptest.NewServer(http.NotFoundHandler())
	defer h.Close()
	_, port, _ := net.SplitHostPort(h.Listener.Addr().String())
	strict := newGuard(nil, netip.AddrPort{})
	for _, host := range []string{"127.0.0.1", "localhost"} {
		c, err := strict.dial(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err == nil {
			c.Close()
			t.Errorf("%s: connected", host)
		}
		var forbidden *forbiddenError
		if !errors.As(err, &forbidden) || !strings.Contains(err.Error(), "outbound") {
			t.Errorf("%s: got %v, want words that name the config line", host, err)
		}
	}
	c, err := newGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, netip.AddrPort{}).dial(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
