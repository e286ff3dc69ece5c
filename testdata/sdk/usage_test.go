package sdk

import (
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/services/live"
)

// isoTime is a time as the usage actions take it.
func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func hoursAgo(h int) string { return isoTime(time.Now().Add(-time.Duration(h) * time.Hour)) }

// TestUsage asks for the minutes of the users who have been there all the time,
// and of a relay that runs for this test.
func TestUsage(t *testing.T) {
	start(t)
	task := object{"AppId": under.app, "ChannelId": under.channel, "TaskId": "sdk-usage", "MixMode": "0",
		"StreamURL": under.rtmp + "/sdk-usage", "SingleSubParams": object{"UserId": under.users[0]}}
	core(t, "StartLiveMPUTask", task)
	plays(t, "sdk-usage")

	calls := live.CreateDescribeLiveGrtnDurationRequest()
	calls.AppId, calls.StartTime, calls.EndTime, calls.Interval = under.app, hoursAgo(1), isoTime(time.Now().Add(time.Hour)), "300"
	relayed := live.CreateDescribeMeterLiveBypassDurationRequest()
	relayed.AppId, relayed.StartTime, relayed.EndTime, relayed.Interval = calls.AppId, calls.StartTime, calls.EndTime, calls.Interval
	// Usage is written every few seconds.
	eventually(t, 30*time.Second, "call minutes are counted", func() (bool, any) {
		data := v1(t, v1Client(t).DescribeLiveGrtnDuration, calls).StreamDetailData.StreamData
		for _, d := range data {
			if d.AppId == under.app && d.MediaType == "audio" && d.Duration >= 1 && isTime(d.TimeStamp) {
				return true, nil
			}
		}
		return false, data
	})
	eventually(t, 30*time.Second, "relay minutes are counted", func() (bool, any) {
		a := v1(t, v1Client(t).DescribeMeterLiveBypassDuration, relayed)
		return a.SingleVideoSummaryDuration >= 1 && a.TotalSummaryDuration >= a.SingleVideoSummaryDuration && len(a.Data) > 0 &&
			a.Data[0].TotalDuration >= 1 && isTime(a.Data[0].Timestamp), a.GetHttpContentString()
	})
	core(t, "StopLiveMPUTask", object{"AppId": under.app, "TaskId": "sdk-usage"})

	coreRefused(t, "DescribeMeterLiveBypassDuration", object{"AppId": under.app, "StartTime": hoursAgo(1)}, 400, "MissingParam")
	coreRefused(t, "DescribeLiveGrtnDuration", object{"StartTime": hoursAgo(1), "EndTime": hoursAgo(2)}, 400, "InvalidParam")
}

func isTime(s string) bool {
	_, err := time.Parse("2006-01-02T15:04:05Z", s)
	return err == nil
}
