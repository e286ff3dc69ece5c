package sfu

import (
	"testing"
	"time"

	"braid/media"
)

// sps is clip.h264's: 320x240, constrained baseline. The second is 1920x1080,
// High, cropped from 1088 lines.
var (
	sps240  = []byte{0x67, 0x42, 0xc0, 0x14, 0xd9, 0x01, 0x41, 0xfb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x01, 0xe0, 0xf1, 0x42, 0xa4, 0x80}
	sps1080 = []byte{0x67, 0x64, 0x00, 0x28, 0xac, 0xd1, 0x00, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58}
)

func stapA(units ...[]byte) []byte {
	p := []byte{0x78}
	for _, u := range units {
		p = append(append(p, byte(len(u)>>8), byte(len(u))), u...)
	}
	return p
}

var sizes = []struct {
	name    string
	codec   media.Codec
	payload []byte
	w, h    int // 0, 0: not told
}{
	{"SPS", media.H264, sps240, 320, 240},
	{"SPS of High, cropped", media.H264, sps1080, 1920, 1080},
	{"STAP-A", media.H264, stapA([]byte{0x09, 0xf0}, sps1080, []byte{0x68, 0xce, 0x3c, 0x80}), 1920, 1080},
	{"STAP-A without", media.H264, stapA([]byte{0x68, 0xce}, []byte{0x65, 0x88}), 0, 0},
	{"STAP-A that lies", media.H264, []byte{0x78, 0xff, 0xff, 0x67}, 0, 0},
	{"STAP-A with an empty unit", media.H264, stapA(nil, sps240), 0, 0}, // RFC 6184 knows none
	{"SPS cut off", media.H264, sps240[:5], 0, 0},
	{"IDR", media.H264, []byte{0x65, 0x88, 0x84}, 0, 0},
	{"nothing", media.H264, nil, 0, 0},
	{"key frame", media.VP8, []byte{0x10, 0x30, 0x01, 0x02, 0x9d, 0x01, 0x2a, 0xa0, 0x00, 0x78, 0x00}, 160, 120},
	{"key frame with scale bits", media.VP8, []byte{0x10, 0x30, 0x01, 0x02, 0x9d, 0x01, 0x2a, 0x80, 0x47, 0x38, 0xc4}, 1920, 1080},
	{"key frame behind a picture id", media.VP8, []byte{0x90, 0x80, 0x80, 0x01, 0x30, 0x01, 0x02, 0x9d, 0x01, 0x2a, 0xa0, 0x00, 0x78, 0x00}, 160, 120},
	{"key frame without width", media.VP8, []byte{0x10, 0x30, 0x01, 0x02, 0x9d, 0x01, 0x2a, 0x00, 0x40, 0x78, 0x00}, 0, 0},
	{"interframe", media.VP8, []byte{0x10, 0x31, 0x01, 0x02, 0x9d, 0x01, 0x2a, 0xa0, 0x00, 0x78, 0x00}, 0, 0},
	{"no start code", media.VP8, []byte{0x10, 0x30, 0x01, 0x02, 0x9d, 0x01, 0x2b, 0xa0, 0x00, 0x78, 0x00}, 0, 0},
	{"key frame cut off", media.VP8, []byte{0x10, 0x30, 0x01, 0x02, 0x9d, 0x01, 0x2a, 0xa0, 0x00, 0x78}, 0, 0},
	{"continuation", media.VP8, []byte{0x00, 0x30, 0x01, 0x02, 0x9d, 0x01, 0x2a, 0xa0, 0x00, 0x78, 0x00}, 0, 0},
	{"sound", media.Opus, []byte{0xf8, 0xff, 0xfe}, 0, 0},
	{"VP9 key frame", media.VP9, append([]byte{0x0c}, vp9Key...), 160, 120},
	{"VP9 key frame of three layers", media.VP9, append([]byte{0xaa, 0x07, 0x00, 0x05, 0x58, 0, 160, 0, 120, 1, 0x40, 0, 240, 2, 0x80, 1, 0xe0, 1, 4, 1}, vp9Key...), 640, 480},
	{"VP9 structure without sizes", media.VP9, append([]byte{0x8a, 0x07, 0x08, 1, 4, 1}, vp9Key...), 160, 120},
	{"VP9 interframe", media.VP9, []byte{0x4c, 0x86, 0x00, 0x40, 0x92, 0xf0, 0xa1}, 0, 0},
	{"VP9 key frame cut off", media.VP9, append([]byte{0x0c}, vp9Key[:8]...), 0, 0},
	{"AV1 sequence header", media.AV1, append([]byte{0x18}, av1Key...), 160, 120},
	{"AV1 behind a temporal delimiter", media.AV1, append([]byte{0x08, 1, 0x10, 11}, av1Key...), 160, 120},
	{"AV1 with its own size field", media.AV1, append([]byte{0x18, 0x0a, 10}, av1Key[1:]...), 160, 120},
	{"AV1 without", media.AV1, []byte{0x18, 0x30, 0x10, 0x00}, 0, 0},
	{"AV1 cut off", media.AV1, append([]byte{0x18}, av1Key[:6]...), 0, 0},
	{"AV1 element that lies", media.AV1, append([]byte{0x08, 12}, av1Key...), 0, 0},
	{"H.265 SPS", media.H265, h265SPS, 160, 120},
	{"H.265 SPS cut off", media.H265, h265SPS[:20], 0, 0},
	{"H.265 VPS", media.H265, h265VPS, 0, 0},
	{"H.265 AP", media.H265, h265AP(h265VPS, h265SPS), 160, 120},
	{"H.265 AP without", media.H265, h265AP(h265VPS), 0, 0},
	{"H.265 AP that lies", media.H265, h265AP(h265VPS, h265SPS)[:60], 0, 0},
	{"H.265 slice", media.H265, []byte{0x26, 0x01, 0xaf, 0x1b}, 0, 0},
}

