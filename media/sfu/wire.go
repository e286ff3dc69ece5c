package sfu

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/webrtc/v4"

	sockets "braid/media/udp"
)

// wire is the way out to one viewer: one connection with all that is sent on it.
// Its methods may be called from any goroutine and do not block.
//
// Pion makes the connection (ICE, DTLS, negotiation). What flows on it then is
// ours: packets are sealed (SRTP) in the memory that the socket sends, and the
// viewer's RTCP is opened where the socket is read (inlet). Where the keys cannot
// be had, all of it stays Pion's. Which of the two holds is decided before the
// first packet and never changes: the numbers that SRTP counts per SSRC have one
// owner.
//
//	undecided ── first packet after DTLS, keys known ──→ ours
//	    └──────── first packet after DTLS, keys unknown ─→ pions
type wire struct {
	srv     *Server
	pc      *webrtc.PeerConnection
	secrets secrets
	owner   atomic.Uint32           // undecided, ours, pions
	route   atomic.Pointer[route]   // nil before ICE has found the viewer, and once it is lost
	consent atomic.Pointer[consent] // of the newest pair; nil: Pion answers
	known   netip.AddrPort          // where the inlet looks for it; guarded by the inlet's lock
	heard   atomic.Int64            // when the inlet last opened a report, as Server.age; 0: never
	budget  *budget                 // is estimate

	mu sync.Mutex // owns all that follows

	ended    bool      // the connection is closed
	estimate estimator // nil: nobody estimates

	seal    *seal            // nil while it is not ours
	number  uint16           // transport-wide, of the next packet
	scratch []byte           // a packet that does not go out by UDP
	ways    []net.PacketConn // in the server's TCP mux, the newest last

	// Owned by Server.steer, reused.
	shows  []show
	claims []claim
	given  []int

	// Owned by the inlet's reader.
	open   *srtp.Context // of the viewer's RTCP
	passed time.Duration // when Pion last got a packet

	requests requests

	pacer   pacer // under mu
	doubles doubles

	again    atomic.Uint64 // bytes that were asked for again
	repeated repeated

	shard   *shard        // where it counts
	sent    [2]sent       // by kind, and not in shard yet; under mu
	carries atomic.Uint64 // float64 bits of the bits a second that the path carries; 0 unknown
	limited atomic.Bool
}

const (
	undecided = iota
	ours
	pions
)

// route is where a client is: its end of the ICE pair in use.
type route struct {
	udp netip.AddrPort
	tcp net.Addr // of a client that came by TCP; else nil
}

// routeOf is nil when the pair does not tell: it has a name, which is not that of a
// candidate that was seen on the network.
func routeOf(p *webrtc.ICECandidatePair) *route {
	ip, err := netip.ParseAddr(p.Remote.Address)
	if err != nil {
		return nil
	}
	r := &route{udp: netip.AddrPortFrom(ip.Unmap(), p.Remote.Port)}
	if p.Remote.Protocol == webrtc.ICEProtocolTCP {
		r.tcp = net.TCPAddrFromAddrPort(r.udp)
	}
	return r
}

// estimator is told what goes out to a viewer and what arrived there
// (draft-holmer-rmcat-transport-wide-cc-extensions-01). Its methods are called
// from any goroutine, Sent with the wire's lock held, so that numbers come in
// order; they must not block and not send. Times count from the server's start.
type estimator interface {
	// Sent is told of each RTP packet that has a transport-wide number: its size
	// in bytes is that of the UDP payload.
	Sent(number uint16, size int, at time.Duration)
	// Feedback is given a transport-wide feedback packet, with its RTCP header. raw is
	// valid during the call alone.
	Feedback(raw []byte, at time.Duration)
}

// outlet is one forward's part of a wire, as it was negotiated.
type outlet struct {
	ssrc       uint32
	rtx        uint32 // SSRC of retransmissions; 0: packets are sent again as they were
	rtxPayload uint8
	video      bool
	transport  uint8 // id of the transport-wide number's extension; 0: none

	sealed, resealed *rollover // of ssrc and rtx; found by the wire, guarded by wire.mu
	writer           webrtc.TrackLocalWriter
}

var (
	errNotConnected = errors.New("sfu: the connection does not stand")
	errSeal         = errors.New("sfu: the packet cannot be sealed")
)

// newWire makes a wire that a connection will be made for.
func newWire(s *Server) *wire {
	b := newBudget(s)
	return &wire{srv: s, estimate: b, budget: b, shard: s.counters.shard()}
}

