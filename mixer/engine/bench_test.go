package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"braid/media"
	"braid/media/h264"
	"braid/mixer/wire"
)

// scenes are what benchmarks mix: two moving pictures of ffmpeg, with noise.
var scenes = []string{
	"testsrc2=s=640x360:r=30",
	"mandelbrot=s=640x360:r=30:end_scale=0.02:end_pts=900",
}

// scene is 10 s of a scene in H.264 as a browser sends it.
func scene(b *testing.B, i, w, h, kbps int) *clip {
	b.Helper()
	file := filepath.Join(b.TempDir(), "scene.h264")
	rate := fmt.Sprintf("%dk", kbps)
	ffmpeg(b, nil, "-f", "lavfi", "-i", scenes[i%len(scenes)], "-t", "10",
		"-vf", fmt.Sprintf("scale=%d:%d,noise=c0s=7:c0f=t:c1s=4:c1f=t:c2s=4:c2f=t,format=yuv420p", w, h),
		"-c:v", "libx264", "-preset", "superfast", "-tune", "zerolatency", "-profile:v", "baseline", "-x264-params", "sliced-threads=0:threads=1:aud=1",
		"-b:v", rate, "-maxrate", rate, "-bufsize", rate, "-g", "300", "-f", "h264", file)
	data, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	c := &clip{w: w, h: h, fps: 30}
	const accessUnitDelimiter = 9
	for _, u := range h264.SplitAnnexB(nil, data) {
		if h264.Type(u) == accessUnitDelimiter {
			c.units, c.keys = append(c.units, nil), append(c.keys, false)
			continue
		}
		n := len(c.units) - 1
		c.units[n] = append(c.units[n], u)
		c.keys[n] = c.keys[n] || h264.Type(u) == h264.TypeIDR
	}
	return c
}

// BenchmarkMix mixes 4 inputs into 1280x720 at 30 pictures a second, in real
// time: ns/op says nothing, cpu-ms/picture is all the CPU of this process, the
// feeding and the reading of the wire included. Run it with -benchtime 300x.
func BenchmarkMix(b *testing.B) {
	for _, size := range []struct{ w, h, kbps int }{{640, 360, 600}, {1280, 720, 1500}} {
		for _, sound := range []bool{false, true} {
			b.Run(fmt.Sprintf("4x%dp/sound=%v", size.h, sound), func(b *testing.B) {
				benchmarkMix(b, size.w, size.h, size.kbps, sound)
			})
		}
	}
}

func benchmarkMix(b *testing.B, w, h, kbps int, sound bool) {
	clips := []*clip{scene(b, 0, w, h, kbps), scene(b, 1, w, h, kbps)}
	voice := voiceOf(b, 0, 10*time.Second, vowel)
	r := newRig(b)
	l := &wire.Layout{Output: 1, Revision: 1}
	start := r.now() + 50*time.Millisecond
	for i := range uint32(4) {
		r.send(&wire.OpenInput{Input: 1 + i, Group: 1 + i, Codec: media.H264})
		var frames, words []*wire.Media
		for at := start; at < start+time.Duration(b.N+30)*time.Second/30; at += 10 * time.Second {
			frames = append(frames, clips[i%2].at(at)...)
			words = append(words, shift(voice, at)...)
		}
		r.feed(1+i, frames, nil)
		l.Panes = append(l.Panes, wire.Pane{X: int(i%2) * 640, Y: int(i/2) * 360, W: 640, H: 360, Input: 1 + i})
		if sound {
			r.send(&wire.OpenInput{Input: 11 + i, Group: 1 + i, Codec: media.Opus})
			r.feed(11+i, words, nil)
			l.Audio = append(l.Audio, 11+i)
		}
	}
	encode := wire.Encode{Width: 1280, Height: 720, FPS: 30, VideoKbps: 2000, GOP: 60}
	if sound {
		encode.SampleRate, encode.Channels, encode.AudioKbps = 48000, 2, 128
	}
	r.send(&wire.OpenMix{Output: 1, Encode: encode}, l)
	from := start + 300*time.Millisecond
	r.until(1, media.H264, from)
	b.ResetTimer()
	was := cpuTime(b)
	to := from + time.Duration(b.N)*time.Second/30
	for at := from; at < to; at += 5 * time.Second {
		r.until(1, media.H264, min(at, to))
	}
	r.until(1, media.H264, to)
	used := cpuTime(b) - was
	b.StopTimer()
	pictures, bytes := 0, 0
	for _, o := range r.of(1, media.H264) {
		if o.PTS > from && o.PTS <= to {
			pictures++
			for _, u := range o.Units {
				bytes += len(u)
			}
		}
	}
	b.ReportMetric(float64(used)/float64(time.Millisecond)/float64(pictures), "cpu-ms/picture")
	b.ReportMetric(float64(pictures)/(to-from).Seconds(), "pictures/s")
	b.ReportMetric(float64(bytes)*8/1000/(to-from).Seconds(), "kbit/s")
}

// cpuTime is what this process has used, user and system.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
