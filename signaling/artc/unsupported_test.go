package artc

import (
	"maps"
	"strings"
	"testing"
)

// What is not there yet says so only to a request that is right otherwise.
func TestNotSupportedYet(t *testing.T) {
	s := start(t)
	for _, c := range []struct {
		action, what, needs string
	}{
		{"StartRtcCloudRecording", "cloud recording", "AppId ChannelId RecordParams SubscribeParams StorageParams"},
		{"UpdateRtcCloudRecording", "cloud recording", "TaskId SubscribeParams"},
		{"StopRtcCloudRecording", "cloud recording", "TaskId"},
		{"DescribeRtcCloudRecordingFiles", "cloud recording", "TaskId"},
		{"DescribeLiveRtcRecordUsageData", "cloud recording", "AppId StartTime EndTime RecordMode"},
		{"StartRtcCloudTranscode", "cloud transcoding", "AppId ChannelId InputParam OutputParams"},
		{"StopRtcCloudTranscode", "cloud transcoding", "AppId TaskId"},
		{"DescribeRtcCloudTranscode", "cloud transcoding", "AppId TaskId"},
		{"DescribeLiveInteractionMetricData", "quality metrics", "AppId BeginTs EndTs MetricType"},
		{"StopRtcAsrTask", "subtitles (ASR)", "TaskId"},
		{"DeleteRtcAsrTask", "subtitles (ASR)", "TaskId"},
		{"QueryRtcAsrTasks", "subtitles (ASR)", ""},
	} {
		whole := map[string]string{}
		for field := range strings.FieldsSeq(c.needs) {
			whole[field] = map[string]string{"AppId": "app1", "MetricType": "VideoStuckRate"}[field]
			if whole[field] == "" {
				whole[field] = "1"
			}
		}
		s.expect(c.action, s.call(c.action, whole), 400, "NotSupported", c.what+" is not supported yet")
		for field := range whole {
			less := maps.Clone(whole)
			delete(less, field)
			s.expect(c.action+" without "+field, s.call(c.action, less), 400, "MissingParam", field+" is missing")
		}
		if whole["AppId"] != "" {
			whole["AppId"] = "app3"
			s.expect(c.action+" elsewhere", s.call(c.action, whole), 400, "InvalidAppId", `AppId: there is no application "app3"`)
		}
	}
	s.expect("dotted parts", s.callRPC("StartRtcCloudRecording", map[string]string{"AppId": "app1", "ChannelId": "ch1",
		"RecordParams.RecordMode": "1", "SubscribeParams.SubscribeUserIdList.1.UserId": "u", "StorageParams.StorageType": "1"}),
		400, "NotSupported", "cloud recording is not supported yet")
	s.expect("a metric that is none", s.call("DescribeLiveInteractionMetricData", map[string]string{"AppId": "app1", "BeginTs": "1",
		"EndTs": "2", "MetricType": "Joy"}), 400, "InvalidParam",
		`MetricType: "Joy" is not one of JoinChannelSucRate, VideoStuckRate, AudioStuckRate, FirstFrameCost`)
}

// Subtitles answer with RetCode and Description, errors with Code and Message too.
func TestASRFamily(t *testing.T) {
	s := start(t)
	create := func(more ...string) answer {
		return s.call("CreateRtcAsrTask", with(map[string]string{"CallbackURL": "http://x.example", "Language": "en", "Mode": "live",
			"StreamURL": "rtmp://x.example/live/a"}, more...))
	}
	bad := func(what string, a answer, code, message string) {
		t.Helper()
		s.expect(what, a, 400, code, message)
		if a.body["RetCode"] != 4000.0 || a.body["Description"] != message {
			t.Errorf("%s: got RetCode %v, Description %v", what, a.body["RetCode"], a.body["Description"])
		}
	}
	bad("live", create(), "NotSupported", "subtitles (ASR) is not supported yet")
	bad("rtc", create("Mode", "rtc", "SDKAppID", "app1", "ChannelID", "ch1", "RtcUserId", "u"), "NotSupported", "subtitles (ASR) is not supported yet")
	bad("live without", create("StreamURL", ""), "MissingParam", "StreamURL is missing")
	bad("rtc without", create("Mode", "rtc", "SDKAppID", "app1", "ChannelID", "ch1"), "MissingParam", "RtcUserId is missing")
	bad("rtc elsewhere", create("Mode", "rtc", "SDKAppID", "app3", "ChannelID", "ch1", "RtcUserId", "u"), "InvalidAppId", `SDKAppID: there is no application "app3"`)
	bad("mode", create("Mode", "tape"), "InvalidParam", `Mode: "tape" is not one of live, rtc`)
	bad("language", create("Language", "xx"), "InvalidParam", `Language: "xx" is not one of ja, yue, fspk, en, cn`)
	for _, field := range []string{"CallbackURL", "Language", "Mode"} {
		bad("no "+field, create(field, ""), "MissingParam", field+" is missing")
	}
}
