package sdk

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// told is a NotifyUrl: the events that came, as "Event Format", in their order.
type told struct {
	t   *testing.T
	key string

	mu  sync.Mutex
	all []string
}

func (n *told) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var m struct {
		Event, TaskId, AppId, ChannelId string
		Payload                         struct{ Stream, Format string }
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	mac := hmac.New(sha256.New, []byte(n.key))
	fmt.Fprintf(mac, "%s.%s", r.Header.Get("Ali-Rtc-Timestamp"), body)
	if err != nil || m.AppId != under.app || m.ChannelId != under.channel || r.Header.Get("Ali-Rtc-Signature") != hex.EncodeToString(mac.Sum(nil)) {
		n.t.Errorf("NotifyUrl got %v %s", err, body)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, m.Event+" "+m.Payload.Format)
}

func (n *told) list() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.all, ", ")
}

// TestCloudRecording records a user into the server's own directory, in two forms, and is
// told of it at a NotifyUrl.
func TestCloudRecording(t *testing.T) {
	start(t)
	notify := &told{t: t, key: "0123456789abcdefABCDEF"}
	receiver := httptest.NewServer(notify)
	defer receiver.Close()
	subscribe := object{"SubscribeUserIdList": []object{{"UserId": under.users[0], "StreamType": 0, "SourceType": 0}}}
	started := core(t, "StartRtcCloudRecording", object{"AppId": under.app, "ChannelId": under.channel,
		"RecordParams": object{"RecordMode": 0, "MaxFileDuration": 600}, "SubscribeParams": subscribe,
		"StorageParams": object{"StorageType": 1, "OSSParams": object{"OSSBucket": "local", "OSSEndpoint": "-"},
			"FileInfo": []object{{"Format": "MP4", "FilePathPrefix": []string{"sdk"}},
				{"Format": "HLS", "FilePathPrefix": []string{"sdk"}, "FileNamePattern": "{UserId}", "SliceNamePattern": "{UserId}-{Sequence}", "SliceDuration": 10}}},
		"NotifyUrl": receiver.URL, "NotifyAuthKey": notify.key, "NotifyFileUploadedFormat": []string{"HLS"}})
	task, _ := started["TaskId"].(string)
	if task == "" {
		t.Fatalf("no TaskId in %v", started)
	}
	describe := func() (status string, mp4, hls []any) {
		info, _ := core(t, "DescribeRtcCloudRecordingFiles", object{"TaskId": task})["TaskInfo"].(object)
		list, _ := info["RecordFileList"].(object)
		status, _ = info["Status"].(string)
		mp4, _ = list["Mp4FileList"].([]any)
		hls, _ = list["HlsFileList"].([]any)
		if info["TaskId"] != task || list["HlsFileList"] == nil || list["Mp3FileList"] == nil || list["VodMediaList"] == nil {
			t.Errorf("TaskInfo: %v", info)
		}
		return status, mp4, hls
	}
	if status, mp4, hls := describe(); status != "RUNNING" || len(mp4)+len(hls) != 0 {
		t.Errorf("at first: %s %v %v", status, mp4, hls)
	}
	if updated := core(t, "UpdateRtcCloudRecording", object{"TaskId": task, "SubscribeParams": subscribe}); updated["TaskId"] != task {
		t.Errorf("update: %v", updated)
	}
	eventually(t, 30*time.Second, "both forms are written", func() (bool, any) {
		got := notify.list()
		return strings.Contains(got, "RecordStarted MP4") && strings.Contains(got, "RecordStarted HLS"), got
	})
	if stopped := core(t, "StopRtcCloudRecording", object{"TaskId": task}); stopped["TaskId"] != task {
		t.Errorf("stop: %v", stopped)
	}
	eventually(t, 30*time.Second, "the recording ends", func() (bool, any) {
		status, mp4, hls := describe()
		return status == "STOPPED" && len(mp4) == 1 && len(hls) == 1 && hls[0] == "sdk/"+task+"/"+under.users[0]+".m3u8", append(append(mp4, hls...), status)
	})
	eventually(t, 30*time.Second, "its end is told", func() (bool, any) {
		got := notify.list()
		return strings.HasSuffix(got, ", RecordFileUploaded HLS, RecordStopped ") && strings.Count(got, ",") == 3, got
	})
	coreRefused(t, "StopRtcCloudRecording", object{"TaskId": "nothing"}, 404, "TaskNotExist")
}
