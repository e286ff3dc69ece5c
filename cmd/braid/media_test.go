package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"image"
	"image/color"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// A clip is a short film that a test can recognise in what comes out of the
// server: each picture carries its number and the clip's id, and the sound is a
// tone of its own.
//
//	┌──┬──┬──────────┬────┬─┬──┬───┐  strip: 20 cells of W/20, a block of white,
//	│##│  │ counter  │ id │p│##│   │  a block of black, 10 bits, 4 bits, parity
//	├──┴──┴──────────┴────┴─┴──┴───┤
//	│  colour of the clip, a moving │  flash clips turn white below the strip
//	│  wave and a bouncing block    │  for the first 1/15 s of each second
//	└───────────────────────────────┘
type clip struct {
	ID      int // 0 to 15
	W, H    int // W divisible by 40
	FPS     int
	Seconds int     // the clip loops; Seconds*FPS <= 1024
	Tone    float64 // Hz, whole, so that the loop has no click; 0: silence
	Flash   bool    // white flash and 1 kHz beep at each full second
	Speech  string  // spoken by espeak-ng instead of the tone, by a person who is drawn instead of the pattern
	Kbps    int     // of the pictures; 0: 900
}

const (
	stripCells  = 20
	counterBits = 10
	idBits      = 4
	flashTime   = time.Second / 15 // two pictures at 30 fps
	sampleRate  = 48000
)

// clipFiles are the forms of a clip that tests feed to clients.
type clipFiles struct {
	MJPEG, WAV string // Chromium's fake devices
	H264       string // Annex B, constrained baseline, no B-frames, SPS and PPS at each IDR, one IDR a second
	VP8        string // IVF
	Opus       string // Ogg, 20 ms packets
	H265       string // Annex B, one slice a picture; only where a test has made it
}

// strip is the text of a barcode: white, black, counter, id, parity, white.
func (c clip) strip(n int) (cells [stripCells]bool) {
	cells[0] = true
	parity := false
	put := func(at, bits, v int) {
		for i := range bits {
			bit := v>>i&1 == 1
			cells[at+i] = bit
			parity = parity != bit
		}
	}
	put(2, counterBits, n)
	put(2+counterBits, idBits, c.ID)
	cells[2+counterBits+idBits] = parity
	cells[3+counterBits+idBits] = true
	return cells
}

func (c clip) flashing(n int) bool {
	return c.Flash && time.Duration(n%c.FPS)*time.Second/time.Duration(c.FPS) < flashTime
}

// luma is the brightness of picture n: what a test compares with.
func (c clip) luma(n int) []byte {
	y := make([]byte, c.W*c.H)
	wave := make([]byte, c.W+c.H)
	for i := range wave {
		wave[i] = byte(110 + 50*math.Sin(float64(i)*2*math.Pi/float64(c.W)*(1.5+float64(c.ID))+float64(n)*0.12))
	}
	for row := range c.H {
		copy(y[row*c.W:(row+1)*c.W], wave[row:])
	}
	size := c.H / 5
	bounce := func(v, limit int) int { return limit - abs(v%(2*limit)-limit) }
	left, top := bounce(n*4+c.ID*37, c.W-size), c.stripHeight()+bounce(n*3+c.ID*53, c.H-c.stripHeight()-size)
	fill(y, c.W, left, top, size, size, 220)
	if c.flashing(n) {
		fill(y, c.W, 0, 0, c.W, c.H, 235)
	} else if c.Flash {
		fill(y, c.W, 0, 0, c.W, c.H, 40) // dark between the flashes: the edge is sharp
	}
	cell := c.W / stripCells
	for i, white := range c.strip(n) {
		v := byte(16)
		if white {
			v = 235
		}
		fill(y, c.W, i*cell, 0, cell, c.stripHeight(), v)
	}
	return y
}

func (c clip) stripHeight() int { return c.H * 32 / 360 &^ 1 }

