package origin

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"braid/media/flv"
)

// script feeds a segmenter by hand.
type script struct {
	*segmenter
	got   []segment
	epoch uint32
}

func newScript() *script {
	s := &script{epoch: 1}
	s.segmenter = &segmenter{emit: func(g segment) { s.got = append(s.got, g) }, seq: 100}
	return s
}

func (s *script) tag(t *flv.Tag) { s.write(newTag(t, t.Timestamp, s.epoch)) }

func (s *script) header(t *flv.Tag, ms int) {
	t.Timestamp = uint32(ms)
	s.tag(t)
}

// av sends pictures and sound each 40 ms; gop 0 sends no key frame.
func (s *script) av(begin, end, gop int) {
	for ms := begin; ms < end; ms += 40 {
		s.tag(picture(ms, gop > 0 && (ms-begin)%gop == 0))
		s.tag(sound(ms))
	}
}

func (s *script) a(begin, end int) {
	for ms := begin; ms < end; ms += 40 {
		s.tag(sound(ms))
	}
}

// lengths writes the segments' durations in ms, with D where time breaks.
func (s *script) lengths() string {
	var b strings.Builder
	for i, g := range s.got {
		if g.seq != 100+uint64(i) {
			return fmt.Sprintf("segment %d has number %d", i, g.seq)
		}
		if g.discontinuity {
			b.WriteString("D")
		}
		fmt.Fprintf(&b, "%d ", g.duration.Milliseconds())
	}
	return strings.TrimSpace(b.String())
}

func TestSegmentBorders(t *testing.T) {
	both := func(s *script) { s.header(avcHeader(30), 0); s.header(aacHeader(), 0) }
	for name, c := range map[string]struct {
		play func(*script)
		want string
	}{
		"key frames each 2 s":   {func(s *script) { both(s); s.av(0, 6000, 2000) }, "2000 2000 2000"},
		"key frames each 400ms": {func(s *script) { both(s); s.av(0, 2400, 400) }, "1200 1200"},
		"time does not begin at 0, wraps": {func(s *script) {
			both(s)
			for ms := uint32(1<<32 - 1000); ms != 3000; ms += 40 {
				p := picture(0, (ms+1000)%2000 == 0)
				p.Timestamp = ms
				s.tag(p)
			}
		}, "2000 2000"},
		"late joiner":          {func(s *script) { both(s); s.av(0, 520, 0); s.av(520, 2520, 1000) }, "1000 1000"},
		"sound alone":          {func(s *script) { s.header(aacHeader(), 0); s.a(0, 5000) }, "2000 2000 1000"},
		"no key frame follows": {func(s *script) { both(s); s.av(0, 40, 40); s.av(40, 15000, 0) }, "12000 3000"},
		"camera off": {func(s *script) {
			both(s)
			s.av(0, 1000, 1000)
			s.a(1000, 6000)
			s.av(6000, 8000, 1000)
		}, "2960 2000 1040 1000 1000"},
		"camera comes later": {func(s *script) {
			s.header(aacHeader(), 0)
			s.a(0, 1000)
			s.header(avcHeader(30), 1000)
			s.a(1000, 1200)
			s.av(1200, 2200, 1000)
		}, "1200 D1000"},
		"sound comes later": {func(s *script) {
			s.header(avcHeader(30), 0)
			for ms := 0; ms < 400; ms += 40 {
				s.tag(picture(ms, ms == 0))
			}
			s.header(aacHeader(), 400)
			s.av(400, 800, 0)
			s.av(800, 1800, 1000)
		}, "800 D1000"},
		"other parameter sets": {func(s *script) { both(s); s.av(0, 520, 2000); s.header(avcHeader(31), 520); s.av(520, 1520, 2000) }, "520 D1000"},
		"same parameter sets":  {func(s *script) { both(s); s.av(0, 520, 2000); both(s); s.av(520, 1520, 2000) }, "1520"},
		"publisher came back": {func(s *script) {
			both(s)
			s.av(0, 1000, 1000)
			s.epoch = 2
			s.header(avcHeader(30), 1000)
			s.header(aacHeader(), 1000)
			s.av(1000, 1400, 0)
			s.av(1400, 2400, 1000)
		}, "1000 D1000"},
		"time jumps ahead": {func(s *script) { both(s); s.av(0, 1000, 1000); s.av(3600_000, 3601_000, 1000) }, "1000 D1000"},
		"time jumps back":  {func(s *script) { both(s); s.av(50_000, 51_000, 1000); s.av(100, 1100, 1000) }, "1000 D1000"},
		"a short gap":      {func(s *script) { both(s); s.av(0, 1000, 2000); s.av(6000, 7000, 1000) }, "6000 1000"},
		"nothing":          {func(s *script) { both(s) }, ""},
	} {
		s := newScript()
		c.play(s)
		s.flush()
		if got := s.lengths(); got != c.want {
			t.Errorf("%s: got %q, want %q (problem: %v)", name, got, c.want, s.problem)
		}
		for i, g := range s.got {
			if len(g.data)%188 != 0 || len(g.data) < 4*188 || g.data[1]&31 != 0 || g.data[2] != 0 || g.data[188+1]&31 != 0x10 {
				t.Errorf("%s: segment %d does not begin with PAT and PMT", name, i)
			}
		}
	}
}

