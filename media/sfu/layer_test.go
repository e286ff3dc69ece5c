package sfu

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/transport/v5/packetio"
	"github.com/pion/webrtc/v4"

	"braid/media"
)

// simulcast is a client that publishes VP8 in three layers, of which each has its
// own beginning of time and of numbers.
type simulcast struct {
	layers   []*webrtc.TrackLocalStaticRTP
	sender   *webrtc.RTPSender
	mid, rid uint8
	frame    int
	off      []bool // layers that are not sent
	keys     bool   // every picture is a key frame
}

var rids = []string{"q", "h", "f"}

func newSimulcast(t *testing.T, pc *webrtc.PeerConnection) *simulcast {
	t.Helper()
	c := &simulcast{off: make([]bool, 3), keys: true}
	for _, rid := range rids {
		l, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "video", "x", webrtc.WithRTPStreamID(rid))
		if err != nil {
			t.Fatal(err)
		}
		c.layers = append(c.layers, l)
		if c.sender == nil {
			c.sender, err = pc.AddTrack(l)
		} else {
			err = c.sender.AddEncoding(l)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// negotiated looks at what the answer allowed.
func (c *simulcast) negotiated() {
	for _, e := range c.sender.GetParameters().HeaderExtensions {
		switch {
		case strings.HasSuffix(e.URI, "sdes:mid"):
			c.mid = uint8(e.ID)
		case strings.HasSuffix(e.URI, ":rtp-stream-id"):
			c.rid = uint8(e.ID)
		}
	}
}

// vp8Key is a key frame in one packet: descriptor with a picture id of 15 bits and
// TL0PICIDX, frame header with the size, and the layer as the last byte.
func vp8Key(picture uint16, base uint8, width, height int, layer byte) []byte {
	return []byte{0x90, 0xc0, 0x80 | byte(picture>>8)&0x7f, byte(picture), base,
		0x10, 0, 0, 0x9d, 0x01, 0x2a, byte(width), byte(width >> 8), byte(height), byte(height >> 8), layer}
}

// send sends the next picture in all layers that are on.
func (c *simulcast) send(t *testing.T) {
	t.Helper()
	c.frame++
	for i, l := range c.layers {
		if c.off[i] {
			continue
		}
		p := &rtp.Packet{
			Header: rtp.Header{
				Version: 2, Marker: true,
				SequenceNumber: uint16(c.frame + 1000*i),
				Timestamp:      uint32(450*c.frame + 1000000*i), // 5 ms
			},
			Payload: vp8Key(uint16(c.frame+200*i), uint8(c.frame+50*i), 160<<i, 90<<i, byte(i)),
		}
		if !c.keys && c.frame%200 != 0 {
			p.Payload[5] |= 1
		}
		p.SetExtension(c.mid, []byte("0"))
		p.SetExtension(c.rid, []byte(l.RID()))
		if err := l.WriteRTP(p); err != nil {
			t.Fatal(err)
		}
	}
}

// sendUntil sends until the condition holds.
func (c *simulcast) sendUntil(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		c.send(t)
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// lastLayer is that of the newest packet; -1 before the first.
func lastLayer(all []*media.Packet) int {
	if len(all) == 0 {
		return -1
	}
	p := all[len(all)-1].Payload
	return int(p[len(p)-1])
}

// TestSimulcast: three layers are taken. A receiver inside gets the largest that
// flows, as one stream.
func TestSimulcast(t *testing.T) {
	s := testServer(t)
	pc := testClient(t)
	c := newSimulcast(t, pc)
	sess := connect(t, s, pc, PublishRequest{App: "app", Channel: "room", User: "ann"})
	if answer := sess.pc.LocalDescription().SDP; !strings.Contains(answer, "a=simulcast:recv q;h;f\r\n") {
		t.Fatalf("want three layers in the answer:\n%s", answer)
	}
	c.negotiated()
	got := newCollector()
	attached := false
	c.sendUntil(t, "the full layer arrives", func() bool {
		if ch, ok := s.Channel("app", "room"); ok && !attached && ch.Users()[0].Video != nil {
			ch.Users()[0].Video.Attach(got)
			attached = true
		}
		return lastLayer(got.all()) == 2
	})
	c.off[2] = true
	c.sendUntil(t, "the half layer replaces the full one, which has stopped", func() bool { return lastLayer(got.all()) == 1 })
	c.off[2] = false
	c.sendUntil(t, "the full layer is back", func() bool { return lastLayer(got.all()) == 2 })
	// By arrival: while no layer was chosen anew there may be a hole, where the full one had stopped.
	all := got.all()
	for i := 1; i < len(all); i++ {
		if all[i].Seq != all[i-1].Seq+1 || int32(all[i].Timestamp-all[i-1].Timestamp) <= 0 {
			t.Fatalf("packet %d has number %d and time %d after %d and %d", i, all[i].Seq, all[i].Timestamp, all[i-1].Seq, all[i-1].Timestamp)
		}
	}
	if w, h := sess.pub.video.size(); w != 640 || h != 360 {
		t.Errorf("the track is %dx%d, want 640x360", w, h)
	}
}

// layered is a track of three layers that share their time, as align leaves them.
func layered(c media.Codec) *track {
	t := newTrack(codec{name: c}, rids...)
	for _, l := range t.layers {
		l.begin()
		l.aligned.Store(true)
	}
	return t
}

// picture is one of VP8 in one packet.
func picture(layer, n int, key bool) *media.Packet {
	p := &media.Packet{
		Seq: uint16(n + 1000*layer), Timestamp: uint32(3000 * n), Marker: true, Arrival: time.Unix(0, int64(n)*1e7),
		Payload: vp8Key(uint16(n+200*layer), uint8(n+50*layer), 160<<layer, 90<<layer, byte(layer)),
	}
	if !key {
		p.Payload[5] |= 1
	}
	return p
}

// TestFollow goes from layer to layer: at key frames, without a hole, a step back
// or a picture shown twice.
func TestFollow(t *testing.T) {
	f, sink := testForward(t, outlet{ssrc: 5})
	f.track = layered(media.VP8)
	all := f.track.layers
	play := func(from, to int, key ...int) {
		for n := from; n < to; n++ {
			for i, l := range all {
				l.deliver(picture(i, n, slices.Contains(key, 10*n+i)))
			}
		}
	}
	play(1, 3)
	f.aim(all[0])
	play(3, 7, 40) // begins at picture 4
	f.aim(all[2])
	play(7, 12, 92) // goes on with layer 0, then layer 2 from picture 9
	f.aim(all[1])
	play(12, 14)
	f.aim(all[2]) // changes its mind: nothing happens
	play(14, 16, 141)
	f.aim(nil)
	play(16, 18, 162)
	f.aim(all[0])
	play(18, 21, 180)

	want := "4/0 5/0 6/0 7/0 8/0 9/0 9/2 10/2 11/2 12/2 13/2 14/2 15/2 18/0 19/0 20/0"
	var got []string
	for i, p := range sink.packets {
		n, layer := p.Timestamp/3000, p.Payload[len(p.Payload)-1]
		got = append(got, fmt.Sprint(n, "/", layer))
		if i == 0 {
			continue
		}
		was := sink.packets[i-1]
		if p.SequenceNumber != was.SequenceNumber+1 || int32(p.Timestamp-was.Timestamp) <= 0 {
			t.Errorf("packet %d: number %d, time %d after %d, %d", i, p.SequenceNumber, p.Timestamp, was.SequenceNumber, was.Timestamp)
		}
		d, _ := vp8Describe(p.Payload)
		step := d.pictureID(p.Payload) - d.pictureID(was.Payload)
		if step != 1 && was.Payload[len(was.Payload)-1] != layer || step == 0 || step > 2 {
			t.Errorf("packet %d: picture id %d after %d", i, d.pictureID(p.Payload), d.pictureID(was.Payload))
		}
		if base := p.Payload[d.base] - was.Payload[d.base]; base != 1 {
			t.Errorf("packet %d: TL0PICIDX %d after %d", i, p.Payload[d.base], was.Payload[d.base])
		}
	}
	if joined := strings.Join(got, " "); joined != want {
		t.Errorf("got  %s\nwant %s", joined, want)
	}
	for i, l := range all {
		if n := l.takers.Load(); n != map[int]int32{0: 1}[i] {
			t.Errorf("layer %d has %d takers", i, n)
		}
	}
}

func fitting(t *track, width, height int) *layer {
	all := t.options(nil, width, height)
	return all[len(all)-1]
}

// TestFitting: the smallest layer that fills the element.
func TestFitting(t *testing.T) {
	tr := layered(media.VP8)
	for i, l := range tr.layers {
		l.deliver(picture(i, 1, true))
	}
	for _, tt := range []struct {
		width, height int
		off           int // layer that rests or has stopped; 0 none
		want          string
	}{
		{0, 0, 0, "f"}, {1920, 1080, 0, "f"}, {640, 360, 0, "f"}, {400, 225, 0, "f"}, {360, 202, 0, "h"}, {320, 180, 0, "h"},
		{170, 95, 0, "q"}, {1, 1, 0, "q"}, {90, 160, 0, "h"}, {320, 180, 1, "f"}, {640, 360, 2, "h"},
	} {
		now := picture(0, 200, true)
		for i, l := range tr.layers {
			if i == 0 || i != tt.off {
				l.newest.Store(now)
			} else {
				l.newest.Store(picture(i, 1, true))
			}
		}
		if got := fitting(tr, tt.width, tt.height).rid; got != tt.want {
			t.Errorf("%dx%d without layer %d: got %s, want %s", tt.width, tt.height, tt.off, got, tt.want)
		}
	}
}

// TestAlign: layers whose timestamps begin anywhere show one moment at one time.
func TestAlign(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(n int) time.Time { return start.Add(time.Duration(n) * 33 * time.Millisecond) }
	report := func(l *layer, n int, ts uint32) {
		l.report.Store(&media.SenderReport{NTP: at(n), Timestamp: ts, Arrival: at(n)})
	}
	tr := newTrack(codec{name: media.VP8}, "q", "f")
	q, f := tr.layers[0], tr.layers[1]
	q.begin()
	f.begin()
	p := &media.Packet{Timestamp: 5000, Arrival: at(0)}
	if !q.place(p) || p.Timestamp != 5000 {
		t.Fatalf("the first layer's time is the track's: %d", p.Timestamp)
	}
	q.deliver(p)
	early := &media.Packet{Timestamp: 4294967000, Arrival: at(0)}
	if f.place(early) {
		t.Fatal("placed without knowing where")
	}
	report(q, 3, 5000+3*2970)
	report(f, 4, (4294967000+4*2970)&0xffffffff)
	late := &media.Packet{Timestamp: 4294967000, Arrival: at(0).Add(40 * time.Millisecond)} // later than its picture
	if !f.place(late) || late.Timestamp != 5000 {
		t.Errorf("got %d, want 5000: by the reports", late.Timestamp)
	}
	if r, ok := tr.Report(); !ok || r.Timestamp != 5000+4*2970 {
		t.Errorf("the track's report says %d (%v), want the newest one in its time", r.Timestamp, ok)
	}

	tr = newTrack(codec{name: media.VP8}, "q", "f") // no reports: by arrival, after a while
	q, f = tr.layers[0], tr.layers[1]
	q.begin()
	f.begin()
	for n := range 200 {
		p, o := &media.Packet{Timestamp: uint32(2970 * n), Arrival: at(n)}, &media.Packet{Timestamp: uint32(2970*n + 777), Arrival: at(n)}
		q.place(p)
		q.deliver(p)
		if placed, want := f.place(o), at(n).Sub(start) > alignPatience; placed != want || placed && o.Timestamp != p.Timestamp {
			t.Fatalf("picture %d: placed=%v at %d, want %v at %d", n, placed, o.Timestamp, want, p.Timestamp)
		}
	}
}

// TestRest: what nobody takes is not asked for, but the smallest layer.
func TestRest(t *testing.T) {
	tr := layered(media.VP8)
	for i, l := range tr.layers {
		l.deliver(picture(i, 1, true))
	}
	now := time.Now()
	told := ""
	step := func(d time.Duration) string {
		now = now.Add(d)
		if tr.settle(now) {
			told = strings.Join(tr.awake(), " ")
		}
		return told
	}
	f, _ := testForward(t, outlet{ssrc: 5})
	f.track = tr
	f.aim(tr.layers[1])
	if got := step(0) + step(9*time.Second); got != "" {
		t.Errorf("after 9 s: told %q", got)
	}
	if got := step(2 * time.Second); got != "q h" {
		t.Errorf("after 11 s: told %q, want q h", got)
	}
	tr.layers[2].newest.Store(picture(2, -1000, true)) // it has stopped
	if got := fitting(tr, 0, 0).rid; got != "f" {
		t.Errorf("the layer to aim at is %s, want f, which can be had", got)
	}
	f.aim(fitting(tr, 0, 0))
	if got := step(time.Millisecond); got != "q h f" {
		t.Errorf("wanted again: told %q, want q h f", got)
	}
	step(2 * time.Second)
	if got := fitting(tr, 0, 0).rid; got != "f" {
		t.Errorf("2 s later the layer to aim at is %s, want f, which has time to begin", got)
	}
	step(2 * time.Second)
	if got := fitting(tr, 0, 0).rid; got != "h" {
		t.Errorf("4 s later the layer to aim at is %s, want h: f did not come", got)
	}
}

func FuzzVP8Descriptor(f *testing.F) {
	f.Add([]byte{}, uint16(1), uint8(2))
	f.Add([]byte{0x10, 0}, uint16(1), uint8(2))
	f.Add([]byte{0x90, 0x80, 0x7f, 0x10}, uint16(1), uint8(2))
	f.Add(vp8Key(0x7fff, 255, 160, 90, 0), uint16(1), uint8(1))
	f.Fuzz(func(t *testing.T, p []byte, picture uint16, base uint8) {
		head, replaced := vp8Shift{picture, base}.append(nil, p)
		if len(head) != replaced || replaced > len(p) {
			t.Fatalf("%d bytes replace %d of %d", len(head), replaced, len(p))
		}
		d, ok := vp8Describe(p)
		if ok && d.picture > 0 && replaced > 0 {
			again, _ := vp8Describe(head)
			if again != d {
				t.Fatalf("the descriptor changed from %+v to %+v", d, again)
			}
			back, _ := vp8Shift{-picture, -base}.append(nil, head)
			if picture != 0 && picture&0x7fff != 0 && string(back) != string(p[:replaced]) {
				t.Fatalf("there and back: % x, want % x", back, p[:replaced])
			}
		}
	})
}

// TestAttachAs: a mixer gets the layer that fills its pane, as one stream.
func TestAttachAs(t *testing.T) {
	tr := layered(media.VP8)
	n := 0
	play := func(pictures int, key bool) {
		for range pictures {
			n++
			for i, l := range tr.layers {
				l.deliver(picture(i, n, key))
			}
		}
	}
	play(1, true)
	width := 100
	got := newCollector()
	detach := tr.AttachAs(got, func() (int, int) { return width, width * 9 / 16 })
	var layers []int
	for _, width = range []int{100, 300, 1000, 300, 0} {
		tr.steer(time.Unix(0, int64(n)*1e7))
		play(2, false)
		play(1, true)
		play(2, false)
		layers = append(layers, lastLayer(got.all()))
	}
	if want := "[0 1 2 1 2]"; fmt.Sprint(layers) != want {
		t.Errorf("got layers %v, want %s", layers, want)
	}
	all := got.all()
	for i := 1; i < len(all); i++ {
		if all[i].Seq != all[i-1].Seq+1 || int32(all[i].Timestamp-all[i-1].Timestamp) <= 0 {
			t.Errorf("packet %d has number %d and time %d after %d and %d", i, all[i].Seq, all[i].Timestamp, all[i-1].Seq, all[i-1].Timestamp)
		}
	}
	detach()
	play(1, true)
	if len(got.all()) != len(all) {
		t.Error("packets after the end")
	}
	for i, l := range tr.layers {
		if l.takers.Load() != 0 {
			t.Errorf("layer %d is taken", i)
		}
	}
}

// readerFunc implements packetReader.
type readerFunc func(b []byte) (int, interceptor.Attributes, error)

func (f readerFunc) Read(b []byte) (int, interceptor.Attributes, error) { return f(b) }

// TestReadTogether: what waits goes on together also when the stream's first packet
// goes nowhere, as of a layer that is not on the track's time yet, or by an error.
func TestReadTogether(t *testing.T) {
	for name, first := range map[string]error{"no use": nil, "an error": io.ErrShortBuffer} {
		t.Run(name, func(t *testing.T) {
			l := newTrack(codec{name: media.Opus, payload: 111}).layers[0]
			l.begin()
			var order []string
			for _, who := range []string{"a", "b"} {
				l.attach(receiverFunc(func(p *media.Packet) { order = append(order, fmt.Sprint(who, p.Payload[0])) }))
			}
			box := &inbox{Buffer: packetio.NewBuffer()}
			for n := range 4 {
				h := rtp.Header{Version: 2, PayloadType: 111, SequenceNumber: uint16(n)}
				if n == 0 {
					h.PayloadType = 1 // not the track's
				}
				b, err := (&rtp.Packet{Header: h, Payload: []byte{byte(n)}}).Marshal()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := box.Write(b); err != nil {
					t.Fatal(err)
				}
			}
			if err := box.Close(); err != nil {
				t.Fatal(err)
			}
			n := 0
			in := newIngress(l, intake{codec: l.track.codec}, func(*uplink, []uint16) {})
			in.bind = func(*inbox) *uplink { return nil }
			l.read(readerFunc(func(b []byte) (int, interceptor.Attributes, error) {
				size, err := box.Read(b)
				if n++; n == 1 {
					return size, interceptor.Attributes{boxKey{}: box}, first
				}
				return size, nil, err
			}), in)
			if got := strings.Join(order, " "); got != "a1 a2 a3 b1 b2 b3" {
				t.Errorf("got %s", got)
			}
		})
	}
}
