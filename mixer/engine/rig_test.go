package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"braid/media"
	"braid/media/codec"
	"braid/media/h264"
	"braid/media/h265"
	"braid/mixer/wire"
)

// rig is the server's side of a worker: it feeds inputs in real time and keeps
// all that comes back.
type rig struct {
	t    testing.TB
	conn *wire.Conn
	sock net.Conn
	zero time.Time
	ran  chan error // what Run returned

	mu      sync.Mutex
	outs    []*wire.Output
	needKey map[uint32]int
	failed  []*wire.Failed
	changed chan struct{} // closed and replaced at each message
	feeders sync.WaitGroup
}

const elapsed = 5 * time.Second // the server's timeline is older than the worker

// pair is a socket pair as the server makes it.
func pair(t testing.TB) (server, worker net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		if conns[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return conns[0], conns[1]
}

// newRig runs an engine in this process.
func newRig(t testing.TB) *rig {
	server, worker := pair(t)
	r := &rig{t: t, sock: server, ran: make(chan error, 1)}
	go func() { r.ran <- Run(context.Background(), worker, testLog(t)) }()
	r.greet()
	return r
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// greet says Hello and reads in the background until the socket closes.
func (r *rig) greet() {
	r.conn, r.needKey, r.changed = wire.NewConn(r.sock), make(map[uint32]int), make(chan struct{})
	r.zero = time.Now().Add(-elapsed)
	r.send(&wire.Hello{Version: wire.Version, Elapsed: elapsed, MaxWidth: 1280, MaxHeight: 720})
	msg, err := r.conn.Read()
	if ready, ok := msg.(*wire.Ready); !ok || ready.Version != wire.Version {
		r.t.Fatalf("got %+v, %v, want Ready", msg, err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		r.read()
	}()
	r.t.Cleanup(func() {
		r.sock.Close()
		select {
		case err := <-r.ran:
			if err != nil {
				r.t.Errorf("worker ended with %v, want nil", err)
			}
		case <-time.After(20 * time.Second):
			r.t.Error("worker does not end when its socket closes")
		}
		<-read
		r.feeders.Wait()
	})
}

func (r *rig) read() {
	for {
		msg, err := r.conn.Read()
		if err != nil {
			return
		}
		r.mu.Lock()
		switch m := msg.(type) {
		case *wire.Output:
			r.outs = append(r.outs, m)
		case *wire.NeedKey:
			r.needKey[m.Input]++
		case *wire.Failed:
			r.failed = append(r.failed, m)
		}
		close(r.changed)
		r.changed = make(chan struct{})
		r.mu.Unlock()
	}
}

func (r *rig) now() time.Duration { return time.Since(r.zero) }

func (r *rig) send(msgs ...any) {
	for _, m := range msgs {
		if err := r.conn.Write(m); err != nil && !r.t.Failed() {
			r.t.Logf("send %T: %v", m, err)
		}
	}
}

// wait returns when cond, called with the lock held, is true.
func (r *rig) wait(what string, cond func() bool) {
	r.t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		r.mu.Lock()
		ok, changed := cond(), r.changed
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			r.mu.Lock()
			defer r.mu.Unlock()
			r.t.Fatalf("no %s within 30 s; %d outputs, key frames asked %v, failed %+v", what, len(r.outs), r.needKey, r.failed)
		}
	}
}

// until waits for output id to reach time t on the server's timeline.
func (r *rig) until(id uint32, c media.Codec, t time.Duration) {
	r.t.Helper()
	r.wait(fmt.Sprintf("%s of output %d at %v", c, id, t), func() bool {
		for i := len(r.outs) - 1; i >= 0; i-- {
			if o := r.outs[i]; o.Output == id && o.Codec == c && o.PTS >= t {
				return true
			}
		}
		return false
	})
}

// of are the access units of an output so far; their PTS must rise.
func (r *rig) of(id uint32, c media.Codec) (outs []*wire.Output) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.outs {
		if o.Output != id || o.Codec != c {
			continue
		}
		if n := len(outs); n > 0 && o.PTS <= outs[n-1].PTS {
			r.t.Fatalf("output %d %s: PTS %v after %v", id, c, o.PTS, outs[n-1].PTS)
		}
		outs = append(outs, o)
	}
	return outs
}

