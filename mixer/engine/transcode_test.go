package engine

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"braid/media"
	"braid/media/codec"
	"braid/media/flv"
	"braid/media/h264"
	"braid/mixer/wire"
)

// push sends frames of one input as fast as the worker takes them: a transcode
// has no clock. out is the output that shows how far it is.
func (r *rig) push(input, out uint32, c media.Codec, frames []*wire.Media) {
	r.t.Helper()
	for i, m := range frames {
		copied := *m
		copied.Input = input
		r.send(&copied)
		if i%16 == 15 { // the queue holds 64; what comes out lags by 3 AAC frames at most
			r.until(out, c, m.PTS-100*time.Millisecond)
		}
	}
	r.until(out, c, frames[len(frames)-1].PTS-100*time.Millisecond)
}

// TestTranscodeVideo turns pictures that change their size into H.264.
func TestTranscodeVideo(t *testing.T) {
	t.Parallel()
	for _, c := range []media.Codec{media.VP8, media.VP9, media.AV1, media.H265} {
		t.Run(string(c), func(t *testing.T) { testTranscodeVideo(t, c) })
	}
}

func testTranscodeVideo(t *testing.T, kind media.Codec) {
	clips := []*clip{clipOf(t, kind, 1, 320, 180, 20), clipOf(t, kind, 2, 162, 90, 20)}
	start := 3 * time.Second // any timeline, this one is in the past
	frames := append(clips[0].at(start), clips[1].at(start+time.Second)...)
	frames = append(frames, frames[30]) // time goes back: left out
	r := newRig(t)
	r.send(&wire.OpenInput{Input: 1, Codec: kind},
		&wire.OpenTranscode{Output: 1, Input: 1, Encode: wire.Encode{FPS: 30, VideoKbps: 500, GOP: 60}},
		&wire.OpenTranscode{Output: 2, Input: 1, Encode: wire.Encode{Width: 320, Height: 240, FPS: 30, VideoKbps: 500, GOP: 60}})
	r.push(1, 2, media.H264, frames[:12])
	r.send(&wire.KeyFrame{Output: 2})
	r.push(1, 2, media.H264, frames[12:])
	r.until(2, media.H264, frames[39].PTS)

	for id, sizes := range map[uint32][2][2]int{1: {{320, 180}, {162, 90}}, 2: {{320, 240}, {320, 240}}} {
		all := r.watch(id)
		if len(all) != 40 {
			t.Fatalf("output %d: %d pictures, want 40", id, len(all))
		}
		keys := 0
		for i, s := range all {
			c, n, size := clips[i/20], i%20, sizes[i/20]
			if s.PTS != frames[i].PTS {
				t.Fatalf("output %d picture %d: PTS %v, want %v", id, i, s.PTS, frames[i].PTS)
			}
			if s.pic.W != size[0] || s.pic.H != size[1] {
				t.Fatalf("output %d picture %d: %dx%d, want %v", id, i, s.pic.W, s.pic.H, size)
			}
			if s.Key {
				keys++
			}
			src, want := codec.NewPicture(c.w, c.h), codec.NewPicture(size[0], size[1])
			paint(src, c.name, n)
			compose(want, rect{0, 0, want.W, want.H}, src, wire.FitInside)
			if got := psnr(s.pic, want); got < 25 {
				t.Fatalf("output %d picture %d: PSNR %.1f dB, want 25", id, i, got)
			}
		}
		if !all[0].Key || id == 1 && !all[20].Key {
			t.Errorf("output %d: a new size does not begin with a key frame", id)
		}
		if want := int(2); keys != want { // the new size in one, the wish in the other
			t.Errorf("output %d: %d key frames, want %d", id, keys, want)
		}
		for _, s := range all {
			if s.Key && h264.Type(s.Units[0]) != h264.TypeSPS {
				t.Errorf("output %d: key frame without its SPS", id)
			}
		}
	}
	r.send(&wire.CloseOutput{Output: 1}, &wire.CloseInput{Input: 1}, &wire.CloseOutput{Output: 2})
}

// TestTranscodeAudio turns Opus into AAC: the tone stays, at its time, over lost
// packets, a publisher's clock that runs off and a pause.
func TestTranscodeAudio(t *testing.T) {
	t.Parallel()
	start := 2*time.Second + 123*time.Microsecond
	// A beep of 100 ms at each full second tells the time.
	beep := sine(1000, 0.5)
	frames := voiceOf(t, start, 8*time.Second, func(n int) float64 {
		if n%rate < rate/10 {
			return beep(n)
		}
		return 0
	})
	var fed []*wire.Media
	lost := map[int]bool{60: true, 61: true, 62: true, 110: true, 170: true, 171: true}
	for i, m := range frames {
		m := *m
		switch {
		case lost[i]:
			continue
		case i >= 200: // 80 ms of drift that steps in, as a corrected clock does
			m.PTS += 80 * time.Millisecond
		}
		if i >= 300 { // and a pause of 10 s
			m.PTS += 10 * time.Second
		}
		m.Lost = lost[i-1]
		fed = append(fed, &m)
	}
	r := newRig(t)
	r.send(&wire.OpenInput{Input: 1, Codec: media.Opus}, &wire.OpenTranscode{Output: 1, Input: 1, Encode: stereo})
	r.push(1, 1, media.AAC, fed)

	outs := r.of(1, media.AAC)
	var adts []byte
	type anchor struct {
		n   int
		pts time.Duration
	}
	anchors := []anchor{}
	for i, o := range outs {
		if i == 0 || o.PTS-outs[i-1].PTS > 22*time.Millisecond {
			anchors = append(anchors, anchor{i, o.PTS})
		}
		adts = append(adtsHeader(adts, 48000, 2, len(o.Units[0])), o.Units[0]...)
	}
	if len(anchors) != 2 {
		t.Fatalf("sound is broken at %v, want only at the pause", anchors)
	}
	pcm := left(decodeADTS(t, adts), 2)
	cut := anchors[1].n * 1024
	beeps := append(onsets(pcm[:cut], anchors[0].pts), onsets(pcm[cut:], anchors[1].pts)...)
	if len(beeps) != 8 {
		t.Fatalf("beeps at %v, want 8", beeps)
	}
	for i, at := range beeps {
		want := start + time.Duration(i)*time.Second
		if i >= 4 {
			want += 80 * time.Millisecond
		}
		if i >= 6 {
			want += 10 * time.Second
		}
		if d := at - want; d < -5*time.Millisecond || d > 40*time.Millisecond {
			t.Errorf("beep %d at %v, want %v", i, at, want)
		}
	}
	if got := tone(pcm[:rate/10], 1000, rate); math.Abs(got-0.5) > 0.15 {
		t.Errorf("the first beep at %.2f, want 0.5", got)
	}
}

