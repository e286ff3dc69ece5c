package sfu

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/pion/sdp/v3"
)

// Addresses lists what a server that listens on host:port tells its clients, best
// first, without what it may discover; it opens nothing.
func Addresses(listen string, public []string) ([]netip.Addr, error) {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, err
	}
	bound := netip.IPv6Unspecified()
	if host != "" {
		at, err := net.ResolveUDPAddr("udp", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, err
		}
		bound = at.AddrPort().Addr()
	}
	named, err := publicIPs(public)
	if err != nil {
		return nil, err
	}
	own, err := ownAddresses(bound)
	return advertised(named, nil, own, false), err
}

// publicIPs reads addresses of the config.
func publicIPs(texts []string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, p := range texts {
		a, err := netip.ParseAddr(p)
		if err != nil {
			return nil, fmt.Errorf("public address %q: %w", p, err)
		}
		addrs = append(addrs, a.Unmap())
	}
	return addrs, nil
}

// ownAddresses lists the machine's addresses at which a bound socket can be
// reached, best first.
func ownAddresses(bound netip.Addr) ([]netip.Addr, error) {
	if bound = bound.Unmap(); !bound.IsUnspecified() {
		return []netip.Addr{bound}, nil
	}
	local, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the machine's addresses: %w", err)
	}
	var addrs []netip.Addr
	for _, l := range local {
		p, err := netip.ParsePrefix(l.String())
		if err != nil {
			continue
		}
		a := p.Addr().Unmap()
		if a.IsLinkLocalUnicast() || bound.Is4() && !a.Is4() {
			continue
		}
		addrs = append(addrs, a)
	}
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return rank(a) - rank(b) })
	if len(addrs) == 0 {
		return nil, errors.New("the machine has no address to advertise")
	}
	return addrs, nil
}

// advertised lists the addresses that clients are told, best first: some
// clients try only the first. Public ones that were named stand for all;
// discovered ones go before the machine's own, which clients in the same
// network need when their router does not lead them back in.
func advertised(public, discovered, own []netip.Addr, discovers bool) []netip.Addr {
	if len(public) > 0 && !discovers {
		return public
	}
	var all []netip.Addr
	for _, list := range [][]netip.Addr{public, discovered, own} {
		for _, a := range list {
			if !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
	}
	return all
}

func rank(a netip.Addr) int {
	switch {
	case a.IsLoopback() && a.Is4():
		return 2
	case a.IsLoopback():
		return 3
	case a.Is4():
		return 0
	}
	return 1
}

// candidateLines writes host candidates, all UDP before all TCP. Priorities
// follow RFC 8445 section 5.1.2.1 with type preference 126 for UDP and 90 for
// TCP, so that no client prefers TCP by our numbers. ::1 is told for UDP alone.
func candidateLines(addrs []netip.Addr, port int) []string {
	var lines []string
	for i, a := range addrs {
		priority := 126<<24 + (65535-i)<<8 + 255
		lines = append(lines, fmt.Sprintf("%d 1 udp %d %s %d typ host", i+1, priority, a, port))
	}
	for i, a := range addrs {
		if a.IsLoopback() && a.Is6() {
			continue // Pion's TCP mux serves no session there
		}
		priority := 90<<24 + (65535-i)<<8 + 255
		lines = append(lines, fmt.Sprintf("%d 1 tcp %d %s %d typ host tcptype passive", len(addrs)+i+1, priority, a, port))
	}
	return lines
}

// addresses is what clients are told, and what it is made of.
type addresses struct {
	port      int
	public    []netip.Addr // named by the config
	own       []netip.Addr
	discovers bool
	lines     atomic.Pointer[[]string] // values of a=candidate, best first; immutable
}

// discovered takes over what the world was found to see.
func (a *addresses) discovered(found []netip.Addr) {
	lines := candidateLines(advertised(a.public, found, a.own, a.discovers), a.port)
	a.lines.Store(&lines)
}

// candidates is what clients are told now.
func (a *addresses) candidates() []string { return *a.lines.Load() }

// withCandidates puts the server's candidates into an answer to offer, in place
// of what Pion gathered, at the first section that lives (BUNDLE: it speaks for
// all). A refused section gets back its mid, which Pion leaves out and some
// clients need to make their next offer.
func withCandidates(answer, offer string, candidates []string) (string, error) {
	var desc, asked sdp.SessionDescription
	if err := errors.Join(desc.UnmarshalString(answer), asked.UnmarshalString(offer)); err != nil {
		return "", err
	}
	placed := false
	for i, m := range desc.MediaDescriptions {
		if _, ok := m.Attribute("mid"); !ok && i < len(asked.MediaDescriptions) {
			mid, _ := asked.MediaDescriptions[i].Attribute("mid")
			m.Attributes = append(m.Attributes, sdp.Attribute{Key: "mid", Value: mid}, sdp.Attribute{Key: "inactive"})
		}
		m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
			return a.Key == "candidate" || a.Key == "end-of-candidates"
		})
		if placed || m.MediaName.Port.Value == 0 {
			continue
		}
		placed = true
		for _, c := range candidates {
			m.Attributes = append(m.Attributes, sdp.Attribute{Key: "candidate", Value: c})
		}
		m.Attributes = append(m.Attributes, sdp.Attribute{Key: "end-of-candidates"})
	}
	text, err := desc.Marshal()
	return string(text), err
}
