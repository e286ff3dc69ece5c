package sfu

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"

	"braid/media"
)

// collector keeps what a track gives.
type collector struct {
	mu      sync.Mutex
	packets []*media.Packet
	changed chan struct{}
}

func newCollector() *collector { return &collector{changed: make(chan struct{})} }

func (c *collector) Receive(p *media.Packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.packets = append(c.packets, p)
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *collector) news() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *collector) all() []*media.Packet {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.packets[:len(c.packets):len(c.packets)]
}

func TestAttachAndDetach(t *testing.T) {
	tr := newTrack(codec{name: media.Opus})
	a, b := newCollector(), newCollector()
	detachA := tr.Attach(a)
	tr.layers[0].deliver(&media.Packet{Seq: 1})
	tr.Attach(b)
	detachA()
	detachA()
	tr.layers[0].deliver(&media.Packet{Seq: 2})
	tr.end()
	tr.layers[0].deliver(&media.Packet{Seq: 3})
	tr.Attach(a)()
	tr.layers[0].deliver(&media.Packet{Seq: 4})
	if len(a.all()) != 1 || a.all()[0].Seq != 1 {
		t.Errorf("a got %d packets, want the first one", len(a.all()))
	}
	if len(b.all()) != 1 || b.all()[0].Seq != 2 {
		t.Errorf("b got %d packets, want the second one", len(b.all()))
	}
	select {
	case <-tr.Done():
	default:
		t.Error("Done is open after the end")
	}
	if (*track)(nil).flowing() != nil || tr.flowing() != nil {
		t.Error("a track without a packet is shown")
	}
}

func TestKeyFrameRequestsAreMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrack(codec{name: media.VP8})
		var asked []time.Duration
		start := time.Now()
		go tr.layers[0].askForKeyFrames(func() { asked = append(asked, time.Since(start)) })
		for range 100 { // 10 per 100 ms, for one second
			tr.RequestKeyFrame()
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if want := "[0s 500ms 1s]"; fmt.Sprint(asked) != want {
			t.Errorf("asked at %v, want %s: now, and after each pause", asked, want)
		}
		asked = nil
		tr.RequestKeyFrame()
		synctest.Wait()
		tr.RequestKeyFrame() // in the pause
		tr.layers[0].deliver(&media.Packet{Payload: []byte{0x10, 0x00}})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(asked) != 1 {
			t.Errorf("asked %d times, want once: the key frame came before the second", len(asked))
		}
		tr.end()
	})
}

// TestReportLevelAndRequests checks what travels beside the media: sender
// reports and audio levels up, key frame requests down.
func TestReportLevelAndRequests(t *testing.T) {
	s := testServer(t)
	audio, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "audio", "x")
	if err != nil {
		t.Fatal(err)
	}
	pc := testClient(t)
	sender, err := pc.AddTrack(audio)
	if err != nil {
		t.Fatal(err)
	}
	connect(t, s, pc, PublishRequest{App: "app", Channel: "room", User: "ann"})
	level := 0
	for _, e := range sender.GetParameters().HeaderExtensions {
		if strings.HasSuffix(e.URI, "ssrc-audio-level") {
			level = e.ID
		}
	}
	send := func(seq uint16, padding byte) {
		p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: 960 * uint32(seq)}, Payload: []byte{0xf8, byte(seq)}}
		if err := p.SetExtension(uint8(level), []byte{0x80 | 37}); err != nil {
			t.Fatal(err)
		}
		if padding > 0 {
			p.Padding, p.Header.PaddingSize, p.Payload = true, padding, nil
		}
		if err := audio.WriteRTP(p); err != nil {
			t.Fatal(err)
		}
	}
	send(1, 0)
	tr := user(t, s, "ann", func(u *media.User) bool { return u.Audio != nil }).Audio
	got := newCollector()
	tr.Attach(got)
	v := watch(t, s, "bob", "ann")
	user(t, s, "bob", func(*media.User) bool { return true })
	send(2, 0)
	send(3, 20)
	send(4, 0)
	until(t, "the last packet arrives", got.news, func() bool {
		all := got.all()
		return len(all) > 0 && all[len(all)-1].Payload[1] == 4
	})
	for i, p := range got.all() {
		want := min(uint16(p.Payload[1]), 3) // packet 4 closes the gap of padding
		if p.Seq != want || p.Level != 37 || !p.Voice || len(p.Payload) != 2 {
			t.Errorf("packet %d: got %+v, want number %d, level 37, voice", i, p, want)
		}
	}

	when := time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.UTC)
	ssrc := uint32(sender.GetParameters().Encodings[0].SSRC)
	if err := pc.WriteRTCP([]rtcp.Packet{&rtcp.SenderReport{SSRC: ssrc, NTPTime: toNTP(when), RTPTime: 3840}}); err != nil {
		t.Fatal(err)
	}
	reports := make(chan *rtcp.SenderReport, 100)
	first := receive(t, "sound reaches the viewer", v.audio)
	go func() {
		receiver := v.pc.GetReceivers()[0]
		for {
			packets, _, err := receiver.ReadRTCP()
			if err != nil {
				return
			}
			for _, p := range packets {
				if sr, ok := p.(*rtcp.SenderReport); ok && sr.NTPTime == toNTP(when) {
					select {
					case reports <- sr:
					default:
					}
				}
			}
		}
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for seq := uint16(5); ; seq++ {
		select {
		case sr := <-reports:
			if sr.RTPTime != 3840 || sr.SSRC != first.SSRC || sr.PacketCount == 0 {
				t.Errorf("the viewer got %+v, want the publisher's time under SSRC %d", sr, first.SSRC)
			}
			if r, ok := tr.Report(); !ok || !r.NTP.Equal(when) || r.Timestamp != 3840 {
				t.Errorf("got report %+v, want %v", r, when)
			}
			return
		case <-tick.C:
			send(seq, 0)
		case <-deadline:
			t.Fatal("no sender report reached the viewer")
		}
	}
}

