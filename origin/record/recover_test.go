package record

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// wholeFiles are finished files of both formats, by format.
func wholeFiles(t testing.TB, seconds int, size string) map[string][]byte {
	t.Helper()
	tags := clip(t, both(seconds, size, 25*min(seconds, 2), "-b:a", "8k")...)
	s := newStudio(t, nil)
	s.record(Config{Formats: []string{FMP4, TS}}, tags)
	all := map[string][]byte{}
	for _, format := range []string{FMP4, TS} {
		b, err := os.ReadFile(s.path(s.files(format)[0]))
		if err != nil {
			t.Fatal(err)
		}
		all[format] = b
	}
	return all
}

// A file that is cut short anywhere, in its end that is being finished, too, is
// made whole up to its last whole fragment.
func TestRecoverAnywhere(t *testing.T) {
	for format, whole := range wholeFiles(t, 6, "160x90") {
		full, most := recovered(t, format, whole)
		if !bytes.Equal(full, whole) || !near(most, 6*time.Second, 150*time.Millisecond) {
			t.Fatalf("%s: recovery changes a whole file, or takes it for %v", format, most)
		}
		last, lastSize, steps := time.Duration(0), 0, 0
		for cut := 0; cut < len(whole); cut += 1 + len(whole)/150 {
			b, d := recovered(t, format, whole[:cut])
			if d < last || len(b) > cut || len(b) < lastSize {
				t.Fatalf("%s cut at %d: %d bytes of %v, after %d of %v", format, cut, len(b), d, lastSize, last)
			}
			if d > last {
				steps++
				name := filepath.Join(t.TempDir(), "cut."+format)
				if err := os.WriteFile(name, b, 0o644); err != nil {
					t.Fatal(err)
				}
				decodes(t, name)
				p := inspect(t, name)
				if !near(p.duration(t), d, 150*time.Millisecond) {
					t.Errorf("%s cut at %d: %v, by ffprobe %v", format, cut, d, p.duration(t))
				}
			}
			last, lastSize = d, len(b)
		}
		if steps < 2 {
			t.Errorf("%s: %d different lengths", format, steps)
		}
	}
}

// memory is a file without a disk.
type memory struct{ b []byte }

func (m *memory) ReadAt(p []byte, at int64) (int, error) { return bytes.NewReader(m.b).ReadAt(p, at) }
func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	if int(at)+len(p) > len(m.b) {
		m.b = append(m.b, make([]byte, int(at)+len(p)-len(m.b))...)
	}
	return copy(m.b[at:], p), nil
}
func (m *memory) Truncate(n int64) error { m.b = m.b[:n]; return nil }
func (m *memory) Sync() error            { return nil }

// recovered is what recovery makes of a file's bytes; nil when it holds nothing.
func recovered(t testing.TB, format string, b []byte) ([]byte, time.Duration) {
	t.Helper()
	m := &memory{bytes.Clone(b)}
	size, d, err := recoverFile(m, int64(len(b)), format)
	if err != nil {
		t.Fatal(err)
	}
	if d == 0 {
		return nil, 0
	}
	if int64(len(m.b)) != size {
		t.Fatalf("the file has %d bytes, want %d", len(m.b), size)
	}
	return m.b, d
}

// Recovery of any bytes ends, keeps no more than there was, and is stable: what it
// made, it takes for whole.
func FuzzRecover(f *testing.F) {
	for format, b := range wholeFiles(f, 1, "16x16") {
		f.Add(format == TS, b)
		f.Add(format == TS, b[:len(b)/2])
		f.Add(format != TS, b[:len(b)/3])
	}
	f.Add(false, []byte{})
	f.Add(false, mp4Head(&forms{audio: &audioForm{codec: "AAC", config: []byte{0x11, 0x90}, rate: 48000, channels: 2, frame: 1024}}, time.Unix(0, 0), MinSegment))
	f.Add(true, appendMark(nil, 0, time.Second))
	f.Fuzz(func(t *testing.T, ts bool, b []byte) {
		format := FMP4
		if ts {
			format = TS
		}
		once, d := recovered(t, format, b)
		if len(once) > len(b) {
			t.Fatalf("%d bytes of %d", len(once), len(b))
		}
		if d == 0 {
			return
		}
		twice, again := recovered(t, format, once)
		if d != again || !bytes.Equal(once, twice) {
			t.Fatalf("%v and %d bytes, then %v and %d", d, len(once), again, len(twice))
		}
	})
}

// The same for MP3, whose frames are alike.
func FuzzRecoverMP3(f *testing.F) {
	frame := mp3Frames(f, "sine=frequency=440:sample_rate=48000:duration=1", 1)
	f.Add(bytes.Join(frame, nil))
	f.Add(bytes.Join(frame[:3], nil)[:500])
	f.Add(append(bytes.Join(frame[:3], nil), make([]byte, 1000)...))
	f.Add([]byte{0xff, 0xfb, 0x54})
	f.Add([]byte{0xff, 0xfb, 0xf4, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > mostHead {
			return // more than that without a frame is an error, not nothing
		}
		once, d := recovered(t, MP3, b)
		if len(once) > len(b) {
			t.Fatalf("%d bytes of %d", len(once), len(b))
		}
		if twice, again := recovered(t, MP3, once); d != 0 && (d != again || !bytes.Equal(once, twice)) {
			t.Fatalf("%v and %d bytes, then %v and %d", d, len(once), again, len(twice))
		}
	})
}

// Lines of the index's log that are not an index's are left out.
func FuzzJournal(f *testing.F) {
	f.Add(`{"id":"a","state":"open","name":"x/y.mp4","format":"fmp4"}` + "\n" + `{"id":"a","state":"gone","name":"x/y.mp4","format":"fmp4"}`)
	f.Add(`{"id":"a","state":"kept","name":"../../etc/passwd","format":"ts"}`)
	f.Add(`{"id":"a","state":"kept","name":"x.ts","format":"ts","duration":12,"begin":"2026-01-02T03:04:05Z"}` + "\n" + `{"id":"b","sta`)
	f.Fuzz(func(t *testing.T, text string) {
		files, err := parseJournal(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, file := range files {
			if !file.usable() || file.State == gone || strings.Contains(file.Name, "..") && strings.Contains("/"+file.Name+"/", "/../") {
				t.Fatalf("%+v", file)
			}
		}
	})
}
