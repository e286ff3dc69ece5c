package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestMixOfBrowsers is the whole river: two Chromiums publish, one H.264 and one
// VP8, a Pion client joins them, a third page watches, and a mix of all three
// goes to nginx-rtmp and to the embedded origin. ffmpeg looks at both. While it
// records, the layout changes.
func TestMixOfBrowsers(t *testing.T) {
	ann := clip{ID: 1, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 440}
	bob := clip{ID: 2, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 660}
	cat := clip{ID: 3, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 880}
	s := startBraid(t)
	first, second := startChrome(t, ann.make(t)), startChrome(t, bob.make(t))
	publisherA := first.open("ann", s.http+"/demo/")
	publisherA.camera(s.whip("room", "ann"), s.token("room", "ann"), "h264")
	publisherB := second.open("bob", s.http+"/demo/")
	publisherB.camera(s.whip("room", "bob"), s.token("room", "bob"), "vp8")
	s.publish("room", "cat", cat.make(t), cat.FPS, "h264")

	viewer := first.open("viewer", s.http+"/demo/")
	for _, who := range []struct{ user, codec string }{{"ann", "video/H264"}, {"bob", "video/VP8"}} {
		viewer.watch(s.whep("room", who.user), s.token("room", "viewer"), who.user)
		plays(t, viewer, who.user, who.codec)
	}

	const w, h, fps = 1280, 720, 25
	before := []pane{{"ann", 0, 0.25, 0.5, 0.5, 1}, {"bob", 0.5, 0.25, 0.5, 0.5, 1}, {"cat", 0.375, 0.3, 0.25, 0.25, 2}}
	after := []pane{{"bob", 0, 0.25, 0.5, 0.5, 1}, {"ann", 0.5, 0.25, 0.5, 0.5, 1}, {"cat", 0.75, 0, 0.25, 0.25, 3}}
	outside := nginxRTMP(t)
	targets := []string{outside + "/mix", s.rtmp + "/mix"}
	s.call("StartLiveMPUTask", mixParams("mix", "room", targets, w, h, fps, before...))

	recordings := []*recording{record(t, targets[0], 12*time.Second), record(t, s.http+"/live/mix.flv", 12*time.Second)}
	for _, r := range recordings {
		r.reaches(800_000) // about two seconds with everyone in it
	}
	s.call("UpdateLiveMPUTask", mixParams("mix", "room", targets, w, h, fps, after...))
	for i, r := range recordings {
		where := []string{"nginx-rtmp", "embedded origin"}[i]
		t.Run(where, func(t *testing.T) { checkMix(t, r.done(t), []clip{ann, bob, cat}, before, after) })
	}
	for _, user := range []string{"ann", "bob"} { // the mix has taken nothing from the viewer
		plays(t, viewer, user, "")
	}
	s.call("StopLiveMPUTask", map[string]any{"TaskId": "mix"})
}

// plays checks that a subscription's picture and sound move on.
func plays(t *testing.T, viewer *page, user, codec string) {
	t.Helper()
	from := viewer.received(user)
	eventually(t, 15*time.Second, "the viewer sees and hears "+user, func() (bool, string) {
		now := viewer.received(user)
		return now.Frames >= from.Frames+30 && now.Energy > from.Energy && now.Width == 640, fmt.Sprintf("%+v", now)
	})
	if got := viewer.received(user).Codec; codec != "" && got != codec {
		t.Errorf("%s arrives as %s, want %s", user, got, codec)
	}
}

// recording is a stream that is being written to a file.
type recording struct {
	t      *testing.T
	file   string
	result chan string
}

func record(t *testing.T, url string, length time.Duration) *recording {
	t.Helper()
	r := &recording{t, filepath.Join(t.TempDir(), "recorded.flv"), make(chan string, 1)}
	go func() {
		var complaints string
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); wait(300 * time.Millisecond) {
			var err error
			_, complaints, err = tryCommand(length+20*time.Second, "ffmpeg", "-nostdin", "-v", "error", "-y", "-rw_timeout", "10000000",
				"-i", url, "-t", fmt.Sprint(length.Seconds()), "-c", "copy", "-flush_packets", "1", r.file)
			if info, statErr := os.Stat(r.file); err == nil && statErr == nil && info.Size() > 2000 {
				r.result <- ""
				return
			}
		}
		r.result <- "record " + url + ": " + tail(complaints, 1000)
	}()
	return r
}

