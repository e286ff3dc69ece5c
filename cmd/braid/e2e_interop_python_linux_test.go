package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// foreign is a WHIP or WHEP client in another language: a program that runs
// until its standard input ends and prints JSON lines of what it receives.
type foreign struct {
	t       *testing.T
	process *exec.Cmd
	stdin   io.Closer
	ended   chan struct{} // closed when its output has ended
	stopped bool

	connected      atomic.Bool
	frames, sounds atomic.Int64
}

// Debian's modules are the system interpreter's.
const python = "/usr/bin/python3"

// canRun skips the test when a script of testdata/interop says that something
// it needs is missing.
func canRun(t *testing.T, script string) {
	t.Helper()
	_, complaints, err := tryCommand(20*time.Second, python, "testdata/interop/"+script, "check")
	if err != nil {
		t.Skipf("%v: %s (script/setup.sh test installs it)", err, strings.TrimSpace(complaints))
	}
}

func startForeign(t *testing.T, program string, args ...string) *foreign {
	t.Helper()
	f := &foreign{t: t, ended: make(chan struct{}), process: exec.Command(program, args...)}
	stdin, err := f.process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := f.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	f.stdin, f.process.Stderr = stdin, newStory(t)
	if err := f.process.Start(); err != nil {
		t.Fatal(err)
	}
	go f.listen(stdout)
	t.Cleanup(func() {
		if !f.stopped {
			f.process.Process.Kill()
			<-f.ended
			f.process.Wait()
		}
	})
	return f
}

func (f *foreign) listen(out io.Reader) {
	defer close(f.ended)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var said struct {
			Connected      bool
			Frames, Sounds int64
		}
		if json.Unmarshal(lines.Bytes(), &said) != nil {
			continue
		}
		if said.Connected {
			f.connected.Store(true)
		}
		f.frames.Store(max(f.frames.Load(), said.Frames))
		f.sounds.Store(max(f.sounds.Load(), said.Sounds))
	}
}

// isConnected waits until media can flow.
func (f *foreign) isConnected() {
	f.t.Helper()
	eventually(f.t, 20*time.Second, "the client connects", func() (bool, string) { return f.connected.Load(), "" })
}

// gets waits until so much was received.
func (f *foreign) gets(frames, sounds int64) {
	f.t.Helper()
	eventually(f.t, 20*time.Second, "the client receives", func() (bool, string) {
		v, a := f.frames.Load(), f.sounds.Load()
		return v >= frames && a >= sounds, fmt.Sprintf("%d pictures, %d packets of sound", v, a)
	})
}

// stop lets the client end its session and itself.
func (f *foreign) stop() {
	f.t.Helper()
	f.stdin.Close()
	select {
	case <-f.ended:
	case <-time.After(15 * time.Second):
		f.t.Error("the client does not end")
		f.process.Process.Kill()
		<-f.ended
	}
	f.stopped = true
	if err := f.process.Wait(); err != nil {
		f.t.Errorf("the client: %v", err)
	}
}

// TestGStreamer and TestAiortc: what each publishes is relayed over RTMP and
// decoded by ffmpeg, and played by itself; what Pion publishes, it plays.
func TestGStreamer(t *testing.T) { testPython(t, "gst.py", "watched.mkv") }
func TestAiortc(t *testing.T)    { testPython(t, "aio.py", "watched.y4m") }

func testPython(t *testing.T, script, file string) {
	canRun(t, script)
	if !inSpace(t) {
		return
	}
	s := startSpaceBraid(t)
	c := clip{ID: 9, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 440}
	f := c.make(t)
	script = "testdata/interop/" + script
	for _, codec := range []string{"h264", "vp8"} {
		t.Run("publishes "+codec, func(t *testing.T) {
			s.t = t
			user := "from-" + codec
			from := startForeign(t, python, script, "publish", s.whip("room", user), s.token("room", user), codec)
			from.isConnected()
			to := startForeign(t, python, script, "watch", s.whep("room", user), s.token("room", "viewer"), codec, filepath.Join(t.TempDir(), file))
			task := "task-" + codec
			s.call("StartLiveMPUTask", singleParams(task, "room", user, s.rtmp+"/"+task))
			relayed := pull(t, s.rtmp+"/"+task, 3*time.Second)
			looks(t, relayed, 60)
			to.gets(45, 45)
			to.stop()
			s.call("StopLiveMPUTask", map[string]any{"TaskId": task})
			from.stop()
			s.gone("room", user)
		})
		t.Run("plays "+codec, func(t *testing.T) {
			s.t = t
			s.publish("room", "pion-"+codec, f, c.FPS, codec)
			watched := filepath.Join(t.TempDir(), file)
			to := startForeign(t, python, script, "watch", s.whep("room", "pion-"+codec), s.token("room", "viewer"), codec, watched)
			to.gets(60, 60)
			to.stop()
			seen, lost := 0, 0
			for _, n := range readBarcodes(t, watched, rect{0, 0, c.W, c.H}, [2]int{}, c.ID) {
				if n < 0 {
					lost++
				} else {
					seen++
				}
			}
			if seen < 50 || lost > 3 {
				t.Errorf("%d of the pictures that it got are the publisher's, %d are not", seen, lost)
			}
			t.Logf("%d pictures", seen)
		})
	}
	s.t = t
}

// looks checks that a file decodes cleanly into at least so many pictures that
// are not all the same.
func looks(t *testing.T, file string, least int) {
	t.Helper()
	cleanDecode(t, file)
	different := map[string]bool{}
	all := pictures(t, file, rect{0, 0, 640, 360}, [2]int{32, 18})
	for _, p := range all {
		different[string(p.Y)] = true
	}
	if len(all) < least || len(different) < least/4 {
		t.Errorf("%d pictures, %d different; want %d", len(all), len(different), least)
	}
}

// gone waits until a user is out of a channel.
func (s *braidServer) gone(channel, user string) {
	s.t.Helper()
	eventually(s.t, 5*time.Second, user+" leaves", func() (bool, string) {
		tags := s.comings(channel)
		last := ""
		for _, tag := range tags {
			if strings.HasSuffix(tag, " "+user) {
				last = tag
			}
		}
		return strings.HasPrefix(last, "Leave "), fmt.Sprint(tags)
	})
}
