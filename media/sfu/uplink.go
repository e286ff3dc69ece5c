package sfu

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	sockets "braid/media/udp"
)

// uplink is the way in from one publisher, past Pion. Pion's has five goroutines
// between the socket and who reads a stream; here packets are opened (SRTP) where
// the socket is read (inlet), and put where Pion would have put them, so that what
// Pion does for the stream from there on goes on: retransmissions, interceptors.
//
// A stream's first packets go Pion's way, which finds out what they belong to.
// Once it is read, its packets are taken out at the socket. Of layers with few
// receivers they go on at once (ingress). Without keys, by TCP and with another cipher than
// AEAD_AES_128_GCM it stays Pion's.
type uplink struct {
	inlet   *inlet
	secrets secrets
	own     uint32 // SSRC of what is told past Pion
	counts  *reception
	route   atomic.Pointer[route]

	mu      sync.Mutex
	opener  *opener // nil: the keys are not known
	seal    *seal   // the same
	asked   bool    // for the keys
	closed  bool
	streams map[uint32]*stream // by SSRC; what has come of one outlives who reads it, as its rounds do
}

func newUplink(in *inlet, counts *receptions) *uplink {
	u := &uplink{inlet: in, own: rand.Uint32(), counts: newReception(counts)}
	u.counts.past = u.report
	return u
}

// hook lets the connection that is made with e be this one's; seen watches it too.
func (u *uplink) hook(e *webrtc.SettingEngine, seen *trace) { u.secrets.overhear(e, seen.greeted) }

// over sets the connection: when it closes, nothing is taken for it any more.
func (u *uplink) over(pc *webrtc.PeerConnection, seen *trace) {
	ice := pc.SCTP().Transport().ICETransport()
	ice.OnSelectedCandidatePairChange(func(p *webrtc.ICECandidatePair) {
		if r := routeOf(p); r != nil {
			u.route.Store(r)
		}
		seen.chosen(p)
	})
	ice.OnConnectionStateChange(u.became)
}

// became takes the state of the connection. Who is lost is told nothing (wire.became).
func (u *uplink) became(state webrtc.ICETransportState) {
	switch state {
	case webrtc.ICETransportStateFailed:
		u.route.Store(nil)
	case webrtc.ICETransportStateClosed:
		u.close()
	}
}

func (u *uplink) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	for ssrc, s := range u.streams {
		u.inlet.restore(ssrc, s)
	}
}

// divert takes a stream whose packet number was just read out of Pion's way.
func (u *uplink) divert(ssrc uint32, box *inbox, number uint16) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.asked {
		u.asked = true
		if keys, err := u.secrets.keys(); err == nil {
			u.opener, _ = newOpener(keys) // nil: of another cipher
			u.seal, _ = newSeal(keys.Keys.LocalMasterKey, keys.Keys.LocalMasterSalt, keys.Profile)
		}
	}
	if u.opener == nil || u.closed {
		return
	}
	s := u.streams[ssrc]
	if s == nil {
		s = &stream{open: u.opener, came: arrivals{newest: uint64(number)}, passed: time.Now(), pass: u.inlet.pass}
		if u.streams == nil {
			u.streams = map[uint32]*stream{}
		}
		u.streams[ssrc] = s
	}
	s.box.Store(box)
	u.inlet.divert(ssrc, s)
}

// restore leaves a stream to Pion: nobody reads it any more.
func (u *uplink) restore(ssrc uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if s := u.streams[ssrc]; s != nil {
		u.inlet.restore(ssrc, s)
		s.box.Store(nil)
		s.short.Store(nil)
	}
}

// shorten lets a stream's packets go to its layer at once, and so those that repeat
// them, which come as the stream rtx; 0: none does. It is false while that cannot be:
// what the layer has at once must not wait for what Pion still has to look for.
func (u *uplink) shorten(ssrc, rtx uint32, f *ingress) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	s, repeats := u.streams[ssrc], u.streams[rtx]
	if s == nil || s.box.Load() == nil || rtx != 0 && (repeats == nil || repeats.box.Load() == nil) {
		return false
	}
	s.short.Store(&short{to: f, count: u.counts.counter(ssrc)})
	if rtx != 0 {
		repeats.short.Store(&short{to: f, count: u.counts.counter(rtx), repeats: true, ssrc: ssrc, payload: f.layer.track.codec.payload})
	}
	return true
}

// byUDP is where the publisher can be told something past Pion; nil: nowhere.
func (u *uplink) byUDP() *route {
	if to := u.route.Load(); to != nil && to.tcp == nil {
		return to
	}
	return nil
}

// report sends RTCP past Pion; false says that it has to go Pion's way. It goes under
// an SSRC of its own: how far Pion has counted the others' packets nobody tells, and
// two under one index break GCM (RFC 7714 section 9.1).
func (u *uplink) report(packets []rtcp.Packet) bool {
	to := u.byUDP()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seal == nil || u.closed || to == nil {
		return false
	}
	plain, err := rtcp.Marshal(packets)
	if err != nil {
		return false
	}
	eachRTCP(plain, func(_ rtcp.Header, packet []byte) { binary.BigEndian.PutUint32(packet[4:], u.own) })
	size := len(plain) + u.seal.rtcp
	if size > sockets.MaxPacket {
		return false
	}
	place := u.inlet.Reserve(to.udp, size)
	place.Send(u.seal.report(place.Packet, plain))
	return true
}

