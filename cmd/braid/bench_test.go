package main

import (
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"braid/media/flv"
	"braid/media/rtmp"
)

// The benchmarks of `make bench` run the two real programs and load them with
// real clients from this process, whose CPU is not counted. Each figure with a
// target has its baseline in the same run, taken in turns: this kind of machine
// is shared and noisy.

// benchServer is bin/braid in its own process.
type benchServer struct {
	braidServer
	cmd *exec.Cmd
}

func startBenchServer(b *testing.B) *benchServer {
	b.Helper()
	dir := b.TempDir()
	http, rtmp := fmt.Sprint("127.0.0.1:", freePort(b)), fmt.Sprint("127.0.0.1:", freePort(b))
	config := fmt.Sprintf("data_dir: %s\nhttp: {listen: %q}\nrtmp: {listen: %q}\nmedia: {listen: \"127.0.0.1:0\"}\n"+
		"access_keys: [{id: %s, secret: %s}]\napplications: [{id: %s, key: %s}]\noutbound: {allow: [127.0.0.0/8]}\nadmin_tokens: [%s]\n", dir, http, rtmp, accessID, accessCode, testApp, testKey, adminToken)
	name := filepath.Join(dir, "braid.yaml")
	if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	s := &benchServer{braidServer: braidServer{t: b, http: "http://" + http, rtmp: "rtmp://" + rtmp + "/live"}}
	s.cmd = exec.Command("../../bin/braid", "serve", "--config", name, "--log", "warn")
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		b.Fatalf("make build first: %v", err)
	}
	b.Cleanup(func() {
		s.cmd.Process.Signal(syscall.SIGTERM)
		s.cmd.Wait()
	})
	eventually(b, 15*time.Second, "the server listens", func() (bool, string) {
		c, err := net.Dial("tcp", http)
		if err != nil {
			return false, err.Error()
		}
		c.Close()
		return true, ""
	})
	return s
}

// cpu is what the server and its media workers have used so far.
func (s *benchServer) cpu() (server, workers time.Duration) {
	server = processCPU(s.cmd.Process.Pid)
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
	for _, name := range tasks {
		children, _ := os.ReadFile(name)
		for _, pid := range strings.Fields(string(children)) {
			n, _ := strconv.Atoi(pid)
			workers += processCPU(n)
		}
	}
	return server, workers
}

// over measures what server and workers use in a span of time.
func (s *benchServer) over(d time.Duration) (server, workers time.Duration) {
	s0, w0 := s.cpu()
	wait(d)
	s1, w1 := s.cpu()
	return s1 - s0, w1 - w0
}

const mixSeconds = 12

// BenchmarkMix: 4 x 640x360 to one 1280x720 at 30 fps with sound, beside an
// ffmpeg filter graph that does the same with the same scaler and x264 settings.
func BenchmarkMix(b *testing.B) {
	need(b, "ffmpeg")
	s := startBenchServer(b)
	var files []clipFiles
	var panes []pane
	var first *peer
	clips := make([]clip, 4)
	for i := range clips {
		clips[i] = clip{ID: i + 1, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: float64(400 + 130*i)}
		files = append(files, clips[i].make(b))
		user := fmt.Sprint("u", i)
		p := s.publish("mix", user, files[i], 30, "h264")
		if i == 0 {
			first = p
		}
		panes = append(panes, pane{User: user, X: float64(i%2) / 2, Y: float64(i/2) / 2, W: 0.5, H: 0.5})
	}
	url := s.rtmp + "/bench_mix"
	params := mixParams("bench", "mix", []string{url}, 1280, 720, 30, panes...)
	encode := params["TranscodeParams"].(map[string]any)["EncodeParams"].(map[string]any)
	encode["VideoBitrate"], encode["VideoGop"] = "2000", "60"
	encode["EnhancedParam"] = `{"profile":"high","preset":"superfast"}`
	s.call("StartLiveMPUTask", params)
	latency := s.latency(b, url, first, clips[0])
	var ratios, ours, theirs []float64
	for range 3 {
		server, workers := s.over(mixSeconds * time.Second)
		peer := ffmpegMix(b, files, mixSeconds)
		frames := float64(mixSeconds * 30)
		ours = append(ours, ms(workers)/frames)
		theirs = append(theirs, ms(peer)/frames)
		ratios = append(ratios, float64(workers)/float64(peer))
		b.Logf("worker %.2f ms, server %.2f ms, ffmpeg %.2f ms a frame", ms(workers)/frames, ms(server)/frames, ms(peer)/frames)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ours), "worker-ms/frame")
	b.ReportMetric(median(theirs), "ffmpeg-ms/frame")
	b.ReportMetric(median(ratios), "worker/ffmpeg")
	b.ReportMetric(ms(percentile(latency, 50)), "p50-ms")
	b.ReportMetric(ms(percentile(latency, 99)), "p99-ms")
}

