package sdk

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/live"
)

// receiver is a business server that takes callbacks.
type receiver struct {
	url string

	mu    sync.Mutex
	taken []message // guarded by mu
}

// message is a callback: both kinds have some of the fields (sections 5.2 and 5.3).
type message struct {
	header http.Header
	body   string

	MsgId, AppId, ChannelId string
	SubscribeId             string
	MsgTimestamp            int64
	Contents                []struct {
		Event     string
		UserEvent struct {
			UserId, EventTag, SessionId, ChannelProfile, CurrentMedias string
			Timestamp, US                                              int64
			Reason, Role, TerminalType, UserType                       int
		}
		ChannelEvent struct {
			ChannelId, EventTag, ChannelProfile string
			Timestamp                           int64
		}
	}

	SubId, TaskId string
	EventType     int
	CallbackTs    int64
	Payload       struct {
		DstUrl               string
		EventTs              int64
		EventCode, ErrorCode int
		ErrorMessage         string
	}
}

// what is the message in a word or two.
func (m message) what() string {
	if m.TaskId != "" {
		return fmt.Sprint("relay ", m.Payload.EventCode)
	}
	var all []string
	for _, c := range m.Contents {
		all = append(all, strings.TrimSpace(c.UserEvent.EventTag+c.ChannelEvent.EventTag+" "+c.UserEvent.UserId))
	}
	return strings.Join(all, " and ")
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	h := httptest.NewServer(r)
	t.Cleanup(h.Close)
	r.url = h.URL + "/cb?a=1&b=x%20y"
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	m := message{header: req.Header, body: string(body)}
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if err != nil || req.Method != "POST" || req.URL.RequestURI() != "/cb?a=1&b=x%20y" || req.Header.Get("Content-Type") != "application/json" {
		http.Error(w, fmt.Sprint(err), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = append(r.taken, m)
}

// got finds the first message about something.
func (r *receiver) got(what string) (m message, all []string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.taken {
		if m.what() == what {
			return m, nil, true
		}
		all = append(all, m.what())
	}
	return m, all, false
}

// receives waits for a message, which must be signed.
func (r *receiver) receives(t *testing.T, what string) (m message) {
	t.Helper()
	eventually(t, 15*time.Second, "the callback "+what, func() (ok bool, state any) {
		m, state, ok = r.got(what)
		return ok, state
	})
	for _, name := range []string{"Ali-Rtc-Timestamp", "Ali-Rtc-Signature", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
		if m.header.Get(name) == "" {
			t.Errorf("the callback %s has no header %s", what, name)
		}
	}
	return m
}

func TestEventSubByV1(t *testing.T) {
	start(t)
	c, r := v1Client(t), newReceiver(t)
	const channel = "sdk-events"
	create := live.CreateCreateEventSubRequest()
	create.AppId, create.ChannelId, create.CallbackUrl = under.app, channel, r.url
	create.Events, create.Users = &[]string{"ChannelEvent", "UserEvent"}, &[]string{"dora", "emil"}
	sub := v1(t, c.CreateEventSub, create).SubscribeId
	defer drop(t, sub)

	dora := enter(t, channel, "dora")
	enter(t, channel, "fritz") // nobody asked about him
	open, join := r.receives(t, "Open"), r.receives(t, "Join dora")
	u := join.Contents[0].UserEvent
	if join.AppId != under.app || join.ChannelId != channel || join.SubscribeId != sub || join.MsgId == "" || join.MsgTimestamp == 0 ||
		join.Contents[0].Event != "UserEvent" || u.Reason != 1 || u.Role != 1 || u.SessionId == "" || u.Timestamp == 0 || u.ChannelProfile != "interactive_live" {
		t.Errorf("the callback Join: got %s", join.body)
	}
	if e := open.Contents[0].ChannelEvent; open.Contents[0].Event != "ChannelEvent" || e.ChannelId != channel || e.Timestamp == 0 {
		t.Errorf("the callback Open: got %s", open.body)
	}
	if publish := r.receives(t, "PublishAudio dora"); publish.Contents[0].UserEvent.CurrentMedias != "1" {
		t.Errorf("the callback PublishAudio: got %s", publish.body)
	}

	list := subscription(t, sub)
	if list.ChannelId != channel || list.CallbackUrl != r.url || !slices.Equal(list.Users, *create.Users) || !slices.Equal(list.Events, *create.Events) {
		t.Errorf("ListEventSub: got %+v", list)
	}
	for _, s := range []string{list.CreateTime, list.ModifyTime} {
		at, err := time.ParseInLocation("2006-01-02 15:04:05", s, time.FixedZone("UTC+8", 8*60*60))
		if err != nil || time.Since(at).Abs() > 5*time.Minute {
			t.Errorf("ListEventSub: %q is not a moment ago in UTC+8", s)
		}
	}

	update := live.CreateUpdateEventSubRequest()
	update.AppId, update.SubscribeId, update.ChannelId, update.CallbackUrl = under.app, sub, channel, r.url
	update.Events = &[]string{"UserEvent"}
	v1(t, c.UpdateEventSub, update)
	if list := subscription(t, sub); len(list.Users) != 0 || !slices.Equal(list.Events, []string{"UserEvent"}) {
		t.Errorf("ListEventSub after the update: got %+v", list)
	}
	dora.leave()
	r.receives(t, "Leave dora")

	log := records(t, sub)
	i := slices.IndexFunc(log.Logs, func(l live.LogsItem) bool { return l.MessageId == join.MsgId })
	if i < 0 || log.Logs[i].Data != join.body || log.Logs[i].Code != 200 || log.Logs[i].Url != r.url || log.Logs[i].SubId != sub || log.Logs[i].AppId != under.app {
		t.Errorf("ListEventSubEvent: got %+v, want the delivery of %s", log, join.body)
	} else if _, err := time.Parse("2006-01-02 15:04:05.000", log.Logs[i].Time); err != nil {
		t.Errorf("ListEventSubEvent: %v", err)
	}

	remove := live.CreateDeleteEventSubRequest()
	remove.AppId, remove.SubscribeId = under.app, sub
	v1(t, c.DeleteEventSub, remove)
	v1Refused(t, c.DeleteEventSub, remove, 404, "ResourceNotExist")
	v1Refused(t, c.UpdateEventSub, update, 404, "ResourceNotExist")
	wrong := live.CreateCreateEventSubRequest()
	wrong.AppId, wrong.CallbackUrl, wrong.Events = under.app, r.url, &[]string{"WeatherEvent"}
	v1Refused(t, c.CreateEventSub, wrong, 400, "InputInvalid")
}

// drop deletes a subscription that a failed test has left.
func drop(t *testing.T, sub string) {
	if t.Failed() {
		ask(coreClient(t), "DeleteEventSub", object{"AppId": under.app, "SubscribeId": sub})
	}
}

func subscription(t *testing.T, sub string) live.Data {
	t.Helper()
	q := live.CreateListEventSubRequest()
	q.AppId = under.app
	all := v1(t, v1Client(t).ListEventSub, q).Subscribers
	i := slices.IndexFunc(all, func(d live.Data) bool { return d.SubId == sub })
	if i < 0 {
		t.Fatalf("ListEventSub: got %+v, want %s among them", all, sub)
	}
	return all[i]
}

// records waits until the attempts for Join, PublishAudio and Leave are there.
func records(t *testing.T, sub string) (log *live.ListEventSubEventResponse) {
	t.Helper()
	q := live.CreateListEventSubEventRequest()
	q.AppId, q.SubscribeId, q.PageNo, q.PageSize = under.app, sub, requests.NewInteger(1), requests.NewInteger(100)
	q.StartTime, q.EndTime = requests.NewInteger64(time.Now().Add(-time.Hour).Unix()), requests.NewInteger64(time.Now().Add(time.Hour).Unix())
	eventually(t, 10*time.Second, "the records", func() (bool, any) {
		log = v1(t, v1Client(t).ListEventSubEvent, q)
		return len(log.Logs) >= 3, log
	})
	if log.Count < int64(len(log.Logs)) || log.HasMore {
		t.Errorf("ListEventSubEvent: Count %d and HasMore %t, with %d of at most 100", log.Count, log.HasMore, len(log.Logs))
	}
	q.PageSize = requests.NewInteger(1)
	if first := v1(t, v1Client(t).ListEventSubEvent, q); len(first.Logs) != 1 || !first.HasMore {
		t.Errorf("ListEventSubEvent, one a page: got %+v", first)
	}
	pageless := live.CreateListEventSubEventRequest()
	pageless.AppId, pageless.StartTime, pageless.EndTime = q.AppId, q.StartTime, q.EndTime
	v1Refused(t, v1Client(t).ListEventSubEvent, pageless, 400, "InputInvalid")
	return log
}

// TestEventSubByCore sends lists as the newer SDK flattens them, and the
// channel "*".
func TestEventSubByCore(t *testing.T) {
	start(t)
	r := newReceiver(t)
	params := object{"AppId": under.app, "ChannelId": "*", "CallbackUrl": r.url, "Events": []string{"ChannelEvent", "UserEvent"}}
	sub, _ := core(t, "CreateEventSub", params)["SubscribeId"].(string)
	defer drop(t, sub)
	coreRefused(t, "CreateEventSub", params, 400, "InputInvalid") // one for all channels is enough
	enter(t, "sdk-everywhere", "gerd")
	r.receives(t, "Join gerd")
	list, _ := coreBy(t, "GET", "ListEventSub", object{"AppId": under.app})["Subscribers"].([]any)
	i := slices.IndexFunc(list, func(s any) bool { return s.(object)["SubId"] == sub })
	if i < 0 || list[i].(object)["ChannelId"] != "*" || !reflect.DeepEqual(list[i].(object)["Events"], []any{"ChannelEvent", "UserEvent"}) {
		t.Errorf("ListEventSub: got %v", list)
	}
	core(t, "DeleteEventSub", object{"AppId": under.app, "SubscribeId": sub})

	params["Users"] = []string{"gerd"} // needs a channel
	coreRefused(t, "CreateEventSub", params, 400, "InputInvalid")
	params["AppId"] = "sdk-no-such-app"
	coreRefused(t, "CreateEventSub", params, 400, "InputInvalid")
	coreRefused(t, "CreateEventSub", object{}, 400, "InputInvalid")
}

func TestRelaySub(t *testing.T) {
	start(t)
	c, r := v1Client(t), newReceiver(t)
	create := live.CreateCreateRtcMPUEventSubRequest()
	create.AppId, create.CallbackUrl, create.ChannelIds = under.app, r.url, "sdk-other,"+under.channel
	sub := v1(t, c.CreateRtcMPUEventSub, create).SubId
	defer ask(coreClient(t), "DeleteRtcMPUEventSub", object{"AppId": under.app})
	if !strings.HasPrefix(sub, "Sub-") {
		t.Errorf("SubId: got %q, want Sub-…", sub)
	}
	v1Refused(t, c.CreateRtcMPUEventSub, create, 400, "InvalidParam") // an application has one

	target := under.rtmp + "/sdk-told"
	core(t, "StartLiveMPUTask", object{"AppId": under.app, "ChannelId": under.channel, "TaskId": "sdk-told", "MixMode": 0, "StreamURL": target,
		"SingleSubParams": object{"UserId": under.users[1]}})
	started, playing := r.receives(t, "relay 1"), r.receives(t, "relay 2")
	if started.EventType != 1 || started.AppId != under.app || started.SubId != sub || started.TaskId != "sdk-told" || started.MsgId == "" ||
		started.CallbackTs < time.Now().Add(-time.Hour).UnixMilli() || started.Payload.EventTs < time.Now().Add(-time.Hour).UnixMilli() || started.Payload.ErrorCode != 0 {
		t.Errorf("the callback that a task has started: got %s", started.body)
	}
	if playing.Payload.DstUrl != target {
		t.Errorf("the callback that it plays: got %s, want DstUrl %s", playing.body, target)
	}
	core(t, "StopLiveMPUTask", object{"AppId": under.app, "TaskId": "sdk-told"})
	r.receives(t, "relay 6")

	describe := live.CreateDescribeRtcMPUEventSubRequest()
	describe.AppId = under.app
	info := v1(t, c.DescribeRtcMPUEventSub, describe).SubInfo
	if info.SubId != sub || info.AppId != under.app || info.CallbackUrl != r.url || info.ChannelIds != create.ChannelIds || info.CreateTime == "" {
		t.Errorf("DescribeRtcMPUEventSub: got %+v", info)
	}
	log := live.CreateListRtcMPUEventSubRecordRequest()
	log.AppId, log.SubId, log.PageNo, log.PageSize = under.app, sub, requests.NewInteger(1), requests.NewInteger(100)
	log.StartTime, log.EndTime = hoursAgo(1), isoTime(time.Now().Add(time.Hour))
	eventually(t, 10*time.Second, "the records", func() (bool, any) {
		a := v1(t, c.ListRtcMPUEventSubRecord, log)
		i := slices.IndexFunc(a.Logs, func(l live.SubInfo) bool { return l.MsgId == started.MsgId })
		return i >= 0 && a.Logs[i].HTTPCode == "200" && a.Logs[i].Data == started.body && a.Logs[i].CallbackUrl == r.url && a.Logs[i].Time != "" && !a.HasMore && a.Count >= 3,
			a.GetHttpContentString()
	})

	update := live.CreateUpdateRtcMPUEventSubRequest()
	update.AppId, update.ChannelIds = under.app, "sdk-other"
	v1(t, c.UpdateRtcMPUEventSub, update)
	if info := v1(t, c.DescribeRtcMPUEventSub, describe).SubInfo; info.ChannelIds != "sdk-other" || info.CallbackUrl != r.url {
		t.Errorf("DescribeRtcMPUEventSub after the update: got %+v", info)
	}
	update.ChannelIds = "a b"
	v1Refused(t, c.UpdateRtcMPUEventSub, update, 400, "InvalidParam")
	remove := live.CreateDeleteRtcMPUEventSubRequest()
	remove.AppId = under.app
	v1(t, c.DeleteRtcMPUEventSub, remove)
	v1Refused(t, c.DescribeRtcMPUEventSub, describe, 404, "SubNotExist")
	v1Refused(t, c.DeleteRtcMPUEventSub, remove, 404, "SubNotExist")
}
