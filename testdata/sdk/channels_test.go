package sdk

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/live"
)

// users asks the older SDK who is in a channel.
func users(t *testing.T, channel string) *live.DescribeChannelUsersResponse {
	t.Helper()
	q := live.CreateDescribeChannelUsersRequest()
	q.AppId, q.ChannelId = under.app, channel
	return v1(t, v1Client(t).DescribeChannelUsers, q)
}

func TestWhoIsThere(t *testing.T) {
	start(t)
	there := users(t, under.channel)
	if !there.IsChannelExists || !slices.Equal(slices.Sorted(slices.Values(there.InteractiveUserList)), under.users) ||
		there.InteractiveUserNumber != len(under.users) || there.LiveUserNumber != 0 || there.LiveUserList == nil {
		t.Errorf("channel %s: got %+v, want %v as streamers", under.channel, there, under.users)
	}
	if ago := time.Since(time.Unix(there.Timestamp, 0)); ago < -time.Minute || ago > time.Minute {
		t.Errorf("Timestamp is %d, %v ago", there.Timestamp, ago)
	}
	if nobody := users(t, "sdk-nowhere"); nobody.IsChannelExists || nobody.InteractiveUserNumber+nobody.LiveUserNumber != 0 {
		t.Errorf("a channel that is not there: got %+v", nobody)
	}

	page := live.CreateDescribeChannelParticipantsRequest()
	page.AppId, page.ChannelId, page.Order = under.app, under.channel, "asc"
	page.PageNum, page.PageSize = requests.NewInteger(2), requests.NewInteger(1)
	second := v1(t, v1Client(t).DescribeChannelParticipants, page)
	if n := len(under.users); !slices.Equal(second.UserList, under.users[1:2]) || second.TotalNum != n || second.TotalPage != n || second.Times == 0 {
		t.Errorf("the second to join of %v: got %+v", under.users, second)
	}

	rooms := core(t, "ListRTCLiveRooms", object{"AppId": under.app, "PageNo": 1, "PageSize": 100})
	list, _ := rooms["Rooms"].([]any)
	total, err := rooms["Total"].(json.Number).Int64()
	if !slices.Contains(list, any(under.channel)) || err != nil || int(total) != len(list) {
		t.Errorf("ListRTCLiveRooms: got %v, want %s among them", rooms, under.channel)
	}
}

func TestRemoveTerminals(t *testing.T) {
	start(t)
	const channel = "sdk-kick"
	first, second := enter(t, channel, "first"), enter(t, channel, "second")
	enter(t, channel, "third")

	q := live.CreateRemoveTerminalsRequest()
	q.AppId, q.ChannelId, q.TerminalIds = under.app, channel, &[]string{"first", "nobody"}
	got := v1(t, v1Client(t).RemoveTerminals, q).Terminals
	if len(got) != 2 || got[0] != (live.Terminal{Id: "first", Message: "Success"}) || got[1].Id != "nobody" || got[1].Code == 0 || got[1].Message != "Failed" {
		t.Errorf("RemoveTerminals by v1: got %+v", got)
	}
	const odd = "中文~*+ " // the name in a captured request: every character that encoders disagree about
	body := core(t, "RemoveTerminals", object{"AppId": under.app, "ChannelId": channel, "TerminalIds": []string{"second", odd}})
	if list := fmt.Sprint(body["Terminals"]); list != fmt.Sprintf("[map[Code:0 Id:second Message:Success] map[Code:404 Id:%s Message:Failed]]", odd) {
		t.Errorf("RemoveTerminals by core: got %s", list)
	}
	eventually(t, 15*time.Second, "those who were removed are cut off", func() (bool, any) {
		return first.gone.Load() && second.gone.Load(), fmt.Sprint(first.pc.ConnectionState(), second.pc.ConnectionState())
	})
	if left := users(t, channel); !slices.Equal(left.InteractiveUserList, []string{"third"}) {
		t.Errorf("after RemoveTerminals: %v are there, want the third only", left.InteractiveUserList)
	}
	q = live.CreateRemoveTerminalsRequest()
	q.AppId, q.ChannelId = under.app, channel
	v1Refused(t, v1Client(t).RemoveTerminals, q, 400, "MissingParam")
}

func TestDeleteChannel(t *testing.T) {
	start(t)
	const channel = "sdk-dismiss"
	g := enter(t, channel, "alone")
	q := live.CreateDeleteChannelRequest()
	q.AppId, q.ChannelId = under.app, channel
	v1(t, v1Client(t).DeleteChannel, q)
	if there := users(t, channel); there.IsChannelExists || there.InteractiveUserNumber != 0 {
		t.Errorf("after DeleteChannel: got %+v", there)
	}
	eventually(t, 15*time.Second, "who was in it is cut off", func() (bool, any) { return g.gone.Load(), g.pc.ConnectionState() })

	coreRefused(t, "DeleteChannel", object{"AppId": under.app, "ChannelId": channel}, 404, "ChannelNotExist")
	coreRefused(t, "DeleteChannel", object{"AppId": under.app}, 400, "InvalidInput")
}