func h265AP(units ...[]byte) []byte {
	return append([]byte{0x60, 0x01}, stapA(units...)[1:]...)
}

func TestPictureSize(t *testing.T) {
	for _, c := range sizes {
		w, h, ok := pictureSize(c.codec, c.payload)
		if !ok {
			w, h = 0, 0
		}
		if w != c.w || h != c.h || ok != (c.w > 0) {
			t.Errorf("%s: got %d x %d, %v, want %d x %d", c.name, w, h, ok, c.w, c.h)
		}
		if ok && !keyFrameStart(c.codec, c.payload) {
			t.Errorf("%s: deliver would not look at it", c.name)
		}
	}
}

// TestReceives: over all of its sessions a user receives sound when one brings
// it, and the biggest picture counts.
func TestReceives(t *testing.T) {
	s := testServer(t)
	small, _ := vp8Feed(t)  // 160x120
	large, _ := h264Feed(t) // 320x240
	sound, _ := opusFeed(t)
	publish(t, s, "ann", small)
	publish(t, s, "bob", large)
	publishAs(t, s, PublishRequest{App: "app", Channel: "room", User: "bob", Source: media.ShareScreen}, sound)
	receives := func(want Receives) {
		t.Helper()
		var got Receives
		until(t, "eve receives as wanted", tick, func() bool {
			for _, u := range s.Snapshot()[0].Users {
				if u.ID == "eve" {
					got = u.Receives
				}
			}
			return got == want
		})
	}
	watch(t, s, "eve", "ann")
	receives(Receives{Video: true, Width: 160, Height: 120})
	v := watch(t, s, "eve", "bob")
	receives(Receives{Video: true, Width: 320, Height: 240})
	watchAs(t, s, SubscribeRequest{App: "app", Channel: "room", Viewer: "eve", User: "bob", Source: media.ShareScreen})
	receives(Receives{Audio: true, Video: true, Width: 320, Height: 240})
	v.session.Close()
	receives(Receives{Audio: true, Video: true, Width: 160, Height: 120})
	for _, u := range s.Snapshot()[0].Users {
		if u.ID != "eve" && u.Receives != (Receives{}) {
			t.Errorf("%s, who only publishes, receives %+v", u.ID, u.Receives)
		}
	}
}

// TestLooksAllocateNothing: each packet is looked at.
func TestLooksAllocateNothing(t *testing.T) {
	for _, c := range sizes {
		if c.codec == media.H264 || c.w == 0 {
			continue
		}
		if n := testing.AllocsPerRun(100, func() {
			if !keyFrameStart(c.codec, c.payload) {
				t.Fatal(c.name)
			}
			pictureSize(c.codec, c.payload)
		}); n != 0 {
			t.Errorf("%s: %v allocations, want none", c.name, n)
		}
	}
}

// TestDeliverAllocatesNothing where a packet tells no size.
func TestDeliverAllocatesNothing(t *testing.T) {
	tr := newTrack(codec{name: media.H264})
	tr.Attach(drop{})
	p := &media.Packet{Payload: append([]byte{0x7c, 0x85}, make([]byte, 1100)...), Arrival: time.Now()}
	if n := testing.AllocsPerRun(1000, func() { tr.layers[0].deliver(p) }); n != 0 {
		t.Errorf("%v allocations for each packet, want none", n)
	}
}

type drop struct{}

func (drop) Receive(*media.Packet) {}

func FuzzPictureSize(f *testing.F) {
	for _, c := range sizes {
		f.Add(c.payload)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range []media.Codec{media.H264, media.VP8, media.VP9, media.AV1, media.H265} {
			keyFrameStart(c, b)
			w, h, ok := pictureSize(c, b)
			if w < 0 || h < 0 || w > 65536 || h > 65536 || ok && w*h == 0 {
				t.Fatalf("%s % x: %d x %d, %v", c, b, w, h, ok)
			}
		}
	})
}
