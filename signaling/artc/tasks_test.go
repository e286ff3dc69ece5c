package artc

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"braid/media"
)

// singleTask are the parameters of a single-stream task.
func singleTask(task string) map[string]string {
	return map[string]string{"AppId": "app1", "ChannelId": "ch1", "TaskId": task, "MixMode": "0",
		"StreamURL": "rtmp://127.0.0.1/live/" + task, "SingleSubParams": `{"UserId":"111"}`}
}

func with(params map[string]string, more ...string) map[string]string {
	all := maps.Clone(params)
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

func TestTaskLife(t *testing.T) {
	s := start(t)
	one := singleTask("t1")
	id := map[string]string{"AppId": "app1", "TaskId": "t1"}
	ok := func(what string, a answer) {
		t.Helper()
		if a.status != 200 || len(a.body) != 1 {
			t.Fatalf("%s: got %d %v, want 200 with RequestId only", what, a.status, a.body)
		}
	}
	s.expect("update before start", s.call("UpdateLiveMPUTask", one), 404, "TaskNotExist", `TaskId: there is no task "t1"`)
	ok("start", s.call("StartLiveMPUTask", one))
	s.expect("start again", s.call("StartLiveMPUTask", one), 400, "InvalidParam", `TaskId: task "t1" already exists`)
	ok("set SEI", s.call("SetLiveMpuTaskSei", with(id, "CustomSei", `{"a":1}`)))
	if got := s.tasks.sei["app1/t1"]; got != `{"a":1}` {
		t.Errorf("SEI content: got %q", got)
	}
	ok("update", s.call("UpdateLiveMPUTask", with(one, "StreamURL", "rtmp://127.0.0.1/live/new")))
	s.expect("move to another channel", s.call("UpdateLiveMPUTask", with(one, "ChannelId", "ch9")), 400, "InvalidParam", "ChannelId: a task cannot move")
	if got := s.tasks.get(t, "app1", "t1").URLs[0]; got != "rtmp://127.0.0.1/live/new" {
		t.Errorf("URL after the update: %s", got)
	}
	ok("stop", s.call("StopLiveMPUTask", id))
	s.expect("stop again", s.call("StopLiveMPUTask", id), 404, "TaskNotExist", "")
	s.expect("set SEI after stop", s.call("SetLiveMpuTaskSei", with(id, "CustomSei", "1")), 404, "TaskNotExist", "")
}

// An update carries no MaxIdleTime, Region and PayloadType: what was said at the start is still listed.
func TestUpdateKeepsWhatOnlyTheStartSays(t *testing.T) {
	s := start(t)
	first := with(singleTask("t1"), "MaxIdleTime", "60", "Region", "CN-Shanghai", "SeiParams", `{"PayloadType":"100"}`)
	s.call("StartLiveMPUTask", first)
	change := with(singleTask("t1"), "MaxIdleTime", "5", "SeiParams", `{"LayoutVolume":{"Interval":2000},"PayloadType":"200"}`)
	if a := s.call("UpdateLiveMPUTask", change); a.status != 200 {
		t.Fatalf("update: got %d %v", a.status, a.body)
	}
	a := s.call("ListRtcMPUTaskDetail", map[string]string{"AppId": "app1", "TaskId": "t1"})
	diff(t, "listed", a.body["MPUTasks"], []any{tree(t, `{"AppId":"app1","ChannelId":"ch1","TaskId":"t1","MixMode":"0",
		"StreamURL":"rtmp://127.0.0.1/live/t1","SingleSubParams":{"UserId":"111"},"MaxIdleTime":"60","Region":"CN-Shanghai",
		"SeiParams":{"LayoutVolume":{"Interval":"2000"},"PayloadType":"100"}}`)})
	got := s.tasks.get(t, "app1", "t1")
	if got.MaxIdle != 0 || got.SEI.PayloadType != 5 || got.SEI.Layout.Interval != 2*time.Second {
		t.Errorf("an update's spec says more than its request: MaxIdle %v, SEI %+v", got.MaxIdle, got.SEI)
	}
}

func TestListTasks(t *testing.T) {
	s := start(t)
	s.replay(captured(t, "v2-StartLiveMPUTask"))
	for _, task := range []string{"a", "b"} {
		if a := s.call("StartLiveMPUTask", singleTask(task)); a.status != 200 {
			t.Fatalf("start %s: %v", task, a.body)
		}
	}
	list := func(more ...string) answer {
		return s.call("ListRtcMPUTaskDetail", with(map[string]string{"AppId": "app1"}, more...))
	}
	names := func(a answer) string {
		t.Helper()
		tasks, ok := a.body["MPUTasks"].([]any)
		if !ok {
			t.Fatalf("no MPUTasks in %v", a.body)
		}
		var s []string
		for _, task := range tasks {
			s = append(s, task.(map[string]any)["TaskId"].(string))
		}
		return strings.Join(s, " ")
	}
	for _, c := range []struct {
		want string
		more []string
	}{
		{"b a t1", []string{"PageNo", "1", "PageSize", "100"}},
		{"b a", []string{"PageNo", "1", "PageSize", "2"}},
		{"t1", []string{"PageNo", "2", "PageSize", "2"}},
		{"", []string{"PageNo", "3", "PageSize", "2"}},
		{"a", []string{"TaskId", "a", "PageNo", "bad"}},
		{"", []string{"TaskId", "none"}},
	} {
		if got := names(list(c.more...)); got != c.want {
			t.Errorf("%v: got %q, want %q", c.more, got, c.want)
		}
	}
	diff(t, "the captured task", list("TaskId", "t1").body["MPUTasks"], []any{tree(t, capturedEcho)})
	s.expect("no page", list(), 400, "MissingParam", "PageNo is missing")
	s.expect("no size", list("PageNo", "1"), 400, "MissingParam", "PageSize is missing")
	s.expect("page 0", list("PageNo", "0", "PageSize", "1"), 400, "InvalidParam", `PageNo: "0" is not a whole number from 1 to 1048576`)
	s.expect("size 101", list("PageNo", "1", "PageSize", "101"), 400, "InvalidParam", `PageSize: "101" is not a whole number from 1 to 100`)
	if got := names(s.call("ListRtcMPUTaskDetail", map[string]string{"AppId": "app2", "PageNo": "1", "PageSize": "10"})); got != "" {
		t.Errorf("another application sees %q", got)
	}
}

func TestErrorsOfTheService(t *testing.T) {
	s := start(t)
	s.expect("nobody there", s.call("StartLiveMPUTask", with(singleTask("t1"), "ChannelId", "empty")), 404, "ChannelNotExist",
		`ChannelId: channel "empty" does not exist: no user is in it`)
	for i := range s.tasks.quota {
		s.call("StartLiveMPUTask", singleTask(fmt.Sprint("t", i)))
	}
	s.expect("quota", s.call("StartLiveMPUTask", singleTask("more")), 400, "QuotaExceeded", "the application runs 4 tasks, the most")
	s.tasks.fail = fmt.Errorf("StreamURL: another task pushes there: %w", media.ErrInvalid)
	s.expect("invalid", s.call("StartLiveMPUTask", singleTask("more")), 400, "InvalidParam", "StreamURL: another task pushes there")
	s.tasks.fail = errors.New("disk full at /secret/path")
	s.expect("anything else", s.call("StartLiveMPUTask", singleTask("more")), 500, "InternalError", "The request failed inside the server.")
}

func TestCustomSEI(t *testing.T) {
	s := start(t)
	s.call("StartLiveMPUTask", singleTask("t1"))
	set := func(content string) answer {
		return s.call("SetLiveMpuTaskSei", map[string]string{"AppId": "app1", "TaskId": "t1", "CustomSei": content})
	}
	longest := `"` + strings.Repeat("中", 4094) + `"` // 4096 characters, 12284 bytes
	if a := set(longest); a.status != 200 {
		t.Errorf("4096 characters: got %d %v", a.status, a.body)
	}
	if s.tasks.sei["app1/t1"] != longest {
		t.Error("the content did not arrive as it was sent")
	}
	s.expect("none", set(""), 400, "MissingParam", "CustomSei is missing")
	s.expect("long", set(`"`+strings.Repeat("a", 4095)+`"`), 400, "InvalidParam", "CustomSei: is 4097 characters long, at most 4096 are allowed")
	s.expect("not JSON", set("{a:1}"), 400, "InvalidParam", `CustomSei: "{a:1}" is not a JSON text`)
}
