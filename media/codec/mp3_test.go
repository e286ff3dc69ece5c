//go:build cgo

package codec

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"braid/media"
)

// encodeMP3 codes whole frames, all of one length, and gives what ffmpeg decodes.
func encodeMP3(t testing.TB, channels, kbps int, pcm []float32) (got []float32, frames [][]byte) {
	t.Helper()
	e, err := NewMP3Encoder(channels, kbps)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	frames, silent := encodeFrames(t, &e.frameEncoder, 1152, 1105, pcm)
	for i, frame := range frames {
		if len(frame) != len(frames[0]) || frame[0] != 0xff || frame[1] != 0xfb {
			t.Fatalf("frame %d is %d bytes %x, the first %d", i+1, len(frame), frame[:4], len(frames[0]))
		}
	}
	if silent != 1 {
		t.Errorf("%d calls gave no frame, want 1", silent)
	}
	return decodeMP3(t, frames), frames
}

func decodeMP3(t testing.TB, frames [][]byte) []float32 {
	t.Helper()
	return floats(t, ffmpeg(t, bytes.Join(frames, nil), "-v", "error", "-f", "mp3", "-i", "-", "-f", "f32le", "-"))
}

// Delay is what a burst really takes.
func TestMP3Delay(t *testing.T) {
	pcm := make([]float32, 20*1152)
	const at = 7 * 1152
	copy(pcm[at:], tone(MP3Rate, MP3Rate/1000, 2000, 0.8)) // 1 ms
	got, _ := encodeMP3(t, 1, 96, pcm)
	if len(got) != 19*1152 {
		t.Errorf("%d samples decoded, want 19 frames", len(got))
	}
	best, where := 0.0, 0
	for i := range got[:len(got)-MP3Rate/1000] {
		if e := energy(got[i:][:MP3Rate/1000]); e > best {
			best, where = e, i
		}
	}
	if d := where - at - 1105; d < -2 || d > 2 {
		t.Errorf("the burst comes %d samples late, want 1105", where-at)
	}
}

// Each channel keeps its tone and level, and a file that begins in the middle is as
// good: a frame needs none of the bits before it.
func TestMP3Tones(t *testing.T) {
	pcm := interleave(tone(MP3Rate, 40*1152, 440, 0.5), tone(MP3Rate, 40*1152, 1000, 0.25))
	_, frames := encodeMP3(t, 2, 128, pcm)
	if len(frames[0]) != 128000/8*1152/MP3Rate {
		t.Errorf("frames of %d bytes at 128 kbps", len(frames[0]))
	}
	for _, from := range []int{0, 11} {
		got := decodeMP3(t, frames[from:])[2*3*1152:]
		for _, c := range []struct {
			channel  int
			hz, want float64
		}{{0, 440, 0.5}, {0, 1000, 0}, {1, 1000, 0.25}, {1, 440, 0}} {
			if a := amplitude(channel(got, 2, c.channel), MP3Rate, c.hz); math.Abs(a-c.want) > 0.03 { // LAME takes a twentieth off, against clipping
				t.Errorf("from frame %d, channel %d at %.0f Hz: amplitude %.3f, want %.3f", from, c.channel, c.hz, a, c.want)
			}
		}
	}
}

func TestMP3Errors(t *testing.T) {
	for want, p := range map[string][2]int{
		"channels 3, want 1..2":  {3, 128},
		"kbps 1000, want 8..500": {2, 1000},
		"kbps 7, want 8..500":    {2, 7},
	} {
		if _, err := NewMP3Encoder(p[0], p[1]); !errors.Is(err, media.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	// The extremes of what is allowed, and what lies between two rates.
	for kbps, size := range map[int]int{8: 96, 32: 96, 33: 120, 320: 960, 500: 960} {
		for channels := 1; channels <= 2; channels++ {
			_, frames := encodeMP3(t, channels, kbps, make([]float32, channels*4*1152))
			if len(frames) != 3 || len(frames[0]) != size {
				t.Errorf("%d kbps, %d channels: %d frames, want 3 of %d bytes", kbps, channels, len(frames), size)
			}
		}
	}
	e, err := NewMP3Encoder(1, 64)
	if err != nil {
		t.Fatal(err)
	}
	pcm := tone(MP3Rate, 1152, 440, 0.5)
	if _, err := e.Encode(pcm[1:]); !errors.Is(err, media.ErrInvalid) {
		t.Errorf("short input: got %v", err)
	}
	// LAME ends the process at what is no number.
	bad := append([]float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32, -1e30}, pcm[5:]...)
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
	if frames != 9 {
		t.Errorf("%d frames of 10 around one with NaN, want 9", frames)
	}
	e.Close()
	e.Close()
	if _, err := e.Encode(pcm); !errors.Is(err, media.ErrClosed) {
		t.Errorf("after Close: got %v", err)
	}
}
