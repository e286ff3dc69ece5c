package artc

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"braid/media"
	"braid/relay"
)

// cloudList keeps recordings in memory, one for each name that it gives.
type cloudList struct {
	all     []*CloudRecording
	stopped map[string]bool
	fail    error
}

func (l *cloudList) Start(_ context.Context, c *CloudRecording) (string, error) {
	if l.fail != nil {
		return "", l.fail
	}
	l.all = append(l.all, c)
	return fmt.Sprint("task", len(l.all)), nil
}

func (l *cloudList) Get(task string) (*CloudRecording, error) {
	for i, c := range l.all {
		if fmt.Sprint("task", i+1) == task {
			return c, nil
		}
	}
	return nil, fmt.Errorf("recording %s: %w", task, media.ErrNotFound)
}

func (l *cloudList) Update(_ context.Context, task string, c *CloudRecording) error {
	if l.stopped[task] {
		return fmt.Errorf("recording %s has ended: %w", task, media.ErrNotFound)
	}
	l.all[len(l.all)-1] = c
	return nil
}

func (l *cloudList) Stop(_ context.Context, task string) error { l.stopped[task] = true; return nil }

func (l *cloudList) Files(task string) (CloudFiles, string, error) {
	if l.stopped[task] {
		return CloudFiles{MP4: []string{"a/" + task + "/x.mp4"}, HLS: []string{"a/" + task + "/x.m3u8"}, MP3: []string{"a/" + task + "/x.mp3"}}, "STOPPED", nil
	}
	return CloudFiles{}, "RUNNING", nil
}

var (
	singleRecording = map[string]string{"AppId": "app1", "ChannelId": "ch1", "RecordParams": `{"RecordMode":0,"MaxFileDuration":600}`,
		"SubscribeParams": `{"SubscribeUserIdList":[{"UserId":"ann"},{"UserId":"bob","StreamType":0,"SourceType":1}]}`,
		"StorageParams":   `{"StorageType":1,"OSSParams":{"OSSBucket":"b","OSSEndpoint":"oss.example.com"},"FileInfo":[{"Format":"MP4","FilePathPrefix":["x","y"],"FileNamePattern":"{AppId}-{UserId}_{StartTime}"}]}`}
	mixRecording = with(singleRecording, "RecordParams", `{"RecordMode":1}`, "MaxIdleTime", "60",
		"SubscribeParams", `{"SubscribeUserIdList":[{"UserId":"ann"},{"UserId":"bob","StreamType":1}]}`,
		"MixTranscodeParams", `{"AudioBitrate":64,"AudioChannels":2,"AudioSampleRate":48000,"VideoBitrate":800,"VideoFramerate":15,"VideoGop":30,"VideoWidth":641,"VideoHeight":360,"FrameFillType":0}`,
		"MixLayoutParams", `{"UserPanes":[{"UserId":"ann","SourceType":0,"X":"0","Y":"0","Width":"0.5","Height":"1","ZOrder":2,"SubBackground":{"Url":"http://i.example/a.png","RenderMode":1}},{"X":"0.5","Y":"0","Width":"0.5","Height":"1"}],"MixBackground":{"Url":"http://i.example/b.png","RenderMode":1}}`)
)

func startRecorded(t *testing.T) (*server, *cloudList) {
	list := &cloudList{stopped: map[string]bool{}}
	return startWith(t, func(_ *server, c *Config) { c.Recordings = list }), list
}

