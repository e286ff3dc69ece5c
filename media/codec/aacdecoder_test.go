//go:build cgo

package codec

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"braid/media"
	"braid/media/flv"
)

// aacFrames codes with our own encoder.
func aacFrames(t testing.TB, rate, channels int, pcm []float32) (frames [][]byte) {
	t.Helper()
	e, err := NewAACEncoder(rate, channels, 64*channels)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for n := 1024 * channels; len(pcm) >= n; pcm = pcm[n:] {
		frame, err := e.Encode(pcm[:n])
		if err != nil {
			t.Fatal(err)
		}
		if frame != nil {
			frames = append(frames, frame)
		}
	}
	return frames
}

func decodeAAC(t testing.TB, config []byte, channels int, frames [][]byte) []float32 {
	t.Helper()
	d, err := NewAACDecoder(config, channels)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var pcm []float32
	buf := make([]float32, AACMaxSamples*channels)
	for i, f := range frames {
		n, err := d.Decode(buf, f)
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		pcm = append(pcm, buf[:n*channels]...)
	}
	return pcm
}

// A tone keeps its frequency, level and channel at any rate, through AAC and then Opus.
func TestAACToOpus(t *testing.T) {
	for _, rate := range []int{48000, 44100, 32000, 16000, 8000} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			in := interleave(tone(rate, 2*rate, 440, 0.5), tone(rate, 2*rate, 1000, 0.25))
			frames := aacFrames(t, rate, 2, in)
			pcm := decodeAAC(t, flv.AudioSpecificConfig(rate, 2), 2, frames)
			if want := len(frames) * 1024 * opusRate / rate; math.Abs(float64(len(pcm)/2-want)) > 200 {
				t.Errorf("%d samples of %d frames, want %d", len(pcm)/2, len(frames), want)
			}
			e, d := opusPair(t, 2, 128)
			var out []float32
			buf := make([]float32, 2*opusMaxSamples)
			for _, p := range opusPackets(t, e, pcm) {
				n, err := d.Decode(buf, p)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, buf[:2*n]...)
			}
			out = out[opusRate/2:]
			for _, c := range []struct {
				channel  int
				hz, want float64
			}{{0, 440, 0.5}, {1, 1000, 0.25}, {0, 1000, 0}, {1, 440, 0}} {
				if a := amplitude(channel(out, 2, c.channel), opusRate, c.hz); math.Abs(a-c.want) > 0.05 {
					t.Errorf("channel %d at %.0f Hz: amplitude %.3f, want %.3f", c.channel, c.hz, a, c.want)
				}
			}
			for c, want := range []float64{440, 1000} {
				if got := frequency(channel(out, 2, c)); math.Abs(got-want) > 2 {
					t.Errorf("channel %d: measured %.1f Hz, want %.0f", c, got, want)
				}
			}
		})
	}
}

// frequency counts how often 48 kHz samples rise through zero.
func frequency(pcm []float32) float64 {
	n, first, last := 0, -1, 0
	for i := 1; i < len(pcm); i++ {
		if pcm[i-1] < 0 && pcm[i] >= 0 {
			if first < 0 {
				first = i
			} else {
				n++
			}
			last = i
		}
	}
	return float64(n) * opusRate / float64(last-first)
}

// Mono becomes both channels, and six become two.
func TestAACChannels(t *testing.T) {
	mono := decodeAAC(t, flv.AudioSpecificConfig(48000, 1), 2, aacFrames(t, 48000, 1, tone(48000, 48000, 440, 0.5)))
	for c := range 2 {
		if a := amplitude(channel(mono, 2, c)[8000:], opusRate, 440); math.Abs(a-0.5) > 0.05 && math.Abs(a-0.35) > 0.05 {
			t.Errorf("mono in channel %d: amplitude %.3f, want 0.5 or 3 dB less", c, a)
		}
	}
	stream := ffmpeg(t, nil, "-f", "lavfi", "-i", "sine=frequency=600:sample_rate=48000:duration=1", "-af", "pan=5.1|c0=4*c0|c1=4*c0|c2=c0|c3=c0|c4=c0|c5=c0", "-c:a", "aac", "-f", "adts", "-")
	var frames [][]byte
	for b := stream; len(b) > 7; {
		n := int(b[3]&3)<<11 | int(b[4])<<3 | int(b[5])>>5
		frames = append(frames, b[7:n])
		b = b[n:]
	}
	six := decodeAAC(t, []byte{0x11, 0xb0}, 2, frames)
	for c := range 2 {
		if a := amplitude(channel(six, 2, c)[8000:], opusRate, 600); a < 0.1 {
			t.Errorf("5.1 in channel %d: amplitude %.3f, want the tone", c, a)
		}
	}
}

func TestAACDecoderErrors(t *testing.T) {
	good := flv.AudioSpecificConfig(48000, 2)
	for name, config := range map[string][]byte{"none": nil, "short": {0x11}, "long": make([]byte, 2000), "no audio": {0, 0, 0}} {
		if d, err := NewAACDecoder(config, 2); err == nil || !errors.Is(err, media.ErrInvalid) {
			d.Close()
			t.Errorf("config %s: got %v, want ErrInvalid", name, err)
		}
	}
	d, err := NewAACDecoder(good, 2)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]float32, 2*AACMaxSamples)
	for name, do := range map[string]func() error{
		"three channels": func() error { _, err := NewAACDecoder(good, 3); return err },
		"empty frame":    func() error { _, err := d.Decode(buf, nil); return err },
		"huge frame":     func() error { _, err := d.Decode(buf, make([]byte, 8192)); return err },
		"little room":    func() error { _, err := d.Decode(buf[:2048], []byte{1}); return err },
		"broken frame":   func() error { _, err := d.Decode(buf, []byte(strings.Repeat("\xff", 50))); return err },
	} {
		if err := do(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	frames := aacFrames(t, 48000, 2, interleave(tone(48000, 8192, 440, 0.5), tone(48000, 8192, 440, 0.5)))
	if n, err := d.Decode(buf, frames[3]); err != nil || n != 1024 {
		t.Errorf("after the errors: got %d samples, error %v", n, err)
	}
	d.Close()
	d.Close()
	if _, err := d.Decode(buf, frames[3]); !errors.Is(err, media.ErrClosed) {
		t.Errorf("after Close: got %v", err)
	}
}

func FuzzAACDecode(f *testing.F) {
	for _, rate := range []int{48000, 22050} {
		config := flv.AudioSpecificConfig(rate, 2)
		for _, frame := range aacFrames(f, rate, 2, interleave(tone(rate, 5120, 440, 0.5), tone(rate, 5120, 1000, 0.5))) {
			f.Add(config, frame)
		}
	}
	f.Add([]byte{0x11, 0xb0}, []byte("\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, config, frame []byte) {
		d, err := NewAACDecoder(config, 2)
		if err != nil {
			return
		}
		defer d.Close()
		buf := make([]float32, 2*AACMaxSamples)
		for range 3 {
			if n, err := d.Decode(buf, frame); err == nil && (n < 0 || n > AACMaxSamples) {
				t.Errorf("got %d samples", n)
			}
		}
	})
}
