package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"braid/media"
	"braid/media/flv"
)

// mp3Frames are the frames that LAME makes of a source of FFmpeg's, each by itself.
func mp3Frames(t testing.TB, source string, channels int) (frames [][]byte) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "source.mp3")
	ffmpeg(t, "-v", "error", "-f", "lavfi", "-i", source, "-ac", string(rune('0'+channels)), "-ar", "48000", "-c:a", "libmp3lame", "-b:a", "64k",
		"-reservoir", "0", "-write_xing", "0", "-id3v2_version", "0", name)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for len(b) > 0 {
		n := mp3Length(b)
		if n == 0 || n > len(b) {
			t.Fatalf("%x is no frame of 48 kHz", b[:min(len(b), mp3Head)])
		}
		frames, b = append(frames, b[:n]), b[n:]
	}
	return frames
}

// jukebox is a Coder that gives, for the time of what it gets, the frames of a file that
// has the same sound. It does so on a goroutine of its own, as a worker does.
type jukebox struct {
	frames [][]byte
	sound  Sound
	deaf   func(time.Duration) bool // what it gets at some time is lost
	in     chan *media.AccessUnit
	first  time.Duration // of the first frame
	ended  sync.WaitGroup
}

func (j *jukebox) open(s Sound) Coder {
	j.sound, j.in = s, make(chan *media.AccessUnit, 4) // who feeds it is faster than a stream
	j.ended.Go(func() {
		next, last := -1, time.Duration(-1)
		for au := range j.in {
			if j.deaf != nil && j.deaf(au.PTS) {
				continue
			}
			if next < 0 || au.PTS-last > time.Second { // what was missing is left out
				if next = int((au.PTS + mp3Span - 1) / mp3Span); last < 0 {
					j.first = time.Duration(next) * mp3Span
				}
			}
			last = au.PTS
			for ; time.Duration(next)*mp3Span < au.PTS+20*time.Millisecond && next < len(j.frames); next++ {
				s.Emit(&media.AccessUnit{Codec: media.MP3, PTS: time.Duration(next) * mp3Span, Key: true, Units: [][]byte{j.frames[next]}})
			}
		}
	})
	return j
}

func (j *jukebox) Write(au *media.AccessUnit) { j.in <- au }

func (j *jukebox) Close() {
	close(j.in)
	j.ended.Wait()
}

// beeping is a tone for the first tenth of each second.
const beeping = "aevalsrc=exprs='if(lt(mod(t,1),0.1),0.5*sin(2*PI*1000*t),0)':s=48000:d=30"

// heard gives where in a file beeps begin, and its length.
func heard(t testing.TB, name string) (at []time.Duration, long time.Duration) {
	t.Helper()
	raw := ffmpeg(t, "-v", "error", "-i", name, "-f", "f32le", "-ac", "1", "-ar", "48000", "-")
	const block = 480 // 10 ms
	quiet := true
	n := len(raw) / 4
	for i := 0; i+block <= n; i += block {
		power := 0.0
		for j := range block {
			v := float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*(i+j):])))
			power += v * v / block
		}
		loud := power > 0.01
		if loud && quiet {
			at = append(at, time.Duration(i)*time.Second/48000)
		}
		quiet = !loud
	}
	return at, time.Duration(n) * time.Second / 48000
}

// inOrder sorts files by number: a stream that comes faster than it plays has begins
// that do not tell.
func inOrder(files []File) []File {
	slices.SortFunc(files, func(a, b File) int { return a.Sequence - b.Sequence })
	return files
}