// reaches waits until the file has grown to a size in bytes.
func (r *recording) reaches(size int64) {
	r.t.Helper()
	eventually(r.t, 30*time.Second, "a recording grows", func() (bool, string) {
		info, err := os.Stat(r.file)
		if err != nil {
			return false, err.Error()
		}
		return info.Size() >= size, fmt.Sprint(info.Size(), " bytes")
	})
}

func (r *recording) done(t *testing.T) string {
	t.Helper()
	if failure := <-r.result; failure != "" {
		t.Fatal(failure)
	}
	return r.file
}

// checkMix looks at a recording in which the layout changes once.
func checkMix(t *testing.T, file string, clips []clip, before, after []pane) {
	const w, h, fps = 1280, 720, 25
	video, audio := streams(t, file)
	if video == nil || video.Codec != "h264" || video.Width != w || video.Height != h || video.BFrames != 0 {
		t.Fatalf("video: %+v, want H.264 %dx%d without B-frames", video, w, h)
	}
	if audio == nil || audio.Codec != "aac" || audio.SampleRate != "48000" || audio.Channels != 2 {
		t.Fatalf("audio: %+v, want AAC 48 kHz stereo", audio)
	}
	if rate := frameRate(t, file); math.Abs(rate-fps) > fps*0.01 {
		t.Errorf("frame rate: got %.3f, want %d within 1 %%", rate, fps)
	}
	cleanDecode(t, file)

	messages := seis(t, file)
	change := checkLayoutSEI(t, messages, before, after)
	checkPanes(t, file, clips, before, after, change)

	sound := decodePCM(t, file)
	for _, c := range clips {
		if level := toneLevel(sound, c.Tone); level < -35 || level > -6 {
			t.Errorf("tone of clip %d (%.0f Hz): %.1f dBFS, want it audible", c.ID, c.Tone, level)
		}
	}
	if level := toneLevel(sound, 550); level > -40 {
		t.Errorf("550 Hz, which nobody sends: %.1f dBFS", level)
	}
}

// checkLayoutSEI compares each message with the layout of its time and gives
// the time of the first message of the second layout.
func checkLayoutSEI(t *testing.T, messages []seiMessage, before, after []pane) (change time.Duration) {
	t.Helper()
	at, found := layoutsIn(t, messages)
	if len(found) == 0 {
		t.Fatal("no layout SEI in the stream")
	}
	change = -1
	matches := func(m layoutSEI, panes []pane) string {
		if len(m.Stream) != len(panes) {
			return fmt.Sprintf("%d entries, want %d", len(m.Stream), len(panes))
		}
		for _, p := range panes {
			i := slices.IndexFunc(m.Stream, func(e layoutEntry) bool { return e.UID == p.User })
			if i < 0 {
				return "no entry for " + p.User
			}
			e := m.Stream[i]
			for _, d := range []float64{e.X - p.X, e.Y - p.Y, e.W - p.W, e.H - p.H} {
				if math.Abs(d) > 0.003 {
					return fmt.Sprintf("%s at %v %v %v %v, want %+v", p.User, e.X, e.Y, e.W, e.H, p)
				}
			}
			if e.ZOrder != p.Z {
				return fmt.Sprintf("%s has zorder %d, want %d", p.User, e.ZOrder, p.Z)
			}
			if e.Vol < 0 || e.Vol > 255 || e.Vad < 0 || e.Vad > 150 {
				return fmt.Sprintf("%s: vol %d, vad %d", p.User, e.Vol, e.Vad)
			}
		}
		return ""
	}
	for i, m := range found {
		if change < 0 && matches(m, after) == "" {
			change = at[i]
		}
		want := before
		if change >= 0 {
			want = after
		}
		if wrong := matches(m, want); wrong != "" {
			t.Fatalf("SEI at %v: %s: %+v", at[i], wrong, m)
		}
	}
	if change < 0 {
		t.Fatal("the second layout never shows in the SEI")
	}
	loud := slices.ContainsFunc(found, func(m layoutSEI) bool {
		return !slices.ContainsFunc(m.Stream, func(e layoutEntry) bool { return e.Vol == 0 })
	})
	if !loud {
		t.Error("no message says that all three make a sound")
	}
	for _, m := range messages {
		if m.Type != 5 || !bytes.Equal(m.UUID, messages[0].UUID) || len(m.UUID) != 16 {
			t.Errorf("SEI at %v: type %d, UUID %x; want 5 and always the same", m.PTS, m.Type, m.UUID)
		}
	}
	return change
}

