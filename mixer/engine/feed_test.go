package engine

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"

	"braid/media"
	"braid/media/codec"
	"braid/media/flv"
	"braid/media/h264"
	"braid/mixer/wire"
)

// feedOf lets ffmpeg code a test picture and a tone as OBS does, and gives the
// access units with their presentation times, which B-frames shuffle.
func feedOf(t *testing.T, args ...string) (video, audio []*wire.Media, config []byte) {
	t.Helper()
	in := []string{"-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30", "-f", "lavfi", "-i", "sine=frequency=700:sample_rate=44100",
		"-t", "3", "-c:v", "libx264", "-preset", "veryfast", "-threads", "1", "-g", "60", "-c:a", "aac", "-ac", "2"}
	file := bytes.NewReader(ffmpeg(t, nil, append(append(in, args...), "-f", "flv", "-")...))
	if err := flv.ReadHeader(file); err != nil {
		t.Fatal(err)
	}
	var d flv.Demuxer
	for {
		tag, err := flv.ReadTag(file)
		if err != nil {
			break
		}
		au, err := d.Demux(tag)
		if err != nil {
			t.Fatal(err)
		}
		switch m := au; {
		case m == nil:
		case m.Codec.Video():
			video = append(video, &wire.Media{PTS: m.PTS + time.Second, Key: m.Key, Units: m.Units})
		default:
			audio = append(audio, &wire.Media{PTS: m.PTS + time.Second, Key: true, Units: m.Units})
		}
	}
	return video, audio, d.AudioSpecificConfig()
}

// pushFeed is push for pictures out of order: those of the last kept stay inside.
func (r *rig) pushFeed(input, out uint32, c media.Codec, frames []*wire.Media, kept time.Duration) {
	r.t.Helper()
	const slack = 400 * time.Millisecond
	var end time.Duration
	for i, m := range frames {
		copied := *m
		copied.Input = input
		r.send(&copied)
		end = max(end, m.PTS)
		if i%16 == 15 {
			r.until(out, c, m.PTS-slack)
		}
	}
	r.until(out, c, end-kept)
}

// TestTranscodeFeed makes what a WebRTC viewer takes of what OBS and ffmpeg send by
// default: every picture at its time, in order, in a baseline stream.
func TestTranscodeFeed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		args    []string
		shuffle bool
	}{
		{"B-frames", []string{"-bf", "3"}, true},
		{"4:4:4", []string{"-pix_fmt", "yuv444p"}, true},
		{"10 bits", []string{"-pix_fmt", "yuv420p10le"}, true},
		{"no B-frames", []string{"-bf", "0"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			frames, _, _ := feedOf(t, c.args...)
			shuffled := !slices.IsSortedFunc(frames, func(a, b *wire.Media) int { return int(a.PTS - b.PTS) })
			if shuffled != c.shuffle {
				t.Fatalf("the feed has its pictures out of order: %t, want %t", shuffled, c.shuffle)
			}
			r := newRig(t)
			r.send(&wire.OpenInput{Input: 1, Codec: media.H264, Feed: true},
				&wire.OpenTranscode{Output: 1, Input: 1, Encode: wire.Encode{FPS: 30, VideoKbps: 1000, GOP: 60}})
			kept := time.Duration(0)
			if c.shuffle {
				kept = tickTime(4, 30)
			}
			r.pushFeed(1, 1, media.H264, frames, kept)
			all := r.watch(1)
			slices.SortFunc(frames, func(a, b *wire.Media) int { return int(a.PTS - b.PTS) })
			if len(all) < len(frames)-4 || len(all) > len(frames) {
				t.Fatalf("%d pictures of %d", len(all), len(frames))
			}
			for i, s := range all {
				if s.PTS != frames[i].PTS {
					t.Fatalf("picture %d: PTS %v, want %v", i, s.PTS, frames[i].PTS)
				}
			}
			sps, err := h264.ParseSPS(all[0].Units[0])
			if err != nil || sps.Profile != 66 || sps.ChromaFormat != 1 || sps.BitDepthLuma != 8 {
				t.Errorf("SPS %+v, %v; want baseline", sps, err)
			}
			// The pictures are those of the feed: moving, and each like ffmpeg's own.
			want := ffmpeg(t, nil, "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30", "-frames:v", "80", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-")
			const size = 320 * 180 * 3 / 2
			for _, i := range []int{0, 31, 62, 79} {
				raw := want[i*size:]
				ref := &codec.Picture{W: 320, H: 180, Y: raw, U: raw[320*180:], V: raw[320*180*5/4:], YStride: 320, UStride: 160, VStride: 160}
				if got := psnr(all[i].pic, ref); got < 25 {
					t.Errorf("picture %d: %.1f dB from the source, want 25", i, got)
				}
			}
		})
	}
}

