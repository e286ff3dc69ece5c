package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// cloudFiles are a cloud recording's status and its files of all formats.
func (s *braidServer) cloudFiles(task string) (status string, files []string) {
	s.t.Helper()
	info := s.call("DescribeRtcCloudRecordingFiles", map[string]any{"TaskId": task})["TaskInfo"].(map[string]any)
	for list, suffix := range map[string]string{"Mp4FileList": ".mp4", "HlsFileList": ".m3u8", "Mp3FileList": ".mp3"} {
		for _, f := range info["RecordFileList"].(map[string]any)[list].([]any) {
			if files = append(files, f.(string)); !strings.HasSuffix(f.(string), suffix) {
				s.t.Errorf("%s has %s", list, f)
			}
		}
	}
	return info["Status"].(string), files
}

// stopped stops a cloud recording and returns its files, downloaded, by name.
func (s *braidServer) stopped(task string, want int) map[string]string {
	s.t.Helper()
	s.call("StopRtcCloudRecording", map[string]any{"TaskId": task})
	var names []string
	eventually(s.t, 30*time.Second, "the recording is finished", func() (bool, string) {
		status, files := s.cloudFiles(task)
		names = files
		return status == "STOPPED" && len(files) == want, fmt.Sprint(status, files)
	})
	all := map[string]string{}
	for _, f := range s.recordedFiles("template=cloud:" + task) {
		dir := s.t.TempDir()
		download := func(f recordedFile) string {
			_, body, _ := s.tryREST("GET", f.Content, nil)
			to := filepath.Join(dir, filepath.Base(f.Name))
			if err := os.WriteFile(to, body, 0o644); err != nil {
				s.t.Fatal(err)
			}
			return to
		}
		if f.Format == "hls" {
			for _, slice := range s.recordedFiles("limit=200&playlist=" + f.ID) {
				download(slice)
			}
		}
		to := download(f)
		cleanDecode(s.t, to)
		all[f.Name] = to
	}
	for _, name := range names {
		if all[name] == "" || !strings.HasPrefix(name, "meetings/"+task+"/"+testApp+"_room_") {
			s.t.Errorf("the file %q, of %v", name, all)
		}
	}
	return all
}

