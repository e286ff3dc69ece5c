package sfu

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/transport/v5/packetio"
	"github.com/pion/webrtc/v4"

	"braid/media"
	"braid/media/udp"
)

func TestHistory(t *testing.T) {
	h := &history{}
	if h.get(0) != nil {
		t.Error("an empty history has packet 0")
	}
	const sent = 70000 // numbers go around
	for n := range sent {
		if n%100 == 50 {
			continue // lost on the way here
		}
		h.put(&media.Packet{Seq: uint16(n), Timestamp: uint32(n)})
	}
	for _, tt := range []struct {
		n    int
		want bool
	}{
		{sent - 1, true}, {sent - historySize, true}, {sent - historySize - 1, false}, {sent, false}, {sent + historySize, false},
		{sent - 50, false}, {sent - 49, true}, {65536 - 1, false}, {3, false},
	} {
		p := h.get(uint16(tt.n))
		if got := p != nil && p.Timestamp == uint32(tt.n); got != tt.want {
			t.Errorf("packet %d of %d: got %+v, want there=%v", tt.n, sent, p, tt.want)
		}
	}
}

// rtpSink keeps what is written to a viewer.
type rtpSink struct{ packets []rtp.Packet }

func (s *rtpSink) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	s.packets = append(s.packets, rtp.Packet{Header: h.Clone(), Payload: bytes.Clone(payload)})
	return len(payload), nil
}

func (s *rtpSink) Write([]byte) (int, error) { panic("not used") }

// testForward is a forward of VP8 that writes to a sink.
func testForward(t *testing.T, out outlet) (*forward, *rtpSink) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket := udp.New(pc.(*net.UDPConn))
	t.Cleanup(func() { socket.Close() })
	sink := &rtpSink{}
	out.writer = sink
	f := newForward(newTrack(codec{name: media.VP8}), 96)
	f.wire, f.session = pionsWire(), &Session{srv: &Server{net: &network{socket: socket}}}
	f.out.Store(&out)
	return f, sink
}

// pionsWire is a wire whose packets go to their outlets' writers.
func pionsWire() *wire {
	w := &wire{srv: &Server{}, shard: &shard{}}
	w.owner.Store(pions)
	return w
}

func keyFrame(seq uint16, at time.Time) *media.Packet {
	return &media.Packet{Seq: seq, Timestamp: 3000 * uint32(seq), Marker: true, Payload: []byte{0x10, 0x00, byte(seq)}, Arrival: at}
}

func TestResend(t *testing.T) {
	now := time.Now()
	for _, rtx := range []uint32{0, 77} {
		f, sink := testForward(t, outlet{ssrc: 5, rtx: rtx, rtxPayload: 97})
		f.track.layers[0].deliver(keyFrame(9, now)) // before the viewer
		f.aim(f.track.layers[0])
		for n := uint16(10); n < 20; n++ {
			f.track.layers[0].deliver(keyFrame(n, now.Add(time.Duration(n))))
		}
		if len(sink.packets) != 10 {
			t.Fatalf("the viewer got %d packets, want 10", len(sink.packets))
		}
		first := sink.packets
		sink.packets = nil
		r := newResender(f, now)
		r.answer(&rtcp.TransportLayerNack{MediaSSRC: 6, Nacks: []rtcp.NackPair{{PacketID: 10}}}, now)                    // another's
		r.answer(&rtcp.TransportLayerNack{MediaSSRC: 5, Nacks: []rtcp.NackPair{{PacketID: 9, LostPackets: 0b101}}}, now) // 9, 10, 12
		r.answer(&rtcp.TransportLayerNack{MediaSSRC: 5, Nacks: []rtcp.NackPair{{PacketID: 20}, {PacketID: 19}}}, now)    // 20 is to come
		r.answer(&rtcp.TransportLayerNack{MediaSSRC: 5, Nacks: []rtcp.NackPair{{PacketID: 8}, {PacketID: 30000}}}, now)  // never sent
		want := []int{0, 2, 9}
		if len(sink.packets) != len(want) {
			t.Fatalf("rtx %d: got %d packets again, want %d", rtx, len(sink.packets), len(want))
		}
		for i, n := range want {
			got, old := sink.packets[i], first[n]
			if rtx != 0 {
				if got.SSRC != rtx || got.PayloadType != 97 || got.SequenceNumber != uint16(i) {
					t.Errorf("retransmission %d: got %v", i, got)
				}
				if osn := uint16(got.Payload[0])<<8 | uint16(got.Payload[1]); osn != old.SequenceNumber {
					t.Errorf("retransmission %d is of %d, want %d", i, osn, old.SequenceNumber)
				}
				got.Payload = got.Payload[2:]
				got.SSRC, got.PayloadType, got.SequenceNumber = old.SSRC, old.PayloadType, old.SequenceNumber
			}
			if got.String() != old.String() || !bytes.Equal(got.Payload, old.Payload) {
				t.Errorf("rtx %d: got %v, want %v", rtx, got, old)
			}
		}
	}
}

