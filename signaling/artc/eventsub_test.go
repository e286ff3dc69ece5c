package artc

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"braid/event"
	"braid/store"
)

var allEvents = map[string]string{"AppId": "app1", "CallbackUrl": "http://cb.example/room", "Events.1": "ChannelEvent", "Events.2": "UserEvent"}

// text is a field of an answer that must be a text.
func (s *server) text(a answer, field string) string {
	s.t.Helper()
	v, ok := a.body[field].(string)
	if a.status != 200 || !ok || v == "" {
		s.t.Fatalf("got %d %v, want %s", a.status, a.body, field)
	}
	return v
}

func TestEventSubLife(t *testing.T) {
	s := startWhole(t)
	list := func() answer { return s.call("ListEventSub", map[string]string{"AppId": "app1"}) }
	s.good("none", list(), `{"Subscribers": []}`)
	all := s.text(s.call("CreateEventSub", allEvents), "SubscribeId")
	s.now.Add(5)
	one := s.text(s.call("CreateEventSub", with(allEvents, "ChannelId", "ch1", "Users", `["u1","u2"]`, "Events.2", "UserEvent")), "SubscribeId")
	item := func(id, channel, users, events, url, created, modified string) string {
		return fmt.Sprintf(`{"SubId": %q, "ChannelId": %q, "Users": %s, "Events": %s, "CallbackUrl": %q, "Roles": 0,
			"CreateTime": "2026-11-22 %s", "ModifyTime": "2026-11-22 %s"}`, id, channel, users, events, url, created, modified)
	}
	both := `["ChannelEvent","UserEvent"]`
	second := item(one, "ch1", `["u1","u2"]`, both, "http://cb.example/room", "21:37:40", "21:37:40")
	s.good("two, in UTC+8", list(), `{"Subscribers": [`+item(all, "*", `[]`, both, "http://cb.example/room", "21:37:35", "21:37:35")+`,`+second+`]}`)

	s.now.Add(5)
	change := map[string]string{"AppId": "app1", "SubscribeId": all, "CallbackUrl": "https://cb.example/new?a=1", "Events": `["UserEvent"]`, "ChannelId": "ch2", "Users.1": "u9"}
	s.good("update", s.call("UpdateEventSub", change), `{}`)
	first := item(all, "ch2", `["u9"]`, `["UserEvent"]`, "https://cb.example/new?a=1", "21:37:35", "21:37:45")
	s.good("updated", list(), `{"Subscribers": [`+first+`,`+second+`]}`)
	s.good("another application", s.call("ListEventSub", map[string]string{"AppId": "app2"}), `{"Subscribers": []}`)

	id := map[string]string{"AppId": "app1", "SubscribeId": one}
	s.expect("delete elsewhere", s.call("DeleteEventSub", with(id, "AppId", "app2")), 404, "ResourceNotExist", fmt.Sprintf("SubscribeId: there is no subscription %q", one))
	s.good("delete", s.call("DeleteEventSub", id), `{}`)
	s.expect("delete again", s.call("DeleteEventSub", id), 404, "ResourceNotExist", "")
	s.expect("update what is gone", s.call("UpdateEventSub", with(change, "SubscribeId", one)), 404, "ResourceNotExist", "")
	s.good("one is left", list(), `{"Subscribers": [`+first+`]}`)
}