// A channel is recorded by ARTC's cloud recording actions: each user alone, and
// all in one picture, as MP4 and as MP3. Nobody else gets at the streams that this takes.
func TestCloudRecording(t *testing.T) {
	type object = map[string]any
	ann := clip{ID: 11, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 440}
	bob := clip{ID: 12, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 660}
	var data string
	s := startBraid(t, func(c *config) { data = c.DataDir })
	request := func(mode int, more object) object {
		r := object{"ChannelId": "room", "RecordParams": object{"RecordMode": mode, "MaxFileDuration": 600},
			"SubscribeParams": object{"SubscribeUserIdList": []object{{"UserId": "ann"}, {"UserId": "bob"}}},
			"StorageParams": object{"StorageType": 1, "OSSParams": object{"OSSBucket": "local", "OSSEndpoint": "-"},
				"FileInfo": []object{{"Format": "MP4", "FilePathPrefix": []string{"meetings"}}, {"Format": "MP3", "FilePathPrefix": []string{"meetings"}}}}}
		for k, v := range more {
			r[k] = v
		}
		return r
	}
	if a := s.do(s.rpc("StartRtcCloudRecording", request(0, nil))); a.status == 200 || !strings.Contains(a.message(), "does not exist") {
		t.Errorf("an empty channel: %d %v", a.status, a.fields)
	}
	s.publish("room", "ann", ann.make(t), ann.FPS, "h264")
	s.publish("room", "bob", bob.make(t), bob.FPS, "h264")
	if a := s.do(s.rpc("StartRtcCloudRecording", request(0, object{"StorageParams": object{"StorageType": 1,
		"OSSParams": object{"OSSBucket": "nobodys", "OSSEndpoint": "oss.example.com"}}}))); a.status != 400 || !strings.Contains(a.message(), "nobodys") {
		t.Errorf("an unknown bucket: %d %v", a.status, a.fields)
	}

	single := s.call("StartRtcCloudRecording", request(0, nil))["TaskId"].(string)
	panes := []object{{"UserId": "ann", "X": "0", "Y": "0", "Width": "0.5", "Height": "1", "ZOrder": 0, "SubBackground": object{"RenderMode": 1}},
		{"UserId": "bob", "X": "0.5", "Y": "0", "Width": "0.5", "Height": "1", "ZOrder": 0}}
	mix := s.call("StartRtcCloudRecording", request(1, object{"MixLayoutParams": object{"UserPanes": panes},
		"MixTranscodeParams": object{"AudioBitrate": 64, "AudioChannels": 2, "AudioSampleRate": 48000, "VideoBitrate": 800,
			"VideoFramerate": 15, "VideoGop": 15, "VideoWidth": 640, "VideoHeight": 360, "VideoCodec": "H.264"}}))["TaskId"].(string)
	open := func(query string, want int) {
		t.Helper()
		eventually(t, 30*time.Second, "files are written", func() (bool, string) {
			files := s.recordedFiles("state=open&" + query)
			for _, f := range files {
				least := map[string]int64{"fmp4": 150_000, "mp3": 10_000}[f.Format]
				if info, err := os.Stat(filepath.Join(data, "media", "recordings", f.Name)); err != nil || info.Size() < least {
					return false, f.Name + " is short"
				}
			}
			return len(files) == want, fmt.Sprint(len(files), " files")
		})
	}
	open("app=rtc-recording", 6)
	if status, files := s.cloudFiles(mix); status != "RUNNING" || len(files) != 0 {
		t.Errorf("while it runs: %s %v", status, files)
	}
	// Who makes the MP3 dies: another does, and the files go on.
	sizes := func() map[string]int64 {
		all := map[string]int64{}
		for _, f := range s.recordedFiles("state=open&app=rtc-recording") {
			if f.Format == "mp3" {
				all[f.Name] = f.Size
			}
		}
		return all
	}
	for _, w := range s.pool.Detail().Workers {
		if w.Key == mp3Worker {
			if err := syscall.Kill(w.PID, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		}
	}
	before := sizes()
	eventually(t, 30*time.Second, "the MP3 files grow with another worker", func() (bool, string) {
		now := sizes()
		for name, size := range before {
			if now[name] < size+20_000 {
				return false, fmt.Sprint(before, now)
			}
		}
		return len(before) == 3 && s.pool.Detail().Restarts["died"] == 1, fmt.Sprint(before, now)
	})

	// The streams are on air, and there for nobody.
	name := s.recordedFiles("template=cloud:" + mix)[0].Stream
	for _, at := range []string{"/rtc-recording/" + name + ".flv", "/rtc-recording/" + name + ".m3u8"} {
		if status, _, _ := s.tryREST("GET", at, nil); status != 403 {
			t.Errorf("%s answers %d", at, status)
		}
	}

	// Bob is no longer wanted alone; Ann is not interrupted.
	s.call("UpdateRtcCloudRecording", object{"TaskId": single, "SubscribeParams": object{"SubscribeUserIdList": []object{{"UserId": "ann"}}}})
	for file, path := range s.stopped(single, 4) {
		if strings.HasSuffix(file, ".mp3") {
			alone := map[bool][2]clip{true: {ann, bob}, false: {bob, ann}}[strings.Contains(file, "_ann_")]
			heardAsMP3(t, path, alone[:1], alone[1:])
			continue
		}
		video, audio := streams(t, path)
		if video == nil || video.Width != 640 || video.Height != 360 || audio == nil {
			t.Errorf("%s: %+v %+v", file, video, audio)
		}
		want := map[bool]clip{true: ann, false: bob}[strings.Contains(file, "_ann_")]
		seen := 0
		for _, p := range pictures(t, path, rect{0, 0, 640, 360}, [2]int{160, 90}) {
			if _, id, ok := p.barcode(); ok && id == want.ID {
				seen++
			}
		}
		if seen < 30 {
			t.Errorf("%s has %d pictures of clip %d", file, seen, want.ID)
		}
	}
	for file, path := range s.stopped(mix, 2) {
		if strings.HasSuffix(file, ".mp3") {
			heardAsMP3(t, path, []clip{ann, bob}, nil)
			continue
		}
		// Ann's picture as a whole, with bars above and below (RenderMode 1 of these
		// actions); Bob's fills his pane and is cut left and right (0, the default).
		whole := 0
		for _, p := range pictures(t, path, rect{0, 90, 320, 180}, [2]int{160, 90}) {
			if _, id, ok := p.barcode(); ok && id == ann.ID {
				whole++
			}
		}
		if whole < 15 {
			t.Errorf("%s shows Ann whole in %d pictures", file, whole)
		}
		dark, bright := 0, 0
		for _, p := range pictures(t, path, rect{0, 0, 320, 60}, [2]int{32, 6}) {
			if meanOf(p) < 40 {
				dark++
			}
		}
		for _, p := range pictures(t, path, rect{320, 0, 320, 60}, [2]int{32, 6}) {
			if meanOf(p) > 40 {
				bright++
			}
		}
		if dark < 15 || bright < 15 {
			t.Errorf("%s: above Ann %d dark pictures, above the middle of Bob %d bright ones", file, dark, bright)
		}
	}
	if a := s.do(s.rpc("StopRtcCloudRecording", object{"TaskId": "nothing"})); a.status != 404 {
		t.Errorf("an unknown recording: %d %v", a.status, a.fields)
	}
}

// heardAsMP3 fails the test unless some clips are heard in a file, in its last second too, and others are not.
func heardAsMP3(t *testing.T, file string, heard, others []clip) {
	t.Helper()
	if video, audio := streams(t, file); video != nil || audio == nil || audio.Codec != "mp3" || audio.SampleRate != "48000" {
		t.Errorf("%s: %+v %+v", file, video, audio)
	}
	sound := decodePCM(t, file)
	end := sound
	end.Samples = sound.Samples[max(0, len(sound.Samples)-sampleRate):]
	for _, c := range heard {
		if all, last := toneLevel(sound, c.Tone), toneLevel(end, c.Tone); all < -35 || last < -35 {
			t.Errorf("%s: %.0f Hz at %.1f dBFS, at the end at %.1f, want it heard", file, c.Tone, all, last)
		}
	}
	for _, c := range others {
		if level := toneLevel(sound, c.Tone); level > -40 {
			t.Errorf("%s: %.0f Hz at %.1f dBFS, want it away", file, c.Tone, level)
		}
	}
}

// meanOf is a picture's brightness, 0 to 255.
func meanOf(p picture) int {
	sum := 0
	for _, y := range p.Y {
		sum += int(y)
	}
	return sum / max(1, len(p.Y))
}

// notified is a NotifyUrl: it takes each message once it was refused, and keeps them
// in the order in which it took them. They must be signed with the key.
type notified struct {
	t   *testing.T
	key string
	url string

	mu    sync.Mutex
	seen  map[string]bool
	taken []notice
}

type notice struct {
	Event, MsgId, TaskId, ChannelId string
	Payload                         struct {
		Stream, Format, Reason string
		File                   *struct {
			Name, Url      string
			Size, Duration int64
		}
	}
}

func newNotified(t *testing.T, key string) *notified {
	n := &notified{t: t, key: key, seen: map[string]bool{}}
	h := httptest.NewServer(n)
	t.Cleanup(h.Close)
	n.url = h.URL + "/recorded"
	return n
}

func (n *notified) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m notice
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	mac := hmac.New(sha256.New, []byte(n.key))
	fmt.Fprintf(mac, "%s.%s", r.Header.Get("Ali-Rtc-Timestamp"), body)
	if err != nil || r.Header.Get("Ali-Rtc-Signature") != hex.EncodeToString(mac.Sum(nil)) {
		n.t.Errorf("NotifyUrl got %v %s", err, body)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.seen[m.MsgId] {
		n.seen[m.MsgId] = true
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	n.taken = append(n.taken, m)
}

func (n *notified) notices() []notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.taken)
}

