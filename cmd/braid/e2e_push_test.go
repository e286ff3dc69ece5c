package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPushBySRT: a mix goes to the origin by RTMP and to a real SRT listener,
// encrypted; what that gets is the mix. Both are in the list of tasks, and neither
// the stream id nor the passphrase is shown or logged.
func TestPushBySRT(t *testing.T) {
	s := startBraid(t)
	c := clip{ID: 3, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 500}
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.LocalAddr().(*net.UDPAddr).Port
	free.Close()
	const id, secret = "thestreamsname", "verysecretphrase"
	file := filepath.Join(t.TempDir(), "srt.ts")
	listener := exec.Command("ffmpeg", "-v", "error", "-y", "-f", "mpegts", "-i",
		fmt.Sprintf("srt://127.0.0.1:%d?mode=listener&passphrase=%s", port, secret), "-t", "4", "-c", "copy", file)
	if err := listener.Start(); err != nil {
		t.Skip("no ffmpeg: ", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- listener.Wait() }()
	t.Cleanup(func() { _ = listener.Process.Kill() })

	s.publish("room", "ann", c.make(t), c.FPS, "h264")
	s.call("StartLiveMPUTask", mixParams("mix", "room",
		[]string{s.rtmp + "/mix", fmt.Sprintf("srt://127.0.0.1:%d?latency=200&streamid=%s&passphrase=%s", port, id, secret)},
		640, 360, 30, pane{"ann", 0, 0, 1, 1, 0}))
	var shown string
	eventually(t, 60*time.Second, "both URLs play", func() (bool, string) {
		var page struct {
			Items []struct {
				Destinations []struct {
					URL, State string
					Bytes      uint64
				}
			}
		}
		s.rest("GET", "/v1/applications/"+testApp+"/tasks", nil, &page)
		shown = fmt.Sprint(page)
		if len(page.Items) != 1 || len(page.Items[0].Destinations) != 2 {
			return false, shown
		}
		d := page.Items[0].Destinations
		return d[0].State == "playing" && d[1].State == "playing" && d[1].Bytes > 0, shown
	})
	if strings.Contains(shown, secret) || strings.Contains(shown, id) || !strings.Contains(shown, fmt.Sprintf("srt://127.0.0.1:%d?***", port)) {
		t.Errorf("shown: %s", shown)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("ffmpeg: %v", err)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("the listener does not get four seconds within a minute")
	}
	if info, err := os.Stat(file); err != nil || info.Size() == 0 {
		t.Fatalf("%v, %v", info, err)
	}
	if n := readBarcodes(t, file, rect{0, 0, 640, 360}, [2]int{}, c.ID); n[len(n)-1] < 0 {
		t.Errorf("what came by SRT is not the mix: %v", n)
	}
}