// A stream's sound becomes MP3 files without holes, as long as the stream; beeps are
// where they were, whatever was missing in between.
func TestMP3(t *testing.T) {
	frames := mp3Frames(t, beeping, 1)
	tags := clip(t, both(25, "160x90", 50)...)
	without := func(from, to uint32, kind byte) []*flv.Tag {
		return slices.DeleteFunc(slices.Clone(tags), func(t *flv.Tag) bool {
			return t.Type == kind && t.Timestamp >= from && t.Timestamp < to && t.Payload[1] != 0
		})
	}
	for _, c := range []struct {
		name    string
		tags    []*flv.Tag
		deaf    func(time.Duration) bool
		missing []int // beeps
		want    []int // seconds of the files
	}{
		{"sound and pictures", tags, nil, nil, []int{10, 10, 5}},
		{"sound alone", slices.DeleteFunc(slices.Clone(tags), func(t *flv.Tag) bool { return t.Type == flv.Video }), nil, nil, []int{10, 10, 5}},
		{"the microphone is off", without(2500, 18500, flv.Audio), nil, []int{3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18}, []int{10, 10, 5}},
		{"the coder is away", tags, func(at time.Duration) bool { return at > 3500*time.Millisecond && at < 6500*time.Millisecond }, []int{4, 5, 6}, []int{10, 10, 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStudio(t, nil)
			j := &jukebox{frames: frames, deaf: c.deaf}
			s.record(Config{Formats: []string{MP3}, Coder: j.open}, c.tags)
			files := inOrder(s.files(MP3))
			if len(files) != len(c.want) {
				t.Fatalf("%d files, want %d", len(files), len(c.want))
			}
			var beeps []time.Duration // on the stream's timeline
			from := j.first
			for i, f := range files {
				decodes(t, s.path(f))
				p := inspect(t, s.path(f))
				if p.Format.Name != "mp3" || len(p.Streams) != 1 || f.ContentType() != "audio/mpeg" || filepath.Ext(f.Name) != ".mp3" || f.Audio != media.MP3 || f.Video != "" {
					t.Errorf("%s: %+v, %+v", f.Name, p.Format, f)
				}
				d := time.Duration(f.Duration)
				if want := time.Duration(c.want[i]) * time.Second; !near(d, want, 200*time.Millisecond) || !near(p.duration(t), d, 30*time.Millisecond) {
					t.Errorf("%s: %v in the index, %v by ffprobe, want %v", f.Name, d, p.duration(t), want)
				}
				at, long := heard(t, s.path(f))
				if !near(long, d, 30*time.Millisecond) {
					t.Errorf("%s: %v decode, want %v", f.Name, long, d)
				}
				for _, b := range at {
					if b += from; len(beeps) == 0 || b-beeps[len(beeps)-1] > 500*time.Millisecond { // a file may begin in one
						beeps = append(beeps, b)
					}
				}
				from += d
			}
			beeps = slices.DeleteFunc(beeps, func(b time.Duration) bool { return b > 24500*time.Millisecond }) // the last may have no room
			var want []int
			for i := range 25 {
				if !slices.Contains(c.missing, i) {
					want = append(want, i)
				}
			}
			if len(beeps) != len(want) {
				t.Fatalf("beeps at %v, want of the seconds %v", beeps, want)
			}
			for i, at := range beeps {
				// FFmpeg's encoder and decoder bring a delay of 23 ms with them; of the first
				// beep only the end is there.
				late := at - time.Duration(want[i])*time.Second - 23*time.Millisecond
				if i == 0 {
					late -= j.first
				}
				if !near(late, 0, 30*time.Millisecond) {
					t.Errorf("the beep of second %d is %v late", want[i], late)
				}
			}
			if got, want := s.events.kinds(), "started file file file ended"; got != want {
				t.Errorf("told %q, want %q", got, want)
			}
		})
	}
}

