package sfu

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"braid/media"
	"braid/media/red"
)

// redundant makes RTP packets of frames, each with the one before it, as Chromium
// does.
func redundant(frames [][]byte) (packets [][]byte) {
	for i, f := range frames {
		var old []red.Block
		if i > 0 {
			old = []red.Block{{PayloadType: 111, Offset: 960, Data: frames[i-1]}}
		}
		p := rtp.Packet{
			Header:  rtp.Header{Version: 2, PayloadType: 63, SequenceNumber: uint16(65530 + i), Timestamp: uint32(i) * 960, SSRC: 1, Marker: i == 0},
			Payload: append(red.Append(nil, 111, old), f...),
		}
		b, err := p.Marshal()
		if err != nil {
			panic(err)
		}
		packets = append(packets, b)
	}
	return packets
}

// TestIntakeRepairs: lost packets come out of those behind them, in order, once.
func TestIntakeRepairs(t *testing.T) {
	_, frames := opusFeed(t)
	frames = frames[:40]
	wire := redundant(frames)
	in := intake{codec: codec{name: media.Opus, payload: 111, red: 63}, levelID: 1}
	var got []*media.Packet
	for i, b := range wire {
		if i%4 == 2 || i == 21 { // 21 and 22: the first of two cannot be had again
			continue
		}
		got = append(got, in.packets(b, time.Now())...)
		if len(in.packets(b, time.Now())) > 0 {
			t.Fatal("a duplicate got through")
		}
	}
	next := 0
	for _, p := range got {
		if next == 21 {
			next++
		}
		if p.Seq != uint16(65530+next) || p.Timestamp != uint32(next)*960 || !bytes.Equal(p.Payload, frames[next]) || p.Marker != (next == 0) {
			t.Fatalf("got packet %d (time %d, %d bytes), want %d (%d bytes)", p.Seq, p.Timestamp, len(p.Payload), uint16(65530+next), len(frames[next]))
		}
		next++
	}
	if next != len(frames) {
		t.Errorf("the last packet is %d, want %d", next-1, len(frames)-1)
	}
	// A lost one that comes late is not given out again.
	if late := in.packets(wire[38], time.Now()); len(late) > 0 {
		t.Errorf("a packet that was rebuilt came again")
	}
}

// TestIntakeTakesBoth: a sender may change from plain to redundant with any packet.
func TestIntakeTakesBoth(t *testing.T) {
	_, frames := opusFeed(t)
	wire := redundant(frames[:12])
	in := intake{codec: codec{name: media.Opus, payload: 111, red: 63}}
	for i, b := range wire {
		if i%3 == 0 {
			p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 111, SequenceNumber: uint16(65530 + i), Timestamp: uint32(i) * 960, SSRC: 1}, Payload: frames[i]}
			b, _ = p.Marshal()
		}
		got := in.packets(b, time.Now())
		if len(got) != 1 || !bytes.Equal(got[0].Payload, frames[i]) {
			t.Fatalf("packet %d: got %d packets", i, len(got))
		}
	}
	other := append([]byte{}, wire[5]...)
	other[3]++      // another number
	other[12+4] = 0 // its own frame is PCMU
	if got := in.packets(other, time.Now()); len(got) > 0 {
		t.Errorf("a frame of another codec got through")
	}
}

func TestRedundancy(t *testing.T) {
	var r redundancy
	r.payload.Store(63)
	packet := func(n int, size int) *media.Packet {
		return &media.Packet{Seq: uint16(n), Timestamp: uint32(n) * 960, Payload: bytes.Repeat([]byte{byte(n)}, size)}
	}
	report := func(lost uint8) {
		r.report([]rtcp.ReceptionReport{{SSRC: 7, FractionLost: lost}, {SSRC: 8, FractionLost: 255}}, 7)
	}
	offsets := func(p *media.Packet) string {
		head := r.append(nil, p, 111)
		if len(head) == 0 {
			return ""
		}
		blocks, err := red.Parse(nil, append(head, p.Payload...))
		if err != nil || !bytes.Equal(blocks[len(blocks)-1].Data, p.Payload) {
			t.Fatalf("got %v, %v", blocks, err)
		}
		var all []string
		for _, b := range blocks[:len(blocks)-1] {
			if b.PayloadType != 111 || !bytes.Equal(b.Data, bytes.Repeat([]byte{byte(p.Timestamp/960 - b.Offset/960)}, len(b.Data))) {
				t.Fatalf("repeat %+v", b)
			}
			all = append(all, fmt.Sprint(b.Offset))
		}
		return strings.Join(all, " ")
	}
	is := func(n, size int, want string) {
		t.Helper()
		if got := offsets(packet(n, size)); got != want {
			t.Errorf("packet %d repeats those %q before, want %q", n, got, want)
		}
	}
	is(1, 80, "")
	report(1)
	is(2, 80, "")
	report(4) // 1.6 %
	is(3, 80, "960")
	report(30)
	is(4, 80, "1920 960")
	is(6, 80, "2880 1920") // 5 was lost on its way here
	is(5, 80, "960")       // and comes late
	is(7, 80, "2880 960")
	is(8, 1000, "1920 960")
	is(9, 300, "1920") // with 8 it would be two packets' worth
	is(10, 80, "960")  // 8 again
	is(60, 80, "")     // after a pause
	for range calmReports - 1 {
		report(0)
	}
	is(61, 80, "960")
	report(30) // the spell is not over
	report(0)
	is(62, 80, "1920 960")
	for range calmReports {
		report(0)
	}
	is(63, 80, "")
	if n := testing.AllocsPerRun(100, func() { report(0) }); n != 0 {
		t.Errorf("%v allocations for a report", n)
	}
	r.repeats.Store(2)
	p, head := packet(64, 80), make([]byte, 0, 400)
	if n := testing.AllocsPerRun(100, func() { head = r.append(head[:0], p, 111) }); n != 0 {
		t.Errorf("%v allocations for a packet", n)
	}
}

