package sfu

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	pionmedia "github.com/pion/webrtc/v4/pkg/media"

	"braid/media"
	"braid/media/h264"
	"braid/media/h265"
	"braid/media/packet"
)

// ivfFeed sends an IVF file's frames.
func ivfFeed(t *testing.T, mime, name string) (f feed, frames [][]byte) {
	t.Helper()
	var samples []pionmedia.Sample
	for b := clip(t, name)[32:]; len(b) > 12; {
		size := binary.LittleEndian.Uint32(b)
		frames = append(frames, b[12:12+size])
		samples = append(samples, pionmedia.Sample{Data: b[12 : 12+size], Duration: time.Second / 15})
		b = b[12+size:]
	}
	return newFeed(t, mime, samples), frames
}

// h265Feed sends clip.h265; the frames are its pictures' units, joined.
func h265Feed(t *testing.T) (f feed, frames [][]byte) {
	t.Helper()
	var samples []pionmedia.Sample
	var au, frame []byte
	for _, u := range h264.SplitAnnexB(nil, clip(t, "clip.h265")) {
		au, frame = append(append(au, 0, 0, 0, 1), u...), append(frame, u...)
		if h265.IsSlice(u) {
			samples = append(samples, pionmedia.Sample{Data: au, Duration: time.Second / 15})
			frames = append(frames, frame)
			au, frame = nil, nil
		}
	}
	return newFeed(t, webrtc.MimeTypeH265, samples), frames
}

// TestNewCodecs: what a publisher sends reaches a viewer from a key frame on, to the
// byte, and the server knows how large the picture is.
func TestNewCodecs(t *testing.T) {
	for _, c := range []struct {
		codec media.Codec
		feed  func(*testing.T) (feed, [][]byte)
	}{
		{media.VP9, func(t *testing.T) (feed, [][]byte) { return ivfFeed(t, webrtc.MimeTypeVP9, "vp9.ivf") }},
		{media.AV1, func(t *testing.T) (feed, [][]byte) { return ivfFeed(t, webrtc.MimeTypeAV1, "av1.ivf") }},
		{media.H265, h265Feed},
	} {
		t.Run(string(c.codec), func(t *testing.T) {
			s := testServer(t)
			feed, want := c.feed(t)
			publish(t, s, "ann", feed)
			v := watch(t, s, "bob", "ann")
			a := packet.NewAssembler(c.codec)
			var got [][]byte
			for n, last := 0, uint16(0); len(got) < 12; n++ {
				p := receive(t, "video arrives", v.video)
				if n > 0 && p.SequenceNumber != last+1 {
					t.Fatalf("packet %d: got number %d after %d", n, p.SequenceNumber, last)
				}
				last = p.SequenceNumber
				for _, f := range a.Push(&media.Packet{Seq: p.SequenceNumber, Timestamp: p.Timestamp, Marker: p.Marker, Payload: p.Payload}, false) {
					if len(got) == 0 && !f.Key {
						t.Fatal("the first picture is no key frame")
					}
					got = append(got, slices.Concat(f.Units...))
				}
			}
			mustFollow(t, got, want)
			u := user(t, s, "ann", func(u *media.User) bool { return u.Video != nil })
			if u.Video.Codec() != c.codec {
				t.Errorf("the track is %s", u.Video.Codec())
			}
			until(t, "the size is known", tick, func() bool {
				w, h := u.Video.(*track).size()
				return w == 160 && h == 120
			})
		})
	}
}

// TestCodecRefused: a viewer who lacks the codec is told which.
func TestCodecRefused(t *testing.T) {
	s := testServer(t)
	feed, _ := ivfFeed(t, webrtc.MimeTypeVP9, "vp9.ivf")
	publish(t, s, "ann", feed)
	_, _, err := s.Subscribe(t.Context(), SubscribeRequest{App: "app", Channel: "room", Viewer: "bob", User: "ann",
		Offer: change(t, chromiumWatch, " VP9/90000", " VP7/90000")})
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "VP9 (profile 0)") {
		t.Errorf("got %v, want ErrUnsupported that names VP9", err)
	}
}

