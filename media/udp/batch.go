package udp

import (
	"net"
	"net/netip"
)

const (
	// batchBytes is half of a processor's second cache, so that the kernel copies
	// from there; a batch of four times the size costs 5 % more a packet.
	batchBytes    = 256 << 10
	batchMessages = 256
	// The kernel takes up to 64 segments (udp.h, UDP_MAX_SEGMENTS) and the payload
	// of one datagram.
	maxSegments = 64
	maxMessage  = 65000
)

// batch is packets on their way out. Those in a row for one destination make one
// message while they have one length; the last of a message may be shorter.
type batch struct {
	data     []byte
	messages []message
	writer   writer // the system's
}

type message struct {
	to         netip.AddrPort
	start, end int // in data
	segment    int // length of its packets in bytes, but the last
}

func newBatch() *batch {
	return &batch{data: make([]byte, 0, batchBytes), messages: make([]message, 0, batchMessages)}
}

func (b *batch) reset() { b.data, b.messages = b.data[:0], b.messages[:0] }

// room finds place for a packet of size bytes; nil says that the batch is full.
// What is written there is sent once keep is called with the same size and
// destination.
func (b *batch) room(size int, to netip.AddrPort) []byte {
	start := len(b.data)
	if start+size > cap(b.data) {
		return nil
	}
	if n := len(b.messages); n == cap(b.messages) && !b.messages[n-1].takes(size, to) {
		return nil
	}
	return b.data[start : start+size : start+size]
}

// keep adds the packet that was written into room.
func (b *batch) keep(size int, to netip.AddrPort) {
	start := len(b.data)
	b.data = b.data[:start+size]
	if n := len(b.messages); n > 0 && b.messages[n-1].takes(size, to) {
		b.messages[n-1].end += size
		return
	}
	b.messages = append(b.messages, message{to, start, start + size, size})
}

// takes tells whether a packet may follow in the message.
func (m *message) takes(size int, to netip.AddrPort) bool {
	have := m.end - m.start
	return m.to == to && size <= m.segment &&
		have%m.segment == 0 && // a shorter one was the last
		have/m.segment < maxSegments && have+size <= maxMessage
}

// plain sends and reads one packet at a time, on any system.
type plain struct{ *net.UDPConn }

func (p *plain) receive(in *inbox) error {
	n, from, err := p.ReadFromUDPAddrPort(in.packets[0].data[:])
	if err != nil {
		return err
	}
	in.packets[0].size, in.packets[0].from, in.count = n, from, 1
	return nil
}

func (p *plain) send(b *batch) {
	for i := range b.messages {
		p.sendOne(b, &b.messages[i])
	}
}

// sendOne sends the packets of a message one by one.
func (p *plain) sendOne(b *batch, m *message) {
	for at := m.start; at < m.end; at += m.segment {
		_, _ = p.WriteToUDPAddrPort(b.data[at:min(at+m.segment, m.end)], m.to) // refused: the destination's own affair
	}
}