// redClient is a Pion client that knows Opus and its redundant form alone.
func redClient(t *testing.T) *webrtc.PeerConnection {
	t.Helper()
	engine := &webrtc.MediaEngine{}
	if err := register(engine, codec{name: media.Opus, payload: 111, red: 63, fmtp: "minptime=10;useinbandfec=1;usedtx=1"}); err != nil {
		t.Fatal(err)
	}
	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true)
	e.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(e)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.GracefulClose() })
	return pc
}

// TestRedundantAudio goes through a server: a publisher's redundant packets, of which
// each fifth is lost, reach a viewer who knows nothing of it whole and plain, and
// one who does and loses packets, repeated.
func TestRedundantAudio(t *testing.T) {
	s := testServer(t)
	pc := redClient(t)
	local, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: "audio/red", ClockRate: 48000, Channels: 2, SDPFmtpLine: "111/111"}, "audio", "clip")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTrack(local); err != nil {
		t.Fatal(err)
	}
	connect(t, s, pc, PublishRequest{App: "app", Channel: "room", User: "ann"})
	answer := pc.RemoteDescription().SDP
	for _, want := range []string{"m=audio 9 UDP/TLS/RTP/SAVPF 63 111\r\n", "a=rtpmap:63 red/48000/2", "a=fmtp:63 111/111", "a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1"} {
		if !strings.Contains(answer, want) {
			t.Errorf("want %q in the answer:\n%s", want, answer)
		}
	}

	_, frames := opusFeed(t)
	wire := redundant(frames)
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			var p rtp.Packet
			if i%5 == 3 || p.Unmarshal(wire[i%len(wire)]) != nil {
				continue
			}
			p.SequenceNumber, p.Timestamp = uint16(i), uint32(i)*960
			local.WriteRTP(&p)
		}
	}()
	defer func() { close(stop); <-ended }()

	user(t, s, "ann", func(u *media.User) bool { return u.Audio != nil })
	plain := watch(t, s, "bob", "ann")
	var last *rtp.Packet
	for range 60 {
		p := receive(t, "sound arrives", plain.audio)
		if last != nil && (p.SequenceNumber != last.SequenceNumber+1 || p.Timestamp != last.Timestamp+960) {
			t.Fatalf("got packet %d at %d after %d at %d", p.SequenceNumber, p.Timestamp, last.SequenceNumber, last.Timestamp)
		}
		if i := int(p.Timestamp/960) % len(frames); !bytes.Equal(p.Payload, frames[i]) {
			t.Fatalf("packet of time %d has not its frame", p.Timestamp)
		}
		last = p
	}

	v := &viewer{pc: redClient(t), audio: make(chan *rtp.Packet, 1000)}
	v.pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			p, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			select {
			case v.audio <- p:
			default:
			}
		}
	})
	if _, err := v.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	sess, text, err := s.Subscribe(t.Context(), SubscribeRequest{App: "app", Channel: "room", Viewer: "eve", User: "ann", Offer: makeOffer(t, v.pc)})
	if err != nil {
		t.Fatal(err)
	}
	takeAnswer(t, v.pc, text)
	if p := receive(t, "sound arrives", v.audio); p.PayloadType != 111 {
		t.Errorf("without loss packets come with payload type %d, want 111", p.PayloadType)
	}
	out := sess.sends[0].out.Load()
	report := rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: out.ssrc, FractionLost: 10}}}
	if err := v.pc.WriteRTCP([]rtcp.Packet{&report}); err != nil {
		t.Fatal(err)
	}
	for {
		p := receive(t, "a redundant packet arrives", v.audio)
		if p.PayloadType == 111 {
			continue
		}
		blocks, err := red.Parse(nil, p.Payload)
		if err != nil || p.PayloadType != 63 || len(blocks) != 2 || blocks[0].Offset != 960 {
			t.Fatalf("payload type %d: %+v, %v", p.PayloadType, blocks, err)
		}
		i := int(p.Timestamp / 960)
		if !bytes.Equal(blocks[1].Data, frames[i%len(frames)]) || !bytes.Equal(blocks[0].Data, frames[(i+len(frames)-1)%len(frames)]) {
			t.Fatal("the frames are not those of their time")
		}
		return
	}
}
