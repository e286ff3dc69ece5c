//go:build cgo

package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"braid/media"
	"braid/media/flv"
)

// tone is a sine of one channel at the given rate.
func tone(rate, n int, hz, amplitude float64) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(amplitude * math.Sin(2*math.Pi*hz*float64(i)/float64(rate)))
	}
	return out
}

// amplitude of hz in a run of samples (Goertzel).
func amplitude(pcm []float32, rate int, hz float64) float64 {
	k := 2 * math.Cos(2*math.Pi*hz/float64(rate))
	var a, b float64
	for _, v := range pcm {
		a, b = float64(v)+k*a-b, a
	}
	return 2 * math.Sqrt(a*a+b*b-k*a*b) / float64(len(pcm))
}

func channel(pcm []float32, channels, c int) []float32 {
	out := make([]float32, 0, len(pcm)/channels)
	for i := c; i < len(pcm); i += channels {
		out = append(out, pcm[i])
	}
	return out
}

func interleave(a, b []float32) []float32 {
	out := make([]float32, 0, 2*len(a))
	for i := range a {
		out = append(out, a[i], b[i])
	}
	return out
}

// speech is what ffmpeg's voice says, 48 kHz mono, 16 bit as microphones give it:
// only speech makes Opus carry copies of packets.
func speech(t testing.TB) []float32 {
	t.Helper()
	return floats(t, ffmpeg(t, nil, "-f", "lavfi", "-i", "flite=text='The quick brown fox jumps over the lazy dog and runs away from here'",
		"-af", "aresample=48000:osf=s16,aformat=sample_fmts=flt", "-ac", "1", "-f", "f32le", "-"))
}

