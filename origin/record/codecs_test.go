package record

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"braid/media/flv"
	"braid/media/h264"
	"braid/media/h265"
)

// enhanced makes the tags of Enhanced RTMP (version 2, ExVideoTagHeader) of a test
// picture in a codec, six seconds at 25 a second, a key frame each second.
func enhanced(t *testing.T, fourCC, record string, key func([]byte) bool, units func(*testing.T, string) [][]byte, args ...string) []*flv.Tag {
	t.Helper()
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.mp4")
	all := append([]string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=6", "-pix_fmt", "yuv420p", "-g", "25"}, args...)
	ffmpeg(t, append(all, whole)...)
	b, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte(record))
	if at < 4 {
		t.Fatalf("no %s in the file", record)
	}
	config := b[at+4 : at-4+int(binary.BigEndian.Uint32(b[at-4:]))]
	tag := func(ms int, head byte, body []byte) *flv.Tag {
		return &flv.Tag{Type: flv.Video, Timestamp: uint32(ms), Payload: append(append([]byte{head}, fourCC...), body...)}
	}
	tags := []*flv.Tag{tag(0, 0x90, config)}
	for i, unit := range units(t, whole) {
		head := byte(0xa0)
		if key(unit) {
			head = 0x90
		}
		if fourCC == "hvc1" {
			head |= 3 // without composition time
		} else {
			head |= 1
		}
		tags = append(tags, tag(i*40, head, unit))
	}
	return tags
}

// hevcUnits are access units with lengths, their delimiters taken out.
func hevcUnits(t *testing.T, mp4 string) (all [][]byte) {
	raw := ffmpeg(t, "-v", "error", "-i", mp4, "-c", "copy", "-bsf:v", "hevc_mp4toannexb,hevc_metadata=aud=insert", "-f", "hevc", "-")
	for _, nal := range h264.SplitAnnexB(nil, raw) {
		switch {
		case h265.Type(nal) == h265.TypeAUD:
			all = append(all, nil)
		default:
			all[len(all)-1] = h264.AppendAVCC(all[len(all)-1], [][]byte{nal})
		}
	}
	return all
}

// ivfUnits are the frames of an IVF file; AV1's without their temporal delimiters.
func ivfUnits(t *testing.T, mp4 string) (all [][]byte) {
	raw := ffmpeg(t, "-v", "error", "-i", mp4, "-c", "copy", "-f", "ivf", "-")
	for rest := raw[32:]; len(rest) > 12; {
		n := int(binary.LittleEndian.Uint32(rest))
		all = append(all, bytes.TrimPrefix(rest[12:12+n], []byte{0x12, 0}))
		rest = rest[12+n:]
	}
	return all
}

// Streams of newer codecs are recorded as they came.
func TestCodecs(t *testing.T) {
	nth := func() func([]byte) bool { // each 25th is a key frame
		n := -1
		return func([]byte) bool { n++; return n%25 == 0 }
	}
	for _, c := range []struct {
		fourCC, record, codec, name string
		units                       func(*testing.T, string) [][]byte
		args                        []string
		ts                          int // files
	}{
		{"hvc1", "hvcC", "H265", "hevc", hevcUnits, []string{"-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1",
			"-x265-params", "bframes=0:keyint=25:min-keyint=25:scenecut=0:log-level=none"}, 1},
		{"av01", "av1C", "AV1", "av1", ivfUnits, []string{"-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-lag-in-frames", "0", "-keyint_min", "25"}, 0},
		{"vp09", "vpcC", "VP9", "vp9", ivfUnits, []string{"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", "-auto-alt-ref", "0", "-keyint_min", "25"}, 0},
	} {
		t.Run(c.codec, func(t *testing.T) {
			tags := enhanced(t, c.fourCC, c.record, nth(), c.units, c.args...)
			s := newStudio(t, nil)
			s.record(Config{Formats: []string{FMP4, TS}}, tags)
			files := s.files(FMP4)
			if len(files) != 1 || len(s.files(TS)) != c.ts {
				t.Fatalf("%d MP4 and %d TS files, want 1 and %d", len(files), len(s.files(TS)), c.ts)
			}
			for _, f := range append(files, s.files(TS)...) {
				decodes(t, s.path(f))
				p := inspect(t, s.path(f))
				if v := p.Streams[0]; v.Codec != c.name || v.Width != 320 || v.Height != 180 || len(p.times(t, "video")) != 150 {
					t.Errorf("%s: %s %dx%d, %d pictures", f.Name, v.Codec, v.Width, v.Height, len(p.times(t, "video")))
				}
				if string(f.Video) != c.codec || f.Width != 320 || f.Height != 180 || !near(time.Duration(f.Duration), 6*time.Second, 50*time.Millisecond) {
					t.Errorf("%+v", f)
				}
			}
		})
	}
	// What no format of a recording carries is told, once.
	s := newStudio(t, nil)
	s.record(Config{Formats: []string{TS}}, enhanced(t, "vp09", "vpcC", nth(), ivfUnits, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"))
	if got := s.events.kinds(); got != "failed ended" {
		t.Errorf("VP9 as MPEG-TS: told %q", got)
	}
}

// Opus stands in MP4 as it came; MPEG-TS has the pictures alone.
func TestOpus(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tone.opus")
	ffmpeg(t, "-v", "error", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=6", "-ac", "2", "-c:a", "libopus", file)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head := bytes.Index(b, []byte("OpusHead"))
	tag := func(ms int, how byte, body []byte) *flv.Tag {
		return &flv.Tag{Type: flv.Audio, Timestamp: uint32(ms), Payload: append(append([]byte{0x90 | how}, "Opus"...), body...)}
	}
	sounds := []*flv.Tag{tag(0, 0, b[head:head+19])}
	raw := ffmpeg(t, "-v", "error", "-i", file, "-map", "0:a", "-c", "copy", "-f", "data", "-")
	for i, p := range inspect(t, file).Packets {
		n, err := strconv.Atoi(p.Size)
		if err != nil {
			t.Fatal(err)
		}
		sounds, raw = append(sounds, tag(i*20, 1, raw[:n])), raw[n:]
	}
	tags := append(sounds, clip(t, pictures(6, "160x90", 25, "-bf", "0")...)...)
	slices.SortStableFunc(tags, func(a, b *flv.Tag) int { return cmp.Compare(a.Timestamp, b.Timestamp) })
	s := newStudio(t, nil)
	s.record(Config{Formats: []string{FMP4, TS}}, tags)
	for format, codecs := range map[string]string{FMP4: "h264 opus ", TS: "h264 "} {
		for _, f := range s.files(format) {
			decodes(t, s.path(f))
			p := inspect(t, s.path(f))
			got := ""
			for _, st := range p.Streams {
				got += st.Codec + " "
			}
			if n := len(p.times(t, "audio")); got != codecs || format == FMP4 && (n < 299 || string(f.Audio) != "opus") {
				t.Errorf("%s: %s with %d sounds, %+v", f.Name, got, n, f)
			}
		}
	}
}
