package sfu

import (
	"bytes"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"braid/media"
)

// TestResendOfWhatWasNotSent: a number stands for what went out under it, or would
// have, and never for what was left out: that would break pictures, and where
// packets are sent again as they were, the cipher.
func TestResendOfWhatWasNotSent(t *testing.T) {
	for _, rtx := range []uint32{0, 77} {
		f, sink := testForward(t, outlet{ssrc: 5, rtx: rtx, rtxPayload: 97})
		l, now := f.track.layers[0], time.Now()
		play := func(numbers ...uint16) {
			for _, n := range numbers {
				now = now.Add(time.Millisecond)
				l.deliver(keyFrame(n, now))
			}
		}
		f.aim(l)
		play(10, 11, 12)
		f.aim(nil)
		play(13, 14, 15, 16, 17)
		f.aim(l)
		play(20, 22) // sent as 13 and 15; 21 is lost
		play(19)     // of before: left out
		sink.packets = nil
		newResender(f, now).answer(&rtcp.TransportLayerNack{MediaSSRC: 5, Nacks: []rtcp.NackPair{{PacketID: 12, LostPackets: 0b111}}}, now)
		var got []byte
		for _, p := range sink.packets {
			got = append(got, p.Payload[len(p.Payload)-1])
		}
		if want := []byte{12, 20, 22}; !bytes.Equal(got, want) {
			t.Errorf("rtx %d: got the publisher's packets %d for 12 to 15, want %d", rtx, got, want)
		}
	}
}

// TestHistoryLeaps: a publisher whose numbers leap around does not bring packets of
// the last time around back.
func TestHistoryLeaps(t *testing.T) {
	h := &history{}
	for n := range 600 {
		h.put(&media.Packet{Seq: uint16(n), Timestamp: uint32(n)})
	}
	for n := 600; n <= 65536+580; n += 1000 {
		h.put(&media.Packet{Seq: uint16(n), Timestamp: uint32(n)})
	}
	for n := range 600 {
		if p := h.get(uint16(n)); p != nil && p.Timestamp < 65536 {
			t.Fatalf("packet %d of %d is there", p.Timestamp, 65536+580)
		}
	}
}

// TestFarAhead: numbers go on near each other whatever the publisher's do and
// whatever could not be sent: SRTP counts the times that they have gone around.
func TestFarAhead(t *testing.T) {
	f, sink := testForward(t, outlet{ssrc: 5})
	l, now := f.track.layers[0], time.Now()
	f.aim(l)
	l.deliver(keyFrame(10, now), keyFrame(11, now))
	f.wire.owner.Store(undecided)
	f.wire.pc, _ = webrtc.NewPeerConnection(webrtc.Configuration{})
	defer f.wire.pc.Close()
	for n := range uint16(40000) {
		l.deliver(keyFrame(12+n, now))
	}
	f.wire.owner.Store(pions)
	last := uint16(40011)
	for _, leap := range []uint16{1, 1, 30000, 1, 32767, 32767} {
		last += leap
		l.deliver(keyFrame(last, now))
	}
	for i, p := range sink.packets[1:] {
		if ahead := p.SequenceNumber - sink.packets[i].SequenceNumber; ahead == 0 || ahead > 1000 {
			t.Errorf("packet %d is number %d, after %d", i+1, p.SequenceNumber, sink.packets[i].SequenceNumber)
		}
	}
	if len(sink.packets) != 8 {
		t.Errorf("%d packets went out, want 8", len(sink.packets))
	}
}
