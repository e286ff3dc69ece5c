package sdk

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/live"
)

// TestWHIPAddress publishes to an address as it was answered. (RTMP has its own
// test with ffmpeg, TestRTMPPublisherIsAUser.)
func TestWHIPAddress(t *testing.T) {
	start(t)
	const channel = "sdk-whip"
	params := object{"AppId": under.app, "ChannelId": channel, "UserId": "camera-1", "DisplayName": "Kamera 1 *~+ 中", "ExpireTime": 600,
		"ClientToken": "sdk-" + channel}
	address, _ := core(t, "CreateRTCWhipStreamAddress", params)["WhipAddress"].(string)
	if !strings.HasPrefix(address, "http://"+under.endpoint+"/") {
		t.Fatalf("WhipAddress: got %q, want one at %s", address, under.endpoint)
	}
	if again := core(t, "CreateRTCWhipStreamAddress", params)["WhipAddress"]; again != address {
		t.Errorf("the same ClientToken again: got %v, want %s", again, address)
	}
	g := publish(t, address)
	if there := users(t, channel); !slices.Equal(there.InteractiveUserList, []string{"camera-1"}) {
		t.Errorf("streamers: got %v, want camera-1", there.InteractiveUserList)
	}
	params["ClientToken"] = "another"
	coreRefused(t, "CreateRTCWhipStreamAddress", params, 400, "InvalidParam") // the user is there already
	g.leave()
}

func TestRTMPAddress(t *testing.T) {
	start(t)
	q := live.CreateCreateRoomRealTimeStreamAddressRequest()
	q.AppId, q.ChannelId, q.UserId, q.DisplayName = under.app, "sdk-rtmp", "obs", "OBS"
	q.ExpireTime = requests.NewInteger(600)
	a := v1(t, v1Client(t).CreateRoomRealTimeStreamAddress, q)
	at, err := url.Parse(a.RtmpAddress)
	origin, _ := url.Parse(under.rtmp)
	if err != nil || at.Scheme != "rtmp" || at.Host != origin.Host || strings.Count(at.Path, "/") != 2 {
		t.Errorf("RtmpAddress: got %q, want rtmp://%s/app/stream", a.RtmpAddress, origin.Host)
	}
	params := object{"AppId": under.app, "ChannelId": "sdk-rtmp", "UserId": "obs2", "DisplayName": "OBS 2"}
	if got, _ := coreBy(t, "GET", "CreateRoomRealTimeStreamAddress", params)["RtmpAddress"].(string); !strings.HasPrefix(got, "rtmp://"+origin.Host+"/") {
		t.Errorf("RtmpAddress by core: got %q", got)
	}
	nameless := live.CreateCreateRoomRealTimeStreamAddressRequest()
	nameless.AppId, nameless.ChannelId, nameless.UserId = q.AppId, q.ChannelId, q.UserId
	v1Refused(t, v1Client(t).CreateRoomRealTimeStreamAddress, nameless, 400, "MissingParam")
}
