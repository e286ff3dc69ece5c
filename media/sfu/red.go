package sfu

import (
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"braid/media"
	"braid/media/red"
)

// Redundant audio (RFC 2198) goes hop by hop: what a publisher repeats is taken out
// where it arrives, and each viewer is sent repeats as its own losses ask for.

// repair rebuilds a publisher's lost packets. The zero value is ready.
type repair struct {
	red.Repair
	blocks []red.Block
	frames []red.Frame
}

// push gives what a packet brings that has not come before: lost ones that it
// repeats, then its own frame. Other payload types than payload in it are left out.
func (r *repair) push(h *rtp.Header, data []byte, payload uint8, redundant bool) []red.Frame {
	r.blocks = append(r.blocks[:0], red.Block{PayloadType: payload, Data: data})
	if redundant {
		var err error
		if r.blocks, err = red.Parse(r.blocks[:0], data); err != nil {
			return nil
		}
	}
	n := len(r.blocks) - 1
	own, kept := r.blocks[n], r.blocks[:0]
	if own.PayloadType != payload {
		return nil
	}
	for _, b := range r.blocks[:n] {
		if b.PayloadType == payload {
			kept = append(kept, b)
		}
	}
	r.frames = r.Push(r.frames[:0], h.SequenceNumber, h.Timestamp, own.Data, kept)
	return r.frames
}

const (
	maxRepeats = 2
	maxSound   = 1200 // bytes of a packet with its repeats: they must not make it two

	// Shares of 256 that are lost, from which on one or two packets are repeated. A
	// repeat of 20 ms of speech costs 30 kbit/s.
	repeatOne = 3  // 1 %
	repeatTwo = 20 // 8 %: two in a row are lost often enough
	// As many reports in a row must be better before there are fewer repeats: loss
	// comes in spells, and reports every second or more.
	calmReports = 5
)

// redundancy repeats sound for one viewer who loses packets. report is called from
// one goroutine, append from another.
type redundancy struct {
	payload atomic.Uint32 // under which repeats were negotiated; 0: they were not
	repeats atomic.Int32  // packets that are repeated in each

	calm int // better reports in a row; owned by report

	last   [maxRepeats]*media.Packet // newest first; owned by append
	blocks []red.Block               // likewise
}

// repeatAs finds in an answer's payload types whether sound may be repeated.
func (f *forward) repeatAs(formats []string) {
	for _, k := range downCodecs() {
		if k.payload == f.payload && k.red != 0 && slices.Contains(formats, strconv.Itoa(int(k.red))) {
			f.red.payload.Store(uint32(k.red))
		}
	}
}

// report takes what a viewer lost of the stream.
func (r *redundancy) report(reports []rtcp.ReceptionReport, ssrc uint32) {
	for _, report := range reports {
		if report.SSRC != ssrc || r.payload.Load() == 0 {
			continue
		}
		want := int32(0)
		switch lost := report.FractionLost; {
		case lost >= repeatTwo:
			want = 2
		case lost >= repeatOne:
			want = 1
		}
		if now := r.repeats.Load(); want >= now {
			r.calm = 0
		} else if r.calm++; r.calm < calmReports {
			continue
		}
		r.calm = 0
		r.repeats.Store(want)
	}
}

// append appends to dst what goes in front of p to make it a redundant packet:
// nothing when it is to go alone. payload is that of the frames. It keeps p.
func (r *redundancy) append(dst []byte, p *media.Packet, payload uint8) []byte {
	r.blocks = r.blocks[:0]
	size := len(p.Payload)
	for _, old := range r.last[:min(r.repeats.Load(), maxRepeats)] {
		if old == nil || int16(p.Seq-old.Seq) <= 0 || p.Timestamp-old.Timestamp > red.MaxOffset {
			continue // out of order, or from before a pause
		}
		if size+len(old.Payload) > maxSound || len(old.Payload) > red.MaxLength {
			continue
		}
		size += len(old.Payload)
		r.blocks = append(r.blocks, red.Block{PayloadType: payload, Offset: p.Timestamp - old.Timestamp, Data: old.Payload})
	}
	slices.Reverse(r.blocks) // the oldest first
	if r.last[0] == nil || int16(p.Seq-r.last[0].Seq) > 0 {
		r.last[1], r.last[0] = r.last[0], p
	}
	if len(r.blocks) == 0 {
		return dst
	}
	return red.Append(dst, payload, r.blocks)
}
