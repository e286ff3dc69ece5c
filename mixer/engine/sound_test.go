package engine

import (
	"math"
	"testing"
	"time"

	"braid/media"
	"braid/media/codec"
	"braid/mixer/wire"
)

var stereo = wire.Encode{SampleRate: 48000, Channels: 2, AudioKbps: 128}

// shift moves frames in time.
func shift(frames []*wire.Media, by time.Duration) (moved []*wire.Media) {
	for _, m := range frames {
		copied := *m
		copied.PTS += by
		moved = append(moved, &copied)
	}
	return moved
}

// early is how frames come to a test that is not about lateness: a loaded
// machine must not make them late.
func early(int) time.Duration { return -400 * time.Millisecond }

// window is the samples of [from, to) of sound that begins at first.
func window(pcm []float32, first, from, to time.Duration, hz int) []float32 {
	at := func(t time.Duration) int { return int((t - first) * time.Duration(hz) / time.Second) }
	return pcm[at(from):at(to)]
}

// TestSound mixes two tones, then takes one away, and listens: who is heard, how
// loud, and that the change clicks nowhere.
func TestSound(t *testing.T) {
	for _, c := range []struct{ hz, channels int }{{48000, 2}, {44100, 1}} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			tones := []float64{440, 1000}
			voices := [][]*wire.Media{}
			for _, hz := range tones {
				voices = append(voices, voiceOf(t, 0, 3*time.Second, sine(hz, 0.25)))
			}
			r := newRig(t)
			start := r.now() + 450*time.Millisecond
			for i, v := range voices {
				id := uint32(i + 1)
				r.send(&wire.OpenInput{Input: id, Group: id, Codec: media.Opus})
				r.feed(id, shift(v, start), early)
			}
			encode := wire.Encode{Width: 64, Height: 64, FPS: 30, VideoKbps: 100, SampleRate: c.hz, Channels: c.channels, AudioKbps: 64 * c.channels}
			r.send(&wire.OpenMix{Output: 1, Encode: encode}, &wire.Layout{Output: 1, Revision: 1, Audio: []uint32{2, 1}})
			r.until(1, media.AAC, start+1500*time.Millisecond)
			r.send(&wire.Layout{Output: 1, Revision: 2, Audio: []uint32{1}})
			changed := r.now()
			r.until(1, media.AAC, changed+800*time.Millisecond)

			pcm, first := r.hear(1, c.hz, c.channels)
			pcm = left(pcm, c.channels)
			for _, w := range []struct {
				from, to time.Duration
				want     [2]float64
			}{
				{start + 500*time.Millisecond, start + 1400*time.Millisecond, [2]float64{0.25, 0.25}},
				{changed + 200*time.Millisecond, changed + 700*time.Millisecond, [2]float64{0.25, 0}},
			} {
				part := window(pcm, first, w.from, w.to, c.hz)
				for i, hz := range tones {
					if got := tone(part, hz, c.hz); math.Abs(got-w.want[i]) > 0.03 {
						t.Errorf("%v..%v: %v Hz at %.3f, want %.3f", w.from, w.to, hz, got, w.want[i])
					}
				}
				if got := tone(part, 3000, c.hz); got > 0.003 {
					t.Errorf("%v..%v: 3000 Hz at %.4f, want none", w.from, w.to, got)
				}
			}
			r.levels(t, start+time.Second)
		})
	}
}

// levels checks what the pictures at about t say: both inputs at -15 dBFS RMS,
// which is 191, and a voice in both.
func (r *rig) levels(t *testing.T, at time.Duration) {
	t.Helper()
	for _, o := range r.of(1, media.H264) {
		if o.PTS < at || o.Revision != 1 {
			continue
		}
		if len(o.Levels) != 2 || o.Levels[0].Input != 1 || o.Levels[1].Input != 2 {
			t.Fatalf("levels %+v, want of inputs 1 and 2", o.Levels)
		}
		for _, l := range o.Levels {
			if l.Vol < 184 || l.Vol > 196 || l.Vad != 150 {
				t.Fatalf("level %+v of a tone at -15 dBFS, want vol 191, vad 150", l)
			}
		}
		return
	}
	t.Fatalf("no picture after %v", at)
}

// TestLips feeds a flash and a beep in the middle of each second, sound
// and picture arriving with different delays, and measures their distance in
// the mix.
func TestLips(t *testing.T) {
	t.Parallel()
	const seconds = 4
	enc, err := codec.NewVideoEncoder(codec.VideoParams{Width: 160, Height: 90, FPS: 30, Kbps: 300, GOP: 300})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	c := &clip{fps: 30}
	for i := range 30 * seconds {
		p := codec.NewPicture(160, 90)
		if i%30 >= 15 && i%30 < 18 {
			p.Fill(235, 128, 128)
		}
		units, key, err := enc.Encode(p, i == 0)
		if err != nil {
			t.Fatal(err)
		}
		c.units, c.keys = append(c.units, units), append(c.keys, key)
	}
	beep := sine(1000, 0.5)
	voice := voiceOf(t, 0, seconds*time.Second, func(n int) float64 {
		if n %= rate; n >= rate/2 && n < rate*6/10 {
			return beep(n)
		}
		return 0
	})
	r := newRig(t)
	start := r.now() + 307*time.Millisecond
	r.send(&wire.OpenInput{Input: 1, Group: 1, Codec: media.H264}, &wire.OpenInput{Input: 2, Group: 1, Codec: media.Opus})
	r.feed(1, c.at(start), func(i int) time.Duration { return -100 * time.Millisecond })
	r.feed(2, shift(voice, start), func(i int) time.Duration { return time.Duration(i*7%20-200) * time.Millisecond })
	encode := stereo
	encode.Width, encode.Height, encode.FPS, encode.VideoKbps = 160, 90, 30, 300
	r.send(&wire.OpenMix{Output: 1, Encode: encode}, &wire.Layout{Output: 1, Revision: 1, Audio: []uint32{2},
		Panes: []wire.Pane{{W: 160, H: 90, Input: 1}}})
	r.until(1, media.AAC, start+(seconds-1)*time.Second+900*time.Millisecond)
	r.until(1, media.H264, start+(seconds-1)*time.Second+900*time.Millisecond)

	var flashes []time.Duration
	was := 0.0
	for _, s := range r.watch(1) {
		y := mean(s.pic)
		if y > 150 && was < 100 {
			flashes = append(flashes, s.PTS)
		}
		was = y
	}
	pcm, first := r.hear(1, 48000, 2)
	beeps := onsets(left(pcm, 2), first)
	if len(flashes) < seconds-1 || len(beeps) != len(flashes) {
		t.Fatalf("flashes at %v, beeps at %v", flashes, beeps)
	}
	for i := range flashes {
		skew := beeps[i] - flashes[i]
		t.Logf("flash %v after its time, beep %v after the flash", flashes[i]-start-time.Duration(i)*time.Second-time.Second/2, skew)
		if skew > 40*time.Millisecond || skew < -40*time.Millisecond {
			t.Errorf("beep %d is %v after the flash, want within 40 ms", i, skew)
		}
	}
}

// onsets are the moments when sound begins after 200 ms of silence.
func onsets(pcm []float32, first time.Duration) (at []time.Duration) {
	silent := rate
	for i, v := range pcm {
		if v < 0.05 && v > -0.05 {
			silent++
			continue
		}
		if silent > rate/5 {
			at = append(at, first+timeOf(int64(i), rate))
		}
		silent = 0
	}
	return at
}
