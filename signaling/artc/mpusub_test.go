package artc

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"braid/event"
	"braid/store"
)

var mpuApp = map[string]string{"AppId": "app1"}

func TestMPUSubLife(t *testing.T) {
	s := startWhole(t)
	describe := func() answer { return s.call("DescribeRtcMPUEventSub", mpuApp) }
	const none = "AppId: the application has no subscription"
	s.expect("describe none", describe(), 404, "SubNotExist", none)
	s.expect("update none", s.call("UpdateRtcMPUEventSub", with(mpuApp, "CallbackUrl", "http://cb.example/")), 404, "SubNotExist", none)
	s.expect("delete none", s.call("DeleteRtcMPUEventSub", mpuApp), 404, "SubNotExist", none)

	id := s.text(s.call("CreateRtcMPUEventSub", with(mpuApp, "CallbackUrl", "http://cb.example/mpu", "ChannelIds", "ch1,ch2")), "SubId")
	if !strings.HasPrefix(id, "Sub-") {
		t.Errorf("SubId %q does not begin with Sub-", id)
	}
	info := func(channels, url string) string {
		return fmt.Sprintf(`{"SubInfo": {"SubId": %q, "AppId": "app1", "ChannelIds": %q, "CallbackUrl": %q, "CreateTime": "2026-11-22T13:37:35Z"}}`, id, channels, url)
	}
	s.good("created", describe(), info("ch1,ch2", "http://cb.example/mpu"))
	if a := s.call("CreateRtcMPUEventSub", with(mpuApp, "CallbackUrl", "http://cb.example/")); a.status != 400 || a.code() != "InvalidParam" {
		t.Errorf("a second one: got %d %v", a.status, a.body)
	}
	s.now.Add(60)
	s.good("update channels", s.call("UpdateRtcMPUEventSub", with(mpuApp, "ChannelIds", "ch3")), `{}`)
	s.good("the URL stays", describe(), info("ch3", "http://cb.example/mpu"))
	s.good("update URL", s.call("UpdateRtcMPUEventSub", with(mpuApp, "CallbackUrl", "https://cb.example/new")), `{}`)
	s.good("no channels: all", describe(), info("", "https://cb.example/new"))
	s.text(s.call("CreateRtcMPUEventSub", map[string]string{"AppId": "app2", "CallbackUrl": "http://cb.example/"}), "SubId")
	s.good("delete", s.call("DeleteRtcMPUEventSub", mpuApp), `{}`)
	s.expect("deleted", describe(), 404, "SubNotExist", none)
}

func TestMPUSubRules(t *testing.T) {
	s := startWhole(t)
	create := func(more ...string) answer {
		return s.call("CreateRtcMPUEventSub", with(mpuApp, append([]string{"CallbackUrl", "http://cb.example/"}, more...)...))
	}
	s.expect("no URL", create("CallbackUrl", ""), 400, "MissingParam", "CallbackUrl is missing")
	channels := make([]string, 21)
	for i := range channels {
		channels[i] = fmt.Sprint("ch", i)
	}
	for _, c := range []struct{ what, field, value string }{
		{"21 channels", "ChannelIds", strings.Join(channels, ",")},
		{"the same channel twice", "ChannelIds", "ch1,ch1"},
		{"a channel that is none", "ChannelIds", "ch1,a b"},
		{"an empty channel", "ChannelIds", "ch1,,ch2"},
		{"a character that is not allowed", "CallbackUrl", "http://cb.example/~me"},
		{"a long URL", "CallbackUrl", "http://cb.example/" + strings.Repeat("a", 2083-17)},
		{"no http", "CallbackUrl", "rtmp://cb.example/"},
	} {
		if a := create(c.field, c.value); a.status != 400 || a.code() != "InvalidParam" || !strings.HasPrefix(a.message(), c.field) {
			t.Errorf("%s: got %d %v, want 400 InvalidParam about %s", c.what, a.status, a.body, c.field)
		}
	}
	s.text(create("ChannelIds", strings.Join(channels[:20], ","), "CallbackUrl", "http://cb.example/"+strings.Repeat("a", 2083-18)), "SubId")
}

func TestListRtcMPUEventSubRecord(t *testing.T) {
	s := startSending(t)
	url := receiver(t, 200)
	id := s.text(s.call("CreateRtcMPUEventSub", with(mpuApp, "CallbackUrl", url+"/cb")), "SubId")
	now := time.Now()
	s.deliver(store.MPU, 1, event.Event{App: "app1", Channel: "ch1", Type: event.RelayStarted, Time: now, Relay: &event.Relay{Task: "t1"}})
	s.now.Store(time.Now().Unix())
	iso := func(t time.Time) string { return t.UTC().Format(timeLayout) }
	a := s.call("ListRtcMPUEventSubRecord", map[string]string{"AppId": "app1", "SubId": id, "StartTime": iso(now.Add(-time.Minute)),
		"EndTime": iso(time.Now()), "PageNo": "1", "PageSize": "10"})
	logs, _ := a.body["Logs"].([]any)
	if a.status != 200 || a.body["Count"] != 1.0 || a.body["HasMore"] != false || len(logs) != 1 {
		t.Fatalf("got %d %v", a.status, a.body)
	}
	l := logs[0].(map[string]any)
	if l["SubId"] != id || l["AppId"] != "app1" || l["CallbackUrl"] != url+"/cb" || l["HTTPCode"] != "200" || l["MsgId"] == "" {
		t.Errorf("got %v", l)
	}
	if cost, ok := l["Cost"].(float64); !ok || cost < 0 {
		t.Errorf("Cost: got %v", l["Cost"])
	}
	at, err := time.Parse(timeLayout, l["Time"].(string))
	if off := time.Since(at); err != nil || off < 0 || off > time.Minute {
		t.Errorf("Time %v is %v ago (%v)", l["Time"], off, err)
	}
	if data := l["Data"].(string); !strings.Contains(data, l["MsgId"].(string)) || !strings.Contains(data, `"TaskId":"t1"`) {
		t.Errorf("Data: got %s", data)
	}
}
