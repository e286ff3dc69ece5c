package record

import (
	"strings"
	"testing"
	"time"
)

// A stream with reordered pictures is cut into files of both formats that
// together hold every picture and every sound, in time with each other.
func TestFiles(t *testing.T) {
	tags := clip(t, both(25, "320x180", 50)...)
	s := newStudio(t, nil)
	s.record(Config{Formats: []string{FMP4, TS}}, tags)

	for _, format := range []string{FMP4, TS} {
		files := s.files(format)
		if len(files) != 3 {
			t.Fatalf("%s: got %d files, want 3", format, len(files))
		}
		var pictures, sounds int
		for i, f := range files {
			decodes(t, s.path(f))
			p := inspect(t, s.path(f))
			video, audio := p.times(t, "video"), p.times(t, "audio")
			pictures, sounds = pictures+len(video), sounds+len(audio)
			want := []time.Duration{10 * time.Second, 10 * time.Second, 5 * time.Second}[i]
			if d := time.Duration(f.Duration); !near(d, want, 100*time.Millisecond) || !near(p.duration(t), d, 100*time.Millisecond) {
				t.Errorf("%s: %v in the index, %v by ffprobe, want %v", f.Name, d, p.duration(t), want)
			}
			if f.Sequence != i+1 || f.State != Kept || f.Video != "H264" || f.Audio != "AAC" || f.Width != 320 || f.Height != 180 {
				t.Errorf("file %d: %+v", i, f)
			}
			if !strings.Contains(p.Packets[first(p, "video")].Flags, "K") {
				t.Errorf("%s does not begin with a key frame", f.Name)
			}
			// Sound of 1024 samples, each exactly behind the one before.
			for j := 1; j < len(audio); j++ {
				if d := audio[j] - audio[j-1]; !near(d, 21333*time.Microsecond, 50*time.Microsecond) {
					t.Errorf("%s: sound %d comes %v after the one before", f.Name, j, d)
					break
				}
			}
			// Pictures begin within the first 40 ms of sound, which has no hole at a cut;
			// two pictures of reordering come before the first that is shown.
			if d := video[0] - audio[0]; d < 0 || d > 130*time.Millisecond {
				t.Errorf("%s: pictures begin %v after the sound", f.Name, d)
			}
		}
		if pictures != 625 || sounds < 1170 || sounds > 1174 {
			t.Errorf("%s: %d pictures and %d sounds, want 625 and 1172", format, pictures, sounds)
		}
	}
	if got, want := s.events.kinds(), "started file file file file file file ended"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

func first(p probe, kind string) int {
	for i, k := range p.Packets {
		if k.Type == kind {
			return i
		}
	}
	return -1
}