// Every rule of a subscription is InputInvalid in this family, and names the field.
func TestEventSubRules(t *testing.T) {
	s := startWhole(t)
	id := s.text(s.call("CreateEventSub", with(allEvents, "ChannelId", "mine")), "SubscribeId")
	many := func(field string, n int) []string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("%s.%d", field, i+1), fmt.Sprint("u", i))
		}
		return list
	}
	for _, c := range []struct {
		what, field string
		more        []string
	}{
		{"no URL", "CallbackUrl", []string{"CallbackUrl", ""}},
		{"no http", "CallbackUrl", []string{"CallbackUrl", "ftp://cb.example/"}},
		{"no host", "CallbackUrl", []string{"CallbackUrl", "http:///a"}},
		{"a space", "CallbackUrl", []string{"CallbackUrl", "http://cb.example/a b"}},
		{"a long URL", "CallbackUrl", []string{"CallbackUrl", "http://cb.example/" + strings.Repeat("a", 2048)}},
		{"an event that is none", "Events", []string{"Events.1", "ChatEvent"}},
		{"six events", "Events", append([]string{"Events.1", "", "Events.2", ""}, many("Events", 6)...)},
		{"users without a channel", "ChannelId", []string{"Users.1", "u1"}},
		{"users of all channels", "ChannelId", []string{"ChannelId", "*", "Users.1", "u1"}},
		{"31 users", "Users", append([]string{"ChannelId", "ch1"}, many("Users", 31)...)},
		{"a user that is none", "Users", []string{"ChannelId", "ch1", "Users.1", "a b"}},
		{"a channel that is none", "ChannelId", []string{"ChannelId", "a b"}},
	} {
		for action, base := range map[string]map[string]string{"CreateEventSub": allEvents, "UpdateEventSub": with(allEvents, "SubscribeId", id)} {
			a := s.call(action, with(base, c.more...))
			if a.status != 400 || a.code() != "InputInvalid" || !strings.HasPrefix(a.message(), c.field) {
				t.Errorf("%s, %s: got %d %s %q, want 400 InputInvalid about %s", action, c.what, a.status, a.code(), a.message(), c.field)
			}
		}
	}
	s.expect("no events", s.call("CreateEventSub", map[string]string{"AppId": "app1", "CallbackUrl": "http://a.example/"}), 400, "InputInvalid", "Events is missing")
	s.expect("no SubscribeId", s.call("UpdateEventSub", allEvents), 400, "InputInvalid", "SubscribeId is missing")
	s.expect("no SubscribeId", s.call("DeleteEventSub", allEvents), 400, "InputInvalid", "SubscribeId is missing")
	if a := s.call("CreateEventSub", with(allEvents, append(many("Users", 30), "ChannelId", "ch1")...)); a.status != 200 {
		t.Errorf("30 users: got %v", a.body)
	}
}

// 20 subscriptions an application, one of them for all channels.
func TestEventSubQuota(t *testing.T) {
	s := startWhole(t)
	s.text(s.call("CreateEventSub", with(allEvents, "ChannelId", "*")), "SubscribeId")
	if a := s.call("CreateEventSub", allEvents); a.status != 400 || a.code() != "InputInvalid" || !strings.HasPrefix(a.message(), "ChannelId") {
		t.Errorf("a second one for all channels: got %d %v", a.status, a.body)
	}
	for i := range 19 {
		s.text(s.call("CreateEventSub", with(allEvents, "ChannelId", fmt.Sprint("ch", i))), "SubscribeId")
	}
	if a := s.call("CreateEventSub", with(allEvents, "ChannelId", "one-more")); a.status != 400 || a.code() != "InputInvalid" || !strings.Contains(a.message(), "20") {
		t.Errorf("21: got %d %v", a.status, a.body)
	}
	s.text(s.call("CreateEventSub", with(allEvents, "AppId", "app2")), "SubscribeId")
}

// receiver is a business server that answers with a status.
func receiver(t *testing.T, status int) (url string) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }))
	t.Cleanup(srv.Close)
	return srv.URL
}

// deliver makes events and waits until there are n records of a kind.
func (s *server) deliver(kind store.Kind, n int, events ...event.Event) {
	s.t.Helper()
	if err := s.db.Update(s.t.Context(), func(tx *store.Tx) error { return tx.Append(events...) }); err != nil {
		s.t.Fatal(err)
	}
	q := store.RecordQuery{App: "app1", Kind: kind}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		page, err := s.callbacks.Records(s.t.Context(), q, 1, 100)
		if err != nil {
			s.t.Fatal(err)
		}
		if page.Count >= n {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d records after 10 s, want %d", page.Count, n)
		}
	}
}

