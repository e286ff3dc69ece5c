package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// flvFor keeps what HTTP-FLV gives for some time.
func (s *braidServer) flvFor(name string, d time.Duration) string {
	ctx, cancel := context.WithTimeout(s.t.Context(), d)
	defer cancel()
	file := filepath.Join(s.t.TempDir(), name+".flv")
	out, err := os.Create(file)
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	req, err := http.NewRequestWithContext(ctx, "GET", s.http+"/live/"+name+".flv", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Error(err)
		return file
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		s.t.Errorf("%s: %s", name, res.Status)
	}
	_, _ = io.Copy(out, res.Body) // until the time is over
	return file
}

// packets are those of a file's stream: time, size and whether it is a key frame, as
// ffprobe shows them.
func packets(t *testing.T, file, stream string) (all []string) {
	t.Helper()
	out, _ := command(t, time.Minute, "ffprobe", "-v", "fatal", "-select_streams", stream, "-show_entries", "packet=pts_time,size,flags", "-of", "csv=p=0", file)
	return strings.Fields(out)
}

// keyTimes are the times of key frames.
func keyTimes(packets []string) (times []string) {
	for _, p := range packets {
		if f := strings.Split(p, ","); len(f) == 3 && strings.Contains(f[2], "K") {
			times = append(times, f[0])
		}
	}
	return times
}

// What the pictures of pushSizes say in each key frame.
const saidID, saidWords = "086f3693b7b34f2c965321492feee5b8", "said in each key frame"

// wantSizes makes the template of two renditions.
func (s *braidServer) wantSizes() {
	s.t.Helper()
	need(s.t, "ffmpeg", "ffprobe")
	s.rest("POST", "/v1/applications/"+testApp+"/templates", map[string]any{"id": "sizes", "kind": "transcode", "transcode": map[string]any{
		"renditions": []map[string]any{{"name": "240p", "height": 240, "bitrate": 400}, {"name": "120p", "height": 120, "bitrate": 150, "fps": 15}}}}, nil)
}

// pushSizes pushes a stream with ffmpeg, B-frames and all.
func (s *braidServer) pushSizes(name string) (end func()) {
	ended := make(chan struct{})
	ctx, stop := context.WithCancel(s.t.Context())
	end = func() { stop(); <-ended }
	s.t.Cleanup(end)
	go func() {
		defer close(ended)
		cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30",
			"-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "120", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-threads", "1",
			"-pix_fmt", "yuv420p", "-g", "30", "-keyint_min", "30", "-sc_threshold", "0", "-b:v", "900k", "-bsf:v", "h264_metadata=sei_user_data="+saidID+"+"+saidWords,
			"-c:a", "aac", "-b:a", "64k", "-f", "flv", s.rtmp+"/"+name)
		_ = cmd.Run() // ended by the test
	}()
	return end
}

// onAir waits until these streams are, and what their jobs say holds some words (all of
// them are silent: "").
func (s *braidServer) onAir(words string, names ...string) {
	s.t.Helper()
	eventually(s.t, 30*time.Second, fmt.Sprintf("%v are on air, %q is said", names, words), func() (bool, string) {
		var on struct {
			Items []struct {
				Name string
				Jobs []struct{ Error string }
			}
		}
		s.rest("GET", "/v1/streams", nil, &on)
		var there []string
		said := ""
		for _, item := range on.Items {
			there = append(there, item.Name)
			for _, job := range item.Jobs {
				said += job.Error
			}
		}
		slices.Sort(there)
		return slices.Equal(there, names) && (words == "" && said == "" || words != "" && strings.Contains(said, words)), fmt.Sprint(on)
	})
}

// TestTranscode pushes with ffmpeg, B-frames and all, into the origin, where a template
// wants two renditions: they have the sizes and rates asked for, the source's key frames
// at the source's times, its sound byte by byte, its SEI; and the master playlist leads
// to them. There is room for them only when another stream has ended, and first for the
// smaller one.
func TestTranscode(t *testing.T) {
	s := startBraid(t, func(c *config) { c.Transcode.Cores = 0.06 })
	s.wantSizes()
	end := s.pushSizes("before")
	s.onAir("", "before", "before_120p", "before_240p")
	s.pushSizes("cam")
	s.onAir("no room", "before", "before_120p", "before_240p", "cam")
	end()
	s.onAir("", "cam", "cam_120p", "cam_240p")
	files := make(map[string]string)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, name := range []string{"cam", "cam_240p", "cam_120p"} {
		wg.Go(func() {
			file := s.flvFor(name, 6*time.Second)
			mu.Lock()
			defer mu.Unlock()
			files[name] = file
		})
	}
	wg.Wait()
	keys, sound := keyTimes(packets(t, files["cam"], "v")), packets(t, files["cam"], "a")
	for name, want := range map[string]struct{ size, least int }{"cam_240p": {240, 90}, "cam_120p": {120, 45}} {
		checkRendition(t, files[name], keys, sound, want.size, want.least)
		b, err := os.ReadFile(files[name])
		if err != nil {
			t.Fatal(err)
		}
		id, _ := hex.DecodeString(saidID)
		if n := bytes.Count(b, append(id, saidWords...)); n < len(keyTimes(packets(t, files[name], "v")))-1 {
			t.Errorf("%s: %d SEI messages of the source, want one in each key frame", name, n)
		}
	}
	s.checkMaster()
}