// person draws someone who speaks: a head that nods a little, and a mouth as
// open as the voice is loud. It has no strip.
func (c clip) person(n int, loudness []float64) []byte {
	img := image.NewYCbCr(image.Rect(0, 0, c.W, c.H), image.YCbCrSubsampleRatio420)
	h := float64(c.H)
	ellipse := func(x, y, rx, ry float64, r, g, b uint8) {
		yy, cb, cr := color.RGBToYCbCr(r, g, b)
		for row := max(0, int(y-ry)); row < min(c.H, int(y+ry)+1); row++ {
			half := rx * math.Sqrt(max(0, 1-(float64(row)-y)*(float64(row)-y)/(ry*ry)))
			for col := max(0, int(x-half)); col < min(c.W, int(x+half)); col++ {
				img.Y[img.YOffset(col, row)] = yy
				img.Cb[img.COffset(col, row)], img.Cr[img.COffset(col, row)] = cb, cr
			}
		}
	}
	shirts := [][3]uint8{{38, 70, 83}, {94, 60, 108}, {156, 74, 48}, {54, 100, 139}}
	walls := [][3]uint8{{233, 220, 201}, {196, 214, 224}, {214, 226, 200}, {229, 208, 214}}
	wall, shirt := walls[c.ID%4], shirts[c.ID%4]
	for row := range c.H {
		shade := 1 - 0.25*float64(row)/h
		line := [3]uint8{uint8(float64(wall[0]) * shade), uint8(float64(wall[1]) * shade), uint8(float64(wall[2]) * shade)}
		yy, cb, cr := color.RGBToYCbCr(line[0], line[1], line[2])
		for col := range c.W {
			img.Y[img.YOffset(col, row)] = yy
			img.Cb[img.COffset(col, row)], img.Cr[img.COffset(col, row)] = cb, cr
		}
	}
	x := float64(c.W)/2 + h*0.02*math.Sin(float64(n)*0.05+float64(c.ID))
	y := h*0.45 + h*0.008*math.Sin(float64(n)*0.11)
	ellipse(x, h*1.05, h*0.38, h*0.35, shirt[0], shirt[1], shirt[2])
	ellipse(x, y+h*0.22, h*0.07, h*0.12, 214, 165, 135)
	ellipse(x, y-h*0.03, h*0.2, h*0.25, 74, 54, 44)
	ellipse(x, y+h*0.01, h*0.165, h*0.215, 226, 180, 150)
	ellipse(x, y-h*0.185, h*0.15, h*0.06, 74, 54, 44)
	open := 0.02
	if n%90 < 4 {
		open = 0.004 // a blink
	}
	for _, side := range []float64{-1, 1} {
		ellipse(x+side*h*0.065, y-h*0.03, h*0.02, h*open, 40, 34, 34)
	}
	ellipse(x, y+h*0.115, h*0.05, h*(0.008+0.05*loudness[n]), 122, 48, 48)
	return append(append(slices.Clone(img.Y), img.Cb...), img.Cr...)
}

// loudness is the level of a WAV file during each picture, 0 to 1.
func (c clip) loudness(wav string) ([]float64, error) {
	b, err := os.ReadFile(wav)
	if err != nil {
		return nil, err
	}
	at := bytes.Index(b, []byte("data"))
	if at < 0 {
		return nil, fmt.Errorf("%s has no data", wav)
	}
	pcm := b[at+8:]
	levels := make([]float64, c.Seconds*c.FPS)
	per := sampleRate / c.FPS
	for n := range levels {
		var sum float64
		for i := n * per; i < (n+1)*per && 2*i+1 < len(pcm); i++ {
			v := float64(int16(binary.LittleEndian.Uint16(pcm[2*i:]))) / 32768
			sum += v * v
		}
		levels[n] = min(1, math.Sqrt(sum/float64(per))*5)
	}
	return levels, nil
}

// yuv is picture n as planar 4:2:0; the colour is the clip's own.
func (c clip) yuv(n int) []byte {
	angle := float64(c.ID) * 2 * math.Pi / 7
	chroma := c.W / 2 * c.H / 2
	out := append(make([]byte, 0, c.W*c.H*3/2), c.luma(n)...)
	strip := c.stripHeight() / 2 * c.W / 2
	for _, v := range []float64{math.Cos(angle), math.Sin(angle)} {
		plane := bytes.Repeat([]byte{byte(128 + 60*v)}, chroma)
		for i := range strip {
			plane[i] = 128
		}
		out = append(out, plane...)
	}
	return out
}

