//go:build cgo

package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"braid/media"
)

// ffmpeg runs the ffmpeg program, the other implementation that every test here
// compares with, and returns what it wrote to its standard output.
func ffmpeg(t testing.TB, stdin []byte, args ...string) []byte {
	t.Helper()
	return run(t, stdin, "ffmpeg", append([]string{"-nostdin", "-v", "error", "-y"}, args...)...)
}

func run(t testing.TB, stdin []byte, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil || errs.Len() > 0 {
		t.Fatalf("%s %q: %v\n%s", name, args, err, errs.String())
	}
	return out.Bytes()
}

// A clip is a coded stream as ffmpeg made it.
type clip struct {
	codec media.Codec
	w, h  int
	file  []byte
	units [][][]byte // access units
}

// makeClip lets ffmpeg code n pictures of a moving test picture.
func makeClip(t testing.TB, c media.Codec, w, h, n int, args ...string) clip {
	t.Helper()
	in := []string{"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%dx%d:rate=30,noise=alls=6:allf=t", w, h), "-frames:v", fmt.Sprint(n), "-threads", "1", "-filter_threads", "1"}
	if c == media.VP8 {
		in = append(in, "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "600k", "-g", "300")
		file := ffmpeg(t, nil, append(append(in, args...), "-f", "ivf", "-")...)
		return clip{c, w, h, file, splitIVF(t, file)}
	}
	switch c {
	case media.VP9:
		in = append(in, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "600k", "-g", "300", "-lag-in-frames", "0", "-pix_fmt", "yuv420p")
	case media.AV1:
		in = append(in, "-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-b:v", "600k", "-g", "300", "-lag-in-frames", "0", "-pix_fmt", "yuv420p")
	case media.H265:
		in = append(in, "-c:v", "libx265", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "300", "-pix_fmt", "yuv420p",
			"-x265-params", "aud=1:bframes=0:log-level=none:repeat-headers=1:pools=none:frame-threads=1")
		file := ffmpeg(t, nil, append(append(in, args...), "-f", "hevc", "-")...)
		return clip{c, w, h, file, splitAnnexB(file, func(nal []byte) bool { return nal[0]>>1 == 35 })}
	default:
		in = append(in, "-c:v", "libx264", "-preset", "superfast", "-bf", "0", "-g", "300", "-x264-params", "aud=1")
		file := ffmpeg(t, nil, append(append(in, args...), "-f", "h264", "-")...)
		return clip{c, w, h, file, splitAnnexB(file, func(nal []byte) bool { return nal[0]&0x1f == 9 })}
	}
	file := ffmpeg(t, nil, append(append(in, args...), "-f", "ivf", "-")...)
	return clip{c, w, h, file, splitIVF(t, file)}
}

// videoCodecs are all that a VideoDecoder takes.
var videoCodecs = []media.Codec{media.H264, media.VP8, media.VP9, media.AV1, media.H265}

// splitAnnexB cuts a stream with access unit delimiters.
func splitAnnexB(b []byte, delimits func(nal []byte) bool) [][][]byte {
	var aus [][][]byte
	for _, nal := range bytes.Split(b, []byte{0, 0, 1}) {
		nal = bytes.TrimRight(nal, "\x00")
		if len(nal) == 0 {
			continue
		}
		if delimits(nal) {
			aus = append(aus, nil)
			continue
		}
		aus[len(aus)-1] = append(aus[len(aus)-1], nal)
	}
	return aus
}

func splitIVF(t testing.TB, b []byte) [][][]byte {
	t.Helper()
	var aus [][][]byte
	for b = b[32:]; len(b) > 0; {
		n := 12 + int(binary.LittleEndian.Uint32(b))
		aus = append(aus, [][]byte{b[12:n]})
		b = b[n:]
	}
	return aus
}

// raw decodes with ffmpeg to planar 4:2:0 without padding.
func (c clip) raw(t testing.TB, args ...string) []byte {
	t.Helper()
	format := map[media.Codec]string{media.H264: "h264", media.H265: "hevc"}[c.codec]
	if format == "" {
		format = "ivf"
	}
	file := filepath.Join(t.TempDir(), "clip")
	if err := os.WriteFile(file, c.file, 0o600); err != nil {
		t.Fatal(err)
	}
	return ffmpeg(t, nil, append(append([]string{"-f", format, "-i", file}, args...), "-f", "rawvideo", "-")...)
}

// pack is the picture without padding, as raw video files have it.
func pack(p *Picture) []byte {
	var out []byte
	add := func(plane []byte, stride, w, h int) {
		for y := range h {
			out = append(out, plane[y*stride:][:w]...)
		}
	}
	add(p.Y, p.YStride, p.W, p.H)
	add(p.U, p.UStride, (p.W+1)/2, (p.H+1)/2)
	add(p.V, p.VStride, (p.W+1)/2, (p.H+1)/2)
	return out
}

// unpack reads one raw picture.
func unpack(w, h int, b []byte) *Picture {
	p := NewPicture(w, h)
	c := (w / 2) * (h / 2)
	plainCopy(p, &Picture{W: w, H: h, Y: b, U: b[w*h:], V: b[w*h+c:], YStride: w, UStride: w / 2, VStride: w / 2})
	return p
}

// testPictures are n raw pictures of ffmpeg's moving test picture.
func testPictures(t testing.TB, w, h, n int, source string) []*Picture {
	t.Helper()
	raw := ffmpeg(t, nil, "-f", "lavfi", "-i", fmt.Sprintf(source, w, h), "-frames:v", fmt.Sprint(n), "-pix_fmt", "yuv420p", "-f", "rawvideo", "-")
	size := w * h * 3 / 2
	if len(raw) != n*size {
		t.Fatalf("ffmpeg gave %d bytes, want %d pictures of %d", len(raw), n, size)
	}
	pics := make([]*Picture, n)
	for i := range pics {
		pics[i] = unpack(w, h, raw[i*size:])
	}
	return pics
}

const movingNoise = "testsrc2=size=%dx%d:rate=30,noise=alls=6:allf=t"

func psnr(a, b []byte) float64 {
	sum := 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255*float64(len(a))/sum)
}

// resident is the process's resident memory in MiB.
func resident(t testing.TB) float64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages float64
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * float64(os.Getpagesize()) / (1 << 20)
}

// reportCPU adds the CPU time of an operation, of all threads, to a benchmark:
// on a busy machine the only figure that holds.
func reportCPU(b *testing.B) {
	b.Helper()
	used := func() float64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e6
	}
	before := used()
	b.Cleanup(func() { b.ReportMetric((used()-before)/float64(b.N), "cpu-ms/op") })
}

func newDecoder(t testing.TB, c media.Codec, w, h int) *VideoDecoder {
	t.Helper()
	d, err := NewVideoDecoder(c, w, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func newEncoder(t testing.TB, p VideoParams) *VideoEncoder {
	t.Helper()
	e, err := NewVideoEncoder(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}
