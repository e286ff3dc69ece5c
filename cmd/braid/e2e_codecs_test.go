package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestNewCodecs: one page publishes VP9, another AV1, and a Pion client H.265, which
// no browser here sends. A viewer sees the first two as they are; a mix shows all
// three, and a single-stream relay turns each into H.264. The pages' sound goes as
// redundant audio (RFC 2198). Then the first two are published in layers.
func TestNewCodecs(t *testing.T) {
	camera := clip{ID: 1, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 440}
	file := clip{ID: 3, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 880}
	s := startBraid(t)
	browser := startChrome(t, camera.make(t))
	var pages []*page
	for _, who := range []struct{ user, codec string }{{"ann", "vp9"}, {"bob", "av1"}} {
		p := browser.open(who.user, s.http+"/demo/")
		pages = append(pages, p)
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

	for _, p := range append(pages, viewer) { // what follows is much to encode
		eval[bool](p, `for (const s of [window.session, ...Object.values(window.sessions ?? {})]) s?.close(); return true`)
	}
	layersInside(t, s, browser, camera)
}

// layersInside has the SDK publish VP9 and AV1 in spatial layers of one stream (SVC).
// A viewer who is there, one who comes late and so needs a key frame, and a mix get
// the largest layer.
func layersInside(t *testing.T, s *braidServer, c *chrome, film clip) {
	const width, height, fps = 480, 270, 10 // browsers make no layer under 240 pixels
	modes, stages := map[string]string{"vp9": "L2T3_KEY", "av1": "L2T2"}, map[string]*layerStage{}
	for codec, mode := range modes {
		l := newLayerStage(t, s, c, film, codec, fmt.Sprintf("scalabilityMode: %q, degradation: 'maintain-resolution', width: %d, height: %d, frameRate: %d", mode, width, height, fps))
		l.look("ben", width, height)
		stages[codec] = l
	}
	mixes := map[string]*recording{}
	for codec, l := range stages {
		l.comes("ben", width, 20*time.Second)
		task := "inside-" + codec
		s.call("StartLiveMPUTask", mixParams(task, l.channel, []string{s.rtmp + "/" + task}, width, height, fps, pane{"ann", 0, 0, 1, 1, 1}))
		mixes[codec] = record(t, s.rtmp+"/"+task, 4*time.Second)
		l.look("cara", width, height)
	}
	for codec, l := range stages {
		if got := l.sending()[""].Mode; got != modes[codec] {
			t.Errorf("%s is sent as %q, want %s", codec, got, modes[codec])
		}
		for _, name := range []string{"ben", "cara"} {
			eventually(t, 20*time.Second, name+" sees "+codec, func() (bool, string) {
				got := l.got(name)
				return got.Frames >= 40 && got.Width == width, fmt.Sprintf("%+v of %+v", got, l.sending())
			})
			l.inOrder(name, 20)
		}
		count := &tally{last: -1}
		eachPicture(t, mixes[codec].done(t), rect{0, 0, width, height}, [2]int{}, func(pic picture) { count.look(pic, film) })
		if count.seen < 20 || count.missed > count.seen/20 || count.backwards > 0 {
			t.Errorf("the mix of %s: %d pictures right, %d before the first of them, %d wrong later, %d backwards", codec, count.seen, count.early, count.missed, count.backwards)
		}
		s.call("StopLiveMPUTask", map[string]any{"TaskId": "inside-" + codec})
	}

	for options, field := range map[string]string{
		`{ codec: 'vp9', scalabilityMode: 'L4T1' }`:                  "scalabilityMode",
		`{ scalabilityMode: 'L3T3' }`:                                "scalabilityMode", // the codec is VP8
		`{ codec: 'av1', scalabilityMode: 'L2T1', simulcast: true }`: "simulcast",
	} {
		got := eval[string](stages["vp9"].stand, fmt.Sprintf(`return viewers.ben.room.publishCamera(%s).then(() => 'published', (e) => e.code + ' ' + e.field + ': ' + e.message)`, options))
		if !strings.HasPrefix(got, "invalid "+field+": ") {
			t.Errorf("publishCamera(%s): got %q", options, got)
		}
	}
}