func fill(y []byte, stride, left, top, w, h int, v byte) {
	for row := top; row < top+h; row++ {
		line := y[row*stride+left : row*stride+left+w]
		for i := range line {
			line[i] = v
		}
	}
}

func abs(v int) int { return max(v, -v) }

// pcm is the clip's sound: mono, 48 kHz.
func (c clip) pcm() []int16 {
	out := make([]int16, c.Seconds*sampleRate)
	for i := range out {
		var v float64
		switch {
		case c.Flash:
			if i%sampleRate < int(flashTime*sampleRate/time.Second) {
				v = math.Sin(2 * math.Pi * 1000 * float64(i) / sampleRate)
			}
		case c.Tone > 0:
			v = math.Sin(2 * math.Pi * c.Tone * float64(i) / sampleRate)
		}
		out[i] = int16(v * 8000) // -12 dBFS: four of them still fit into a mix
	}
	return out
}

func wavHeader(samples int) []byte {
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00")
	b = binary.LittleEndian.AppendUint32(b, sampleRate)
	b = binary.LittleEndian.AppendUint32(b, sampleRate*2)
	b = append(b, 2, 0, 16, 0)
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(samples*2))
	binary.LittleEndian.PutUint32(b[4:], uint32(36+samples*2))
	return b
}

// recipe changes with everything that changes the files, so that old ones are not reused.
const recipe = "4"

// make gives the clip's files. They are made once and kept in the user's cache
// directory under a name that depends on the recipe.
func (c clip) make(t testing.TB) clipFiles {
	t.Helper()
	need(t, "ffmpeg")
	if c.Speech != "" {
		need(t, "espeak-ng")
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %+v", recipe, c))
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	dir := filepath.Join(cache, "braid-test", hex.EncodeToString(sum[:8]))
	files := func(dir string) clipFiles {
		return clipFiles{dir + "/v.mjpeg", dir + "/a.wav", dir + "/v.h264", dir + "/v.ivf", dir + "/a.ogg", ""}
	}
	if _, err := os.Stat(dir); err == nil {
		return files(dir)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "making-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(work)
	if err := c.render(files(work)); err != nil {
		t.Fatalf("make clip %+v: %v", c, err)
	}
	// Two test processes may race; whoever comes second finds the name taken and uses the first's.
	if err := os.Rename(work, dir); err != nil {
		if _, statErr := os.Stat(dir); statErr != nil {
			t.Fatal(err)
		}
	}
	return files(dir)
}

func (c clip) render(f clipFiles) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if c.Speech != "" {
		if out, err := exec.CommandContext(ctx, "espeak-ng", "-s", "150", "-w", f.WAV+".espeak.wav", c.Speech).CombinedOutput(); err != nil {
			return fmt.Errorf("espeak-ng: %w: %s", err, out)
		}
		// Repeated up to the clip's length, so that the loop goes on talking.
		if out, err := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-stream_loop", "-1", "-i", f.WAV+".espeak.wav",
			"-t", fmt.Sprint(c.Seconds), "-ar", fmt.Sprint(sampleRate), "-ac", "1", f.WAV).CombinedOutput(); err != nil {
			return fmt.Errorf("ffmpeg: %w: %s", err, out)
		}
	} else {
		pcm := c.pcm()
		var b bytes.Buffer
		b.Write(wavHeader(len(pcm)))
		binary.Write(&b, binary.LittleEndian, pcm)
		if err := os.WriteFile(f.WAV, b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	levels, err := c.loudness(f.WAV)
	if err != nil {
		return err
	}
	gop, rate := fmt.Sprint(c.FPS), fmt.Sprint(cmp.Or(c.Kbps, 900), "k")
	cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error",
		"-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", fmt.Sprintf("%dx%d", c.W, c.H), "-r", fmt.Sprint(c.FPS), "-i", "pipe:0", "-i", f.WAV,
		"-map", "0:v", "-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p", "-f", "mjpeg", f.MJPEG,
		"-map", "0:v", "-c:v", "libx264", "-profile:v", "baseline", "-preset", "veryfast", "-bf", "0", "-g", gop, "-keyint_min", gop,
		"-sc_threshold", "0", "-threads", "1", "-b:v", rate, "-f", "h264", f.H264,
		"-map", "0:v", "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "0", "-lag-in-frames", "0", "-g", gop, "-b:v", rate, "-f", "ivf", f.VP8,
		"-map", "1:a", "-c:a", "libopus", "-b:a", "64k", "-ac", "2", "-application", "audio", "-frame_duration", "20", "-page_duration", "20000", "-f", "ogg", f.Opus)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		return err
	}
	w := bufio.NewWriterSize(stdin, 1<<20)
	for n := range c.Seconds * c.FPS {
		picture := c.yuv
		if c.Speech != "" {
			picture = func(n int) []byte { return c.person(n, levels) }
		}
		if _, err := w.Write(picture(n)); err != nil {
			break // ffmpeg says why
		}
	}
	w.Flush()
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("ffmpeg: %w: %s", err, complaints.Bytes())
	}
	return nil
}