// feed sends frames in real time, each at its PTS + late, on a goroutine.
func (r *rig) feed(input uint32, frames []*wire.Media, late func(i int) time.Duration) {
	r.feeders.Add(1)
	go func() {
		defer r.feeders.Done()
		for i, m := range frames {
			at := m.PTS
			if late != nil {
				at += late(i)
			}
			<-time.After(at - r.now())
			copied := *m
			copied.Input = input
			if r.conn.Write(&copied) != nil {
				return
			}
		}
	}()
}

// clip is a coded video: one H.264 access unit or VP8 frame each 1/fps.
type clip struct {
	name  int
	w, h  int
	fps   int
	units [][][]byte
	keys  []bool
}

// at gives the clip's frames with PTS from start on.
func (c *clip) at(start time.Duration) []*wire.Media {
	var frames []*wire.Media
	for i, u := range c.units {
		frames = append(frames, &wire.Media{PTS: start + tickTime(int64(i), c.fps), Key: c.keys[i], Units: u})
	}
	return frames
}

// paint draws frame n of clip name: a colour that tells the name, a moving
// ramp, and n as a barcode of bits blocks from the picture's middle down.
func paint(p *codec.Picture, name, n int) {
	p.Fill(128, byte(40+name*41%180), byte(200-name*67%170))
	ramp := make([]byte, 2*p.W+4*n%256)
	for i := range ramp {
		ramp[i] = byte(60 + i*120/len(ramp))
	}
	for y := range p.H {
		copy(p.Y[y*p.YStride:y*p.YStride+p.W], ramp[(y/2+n*3)%p.W:])
	}
	for b := range barBits {
		x, y, side := barcode(p.W, p.H, b)
		v := byte(30)
		if n>>b&1 == 1 {
			v = 220
		}
		for row := y; row < y+side; row++ {
			for col := x; col < x+side; col++ {
				p.Y[row*p.YStride+col] = v
			}
		}
	}
}

const barBits = 8

// barcode is where bit b's block is in a picture of w x h.
func barcode(w, h, b int) (x, y, side int) {
	side = w / 10 &^ 1
	return w/10 + b*side, h/2 - side/2, side
}

// number reads the barcode.
func number(p *codec.Picture) (n int) {
	for b := range barBits {
		x, y, side := barcode(p.W, p.H, b)
		if mean(p.Crop((x+side/4)&^1, (y+side/4)&^1, side/2, side/2)) > 125 {
			n |= 1 << b
		}
	}
	return n
}

func mean(p *codec.Picture) float64 {
	sum := 0
	for y := range p.H {
		for _, v := range p.Y[y*p.YStride : y*p.YStride+p.W] {
			sum += int(v)
		}
	}
	return float64(sum) / float64(p.W*p.H)
}

// colour is the mean of both chroma planes.
func colour(p *codec.Picture) (u, v int) {
	w, h := p.W/2, p.H/2
	for y := range h {
		for x := range w {
			u += int(p.U[y*p.UStride+x])
			v += int(p.V[y*p.VStride+x])
		}
	}
	return u / (w * h), v / (w * h)
}

// psnr of the luma of two pictures of one size, in dB.
func psnr(a, b *codec.Picture) float64 {
	var sum float64
	for y := range a.H {
		for x := range a.W {
			d := float64(a.Y[y*a.YStride+x]) - float64(b.Y[y*b.YStride+x])
			sum += d * d
		}
	}
	if sum == 0 {
		return 100
	}
	return 10 * math.Log10(255*255*float64(a.W*a.H)/sum)
}

