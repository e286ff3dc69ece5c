package h264

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func configs() map[string][]byte {
	high := bomb()
	base := bomb()
	base.Profile = 66
	pps := []byte{0x68, 0xce, 0x3c, 0x80}
	return map[string][]byte{
		"high":      DecoderConfig(high.nal(), pps),
		"baseline":  DecoderConfig(base.nal(), pps),
		"two sizes": {1, 66, 0, 31, 0xfd, 0xe2, 0, 1, 0x67, 0, 2, 0x67, 1, 0},
	}
}

func TestDecoderConfig(t *testing.T) {
	s := bomb()
	s.BitDepthLuma, s.BitDepthChroma, s.ChromaFormat = 10, 9, 2
	sps, pps := s.nal(), []byte{0x68, 0xce, 0x3c, 0x80}
	got := DecoderConfig(sps, pps)
	want := append([]byte{1, 100, 0, 31, 0xff, 0xe1, 0, byte(len(sps))}, sps...)
	want = append(append(want, 1, 0, 4), pps...)
	want = append(want, 0xfe, 0xfa, 0xf9, 0)
	if !bytes.Equal(got, want) {
		t.Fatalf("high: got %x, want %x", got, want)
	}
	gotSPS, gotPPS, size, err := ParseDecoderConfig(got)
	if err != nil || size != 4 || !equal(gotSPS, [][]byte{sps}) || !equal(gotPPS, [][]byte{pps}) {
		t.Fatalf("parsed: %x, %x, %d, %v", gotSPS, gotPPS, size, err)
	}

	s = bomb()
	s.Profile = 77
	if got := DecoderConfig(s.nal(), pps); !bytes.HasSuffix(got, pps) {
		t.Fatalf("main: got %x, want it to end with the PPS", got)
	}
	for name, got := range map[string][]byte{
		"no SPS": DecoderConfig(nil, pps), "no PPS": DecoderConfig(sps, nil), "exchanged": DecoderConfig(pps, sps),
		"too long": DecoderConfig(append(sps, make([]byte, 0xffff)...), pps),
	} {
		if got != nil {
			t.Errorf("%s: got %x, want nil", name, got)
		}
	}
}

// TestDecoderConfigReal compares with the record that ffmpeg writes into MP4.
func TestDecoderConfigReal(t *testing.T) {
	for _, c := range []struct{ pix, profile string }{
		{"yuv420p", "baseline"}, {"yuv420p", "high"}, {"yuv422p", "high422"}, {"yuv420p10le", "high10"},
	} {
		stream := encode(t, "322x182", c.pix, c.profile, "")
		file := filepath.Join(t.TempDir(), "a.mp4")
		cmd := exec.Command("ffmpeg", "-v", "error", "-f", "h264", "-i", "-", "-c", "copy", file)
		cmd.Stdin = bytes.NewReader(stream)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("ffmpeg: %v: %s", err, out)
		}
		box := readBox(t, file)
		if got := DecoderConfig(firstOf(t, stream, TypeSPS), firstOf(t, stream, TypePPS)); !bytes.HasPrefix(box, got) {
			t.Errorf("%s: got %x, ffmpeg writes %x", c.profile, got, box)
		}
	}
}

func TestParseDecoderConfigErrors(t *testing.T) {
	for name, b := range configs() {
		sps, pps, _, err := ParseDecoderConfig(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		end := 7
		for _, s := range sps {
			end += 2 + len(s)
		}
		for _, p := range pps {
			end += 2 + len(p)
		}
		for n := range end {
			if _, _, _, err := ParseDecoderConfig(b[:n]); err == nil {
				t.Errorf("%s cut to %d of %d bytes: want an error", name, n, end)
			}
		}
	}
	for _, b := range [][]byte{{2, 66, 0, 31, 0xff, 0xe0, 0}, {1, 66, 0, 31, 0xfe, 0xe0, 0}} {
		if _, _, _, err := ParseDecoderConfig(b); err == nil {
			t.Errorf("%x: want an error", b)
		}
	}
}

func FuzzParseDecoderConfig(f *testing.F) {
	for _, b := range configs() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sps, pps, size, err := ParseDecoderConfig(b)
		if err != nil {
			return
		}
		if size != 1 && size != 2 && size != 4 || len(sps) > 31 || len(pps) > 255 {
			t.Fatalf("got %d, %d sets, length size %d", len(sps), len(pps), size)
		}
		if len(sps) == 0 || len(pps) == 0 {
			return
		}
		c := DecoderConfig(sps[0], pps[0])
		if c == nil {
			return
		}
		again, _, _, err := ParseDecoderConfig(c)
		if err != nil || !equal(again, sps[:1]) {
			t.Fatalf("again: got %x, %v, want %x", again, err, sps[0])
		}
	})
}

// readBox is what follows the avcC box's name in an MP4 file.
func readBox(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(b, []byte("avcC"))
	if i < 0 {
		t.Fatal("no avcC box")
	}
	return b[i+4:]
}
