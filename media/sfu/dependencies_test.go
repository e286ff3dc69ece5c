package sfu

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"braid/media"
)

const describedAs = 13 // the extension's id in offers of described

// described is a Pion client's offer with the dependency descriptor.
func described(t *testing.T, offer string) string {
	t.Helper()
	before, after, ok := strings.Cut(offer, "m=video")
	head, rest, also := strings.Cut(after, "a=rtcp-rsize\r\n")
	if !ok || !also {
		t.Fatalf("the offer has no place for an extension:\n%s", offer)
	}
	return fmt.Sprintf("%sm=video%sa=rtcp-rsize\r\na=extmap:%d %s\r\n%s", before, head, describedAs, dependencyURI, rest)
}

// describe publishes a track of a codec with the offer of described.
func describe(t *testing.T, s *Server, pc *webrtc.PeerConnection, mime string) (*webrtc.TrackLocalStaticRTP, *Session, string) {
	t.Helper()
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: mime}, "video", "x")
	if err != nil {
		t.Fatal(err)
	}
	sender, err := pc.AddTrack(track)
	if err != nil {
		t.Fatal(err)
	}
	prefer(t, pc, sender, track.Codec())
	sess, answer, err := s.Publish(t.Context(), PublishRequest{App: "app", Channel: "room", User: "ann", Offer: described(t, makeOffer(t, pc))})
	if err != nil {
		t.Fatal(err)
	}
	return track, sess, answer
}

// av1Packet is the n-th packet of a stream of pictures of two packets each, of
// which every fifth is a key frame, and descriptor what belongs to it.
func av1Packet(n int) (payload, descriptor []byte) {
	frame := uint16(n / 2)
	payload, descriptor = []byte{0x10, 0x30}, []byte{0x81, byte(frame >> 8), byte(frame)}
	if n%10 == 0 {
		payload = append([]byte{0x18}, av1Key...)
		descriptor = append(descriptor, bytes.Repeat([]byte{7}, 20)...) // its structure
	}
	return binary.BigEndian.AppendUint16(payload, uint16(n)), descriptor
}

// TestDependencies: descriptors of AV1 go on to those who know them, as they came,
// and to nobody else.
func TestDependencies(t *testing.T) {
	s := testServer(t)
	pc := testClient(t)
	track, sess, answer := describe(t, s, pc, webrtc.MimeTypeAV1)
	takeAnswer(t, pc, answer)
	until(t, "the publisher is there", s.Changed, func() bool {
		pub, ok := s.dir.publication(sess.where, "ann", media.Camera)
		return ok && pub == sess.pub
	})
	viewers := map[string]*viewer{}
	for _, name := range []string{"knows", "lacks"} {
		v := newViewer(t)
		offer := makeOffer(t, v.pc)
		if name == "knows" {
			offer = described(t, offer)
		}
		_, answer, err := s.Subscribe(t.Context(), SubscribeRequest{App: "app", Channel: "room", Viewer: name, User: "ann", Offer: offer})
		if err != nil {
			t.Fatal(err)
		}
		takeAnswer(t, v.pc, answer)
		viewers[name] = v
	}
	stop := send(t, track)
	defer stop()
	for name, v := range viewers {
		for i := range 25 {
			p := receive(t, "pictures arrive at who "+name, v.video)
			n := binary.BigEndian.Uint16(p.Payload[len(p.Payload)-2:])
			_, want := av1Packet(int(n))
			if name == "lacks" {
				want = nil
			}
			if got := p.GetExtension(describedAs); !bytes.Equal(got, want) {
				t.Errorf("who %s the extension: packet %d has the descriptor % x, want % x", name, n, got, want)
			}
			if i == 0 && n%10 != 0 {
				t.Errorf("who %s the extension begins with packet %d, which is of no key frame", name, n)
			}
		}
	}
}

// send sends pictures until the test has seen enough.
func send(t *testing.T, track *webrtc.TrackLocalStaticRTP) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			payload, descriptor := av1Packet(n)
			p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(n), Timestamp: uint32(n/2) * 3000, Marker: n%2 == 1}, Payload: payload}
			if err := p.SetExtension(describedAs, descriptor); err != nil {
				t.Error(err)
				return
			}
			_ = track.WriteRTP(p) // fails only when the connection ends
		}
	}()
	return func() { close(done); <-ended }
}

// TestDescribedCodecs: only AV1 needs descriptors, and only it gets them.
func TestDescribedCodecs(t *testing.T) {
	for _, c := range []struct {
		mime string
		want bool
	}{{webrtc.MimeTypeAV1, true}, {webrtc.MimeTypeVP9, false}, {webrtc.MimeTypeVP8, false}} {
		s, pc := testServer(t), testClient(t)
		_, _, answer := describe(t, s, pc, c.mime)
		if got := strings.Contains(answer, dependencyURI); got != c.want {
			t.Errorf("%s: the answer has the descriptor: %v, want %v", c.mime, got, c.want)
		}
	}
}

// TestFrameNumbers: after a pause frames are not taken for old ones, and what was
// before it keeps its numbers.
func TestFrameNumbers(t *testing.T) {
	f, sink := testForward(t, outlet{ssrc: 5, rtx: 77, rtxPayload: 97})
	f.track = newTrack(codec{name: media.AV1})
	f.depends.Store(describedAs)
	l, seq := f.track.layers[0], uint16(10)
	play := func(frames ...uint16) {
		for _, n := range frames {
			seq++
			l.deliver(&media.Packet{Seq: seq, Timestamp: 3000 * uint32(seq), Marker: true, Payload: append([]byte{0x18}, av1Key...),
				Dependencies: []byte{0x80, byte(n >> 8), byte(n), 9}})
		}
	}
	for _, frames := range [][]uint16{{7, 8}, {100, 101}, {40000, 40001}, {60000, 60001}, {100, 101}} {
		f.aim(l)
		play(frames...)
		f.aim(nil)
	}
	var got []uint16
	for _, p := range sink.packets {
		d := p.GetExtension(describedAs)
		if p.ExtensionProfile != rtp.ExtensionProfileTwoByte || len(d) != 4 || d[0] != 0x80 || d[3] != 9 {
			t.Fatalf("a packet has the descriptor % x, profile %#x", d, p.ExtensionProfile)
		}
		n, _ := frameNumber(d)
		got = append(got, n)
	}
	if want := []uint16{7, 8, 100, 101, 102, 103, 104, 105, 5740, 5741}; !slices.Equal(got, want) {
		t.Errorf("got frames %d, want %d", got, want)
	}

	last := sink.packets[len(sink.packets)-1]
	newResender(f, time.Now()).answer(&rtcp.TransportLayerNack{MediaSSRC: 5, Nacks: []rtcp.NackPair{{PacketID: last.SequenceNumber}}}, time.Now())
	again := sink.packets[len(sink.packets)-1]
	if got, want := again.GetExtension(describedAs), last.GetExtension(describedAs); again.SSRC != 77 || !bytes.Equal(got, want) {
		t.Errorf("sent again by %d the packet has the descriptor % x, want % x", again.SSRC, got, want)
	}
}
