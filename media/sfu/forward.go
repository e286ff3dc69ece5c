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

// forward sends one track to one viewer, under an SSRC of its own and with the
// track's sequence numbers and timestamps. It is the media.Receiver that the
// track feeds, and the webrtc.TrackLocal that Pion binds to the connection.
type forward struct {
	track   *track
	payload uint8
	detach  func() // owned by Session.run
	session *Session
	wire    *wire                        // that it sends on
	stream  string                       // groups tracks that play in step; "" for all of a viewer's
	reports func([]rtcp.ReceptionReport) // is told how packets arrive; nil: nobody is
	again   atomic.Bool                  // set before attaching anew: begin as at first, number on
	told    atomic.Pointer[toldReport]   // newest sender report that went out

	out   atomic.Pointer[outlet] // set by Bind, nil after Unbind
	begun atomic.Pointer[beginning]

	// The rest is owned by the track's reader.
	started  bool
	first    uint16 // number of the first packet sent
	settling int    // packets for which stragglers from before first are looked for
	shift    uint16 // added to the track's numbers; what a pause left out is no hole
	last     uint16 // highest number sent
	header   rtp.Header
	packets  uint32
	octets   uint32
	report   *media.SenderReport // newest one passed on
	encoded  rtcp.RawPacket
	rtcp     [1]rtcp.Packet // encoded, for Pion
}

// toldReport is a sender report as receiver reports name it (RFC 3550 section
// 6.4.1, LSR), and when it was sent.
type toldReport struct {
	name uint32
	at   time.Time
}

// beginning is what a viewer gets from a packet on.
type beginning struct {
	at    time.Time // when that packet arrived
	shift uint16    // the viewer's numbers less the track's
}

// sent finds a packet by the number that the viewer got it under; nil when it is
// not kept any more, or came before the viewer's newest beginning.
func (f *forward) sent(seq uint16) *media.Packet {
	b := f.begun.Load()
	if b == nil {
		return nil
	}
	p := f.track.history.get(seq - b.shift)
	if p == nil || p.Arrival.Before(b.at) {
		return nil
	}
	return p
}

// addTo gives the track to the session's connection and listens for the
// viewer's requests.
func (f *forward) addTo(s *Session) error {
	f.session, f.wire = s, &s.wire
	t, err := s.pc.AddTransceiverFromTrack(f, webrtc.RTPTransceiverInit{
		Direction: webrtc.RTPTransceiverDirectionSendonly,
	})
	if err != nil {
		return fmt.Errorf("sfu: add the %s track: %w", f.track.codec, err)
	}
	s.start(func() { f.readRequests(t.Sender()) })
	return nil
}

// Receive sends a packet on; pictures from the first key frame on.
func (f *forward) Receive(p *media.Packet) {
	out := f.out.Load()
	if out == nil || f.drop(p) {
		return
	}
	f.header = rtp.Header{
		Version:        2,
		Marker:         p.Marker,
		PayloadType:    f.payload,
		SequenceNumber: p.Seq + f.shift,
		Timestamp:      p.Timestamp,
		SSRC:           out.ssrc,
	}
	if err := f.wire.send(out, &f.header, nil, p.Payload); err != nil {
		return
	}
	if seq := p.Seq + f.shift; f.packets == 0 || int16(seq-f.last) > 0 {
		f.last = seq
	}
	f.packets++
	f.octets += uint32(len(p.Payload))
	if r := f.track.report.Load(); r != f.report {
		f.report = r
		f.sendReport(out.ssrc, r)
	}
}

// drop decides whether a packet comes before the viewer's beginning.
func (f *forward) drop(p *media.Packet) bool {
	if f.again.Load() {
		f.again.Store(false)
		f.started = false
	}
	if !f.started {
		c := f.track.codec.name
		if c.Video() && !keyFrameStart(c, p.Payload) {
			f.track.RequestKeyFrame()
			return true
		}
		f.started, f.first, f.settling = true, p.Seq, window
		if f.packets > 0 {
			f.shift = f.last + 1 - p.Seq
		}
		f.begun.Store(&beginning{at: p.Arrival, shift: f.shift})
	}
	if f.settling == 0 {
		return false
	}
	f.settling--
	return int16(p.Seq-f.first) < 0
}

// sendReport passes the publisher's sender report on with the viewer's counts,
// so that the viewer sees the publisher's clock.
func (f *forward) sendReport(ssrc uint32, r *media.SenderReport) {
	f.encoded = appendReport(f.encoded[:0], ssrc, r, f.packets, f.octets)
	f.rtcp[0] = &f.encoded
	err := f.wire.report(f.rtcp[:])
	if f.reports != nil {
		f.told.Store(&toldReport{uint32(toNTP(r.NTP) >> 16), time.Now()})
	}
	if err != nil {
		f.session.log.Debug("send a sender report", "err", err)
	}
}

// appendReport writes a sender report without report blocks (RFC 3550 section
// 6.4.1).
func appendReport(b []byte, ssrc uint32, r *media.SenderReport, packets, octets uint32) []byte {
	b = append(b, 0x80, byte(rtcp.TypeSenderReport), 0, 6)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	b = binary.BigEndian.AppendUint64(b, toNTP(r.NTP))
	b = binary.BigEndian.AppendUint32(b, r.Timestamp)
	b = binary.BigEndian.AppendUint32(b, packets)
	return binary.BigEndian.AppendUint32(b, octets)
}

// Bind, Unbind, ID, RID, StreamID and Kind implement webrtc.TrackLocal.
func (f *forward) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	out := &outlet{ssrc: uint32(c.SSRC()), writer: c.WriteStream()}
	for _, p := range c.CodecParameters() {
		if p.MimeType == webrtc.MimeTypeRTX && p.SDPFmtpLine == fmt.Sprintf("apt=%d", f.payload) {
			out.rtx, out.rtxPayload = uint32(c.SSRCRetransmission()), uint8(p.PayloadType)
		}
	}
	for _, p := range c.CodecParameters() {
		if uint8(p.PayloadType) == f.payload {
			f.out.Store(out)
			return p, nil
		}
	}
	return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
}

func (f *forward) Unbind(webrtc.TrackLocalContext) error {
	f.out.Store(nil)
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
