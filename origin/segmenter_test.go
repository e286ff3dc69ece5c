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
	grown []segment // unfinished ones, as they were handed on
	epoch uint32
}

func newScript(mp4 bool) *script {
	s := &script{epoch: 1, segmenter: &segmenter{seq: 100}}
	emit := func(g segment) { s.got = append(s.got, g) }
	if mp4 {
		s.pack = &mp4Packer{emit: emit, grow: func(g segment) { s.grown = append(s.grown, g) }, parts: 1000}
	} else {
		s.pack = &tsPacker{emit: emit, parts: 1000}
	}
	return s
}

// forms runs a test for each container.
func forms(t *testing.T, f func(t *testing.T, mp4 bool)) {
	t.Run("ts", func(t *testing.T) { f(t, false) })
	t.Run("fmp4", func(t *testing.T) { f(t, true) })
}

// check looks at what holds for all segments: numbers without holes, parts that
// fill their segment and are not too long, containers that begin as they must.
func (s *script) check(t *testing.T, longest time.Duration) {
	t.Helper()
	number := uint64(1000)
	for i, g := range s.got {
		if g.seq != 100+uint64(i) || g.duration <= 0 || len(g.parts) == 0 {
			t.Fatalf("segment %d: number %d, %v, %d parts", i, g.seq, g.duration, len(g.parts))
		}
		sum := time.Duration(0)
		for j, p := range g.parts {
			sum += p.duration
			if p.number != number {
				t.Fatalf("segment %d: part %d has number %d, want %d", i, j, p.number, number)
			}
			number++
			if g.init == nil && (len(p.data)%188 != 0 || len(p.data) < 4*188 || p.data[1]&31 != 0 || p.data[2] != 0 || p.data[188+1]&31 != 0x10) {
				t.Errorf("segment %d does not begin with PAT and PMT", i)
			}
			if g.init != nil && (string(p.data[4:8]) != "moof" || p.duration > longest) {
				t.Errorf("segment %d: part %d of %v begins with %q, want moof and at most %v", i, j, p.duration, p.data[4:8], longest)
			}
			if g.init != nil && j < len(g.parts)-1 && p.duration < min(partLeast, longest) {
				t.Errorf("segment %d: part %d of %d has only %v", i, j, len(g.parts), p.duration)
			}
		}
		if sum != g.duration {
			t.Errorf("segment %d: parts of %v in all, segment of %v", i, sum, g.duration)
		}
		if g.init != nil && (string(g.init.data[4:8]) != "ftyp" || g.init.seq > g.seq || g.discontinuity && g.init.seq != g.seq) {
			t.Errorf("segment %d: initialization %d: %.12q", i, g.init.seq, g.init.data)
		}
	}
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
	for _, g := range s.got {
		if g.discontinuity {
			b.WriteString("D")
		}
		fmt.Fprintf(&b, "%d ", g.duration.Milliseconds())
	}
	return strings.TrimSpace(b.String())
}

func TestSegmentBorders(t *testing.T) { forms(t, segmentBorders) }

func segmentBorders(t *testing.T, mp4 bool) {
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
		s := newScript(mp4)
		c.play(s)
		s.flush()
		s.check(t, 6*time.Second)
		if got := s.lengths(); got != c.want {
			t.Errorf("%s: got %q, want %q (problem: %v)", name, got, c.want, s.problem)
		}
	}
}

// What no container carries is left out, the rest goes on.
func TestForeignCodecs(t *testing.T) { forms(t, foreignCodecs) }

func foreignCodecs(t *testing.T, mp4 bool) {
	s := newScript(mp4)
	s.header(avcHeader(30), 0)
	for ms := 0; ms < 2000; ms += 40 {
		s.tag(picture(ms, ms%1000 == 0))
		s.tag(&flv.Tag{Type: flv.Audio, Timestamp: uint32(ms), Payload: []byte{0x2f, 1, 2, 3}}) // MP3
	}
	s.flush()
	if got := s.lengths(); got != "1000 1000" || s.problem == nil {
		t.Errorf("H.264 with MP3: %q, problem %v", got, s.problem)
	}
	s = newScript(mp4)
	for ms := 0; ms < 2000; ms += 40 {
		s.tag(&flv.Tag{Type: flv.Video, Timestamp: uint32(ms), Payload: []byte{0x91, 'v', 'v', 'c', '1', 0, 0, 0, 1, 2}})
	}
	s.flush()
	if len(s.got) != 0 || s.problem == nil {
		t.Errorf("VVC: %d segments, problem %v", len(s.got), s.problem)
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
	av1 := []byte{0x0a, 0x0a, 0, 0, 0, 2, 0xaf, 0xff, 0x9b, 0x5f, 0x20, 0x08, 0x32, 1, 0x10} // a sequence header, a frame's beginning
	add(&flv.Tag{Type: flv.Video, Payload: []byte{0x90, 'a', 'v', '0', '1', 0x81, 0, 0, 0}},
		&flv.Tag{Type: flv.Video, Payload: append([]byte{0x91, 'a', 'v', '0', '1'}, av1...)},
		&flv.Tag{Type: flv.Audio, Timestamp: 20, Payload: []byte{0x91, 'O', 'p', 'u', 's', 0x78, 1, 2}},
		&flv.Tag{Type: flv.Video, Timestamp: 1000, Payload: append([]byte{0x91, 'a', 'v', '0', '1'}, av1...)})
	add(&flv.Tag{Type: flv.Video, Payload: append([]byte{0x90, 'h', 'v', 'c', '1'}, hvcC([][]byte{{0x40, 1, 1}, {0x42, 1, 2}, {0x44, 1, 3}})...)},
		&flv.Tag{Type: flv.Video, Payload: []byte{0x93, 'h', 'v', 'c', '1', 0, 0, 0, 3, 0x26, 1, 0xaf}})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, mp4 := range []bool{false, true} {
			s := newScript(mp4)
			for b := b; len(b) > 11; { // FLV framing, epoch in the stream id
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
				if g.duration <= 0 || g.seq != 100+uint64(i) || len(g.parts) == 0 || !mp4 && g.size()%188 != 0 {
					t.Fatalf("segment %d: number %d, %v, %d bytes in %d parts", i, g.seq, g.duration, g.size(), len(g.parts))
				}
			}
		}
	})
}

// BenchmarkSegmenter takes a second of a 2.5 Mbit/s stream in each round.
func BenchmarkSegmenter(b *testing.B) {
	for _, mp4 := range []bool{false, true} {
		b.Run(map[bool]string{false: "ts", true: "fmp4"}[mp4], func(b *testing.B) {
			b.ReportAllocs()
			s := newScript(mp4)
			s.header(avcHeader(30), 0)
			s.header(aacHeader(), 0)
			body := make([]byte, 10_000)
			for second := range b.N {
				for i := range 30 {
					p := picture(second*1000+i*1000/30, i == 0)
					p.Payload = append(p.Payload[:9:9], append([]byte{p.Payload[9]}, body...)...)
					p.Payload[7], p.Payload[8] = byte((len(body)+1)>>8), byte(len(body)+1)
					s.tag(p)
					s.tag(sound(second*1000 + i*1000/30))
				}
				s.got, s.grown = nil, nil
			}
			if s.problem != nil {
				b.Fatal(s.problem)
			}
		})
	}
}
