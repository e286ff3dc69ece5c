package artc

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

func TestRates(t *testing.T) {
	s := startWith(t, func(_ *server, c *Config) { c.Limits = true })
	task := map[string]string{"AppId": "app1", "TaskId": "none", "CustomSei": "1"}
	call := func(keyID, secret string) (answer, string) {
		t.Helper()
		req := s.request("SetLiveMpuTaskSei", task)
		if err := Sign(req, keyID, secret, s.clock(), s.newNonce()); err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return s.read(res), res.Header.Get("x-ratelimit-user-api")
	}
	for i := range 50 { // one second's worth at once
		if a, state := call("testid", "testsecret"); a.code() != "TaskNotExist" || state != "" {
			t.Fatalf("call %d: got %s %q, %q", i, a.code(), a.message(), state)
		}
	}
	a, state := call("testid", "testsecret")
	s.expect("call 51", a, 400, "Throttling.User", "Request was denied due to user flow control: SetLiveMpuTaskSei takes 50 calls a second.")
	if want := "Limit:50,Remain:0,TimeLeft:20"; state != want {
		t.Errorf("header: got %q, want %q", state, want)
	}
	if a, _ := call("other", "othersecret"); a.code() != "TaskNotExist" {
		t.Errorf("another key: got %s", a.code())
	}
	s.expect("another action", s.call("StopLiveMPUTask", task), 404, "TaskNotExist", "")
	s.now.Add(1)
	for i := range 50 {
		if a, _ := call("testid", "testsecret"); a.code() != "TaskNotExist" {
			t.Fatalf("a second later, call %d: got %s", i, a.code())
		}
	}
	for i := range 200 { // no documented limit
		if a := s.call("ListRTCLiveRooms", map[string]string{"AppId": "app1"}); a.status != 200 {
			t.Fatalf("ListRTCLiveRooms %d: got %s", i, a.code())
		}
	}
}

// What is refused costs nothing, and each wait is enough.
func TestRateWaits(t *testing.T) {
	r, a := newRates(), action{name: "A", qps: 10}
	now := time.Unix(1000, 0)
	for range 10 {
		if wait := r.take("k", a, now); wait != 0 {
			t.Fatalf("wait %v", wait)
		}
	}
	for range 1000 {
		if wait := r.take("k", a, now); wait != 100*time.Millisecond {
			t.Fatalf("wait %v, want 100ms", wait)
		}
	}
	if wait := r.take("k", a, now.Add(100*time.Millisecond)); wait != 0 {
		t.Errorf("after the wait: %v", wait)
	}
	if got := rateState(a, 1500*time.Microsecond); got != "Limit:10,Remain:0,TimeLeft:2" {
		t.Error(got)
	}
}

// Each access key has the documented calls a second, action by action (artc-api.md section 2).
func TestDocumentedRates(t *testing.T) {
	want := map[string]int{
		"DescribeChannelUsers": 100, "DescribeChannelParticipants": 100, "ListRTCLiveRooms": 0, "RemoveTerminals": 100, "DeleteChannel": 100,
		"CreateRTCWhipStreamAddress": 40, "CreateRoomRealTimeStreamAddress": 100,
		"StartLiveMPUTask": 500, "UpdateLiveMPUTask": 500, "StopLiveMPUTask": 500, "SetLiveMpuTaskSei": 50, "ListRtcMPUTaskDetail": 50,
		"CreateEventSub": 100, "UpdateEventSub": 50, "DeleteEventSub": 100, "ListEventSub": 50, "ListEventSubEvent": 50,
		"CreateRtcMPUEventSub": 50, "UpdateRtcMPUEventSub": 50, "DeleteRtcMPUEventSub": 50, "DescribeRtcMPUEventSub": 50, "ListRtcMPUEventSubRecord": 100,
		"StartRtcCloudRecording": 0, "UpdateRtcCloudRecording": 50, "StopRtcCloudRecording": 50, "DescribeRtcCloudRecordingFiles": 50,
		"StartRtcCloudTranscode": 0, "StopRtcCloudTranscode": 0, "DescribeRtcCloudTranscode": 0,
		"CreateRtcAsrTask": 20, "StopRtcAsrTask": 20, "QueryRtcAsrTasks": 20, "DeleteRtcAsrTask": 20,
		"DescribeLiveGrtnDuration": 10, "DescribeMeterLiveBypassDuration": 10, "DescribeLiveRtcRecordUsageData": 10, "DescribeLiveInteractionMetricData": 50,
	}
	got := map[string]int{}
	for _, a := range catalogue() {
		if _, twice := got[a.name]; twice {
			t.Errorf("%s is there twice", a.name)
		}
		got[a.name] = a.qps
	}
	diff(t, "catalogue", fmt.Sprint(got), fmt.Sprint(want))
}
