package sfu

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtcp"

	sockets "braid/media/udp"
)

// inlet is the media socket as Pion's mux reads it. What viewers whose keys are
// known (wire) report about what they got is taken out here, and so are their
// checks of consent and what publishers send (uplink): through Pion each such packet
// wakes four goroutines. All else goes on.
type inlet struct {
	*sockets.Conn
	pass time.Duration // how long Pion may hear nothing of a viewer who is there

	mu      sync.RWMutex
	wires   map[netip.AddrPort][]*wire // by where viewers are; lists are immutable
	streams map[uint32][]*stream       // of publishers, by SSRC, which two may have chosen; lists are immutable

	// Owned by the mux, which is the one reader.
	by     bringer
	plain  [sockets.MaxPacket]byte
	header rtcp.Header
}

func newInlet(c *sockets.Conn, silence time.Duration) *inlet {
	// Pion takes a viewer for lost who is silent for half of silence.
	return &inlet{Conn: c, pass: min(time.Second, silence/8), wires: map[netip.AddrPort][]*wire{}, streams: map[uint32][]*stream{}}
}

// follow sends what comes from a viewer's address to its wire, and what came
// from where it was before no more. Two may have one address: a viewer that has
// gone without a word, and who has got its address since; or one that pretends to be
// there. Only their keys tell whose a packet is. It is called with w.mu held.
func (i *inlet) follow(w *wire, r *route) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.dropLocked(w)
	if r.tcp == nil {
		i.wires[r.udp], w.known = append(slices.Clip(i.wires[r.udp]), w), r.udp
	}
}

// forget is follow for those who have left.
func (i *inlet) forget(w *wire) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.dropLocked(w)
}

func (i *inlet) dropLocked(w *wire) {
	left := slices.DeleteFunc(slices.Clone(i.wires[w.known]), func(o *wire) bool { return o == w })
	if i.wires[w.known] = left; len(left) == 0 {
		delete(i.wires, w.known)
	}
	w.known = netip.AddrPort{}
}

func (i *inlet) find(from netip.AddrPort) []*wire {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.wires[from]
}

// ReadFromAddrPort gives the next packet that is Pion's.
func (i *inlet) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	defer i.by.done()
	for {
		waits := i.Conn.Waiting() > 0
		if !waits {
			i.by.done()
		}
		n, from, err := i.Conn.ReadFromAddrPort(b)
		if err != nil {
			return n, from, err
		}
		if !waits {
			i.by.begin(time.Now(), i.Conn.Waiting())
		}
		take := i.takeReport
		switch {
		case isRTCP(b[:n]):
		case n >= stunHeader && b[0] == 0:
			take = i.takeCheck
		case i.takeMedia(b[:n]):
			continue
		default:
			return n, from, nil
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if !slices.ContainsFunc(i.find(from), func(w *wire) bool { return take(w, b[:n], from) }) {
			return n, from, nil
		}
	}
}

// isRTCP tells RTCP from all else on the socket (RFC 7983 section 7, RFC 5761
// section 4).
func isRTCP(b []byte) bool {
	return len(b) > 8 && b[0]>>6 == 2 && b[1] >= 192 && b[1] <= 223
}

// divert takes a stream's packets from now on.
func (i *inlet) divert(ssrc uint32, s *stream) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !slices.Contains(i.streams[ssrc], s) {
		i.streams[ssrc] = append(slices.Clip(i.streams[ssrc]), s)
	}
}

// restore leaves a stream to Pion.
func (i *inlet) restore(ssrc uint32, s *stream) {
	i.mu.Lock()
	defer i.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(i.streams[ssrc]), func(o *stream) bool { return o == s })
	if i.streams[ssrc] = left; len(left) == 0 {
		delete(i.streams, ssrc)
	}
}

// takeMedia gives a packet to the stream that it is of. Where it came from does not
// matter: only its publisher can have sealed it.
func (i *inlet) takeMedia(b []byte) bool {
	n, ok := mediaHeader(b)
	if !ok {
		return false
	}
	i.mu.RLock()
	all := i.streams[binary.BigEndian.Uint32(b[8:])]
	i.mu.RUnlock()
	for _, s := range all {
		if v := s.take(b, n, i.plain[:], &i.by); v != foreign {
			return v == taken
		}
	}
	return false
}

// takeReport opens a viewer's RTCP. Now and then Pion gets the packet too, to know
// that the viewer is alive; there it ends in a requestBox.
func (i *inlet) takeReport(w *wire, b []byte, _ netip.AddrPort) (taken bool) {
	plain, err := w.open.DecryptRTCP(i.plain[:0], b, &i.header)
	if err != nil { // not the viewer's, or seen before; Pion knows whose, or drops it
		return false
	}
	now := w.srv.age()
	w.heard.Store(int64(now))
	w.requests.take(w, plain, 0)
	if now-w.passed < i.pass {
		return true
	}
	w.passed = now
	return false
}

// takeCheck answers a check of a viewer that Pion knows to be alive. What is not the
// viewer's check is Pion's, and does not count: anyone can send such.
func (i *inlet) takeCheck(w *wire, b []byte, from netip.AddrPort) (taken bool) {
	now, c := w.srv.age(), w.consent.Load()
	if c == nil || !c.check(b) {
		return false
	}
	if now-w.passed >= i.pass || now-c.passed >= consentPass {
		w.passed, c.passed = now, now
		return false
	}
	place := i.Reserve(from, answerSize(from))
	c.answer(place.Packet, b, from)
	place.Send(true)
	return true
}
