package main

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// TestNewCodecs: one page publishes VP9, another AV1, and a Pion client H.265, which
// no browser here sends. A viewer sees the first two as they are; a mix shows all
// three, and a single-stream relay turns each into H.264. The pages' sound goes as
// redundant audio (RFC 2198).
func TestNewCodecs(t *testing.T) {
	camera := clip{ID: 1, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 440}
	file := clip{ID: 3, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 880}
	s := startBraid(t)
	browser := startChrome(t, camera.make(t))
	for _, who := range []struct{ user, codec string }{{"ann", "vp9"}, {"bob", "av1"}} {
		p := browser.open(who.user, s.http+"/demo/")
		p.camera(s.whip("codecs", who.user), s.token("codecs", who.user), who.codec)
		if !eval[bool](p, `
			const [audio] = session.pc.remoteDescription.sdp.split('m=').filter((m) => m.startsWith('audio'));
			const first = audio.split(' ')[3];
			return audio.includes('a=rtpmap:' + first + ' red/48000/2')`) {
			t.Errorf("%s is not asked for redundant audio", who.user)
		}
		eventually(t, 15*time.Second, who.user+" repeats its sound", func() (bool, string) {
			size := eval[float64](p, `
				let size = 0;
				(await session.pc.getStats()).forEach((s) => {
					if (s.type === 'outbound-rtp' && s.kind === 'audio' && s.packetsSent > 50) size = s.bytesSent / s.packetsSent;
				});
				return size`)
			return size > 120, fmt.Sprintf("%.0f bytes a packet, want two of about 80", size)
		})
	}
	files := file.make(t)
	files.H265 = filepath.Join(t.TempDir(), "v.h265")
	command(t, time.Minute, "ffmpeg", "-nostdin", "-v", "error", "-r", "30", "-i", files.H264, "-c:v", "libx265", "-preset", "ultrafast", "-tune", "zerolatency",
		"-x265-params", "log-level=none:keyint=30:scenecut=0:bframes=0:repeat-headers=1", "-f", "hevc", files.H265)
	s.publish("codecs", "cat", files, file.FPS, "h265")

	viewer := browser.open("viewer", s.http+"/demo/")
	for _, who := range []struct{ user, codec string }{{"ann", "video/VP9"}, {"bob", "video/AV1"}} {
		viewer.watch(s.whep("codecs", who.user), s.token("codecs", "viewer"), who.user)
		plays(t, viewer, who.user, who.codec)
	}

	const w, h, fps = 1280, 720, 25
	panes := []pane{{"ann", 0, 0, 0.5, 0.5, 1}, {"bob", 0.5, 0, 0.5, 0.5, 1}, {"cat", 0.25, 0.5, 0.5, 0.5, 1}}
	s.call("StartLiveMPUTask", mixParams("codecs-mix", "codecs", []string{s.rtmp + "/codecs-mix"}, w, h, fps, panes...))
	mixed := record(t, s.rtmp+"/codecs-mix", 6*time.Second).done(t)
	s.call("StopLiveMPUTask", map[string]any{"TaskId": "codecs-mix"})
	cleanDecode(t, mixed)
	of := map[string]clip{"ann": camera, "bob": camera, "cat": file}
	counts := map[string]*tally{}
	for _, p := range panes {
		counts[p.User] = &tally{last: -1}
	}
	eachPicture(t, mixed, rect{0, 0, w, h}, [2]int{}, func(pic picture) {
		for _, p := range panes {
			counts[p.User].look(pic.part(p.on(w, h)), of[p.User])
		}
	})
	for user, c := range counts {
		if c.seen < 40 || c.missed > c.seen/20 || c.backwards > 0 {
			t.Errorf("the mix's pane of %s: %d pictures right, %d before the first of them, %d wrong later, %d backwards", user, c.seen, c.early, c.missed, c.backwards)
		}
	}

	for user, want := range of {
		task := "codecs-" + user
		s.call("StartLiveMPUTask", singleParams(task, "codecs", user, s.rtmp+"/"+task))
		single := record(t, s.rtmp+"/"+task, 4*time.Second).done(t)
		s.call("StopLiveMPUTask", map[string]any{"TaskId": task})
		video, _ := streams(t, single)
		if video == nil || video.Codec != "h264" || video.BFrames != 0 {
			t.Fatalf("the relay of %s: %+v, want H.264", user, video)
		}
		c := &tally{last: -1}
		eachPicture(t, single, rect{0, 0, video.Width, video.Height}, [2]int{}, func(pic picture) { c.look(pic, want) })
		if c.seen < 40 || c.missed > c.seen/20 || c.backwards > 0 {
			t.Errorf("the relay of %s: %s", user, fmt.Sprintf("%d pictures right, %d wrong, %d backwards", c.seen, c.missed, c.backwards))
		}
	}
}