// TestTranscodeToOpus turns AAC at 44.1 kHz into Opus: the tone keeps its frequency
// and its time.
func TestTranscodeToOpus(t *testing.T) {
	t.Parallel()
	pictures, frames, config := feedOf(t, "-bf", "0", "-af", "volume='if(lt(mod(t,1),0.1),4,0)':eval=frame")
	r := newRig(t)
	r.send(&wire.OpenInput{Input: 1, Codec: media.AAC, Config: config},
		&wire.OpenTranscode{Output: 1, Input: 1, Encode: wire.Encode{Sound: media.Opus, SampleRate: 48000, Channels: 2, AudioKbps: 128}})
	r.pushFeed(1, 1, media.Opus, frames, 60*time.Millisecond)
	dec, err := codec.NewOpusDecoder(2)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	outs := r.of(1, media.Opus)
	var pcm []float32
	buf := make([]float32, 5760*2)
	for i, o := range outs {
		if want := outs[0].PTS + time.Duration(i)*20*time.Millisecond; (o.PTS - want).Abs() > time.Microsecond {
			t.Fatalf("packet %d at %v, want %v", i, o.PTS, want)
		}
		n, err := dec.Decode(buf, o.Units[0])
		if err != nil {
			t.Fatal(err)
		}
		pcm = append(pcm, buf[:n*2]...)
	}
	mono := left(pcm, 2)
	beeps := onsets(mono, outs[0].PTS)
	if len(beeps) != 3 {
		t.Fatalf("beeps at %v, want 3", beeps)
	}
	for i, at := range beeps {
		want := pictures[0].PTS + time.Duration(i)*time.Second
		if d := at - want; d < -10*time.Millisecond || d > 30*time.Millisecond { // ffmpeg's volume works by frames of 23 ms
			t.Errorf("beep %d at %v, want %v", i, at, want)
		}
	}
	beep := mono[int((beeps[1]-outs[0].PTS)*rate/time.Second):][:rate/20]
	strong := 300.0
	for hz := 300.0; hz <= 2000; hz += 20 {
		if a := tone(beep, hz, rate); a > tone(beep, strong, rate) {
			strong = hz
		}
	}
	if math.Abs(strong-700) > 20 {
		t.Errorf("the beep is %.0f Hz, want 700", strong)
	}
}

// TestTranscodeRefusals: what cannot be made is told with its reason.
func TestTranscodeRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.send(&wire.OpenInput{Input: 1, Codec: media.AAC, Config: []byte{0x11, 0x90}},
		&wire.OpenInput{Input: 2, Codec: media.AAC},
		&wire.OpenInput{Input: 3, Codec: media.VP8, Feed: true},
		&wire.OpenTranscode{Output: 1, Input: 2, Encode: wire.Encode{Sound: media.Opus, SampleRate: 48000}},
		&wire.OpenTranscode{Output: 2, Input: 1, Encode: wire.Encode{Sound: media.Opus, SampleRate: 44100}},
		&wire.OpenTranscode{Output: 3, Input: 1, Encode: wire.Encode{Sound: media.VP8, SampleRate: 48000}})
	r.wait("five refusals", func() bool { return len(r.failed) == 5 })
	// Sound that is only for a transcode does not disturb a mix.
	r.send(&wire.OpenMix{Output: 9, Encode: wire.Encode{SampleRate: 48000, Channels: 2, AudioKbps: 64}},
		&wire.Layout{Output: 9, Revision: 1, Audio: []uint32{1}},
		&wire.Media{Input: 1, PTS: r.now(), Key: true, Units: [][]byte{{0xff, 0xff}}})
	r.until(9, media.AAC, r.now()+200*time.Millisecond)
}
