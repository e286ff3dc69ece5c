package record

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"braid/media/flv"
)

// A stream with reordered pictures is cut into files of both formats that
// together hold every picture and every sound, in time with each other.
func TestFiles(t *testing.T) {
	source := filepath.Join(t.TempDir(), "source.flv")
	ffmpeg(t, append(append([]string{"-v", "error"}, both(25, "320x180", 50)...), "-f", "flv", source)...)
	tags, came := readClip(t, source), inspect(t, source)
	s := newStudio(t, nil)
	s.record(Config{Formats: []string{FMP4, TS}}, tags)
	sent := map[string][]time.Duration{"video": came.times(t, "video"), "audio": came.times(t, "audio")}

	for _, format := range []string{FMP4, TS} {
		files := s.files(format)
		if len(files) != 3 {
			t.Fatalf("%s: got %d files, want 3", format, len(files))
		}
		var pictures, sounds int
		for _, f := range files {
			p := inspect(t, s.path(f))
			sounds += len(p.times(t, "audio"))
		}
		early := len(sent["audio"]) - sounds // sounds before the first key frame
		sounds = 0
		for i, f := range files {
			decodes(t, s.path(f))
			p := inspect(t, s.path(f))
			video, audio := p.times(t, "video"), p.times(t, "audio")
			// Every picture lies to every sound as it did in the source.
			apart := (video[0] - audio[0]) - (sent["video"][pictures] - sent["audio"][early+sounds])
			for j := range video {
				if d := (video[j] - video[0]) - (sent["video"][pictures+j] - sent["video"][pictures]); !near(d, 0, 2*time.Millisecond) || !near(apart, 0, 25*time.Millisecond) {
					t.Errorf("%s: picture %d is %v from its place, %v from its sound", f.Name, j, d, apart)
					break
				}
			}
			for j := range audio {
				if d := (audio[j] - audio[0]) - (sent["audio"][early+sounds+j] - sent["audio"][early+sounds]); !near(d, 0, 25*time.Millisecond) {
					t.Errorf("%s: sound %d is %v from its place", f.Name, j, d)
					break
				}
			}
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

// What a viewer of the files sees of a stream that changes.
func TestChanges(t *testing.T) {
	small, large := clip(t, both(12, "160x90", 50)...), clip(t, both(12, "320x180", 50)...)
	sound := clip(t, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=25", "-c:a", "aac")
	stereo := clip(t, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=3", "-c:a", "aac", "-ac", "2")
	silent := clip(t, pictures(25, "160x90", 50, "-bf", "0")...)
	later := append(append([]*flv.Tag(nil), sound[:200]...), silentLater(silent, 5000)...)
	soon := append(append([]*flv.Tag(nil), sound...), silentLater(silent, 1500)...)
	slices.SortStableFunc(soon, func(a, b *flv.Tag) int { return cmp.Compare(a.Timestamp, b.Timestamp) })
	for _, c := range []struct {
		name       string
		publishers [][]*flv.Tag
		want       []string // of the files: width, codecs, seconds
	}{
		{"the publisher comes back", [][]*flv.Tag{small, small}, []string{"160 H264 AAC 10", "160 H264 AAC 2", "160 H264 AAC 10", "160 H264 AAC 2"}},
		{"with a larger picture", [][]*flv.Tag{small, large}, []string{"160 H264 AAC 10", "160 H264 AAC 2", "320 H264 AAC 10", "320 H264 AAC 2"}},
		{"the picture grows", [][]*flv.Tag{joined(small, large)}, []string{"160 H264 AAC 10", "160 H264 AAC 2", "320 H264 AAC 10", "320 H264 AAC 2"}},
		{"sound alone", [][]*flv.Tag{sound}, []string{"0  AAC 10", "0  AAC 10", "0  AAC 5"}},
		{"sound that changes at once", [][]*flv.Tag{joined(sound[:45], stereo)}, []string{"0  AAC 1", "0  AAC 3"}},
		{"pictures alone", [][]*flv.Tag{silent}, []string{"160 H264  10", "160 H264  10", "160 H264  5"}},
		{"pictures soon after the sound", [][]*flv.Tag{soon}, []string{"160 H264 AAC 12", "160 H264 AAC 10", "160 H264 AAC 5"}},
		{"pictures after the sound has ended", [][]*flv.Tag{later}, []string{"0  AAC 5", "160 H264 AAC 10", "160 H264 AAC 10", "160 H264 AAC 5"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStudio(t, nil)
			s.record(Config{Formats: []string{FMP4, TS}}, c.publishers...)
			for _, format := range []string{FMP4, TS} {
				var got []string
				for _, f := range s.files(format) {
					decodes(t, s.path(f))
					got = append(got, fmt.Sprintf("%d %s %s %.0f", f.Width, f.Video, f.Audio, time.Duration(f.Duration).Seconds()))
					if format == TS { // they hold the same
						continue
					}
					p := inspect(t, s.path(f))
					times := append(p.times(t, "video"), p.times(t, "audio")...)
					if d := slices.Max(times) - slices.Min(times); !near(d, time.Duration(f.Duration), 150*time.Millisecond) {
						t.Errorf("%s is %v long, and its packets %v", f.Name, time.Duration(f.Duration), d)
					}
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("%s: got %q, want %q", format, got, c.want)
				}
			}
		})
	}
}

// joined is one publisher's stream that goes on as another one's.
func joined(a, b []*flv.Tag) []*flv.Tag {
	all := append([]*flv.Tag(nil), a...)
	return append(all, silentLater(b, a[len(a)-1].Timestamp+40)...)
}

// silentLater moves tags in time.
func silentLater(tags []*flv.Tag, by uint32) (moved []*flv.Tag) {
	for _, t := range tags {
		n := *t
		n.Timestamp += by
		moved = append(moved, &n)
	}
	return moved
}

// Timestamps that wrap, jump back and jump far are not what files are made of.
func TestTimeJumps(t *testing.T) {
	tags := clip(t, both(12, "320x180", 50)...)
	for _, c := range []struct {
		name string
		tags []*flv.Tag
		want []time.Duration
	}{
		{"wrap", silentLater(tags, 1<<32-6000), []time.Duration{10 * time.Second, 2 * time.Second}},
		{"back", append(silentLater(tags[:len(tags)/2], 60_000), silentLater(tags, 0)...), []time.Duration{6 * time.Second, 10 * time.Second, 2 * time.Second}},
		{"far ahead", append(silentLater(tags[:len(tags)/2], 0), silentLater(tags, 90_000)...), []time.Duration{6 * time.Second, 10 * time.Second, 2 * time.Second}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStudio(t, nil)
			s.record(Config{Formats: []string{FMP4, TS}}, c.tags)
			for _, format := range []string{FMP4, TS} {
				files := s.files(format)
				if len(files) != len(c.want) {
					t.Fatalf("%s: got %d files, want %d", format, len(files), len(c.want))
				}
				for i, f := range files {
					decodes(t, s.path(f))
					if !near(time.Duration(f.Duration), c.want[i], 150*time.Millisecond) {
						t.Errorf("%s: %v, want %v", f.Name, time.Duration(f.Duration), c.want[i])
					}
				}
			}
		})
	}
}
