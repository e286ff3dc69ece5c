package sdk

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/alibabacloud-go/tea/tea"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/live"
)

// TestNotThereYet calls, with everything that they need, the actions that braid
// knows and cannot do: the caller learns that this is the reason.
func TestNotThereYet(t *testing.T) {
	start(t)
	app := object{"AppId": under.app, "ChannelId": under.channel}
	with := func(more object) object {
		all := object{}
		for _, m := range []object{app, more} {
			for name, v := range m {
				all[name] = v
			}
		}
		return all
	}
	user := object{"UserId": under.users[0], "StreamType": 0, "SourceType": 0}
	for _, c := range []struct {
		action string
		params object
	}{
		{"DescribeLiveRtcRecordUsageData", object{"AppId": under.app, "StartTime": hoursAgo(1), "EndTime": hoursAgo(0), "RecordMode": 1}},
		{"StartRtcCloudTranscode", with(object{"InputParam": object{"SingleSubUserParam": user},
			"OutputParams": []object{{"ChannelId": under.channel, "UserId": "copy", "UserToken": "x", "TranscodeTemplate": "lhd"}}})},
		{"StopRtcCloudTranscode", object{"AppId": under.app, "TaskId": "r"}},
		{"DescribeRtcCloudTranscode", object{"AppId": under.app, "TaskId": "r"}},
	} {
		refused := coreRefused(t, c.action, c.params, 400, notYet)
		if !strings.Contains(tea.StringValue(refused.Message), " is not supported yet request id: ") {
			t.Errorf("%s: got %q", c.action, tea.StringValue(refused.Message))
		}
	}
	coreRefused(t, "StopRtcCloudRecording", object{}, 400, "MissingParam")

	metric := live.CreateDescribeLiveInteractionMetricDataRequest()
	metric.AppId, metric.MetricType, metric.BeginTs, metric.EndTs = under.app, "VideoStuckRate", "1760000000000", "1760000300000"
	v1Refused(t, v1Client(t).DescribeLiveInteractionMetricData, metric, 400, notYet)
}

// TestSubtitlesNotThereYet also looks at what this family's errors have more.
func TestSubtitlesNotThereYet(t *testing.T) {
	start(t)
	create := live.CreateCreateRtcAsrTaskRequest()
	create.CallbackURL, create.Language, create.Mode = "http://127.0.0.1:9/asr", "en", "rtc"
	create.SDKAppID, create.ChannelID, create.RtcUserId = under.app, under.channel, under.users[0]
	create.TranslateEnabled = requests.NewBoolean(true)
	v1Refused(t, v1Client(t).CreateRtcAsrTask, create, 400, notYet)
	nobody := live.CreateCreateRtcAsrTaskRequest()
	nobody.CallbackURL, nobody.Language, nobody.Mode, nobody.SDKAppID, nobody.ChannelID = create.CallbackURL, "en", "rtc", under.app, under.channel
	v1Refused(t, v1Client(t).CreateRtcAsrTask, nobody, 400, "MissingParam")
	stop := live.CreateStopRtcAsrTaskRequest()
	stop.TaskId = "a"
	v1Refused(t, v1Client(t).StopRtcAsrTask, stop, 400, notYet)
	remove := live.CreateDeleteRtcAsrTaskRequest()
	remove.TaskId = "a"
	v1Refused(t, v1Client(t).DeleteRtcAsrTask, remove, 400, notYet)
	v1Refused(t, v1Client(t).QueryRtcAsrTasks, live.CreateQueryRtcAsrTasksRequest(), 400, notYet)

	refused := coreRefused(t, "StopRtcAsrTask", object{"TaskId": "a"}, 400, notYet)
	var data struct {
		RetCode     int
		Description string
	}
	if err := json.Unmarshal([]byte(tea.StringValue(refused.Data)), &data); err != nil || data.RetCode == 2000 || data.RetCode == 0 || data.Description == "" {
		t.Errorf("StopRtcAsrTask: %v, got RetCode %d and Description %q; 2000 would be success", err, data.RetCode, data.Description)
	}
}
