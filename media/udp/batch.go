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

// add copies a packet; false says that the batch is full.
func (b *batch) add(packet []byte, to netip.AddrPort) bool {
	if len(b.data)+len(packet) > cap(b.data) {
		return false
	}
	if n := len(b.messages); n > 0 && b.messages[n-1].takes(len(packet), to) {
		b.messages[n-1].end += len(packet)
		b.data = append(b.data, packet...)
		return true
	}
	if len(b.messages) == cap(b.messages) {
		return false
	}
	b.messages = append(b.messages, message{to, len(b.data), len(b.data) + len(packet), len(packet)})
	b.data = append(b.data, packet...)
	return true
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