// hook lets the connection that is made with e be this wire's; seen watches it too.
func (w *wire) hook(e *webrtc.SettingEngine, seen *trace) {
	w.secrets.overhear(e, seen.greeted)
	e.SetICETCPMux(tcpWays{w.srv.net.tcp, w})
}

// over sets the connection, before anything is negotiated on it.
func (w *wire) over(pc *webrtc.PeerConnection, seen *trace) {
	w.pc = pc
	ice := pc.SCTP().Transport().ICETransport()
	ice.OnSelectedCandidatePairChange(func(p *webrtc.ICECandidatePair) {
		w.lead(p)
		seen.chosen(p)
	})
	ice.OnConnectionStateChange(w.became)
}

// became takes the state of the connection. Who has been silent for so long that it is
// failed may be somebody else by now: nothing is sent there until ICE has found the
// viewer again (RFC 7675 section 5.1).
func (w *wire) became(state webrtc.ICETransportState) {
	switch state {
	case webrtc.ICETransportStateFailed:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.route.Store(nil)
		w.consent.Store(nil)
		w.srv.net.inlet.forget(w)
	case webrtc.ICETransportStateClosed:
		w.end()
		w.srv.net.inlet.forget(w)
	}
}

// lead follows the viewer to where it is now. While ICE restarts it stays where
// it was (RFC 8445 section 9).
func (w *wire) lead(p *webrtc.ICECandidatePair) {
	r := routeOf(p)
	if r == nil {
		return
	}
	c := newConsent(w.pc.SCTP().Transport().ICETransport(), w.srv.clock(time.Now()))
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	w.route.Store(r)
	w.consent.Store(c)
	if w.owner.Load() == ours {
		w.srv.net.inlet.follow(w, r)
	}
}

// whose is the owner; undecided means that nothing can be sent yet.
func (w *wire) whose() uint32 {
	if o := w.owner.Load(); o != undecided {
		return o
	}
	return w.decide()
}

// decide settles the owner once that is possible.
func (w *wire) decide() uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o := w.owner.Load(); o != undecided {
		return o
	}
	dtls, r := w.pc.SCTP().Transport(), w.route.Load()
	if r == nil || dtls.State() != webrtc.DTLSTransportStateConnected {
		return undecided
	}
	keys, err := w.secrets.keys()
	if err == nil {
		w.seal, w.open, err = contexts(keys)
	}
	if err != nil {
		w.srv.log.Debug("packets to a viewer go through Pion", "why", err)
		w.owner.Store(pions)
		return pions
	}
	w.owner.Store(ours)
	w.srv.net.inlet.follow(w, r)
	return ours
}

// send sends a packet whose payload is head, which may be empty, and body. It
// keeps neither. An error means that the connection does not stand or that its
// TCP buffer is full; both are the viewer's own affair.
//
// A number of an SSRC is sent again only with the same header and payload: two
// packets under one number break GCM (RFC 7714 section 8.4).
func (w *wire) send(out *outlet, h *rtp.Header, head, body []byte) error {
	owner := w.whose()
	if owner == undecided {
		return errNotConnected
	}
	at := w.srv.age()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.heldLocked(out, h, head, body, at) {
		return nil
	}
	return w.sendLocked(owner, out, h, head, body, at)
}

// sendLocked sends a packet now, which is at.
func (w *wire) sendLocked(owner uint32, out *outlet, h *rtp.Header, head, body []byte, at time.Duration) error {
	id := out.transport
	if h.Extension && id != 0 {
		h, id = w.withNumber(h, id), 0
	}
	var err error
	size := headerSize(h, id) + len(head) + len(body)
	if owner == pions {
		err = w.sendByPionLocked(out, h, id, head, body)
	} else {
		size += w.seal.rtp
		stream := w.streamLocked(out, h.SSRC)
		err = w.putLocked(size, func(b []byte) bool {
			return w.seal.packet(b, writeHeader(b, h, id, w.number), h, stream, head, body)
		})
	}
	if err == nil {
		w.sentLocked(out.video, len(head)+len(body))
	}
	if err == nil && out.transport != 0 {
		if w.estimate != nil {
			w.estimate.Sent(w.number, size, at)
		}
		w.number++
	}
	return err
}

// streamLocked is what SRTP counts of one of out's SSRCs.
func (w *wire) streamLocked(out *outlet, ssrc uint32) *rollover {
	at := &out.sealed
	if ssrc != out.ssrc {
		at = &out.resealed
	}
	if *at == nil {
		*at = w.seal.stream(ssrc)
	}
	return *at
}

// numberSize is what the transport-wide number adds to a header without
// extensions (RFC 8285 section 4.2).
const numberSize = 8