// A cloud recording outlives the server: what was recorded before the kill is a
// whole file of each form, with its user it goes on, and of all of it is told.
func TestCloudRecordingSurvivesAKill(t *testing.T) {
	t.Parallel()
	type object = map[string]any
	ann := clip{ID: 13, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 440}
	p := newProcess(t, "")
	p.start()
	told := newNotified(t, "abcdefghijklmnop")
	p.publish("room", "ann", ann.make(t), ann.FPS, "h264")
	task := p.call("StartRtcCloudRecording", object{"ChannelId": "room", "RecordParams": object{"RecordMode": 0},
		"NotifyUrl": told.url, "NotifyAuthKey": told.key,
		"SubscribeParams": object{"SubscribeUserIdList": []object{{"UserId": "ann"}}},
		"StorageParams": object{"StorageType": 1, "OSSParams": object{"OSSBucket": "local", "OSSEndpoint": "-"},
			"FileInfo": []object{{"Format": "MP4", "FilePathPrefix": []string{"meetings"}}, {"Format": "HLS", "FilePathPrefix": []string{"meetings"}, "SliceDuration": 10}}}})["TaskId"].(string)
	written := func(times int) {
		t.Helper()
		eventually(t, 40*time.Second, "files are written, and told of", func() (bool, string) {
			files, begun := p.recordedFiles("state=open&template=cloud:"+task), 0
			for _, n := range told.notices() {
				if n.Event == "RecordStarted" {
					begun++
				}
			}
			return begun == 2*times && len(files) == 2 && files[0].Size > 200_000 && files[1].Size > 200_000, fmt.Sprint(begun, files)
		})
	}
	written(1)
	p.end(syscall.SIGKILL)
	p.start()
	if status, files := p.cloudFiles(task); status != "RUNNING" || len(files) != 2 {
		t.Errorf("after the kill: %s %v", status, files)
	}
	p.publish("room", "ann", ann.make(t), ann.FPS, "h264")
	written(2)
	all := p.stopped(task, 4)
	if len(all) != 4 {
		t.Errorf("got %v", all)
	}
	eventually(t, 30*time.Second, "the end is told", func() (bool, string) {
		got := told.notices()
		return len(got) > 0 && got[len(got)-1].Event == "RecordStopped", fmt.Sprintf("%+v", got)
	})
	begun, files := map[string]int{}, map[string]bool{}
	for _, n := range told.notices() {
		if n.TaskId != task || n.ChannelId != "room" || n.Event != "RecordStopped" && n.Payload.Stream != "Single::ann::AV::C" {
			t.Errorf("told %+v", n)
		}
		switch f := n.Payload.File; {
		case n.Event == "RecordStarted":
			begun[n.Payload.Format]++
		case f != nil:
			if status, _, _ := p.tryREST("GET", f.Url, nil); status != 200 || f.Size < 200_000 || f.Duration < 1000 {
				t.Errorf("the file %+v is %d", f, status)
			}
			files[f.Name] = true
		}
	}
	if !maps.Equal(begun, map[string]int{"MP4": 2, "HLS": 2}) || len(files) != 4 {
		t.Errorf("told that it began %v, and of the files %v", begun, files)
	}
	// The console's page of records has them, the refused ones too.
	var records struct {
		Items []struct{ Kind, Type, Channel, Task, Failure string }
	}
	p.rest("GET", "/v1/applications/"+testApp+"/callback-records?kind=recording&result=failed&task="+task, nil, &records)
	if len(records.Items) < 9 || records.Items[0].Type != "RecordStopped" || records.Items[0].Channel != "room" || records.Items[0].Failure != "status" {
		t.Errorf("records: %+v", records.Items)
	}
}
