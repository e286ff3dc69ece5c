package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRTMPPublisherIsAUser publishes with ffmpeg to an address of
// CreateRoomRealTimeStreamAddress: the publisher is in the channel like any
// other user, for viewers, in the mix and in callbacks.
func TestRTMPPublisherIsAUser(t *testing.T) {
	need(t, "ffmpeg")
	s := startBraid(t)
	r := newReceiver(t, 0)
	s.call("CreateEventSub", map[string]any{"CallbackUrl": r.url, "Events.1": "ChannelEvent", "Events.2": "UserEvent"})
	c := clip{ID: 7, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 600}
	f := c.make(t)
	address, _ := s.call("CreateRoomRealTimeStreamAddress", map[string]any{"ChannelId": "room", "UserId": "obs", "DisplayName": "Obs"})["RtmpAddress"].(string)
	if !strings.HasPrefix(address, "rtmp://127.0.0.1:") {
		t.Fatalf("RtmpAddress: got %q", address)
	}
	loop := filepath.Join(t.TempDir(), "loop.mkv") // an H.264 file without a container cannot be looped
	command(t, time.Minute, "ffmpeg", "-nostdin", "-v", "error", "-framerate", "30", "-i", f.H264, "-i", f.Opus, "-c", "copy", loop)
	// As OBS does by default: x264 with B-frames, a key frame every 2 s, AAC.
	ffmpeg := exec.Command("ffmpeg", "-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i", loop, "-c:v", "libx264", "-preset", "veryfast", "-bf", "2",
		"-g", "60", "-b:v", "1500k", "-c:a", "aac", "-b:a", "128k", "-f", "flv", address)
	ffmpeg.Stderr = newStory(t)
	if err := ffmpeg.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { ffmpeg.Wait(); close(ended) }()
	t.Cleanup(func() { ffmpeg.Process.Kill(); <-ended })

	eventually(t, 20*time.Second, "the publisher is in the channel", func() (bool, string) {
		a := s.call("DescribeChannelUsers", map[string]any{"ChannelId": "room"})
		return fmt.Sprint(a["InteractiveUserList"]) == "[obs]", fmt.Sprint(a)
	})
	var viewer *peer
	eventually(t, 20*time.Second, "a WHEP viewer is let in", func() (bool, string) {
		p, err := watchUser(t, s.whep("room", "obs"), s.token("room", "eve"))
		viewer = p
		return err == nil, fmt.Sprint(err)
	})
	eventually(t, 20*time.Second, "pictures and sound reach a WHEP viewer", func() (bool, string) {
		return viewer.videoFrames.Load() > 60 && viewer.audioPackets.Load() > 100,
			fmt.Sprint(viewer.videoFrames.Load(), " pictures, ", viewer.audioPackets.Load(), " packets of sound")
	})
	s.call("StartLiveMPUTask", mixParams("mix", "room", []string{s.rtmp + "/mix"}, 640, 360, 30, pane{"obs", 0, 0, 1, 1, 0}))
	eventually(t, 20*time.Second, "the mix shows the publisher", func() (bool, string) {
		n := readBarcodes(t, pull(t, s.rtmp+"/mix", 2*time.Second), rect{0, 0, 640, 360}, [2]int{}, c.ID)
		return n[len(n)-1] >= 0, fmt.Sprint(n)
	})
	if level := toneLevel(decodePCM(t, pull(t, s.rtmp+"/mix", 2*time.Second)), c.Tone); level < -18 || level > -8 {
		t.Errorf("the publisher's tone in the mix: got %.1f dBFS, want -18 to -8", level)
	}

	ffmpeg.Process.Kill()
	want := []string{"Open", "Join obs", "PublishAudio obs", "PublishVideo obs", "Join eve", "UnpublishAudio obs", "UnpublishVideo obs", "Leave obs"}
	eventually(t, 20*time.Second, "callbacks tell the story", func() (bool, string) {
		once, _ := r.got()
		story := in("room", once)
		return !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(story, w) }), strings.Join(story, ", ")
	})
}