// headerSize is that of h with, unless id is 0, a transport-wide number; h has no
// other extensions then.
func headerSize(h *rtp.Header, id uint8) int {
	if id == 0 {
		return h.MarshalSize()
	}
	return h.MarshalSize() + numberSize
}

// writeHeader writes what headerSize counts.
func writeHeader(b []byte, h *rtp.Header, id uint8, number uint16) int {
	n, err := h.MarshalTo(b)
	if err != nil || id == 0 {
		return n // cannot fail: there is room
	}
	b[0] |= 1 << 4
	copy(b[n:], []byte{0xbe, 0xde, 0, 1, id<<4 | 1, byte(number >> 8), byte(number), 0})
	return n + numberSize
}

// withNumber is a header that has extensions already with one more.
func (w *wire) withNumber(h *rtp.Header, id uint8) *rtp.Header {
	c := h.Clone()
	if c.SetExtension(id, []byte{byte(w.number >> 8), byte(w.number)}) != nil {
		return h // no place: it goes without
	}
	return &c
}

// sendByPionLocked sends a packet by Pion's writer.
func (w *wire) sendByPionLocked(out *outlet, h *rtp.Header, id uint8, head, body []byte) error {
	if id != 0 {
		h = w.withNumber(h, id)
	}
	if len(head) > 0 {
		w.scratch = append(append(w.scratch[:0], head...), body...)
		body = w.scratch
	}
	_, err := out.writer.WriteRTP(h, body)
	return err
}

// report sends RTCP.
func (w *wire) report(packets []rtcp.Packet) error {
	switch w.whose() {
	case undecided:
		return errNotConnected
	case pions:
		return w.pc.WriteRTCP(packets)
	}
	plain, err := marshal(packets)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.putLocked(len(plain)+w.seal.rtcp, func(b []byte) bool {
		return w.seal.report(b, plain)
	})
}

// marshal writes a compound; one packet that is written already costs nothing.
func marshal(packets []rtcp.Packet) ([]byte, error) {
	if len(packets) == 1 {
		if raw, ok := packets[0].(*rtcp.RawPacket); ok {
			return *raw, nil
		}
	}
	return rtcp.Marshal(packets)
}

// putLocked sends a sealed packet of size bytes that fill writes.
func (w *wire) putLocked(size int, fill func(b []byte) bool) error {
	if size > sockets.MaxPacket {
		return fmt.Errorf("%w: %d bytes", errSeal, size)
	}
	r := w.route.Load()
	if r == nil {
		return errNotConnected
	}
	if r.tcp != nil {
		if cap(w.scratch) < size {
			w.scratch = make([]byte, sockets.MaxPacket)
		}
		b := w.scratch[:size:size]
		if !fill(b) {
			return errSeal
		}
		return w.sendTCPLocked(b, r.tcp)
	}
	place := w.srv.net.socket.Reserve(r.udp, size)
	ok := fill(place.Packet)
	place.Send(ok)
	if !ok {
		return errSeal
	}
	return nil
}

// tcpWays is the server's TCP mux as the agent of one connection uses it.
type tcpWays struct {
	*ice.TCPMuxDefault
	wire *wire
}

// GetConnByUfrag implements ice.TCPMux. The agent asks for each of the machine's
// addresses, and again after a restart.
func (t tcpWays) GetConnByUfrag(ufrag string, six bool, local net.IP) (net.PacketConn, error) {
	c, err := t.TCPMuxDefault.GetConnByUfrag(ufrag, six, local)
	if err != nil {
		return nil, err
	}
	w := t.wire
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ways) == maxWays {
		w.ways = slices.Delete(w.ways, 0, 1)
	}
	w.ways = append(w.ways, c)
	return c, nil
}

const maxWays = 32 // two generations of a machine with sixteen addresses

// sendTCPLocked sends a packet to where a viewer came from by TCP: one of the
// ways has it. Their buffer drops what does not fit.
func (w *wire) sendTCPLocked(b []byte, to net.Addr) error {
	for i := len(w.ways) - 1; i >= 0; i-- {
		_, err := w.ways[i].WriteTo(b, to)
		if !errors.Is(err, io.ErrClosedPipe) {
			return err
		}
	}
	return io.ErrClosedPipe
}

// feedback takes a transport-wide feedback packet of the viewer.
func (w *wire) feedback(raw []byte, at time.Duration) {
	w.mu.Lock()
	e := w.estimate
	w.mu.Unlock()
	if e != nil {
		e.Feedback(raw, at)
	}
}