// TestResendAfterAPause: numbers of before a pause are not mistaken for others.
func TestResendAfterAPause(t *testing.T) {
	f, sink := testForward(t, outlet{ssrc: 5})
	now := time.Now()
	f.aim(f.track.layers[0])
	f.track.layers[0].deliver(keyFrame(100, now))
	f.aim(nil)
	for n := uint16(101); n < 120; n++ {
		f.track.layers[0].deliver(keyFrame(n, now.Add(time.Duration(n))))
	}
	f.aim(f.track.layers[0])
	f.track.layers[0].deliver(keyFrame(120, now.Add(time.Second)))
	if last := sink.packets[1]; last.SequenceNumber != 101 || last.Payload[2] != 120 {
		t.Fatalf("got %v after the pause, want the track's packet 120 as 101", last)
	}
	r := newResender(f, now)
	r.answer(&rtcp.TransportLayerNack{MediaSSRC: 5, Nacks: []rtcp.NackPair{{PacketID: 100, LostPackets: 1}}}, now)
	if len(sink.packets) != 4 || sink.packets[2].Payload[2] != 100 || sink.packets[3].Payload[2] != 120 {
		t.Fatalf("got %v again, want the track's packets 100 and 120", sink.packets[2:])
	}
}

// TestResendOnceARoundTrip: what is under way is not sent once more.
func TestResendOnceARoundTrip(t *testing.T) {
	f, sink := testForward(t, outlet{ssrc: 5, rtx: 77, rtxPayload: 97})
	now := time.Now()
	f.aim(f.track.layers[0])
	for n := uint16(1); n < 4; n++ {
		f.track.layers[0].deliver(keyFrame(n, now))
	}
	sink.packets = nil
	r := newResender(f, now)
	for _, after := range []time.Duration{0, 10, 49, 60, 70, 120} { // ms
		r.answer(&rtcp.TransportLayerNack{MediaSSRC: 5, Nacks: []rtcp.NackPair{{PacketID: 2}}}, now.Add(after*time.Millisecond))
	}
	r.answer(&rtcp.TransportLayerNack{MediaSSRC: 5, Nacks: []rtcp.NackPair{{PacketID: 3}}}, now.Add(121*time.Millisecond))
	var got []uint16
	for _, p := range sink.packets {
		got = append(got, uint16(p.Payload[0])<<8|uint16(p.Payload[1]))
	}
	if want := "[2 2 2 3]"; fmt.Sprint(got) != want {
		t.Errorf("sent again: %v, want %s: at 0, 60, 120 and 121 ms", got, want)
	}
	if n := f.wire.again.Load(); n < 4*40 || n > 4*60 {
		t.Errorf("%d bytes are counted as sent again", n)
	}
}