// ffmpegMix does the mix with ffmpeg, in real time as a mix runs, and gives its CPU time.
func ffmpegMix(b *testing.B, files []clipFiles, seconds int) time.Duration {
	args := []string{"-nostdin", "-v", "error", "-filter_complex_threads", "1"}
	for _, f := range files {
		args = append(args, "-threads", "1", "-re", "-stream_loop", "-1", "-framerate", "30", "-i", f.H264,
			"-re", "-stream_loop", "-1", "-i", f.Opus)
	}
	graph := "[0:v]scale=640:360:flags=area[a];[2:v]scale=640:360:flags=area[b];[4:v]scale=640:360:flags=area[c];[6:v]scale=640:360:flags=area[d];" +
		"[a][b][c][d]xstack=inputs=4:layout=0_0|w0_0|0_h0|w0_h0[v];[1:a][3:a][5:a][7:a]amix=inputs=4[s]"
	args = append(args, "-filter_complex", graph, "-map", "[v]", "-map", "[s]", "-t", fmt.Sprint(seconds), "-r", "30",
		"-c:v", "libx264", "-preset", "superfast", "-tune", "zerolatency", "-profile:v", "high", "-crf", "23",
		"-maxrate", "2000k", "-bufsize", "2000k", "-g", "60", "-sc_threshold", "0", "-bf", "0", "-threads", "1",
		"-c:a", "aac", "-aac_coder", "fast", "-b:a", "128k", "-ac", "2", "-f", "flv", "-y", "/dev/null")
	cmd := exec.Command("ffmpeg", args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("ffmpeg: %v\n%s", err, tail(string(out), 1000))
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// BenchmarkSingle: what one 720p30 stream of 2.5 Mbit/s costs to relay, over
// what receiving it costs anyway.
func BenchmarkSingle(b *testing.B) {
	s := startBenchServer(b)
	c := clip{ID: 3, W: 1280, H: 720, FPS: 30, Seconds: 10, Tone: 500, Kbps: 2500}
	ann := s.publish("single", "ann", c.make(b), 30, "h264")
	origin := nginxRTMP(b)
	var cost []float64
	var latency []time.Duration
	for i := range 3 {
		wait(2 * time.Second)
		server0, workers0 := s.over(10 * time.Second)
		task, url := fmt.Sprint("single", i), fmt.Sprint(origin, "/single", i)
		params := singleParams(task, "single", "ann", url)
		params["SeiParams"] = map[string]any{"LayoutVolume": map[string]any{"FollowIdr": "1", "Interval": "1000"}}
		s.call("StartLiveMPUTask", params)
		wait(2 * time.Second)
		server1, workers1 := s.over(10 * time.Second)
		if i == 0 {
			latency = s.latency(b, url, ann, c)
		}
		s.call("StopLiveMPUTask", map[string]any{"TaskId": task})
		cost = append(cost, 100*(server1+workers1-server0-workers0).Seconds()/10)
		b.Logf("server %.0f ms to %.0f ms, worker %.0f ms in 10 s: %.2f %% of a core", ms(server0), ms(server1), ms(workers1), cost[i])
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(cost), "%core")
	b.ReportMetric(ms(percentile(latency, 50)), "p50-ms")
	b.ReportMetric(ms(percentile(latency, 99)), "p99-ms")
}

// BenchmarkForward: CPU for each packet forwarded from one publisher to ten viewers.
func BenchmarkForward(b *testing.B) {
	const viewers = 10
	s := startBenchServer(b)
	f := clip{ID: 2, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 500}.make(b)
	s.publish("fan", "ann", f, 30, "h264")
	var watching []*peer
	for i := range viewers {
		p, err := watchUser(b, s.whep("fan", "ann"), s.token("fan", fmt.Sprint("v", i)))
		if err != nil {
			b.Fatal(err)
		}
		watching = append(watching, p)
	}
	packets := func() (n int64) {
		for _, p := range watching {
			n += p.videoPackets.Load() + p.audioPackets.Load()
		}
		return n
	}
	wait(3 * time.Second)
	var each []float64
	for range 3 {
		n := packets()
		server, _ := s.over(10 * time.Second)
		each = append(each, float64(server.Microseconds())/float64(packets()-n))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(each), "cpu-µs/packet")
}

// latency is the time from the moment a publisher sends a picture to the moment
// its tag has been read from an RTMP origin, picture by picture: the barcode
// says which one it is.
func (s *benchServer) latency(b *testing.B, url string, p *peer, c clip) []time.Duration {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var puller *rtmp.Puller
	eventually(b, 15*time.Second, "the stream can be pulled", func() (bool, string) {
		play, err := rtmp.Play(ctx, url, rtmp.Options{})
		if err != nil {
			return false, err.Error()
		}
		puller = play
		return true, ""
	})
	defer puller.Close()
	file := flv.Header(true, true)
	arrived := make(map[uint32]time.Time)
	first := time.Now()
	for time.Since(first) < 8*time.Second {
		tag, err := puller.Read()
		if err != nil {
			b.Fatal(err)
		}
		file = flv.AppendTag(file, tag)
		if tag.Type == flv.Video && time.Since(first) > 2*time.Second { // behind the cached group of pictures
			arrived[tag.Timestamp] = time.Now()
		}
	}
	name := filepath.Join(b.TempDir(), "latency.flv")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		b.Fatal(err)
	}
	frame, loop := time.Second/time.Duration(c.FPS), time.Duration(c.Seconds)*time.Second
	var all []time.Duration
	for _, pic := range pictures(b, name, rect{0, 0, c.W, c.H}, [2]int{}) {
		n, _, ok := pic.barcode()
		at, live := arrived[uint32(math.Round(ms(pic.PTS)))]
		if !ok || !live {
			continue
		}
		since := at.Sub(p.began.Load().Add(time.Duration(n) * frame))
		all = append(all, since%loop)
	}
	if len(all) < 60 {
		b.Fatalf("only %d pictures could be timed", len(all))
	}
	return all
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func percentile(v []time.Duration, p int) time.Duration {
	v = slices.Sorted(slices.Values(v))
	return v[min(len(v)*p/100, len(v)-1)]
}