// h264Clip codes n frames at 30 fps.
func h264Clip(t testing.TB, name, w, h, n int) *clip {
	t.Helper()
	enc, err := codec.NewVideoEncoder(codec.VideoParams{Width: w, Height: h, FPS: 30, Kbps: w * h / 80, GOP: 300})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	c := &clip{name: name, w: w, h: h, fps: 30}
	p := codec.NewPicture(w, h)
	for i := range n {
		paint(p, name, i)
		units, key, err := enc.Encode(p, i == 0)
		if err != nil {
			t.Fatal(err)
		}
		c.units, c.keys = append(c.units, units), append(c.keys, key)
	}
	return c
}

// clipOf is h264Clip's twin for each codec, by an encoder in ffmpeg.
func clipOf(t testing.TB, c media.Codec, name, w, h, n int) *clip {
	t.Helper()
	if c == media.H264 {
		return h264Clip(t, name, w, h, n)
	}
	var raw bytes.Buffer
	p := codec.NewPicture(w, h)
	for i := range n {
		paint(p, name, i)
		for _, plane := range []struct {
			b            []byte
			stride, w, h int
		}{{p.Y, p.YStride, w, h}, {p.U, p.UStride, w / 2, h / 2}, {p.V, p.VStride, w / 2, h / 2}} {
			for y := range plane.h {
				raw.Write(plane.b[y*plane.stride : y*plane.stride+plane.w])
			}
		}
	}
	encoder := map[media.Codec][]string{
		media.VP8:  {"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", "-auto-alt-ref", "0", "-f", "ivf"},
		media.VP9:  {"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", "-f", "ivf"},
		media.AV1:  {"-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", "-f", "ivf"},
		media.H265: {"-c:v", "libx265", "-preset", "ultrafast", "-tune", "zerolatency", "-x265-params", "aud=1:bframes=0:log-level=none:repeat-headers=1", "-f", "hevc"},
	}[c]
	coded := ffmpeg(t, raw.Bytes(), append(append([]string{"-f", "rawvideo", "-pix_fmt", "yuv420p", "-r", "30", "-s", fmt.Sprintf("%dx%d", w, h), "-i", "-",
		"-b:v", "800k", "-g", "300"}, encoder...), "-")...)
	made := &clip{name: name, w: w, h: h, fps: 30}
	if c == media.H265 {
		for _, u := range h264.SplitAnnexB(nil, coded) {
			if h265.Type(u) == h265.TypeAUD {
				made.units = append(made.units, nil)
				continue
			}
			last := len(made.units) - 1
			made.units[last] = append(made.units[last], u)
		}
	} else {
		for coded = coded[32:]; len(coded) >= 12; { // IVF: a header of 32 bytes, then length u32, time u64, frame
			size := binary.LittleEndian.Uint32(coded)
			made.units = append(made.units, [][]byte{coded[12 : 12+size]})
			coded = coded[12+size:]
		}
	}
	if len(made.units) != n {
		t.Fatalf("%s: the encoder made %d frames of %d", c, len(made.units), n)
	}
	for i := range made.units {
		made.keys = append(made.keys, i == 0)
	}
	return made
}

func ffmpeg(t testing.TB, stdin []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("ffmpeg", append([]string{"-hide_banner", "-loglevel", "error"}, args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Fatalf("ffmpeg %v: %v\n%s", args, err, errs.String())
	}
	return out
}

// voiceOf codes length of what sound gives (mono, by sample number) as Opus
// packets of 20 ms with PTS from start on.
func voiceOf(t testing.TB, start, length time.Duration, sound func(n int) float64) []*wire.Media {
	t.Helper()
	enc, err := codec.NewOpusEncoder(1, 48)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	var frames []*wire.Media
	pcm := make([]float32, 960)
	for i := range int(length / (20 * time.Millisecond)) {
		for k := range pcm {
			pcm[k] = float32(sound(i*960 + k))
		}
		packet, err := enc.Encode(nil, pcm)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, &wire.Media{PTS: start + time.Duration(i)*20*time.Millisecond, Key: true, Units: [][]byte{packet}})
	}
	return frames
}

