// Package udp is a UDP socket for a server that sends much: between Cork and
// Uncork packets gather in memory, and go to the kernel together, those for one
// destination as one message that the kernel cuts (UDP_SEGMENT). Reads take what
// has arrived at once. Each packet keeps its borders, and those to one
// destination their order.
//
// On systems other than Linux the same Conn sends and reads one packet at a time.
// It starts no goroutine.
package udp

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// MaxPacket is the longest datagram that is read, in bytes; longer ones are
// dropped.
const MaxPacket = 2048

// Conn is a net.PacketConn over a net.UDPConn. All methods may be called from
// any goroutine.
type Conn struct {
	udp  *net.UDPConn
	sys  system
	four bool // an IPv4 socket

	corked atomic.Int32
	shards []shard // by destination, so that processors seldom wait for each other

	readMu sync.Mutex
	in     *inbox // guarded by readMu
}

// system is how packets pass to and from the kernel.
type system interface {
	// receive waits for packets and fills in with at least one.
	receive(in *inbox) error
	// send sends all of a batch. What a destination refuses is its own affair.
	send(b *batch)
}

// New takes a socket over; Close closes it.
func New(c *net.UDPConn) *Conn {
	if sys, err := newSystem(c); err == nil {
		return newConn(c, sys, min(runtime.GOMAXPROCS(0), 8))
	}
	return newConn(c, &plain{c}, 1)
}

func newConn(c *net.UDPConn, sys system, shards int) *Conn {
	conn := &Conn{udp: c, sys: sys, shards: make([]shard, shards), in: &inbox{}}
	if at, ok := c.LocalAddr().(*net.UDPAddr); ok {
		conn.four = at.IP.To4() != nil
	}
	for i := range conn.shards {
		conn.shards[i].pending, conn.shards[i].spare = newBatch(), newBatch()
	}
	return conn
}

// Cork lets packets gather. Each Cork has its Uncork soon after, with nothing
// between them that waits: nothing is sent by a timer.
func (c *Conn) Cork() { c.corked.Add(1) }

// Uncork sends what has gathered, other goroutines' packets included, so that
// none waits for the last of several that work at once.
func (c *Conn) Uncork() {
	c.corked.Add(-1)
	for i := range c.shards {
		c.shards[i].flush(c.sys)
	}
}

// WriteToAddrPort sends a packet, or lets it gather. b is copied. An error is
// told only of packets that do not gather.
func (c *Conn) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if c.corked.Load() == 0 || len(b) == 0 || len(b) > MaxPacket || !c.gathers(to.Addr()) {
		return c.udp.WriteToUDPAddrPort(b, to)
	}
	r := c.Reserve(to, len(b))
	r.Send(copy(r.Packet, b) == len(b))
	return len(b), nil
}

// Reserved is room for one packet, to be filled in place and given back by Send.
type Reserved struct {
	Packet []byte // as long as was asked for, with any content

	conn  *Conn
	shard *shard // nil: the packet goes out by itself
	to    netip.AddrPort
}

// Reserve makes room for a packet of size bytes, 1 to MaxPacket, among those that
// gather. Send follows soon, with nothing between that waits or writes to c: others
// that write to c wait for it. There is room always, once what has gathered is sent.
func (c *Conn) Reserve(to netip.AddrPort, size int) Reserved {
	if size < 1 || size > MaxPacket || !c.gathers(to.Addr()) {
		return Reserved{Packet: make([]byte, max(size, 0)), conn: c, to: to}
	}
	s := &c.shards[shardOf(to)%uint32(len(c.shards))]
	for {
		s.mu.Lock()
		if b := s.pending.room(size, to); b != nil {
			return Reserved{Packet: b, conn: c, shard: s, to: to}
		}
		s.mu.Unlock()
		s.flush(c.sys)
	}
}

// Send sends the packet, or lets it gather; with ok false it gives the room back.
// It is called once. What the destination refuses is its own affair.
func (r *Reserved) Send(ok bool) {
	if r.shard == nil {
		if ok {
			_, _ = r.conn.udp.WriteToUDPAddrPort(r.Packet, r.to)
		}
		return
	}
	if ok {
		r.shard.pending.keep(len(r.Packet), r.to)
	}
	r.shard.mu.Unlock()
	// Who uncorks after this sends it; who did so before may have passed here.
	if ok && r.conn.corked.Load() == 0 {
		r.shard.flush(r.conn.sys)
	}
}

// gathers tells whether packets to an address may be in a batch. One with a zone
// is left to package net, and so is one that the socket cannot reach.
func (c *Conn) gathers(a netip.Addr) bool {
	return a.Zone() == "" && (!c.four || a.Is4() || a.Is4In6())
}

// shardOf mixes what differs between clients of one network.
func shardOf(to netip.AddrPort) uint32 {
	a := to.Addr().As16()
	return (uint32(a[15]) + uint32(a[14])*251 + uint32(a[7])*241 + uint32(to.Port())) * 2654435761 >> 16
}

// ReadFromAddrPort gives the next packet.
func (c *Conn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	for c.in.next == c.in.count {
		c.in.next, c.in.count = 0, 0
		if err := c.sys.receive(c.in); err != nil {
			return 0, netip.AddrPort{}, err
		}
	}
	p := &c.in.packets[c.in.next]
	c.in.next++
	return copy(b, p.data[:p.size]), p.from, nil
}

// Waiting is how many packets the next reads give without asking the kernel.
func (c *Conn) Waiting() int {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	return c.in.count - c.in.next
}

// ReadFrom and WriteTo implement net.PacketConn; the methods above allocate less.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

func (c *Conn) WriteTo(b []byte, to net.Addr) (int, error) {
	at, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("udp: %v is not the address of a UDP socket", to)
	}
	return c.WriteToAddrPort(b, at.AddrPort())
}

func (c *Conn) Close() error                       { return c.udp.Close() }
func (c *Conn) LocalAddr() net.Addr                { return c.udp.LocalAddr() }
func (c *Conn) SetDeadline(t time.Time) error      { return c.udp.SetDeadline(t) }
func (c *Conn) SetReadDeadline(t time.Time) error  { return c.udp.SetReadDeadline(t) }
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.udp.SetWriteDeadline(t) }

// shard gathers the packets of some destinations. While one batch is sent the
// other fills.
type shard struct {
	mu      sync.Mutex
	pending *batch // guarded by mu

	sending sync.Mutex // taken before mu; keeps batches in order
	spare   *batch     // guarded by sending

	_ [64]byte // shards do not share a cache line
}

func (s *shard) flush(sys system) {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.mu.Lock()
	b := s.pending
	if len(b.messages) == 0 {
		s.mu.Unlock()
		return
	}
	s.pending, s.spare = s.spare, nil
	s.mu.Unlock()
	sys.send(b)
	b.reset()
	s.spare = b
}

// inbox is what one read took from the kernel.
type inbox struct {
	packets     [64]received
	next, count int
}

type received struct {
	data [MaxPacket]byte
	size int
	from netip.AddrPort
}
