package sfu

import (
	"encoding/binary"
	"sync"
	"time"

	"braid/media"
)

// ingress is where a layer's packets come in and go on, in bursts. There are two ways
// here: those that are put into the stream's inbox, which a goroutine of the layer
// reads (layer.read); and those of a layer with few receivers, which who reads the
// socket brings at once (inlet): to wake a goroutine takes as long as to serve some
// viewers.
type ingress struct {
	layer *layer
	again asker
	bind  func(of *inbox) *uplink // lets the inlet bring packets; nil: it cannot yet

	mu    sync.Mutex // owns all that follows; nothing of Pion's is called with it held
	over  bool       // nothing goes on any more
	up    *uplink    // by whose inlet packets may come; nil: none do
	in    intake
	last  time.Time // when the newest packet came
	burst []*media.Packet
}

// asker asks a publisher for lost packets: past Pion unless up is nil. Pion's way
// waits for a lock that it holds for all the time that it takes to close a connection,
// which the reader of the socket must not.
type asker func(up *uplink, lost []uint16)

func newIngress(l *layer, in intake, again asker) *ingress {
	return &ingress{layer: l, in: in, again: again, burst: make([]*media.Packet, 0, maxBurst)}
}

// packet adds one as it came from the wire. It appends the numbers to ask for now.
func (f *ingress) packet(b []byte, now time.Time, lost []uint16) []uint16 {
	if now.Before(f.last) { // read before one that came by the inbox: time goes as packets go (follower.sent)
		now = f.last
	}
	f.last = now
	for _, p := range f.in.packets(b, now) {
		if f.layer.place(p) {
			f.burst = append(f.burst, p)
		}
	}
	lost = f.layer.repair(&f.in.missing, lost, now)
	if len(f.burst) >= maxBurst {
		f.flush()
	}
	return lost
}

// flush ends the burst.
func (f *ingress) flush() {
	if len(f.burst) > 0 {
		f.layer.deliver(f.burst...)
		clear(f.burst)
		f.burst = f.burst[:0]
	}
}

// end is for who reads the inbox and leaves.
func (f *ingress) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flush()
	f.over = true
}

// few is how many receivers a layer has at most whose packets the inlet brings, and how
// many packets it then takes from the socket at once: while it serves some, others wait,
// and when it has much to do the layers' goroutines share it among all processors.
const few = 16

// bringer brings packets to ingresses, a burst of one at a time. It is owned by who reads
// the socket.
type bringer struct {
	to   *ingress // whose burst is open, and whose lock is held; nil: none
	now  time.Time
	busy bool // more than a few packets were waiting
	left int  // packets that repeat others and may be brought of these all the same
	lost []uint16
}

// begin is called with each read of the socket: so many packets wait behind the first.
func (g *bringer) begin(now time.Time, waiting int) {
	g.now, g.busy, g.left = now, waiting >= few, few
}

// open begins an ingress's burst, or goes on with it; false says that it takes nothing
// so. box is what it has to read first. What repeats others goes ahead of all that: where
// the others are brought, Pion's way hands it on with the next that comes by the inbox,
// which may be a second later.
func (g *bringer) open(f *ingress, box *inbox, repeats bool) bool {
	switch {
	case repeats && g.left > 0:
		g.left--
	case g.busy || box.Count() > 0:
		return false
	}
	if f != g.to {
		g.done()
		if len(f.layer.receivers.Load().all) > few {
			return false
		}
		f.mu.Lock()
		g.to = f
	}
	return !f.over && f.up != nil && f.up.byUDP() != nil
}

// bring adds a packet to the burst that is open.
func (g *bringer) bring(b []byte) {
	f := g.to
	if g.lost = f.packet(b, g.now, g.lost[:0]); len(g.lost) > 0 {
		f.again(f.up, g.lost)
	}
}

// done ends the burst.
func (g *bringer) done() {
	if f := g.to; f != nil {
		g.to = nil
		f.flush()
		f.mu.Unlock()
	}
}

// original makes a retransmission packet (RFC 4588 section 4), whose header is n bytes
// long, into the packet that it repeats: of the layer's SSRC and payload type. It is
// nil when it repeats nothing, as packets do that try how much the path carries.
func original(b []byte, n int, ssrc uint32, payload uint8) []byte {
	size := len(b) - n
	if b[0]&0x20 != 0 && size > 0 {
		size -= int(b[len(b)-1])
	}
	if size < 2 {
		return nil
	}
	number := binary.BigEndian.Uint16(b[n:])
	copy(b[n:], b[n+2:])
	b[1] = b[1]&0x80 | payload
	binary.BigEndian.PutUint16(b[2:], number)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	return b[:len(b)-2]
}
