package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"braid/mixer"
	"braid/signaling/artc"
	"braid/signaling/token"
)

const (
	testApp, testKey     = "e2e", "e2e-app-key"
	accessID, accessCode = "e2e-access", "e2e-secret"
)

// braidServer is a whole braid in this process, on ports of its own. Its
// workers are real processes.
type braidServer struct {
	t    testing.TB
	http string      // base URL
	rtmp string      // rtmp://host:port/live
	pool *mixer.Pool // nil: it runs in another process
}

func startBraid(t testing.TB, change ...func(*config)) *braidServer {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a whole server and its clients: not in -short")
	}
	cfg := defaults()
	cfg.DataDir = t.TempDir()
	cfg.HTTP.Listen, cfg.RTMP.Listen, cfg.Media.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.Mixer.Program = mixerProgram(t)
	cfg.AccessKeys = []accessKey{{ID: accessID, Secret: accessCode}}
	cfg.Applications = []application{{ID: testApp, Key: testKey, Name: "tests"}}
	cfg.AdminTokens, cfg.Outbound.Allow = []string{adminToken}, []string{"127.0.0.0/8"}
	for _, f := range change {
		f(&cfg)
	}
	level := slog.LevelInfo
	if os.Getenv("BRAID_DEBUG") != "" {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(newStory(t), &slog.HandlerOptions{Level: level}))
	s, err := newServer(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the server ended with %v", err)
			}
			noLeaks(t)
		case <-time.After(20 * time.Second):
			t.Errorf("the server does not end:\n%s", stacks())
		}
	})
	return &braidServer{t: t, http: "http://" + s.HTTPAddr, rtmp: "rtmp://" + s.RTMPAddr + "/live", pool: s.pool}
}

// story collects what the server and the browsers say, and tells it when the
// test has failed: a passing run stays readable. BRAID_DEBUG tells it always,
// with the server's debug lines.
type story struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func newStory(t testing.TB) *story {
	s := &story{}
	t.Cleanup(func() {
		if t.Failed() || os.Getenv("BRAID_DEBUG") != "" {
			s.mu.Lock()
			defer s.mu.Unlock()
			t.Logf("what happened:\n%s", s.text.String())
		}
	})
	return s
}

// String is what was said so far.
func (s *story) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *story) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

var buildMixer = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "braid-mixer-")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "braid-mixer")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "../braid-mixer").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build braid-mixer: %w\n%s", err, out)
	}
	return program, nil
})