// checkRendition compares a rendition with its source.
func checkRendition(t *testing.T, file string, keys, sound []string, height, least int) {
	t.Helper()
	name := filepath.Base(file)
	out, _ := command(t, time.Minute, "ffprobe", "-v", "fatal", "-select_streams", "v", "-show_entries", "stream=codec_name,width,height,has_b_frames", "-of", "csv=p=0", file)
	if want := fmt.Sprintf("h264,%d,%d,0", even2(640*height/360), height); strings.TrimSpace(out) != want {
		t.Errorf("%s: got %s, want %s", name, strings.TrimSpace(out), want)
	}
	video := packets(t, file, "v")
	if len(video) < least {
		t.Errorf("%s: %d pictures in 6 s, want %d or more", name, len(video), least)
	}
	common := 0
	for _, k := range keyTimes(video) {
		if slices.Contains(keys, k) {
			common++
		} else if len(keys) > 0 && secondsOf(k) > secondsOf(keys[0]) && secondsOf(k) < secondsOf(keys[len(keys)-1]) {
			t.Errorf("%s: key frame at %s, where the source has none: %v", name, k, keys)
		}
	}
	if common < 3 {
		t.Errorf("%s: %d key frames in common with the source, want 3 or more: %v and %v", name, common, keyTimes(video), keys)
	}
	same := 0
	for _, p := range packets(t, file, "a") {
		if slices.Contains(sound, p) {
			same++
		}
	}
	if same < 100 { // of some 46 a second
		t.Errorf("%s: %d frames of sound as in the source, want 100 or more", name, same)
	}
	if _, complaints := command(t, time.Minute, "ffmpeg", "-nostdin", "-v", "error", "-i", file, "-f", "null", "-"); strings.Contains(complaints, "h264") {
		t.Errorf("%s: ffmpeg complains: %s", name, tail(complaints, 800))
	}
}

func even2(n int) int { return (n + 1) / 2 * 2 }

func secondsOf(s string) float64 {
	f, _ := strconv.ParseFloat(s, 64)
	return f
}

// checkMaster reads the master playlist as a player does.
func (s *braidServer) checkMaster() {
	s.t.Helper()
	res, err := http.Get(s.http + "/live/cam/master.m3u8")
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("the master playlist: %s, %v: %s", res.Status, err, text)
	}
	form := regexp.MustCompile(`#EXT-X-STREAM-INF:BANDWIDTH=(\d+),AVERAGE-BANDWIDTH=(\d+),CODECS="(avc1\.[0-9a-f]{6},mp4a\.40\.2)",RESOLUTION=(\d+x\d+)\n(\S+)\n`)
	got := map[string]int{}
	for _, m := range form.FindAllStringSubmatch(string(text), -1) {
		peak, _ := strconv.Atoi(m[1])
		average, _ := strconv.Atoi(m[2])
		if average <= 0 || average > peak {
			s.t.Errorf("%s: on average %d bit/s, at most %d", m[5], average, peak)
		}
		got[m[4]+" "+m[5]] = peak
	}
	for _, want := range []string{"640x360 fmp4.m3u8", "426x240 ../cam_240p/fmp4.m3u8", "214x120 ../cam_120p/fmp4.m3u8"} {
		if got[want] == 0 {
			s.t.Errorf("the master playlist has no %s:\n%s", want, text)
		}
	}
	out, complaints, err := tryCommand(time.Minute, "ffprobe", "-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0", s.http+"/live/cam/master.m3u8")
	for _, want := range []string{"640,360", "426,240", "214,120"} {
		if err != nil || !strings.Contains(out, want) {
			s.t.Errorf("ffprobe of the master playlist finds no picture of %s: %s %v %s", want, out, err, tail(complaints, 500))
		}
	}
}

// TestTranscodeSwitches lets hls.js go from one rendition to another while it plays the
// master playlist: each shows its own size, and the play goes on without a stall.
func TestTranscodeSwitches(t *testing.T) {
	s := startBraid(t)
	s.wantSizes()
	s.pushSizes("cam")
	s.onAir("", "cam", "cam_120p", "cam_240p")
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hls.light.min.js" {
			http.ServeFile(w, r, "testdata/players/hls.light.min.js")
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><title>switches</title><video muted width=320></video><script src="hls.light.min.js"></script>`)
	}))
	t.Cleanup(site.Close)
	p := startChrome(t, clipFiles{}).open("switches", site.URL)
	eval[bool](p, fmt.Sprintf(`
		window.trouble = [];
		window.video = document.querySelector('video');
		window.hls = new Hls({ enableWorker: false, startLevel: 0 });
		hls.on(Hls.Events.ERROR, (_, e) => trouble.push(e.details + (e.fatal ? ' FATAL' : '')));
		hls.on(Hls.Events.MANIFEST_PARSED, () => video.play());
		hls.loadSource(%s);
		hls.attachMedia(video);
		return true`, quoted(s.http+"/live/cam/master.m3u8")))
	widths := `return hls.levels.map((l) => l.width).join()`
	p.until(30*time.Second, "hls.js plays", "video.videoWidth > 0 && video.currentTime > 0")
	if got := eval[string](p, widths); got != "214,426,640" {
		t.Errorf("hls.js finds pictures %s wide, want 214,426,640", got)
	}
	for _, level := range []int{2, 0, 1} {
		width := []int{214, 426, 640}[level]
		began := eval[float64](p, fmt.Sprintf("hls.nextLevel = %d; return video.currentTime", level))
		p.until(30*time.Second, fmt.Sprintf("hls.js shows %d", width), fmt.Sprintf("video.videoWidth === %d && video.currentTime > %f + 2 && !video.paused", width, began))
	}
	if trouble := eval[string](p, "return trouble.join()"); strings.Contains(trouble, "FATAL") {
		t.Errorf("hls.js: %s", trouble)
	} else {
		t.Logf("hls.js: trouble %q", trouble)
	}
}