func TestKnownCodecs(t *testing.T) {
	for _, c := range []struct {
		rtpmap, fmtp string
		want         media.Codec
	}{
		{"VP9/90000", "", media.VP9},
		{"VP9/90000", "profile-id=0", media.VP9},
		{"VP9/90000", "profile-id=2", media.VP9},
		{"VP9/90000", "profile-id=1", ""},
		{"VP9/48000", "", ""},
		{"AV1/90000", "", media.AV1},
		{"AV1/90000", "level-idx=5;profile=0;tier=0", media.AV1},
		{"AV1/90000", "level-idx=5;profile=1;tier=0", ""},
		{"AV1X/90000", "", ""},
		{"H265/90000", "", media.H265},
		{"h265/90000", "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST", media.H265},
		{"H265/90000", "level-id=93;profile-id=2;tier-flag=0;tx-mode=SRST", media.H265},
		{"H265/90000", "profile-id=3", ""},
		{"H265/90000", "profile-id=1;tier-flag=1", ""},
		{"H265/90000", "profile-id=1;tx-mode=MRST", ""},
		{"H265/90000", "profile-id=1;sprop-max-don-diff=2", ""},
		{"H265/90000", "profile-space=1", ""},
	} {
		if got := knownName("video", codec{rtpmap: c.rtpmap, fmtp: c.fmtp}); got != c.want {
			t.Errorf("%s %s: got %q, want %q", c.rtpmap, c.fmtp, got, c.want)
		}
	}
}

func TestMatchProfiles(t *testing.T) {
	sec := &section{codecs: []codec{
		{name: media.VP9, payload: 98, fmtp: "profile-id=0"}, {name: media.VP9, payload: 100, fmtp: "profile-id=2"},
		{name: media.AV1, payload: 45}, {name: media.H265, payload: 49, fmtp: "level-id=93;profile-id=1"},
	}}
	for _, c := range []struct {
		published codec
		want      uint8
	}{
		{codec{name: media.VP9}, 98},
		{codec{name: media.VP9, fmtp: "profile-id=2"}, 100},
		{codec{name: media.AV1, fmtp: "level-idx=8;profile=0"}, 45},
		{codec{name: media.H265, fmtp: "level-id=180"}, 49},
		{codec{name: media.H265, fmtp: "profile-id=2"}, 0},
	} {
		got, ok := sec.match(c.published)
		if got.payload != c.want || ok != (c.want != 0) {
			t.Errorf("%+v: got payload type %d, want %d", c.published, got.payload, c.want)
		}
	}
}

// TestSendable: what the first answer of a client lacks is not offered again, for
// Pion would refuse it.
func TestSendable(t *testing.T) {
	own, all, ok := sendable(codec{name: media.AV1}, nil)
	if !ok || own.name != media.AV1 || all[0].MimeType != webrtc.MimeTypeAV1 || len(all) != 2*len(downCodecs())-2 {
		t.Errorf("before an answer: got %s, %v, %d codecs", own, ok, len(all))
	}
	formats := map[string][]string{"video": {"96", "97", "104", "105"}, "audio": {"111"}}
	if own, all, ok := sendable(codec{name: media.H265}, formats); ok || len(all) != 4 {
		t.Errorf("H265 after an answer without it: got %s, %v, %d codecs", own, ok, len(all))
	}
	if own, all, ok := sendable(codec{name: media.H264}, formats); !ok || own.payload != 104 || all[0].PayloadType != 104 {
		t.Errorf("H264 in packetization mode 0: got %d, %v", own.payload, ok)
	}
	if own, all, ok := sendable(codec{name: media.Opus}, formats); !ok || own.payload != 111 || len(all) != 1 {
		t.Errorf("Opus: got %d, %v, %d codecs", own.payload, ok, len(all))
	}
	seen := map[uint8]bool{}
	for _, c := range downCodecs() {
		for _, p := range []uint8{c.payload, c.rtx, c.red} {
			if p != 0 && (seen[p] || p < 96 || p > 127) {
				t.Errorf("payload type %d is twice in the table, or not dynamic", p)
			}
			seen[p] = true
		}
	}
}
