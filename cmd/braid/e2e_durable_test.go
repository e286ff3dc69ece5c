package main

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTasksSurviveKill kills the server while a mix and a single relay run.
// After its start they run again by themselves when their users are back, with
// the same TaskId, layout and URLs; an ended task stays ended.
func TestTasksSurviveKill(t *testing.T) {
	t.Parallel()
	c := clip{ID: 8, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 500}
	f := c.make(t)
	origin := nginxRTMP(t)
	p := newProcess(t, "")
	p.start()
	ann := p.publish("room", "ann", f, c.FPS, "h264")
	corner := pane{"ann", 0.5, 0.5, 0.5, 0.5, 0}
	mix := mixParams("mix", "room", []string{origin + "/mix"}, 1280, 720, 30, pane{"ann", 0, 0, 1, 1, 0})
	p.call("StartLiveMPUTask", mix)
	mix = mixParams("mix", "room", []string{origin + "/mix"}, 1280, 720, 30, corner)
	mix["SeiParams"] = map[string]any{"PassThrough": map[string]any{"PayloadContent": "from the start", "FollowIdr": "1"}}
	p.call("UpdateLiveMPUTask", mix)
	p.call("StartLiveMPUTask", singleParams("single", "room", "ann", origin+"/single"))
	p.call("StartLiveMPUTask", singleParams("gone", "room", "ann", origin+"/gone"))
	p.call("SetLiveMpuTaskSei", map[string]any{"TaskId": "mix", "CustomSei": `{"score":7}`})
	p.call("StopLiveMPUTask", map[string]any{"TaskId": "gone"})
	list := func() any {
		return p.call("ListRtcMPUTaskDetail", map[string]any{"PageNo": "1", "PageSize": "10"})["MPUTasks"]
	}
	before := list()
	pull(t, origin+"/mix", time.Second)
	ages := map[string]float64{"mix": startTime(t, origin+"/mix"), "single": startTime(t, origin+"/single")}
	at := time.Now()

	p.end(syscall.SIGKILL)
	ann.close()
	p.start()
	if after := list(); !reflect.DeepEqual(after, before) {
		t.Errorf("tasks after the restart: got %v, want %v", after, before)
	}
	p.publish("room", "ann", f, c.FPS, "h264")
	back := time.Now()
	file := pull(t, origin+"/mix", 3*time.Second)
	t.Logf("the mix is back within %v of its user, 3 s of recording included", time.Since(back).Round(time.Millisecond))
	if n := readBarcodes(t, file, corner.on(1280, 720), [2]int{}, c.ID); n[len(n)-1] < 0 {
		t.Error("the mix after the restart does not show ann in her corner")
	}
	custom := false
	for _, m := range seis(t, file) {
		custom = custom || bytes.Contains(m.Payload, []byte("score"))
	}
	if !custom {
		t.Error("the custom SEI is gone after the restart")
	}
	if n := readBarcodes(t, pull(t, origin+"/single", 2*time.Second), rect{0, 0, 640, 360}, [2]int{}, c.ID); n[len(n)-1] < 0 {
		t.Error("the single relay after the restart does not show ann")
	}
	if _, _, err := tryCommand(3*time.Second, "ffprobe", "-v", "error", origin+"/gone"); err == nil {
		t.Error("a stopped task runs again")
	}
	for name, age := range ages {
		later, most := startTime(t, origin+"/"+name)-age, time.Since(at).Seconds()+10 // key frames of before and a late answer
		if later <= 0 || later > most {
			t.Errorf("%s: the timestamps go on %.3f s later, want 0 to %.1f", name, later, most)
		}
	}
	for _, name := range []string{"mix", "single"} {
		p.call("StopLiveMPUTask", map[string]any{"TaskId": name})
	}
	if left := fmt.Sprint(list()); left != "[]" {
		t.Errorf("tasks after their stop: %s", left)
	}
}

// startTime is the first timestamp, in seconds, that a player of a URL gets now.
func startTime(t *testing.T, url string) float64 {
	t.Helper()
	out, stderr, err := tryCommand(20*time.Second, "ffprobe", "-v", "error", "-analyzeduration", "500000", "-select_streams", "v", "-show_entries", "stream=start_time", "-of", "default=nw=1:nk=1", url)
	if err != nil {
		t.Fatalf("ffprobe: %v %s", err, stderr)
	}
	at, err := strconv.ParseFloat(strings.TrimSpace(out), 64)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
