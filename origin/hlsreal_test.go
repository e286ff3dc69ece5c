package origin

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"braid/media"
	"braid/media/av1"
	"braid/media/flv"
	"braid/media/h264"
	"braid/media/h265"
)

// encoders make 4 s of pictures, 25 a second, a key frame each second.
var encoders = map[media.Codec]struct {
	args   []string
	name   string // as ffprobe says it
	fourCC string // of Enhanced RTMP
}{
	media.H264: {[]string{"-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-x264-params", "aud=1:scenecut=0", "-f", "h264"}, "h264", "avc1"},
	media.H265: {[]string{"-c:v", "libx265", "-preset", "ultrafast", "-bf", "0", "-x265-params", "aud=1:scenecut=0:log-level=none", "-f", "hevc"}, "hevc", "hvc1"},
	media.AV1:  {[]string{"-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-lag-in-frames", "0", "-f", "obu"}, "av1", "av01"},
}

// encoded are the pictures of an encoder, each as its units.
func encoded(t *testing.T, codec media.Codec) (pictures [][][]byte) {
	t.Helper()
	e := encoders[codec]
	file := filepath.Join(t.TempDir(), "v")
	args := []string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25", "-t", "4", "-g", "25", "-pix_fmt", "yuv420p"}
	if out, err := exec.CommandContext(t.Context(), "ffmpeg", append(append(args, e.args...), file)...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if codec == media.AV1 {
		for len(b) > 0 {
			o, rest, ok := av1.ParseOBU(b)
			if !ok {
				t.Fatal("ffmpeg's OBUs break off")
			}
			if o.Type == av1.TypeTemporalDelimiter {
				pictures = append(pictures, [][]byte{nil})
			} else {
				unit := pictures[len(pictures)-1]
				unit[0] = append(unit[0], b[:len(b)-len(rest)]...)
			}
			b = rest
		}
		return pictures
	}
	for _, u := range h264.SplitAnnexB(nil, b) {
		if codec == media.H264 && h264.Type(u) == h264.TypeAUD || codec == media.H265 && h265.Type(u) == h265.TypeAUD {
			pictures = append(pictures, nil)
			continue
		}
		pictures[len(pictures)-1] = append(pictures[len(pictures)-1], u)
	}
	return pictures
}

// enhanced is a picture as a tag of Enhanced RTMP (version 2, ExVideoTagHeader).
func enhanced(codec media.Codec, units [][]byte, ms int, key bool) *flv.Tag {
	head, body := byte(0xa0), units[0]
	if key {
		head = 0x90
	}
	if codec == media.AV1 {
		head |= 1
	} else {
		head |= 3 // CodedFramesX: composition time 0
		body = h264.AppendAVCC(nil, units)
	}
	return &flv.Tag{Type: flv.Video, Timestamp: uint32(ms), Payload: append(append([]byte{head}, encoders[codec].fourCC...), body...)}
}

// sequenceStart is the sequence header that belongs to a key frame.
func sequenceStart(t *testing.T, codec media.Codec, key [][]byte) *flv.Tag {
	t.Helper()
	record := []byte{0x81, 0, 0, 0} // av1C: the key frames carry their sequence headers
	switch codec {
	case media.H264:
		record = h264.DecoderConfig(key[0], key[1])
	case media.H265:
		record = hvcC(key)
	}
	return &flv.Tag{Type: flv.Video, Payload: append(append([]byte{0x90}, encoders[codec].fourCC...), record...)}
}

// hvcC is an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 clause 8.3.2.1) of
// which a reader of parameter sets needs the length size and the arrays.
func hvcC(units [][]byte) []byte {
	b := make([]byte, 23)
	b[0], b[21] = 1, 3
	for _, u := range units {
		if typ := h265.Type(u); typ >= h265.TypeVPS && typ <= h265.TypePPS {
			b[22]++
			b = append(append(b, 0x80|typ, 0, 1, byte(len(u)>>8), byte(len(u))), u...)
		}
	}
	return b
}

// countFrames decodes a file with ffprobe and counts the frames of each codec.
func countFrames(t *testing.T, name string, b []byte) map[string]int {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", file)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Errorf("ffprobe %s: %v\n%s", name, err, stderr.Bytes())
	}
	var probed struct {
		Streams []struct {
			Codec  string `json:"codec_name"`
			Frames string `json:"nb_read_frames"`
		}
	}
	if err := json.Unmarshal(out, &probed); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, s := range probed.Streams {
		counts[s.Codec], _ = strconv.Atoi(s.Frames)
	}
	return counts
}

// TestRealSegments cuts real encoders' pictures and lets ffprobe decode each segment
// by itself, behind its initialization section: 25 pictures in each, no complaint.
func TestRealSegments(t *testing.T) {
	for _, tool := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	for codec, e := range encoders {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			pictures := encoded(t, codec)
			if len(pictures) != 100 {
				t.Fatalf("%d pictures, want 100", len(pictures))
			}
			for _, mp4 := range []bool{true, false} {
				s := newScript(mp4)
				s.tag(sequenceStart(t, codec, pictures[0]))
				for i, units := range pictures {
					s.tag(enhanced(codec, units, i*40, i%25 == 0))
				}
				s.flush()
				if codec == media.AV1 && !mp4 {
					if len(s.got) != 0 || s.problem == nil || !strings.Contains(s.problem.Error(), "fmp4.m3u8") {
						t.Errorf("AV1 in MPEG-TS: %d segments, %v, want a hint at fMP4", len(s.got), s.problem)
					}
					continue
				}
				if got := s.lengths(); got != "1000 1000 1000 1000" || s.problem != nil {
					t.Fatalf("mp4 %v: %s, problem %v", mp4, got, s.problem)
				}
				s.check(t, partTarget)
				for _, g := range s.got {
					var b []byte
					if g.init != nil {
						b = bytes.Clone(g.init.data)
					}
					for _, p := range g.parts {
						b = append(b, p.data...)
					}
					if got := countFrames(t, g.file(), b); len(got) != 1 || got[e.name] != 25 {
						t.Errorf("%s: %v, want 25 frames of %s", g.file(), got, e.name)
					}
				}
			}
		})
	}
}

// TestPartsOfSoundAndPictures: sound keeps its own clock, and parts come at their
// time with sound, too, when pictures are rare.
func TestPartsOfSoundAndPictures(t *testing.T) {
	s := newScript(true)
	s.header(avcHeader(30), 0)
	s.header(aacHeader(), 0)
	for i := range 300 { // 6.4 s of sound in frames of 1024 samples, rounded to a millisecond
		ms := i * 1024 * 1000 / 48000
		if i%94 == 0 { // a picture each two seconds
			s.tag(picture(ms, true))
		}
		s.tag(sound(ms))
	}
	s.flush()
	for i, g := range s.grown {
		p := g.parts[len(g.parts)-1]
		if p.duration > partTarget+23*1e6 {
			t.Errorf("part %d is %v long", i, p.duration)
		}
	}
	if len(s.got) < 3 || len(s.grown) < 20 {
		t.Fatalf("%d segments in %d parts", len(s.got), len(s.grown))
	}
	track := s.pack.(*mp4Packer).audio
	if want := int64(300 * 1024); track.next != want {
		t.Errorf("the sound ends at %d samples, want %d", track.next, want)
	}
}
