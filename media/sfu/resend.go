package sfu

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"braid/media"
)

// A viewer gets no more packets again than this, whatever it asks for: a third
// of a stream of 30 Mbit/s. Without a bound a few bytes make the server send
// twenty packets, as often as somebody likes.
const (
	resendRate  = 1000 // packets a second
	resendBurst = 500
)

// resender answers one viewer's requests for lost packets (RFC 4585 section
// 6.2.1) from the track's history: as retransmission packets (RFC 4588) where
// those were negotiated, else as they were. It is owned by the forward's reader of RTCP.
type resender struct {
	forward *forward
	tokens  float64
	filled  time.Time
	header  rtp.Header
	head    []byte
	newest  []resent // by number; nil before the first
}

// resent is when a number was sent again last. A viewer asks on until it has it,
// and what is under way may stand in a queue: sent twice it makes that longer.
type resent struct {
	seq uint16
	at  time.Time
}

// due tells whether a packet may be sent again, and takes note that it is.
func (r *resender) due(seq uint16, now time.Time, roundTrip time.Duration) bool {
	if r.newest == nil {
		r.newest = make([]resent, historySize)
	}
	last := &r.newest[seq%historySize]
	if last.seq == seq && now.Sub(last.at) < roundTrip {
		return false
	}
	*last = resent{seq, now}
	return true
}

func newResender(f *forward, now time.Time) *resender {
	return &resender{forward: f, tokens: resendBurst, filled: now}
}

// answer sends what is asked for and still there.
func (r *resender) answer(nack *rtcp.TransportLayerNack, now time.Time) {
	f := r.forward
	out := f.out.Load()
	if out == nil || nack.MediaSSRC != out.ssrc || !f.track.codec.name.Video() {
		return
	}
	r.tokens = min(resendBurst, r.tokens+resendRate*now.Sub(r.filled).Seconds())
	r.filled = now
	roundTrip := f.wire.roundTrip()
	socket := f.session.srv.net.socket
	socket.Cork()
	defer socket.Uncork()
	for i := range nack.Nacks {
		nack.Nacks[i].Range(func(seq uint16) bool {
			if r.tokens < 1 {
				return false
			}
			if p, b := f.sent(seq); p != nil && r.due(seq, now, roundTrip) {
				if w := f.wire; w.budget != nil && !w.budget.repair(len(p.Payload)+overhead, w.srv.clock(now)) {
					return false
				}
				r.tokens--
				r.send(out, p, b, seq)
				f.wire.again.Add(uint64(len(p.Payload) + overhead))
				f.wire.flow(f).again.Add(1)
			}
			return true
		})
	}
}

// send sends a packet again under the number that the viewer knows.
func (r *resender) send(out *outlet, p *media.Packet, b *beginning, seq uint16) {
	r.header = rtp.Header{
		Version:        2,
		Marker:         p.Marker,
		PayloadType:    r.forward.payload,
		SequenceNumber: seq,
		Timestamp:      p.Timestamp + b.delay,
		SSRC:           out.ssrc,
	}
	r.head = r.head[:0]
	if out.rtx != 0 {
		r.header.PayloadType, r.header.SSRC = out.rtxPayload, out.rtx
		r.header.SequenceNumber = uint16(r.forward.rtxNumber.Add(1) - 1)
		r.forward.describe(&r.header, p, b)
		r.head = binary.BigEndian.AppendUint16(r.head, seq) // RFC 4588 section 4
	}
	var replaced int
	r.head, replaced = b.vp8.append(r.head, p.Payload)
	_ = r.forward.wire.send(out, &r.header, r.head, p.Payload[replaced:])
}

// pad sends the newest packets again, up to a number of bytes, and tells how many
// went out; none to a viewer that did not negotiate retransmission packets.
func (f *forward) pad(bytes int, now time.Time) (sent int) {
	out := f.out.Load()
	if out == nil || out.rtx == 0 {
		return 0
	}
	if f.padder == nil {
		f.padder = newResender(f, now)
	}
	f.mu.Lock()
	last := f.last
	f.mu.Unlock()
	for back := uint16(0); sent < bytes && back < padBack; back++ {
		if p, b := f.sent(last - back); p != nil {
			f.padder.send(out, p, b, last-back)
			sent += len(p.Payload) + 30 // headers
		}
	}
	return sent
}

// padBack is how far back pad goes: what is older may not be kept.
const padBack = historySize / 2