// TestResendIsBounded: who asks too much waits.
func TestResendIsBounded(t *testing.T) {
	f, sink := testForward(t, outlet{ssrc: 5})
	now := time.Now()
	f.aim(f.track.layers[0])
	for n := range uint16(historySize) {
		f.track.layers[0].deliver(keyFrame(n, now))
	}
	r := newResender(f, now)
	ask := func(numbers int, at time.Time) (got int) {
		before := len(sink.packets)
		for n := range uint16(numbers) {
			r.answer(&rtcp.TransportLayerNack{MediaSSRC: 5, Nacks: []rtcp.NackPair{{PacketID: n}}}, at)
		}
		return len(sink.packets) - before
	}
	if got := ask(historySize, now); got != resendBurst {
		t.Fatalf("got %d packets again at once, want %d", got, resendBurst)
	}
	if got := ask(historySize, now.Add(100*time.Millisecond)); got != resendRate/10 {
		t.Fatalf("got %d packets again after 100 ms, want %d", got, resendRate/10)
	}
}

// TestNACKIsAnswered: a real client asks for a packet, and gets it again, with
// and without a stream of its own for that.
func TestNACKIsAnswered(t *testing.T) {
	for _, rtx := range []bool{true, false} {
		t.Run(fmt.Sprint("rtx=", rtx), func(t *testing.T) {
			s := testServer(t)
			video, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "video", "x")
			if err != nil {
				t.Fatal(err)
			}
			pc := testClient(t)
			if _, err := pc.AddTrack(video); err != nil {
				t.Fatal(err)
			}
			connect(t, s, pc, PublishRequest{App: "app", Channel: "room", User: "ann"})
			send := func(n uint16) {
				p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: n, Timestamp: 3000 * uint32(n), Marker: true}, Payload: []byte{0x10, 0x00, byte(n)}}
				if err := video.WriteRTP(p); err != nil {
					t.Error(err)
				}
			}
			send(1)
			user(t, s, "ann", func(u *media.User) bool { return u.Video != nil })
			v := newViewer(t, func(e *webrtc.SettingEngine) { e.DisableSRTPReplayProtection(true) }) // it gets what it has once more
			offer := makeOffer(t, v.pc)
			if !rtx {
				var kept []string
				for line := range strings.Lines(offer) {
					if !strings.Contains(line, "rtx/90000") {
						kept = append(kept, line)
					}
				}
				offer = strings.Join(kept, "")
			}
			_, answer, err := s.Subscribe(t.Context(), SubscribeRequest{App: "app", Channel: "room", Viewer: "bob", User: "ann", Offer: offer})
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(answer, "rtx/90000") != rtx {
				t.Fatalf("want retransmissions in the answer: %v\n%s", rtx, answer)
			}
			takeAnswer(t, v.pc, answer)
			user(t, s, "bob", func(*media.User) bool { return true })
			deadline := time.After(patience)
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			var lost *rtp.Packet
			for n := uint16(2); ; {
				select {
				case <-tick.C:
					send(n)
					n++
				case p := <-v.video:
					if lost == nil {
						lost = p
						continue
					}
					if p.SequenceNumber == lost.SequenceNumber {
						if !bytes.Equal(p.Payload, lost.Payload) || p.Timestamp != lost.Timestamp {
							t.Fatalf("got %v again, want %v", p, lost)
						}
						return
					}
					if p.SequenceNumber == lost.SequenceNumber+5 {
						nack := &rtcp.TransportLayerNack{MediaSSRC: lost.SSRC, Nacks: []rtcp.NackPair{{PacketID: lost.SequenceNumber}}}
						if err := v.pc.WriteRTCP([]rtcp.Packet{nack}); err != nil {
							t.Fatal(err)
						}
					}
				case <-deadline:
					t.Fatal("the packet does not come again")
				}
			}
		})
	}
}

