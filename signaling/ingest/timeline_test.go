package ingest

import (
	"testing"
	"time"

	"braid/media"
	"braid/media/h264"
	"braid/media/sfu"
)

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// TestTimeline: tags of two tracks arrive at a moment with a time, and get a place.
func TestTimeline(t *testing.T) {
	type tag struct{ track, at, ts, want int } // all ms; want counts from lineStart
	const a, v = soundTrack, videoTrack
	for _, c := range []struct {
		name string
		tags []tag
	}{
		{"as they are", []tag{{v, 0, 500, 0}, {a, 0, 510, 10}, {v, 33, 533, 33}, {a, 40, 531, 31}}},
		{"a burst that was late", []tag{{v, 0, 0, 0}, {v, 900, 33, 33}, {v, 900, 66, 66}, {v, 901, 900, 900}}},
		{"faster than time", []tag{{v, 0, 0, 0}, {v, 1, 1000, 1000}, {v, 2, 2000, 2000}, {v, 3, 3000, 3000}}},
		{"a pause of the publisher", []tag{{v, 0, 0, 0}, {v, 60_000, 60_000, 60_000}, {a, 60_000, 60_010, 60_010}}},
		{"times jump ahead", []tag{{v, 0, 0, 0}, {a, 0, 5, 5}, {v, 40, 90_000, 40}, {a, 45, 90_005, 45}}},
		{"times begin anew", []tag{{v, 0, 5000, 0}, {a, 10, 5010, 10}, {v, 40, 0, 40}, {a, 50, 12, 52}, {v, 80, 40, 80}}},
		{"the other track is still before the jump", []tag{
			{v, 0, 5000, 0}, {a, 10, 5010, 10}, {v, 40, 0, 40}, {a, 45, 5035, 35}, {a, 60, 21, 61}, {v, 80, 41, 81}}},
		{"a step back", []tag{{v, 0, 5000, 0}, {v, 40, 4950, -50}, {v, 80, 5080, 80}}},
		{"the second track begins late", []tag{{v, 0, 0, 0}, {v, 2000, 2000, 2000}, {a, 2000, 1900, 1900}}},
		{"the second track begins elsewhere", []tag{{v, 0, 0, 0}, {v, 2000, 2000, 2000}, {a, 2000, 1e9, 2000}}},
	} {
		var l timeline
		begin := time.Now()
		for i, g := range c.tags {
			got := l.time(g.track, ms(g.ts), begin.Add(ms(g.at))) - lineStart
			if got != ms(g.want) {
				t.Errorf("%s: tag %d: got %v, want %v", c.name, i, got, ms(g.want))
			}
		}
	}
}

// TestPace sends a picture each 40 ms and sound each 20 ms, for which a network or a
// publisher makes trouble, and looks at where they are placed.
func TestPace(t *testing.T) {
	const frame = 20
	type result struct {
		lost    int // packets of sound
		skipped int // ms that the timeline moved on
		hurried bool
	}
	for _, c := range []struct {
		name    string
		length  int              // s
		arrives func(ts int) int // ms
		want    result
	}{
		{"even", 60, func(ts int) int { return ts }, result{}},
		{"jitter", 60, func(ts int) int { return ts + 7919*(ts/frame)%400 }, result{}},
		{"a clock that is slow by 200 ppm", 4 * 3600, func(ts int) int { return ts + ts/5000 }, result{}},
		{"the network stands still for 5 s", 60, func(ts int) int { return stall(ts, 3000, 8000) }, result{lost: 225, hurried: true}},
		{"a burst that takes 2 s", 60, func(ts int) int {
			if ts < 3000 || ts > 10_000 {
				return ts
			}
			return 8000 + (ts-3000)*2/7
		}, result{lost: 315, hurried: true}},
		{"the publisher stands still for 20 s", 60, func(ts int) int {
			if ts < 3000 {
				return ts
			}
			return ts + 20_000
		}, result{lost: 100, skipped: 19_500, hurried: true}},
		{"an encoder that is 0.8 s late for 10 s", 60, func(ts int) int {
			if ts > 3000 && ts < 13_000 {
				return ts + 800
			}
			return ts
		}, result{lost: 100, skipped: 300, hurried: true}},
		{"segments of 2 s", 60, func(ts int) int { return (ts/2000 + 1) * 2000 }, result{lost: 75, hurried: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var l timeline
			begin := time.Now()
			var got result
			var last, end time.Duration
			for ts := 0; ts < c.length*1000; ts += frame {
				now := begin.Add(ms(c.arrives(ts)))
				if _, ok := l.place(soundTrack, ms(ts), now); !ok {
					got.lost++
				}
				if ts%40 != 0 {
					continue
				}
				at, ok := l.place(videoTrack, ms(ts), now)
				at -= lineStart
				if !ok || ts > 0 && at <= last {
					t.Fatalf("picture of %d ms: got %v, %t after %v", ts, at, ok, last)
				}
				got.hurried = got.hurried || at-last < 40*time.Millisecond && ts > 0
				last, end = at, at-ms(ts)
			}
			if got.lost < c.want.lost-2 || got.lost > c.want.lost+2 {
				t.Errorf("%d packets of sound are left out, want %d", got.lost, c.want.lost)
			}
			if d := end - ms(c.want.skipped); d.Abs() > 100*time.Millisecond {
				t.Errorf("at the end times have moved on by %v, want %d ms", end, c.want.skipped)
			}
			if got.hurried != c.want.hurried {
				t.Errorf("pictures hurry: %t, want %t", got.hurried, c.want.hurried)
			}
		})
	}
}

