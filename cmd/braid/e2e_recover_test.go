package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMixSurvivesItsWorker kills the media worker: the mix comes back by itself,
// in the same stream.
func TestMixSurvivesItsWorker(t *testing.T) {
	c := clip{ID: 10, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 500}
	s := startBraid(t)
	s.publish("room", "gil", c.make(t), c.FPS, "h264")
	s.call("StartLiveMPUTask", mixParams("mix", "room", []string{s.rtmp + "/mix"}, 640, 360, 30, pane{"gil", 0, 0, 1, 1, 0}))
	r := record(t, s.rtmp+"/mix", 12*time.Second)
	r.reaches(200_000)
	worker := workers(t)
	if len(worker) != 1 {
		t.Fatalf("%d media workers run, want 1", len(worker))
	}
	if err := syscall.Kill(worker[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	file := r.done(t)
	var gap, last time.Duration
	good := 0
	for _, p := range pictures(t, file, rect{0, 0, 640, 360}, [2]int{160, 90}) {
		if _, id, ok := p.barcode(); ok && id == c.ID {
			if last > 0 {
				gap = max(gap, p.PTS-last)
			}
			last = p.PTS
			good++
		}
	}
	t.Logf("%d good pictures in 12 s, longest gap %v", good, gap)
	if gap > 3*time.Second || good < 8*30 {
		t.Errorf("after the worker's death the user is away for %v, want at most 3s; %d good pictures", gap, good)
	}
	if now := workers(t); len(now) != 1 || now[0] == worker[0] {
		t.Errorf("workers: %v, want one new one", now)
	}
}

// workers lists the media workers that this process has started.
func workers(t *testing.T) (pids []int) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has just ended
		}
		// pid (name) state parent ...; proc(5)
		head, rest, _ := strings.Cut(string(b), ") ")
		fields := strings.Fields(rest)
		if !strings.HasSuffix(head, "(braid-mixer") || len(fields) < 2 || fields[1] != fmt.Sprint(os.Getpid()) || fields[0] == "Z" {
			continue
		}
		pid, err := strconv.Atoi(strings.Fields(head)[0])
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// TestRelaySurvivesItsOrigin kills the origin and starts it again: the pushes
// come back without a new request.
func TestRelaySurvivesItsOrigin(t *testing.T) {
	c := clip{ID: 11, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 500}
	s := startBraid(t)
	s.publish("room", "hal", c.make(t), c.FPS, "h264")
	origin := newNginx(t)
	origin.start()
	s.call("StartLiveMPUTask", mixParams("mix", "room", []string{origin.url() + "/mix"}, 640, 360, 30, pane{"hal", 0, 0, 1, 1, 0}))
	s.call("StartLiveMPUTask", singleParams("single", "room", "hal", origin.url()+"/single"))
	for _, name := range []string{"/mix", "/single"} {
		pull(t, origin.url()+name, time.Second)
	}
	origin.stop()
	wait(2 * time.Second) // long enough for first attempts to fail
	origin.start()
	for _, name := range []string{"/mix", "/single"} {
		file := pull(t, origin.url()+name, 2*time.Second)
		cleanDecode(t, file)
		if n := readBarcodes(t, file, rect{0, 0, 640, 360}, [2]int{}, c.ID); n[len(n)-1] < 0 {
			t.Errorf("%s after the origin's restart does not show the user", name)
		}
	}
}

// TestUserLeavesAndReturns takes a user out of a running mix and back: the pane
// is black meanwhile, and the SEI's entry stays.
func TestUserLeavesAndReturns(t *testing.T) {
	stays := clip{ID: 12, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 500}
	goes := clip{ID: 13, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 700}
	s := startBraid(t)
	s.publish("room", "ida", stays.make(t), stays.FPS, "h264")
	leaver := s.publish("room", "jon", goes.make(t), goes.FPS, "vp8")
	panes := []pane{{"ida", 0, 0.25, 0.5, 0.5, 0}, {"jon", 0.5, 0.25, 0.5, 0.5, 0}}
	s.call("StartLiveMPUTask", mixParams("mix", "room", []string{s.rtmp + "/mix"}, 640, 360, 30, panes...))
	right := panes[1].on(640, 360)

	file := pull(t, s.rtmp+"/mix", 4*time.Second)
	if n := readBarcodes(t, file, right, [2]int{}, goes.ID); n[len(n)-1] < 0 {
		t.Fatal("jon is not in the mix")
	}
	leaver.close()
	eventually(t, 15*time.Second, "jon's pane turns black", func() (bool, string) {
		list := pictures(t, pull(t, s.rtmp+"/mix", time.Second), right, [2]int{16, 8})
		last := list[len(list)-1]
		for _, v := range last.Y {
			if v > 24 {
				return false, fmt.Sprintf("brightness %d", v)
			}
		}
		return true, ""
	})
	s.publish("room", "jon", goes.make(t), goes.FPS, "h264")
	eventually(t, 15*time.Second, "jon is back", func() (bool, string) {
		n := readBarcodes(t, pull(t, s.rtmp+"/mix", time.Second), right, [2]int{}, goes.ID)
		return n[len(n)-1] >= 0, fmt.Sprint(n)
	})
	file = pull(t, s.rtmp+"/mix", 2*time.Second)
	if n := readBarcodes(t, file, panes[0].on(640, 360), [2]int{}, stays.ID); n[0] < 0 || n[len(n)-1] < 0 {
		t.Error("ida suffered")
	}
}

// TestVP8IsTranscoded relays a VP8 publisher as a single stream: an origin gets
// H.264 with its pictures in order.
func TestVP8IsTranscoded(t *testing.T) {
	c := clip{ID: 14, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 500}
	s := startBraid(t)
	s.publish("room", "kim", c.make(t), c.FPS, "vp8")
	s.call("StartLiveMPUTask", singleParams("single", "room", "kim", s.rtmp+"/kim"))
	file := pull(t, s.rtmp+"/kim", 5*time.Second)
	video, audio := streams(t, file)
	if video == nil || video.Codec != "h264" || video.Width != 640 || video.Height != 360 || audio == nil || audio.Codec != "aac" {
		t.Fatalf("streams: %+v, %+v", video, audio)
	}
	cleanDecode(t, file)
	inOrder(t, readBarcodes(t, file, rect{0, 0, 640, 360}, [2]int{}, c.ID), 300, 4*c.FPS)
}

// TestPlayersOfTheOrigin reads one mix in each form that the embedded origin
// offers.
func TestPlayersOfTheOrigin(t *testing.T) {
	c := clip{ID: 15, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 500}
	s := startBraid(t)
	s.publish("room", "lea", c.make(t), c.FPS, "h264")
	s.call("StartLiveMPUTask", mixParams("mix", "room", []string{s.rtmp + "/lea"}, 640, 360, 30, pane{"lea", 0, 0, 1, 1, 0}))
	for _, url := range []string{s.rtmp + "/lea", s.http + "/live/lea.flv", s.http + "/live/lea.m3u8"} {
		file := pull(t, url, 4*time.Second)
		cleanDecode(t, file)
		numbers := readBarcodes(t, file, rect{0, 0, 640, 360}, [2]int{}, c.ID)
		inOrder(t, numbers, 300, 3*c.FPS)
		if level := toneLevel(decodePCM(t, file), c.Tone); level < -35 {
			t.Errorf("%s: tone at %.1f dBFS", url, level)
		}
	}
}

// inOrder checks that pictures come without going back and that few are missing
// once the first has come.
func inOrder(t *testing.T, numbers []int, loop, least int) {
	t.Helper()
	last, seen, lost := -1, 0, 0
	for i, n := range numbers {
		if n < 0 {
			if last >= 0 {
				t.Errorf("picture %d of %d is not readable", i, len(numbers))
			}
			continue
		}
		if step := (n - last + loop) % loop; last >= 0 && step > loop/2 {
			t.Errorf("picture %d is number %d after %d", i, n, last)
		} else if last >= 0 && step > 2 { // one may fall between two ticks of a mix
			lost += step - 1
		}
		last = n
		seen++
	}
	if seen < least || lost > seen/50 {
		t.Errorf("%d pictures, %d lost between them; want at least %d and none lost", seen, lost, least)
	}
}