// TestTranscodeMP3 turns AAC and Opus into MP3: the tone stays, at its time.
func TestTranscodeMP3(t *testing.T) {
	t.Parallel()
	const start = 2 * time.Second
	beep := sine(1000, 0.5)
	opus := voiceOf(t, start, 4*time.Second, func(n int) float64 {
		if n%rate < rate/10 {
			return beep(n)
		}
		return 0
	})
	r := newRig(t)
	mp3 := wire.Encode{Sound: media.MP3, SampleRate: rate, Channels: 2, AudioKbps: 128}
	r.send(&wire.OpenInput{Input: 1, Codec: media.Opus}, &wire.OpenTranscode{Output: 1, Input: 1, Encode: stereo},
		&wire.OpenTranscode{Output: 2, Input: 1, Encode: mp3})
	r.push(1, 1, media.AAC, opus)
	r.until(2, media.MP3, opus[len(opus)-1].PTS-100*time.Millisecond)

	var aac []*wire.Media
	for _, o := range r.of(1, media.AAC) {
		aac = append(aac, &wire.Media{PTS: o.PTS, Key: true, Units: o.Units})
	}
	r.send(&wire.OpenInput{Input: 2, Codec: media.AAC, Config: flv.AudioSpecificConfig(rate, 2)}, &wire.OpenTranscode{Output: 3, Input: 2, Encode: mp3})
	r.push(2, 3, media.MP3, aac)

	for _, out := range []uint32{2, 3} {
		var file []byte
		outs := r.of(out, media.MP3)
		for i, o := range outs {
			if step := 24 * time.Millisecond; o.PTS-outs[0].PTS-time.Duration(i)*step > time.Microsecond || outs[0].PTS+time.Duration(i)*step-o.PTS > time.Microsecond {
				t.Fatalf("output %d: frame %d is at %v, the first at %v", out, i, o.PTS, outs[0].PTS)
			}
			file = append(file, o.Units[0]...)
		}
		raw := ffmpeg(t, file, "-f", "mp3", "-i", "-", "-f", "f32le", "-")
		pcm := make([]float32, len(raw)/4)
		for i := range pcm {
			pcm[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[i*4:]))
		}
		mono := left(pcm, 2)
		beeps := onsets(mono, outs[0].PTS)
		if len(beeps) > 0 && beeps[0] < start+500*time.Millisecond { // the first was under way where the file begins
			beeps = beeps[1:]
		}
		if len(beeps) != 3 {
			t.Fatalf("output %d: beeps at %v, want 3", out, beeps)
		}
		for i, at := range beeps {
			if d := at - start - time.Duration(i+1)*time.Second; d < -10*time.Millisecond || d > 40*time.Millisecond {
				t.Errorf("output %d: beep %d is %v off", out, i, d)
			}
			if got := tone(window(mono, outs[0].PTS, at+10*time.Millisecond, at+80*time.Millisecond, rate), 1000, rate); math.Abs(got-0.5) > 0.15 {
				t.Errorf("output %d: beep %d at %.2f, want 0.5", out, i, got)
			}
		}
	}
}

// TestTranscodeDTX: a publisher who leaves silence out (RFC 7587 section 3.1.3), but
// for a packet each 400 ms, has neither holes nor echoes in its AAC.
func TestTranscodeDTX(t *testing.T) {
	t.Parallel()
	const start = 2 * time.Second
	beep := sine(1000, 0.5)
	var fed []*wire.Media
	for i, m := range voiceOf(t, start, 6*time.Second, func(n int) float64 {
		if n%rate < rate/10 {
			return beep(n)
		}
		return 0
	}) {
		if since := i % 50; since < 8 || since%20 == 0 {
			fed = append(fed, m)
		}
	}
	r := newRig(t)
	r.send(&wire.OpenInput{Input: 1, Codec: media.Opus}, &wire.OpenTranscode{Output: 1, Input: 1, Encode: stereo})
	r.push(1, 1, media.AAC, fed)
	pcm, first := r.hear(1, rate, 2)
	mono := left(pcm, 2)
	beeps := onsets(mono, first)
	if len(beeps) != 6 {
		t.Fatalf("beeps at %v, want 6", beeps)
	}
	for i, at := range beeps {
		if d := at - start - time.Duration(i)*time.Second; d < -5*time.Millisecond || d > 30*time.Millisecond {
			t.Errorf("beep %d is %v off", i, d)
		}
	}
	for i := range 5 {
		from := start + time.Duration(i)*time.Second
		if l := math.Sqrt(meanSquare(window(mono, first, from+300*time.Millisecond, from+950*time.Millisecond, rate))); l > 0.005 {
			t.Errorf("the silence after beep %d has %.3f", i, l)
		}
	}
}