// stream is one that a publisher sends, as the inlet takes it.
type stream struct {
	open  *opener
	box   atomic.Pointer[inbox] // nil while it is Pion's
	short atomic.Pointer[short] // nil while all goes by the box

	// Owned by who reads the socket.
	came   arrivals
	since  int           // packets since Pion had one
	passed time.Time     // when that was
	pass   time.Duration // how long Pion may have none; 0: as long as sampleEvery says
}

// short is the way of a stream's packets to their layer.
type short struct {
	to      *ingress
	count   func(b []byte, now time.Time) // of what does not come by the box
	repeats bool                          // it repeats the packets of ssrc, which have another payload type
	ssrc    uint32
	payload uint8
}

// sampleEvery is after how many packets at the latest Pion gets one: it counts the
// rounds of sequence numbers by what it sees, and has to be right if the stream is
// its own again (another address by TCP, a track that is taken and given again).
// Mostly it gets one sooner (inlet.pass): a publisher of whom it hears nothing it
// takes for lost, and some send nothing but media.
const sampleEvery = 4096

// due tells whether Pion gets this packet. Where there are pictures it is the last of
// one, for that comes later than its neighbours.
func (s *stream) due(marker bool, now time.Time) bool {
	s.since++
	silent := now.Sub(s.passed)
	due := s.since >= 2*sampleEvery || marker && s.since >= sampleEvery ||
		s.pass > 0 && (silent >= 2*s.pass || marker && silent >= s.pass)
	if due {
		s.since, s.passed = 0, now
	}
	return due
}

// verdicts on a packet.
const (
	foreign = iota // not of this stream: its key does not open it, or not in these rounds
	taken          // done with, or seen before
	sampled        // Pion has to see it, and alone hands it on
)

// take opens a packet whose header ends at n, in room, and brings it to the stream's
// layer or puts it into its box. Nothing is said of a packet that does not open, not
// even that it has come: the number may be another publisher's, or of other rounds.
func (s *stream) take(b []byte, n int, room []byte, by *bringer) int {
	index := s.came.index(binary.BigEndian.Uint16(b[2:]))
	plain := s.open.open(room, b, n, uint32(index>>16))
	switch {
	case plain == nil:
		return foreign
	case s.came.has(index):
		return taken
	}
	s.came.add(index)
	box, way := s.box.Load(), s.short.Load()
	due := s.due(b[1]&0x80 != 0, by.now)
	if box == nil || due && (way == nil || !way.repeats) {
		return sampled
	}
	if way != nil && s.bring(plain, n, way, box, by) {
		if due { // what comes of it by Pion is then dropped as a packet that has come
			return sampled
		}
		return taken
	}
	if _, err := box.Write(plain); errors.Is(err, io.ErrClosedPipe) { // who read it is gone; another may come
		return sampled
	}
	return taken // when the box is full: a reader that is far behind loses it, as with Pion
}

// bring takes the short way, if it is open.
func (s *stream) bring(plain []byte, n int, way *short, box *inbox, by *bringer) bool {
	if !by.open(way.to, box, way.repeats) {
		return false
	}
	way.count(plain, by.now)
	if way.repeats {
		plain = original(plain, n, way.ssrc, way.payload)
	}
	if plain != nil {
		by.bring(plain)
	}
	return true
}

// arrivals is which of a stream's packets have come (RFC 3711 section 3.3): the
// newest index, which is 65536 times the rounds and the sequence number, and the
// 1024 before it: more than comes in a second.
type arrivals struct {
	newest uint64
	seen   [arrivalsKept / 64]uint64
}

const arrivalsKept = 1024

// index is the one that a sequence number most likely means (RFC 3711 section
// 3.3.1).
func (a *arrivals) index(number uint16) uint64 {
	ahead := int64(int16(number - uint16(a.newest)))
	if ahead < 0 && uint64(-ahead) > a.newest { // before the first round there is none: a leap
		return uint64(number)
	}
	return uint64(int64(a.newest) + ahead)
}

// has tells whether the packet has come, or is too old to know.
func (a *arrivals) has(index uint64) bool {
	if index > a.newest {
		return false
	}
	return a.newest-index >= arrivalsKept || a.seen[index%arrivalsKept/64]&(1<<(index%64)) != 0
}

// add notes a packet that is proved to be the publisher's.
func (a *arrivals) add(index uint64) {
	if index > a.newest {
		for n := max(a.newest+1, index-min(index, arrivalsKept-1)); n < index; n++ {
			a.seen[n%arrivalsKept/64] &^= 1 << (n % 64)
		}
		a.newest = index
	}
	a.seen[index%arrivalsKept/64] |= 1 << (index % 64)
}

// mediaHeader is the size of an RTP packet's header; ok is false when it is not RTP
// (RFC 7983 section 7, RFC 5761 section 4), or too short for what it says.
func mediaHeader(b []byte) (n int, ok bool) {
	if len(b) < 12 || b[0]>>6 != 2 || isRTCP(b) {
		return 0, false
	}
	n = 12 + 4*int(b[0]&15)
	if b[0]&0x10 != 0 {
		if len(b) < n+4 {
			return 0, false
		}
		n += 4 + 4*int(binary.BigEndian.Uint16(b[n+2:]))
	}
	return n, n <= len(b)
}