// stall is when what was made at ts arrives over a network that stands still.
func stall(ts, from, to int) int {
	if ts >= from && ts < to {
		return to
	}
	return ts
}

func TestUnfit(t *testing.T) {
	good := h264.SPS{ChromaFormat: 1, BitDepthLuma: 8, BitDepthChroma: 8, Reorder: 0}
	with := func(change func(*h264.SPS)) h264.SPS { s := good; change(&s); return s }
	unsaid := with(func(s *h264.SPS) { s.Reorder = -1 })
	for _, c := range []struct {
		name        string
		sps         h264.SPS
		bframes     bool
		composition int
		want        string
	}{
		{"baseline", good, false, 0, ""},
		{"an encoder with a constant delay", good, true, 80, ""},
		{"B-frames said", with(func(s *h264.SPS) { s.Reorder = 2 }), false, 0, "B-frames"},
		{"nothing said, in order", unsaid, false, 0, ""},
		{"nothing said, delayed", unsaid, false, 66, "B-frames"},
		{"nothing said, seen", unsaid, true, 0, "B-frames"},
		{"4:4:4", with(func(s *h264.SPS) { s.ChromaFormat = 3 }), false, 0, "not 8 bit 4:2:0"},
		{"10 bits", with(func(s *h264.SPS) { s.BitDepthLuma = 10 }), false, 0, "not 8 bit 4:2:0"},
		{"fields", with(func(s *h264.SPS) { s.Interlaced = true }), false, 0, "interlaced"},
	} {
		if got := unfit(c.sps, c.bframes, ms(c.composition)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// TestTimestamps: times become the nearest tick of either clock, over hours.
func TestTimestamps(t *testing.T) {
	for _, c := range []struct {
		codec media.Codec
		pts   time.Duration
		want  int64
	}{
		{media.Opus, ms(20), 960}, {media.Opus, 20*time.Millisecond - 300, 960}, {media.Opus, 30 * time.Hour, 30 * 3600 * 48000},
		{media.H264, ms(33), 2970}, {media.H264, time.Second / 30, 3000}, {media.H264, 30*time.Hour + ms(1), 30*3600*90000 + 90},
	} {
		o := newOut(c.codec, &sfu.Feed{}, time.Now())
		if got := o.timestamp(c.pts) - o.base; got != uint32(c.want) {
			t.Errorf("%s at %v: got %d, want %d", c.codec, c.pts, got, uint32(c.want))
		}
	}
}

func TestFrameRate(t *testing.T) {
	var v videoIn
	v.describe([]byte("\x02\x00\x0aonMetaData\x08\x00\x00\x00\x01\x00\x09framerate\x00\x40\x3d\xf8\x51\xeb\x85\x1e\xb8\x00\x00\x09")) // 29.97
	if v.fps != 30 {
		t.Errorf("got %d frames a second, want 30", v.fps)
	}
	for _, b := range []string{"", "\x00\x09framerate\x00\x40", "\x00\x09framerate\x00\x7f\xf8\x00\x00\x00\x00\x00\x00", "\x00\x09framerate\x00\xc0\x3e\x00\x00\x00\x00\x00\x00"} {
		if v.describe([]byte(b)); v.fps != 30 {
			t.Errorf("%q: became %d", b, v.fps)
		}
	}
}