func TestCloudRecordingLife(t *testing.T) {
	s, list := startRecorded(t)
	a := s.call("StartRtcCloudRecording", singleRecording)
	s.expect("single", a, 200, "", "")
	want := &CloudRecording{App: "app1", Channel: "ch1", MaxFile: 600 * time.Second, MaxIdle: 300 * time.Second,
		Users:  []relay.UserRef{{User: "ann", Source: media.Camera}, {User: "bob", Source: media.ShareScreen}},
		Bucket: "b", Endpoint: "oss.example.com", Files: []CloudFile{{Format: "MP4", Prefix: []string{"x", "y"}, Pattern: "{AppId}-{UserId}_{StartTime}"}}}
	if !reflect.DeepEqual(list.all[0], want) || a.body["TaskId"] != "task1" {
		t.Errorf("got  %+v\nwant %+v", list.all[0], want)
	}
	if name := want.FileName(want.Files[0].Prefix, want.Files[0].Pattern, "task1", "ann"); name != "x/y/task1/app1-ann_{start}" {
		t.Errorf("files are called %q", name)
	}

	all := with(singleRecording, "NotifyUrl", "https://h.example/cb?a=b", "NotifyAuthKey", "abcdefghijklmnop", "NotifyFileUploadedFormat", `["HLS"]`,
		"StorageParams", `{"StorageType":1,"OSSParams":{"OSSBucket":"b","OSSEndpoint":"e"},"FileInfo":[{"Format":"HLS","SliceDuration":10,"SliceNamePattern":"s{Sequence}"},{"Format":"MP4"},{"Format":"MP3"}]}`)
	s.expect("three forms", s.call("StartRtcCloudRecording", all), 200, "", "")
	if got := list.all[1]; got.NotifyURL != "https://h.example/cb?a=b" || got.NotifyKey != "abcdefghijklmnop" || !reflect.DeepEqual(got.NotifyFormats, []string{"HLS"}) ||
		!reflect.DeepEqual(got.Files, []CloudFile{{Format: "HLS", Pattern: defaultFileName, Slice: 10 * time.Second, SlicePattern: "s{Sequence}"}, {Format: "MP4", Pattern: defaultFileName}, {Format: "MP3", Pattern: defaultFileName}}) {
		t.Errorf("got %+v", got)
	}
	list.all = list.all[:1]

	s.expect("mix", s.call("StartRtcCloudRecording", mixRecording), 200, "", "")
	got := list.all[1]
	if !got.Mix || got.MaxFile != 2*time.Hour || got.MaxIdle != time.Minute || got.Encode.Width != 640 || got.Users[1].Type != relay.AudioOnly {
		t.Errorf("got %+v", got)
	}
	// RenderMode 1 is "whole, with bars" here, and what is not said is "fill and cut".
	if p := got.Panes; len(p) != 2 || p[0].Crop || p[0].User.User != "ann" || p[0].ZOrder != 2 || !p[1].Crop || p[1].User != nil || got.Background.Crop {
		t.Errorf("panes %+v, background %+v", p, got.Background)
	}

	update := map[string]string{"TaskId": "task2", "SubscribeParams": `{"SubscribeUserIdList":[{"UserId":"cat"}]}`,
		"MixLayoutParams": `{"UserPanes":[{"UserId":"cat","X":"0","Y":"0","Width":"1","Height":"1"}]}`}
	s.expect("update", s.call("UpdateRtcCloudRecording", update), 200, "", "")
	if got := list.all[1]; len(got.Panes) != 1 || got.Panes[0].User.User != "cat" || got.Encode.Width != 640 || got.Background != nil {
		t.Errorf("after the update: %+v", got)
	}
	describe := func(status string, files ...any) {
		t.Helper()
		info, _ := s.call("DescribeRtcCloudRecordingFiles", map[string]string{"TaskId": "task2"}).body["TaskInfo"].(map[string]any)
		if list, _ := info["RecordFileList"].(map[string]any); info["Status"] != status || !reflect.DeepEqual(list["Mp4FileList"], append([]any{}, files...)) || len(list["HlsFileList"].([]any)) != len(files) || len(list["Mp3FileList"].([]any)) != len(files) {
			t.Errorf("described as %v", info)
		}
	}
	describe("RUNNING")
	s.expect("stop", s.call("StopRtcCloudRecording", map[string]string{"TaskId": "task2"}), 200, "", "")
	describe("STOPPED", "a/task2/x.mp4")
	s.expect("update after the end", s.call("UpdateRtcCloudRecording", update), 404, "TaskNotExist", "")
	for _, action := range []string{"UpdateRtcCloudRecording", "StopRtcCloudRecording", "DescribeRtcCloudRecordingFiles"} {
		s.expect(action+" of nothing", s.call(action, with(update, "TaskId", "none")), 404, "TaskNotExist", `TaskId: there is no task "none"`)
	}
	list.fail = fmt.Errorf("channel: %w", media.ErrNotFound)
	s.expect("nobody there", s.call("StartRtcCloudRecording", singleRecording), 404, "ChannelNotExist", "")
}