// TestViewersAskForKeyFrames counts the requests that reach the publisher.
func TestViewersAskForKeyFrames(t *testing.T) {
	s := testServer(t)
	video, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "video", "x")
	if err != nil {
		t.Fatal(err)
	}
	pc := testClient(t)
	sender, err := pc.AddTrack(video)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 100)
	go func() {
		for {
			packets, _, err := sender.ReadRTCP()
			if err != nil {
				return
			}
			for _, p := range packets {
				if _, ok := p.(*rtcp.PictureLossIndication); ok {
					asked <- struct{}{}
				}
			}
		}
	}()
	connect(t, s, pc, PublishRequest{App: "app", Channel: "room", User: "ann"})
	var seq atomic.Uint32
	send := func(payload ...byte) {
		n := seq.Add(1)
		p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(n), Timestamp: 3000 * n, Marker: true}, Payload: payload}
		if err := video.WriteRTP(p); err != nil {
			t.Error(err)
		}
	}
	send(0x10, 0x01, 7) // an interframe
	receive(t, "the server asks at the first packet", asked)
	send(0x10, 0x00, 7) // a key frame, nobody watches
	v := watch(t, s, "bob", "ann")
	receive(t, "a new viewer makes the server ask", asked)
	send(0x10, 0x01, 8)
	send(0x10, 0x00, 9)
	p := receive(t, "the key frame arrives", v.video)
	var d codecs.VP8Packet
	if b, err := d.Unmarshal(p.Payload); err != nil || b[0]&1 != 0 || b[1] != 9 {
		t.Fatalf("the viewer's first frame is % x (%v), want the key frame", b, err)
	}
	receiver := v.pc.GetReceivers()[1].Track()
	for _, wish := range []rtcp.Packet{
		&rtcp.PictureLossIndication{MediaSSRC: uint32(receiver.SSRC())},
		&rtcp.FullIntraRequest{MediaSSRC: uint32(receiver.SSRC()), FIR: []rtcp.FIREntry{{SSRC: uint32(receiver.SSRC()), SequenceNumber: 1}}},
	} {
		if err := v.pc.WriteRTCP([]rtcp.Packet{wish}); err != nil {
			t.Fatal(err)
		}
		receive(t, fmt.Sprintf("%T reaches the publisher", wish), asked)
	}
}

func TestNTP(t *testing.T) {
	for _, when := range []time.Time{
		time.Unix(0, 0), time.Unix(0, 1), time.Unix(1, 999999999), time.Date(2026, 11, 22, 1, 2, 3, 456789012, time.UTC),
	} {
		if got := fromNTP(toNTP(when)); !got.Equal(when) {
			t.Errorf("got %v, want %v", got, when)
		}
	}
	if got := toNTP(time.Unix(0, 0)); got != 2208988800<<32 { // RFC 868
		t.Errorf("1970 is %#x", got)
	}
	fromNTP(math.MaxUint64)
}