func floats(t testing.TB, raw []byte) []float32 {
	t.Helper()
	out := make([]float32, len(raw)/4)
	if err := binary.Read(bytes.NewReader(raw), binary.LittleEndian, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func energy(pcm []float32) float64 {
	sum := 0.0
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	return sum
}

func difference(a, b []float32) []float32 {
	out := make([]float32, len(a))
	for i := range a {
		out[i] = a[i] - b[i]
	}
	return out
}

func opusPair(t testing.TB, channels, kbps int) (*OpusEncoder, *OpusDecoder) {
	t.Helper()
	e, err := NewOpusEncoder(channels, kbps)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewOpusDecoder(channels)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	t.Cleanup(d.Close)
	return e, d
}

func opusPackets(t testing.TB, e *OpusEncoder, pcm []float32) [][]byte {
	t.Helper()
	var packets [][]byte
	for n := opusFrame * e.channels; len(pcm) >= n; pcm = pcm[n:] {
		p, err := e.Encode(nil, pcm[:n])
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, p)
	}
	return packets
}

// Each channel keeps its own tone and level.
func TestOpusStereo(t *testing.T) {
	e, d := opusPair(t, 2, 96)
	pcm := interleave(tone(opusRate, opusRate, 440, 0.5), tone(opusRate, opusRate, 1000, 0.25))
	var got []float32
	buf := make([]float32, 2*opusMaxSamples)
	for _, p := range opusPackets(t, e, pcm) {
		n, err := d.Decode(buf, p)
		if err != nil || n != opusFrame {
			t.Fatalf("got %d samples, error %v", n, err)
		}
		got = append(got, buf[:2*n]...)
	}
	got = got[opusRate/2:] // past the beginning
	for _, c := range []struct {
		channel int
		hz      float64
		want    float64
	}{{0, 440, 0.5}, {0, 1000, 0}, {1, 1000, 0.25}, {1, 440, 0}} {
		if a := amplitude(channel(got, 2, c.channel), opusRate, c.hz); math.Abs(a-c.want) > 0.04 {
			t.Errorf("channel %d at %.0f Hz: amplitude %.3f, want %.3f", c.channel, c.hz, a, c.want)
		}
	}
}

// A packet recovered from the next one is near to the lost one; a made up one
// goes on with the sound.
func TestOpusRecoverAndConceal(t *testing.T) {
	e, whole := opusPair(t, 1, 32)
	packets := opusPackets(t, e, speech(t))
	var want, concealed, recovered []float32
	lossy := func(lost func(d *OpusDecoder, dst []float32, next []byte) (int, error)) []float32 {
		d, err := NewOpusDecoder(1)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		var out []float32
		buf := make([]float32, opusMaxSamples)
		for i, p := range packets[:len(packets)-1] {
			n, err := 0, error(nil)
			if i%10 == 7 {
				n, err = lost(d, buf, packets[i+1])
			} else {
				n, err = d.Decode(buf, p)
			}
			if err != nil || n != opusFrame {
				t.Fatalf("packet %d: got %d samples, error %v", i, n, err)
			}
			if i%10 == 7 {
				out = append(out, buf[:n]...)
			}
		}
		return out
	}
	buf := make([]float32, opusMaxSamples)
	for i, p := range packets[:len(packets)-1] {
		n, err := whole.Decode(buf, p)
		if err != nil {
			t.Fatal(err)
		}
		if i%10 == 7 {
			want = append(want, buf[:n]...)
		}
	}
	concealed = lossy(func(d *OpusDecoder, dst []float32, _ []byte) (int, error) { return d.Conceal(dst, opusFrame) })
	recovered = lossy(func(d *OpusDecoder, dst []float32, next []byte) (int, error) { return d.Recover(dst, next, opusFrame) })
	sound := energy(want)
	plc, fec := energy(difference(concealed, want))/sound, energy(difference(recovered, want))/sound
	t.Logf("error energy of the lost packets: concealed %.3f, recovered %.3f of the sound's", plc, fec)
	if fec > 0.2 || fec > plc/2 {
		t.Errorf("recovered %.3f, concealed %.3f: want recovered under 0.2 and half of concealed", fec, plc)
	}
	// What is made up has another phase; that it sounds on is all one can ask.
	if loud := energy(concealed) / sound; loud < 0.2 || loud > 2 {
		t.Errorf("concealed packets have %.2f of the lost ones' energy, want 0.2..2", loud)
	}
}

func TestOpusErrors(t *testing.T) {
	e, d := opusPair(t, 1, 24)
	packet := opusPackets(t, e, tone(opusRate, opusFrame, 440, 0.5))[0]
	buf := make([]float32, opusMaxSamples)
	for name, do := range map[string]func() error{
		"empty packet":    func() error { _, err := d.Decode(buf, nil); return err },
		"no room":         func() error { _, err := d.Decode(nil, packet); return err },
		"little room":     func() error { _, err := d.Decode(buf[:100], packet); return err },
		"broken packet":   func() error { _, err := d.Decode(buf, []byte{3, 0xff, 0xff}); return err },
		"huge packet":     func() error { _, err := d.Decode(buf, make([]byte, 1<<20)); return err },
		"conceal 7":       func() error { _, err := d.Conceal(buf, 7); return err },
		"conceal 6000":    func() error { _, err := d.Conceal(buf, 6000); return err },
		"conceal no room": func() error { _, err := d.Conceal(buf[:900], 960); return err },
		"recover none":    func() error { _, err := d.Recover(buf, nil, 960); return err },
		"short input":     func() error { _, err := e.Encode(nil, buf[:959]); return err },
		"three channels":  func() error { _, err := NewOpusDecoder(3); return err },
		"5 kbps":          func() error { _, err := NewOpusEncoder(1, 5); return err },
	} {
		if err := do(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if n, err := d.Decode(buf, packet); err != nil || n != opusFrame {
		t.Errorf("after the errors: got %d samples, error %v", n, err)
	}
	d.Close()
	d.Close()
	e.Close()
	e.Close()
	if _, err := d.Decode(buf, packet); !errors.Is(err, media.ErrClosed) {
		t.Errorf("after Close: got %v", err)
	}
}

func FuzzOpusDecode(f *testing.F) {
	e, err := NewOpusEncoder(2, 64)
	if err != nil {
		f.Fatal(err)
	}
	p, err := e.Encode(nil, interleave(tone(opusRate, opusFrame, 440, 0.5), tone(opusRate, opusFrame, 1000, 0.5)))
	e.Close()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p, []byte{3, 0xff, 0xff})
	f.Add([]byte{0xfc, 0xff, 0xfe}, p[:10])
	f.Fuzz(func(t *testing.T, a, b []byte) {
		d, err := NewOpusDecoder(2)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		buf := make([]float32, 2*opusMaxSamples)
		for _, p := range [][]byte{a, b, a} {
			if n, err := d.Decode(buf, p); err == nil && (n < 1 || n > opusMaxSamples) {
				t.Errorf("got %d samples", n)
			}
			if n, err := d.Recover(buf, p, 960); err == nil && n != 960 {
				t.Errorf("recovered %d samples", n)
			}
		}
	})
}

// adts puts a frame into the header that ffmpeg reads (ISO/IEC 14496-3 section 1.A.3.2).
func adts(config, frame []byte) []byte {
	v := binary.BigEndian.Uint16(config)
	rate, channels, n := v>>7&15, v>>3&15, uint16(7+len(frame))
	return append([]byte{0xff, 0xf1, byte(1<<6 | rate<<2 | channels>>2), byte(channels<<6) | byte(n>>11), byte(n >> 3), byte(n<<5) | 0x1f, 0xfc}, frame...)
}

// encodeFrames codes whole frames, and counts the calls that gave none.
func encodeFrames(t testing.TB, e *frameEncoder, frameSize, delay int, pcm []float32) (frames [][]byte, silent int) {
	t.Helper()
	if e.FrameSize() != frameSize || e.Delay() != delay {
		t.Fatalf("frame size %d, delay %d, want %d and %d", e.FrameSize(), e.Delay(), frameSize, delay)
	}
	for n := frameSize * e.channels; len(pcm) >= n; pcm = pcm[n:] {
		frame, err := e.Encode(pcm[:n])
		if err != nil {
			t.Fatal(err)
		}
		if frame == nil {
			silent++
			continue
		}
		frames = append(frames, frame)
	}
	return frames, silent
}

// encodeAAC codes whole frames and gives what ffmpeg decodes, and how many calls
// gave no frame.
func encodeAAC(t testing.TB, rate, channels, kbps int, pcm []float32) (got []float32, silent, size int) {
	t.Helper()
	e, err := NewAACEncoder(rate, channels, kbps)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	frames, silent := encodeFrames(t, &e.frameEncoder, 1024, 1024, pcm)
	var stream []byte
	for _, frame := range frames {
		size += len(frame)
		stream = append(stream, adts(flv.AudioSpecificConfig(rate, channels), frame)...)
	}
	return floats(t, ffmpeg(t, stream, "-f", "aac", "-i", "-", "-f", "f32le", "-")), silent, size
}

// Delay is what a burst really takes: it comes out of frames 1024 samples later.
func TestAACDelay(t *testing.T) {
	for _, rate := range []int{48000, 16000} {
		pcm := make([]float32, 20*1024)
		const at = 7 * 1024
		copy(pcm[at:], tone(rate, rate/1000, 2000, 0.8)) // 1 ms
		got, silent, _ := encodeAAC(t, rate, 1, 96, pcm)
		if silent != 1 || len(got) != 19*1024 {
			t.Errorf("%d Hz: %d calls gave no frame, %d samples decoded; want 1 and 19 frames", rate, silent, len(got))
		}
		best, where := 0.0, 0
		for i := range got[:len(got)-rate/1000] {
			if e := energy(got[i:][:rate/1000]); e > best {
				best, where = e, i
			}
		}
		if d := where - at - 1024; d < -2 || d > 2 {
			t.Errorf("%d Hz: the burst comes %d samples late, want 1024", rate, where-at)
		}
	}
}

func TestAACTones(t *testing.T) {
	for _, rate := range []int{48000, 32000, 8000} {
		pcm := interleave(tone(rate, 40*1024, 440, 0.5), tone(rate, 40*1024, 1000, 0.25))
		got, _, size := encodeAAC(t, rate, 2, 64, pcm)
		got = got[2*4096:]
		for _, c := range []struct {
			channel  int
			hz, want float64
		}{{0, 440, 0.5}, {0, 1000, 0}, {1, 1000, 0.25}, {1, 440, 0}} {
			if a := amplitude(channel(got, 2, c.channel), rate, c.hz); math.Abs(a-c.want) > 0.02 {
				t.Errorf("%d Hz, channel %d at %.0f Hz: amplitude %.3f, want %.3f", rate, c.channel, c.hz, a, c.want)
			}
		}
		if kbps := size * 8 * rate / (39 * 1024) / 1000; kbps > 80 {
			t.Errorf("%d Hz: %d kbps for 64", rate, kbps)
		}
	}
}

func TestAACErrors(t *testing.T) {
	for want, p := range map[string][3]int{
		"sample rate 47999, want one of": {47999, 2, 128},
		"sample rate 96000, want one of": {96000, 2, 128},
		"channels 3, want 1..2":          {48000, 3, 128},
		"kbps 1000, want 8..500":         {48000, 2, 1000},
	} {
		if _, err := NewAACEncoder(p[0], p[1], p[2]); !errors.Is(err, media.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	for _, rate := range aacRates[3:] { // the extremes of what is allowed open
		for _, kbps := range []int{8, 500} {
			if e, err := NewAACEncoder(rate, 2, kbps); err != nil {
				t.Error(err)
			} else {
				e.Close()
			}
		}
	}
	e, err := NewAACEncoder(48000, 1, 64)
	if err != nil {
		t.Fatal(err)
	}
	pcm := tone(48000, 1024, 440, 0.5)
	if _, err := e.Encode(pcm[1:]); !errors.Is(err, media.ErrInvalid) {
		t.Errorf("short input: got %v", err)
	}
	bad := append([]float32{float32(math.NaN()), float32(math.Inf(1))}, pcm[2:]...)
	frames := 0
	for i := range 10 {
		in := pcm
		if i == 3 {
			in = bad
		}
		if frame, err := e.Encode(in); err == nil && frame != nil {
			frames++
		}
	}
	if frames < 6 {
		t.Errorf("%d frames of 10 around one with NaN, want most", frames)
	}
	e.Close()
	e.Close()
	if _, err := e.Encode(pcm); !errors.Is(err, media.ErrClosed) {
		t.Errorf("after Close: got %v", err)
	}
}

// A tone keeps its pitch, level and phase: no delay, whatever the chunks.
func TestResample(t *testing.T) {
	for _, to := range []int{48000, 44100, 32000, 16000, 8000} {
		r, err := NewResampler(2, 48000, to)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		src := interleave(tone(48000, 48000, 440, 0.5), tone(48000, 48000, 1000, 0.25))
		var got []float32
		for len(src) > 0 {
			n := min(len(src), 2*480)
			if got, err = r.Resample(got, src[:n]); err != nil {
				t.Fatal(err)
			}
			src = src[n:]
		}
		if n := len(got) / 2; n > to || n < to-40 {
			t.Errorf("to %d Hz: one second gave %d samples", to, n)
		}
		want := interleave(tone(to, len(got)/2, 440, 0.5), tone(to, len(got)/2, 1000, 0.25))
		inner := func(pcm []float32) []float32 { return pcm[200 : len(got)-200] }
		if ratio := energy(difference(inner(got), inner(want))) / energy(inner(want)); ratio > 1e-4 {
			t.Errorf("to %d Hz: error of %.1f dB, want under -40", to, 10*math.Log10(ratio))
		}
	}
}

func TestResamplerErrors(t *testing.T) {
	for want, p := range map[string][3]int{
		"channels 0, want 1..2":           {0, 48000, 44100},
		"sample rate 7999, want 8000..48": {1, 7999, 44100},
		"sample rate 96000, want 8000..4": {1, 48000, 96000},
	} {
		if _, err := NewResampler(p[0], p[1], p[2]); !errors.Is(err, media.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	r, err := NewResampler(2, 48000, 44100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Resample(nil, make([]float32, 3)); !errors.Is(err, media.ErrInvalid) {
		t.Errorf("odd input: got %v", err)
	}
	if got, err := r.Resample(nil, nil); err != nil || len(got) != 0 {
		t.Errorf("no input: got %d samples, error %v", len(got), err)
	}
	r.Close()
	r.Close()
	if _, err := r.Resample(nil, make([]float32, 4)); !errors.Is(err, media.ErrClosed) {
		t.Errorf("after Close: got %v", err)
	}
}

func BenchmarkAudio(b *testing.B) {
	second := interleave(speech(b)[:opusRate], speech(b)[:opusRate])
	b.Run("opus encode 1 s", func(b *testing.B) {
		e, _ := opusPair(b, 2, 96)
		reportCPU(b)
		for b.Loop() {
			opusPackets(b, e, second)
		}
	})
	b.Run("opus decode 1 s", func(b *testing.B) {
		e, d := opusPair(b, 2, 96)
		packets := opusPackets(b, e, second)
		buf := make([]float32, 2*opusMaxSamples)
		b.ReportAllocs()
		reportCPU(b)
		for b.Loop() {
			for _, p := range packets {
				if _, err := d.Decode(buf, p); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("aac encode 1 s", func(b *testing.B) {
		e, err := NewAACEncoder(48000, 2, 128)
		if err != nil {
			b.Fatal(err)
		}
		defer e.Close()
		b.ReportAllocs()
		reportCPU(b)
		for b.Loop() {
			for in := second; len(in) >= 2048; in = in[2048:] {
				if _, err := e.Encode(in[:2048]); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("resample to 44100 1 s", func(b *testing.B) {
		r, err := NewResampler(2, 48000, 44100)
		if err != nil {
			b.Fatal(err)
		}
		defer r.Close()
		var dst []float32
		b.ReportAllocs()
		reportCPU(b)
		for b.Loop() {
			for in := second; len(in) > 0; in = in[960:] {
				if dst, err = r.Resample(dst[:0], in[:960]); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
