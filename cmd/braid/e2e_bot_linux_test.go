package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBotPublish: the bot's picture and beeps come out of a relay; a file plays
// the same way; what is asked for again comes again.
func TestBotPublish(t *testing.T) {
	need(t, "ffmpeg", "ffprobe")
	s := startBraid(t)
	end := s.bot("--channel", "test", "--user", "clock", "--size", "640x360", "--fps", "25", "--kbps", "800")
	s.call("StartLiveMPUTask", singleParams("clock", "test", "clock", s.rtmp+"/clock"))
	file := pull(t, s.rtmp+"/clock", 4*time.Second)
	video, audio := streams(t, file)
	if video == nil || video.Width != 640 || video.Height != 360 || video.Codec != "h264" || audio == nil || audio.Codec != "aac" {
		t.Fatalf("streams: %+v, %+v", video, audio)
	}
	cleanDecode(t, file)
	if n := beeps(t, file); n < 2 || n > 6 {
		t.Errorf("%d beeps in about 4 s, want one a second", n)
	}
	if code, body := s.scrape(t, "/metrics", ""); code != 200 || !strings.Contains(body, `braid_rtp_lost_packets_total{direction="in",kind="video"} 0`) {
		t.Error("packets of the bot were lost on loopback")
	}
	if err := end(0); err != nil {
		t.Errorf("the bot ended with %v", err)
	}
	end = s.bot("--channel", "test", "--user", "film", "--size", "320x180", "--file", file)
	s.call("StartLiveMPUTask", singleParams("film", "test", "film", s.rtmp+"/film"))
	video, audio = streams(t, pull(t, s.rtmp+"/film", 5*time.Second)) // longer than the file
	if video == nil || video.Width != 320 || audio == nil {
		t.Errorf("a file: %+v, %+v", video, audio)
	}
	for user, c := range map[string]struct{ without, audio, video string }{"mute": {"-an", "", "H264"}, "dark": {"-vn", "opus", ""}} {
		part := filepath.Join(t.TempDir(), user+".flv")
		command(t, 30*time.Second, "ffmpeg", "-nostdin", "-v", "error", "-i", file, "-c", "copy", c.without, part)
		if err := s.botSending(c.audio, c.video, "--channel", "test", "--user", user, "--size", "320x180", "--file", part)(0); err != nil {
			t.Errorf("%s: the bot ended with %v", user, err)
		}
	}
	s.rest("DELETE", "/v1/applications/"+testApp+"/channels/test/users/film", nil, nil)
	if err := end(20 * time.Second); err == nil || !strings.Contains(err.Error(), "the server ended the session") {
		t.Errorf("after a kick the bot ended with %v", err)
	}
}

// bot starts braid bot publish; end gives it some time to end by itself, and then
// ends it.
func (s *braidServer) bot(args ...string) (end func(within time.Duration) error) {
	s.t.Helper()
	return s.botSending("opus", "H264", args...)
}

// botSending is bot with the codecs that are to come.
func (s *braidServer) botSending(audio, video string, args ...string) (end func(within time.Duration) error) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	var out bytes.Buffer
	go func() {
		over <- run(ctx, append([]string{"bot", "publish", "--url", s.http, "--app", testApp, "--key", testKey}, args...), &out, &out)
	}()
	s.t.Cleanup(cancel)
	user := args[3]
	var users struct {
		Users []struct {
			ID     string
			Codecs struct{ Audio, Video string }
		}
	}
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		users.Users = nil
		if status, body, _ := s.tryREST("GET", "/v1/applications/"+testApp+"/channels/test", nil); status == 200 {
			if err := json.Unmarshal(body, &users); err != nil {
				s.t.Fatal(err)
			}
		}
		for _, u := range users.Users {
			if u.ID == user && u.Codecs.Audio == audio && u.Codecs.Video == video {
				return func(within time.Duration) error {
					ended := time.AfterFunc(within, cancel)
					defer ended.Stop()
					return <-over
				}
			}
		}
		select {
		case err := <-over:
			s.t.Fatalf("the bot ended with %v: %s", err, &out)
		case <-deadline:
			s.t.Fatalf("%s does not publish: %+v", user, users)
		case <-tick.C:
		}
	}
}

// beeps counts the sounds in a file that begin after a silence of a fifth of a
// second.
func beeps(t *testing.T, file string) (n int) {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "sound")
	command(t, 30*time.Second, "ffmpeg", "-nostdin", "-v", "error", "-y", "-i", file, "-map", "0:a:0", "-ac", "1", "-ar", "8000", "-f", "s16le", raw)
	b, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	quiet := 0
	for ; len(b) >= 2; b = b[2:] {
		if v := int16(binary.LittleEndian.Uint16(b)); v < 3000 && v > -3000 {
			quiet++
			continue
		}
		if quiet > 8000/5 {
			n++
		}
		quiet = 0
	}
	return n
}
