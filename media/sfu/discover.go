package sfu

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/stun/v4"
)

const (
	discoverEvery = 10 * time.Minute // an address that a provider changes is known again by then
	discoverAgain = 30 * time.Second // after a round that nobody answered
	discoverStart = 3 * time.Second  // that the start waits for the first round
)

// askAt is when a request is sent to a STUN server, counted from the first, and
// askWithin when the server is given up (RFC 8489 section 6.2.1 doubles from
// 500 ms; a start does not wait for its 39.5 s).
var askAt = [...]time.Duration{0, 200 * time.Millisecond, 600 * time.Millisecond}

const askWithin = 1400 * time.Millisecond

// discovery asks STUN servers (RFC 8489), from the media socket itself, under
// which address the world sees it. One goroutine, run, sends; answers come in
// over the tap of the socket.
type discovery struct {
	socket  packetWriter
	port    int // of the socket
	servers []string
	every   time.Duration
	found   func([]netip.Addr) // told what is found, when it is not what was found before
	log     *slog.Logger

	mu      sync.Mutex
	pending map[[stun.TransactionIDSize]byte]chan netip.AddrPort
}

type packetWriter interface {
	WriteToAddrPort(b []byte, to netip.AddrPort) (int, error)
}

// run asks now and then until ctx ends. It closes first after the first round.
func (d *discovery) run(ctx context.Context, first chan<- struct{}) {
	var known []netip.Addr
	told := ""
	for {
		addrs, err := d.round(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := d.every
		switch {
		case err != nil:
			wait = min(wait, discoverAgain)
			if told != err.Error() { // the same is not told again and again
				told = err.Error()
				d.log.Warn("the public address is not known: no STUN server answered, so clients are told what was known before; "+
					"allow UDP from the media port out, or name the address in media.public_ips", "err", err)
			}
		case fmt.Sprint(addrs) != fmt.Sprint(known):
			told, known = "", addrs
			d.log.Info("public address found", "addresses", addrs)
			d.found(addrs)
		}
		if first != nil {
			close(first)
			first = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// round asks one server after the other until one has answered for each family
// that it has an address in.
func (d *discovery) round(ctx context.Context) ([]netip.Addr, error) {
	var failed []error
	for _, server := range d.servers {
		var addrs []netip.Addr
		targets, err := resolve(ctx, server)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", server, err))
			continue
		}
		for _, to := range targets {
			mapped, err := d.ask(ctx, to)
			if err != nil {
				failed = append(failed, fmt.Errorf("%s (%s): %w", server, to, err))
				continue
			}
			d.judge(mapped)
			addrs = append(addrs, mapped.Addr())
		}
		if len(addrs) > 0 {
			return addrs, nil
		}
	}
	return nil, errors.Join(failed...)
}

// judge tells the log what a mapping means for those who come from outside.
func (d *discovery) judge(mapped netip.AddrPort) {
	switch a := mapped.Addr(); {
	case private(a) && !a.IsLoopback():
		d.log.Warn("the address that the STUN server sees is private, so there is another router (or a provider's) before the internet: "+
			"clients from outside come in only over a TURN server (ice_servers)", "address", mapped)
	case int(mapped.Port()) != d.port:
		d.log.Warn("a router changes the media port on the way out: forward UDP and TCP of this port to this machine, or nobody from outside comes in",
			"port", d.port, "seen", mapped)
	}
}

// resolve finds at most one address of each family, IPv4 first.
func resolve(ctx context.Context, server string) ([]netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		return nil, err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var four, six []netip.AddrPort
	for _, a := range addrs {
		to := netip.AddrPortFrom(a.Unmap(), uint16(number))
		if to.Addr().Is4() {
			four = append(four, to)
		} else {
			six = append(six, to)
		}
	}
	return append(four[:min(1, len(four))], six[:min(1, len(six))]...), nil
}

// ask sends a binding request until it is answered or given up.
func (d *discovery) ask(ctx context.Context, to netip.AddrPort) (netip.AddrPort, error) {
	request, err := stun.Build(stun.TransactionID, stun.BindingRequest)
	if err != nil {
		return netip.AddrPort{}, err
	}
	answer := make(chan netip.AddrPort, 1)
	d.mu.Lock()
	d.pending[request.TransactionID] = answer
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.pending, request.TransactionID)
		d.mu.Unlock()
	}()
	begun := time.Now()
	for i, at := range append(askAt[:], askWithin) {
		select {
		case mapped := <-answer:
			return mapped, nil
		case <-ctx.Done():
			return netip.AddrPort{}, ctx.Err()
		case <-time.After(time.Until(begun.Add(at))):
		}
		if i == len(askAt) {
			break
		}
		if _, err := d.socket.WriteToAddrPort(request.Raw, to); err != nil {
			return netip.AddrPort{}, err
		}
	}
	return netip.AddrPort{}, fmt.Errorf("no answer within %v", askWithin)
}

// take is shown every STUN success response that comes to the socket, and
// tells whether it answers one of our requests. The 96 random bits of the
// transaction are what proves it.
func (d *discovery) take(b []byte) bool {
	if len(b) < 20 {
		return false
	}
	d.mu.Lock()
	answer := d.pending[[stun.TransactionIDSize]byte(b[8:20])]
	d.mu.Unlock()
	if answer == nil {
		return false
	}
	m := &stun.Message{Raw: append([]byte(nil), b...)}
	var mapped stun.XORMappedAddress
	if err := errors.Join(m.Decode(), mapped.GetFrom(m)); err != nil {
		d.log.Warn("a STUN server's answer cannot be read", "err", err, "bytes", hex.EncodeToString(b[:min(len(b), 64)]))
		return true
	}
	if a, ok := netip.AddrFromSlice(mapped.IP); ok {
		select {
		case answer <- netip.AddrPortFrom(a.Unmap(), uint16(mapped.Port)):
		default: // an answer to a repeated request
		}
	}
	return true
}

// private tells whether an address is of no use to clients from outside.
func private(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || carrier.Contains(a)
}

// carrier is the space of providers' NATs (RFC 6598).
var carrier = netip.MustParsePrefix("100.64.0.0/10")