// Who comes back has a file of their own; so has sound of another form, at once.
func TestMP3Changes(t *testing.T) {
	sound := clip(t, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=6", "-c:a", "aac", "-ac", "2")
	mono := clip(t, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=6", "-c:a", "aac", "-ac", "1")
	forms := map[int][][]byte{1: mp3Frames(t, beeping, 1), 2: mp3Frames(t, beeping, 2)}
	for i, tags := range [][][]*flv.Tag{{sound, mono}, {joined(sound[:40], mono)}} {
		s := newStudio(t, nil)
		s.record(Config{Formats: []string{MP3}, Coder: func(of Sound) Coder {
			return (&jukebox{frames: forms[of.Channels]}).open(of)
		}}, tags...)
		files := inOrder(s.files(MP3))
		if len(files) != 2 {
			t.Fatalf("%d: %d files, want 2", i, len(files))
		}
		for j, f := range files {
			decodes(t, s.path(f))
			if want := []time.Duration{[]time.Duration{6 * time.Second, 850 * time.Millisecond}[i], 6 * time.Second}[j]; !near(time.Duration(f.Duration), want, 250*time.Millisecond) {
				t.Errorf("%d: file %d is %v, want %v", i, j, time.Duration(f.Duration), want)
			}
		}
	}
}

// Without sound there is no file. A coder that cannot work is told of, and so is
// that it works again; frames that are none are left out.
func TestMP3Trouble(t *testing.T) {
	silent := clip(t, pictures(3, "160x90", 50)...)
	s := newStudio(t, nil)
	s.record(Config{Formats: []string{MP3}, Coder: (&jukebox{}).open}, silent)
	if got := s.events.kinds(); got != "ended" || len(s.files(MP3)) != 0 {
		t.Errorf("without sound: told %q, %d files", got, len(s.files(MP3)))
	}

	frames := mp3Frames(t, beeping, 1)
	s = newStudio(t, nil)
	s.record(Config{Formats: []string{MP3}, Coder: func(of Sound) Coder {
		of.Failed("no LAME")
		of.Emit(&media.AccessUnit{PTS: time.Hour, Units: [][]byte{frames[0]}})
		of.Emit(&media.AccessUnit{Units: [][]byte{frames[0][:9]}})
		of.Emit(&media.AccessUnit{Units: [][]byte{{}}})
		of.Emit(&media.AccessUnit{})
		return (&jukebox{frames: frames, deaf: func(at time.Duration) bool { return at < 2*time.Second }}).open(of)
	}}, clip(t, both(6, "160x90", 50)...))
	if got := s.events.kinds(); got != "failed started file ended" || s.events.list()[0].Reason != "the sound cannot be made MP3: no LAME" {
		t.Errorf("told %q, %+v", got, s.events.list()[0])
	}
	for _, f := range s.files(MP3) {
		decodes(t, s.path(f))
		if !near(time.Duration(f.Duration), 4*time.Second, 200*time.Millisecond) {
			t.Errorf("%+v", f)
		}
	}

	for _, cfg := range []Config{{Formats: []string{MP3}}, {Formats: []string{FMP4, MP3}, Coder: (&jukebox{}).open}, {Formats: []string{MP3, TS}, Coder: (&jukebox{}).open}} {
		s.fill(&cfg)
		if err := Run(t.Context(), cfg); !errors.Is(err, media.ErrInvalid) {
			t.Errorf("%v: %v", cfg.Formats, err)
		}
	}
}

// An MP3 file that is cut anywhere plays to its last whole frame, also when a power
// failure has left it longer than what was written.
func TestRecoverMP3(t *testing.T) {
	frames := mp3Frames(t, beeping, 2)[:20]
	whole := bytes.Join(frames, nil)
	n := len(frames[0])
	for cut := range len(whole) + 1 {
		b, d := recovered(t, MP3, whole[:cut])
		if len(b) != cut/n*n || d != time.Duration(cut/n)*mp3Span {
			t.Fatalf("cut at %d: %d bytes of %v", cut, len(b), d)
		}
	}
	b, d := recovered(t, MP3, append(bytes.Clone(whole), make([]byte, 5*n+7)...))
	if !bytes.Equal(b, whole) || d != 20*mp3Span {
		t.Errorf("with zeros behind it: %d bytes of %v, want %d", len(b), d, len(whole))
	}
	name := filepath.Join(t.TempDir(), "cut.mp3")
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	decodes(t, name)
}