// tally counts what a pane has shown.
type tally struct {
	early                   int // pictures before the user's first: it may come a moment after the mix began
	seen, missed, backwards int
	last                    int
	scores                  []float64
}

// checkPanes reads every barcode of every picture: each pane shows its user and
// moves on without going back, and all panes change at the very picture that
// carries the new SEI.
func checkPanes(t *testing.T, file string, clips []clip, before, after []pane, change time.Duration) {
	t.Helper()
	const w, h = 1280, 720
	of := map[string]clip{"ann": clips[0], "bob": clips[1], "cat": clips[2]}
	counts := map[pane]*tally{}
	for _, p := range slices.Concat(before, after) {
		counts[p] = &tally{last: -1}
	}
	var lastLeft, firstLeft int // clip ids around the change, at the place where ann is first and bob later
	eachPicture(t, file, rect{0, 0, w, h}, [2]int{}, func(pic picture) {
		panes := before
		if pic.PTS >= change {
			panes = after
		}
		for _, p := range panes {
			counts[p].look(pic.part(p.on(w, h)), of[p.User])
		}
		if _, id, _ := pic.part(before[0].on(w, h)).barcode(); pic.PTS < change {
			lastLeft = id
		} else if firstLeft == 0 {
			firstLeft = id
		}
	})
	for i, p := range slices.Concat(before, after) {
		c, when := counts[p], "before"
		if i >= len(before) {
			when = "after"
		}
		if c.early > 50 || c.seen < 20 || c.missed > c.seen/50 || c.backwards > 0 {
			t.Errorf("%s the change, pane of %s: %d pictures right, %d before the first of them, %d wrong or unreadable later, %d backwards",
				when, p.User, c.seen, c.early, c.missed, c.backwards)
		} else if slices.Sort(c.scores); c.scores[len(c.scores)/2] < 0.8 {
			t.Errorf("%s the change, pane of %s: median SSIM %.2f with its source, want 0.8", when, p.User, c.scores[len(c.scores)/2])
		}
	}
	if lastLeft != clips[0].ID || firstLeft != clips[1].ID {
		t.Errorf("left pane at the change of the SEI (%v): clip %d, then %d; want %d, then %d", change, lastLeft, firstLeft, clips[0].ID, clips[1].ID)
	}
}

func (c *tally) look(pic picture, want clip) {
	n, id, ok := pic.barcode()
	if !ok || id != want.ID {
		if c.seen == 0 {
			c.early++
		} else {
			c.missed++
		}
		return
	}
	c.seen++
	all := want.Seconds * want.FPS
	if step := (n - c.last + all) % all; c.last >= 0 && step > all/2 {
		c.backwards++
	}
	c.last = n
	if c.seen%10 == 0 {
		c.scores = append(c.scores, bottomSSIM(pic, want, n))
	}
}

// bottomSSIM compares the lowest quarter, which no overlapping pane hides.
func bottomSSIM(pic picture, c clip, n int) float64 {
	source := shrink(c.luma(n), c.W, c.H, pic.W, pic.H)
	from := pic.W * (pic.H * 3 / 4)
	return ssim(pic.Y[from:], source[from:], pic.W, pic.H-pic.H*3/4)
}
