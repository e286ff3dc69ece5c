package sfu

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"braid/media"
)

// forward sends one track to one viewer, under an SSRC of its own. It is the
// passer of a follower, and the webrtc.TrackLocal that Pion binds to the
// connection.
type forward struct {
	follower
	payload uint8
	session *Session
	wire    *wire                        // that it sends on
	stream  string                       // groups tracks that play in step; "" for all of a viewer's
	reports func([]rtcp.ReceptionReport) // is told how packets arrive; nil: nobody is
	told    atomic.Pointer[toldReport]   // newest sender report that went out
	red     redundancy
	depends atomic.Uint32 // dependencyID

	out atomic.Pointer[outlet] // set by Bind, nil after Unbind

	rtxNumber atomic.Uint32 // of the next retransmission packet

	// Owned by Server.steer.
	options []*layer
	held    time.Time     // not to be raised before
	hold    time.Duration // length of the newest hold
	raised  time.Time
	padder  *resender

	// The rest is owned by follower.mu.
	header  rtp.Header
	head    []byte
	doubler *resender
	doubled uint16 // highest number that was sent twice
	packets uint32
	octets  uint32
	report  *media.SenderReport // newest one passed on
	encoded rtcp.RawPacket
	rtcp    [1]rtcp.Packet // encoded, for Pion
}

func newForward(t *track, payload uint8) *forward {
	f := &forward{follower: follower{track: t}, payload: payload}
	f.to = f
	return f
}

// toldReport is a sender report as receiver reports name it (RFC 3550 section
// 6.4.1, LSR), and when it was sent.
type toldReport struct {
	name uint32
	at   time.Time
}

// addTo gives the track to the session's connection and listens for the
// viewer's requests.
func (f *forward) addTo(s *Session) error {
	f.session, f.wire, f.socket = s, s.wire, s.srv.net.socket
	_, err := s.pc.AddTransceiverFromTrack(f, webrtc.RTPTransceiverInit{
		Direction: webrtc.RTPTransceiverDirectionSendonly,
	})
	if err != nil {
		return fmt.Errorf("sfu: add the %s track: %w", f.track.codec, err)
	}
	return nil
}

// open begins with the smallest layer, which never rests and fits every path;
// what else fits is found at once.
func (f *forward) open() {
	f.aim(f.track.smallest())
	if len(f.track.layers) > 1 {
		f.session.srv.hurry()
	}
}

func (f *forward) ready() bool { return f.out.Load() != nil }

// pass sends a packet on.
func (f *forward) pass(p *media.Packet, b *beginning) bool {
	out := f.out.Load()
	if out == nil { // unbound since ready: Pion does so when the client closes the connection
		return false
	}
	f.header = rtp.Header{
		Version:        2,
		Marker:         p.Marker,
		PayloadType:    f.payload,
		SequenceNumber: p.Seq + b.shift,
		Timestamp:      p.Timestamp + b.delay,
		SSRC:           out.ssrc,
	}
	f.describe(&f.header, p, b)
	var replaced int
	f.head, replaced = b.vp8.append(f.head[:0], p.Payload)
	if payload := uint8(f.red.payload.Load()); payload != 0 {
		if f.head = f.red.append(f.head, p, f.payload); len(f.head) > 0 {
			f.header.PayloadType = payload
		}
	}
	if err := f.wire.send(out, &f.header, f.head, p.Payload[replaced:]); err != nil {
		return false
	}
	f.packets++
	f.octets += uint32(len(p.Payload))
	if r := b.layer.report.Load(); r != f.report {
		f.report = r
		f.sendReport(out.ssrc, r, b.layer.shift.Load()+b.delay)
	}
	return true
}

// passed implements passer.
func (f *forward) passed(p *media.Packet) {
	if copies := f.wire.doubles.copies.Load(); copies > 0 && p.Marker && f.track.codec.name.Video() {
		if out := f.out.Load(); out != nil {
			f.double(out, copies)
		}
	}
}

// sendReport passes the publisher's sender report on with the viewer's counts
// and the viewer's time, which is the publisher's and shift, so that the viewer
// sees the publisher's clock.
func (f *forward) sendReport(ssrc uint32, r *media.SenderReport, shift uint32) {
	f.encoded = appendReport(f.encoded[:0], ssrc, r, shift, f.packets, f.octets)
	f.rtcp[0] = &f.encoded
	err := f.wire.report(f.rtcp[:])
	f.told.Store(&toldReport{uint32(toNTP(r.NTP) >> 16), time.Now()})
	if err != nil {
		f.session.log.Debug("send a sender report", "err", err)
	}
}

// appendReport writes a sender report without report blocks (RFC 3550 section
// 6.4.1).
func appendReport(b []byte, ssrc uint32, r *media.SenderReport, shift, packets, octets uint32) []byte {
	b = append(b, 0x80, byte(rtcp.TypeSenderReport), 0, 6)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	b = binary.BigEndian.AppendUint64(b, toNTP(r.NTP))
	b = binary.BigEndian.AppendUint32(b, r.Timestamp+shift)
	b = binary.BigEndian.AppendUint32(b, packets)
	return binary.BigEndian.AppendUint32(b, octets)
}

// Bind, Unbind, ID, RID, StreamID and Kind implement webrtc.TrackLocal.
func (f *forward) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	out := &outlet{ssrc: uint32(c.SSRC()), video: f.Kind() == webrtc.RTPCodecTypeVideo, writer: c.WriteStream()}
	for _, p := range c.CodecParameters() {
		if p.MimeType == webrtc.MimeTypeRTX && p.SDPFmtpLine == fmt.Sprintf("apt=%d", f.payload) {
			out.rtx, out.rtxPayload = uint32(c.SSRCRetransmission()), uint8(p.PayloadType)
		}
	}
	f.depends.Store(uint32(dependencyID(c, out)))
	for _, p := range c.CodecParameters() {
		if uint8(p.PayloadType) == f.payload {
			out.transport = transportID(c, out.video && out.rtx == 0)
			f.out.Store(out)
			f.wire.requests.bind(f, out)
			return p, nil
		}
	}
	return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
}

func (f *forward) Unbind(webrtc.TrackLocalContext) error {
	f.out.Store(nil)
	f.wire.requests.unbind(f)
	return nil
}

func (f *forward) ID() string       { return f.Kind().String() }
func (f *forward) RID() string      { return "" }
func (f *forward) StreamID() string { return cmp.Or(f.stream, "braid") } // one for both tracks: they play in step

func (f *forward) Kind() webrtc.RTPCodecType {
	if f.track.codec.name.Video() {
		return webrtc.RTPCodecTypeVideo
	}
	return webrtc.RTPCodecTypeAudio
}

// NTP timestamps count seconds from 1900 in 32.32 bits (RFC 3550 section 4).
const ntpEpoch = -2208988800 // as Unix seconds

func fromNTP(t uint64) time.Time {
	frac := (t & 0xffffffff) * uint64(time.Second) >> 32
	return time.Unix(int64(t>>32)+ntpEpoch, int64(frac))
}

func toNTP(t time.Time) uint64 {
	frac := (uint64(t.Nanosecond())<<32 + uint64(time.Second) - 1) / uint64(time.Second)
	return uint64(t.Unix()-ntpEpoch)<<32 + frac
}
