package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestLipsFitWords sends a flash with a beep each second and measures how far
// apart they come out, mixed and relayed as they are.
func TestLipsFitWords(t *testing.T) {
	c := clip{ID: 4, W: 640, H: 360, FPS: 30, Seconds: 10, Flash: true}
	s := startBraid(t)
	s.publish("sync", "dan", c.make(t), c.FPS, "h264")
	s.call("StartLiveMPUTask", mixParams("mix", "sync", []string{s.rtmp + "/sync-mix"}, 640, 360, 30, pane{"dan", 0, 0, 1, 1, 0}))
	s.call("StartLiveMPUTask", singleParams("single", "sync", "dan", s.rtmp+"/sync-single"))
	mixed, single := record(t, s.rtmp+"/sync-mix", 12*time.Second), record(t, s.rtmp+"/sync-single", 12*time.Second)
	for _, r := range []struct {
		name string
		*recording
	}{{"mixed", mixed}, {"single", single}} {
		offsets := avOffsets(t, r.done(t), rect{0, 0, 640, 360})
		if len(offsets) < 8 {
			t.Errorf("%s: %d flashes with a beep in 12 s", r.name, len(offsets))
			continue
		}
		// The first second is left out: sender reports come in it, and the mix finds its delay.
		offsets = offsets[1:]
		var sum time.Duration
		for _, o := range offsets {
			sum += o
			if o.Abs() > 60*time.Millisecond {
				t.Errorf("%s: a beep comes %v after its flash, want at most 60ms", r.name, o)
			}
		}
		mean := sum / time.Duration(len(offsets))
		t.Logf("%s: %d flashes, sound after picture by %v on average, %v", r.name, len(offsets), mean, offsets)
		if mean.Abs() > 40*time.Millisecond {
			t.Errorf("%s: mean offset %v, want at most 40ms", r.name, mean)
		}
	}
}

// TestSingleRelayIsUntouched compares what comes out of a single-stream relay
// with what went in, NAL unit by NAL unit.
func TestSingleRelayIsUntouched(t *testing.T) {
	c := clip{ID: 6, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 500}
	f := c.make(t)
	s := startBraid(t)
	s.publish("plain", "eve", f, c.FPS, "h264")
	outside := nginxRTMP(t)
	task := singleParams("single", "plain", "eve", outside+"/plain")
	task["SeiParams"] = map[string]any{"LayoutVolume": map[string]any{"FollowIdr": "1", "Interval": "1000"},
		"PassThrough": map[string]any{"PayloadContent": "hello", "FollowIdr": "1"}}
	s.call("StartLiveMPUTask", task)
	file := pull(t, outside+"/plain", 6*time.Second)

	video, audio := streams(t, file)
	if video == nil || video.Width != 640 || video.Height != 360 || audio == nil || audio.Codec != "aac" {
		t.Fatalf("streams: %+v, %+v", video, audio)
	}
	cleanDecode(t, file)
	published, err := accessUnits(f.H264)
	if err != nil {
		t.Fatal(err)
	}
	wantSlices, wantSets := sortNALs(splitAnnexB(bytes.Join(published, nil)))
	gotSlices, gotSets := sortNALs(nals(t, file))
	if len(gotSlices) < 5*c.FPS {
		t.Fatalf("%d pictures in 6 s", len(gotSlices))
	}
	from := slices.IndexFunc(wantSlices, func(n []byte) bool { return bytes.Equal(n, gotSlices[0]) })
	if from < 0 || gotSlices[0][0]&31 != 5 {
		t.Fatalf("the first picture (NAL type %d) is none of the published key frames", gotSlices[0][0]&31)
	}
	for i, n := range gotSlices {
		if want := wantSlices[(from+i)%len(wantSlices)]; !bytes.Equal(n, want) {
			t.Fatalf("picture %d: %d bytes, published were %d other bytes", i, len(n), len(want))
		}
	}
	if fmt.Sprint(gotSets) != fmt.Sprint(wantSets) {
		t.Errorf("parameter sets: got %x, want %x", gotSets, wantSets)
	}

	messages := seis(t, file)
	at, found := layoutsIn(t, messages)
	if len(found) < 4 {
		t.Errorf("%d layout messages in 6 s, want one a second", len(found))
	}
	for i, m := range found {
		// artc-api.md section 7.1: a single streamer has paneid -1 and zeros.
		if len(m.Stream) != 1 || m.Stream[0].UID != "eve" || m.Stream[0].PaneID != -1 || m.Stream[0].W != 0 {
			t.Errorf("SEI at %v: %+v", at[i], m)
		}
	}
	if !slices.ContainsFunc(messages, func(m seiMessage) bool { return bytes.Contains(m.Payload, []byte(`"hello"`)) }) {
		t.Error("the pass-through content is not in the stream")
	}
	if level := toneLevel(decodePCM(t, file), c.Tone); level < -18 || level > -8 {
		t.Errorf("tone: %.1f dBFS, want about -12 as published", level)
	}
}

// TestSingleRelayOfOneKind: a stream of somebody without a microphone, or without a
// camera, begins soon in every form. Over RTMP ffmpeg waits up to 90 s for a kind of
// media that the metadata promise and that does not come.
func TestSingleRelayOfOneKind(t *testing.T) {
	need(t, "ffprobe")
	f := clip{ID: 6, W: 320, H: 180, FPS: 15, Seconds: 10, Tone: 500, Kbps: 200}.make(t)
	mute := f
	mute.Opus = ""
	s := startBraid(t)
	s.publish("plain", "mute", mute, 15, "h264")
	s.publish("plain", "dark", f, 15, "")
	var all sync.WaitGroup
	for user, kind := range map[string]string{"mute": "video", "dark": "audio"} {
		s.call("StartLiveMPUTask", singleParams(user, "plain", user, s.rtmp+"/"+user))
		for form, url := range s.playForms(user) {
			all.Go(func() {
				var found, complaints string
				var took time.Duration
				for deadline := time.Now().Add(time.Minute); found == "" && time.Now().Before(deadline); wait(300 * time.Millisecond) {
					began := time.Now() // of the try that finds the stream
					found, complaints, _ = tryCommand(time.Minute, "ffprobe", "-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0", url)
					took = time.Since(began)
				}
				t.Logf("%s as %s: after %v", user, form, took.Round(100*time.Millisecond))
				other := func(line string) bool { return line != kind }
				if lines := strings.Fields(found); len(lines) == 0 || slices.ContainsFunc(lines, other) || took > 25*time.Second { // HLS: a line more for each program
					t.Errorf("%s as %s: ffprobe finds %q after %v, want %s soon\n%s", user, form, found, took, kind, tail(complaints, 500))
				}
			})
		}
	}
	all.Wait()
}

// sortNALs separates slices from parameter sets, and names each set once.
func sortNALs(units [][]byte) (slicesOnly [][]byte, sets []string) {
	for _, n := range units {
		switch n[0] & 31 {
		case 1, 5:
			slicesOnly = append(slicesOnly, n)
		case 7, 8:
			sets = append(sets, string(n))
		}
	}
	slices.Sort(sets)
	return slicesOnly, slices.Compact(sets)
}