func TestCloudRecordingRefused(t *testing.T) {
	s, list := startRecorded(t)
	mp3Recording := with(singleRecording, "StorageParams", strings.Replace(singleRecording["StorageParams"], "MP4", "MP3", 1))
	for _, c := range []struct {
		base               map[string]string
		field, old, new    string
		code, wantsInWords string
	}{
		{singleRecording, "RecordParams", `"RecordMode":0`, `"RecordMode":2`, "InvalidParam", "RecordParams.RecordMode"},
		{singleRecording, "RecordParams", `600`, `179`, "InvalidParam", "179 to 7200|180 to 7200"},
		{singleRecording, "RecordParams", `{"RecordMode":0,"MaxFileDuration":600}`, `{}`, "MissingParam", "RecordParams.RecordMode"},
		{mixRecording, "RecordParams", `}`, `,"StreamType":2}`, "InvalidParam", "RecordParams.StreamType"},
		{mp3Recording, "RecordParams", `}`, `,"StreamType":2}`, "InvalidParam", "RecordParams.StreamType"},
		{singleRecording, "SubscribeParams", `"ann"`, `"a/b"`, "InvalidParam", "SubscribeParams.SubscribeUserIdList.1.UserId"},
		{singleRecording, "SubscribeParams", `"StreamType":0`, `"StreamType":2`, "InvalidParam", "StreamType"},
		{singleRecording, "SubscribeParams", `[{"UserId":"ann"},`, `[{"UserId":"bob","SourceType":1},`, "InvalidParam", "twice"},
		{singleRecording, "SubscribeParams", `{"SubscribeUserIdList":[{"UserId":"ann"},{"UserId":"bob","StreamType":0,"SourceType":1}]}`, `{"SubscribeUserIdList":[]}`, "MissingParam", "SubscribeUserIdList"},
		{singleRecording, "StorageParams", `"OSSBucket":"b",`, ``, "MissingParam", "StorageParams.OSSParams.OSSBucket"},
		{singleRecording, "StorageParams", `"OSSParams"`, `"VodParams"`, "NotSupported", "OSSParams"},
		{singleRecording, "StorageParams", `"MP4"`, `"HLS","SliceDuration":9`, "InvalidParam", "StorageParams.FileInfo.1.SliceDuration"},
		{singleRecording, "StorageParams", `"MP4"`, `"HLS","SliceNamePattern":"{x}"`, "InvalidParam", "StorageParams.FileInfo.1.SliceNamePattern"},
		{singleRecording, "StorageParams", `"FileInfo":[`, `"FileInfo":[{"Format":"MP4"},`, "InvalidParam", "twice"},
		{singleRecording, "StorageParams", `"MP4"`, `"AVI"`, "InvalidParam", "StorageParams.FileInfo.1.Format"},
		{singleRecording, "StorageParams", `["x","y"]`, `["..","y"]`, "InvalidParam", "FileNamePattern"},
		{singleRecording, "StorageParams", `{StartTime}`, `{Nothing}`, "InvalidParam", "{Nothing}"},
		{mixRecording, "MixTranscodeParams", `"VideoBitrate":800,`, ``, "MissingParam", "MixTranscodeParams.VideoBitrate"},
		{mixRecording, "MixLayoutParams", `"ann"`, `"bob"`, "InvalidParam", "without pictures"},
		{mixRecording, "MixLayoutParams", `"ann"`, `"eve"`, "InvalidParam", "not in SubscribeParams"},
		{mixRecording, "MixLayoutParams", `"X":"0.5"`, `"X":"0.6"`, "InvalidParam", "more than 1"},
		{mixRecording, "MixLayoutParams", `http://i.example/b.png`, `file:///etc/passwd`, "InvalidParam", "MixBackground.Url"},
	} {
		text := strings.Replace(c.base[c.field], c.old, c.new, 1)
		if text == c.base[c.field] {
			t.Fatalf("%q is not in %s", c.old, c.field)
		}
		a := s.call("StartRtcCloudRecording", with(c.base, c.field, text))
		found := false
		for want := range strings.SplitSeq(c.wantsInWords, "|") {
			found = found || strings.Contains(a.message(), want)
		}
		if a.status != 400 || a.code() != c.code || !found {
			t.Errorf("%s with %s: got %d %s %q, want %s and %q", c.field, c.new, a.status, a.code(), a.message(), c.code, c.wantsInWords)
		}
	}
	for name, c := range map[string][2]string{"NotifyUrl": {"NotifyUrl", "ftp://h/"}, "NotifyAuthKey": {"NotifyAuthKey", "short"}, "NotifyFileUploadedFormat": {"NotifyFileUploadedFormat", `["AVI"]`}} {
		a := s.call("StartRtcCloudRecording", with(with(singleRecording, "NotifyUrl", "http://h/"), c[0], c[1]))
		if a.status != 400 || a.code() != "InvalidParam" || !strings.Contains(a.message(), name) {
			t.Errorf("%s: got %d %s %q", name, a.status, a.code(), a.message())
		}
	}
	for _, field := range []string{"AppId", "ChannelId", "RecordParams", "SubscribeParams", "StorageParams", "MixTranscodeParams", "MixLayoutParams"} {
		less := maps.Clone(mixRecording)
		delete(less, field)
		s.expect("without "+field, s.call("StartRtcCloudRecording", less), 400, "MissingParam", field+" is missing")
	}
	if len(list.all) != 0 {
		t.Errorf("%d recordings were begun", len(list.all))
	}
}
