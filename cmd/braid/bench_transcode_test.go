package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const transcodeSeconds = 12

// BenchmarkTranscode: 1280x720 at 30 fps to 480, 360 and 240 lines, its sound passed
// on, beside one ffmpeg process that does the same with the same kind of scaler and x264
// settings.
func BenchmarkTranscode(b *testing.B) {
	need(b, "ffmpeg")
	source := filepath.Join(b.TempDir(), "source.flv")
	command(b, time.Minute, "ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30,noise=alls=6:allf=t",
		"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "20", "-c:v", "libx264", "-preset", "veryfast", "-b:v", "2500k", "-maxrate", "2500k",
		"-bufsize", "2500k", "-pix_fmt", "yuv420p", "-g", "60", "-c:a", "aac", "-b:a", "128k", source)
	s := startBenchServer(b)
	s.rest("POST", "/v1/applications/"+testApp+"/templates", map[string]any{"id": "bench", "kind": "transcode", "transcode": map[string]any{
		"renditions": []map[string]any{{"name": "480p", "height": 480, "bitrate": 1000}, {"name": "360p", "height": 360, "bitrate": 600}, {"name": "240p", "height": 240, "bitrate": 300}}}}, nil)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	defer func() { stop(); <-ended }()
	go func() {
		defer close(ended)
		_ = exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i", source, "-c", "copy", "-f", "flv", s.rtmp+"/cam").Run()
	}()
	var on struct{ Items []struct{ Name string } }
	eventually(b, 30*time.Second, "three renditions are on air", func() (bool, string) {
		s.rest("GET", "/v1/streams", nil, &on)
		return len(on.Items) == 4, fmt.Sprint(on)
	})
	wait(3 * time.Second)
	var ours, server, theirs, ratios []float64
	for range 3 {
		main, worker := s.over(transcodeSeconds * time.Second)
		peer := ffmpegTranscode(b, source)
		const frames = transcodeSeconds * 30
		ours, server, theirs = append(ours, ms(worker)/frames), append(server, ms(main)/frames), append(theirs, ms(peer)/frames)
		ratios = append(ratios, float64(worker)/float64(peer))
		b.Logf("worker %.2f ms, server %.2f ms, ffmpeg %.2f ms a picture of the source", ms(worker)/frames, ms(main)/frames, ms(peer)/frames)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ours), "worker-ms/frame")
	b.ReportMetric(median(server), "server-ms/frame")
	b.ReportMetric(median(theirs), "ffmpeg-ms/frame")
	b.ReportMetric(median(ratios), "worker/ffmpeg")
}

// ffmpegTranscode does the same with ffmpeg, in real time, and gives its CPU time.
func ffmpegTranscode(b *testing.B, source string) time.Duration {
	args := []string{"-nostdin", "-v", "error", "-filter_complex_threads", "1", "-threads", "1", "-re", "-i", source, "-t", fmt.Sprint(transcodeSeconds),
		"-filter_complex", "[0:v]split=3[a][b][c];[a]scale=-2:480:flags=area[v480];[b]scale=-2:360:flags=area[v360];[c]scale=-2:240:flags=area[v240]"}
	for _, r := range []struct{ height, kbps int }{{480, 1000}, {360, 600}, {240, 300}} {
		args = append(args, "-map", fmt.Sprintf("[v%d]", r.height), "-map", "0:a", "-c:a", "copy", "-c:v", "libx264", "-preset", "superfast", "-tune", "zerolatency",
			"-profile:v", "high", "-crf", "23", "-maxrate", fmt.Sprint(r.kbps, "k"), "-bufsize", fmt.Sprint(r.kbps, "k"), "-g", "600", "-force_key_frames", "source",
			"-sc_threshold", "0", "-bf", "0", "-threads", "1", "-f", "flv", "-y", "/dev/null")
	}
	cmd := exec.Command("ffmpeg", args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("ffmpeg: %v\n%s", err, tail(string(out), 1000))
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}
