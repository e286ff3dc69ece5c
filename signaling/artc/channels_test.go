package artc

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"braid/media"
	"braid/media/sfu"
)

var inRoom = map[string]string{"AppId": "app1", "ChannelId": "ch1"}

// good checks an answer field by field: the types are JSON's, numbers are numbers.
func (s *server) good(what string, a answer, want string) {
	s.t.Helper()
	if a.status != 200 {
		s.t.Errorf("%s: got %d %v, want 200", what, a.status, a.body)
		return
	}
	delete(a.body, "RequestId")
	diff(s.t, what, a.body, tree(s.t, want))
}

func TestDescribeChannelUsers(t *testing.T) {
	s := start(t)
	now := captureTime.Unix()
	s.good("a channel", s.call("DescribeChannelUsers", inRoom), fmt.Sprintf(`{"IsChannelExists": true, "InteractiveUserList": ["111"],
		"InteractiveUserNumber": 1, "LiveUserList": ["viewer"], "LiveUserNumber": 1, "Timestamp": %d}`, now))
	s.rooms.put("app1", "ch1") // the last user has just left
	s.good("an empty channel", s.call("DescribeChannelUsers", inRoom), fmt.Sprintf(`{"IsChannelExists": true, "InteractiveUserList": [],
		"InteractiveUserNumber": 0, "LiveUserList": [], "LiveUserNumber": 0, "Timestamp": %d}`, now))
	s.good("no channel", s.call("DescribeChannelUsers", with(inRoom, "AppId", "app2")), fmt.Sprintf(`{"IsChannelExists": false,
		"InteractiveUserList": [], "InteractiveUserNumber": 0, "LiveUserList": [], "LiveUserNumber": 0, "Timestamp": %d}`, now))
	s.expect("no ChannelId", s.call("DescribeChannelUsers", with(inRoom, "ChannelId", "")), 400, "MissingParam", "ChannelId is missing")
}

func TestDescribeChannelParticipants(t *testing.T) {
	s := start(t)
	var users []*media.User
	for i := range 25 {
		users = append(users, &media.User{ID: fmt.Sprint("u", i)})
	}
	s.rooms.put("app1", "big", users...)
	describe := func(more ...string) answer {
		return s.call("DescribeChannelParticipants", with(map[string]string{"AppId": "app1", "ChannelId": "big"}, more...))
	}
	whole := func(list string, total, pages int) string {
		return fmt.Sprintf(`{"UserList": [%s], "TotalNum": %d, "TotalPage": %d, "Times": %d}`, list, total, pages, captureTime.Unix())
	}
	s.good("as it is", describe(), whole(`"u24","u23","u22","u21","u20","u19","u18","u17","u16","u15"`, 25, 3))
	s.good("ascending, last page", describe("Order", "asc", "PageNum", "3"), whole(`"u20","u21","u22","u23","u24"`, 25, 3))
	s.good("pages of two", describe("Order", "desc", "PageNum", "2", "PageSize", "2"), whole(`"u22","u21"`, 25, 13))
	s.good("past the end", describe("PageNum", "4"), whole("", 25, 3))
	s.good("no channel", describe("ChannelId", "none"), whole("", 0, 0))
	s.expect("order", describe("Order", "up"), 400, "InvalidParam", `Order: "up" is not one of asc, desc`)
	s.expect("page", describe("PageNum", "0"), 400, "InvalidParam", `PageNum: "0" is not a whole number from 1 to 1048576`)
	s.expect("size", describe("PageSize", "101"), 400, "InvalidParam", `PageSize: "101" is not a whole number from 1 to 100`)
}

func TestListRTCLiveRooms(t *testing.T) {
	s := start(t)
	var all []string
	for i := range 60 {
		id := fmt.Sprintf("room%02d", i)
		all = append(all, id)
		s.rooms.put("app2", id, &media.User{ID: "u"})
	}
	list := func(more ...string) answer {
		return s.call("ListRTCLiveRooms", with(map[string]string{"AppId": "app2"}, more...))
	}
	want := func(rooms []string) string {
		b, _ := json.Marshal(map[string]any{"Rooms": rooms, "Total": 60})
		return string(b)
	}
	s.good("as it is", list(), want(all[:50]))
	s.good("second page", list("PageNo", "2"), want(all[50:]))
	s.good("small pages", list("PageNo", "2", "PageSize", "10"), want(all[10:20]))
	s.good("past the end", list("PageNo", "9"), want([]string{}))
	s.good("another application", s.call("ListRTCLiveRooms", map[string]string{"AppId": "app1"}), `{"Rooms": ["ch1"], "Total": 1}`)
	for _, size := range []string{"9", "101"} {
		s.expect("size", list("PageSize", size), 400, "InvalidParam", fmt.Sprintf("PageSize: %q is not a whole number from 10 to 100", size))
	}
	s.expect("page", list("PageNo", "0"), 400, "InvalidParam", `PageNo: "0" is not a whole number from 1 to 1048576`)
}

