package callback

import (
	"testing"
	"time"

	"braid/event"
	"braid/store"
)

// TestBody compares whole bodies: they are what receivers were written for
// (artc-api.md sections 5.2 and 5.3).
func TestBody(t *testing.T) {
	at := time.UnixMilli(1697545591123).UTC()
	user := event.User{ID: "u1", Session: "s1", Role: event.Streamer, Reason: event.Kicked,
		Medias: []event.Media{event.Audio, event.Screen}, Client: event.WebRTC}
	rtmp := event.User{ID: "obs", Session: "s2", Role: event.Streamer, Reason: event.Normal, Client: event.RTMP}
	relay := event.Relay{Task: "t1", URL: "rtmp://h/a/s?x=1&y=2", Code: 3, Message: "refused"}
	for _, test := range []struct {
		name string
		kind store.Kind
		e    event.Event
		want string
	}{
		{"open", store.Room, event.Event{Type: event.ChannelOpen},
			`{"MsgId":"m","MsgTimestamp":1697545592,"SubscribeId":"sub","AppId":"app","ChannelId":"c","Contents":[{"Event":"ChannelEvent","ChannelEvent":{"ChannelId":"c","EventTag":"Open","Timestamp":1697545591,"ChannelProfile":"interactive_live"}}]}`},
		{"leave", store.Room, event.Event{Type: event.UserLeave, User: &user},
			`{"MsgId":"m","MsgTimestamp":1697545592,"SubscribeId":"sub","AppId":"app","ChannelId":"c","Contents":[{"Event":"UserEvent","UserEvent":{"UserId":"u1","EventTag":"Leave","SessionId":"s1","Timestamp":1697545591,"ChannelProfile":"interactive_live","US":1697545591123000,"Reason":6,"Role":1,"CurrentMedias":"1,3","TerminalType":6,"UserType":2}}]}`},
		{"publish", store.Room, event.Event{Type: event.PublishVideo, User: &rtmp}, // Reason belongs to Join and Leave
			`{"MsgId":"m","MsgTimestamp":1697545592,"SubscribeId":"sub","AppId":"app","ChannelId":"c","Contents":[{"Event":"UserEvent","UserEvent":{"UserId":"obs","EventTag":"PublishVideo","SessionId":"s2","Timestamp":1697545591,"ChannelProfile":"interactive_live","US":1697545591123000,"Role":1,"CurrentMedias":"","TerminalType":7,"UserType":2}}]}`},
		{"relay", store.MPU, event.Event{Type: event.RelayReconnecting, Relay: &relay},
			`{"EventType":1,"MsgId":"m","AppId":"app","SubId":"sub","TaskId":"t1","CallbackTs":1697545592000,"Payload":{"DstUrl":"rtmp://h/a/s?x=1\u0026y=2","EventTs":1697545591123,"EventCode":4,"ErrorCode":3,"ErrorMessage":"refused"}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.e.App, test.e.Channel, test.e.Time = "app", "c", at
			d := store.Delivery{MsgID: "m", App: "app", Sub: "sub", Kind: test.kind, Event: test.e, Created: time.Unix(1697545592, 0)}
			got, err := body(&d)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// TestEveryType: there is a name or a number for each type of event.
func TestEveryType(t *testing.T) {
	for _, typ := range []event.Type{event.ChannelOpen, event.ChannelClose, event.UserJoin, event.UserLeave, event.UserRole,
		event.PublishAudio, event.PublishVideo, event.PublishScreen, event.UnpublishAudio, event.UnpublishVideo, event.UnpublishScreen} {
		if eventTags[typ] == "" {
			t.Errorf("%s has no EventTag", typ)
		}
	}
	for _, typ := range []event.Type{event.RelayStarted, event.RelayPlaying, event.RelayUpdated, event.RelayReconnecting, event.RelayFailed, event.RelayStopped} {
		if eventCodes[typ] == 0 {
			t.Errorf("%s has no EventCode", typ)
		}
	}
}
