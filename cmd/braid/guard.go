package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// guard decides which addresses braid connects to on somebody's word: callback
// URLs, relay URLs, background images. It looks at each address after name
// resolution and before the connection, so that a name which is made to point
// elsewhere meanwhile (DNS rebinding) does not get by.
//
// Public unicast addresses pass; private, loopback, link-local, metadata,
// multicast and reserved ones are refused unless outbound.allow names them.
type guard struct {
	rules   *ssrf.Guardian
	own     netip.AddrPort // the embedded origin: always reachable
	refused atomic.Uint64
}

func newGuard(allow []netip.Prefix, own netip.AddrPort) *guard {
	var v4, v6 []netip.Prefix
	for _, p := range allow {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	return &guard{own: own, rules: ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...))}
}

// control is a net.Dialer's Control.
func (g *guard) control(network, address string, c syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("guard: %q is not an address: %w", address, err)
	}
	if at == g.own && !strings.HasPrefix(network, "udp") {
		return nil
	}
	// An address is as good or bad for SRT as for TCP; the rules know only that.
	if err := g.rules.Safe(strings.Replace(network, "udp", "tcp", 1), address, c); err != nil {
		g.refused.Add(1)
		ip := at.Addr().Unmap()
		return &forbiddenError{net.JoinHostPort(ip.String(), fmt.Sprint(at.Port())), netip.PrefixFrom(ip, ip.BitLen()), err}
	}
	return nil
}

// dial connects where control allows it.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second, Control: g.control}
	return d.DialContext(ctx, network, address)
}

// forbiddenError says which line of the config would allow an address.
type forbiddenError struct {
	address string
	line    netip.Prefix
	cause   error
}

func (e *forbiddenError) Error() string {
	return fmt.Sprintf("%s is a private or reserved address; `outbound: {allow: [%q]}` in the config allows it", e.address, e.line)
}

func (e *forbiddenError) Unwrap() error { return e.cause }

// forbidden tells whether the guard is why a connection could not be made.
func forbidden(err error) bool {
	var e *forbiddenError
	return errors.As(err, &e)
}