func TestInboxTellsWhatIsWaiting(t *testing.T) {
	boxes := &inboxes{}
	box := boxes.make(packetio.RTPBufferPacket, 7)
	reader := boxes.BindRemoteStream(&interceptor.StreamInfo{SSRC: 7}, interceptor.RTPReaderFunc(
		func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
			n, err := box.Read(b)
			return n, a, err
		}))
	buf := make([]byte, 10)
	var mine *inbox
	for range 3 {
		for n := range 4 {
			box.Write([]byte{byte(n), 0, 0, 0})
		}
		for n := range 4 {
			_, a, err := reader.Read(buf, nil)
			if more := waiting(a, &mine); err != nil || buf[0] != byte(n) || more != (n < 3) {
				t.Fatalf("packet %d: got %d, %v, more=%v", n, buf[0], err, more)
			}
		}
	}
	box.Write([]byte{1})
	if waiting(interceptor.Attributes{webrtc.AttributeRtxSsrc: uint32(8)}, &mine) {
		t.Error("what waits behind a retransmission is not known")
	}
	if mine = nil; waiting(nil, &mine) {
		t.Error("without an inbox something is sure to come")
	}
	if err := box.Close(); err != nil { // as Pion does first
		t.Fatal(err)
	}
	boxes.UnbindRemoteStream(&interceptor.StreamInfo{SSRC: 7})
	if len(boxes.rtp) != 0 {
		t.Error("the inbox stays after its stream")
	}
}

func TestSlab(t *testing.T) {
	var s slab
	var all []*media.Packet
	noise := newNoise(3)
	var want [][]byte
	for n := range 300 {
		b := noise.bytes(1 + n*5%1400)
		want = append(want, bytes.Clone(b))
		p := s.packet(b, n%2 == 0)
		clear(b)
		all = append(all, p)
		if cap(p.Payload) != len(p.Payload) {
			t.Fatal("an append would write into the next packet")
		}
	}
	for n, p := range all {
		if !bytes.Equal(p.Payload, want[n]) {
			t.Fatalf("packet %d has changed", n)
		}
	}
	b := make([]byte, 1100)
	if got := testing.AllocsPerRun(1000, func() { s.packet(b, true) }); got > 0.1 {
		t.Errorf("%.2f allocations a packet", got)
	}
}

var compounds = [][]byte{
	nil,
	{0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2},
	{0x80, 201, 0, 1, 0, 0, 0, 1, 0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 9, 0, 1},
	{0x80, 201, 0, 1, 0, 0, 0, 1, 0x81, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 2, 0, 9, 0, 1}, // one word short
	{0x80, 201, 0, 0},
	{0x00, 201, 0, 0}, // version 0
	{0x81, 205, 0, 0, 0x81, 205, 0xff, 0xff},
}

func TestEachRTCP(t *testing.T) {
	var got string
	for _, b := range compounds {
		eachRTCP(b, func(h rtcp.Header, p []byte) { got += fmt.Sprint(uint8(h.Type), "/", h.Count, ":", len(p), " ") })
		got += "| "
	}
	if want := "| 206/1:12 | 201/0:8 205/1:16 | 201/0:8 | 201/0:4 | | 205/1:4 | "; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzRequests(f *testing.F) {
	for _, b := range compounds {
		f.Add(b)
	}
	fw := newForward(newTrack(codec{name: media.VP8}), 96)
	fw.reports = func([]rtcp.ReceptionReport) {}
	w := &wire{srv: &Server{net: &network{}}, shard: &shard{}}
	w.requests.bind(fw, &outlet{ssrc: 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		w.requests.take(w, b, 0)
		w.requests.take(w, b, 2)
	})
}

// TestUnbound: Pion unbinds a forward when the client closes its connection, in the
// middle of a packet too.
func TestUnbound(t *testing.T) {
	f, _ := testForward(t, outlet{ssrc: 5})
	f.out.Store(nil)
	if f.pass(keyFrame(1, time.Now()), &beginning{layer: f.track.layers[0]}) {
		t.Error("a packet went out")
	}
}