func TestListEventSubEvent(t *testing.T) {
	s := startSending(t)
	url := receiver(t, 204)
	id := s.text(s.call("CreateEventSub", with(allEvents, "CallbackUrl", url+"/a?b=c")), "SubscribeId")
	now := time.Now()
	var events []event.Event
	for i := range 3 {
		events = append(events, event.Event{App: "app1", Channel: fmt.Sprint("ch", i), Type: event.ChannelOpen, Time: now})
	}
	s.deliver(store.Room, 3, events...)
	s.now.Store(time.Now().Unix())
	list := func(more ...string) answer {
		return s.call("ListEventSubEvent", with(map[string]string{"AppId": "app1", "StartTime": strconv.FormatInt(now.Unix()-60, 10),
			"EndTime": strconv.FormatInt(time.Now().Unix(), 10), "PageNo": "1", "PageSize": "2"}, more...))
	}
	a := list()
	logs, _ := a.body["Logs"].([]any)
	if a.status != 200 || a.body["Count"] != 2.0 || a.body["HasMore"] != true || len(logs) != 2 {
		t.Fatalf("page 1: got %d %v", a.status, a.body)
	}
	l := logs[0].(map[string]any)
	if l["SubId"] != id || l["AppId"] != "app1" || l["Url"] != url+"/a?b=c" || l["Code"] != 204.0 {
		t.Errorf("got %v", l)
	}
	if cost, ok := l["Cost"].(float64); !ok || cost < 0 || cost > 10000 {
		t.Errorf("Cost: got %v", l["Cost"])
	}
	at, err := time.ParseInLocation("2006-01-02 15:04:05.000", l["Time"].(string), time.FixedZone("", 8*3600))
	if off := time.Since(at); err != nil || off < 0 || off > time.Minute {
		t.Errorf("Time %v is %v ago (%v)", l["Time"], off, err)
	}
	var data struct{ MsgId, SubscribeId, AppId string }
	if err := json.Unmarshal([]byte(l["Data"].(string)), &data); err != nil || data.MsgId != l["MessageId"] || data.SubscribeId != id || data.AppId != "app1" {
		t.Errorf("Data: got %v (%v), MessageId %v", l["Data"], err, l["MessageId"])
	}
	a = list("PageNo", "2", "SubscribeId", id)
	if logs, _ := a.body["Logs"].([]any); len(logs) != 1 || a.body["Count"] != 1.0 || a.body["HasMore"] != false {
		t.Errorf("page 2: got %d %v", a.status, a.body)
	}
	s.good("past the end", list("PageNo", "3"), `{"Logs": [], "Count": 0, "HasMore": false}`)
	s.good("another subscription", list("SubscribeId", "other"), `{"Logs": [], "Count": 0, "HasMore": false}`)
	s.good("another application", list("AppId", "app2", "SubscribeId", id), `{"Logs": [], "Count": 0, "HasMore": false}`)
	s.good("before", list("EndTime", strconv.FormatInt(now.Unix()-30, 10)), `{"Logs": [], "Count": 0, "HasMore": false}`)
}

func TestRecordRanges(t *testing.T) {
	s := startWhole(t)
	now := captureTime
	unix := func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
	iso := func(t time.Time) string { return t.Format(timeLayout) }
	for action, c := range map[string]struct {
		format           func(time.Time) string
		invalid, missing string
		badTime          string
	}{
		"ListEventSubEvent": {unix, "InputInvalid", "InputInvalid",
			`StartTime: "now" is not a whole number from 0 to 1099511627776`},
		"ListRtcMPUEventSubRecord": {iso, "InvalidParam", "MissingParam",
			`StartTime: "now" is not a time in UTC such as 2006-01-02T15:04:05Z`},
	} {
		list := func(from, to time.Time, more ...string) answer {
			return s.call(action, with(map[string]string{"AppId": "app1", "StartTime": c.format(from), "EndTime": c.format(to),
				"PageNo": "1", "PageSize": "100"}, more...))
		}
		week := 7 * 24 * time.Hour
		s.good(action, list(now.Add(-week), now), `{"Logs": [], "Count": 0, "HasMore": false}`)
		s.expect(action+" longer", list(now.Add(-week), now.Add(time.Second)), 400, c.invalid, "EndTime: is more than 7 days after StartTime")
		s.expect(action+" older", list(now.Add(-week-skew-time.Second), now.Add(-week)), 400, c.invalid, "StartTime: is more than 7 days ago")
		s.expect(action+" backwards", list(now, now.Add(-time.Second)), 400, c.invalid, "EndTime: is before StartTime")
		s.expect(action+" bad time", list(now, now, "StartTime", "now"), 400, c.invalid, c.badTime)
		s.expect(action+" page", list(now, now, "PageNo", "0"), 400, c.invalid, `PageNo: "0" is not a whole number from 1 to 1048576`)
		for _, size := range []string{"0", "101"} {
			s.expect(action+" size", list(now, now, "PageSize", size), 400, c.invalid, fmt.Sprintf("PageSize: %q is not a whole number from 1 to 100", size))
		}
		for _, field := range []string{"StartTime", "EndTime", "PageNo", "PageSize"} {
			s.expect(action+" without", list(now, now, field, ""), 400, c.missing, field+" is missing")
		}
	}
}