// What MPEG-TS cannot carry is left out, the rest goes on.
func TestForeignCodecs(t *testing.T) {
	s := newScript()
	s.header(avcHeader(30), 0)
	for ms := 0; ms < 2000; ms += 40 {
		s.tag(picture(ms, ms%1000 == 0))
		s.tag(&flv.Tag{Type: flv.Audio, Timestamp: uint32(ms), Payload: []byte{0x2f, 1, 2, 3}}) // MP3
	}
	s.flush()
	if got := s.lengths(); got != "1000 1000" || s.problem == nil {
		t.Errorf("H.264 with MP3: %q, problem %v", got, s.problem)
	}
	s = newScript()
	for ms := 0; ms < 2000; ms += 40 {
		s.tag(&flv.Tag{Type: flv.Video, Timestamp: uint32(ms), Payload: []byte{0x90, 'h', 'v', 'c', '1', 1, 2}})
	}
	s.flush()
	if len(s.got) != 0 || s.problem == nil {
		t.Errorf("H.265: %d segments, problem %v", len(s.got), s.problem)
	}
}

func FuzzSegmenter(f *testing.F) {
	add := func(tags ...*flv.Tag) {
		var b []byte
		for _, t := range tags {
			b = flv.AppendTag(b, t)
		}
		f.Add(b)
	}
	add(avcHeader(30), aacHeader(), picture(0, true), sound(0), picture(40, false), picture(1200, true))
	add(aacHeader(), sound(0), sound(5000), metaData())
	add(avcHeader(30), picture(0, true), avcHeader(31), picture(100_000, true), picture(0, true))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newScript()
		for len(b) > 11 { // FLV framing, epoch in the stream id
			n := min(int(b[1])<<16|int(b[2])<<8|int(b[3]), len(b)-11)
			tag := &flv.Tag{Type: b[0], Timestamp: uint32(b[4])<<16 | uint32(b[5])<<8 | uint32(b[6]) | uint32(b[7])<<24, Payload: b[11 : 11+n]}
			s.epoch = uint32(b[8] & 1)
			if len(tag.Payload) > 0 && !endOfSequence(tag) {
				s.tag(tag)
			}
			b = b[min(len(b), 11+n+4):]
		}
		s.flush()
		for i, g := range s.got {
			if g.duration <= 0 || g.seq != 100+uint64(i) || len(g.data)%188 != 0 {
				t.Fatalf("segment %d: number %d, %v, %d bytes", i, g.seq, g.duration, len(g.data))
			}
		}
	})
}

func TestPlaylist(t *testing.T) {
	h := &hlsStream{changed: make(chan struct{})}
	began := time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC)
	for i := range 9 {
		h.add(segment{seq: uint64(10 + i), duration: 2033 * time.Millisecond, began: began, discontinuity: i == 0 || i == 2 || i == 3})
	}
	want := `#EXTM3U
#EXT-X-VERSION:3
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:13
#EXT-X-DISCONTINUITY-SEQUENCE:2
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:04:05.006Z
#EXTINF:2.033,
cam/13.ts
`
	list, err := h.playlist(t.Context(), "cam/")
	if got := string(list); err != nil || !strings.HasPrefix(got, want) || strings.Count(got, "#EXTINF") != 6 || strings.Contains(got, "ENDLIST") {
		t.Errorf("got %v\n%s\nwant six segments from\n%s", err, got, want)
	}
	for number, ok := range map[string]bool{"10": false, "11": true, "18": true, "19": false, "": false, "-1": false, "1x": false} {
		if _, got := h.segment(number); got != ok {
			t.Errorf("segment %q: got %v", number, got)
		}
	}
	h.end(nil)
	if list, _ = h.playlist(t.Context(), "cam/"); !strings.HasSuffix(string(list), "cam/18.ts\n#EXT-X-ENDLIST\n") {
		t.Errorf("ended: %s", list)
	}
}
