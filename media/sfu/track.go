package sfu

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"braid/media"
)

const (
	maxPacket        = 1500 // bytes of RTP; no Ethernet path carries more
	keyFrameInterval = 500 * time.Millisecond
	maxBadReads      = 1000 // in a row, before a stream is given up
	maxBurst         = 64   // packets that wait for each other before they are forwarded
)

// track implements media.Track: what is published as a source, in one layer or,
// by simulcast, in several.
type track struct {
	codec     codec
	layers    []*layer              // immutable, the smallest picture first as far as its offer tells
	reference atomic.Pointer[layer] // whose timestamps are the track's; nil before the first packet
	muted     atomic.Bool           // as its participant says
	backstage atomic.Bool           // others are louder: participants do not get it

	mu       sync.Mutex // for insiders and the end
	insiders []*insider
	done     chan struct{} // closed by end
}

func newTrack(c codec, rids ...string) *track {
	t := &track{codec: c, done: make(chan struct{})}
	if len(rids) == 0 {
		rids = []string{""}
	}
	for _, rid := range rids {
		t.layers = append(t.layers, newLayer(t, rid))
	}
	return t
}

func (t *track) Codec() media.Codec    { return t.codec.name }
func (t *track) Channels() int         { return t.codec.channels() }
func (t *track) Done() <-chan struct{} { return t.done }

// size is the largest picture's, in pixels; 0, 0 while no key frame has told it.
func (t *track) size() (width, height int) {
	for _, l := range t.layers {
		if w, h := l.size(); w*h > width*height {
			width, height = w, h
		}
	}
	return width, height
}

// flowing is the track as others see it: nil before its first packet.
func (t *track) flowing() media.Track {
	if t == nil || t.reference.Load() == nil {
		return nil
	}
	return t
}

// layer finds one by its rid.
func (t *track) layer(rid string) *layer {
	for _, l := range t.layers {
		if l.rid == rid {
			return l
		}
	}
	return nil
}

// Attach gives the largest layer that flows.
func (t *track) Attach(r media.Receiver) (detach func()) {
	return t.AttachAs(r, func() (int, int) { return 0, 0 })
}

// AttachAs implements media.Layered.
func (t *track) AttachAs(r media.Receiver, want func() (width, height int)) (detach func()) {
	if len(t.layers) == 1 {
		return t.layers[0].attach(r)
	}
	return t.insider(r, want)
}

// end is called once, when the publication ends.
func (t *track) end() {
	if t == nil {
		return
	}
	for _, l := range t.layers {
		l.end()
	}
	close(t.done)
}

// Report is the newest of the layers that flow.
func (t *track) Report() (newest media.SenderReport, ok bool) {
	for _, l := range t.layers {
		if r, has := l.reported(); has && (!ok || r.Arrival.After(newest.Arrival)) {
			newest, ok = r, true
		}
	}
	return newest, ok
}

func (t *track) RequestKeyFrame() {
	for _, l := range t.layers {
		if l.takers.Load() > 0 || len(t.layers) == 1 {
			l.requestKeyFrame()
		}
	}
}

// ended tells that nothing more will come from a connection.
func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) }

// intake turns RTP from the wire into Packets.
type intake struct {
	codec     codec
	levelID   uint8      // of the audio level's extension, 0 when there is none
	dependsID uint8      // the same of AV1's dependency descriptor
	header    rtp.Header // reused
	numbers   renumber
	missing   missing // pictures alone: sound is over before an answer comes
	slab      slab
	repair    repair
	out       []*media.Packet // given to the caller until the next packet
}

// packets is what a packet from the wire brings: nothing when nobody needs it
// (padding, duplicates, other payload types, what is not RTP), and in front of the
// packet itself, those lost ones that it repeats. The slice is valid until the next
// call.
func (in *intake) packets(b []byte, now time.Time) []*media.Packet {
	clear(in.out)
	in.out = in.out[:0]
	if len(b) > maxPacket {
		return nil
	}
	in.header = rtp.Header{Extensions: in.header.Extensions[:0]}
	n, err := in.header.Unmarshal(b)
	redundant := in.codec.red != 0 && in.header.PayloadType == in.codec.red
	if err != nil || in.header.PayloadType != in.codec.payload && !redundant {
		return nil
	}
	if in.codec.name.Video() {
		in.missing.saw(in.header.SequenceNumber, now)
	}
	payload := b[n:]
	if in.header.Padding {
		if len(payload) == 0 || int(payload[len(payload)-1]) > len(payload) {
			return nil
		}
		payload = payload[:len(payload)-int(payload[len(payload)-1])]
	}
	if in.codec.red != 0 {
		for _, f := range in.repair.push(&in.header, payload, in.codec.payload, redundant) {
			in.add(f.Seq, f.Timestamp, f.Data, now)
		}
	} else {
		in.add(in.header.SequenceNumber, in.header.Timestamp, payload, now)
	}
	return in.out
}

func (in *intake) add(number uint16, timestamp uint32, payload []byte, now time.Time) {
	seq, ok := in.numbers.next(number, len(payload) == 0)
	if !ok {
		return
	}
	p := in.slab.packet(payload, in.codec.name.Video())
	p.Seq, p.Timestamp, p.Arrival, p.Level = seq, timestamp, now, -1
	if number == in.header.SequenceNumber { // the header tells of the packet's own payload
		p.Marker = in.header.Marker
		p.Level, p.Voice = audioLevel(&in.header, in.levelID)
		if d := in.header.GetExtension(in.dependsID); in.dependsID != 0 && len(d) > 0 {
			p.Dependencies = in.slab.copy(d, true)
		}
	}
	in.out = append(in.out, p)
}
