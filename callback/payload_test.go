package callback

import (
	"testing"
	"time"

	"braid/event"
	"braid/store"
)

// TestBody compares whole bodies: they are what receivers were written for
// (artc-api.md sections 5.2 and 5.3; those of streams are braid's own).
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
		{"stream", store.Streams, event.Event{ID: "e", Seq: 7, Type: event.StreamStarted,
			Stream: &event.Stream{Domain: "d.example.com", App: "live", Name: "cam", Since: at, Remote: "10.0.0.1:1935"}},
			`{"msg_id":"m","callback":"sub","app":"app","created":"2023-10-17T12:26:32Z","event":{"seq":7,"id":"e","app":"app","type":"StreamStarted","time":"2023-10-17T12:26:31.123Z","stream":{"domain":"d.example.com","app":"live","name":"cam","since":"2023-10-17T12:26:31.123Z","remote":"10.0.0.1:1935"}}}`},
		{"file", store.Streams, event.Event{ID: "e", Seq: 8, Type: event.RecordFile,
			Stream: &event.Stream{App: "live", Name: "cam", Template: "rec",
				File: &event.File{Name: "live/cam/1.mp4", Format: "fmp4", Size: 1234, Start: at, Duration: 60000, URL: "http://h/1.mp4"}}},
			`{"msg_id":"m","callback":"sub","app":"app","created":"2023-10-17T12:26:32Z","event":{"seq":8,"id":"e","app":"app","type":"RecordFile","time":"2023-10-17T12:26:31.123Z","stream":{"domain":"","app":"live","name":"cam","template":"rec","file":{"name":"live/cam/1.mp4","format":"fmp4","size":1234,"start":"2023-10-17T12:26:31.123Z","duration_ms":60000,"url":"http://h/1.mp4"}}}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.e.App, test.e.Time = "app", at
			if !test.e.Type.Stream() {
				test.e.Channel = "c"
			}
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