func TestRemoveTerminals(t *testing.T) {
	s := start(t)
	remove := func(more ...string) answer { return s.call("RemoveTerminals", with(inRoom, more...)) }
	s.good("one there, one not, one twice", remove("TerminalIds.1", "111", "TerminalIds.2", "nobody", "TerminalIds.3", "111"),
		`{"Terminals": [{"Id": "111", "Code": 0, "Message": "Success"}, {"Id": "nobody", "Code": 404, "Message": "Failed"},
			{"Id": "111", "Code": 0, "Message": "Success"}]}`)
	s.good("as JSON, with numbers", remove("TerminalIds", `["viewer", 1811]`),
		`{"Terminals": [{"Id": "viewer", "Code": 0, "Message": "Success"}, {"Id": "1811", "Code": 404, "Message": "Failed"}]}`)
	if ch, _ := s.rooms.Channel("app1", "ch1"); len(ch.Users()) != 0 {
		t.Errorf("%d users are left", len(ch.Users()))
	}
	s.good("no channel", remove("ChannelId", "none", "TerminalIds.1", "u"), `{"Terminals": [{"Id": "u", "Code": 404, "Message": "Failed"}]}`)
	s.rooms.fail = errors.New("no more")
	s.good("what cannot be done", remove("TerminalIds.1", "u"), `{"Terminals": [{"Id": "u", "Code": 500, "Message": "Failed"}]}`)
	s.rooms.fail = nil
	many := make([]string, 0, 62)
	for i := range 31 {
		many = append(many, fmt.Sprintf("TerminalIds.%d", i+1), fmt.Sprint("u", i))
	}
	if a := remove(many[:60]...); a.status != 200 || len(a.body["Terminals"].([]any)) != 30 {
		t.Errorf("30: got %d %v", a.status, a.body)
	}
	s.expect("31", remove(many...), 400, "InvalidParam", "TerminalIds: has 31 entries, at most 30 are allowed")
	s.expect("none", remove(), 400, "MissingParam", "TerminalIds is missing")
	s.expect("an empty list", remove("TerminalIds", "[]"), 400, "MissingParam", "TerminalIds is missing")
	s.expect("an empty one", remove("TerminalIds.1", ""), 400, "InvalidParam", "TerminalIds: entry 1 is not a text")
	s.expect("not a list", remove("TerminalIds", "u1"), 400, "InvalidParam", "TerminalIds: is not a list")
	s.expect("broken JSON", remove("TerminalIds", `["u1"`), 400, "InvalidParam", "TerminalIds is not a JSON text: unexpected EOF")
}

func TestDeleteChannel(t *testing.T) {
	s := start(t)
	s.good("a channel", s.call("DeleteChannel", inRoom), `{}`)
	s.expect("again", s.call("DeleteChannel", inRoom), 404, "ChannelNotExist", `ChannelId: channel "ch1" does not exist`)
	s.expect("no AppId", s.call("DeleteChannel", nil), 400, "InvalidInput", "AppId is missing")
	s.expect("no ChannelId", s.call("DeleteChannel", map[string]string{"AppId": "app1"}), 400, "InvalidInput", "ChannelId is missing")
	s.expect("bad ChannelId", s.call("DeleteChannel", with(inRoom, "ChannelId", "a b")), 400, "InvalidInput",
		`ChannelId: "a b" is not 1 to 64 of A-Z a-z 0-9 _ -`)
	s.expect("bad AppId", s.call("DeleteChannel", with(inRoom, "AppId", "app3")), 400, "InvalidInput", `AppId: there is no application "app3"`)
}

// The same actions with the real SFU: who is kicked is gone, and the channel
// stays a while.
func TestChannelsOfTheSFU(t *testing.T) {
	rooms, err := sfu.New(sfu.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rooms.Close() })
	s := startWith(t, func(_ *server, c *Config) { c.SFU, c.Channels = rooms, rooms })
	for _, user := range []string{"a", "b"} {
		in, err := rooms.Inject(sfu.InjectRequest{App: "app1", Channel: "ch1", User: user, Audio: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close(1) })
	}
	names := func(a answer) string {
		var all []string
		for _, field := range []string{"InteractiveUserList", "LiveUserList"} {
			for _, u := range a.body[field].([]any) {
				all = append(all, u.(string))
			}
		}
		return fmt.Sprint(a.body["IsChannelExists"], " ", strings.Join(all, " "))
	}
	if got := names(s.call("DescribeChannelUsers", inRoom)); got != "true a b" {
		t.Errorf("two users: got %s", got)
	}
	s.good("rooms", s.call("ListRTCLiveRooms", map[string]string{"AppId": "app1"}), `{"Rooms": ["ch1"], "Total": 1}`)
	s.good("kick", s.call("RemoveTerminals", with(inRoom, "TerminalIds.1", "a", "TerminalIds.2", "c")),
		`{"Terminals": [{"Id": "a", "Code": 0, "Message": "Success"}, {"Id": "c", "Code": 404, "Message": "Failed"}]}`)
	if got := names(s.call("DescribeChannelUsers", inRoom)); got != "true b" {
		t.Errorf("after the kick: got %s", got)
	}
	s.good("kick the last", s.call("RemoveTerminals", with(inRoom, "TerminalIds.1", "b")),
		`{"Terminals": [{"Id": "b", "Code": 0, "Message": "Success"}]}`)
	if got := names(s.call("DescribeChannelUsers", inRoom)); got != "true " {
		t.Errorf("a channel lingers: got %s", got)
	}
	s.good("dismiss", s.call("DeleteChannel", inRoom), `{}`)
	if got := names(s.call("DescribeChannelUsers", inRoom)); got != "false " {
		t.Errorf("after the dismissal: got %s", got)
	}
}