// need skips a test whose outside program is missing, and says which.
func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed: script/setup.sh test installs it", p)
		}
	}
}

// TestClipsAreReadable proves the measuring tools on the clips themselves: each
// picture of each codec gives its number and id back, at full size and at a quarter.
func TestClipsAreReadable(t *testing.T) {
	c := clip{ID: 5, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 440}
	f := c.make(t)
	for _, file := range []string{f.MJPEG, f.H264, f.VP8} {
		for _, size := range [][2]int{{640, 360}, {160, 90}} {
			numbers := readBarcodes(t, file, rect{0, 0, 640, 360}, size, c.ID)
			if got, want := len(numbers), c.Seconds*c.FPS; got != want {
				t.Fatalf("%s at %v: got %d pictures, want %d", filepath.Base(file), size, got, want)
			}
			for i, n := range numbers {
				if n != i {
					t.Fatalf("%s at %v: picture %d reads as %d", filepath.Base(file), size, i, n)
				}
			}
		}
	}
	units, err := accessUnits(f.H264)
	if err != nil || len(units) != c.Seconds*c.FPS {
		t.Errorf("%d access units, %v; want %d", len(units), err, c.Seconds*c.FPS)
	}
	frames, err := ivfFrames(f.VP8)
	if err != nil || len(frames) != c.Seconds*c.FPS {
		t.Errorf("%d VP8 frames, %v; want %d", len(frames), err, c.Seconds*c.FPS)
	}
	packets, err := oggPackets(f.Opus)
	if err != nil || len(packets) < c.Seconds*50 || len(packets) > c.Seconds*50+2 { // and the coder's delay
		t.Errorf("%d Opus packets, %v; want %d of 20 ms", len(packets), err, c.Seconds*50)
	}
	for _, file := range []string{f.WAV, f.Opus} {
		sound := decodePCM(t, file)
		if got := toneLevel(sound, 440); got < -16 || got > -8 {
			t.Errorf("%s: 440 Hz at %.1f dBFS, want about -12", filepath.Base(file), got)
		}
		if got := toneLevel(sound, 660); got > -50 {
			t.Errorf("%s: 660 Hz at %.1f dBFS, want silence there", filepath.Base(file), got)
		}
	}
}

// TestFlashClipIsInTime shows that the offset measurement itself is exact: a
// flash clip muxed as it is has none.
func TestFlashClipIsInTime(t *testing.T) {
	c := clip{ID: 1, W: 640, H: 360, FPS: 30, Seconds: 10, Flash: true}
	f := c.make(t)
	for _, delay := range []time.Duration{0, 80 * time.Millisecond} {
		file := filepath.Join(t.TempDir(), "flash.mkv")
		command(t, time.Minute, "ffmpeg", "-nostdin", "-v", "error", "-framerate", "30", "-i", f.H264,
			"-itsoffset", fmt.Sprint(delay.Seconds()), "-i", f.WAV, "-c:v", "copy", "-c:a", "pcm_s16le", file)
		offsets := avOffsets(t, file, rect{0, 0, 640, 360})
		if len(offsets) < 8 {
			t.Fatalf("delay %v: %d flashes with a beep found, want at least 8", delay, len(offsets))
		}
		for _, o := range offsets {
			if (o - delay).Abs() > 5*time.Millisecond {
				t.Errorf("delay %v: measured %v", delay, o)
			}
		}
	}
}