func sine(hz, amplitude float64) func(int) float64 {
	return func(n int) float64 { return amplitude * math.Sin(2*math.Pi*hz*float64(n)/rate) }
}

// shown is one decoded picture of a mix.
type shown struct {
	*wire.Output
	pic *codec.Picture
}

// watch decodes an output's pictures as a player does.
func (r *rig) watch(id uint32) []shown {
	r.t.Helper()
	dec, err := codec.NewVideoDecoder(media.H264, 1920, 1088)
	if err != nil {
		r.t.Fatal(err)
	}
	defer dec.Close()
	var all []shown
	for i, o := range r.of(id, media.H264) {
		if i == 0 && (!o.Key || h264.Type(o.Units[0]) != h264.TypeSPS) {
			r.t.Fatalf("output %d begins without a key frame: %+v", id, o)
		}
		d, err := dec.Decode(o.Units, o.PTS)
		if err != nil || d == nil {
			r.t.Fatalf("output %d at %v: decoded %v, %v", id, o.PTS, d, err)
		}
		p := codec.NewPicture(d.W, d.H)
		codec.Copy(p, &d.Picture)
		d.Free()
		all = append(all, shown{o, p})
	}
	return all
}

// hear decodes an output's AAC and returns its samples by time: the sample at i
// sounds at first + i/rate. Frames must follow each other without a gap.
func (r *rig) hear(id uint32, hz, channels int) (pcm []float32, first time.Duration) {
	r.t.Helper()
	outs := r.of(id, media.AAC)
	if len(outs) == 0 {
		r.t.Fatalf("output %d has no sound", id)
	}
	var adts []byte
	for i, o := range outs {
		want := outs[0].PTS + timeOf(int64(i)*1024, hz)
		if d := o.PTS - want; d < -time.Microsecond || d > time.Microsecond {
			r.t.Fatalf("output %d: AAC frame %d at %v, want %v", id, i, o.PTS, want)
		}
		adts = append(adtsHeader(adts, hz, channels, len(o.Units[0])), o.Units[0]...)
	}
	return decodeADTS(r.t, adts), outs[0].PTS
}

func decodeADTS(t testing.TB, adts []byte) []float32 {
	t.Helper()
	raw := ffmpeg(t, adts, "-f", "aac", "-i", "-", "-f", "f32le", "-")
	pcm := make([]float32, len(raw)/4)
	for i := range pcm {
		pcm[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[i*4:]))
	}
	return pcm
}

// adtsHeader is ISO/IEC 14496-3 section 1.A.2.2 for AAC-LC without CRC.
func adtsHeader(dst []byte, hz, channels, size int) []byte {
	index := map[int]byte{48000: 3, 44100: 4, 32000: 5, 16000: 8}[hz]
	n := size + 7
	return append(dst, 0xff, 0xf1, 1<<6|index<<2, byte(channels)<<6|byte(n>>11), byte(n>>3), byte(n<<5)|0x1f, 0xfc)
}

// tone is the amplitude of hz in mono samples (Goertzel).
func tone(pcm []float32, hz float64, sampleRate int) float64 {
	coeff := 2 * math.Cos(2*math.Pi*hz/float64(sampleRate))
	var s1, s2 float64
	for i, v := range pcm {
		window := 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(len(pcm)))
		s1, s2 = float64(v)*window+coeff*s1-s2, s1
	}
	return 4 * math.Sqrt(s1*s1+s2*s2-coeff*s1*s2) / float64(len(pcm))
}

// left takes the first channel.
func left(pcm []float32, channels int) []float32 {
	out := make([]float32, len(pcm)/channels)
	for i := range out {
		out[i] = pcm[i*channels]
	}
	return out
}