// mixerProgram builds the worker once for all tests, without the race detector:
// it is code under measurement, not under test here.
func mixerProgram(t testing.TB) string {
	t.Helper()
	program, err := buildMixer()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// noLeaks fails the test when goroutines of the server are still there.
func noLeaks(t testing.TB) {
	t.Helper()
	eventually(t, 5*time.Second, "all goroutines end", func() (bool, string) {
		for stack := range strings.SplitSeq(stacks(), "\n\n") {
			for _, part := range []string{"braid/media/", "braid/relay", "braid/mixer", "braid/origin", "braid/signaling", "braid/web"} {
				if strings.Contains(stack, part) {
					return false, stack
				}
			}
		}
		return true, ""
	})
}

func stacks() string {
	b := make([]byte, 4<<20)
	return string(b[:runtime.Stack(b, true)])
}

// token is a user's join token for a channel.
func (s *braidServer) token(channel, user string) string {
	return token.Sign(testApp, testKey, channel, user, time.Now().Add(time.Hour)).String()
}

func (s *braidServer) whip(channel, user string) string {
	return mediaURL("whip", s.http, testApp, channel, user, "camera")
}

func (s *braidServer) whep(channel, user string) string {
	return mediaURL("whep", s.http, testApp, channel, user, "camera")
}

// publish publishes a clip from Pion; video as publishFile takes it.
func (s *braidServer) publish(channel, user string, f clipFiles, fps int, video string) *peer {
	s.t.Helper()
	return publishFile(s.t, s.whip(channel, user), s.token(channel, user), f, fps, video)
}

// answer is what the OpenAPI says.
type answer struct {
	status int
	fields map[string]any
}

func (a answer) code() string    { s, _ := a.fields["Code"].(string); return s }
func (a answer) message() string { s, _ := a.fields["Message"].(string); return s }

// rpc builds a signed OpenAPI request. Nested parameters are written as JSON.
func (s *braidServer) rpc(action string, params map[string]any) *http.Request {
	s.t.Helper()
	q := url.Values{"AppId": {testApp}}
	for k, v := range params {
		if text, ok := v.(string); ok {
			q.Set(k, text)
			continue
		}
		b, err := json.Marshal(v)
		if err != nil {
			s.t.Fatal(err)
		}
		q.Set(k, string(b))
	}
	req, err := http.NewRequest("POST", s.http+"/?"+q.Encode(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("x-acs-action", action)
	if err := artc.Sign(req, accessID, accessCode, time.Now(), rand.Text()); err != nil {
		s.t.Fatal(err)
	}
	return req
}

func (s *braidServer) do(req *http.Request) answer {
	s.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode}
	if err := json.NewDecoder(resp.Body).Decode(&a.fields); err != nil {
		s.t.Fatalf("%s: the answer %d is not JSON: %v", req.Header.Get("x-acs-action"), resp.StatusCode, err)
	}
	return a
}

// call makes an OpenAPI call that has to succeed.
func (s *braidServer) call(action string, params map[string]any) map[string]any {
	s.t.Helper()
	a := s.do(s.rpc(action, params))
	if a.status != http.StatusOK {
		s.t.Fatalf("%s: %d %v", action, a.status, a.fields)
	}
	return a.fields
}

// pane is a rectangle of a mix in shares of the canvas.
type pane struct {
	User       string
	X, Y, W, H float64
	Z          int
}

// mixParams is a StartLiveMPUTask or UpdateLiveMPUTask request: users and their
// panes, layout SEI with each IDR and each second.
func mixParams(task, channel string, urls []string, w, h, fps int, panes ...pane) map[string]any {
	type object = map[string]any
	share := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	var users, userPanes, targets []object
	for _, p := range panes {
		users = append(users, object{"UserId": p.User})
		userPanes = append(userPanes, object{"X": share(p.X), "Y": share(p.Y), "Width": share(p.W), "Height": share(p.H),
			"ZOrder": strconv.Itoa(p.Z), "RenderMode": "1", "UserInfo": object{"UserId": p.User}})
	}
	for _, u := range urls {
		targets = append(targets, object{"URL": u})
	}
	return object{
		"ChannelId": channel, "TaskId": task, "MixMode": "1", "MultiStreamURL": targets,
		"SeiParams": object{"LayoutVolume": object{"FollowIdr": "1", "Interval": "1000"}},
		"TranscodeParams": object{
			"UserInfos": users, "Layout": object{"UserPanes": userPanes},
			"EncodeParams": object{"AudioOnly": "false", "AudioBitrate": "128", "AudioSampleRate": "48000", "AudioChannels": "2",
				"VideoWidth": strconv.Itoa(w), "VideoHeight": strconv.Itoa(h), "VideoFramerate": strconv.Itoa(fps),
				"VideoBitrate": "3000", "VideoGop": strconv.Itoa(min(fps, 60))},
		},
	}
}

// singleParams is a StartLiveMPUTask request that relays one user as it is.
func singleParams(task, channel, user, target string) map[string]any {
	return map[string]any{"ChannelId": channel, "TaskId": task, "MixMode": "0", "StreamURL": target,
		"SingleSubParams": map[string]any{"UserId": user}}
}

// on is where a pane lies on a canvas, in pixels.
func (p pane) on(w, h int) rect {
	px := func(v float64, of int) int { return int(v*float64(of)+0.5) &^ 1 }
	return rect{px(p.X, w), px(p.Y, h), px(p.W, w), px(p.H, h)}
}
