package callback

import (
	"encoding/json"
	"strings"
	"time"

	"braid/event"
	"braid/store"
)

// roomMessage is the body of a channel or user callback (artc-api.md section
// 5.2). Fields are in the order of the published sample.
type roomMessage struct {
	MsgId        string
	MsgTimestamp int64 // Unix seconds
	SubscribeId  string
	AppId        string
	ChannelId    string
	Contents     []content // always one (braid's own)
}

type content struct {
	Event        string
	UserEvent    *userContent    `json:",omitempty"`
	ChannelEvent *channelContent `json:",omitempty"`
}

type userContent struct {
	UserId         string
	EventTag       string
	SessionId      string
	Timestamp      int64 // Unix seconds
	ChannelProfile string
	US             int64        // Unix microseconds (braid's own)
	Reason         event.Reason `json:",omitempty"` // of Join and Leave
	Role           event.Role
	CurrentMedias  string // after the event, as in "1,2"
	TerminalType   int
	UserType       int
}

type channelContent struct {
	ChannelId      string
	EventTag       string
	Timestamp      int64
	ChannelProfile string
}

// mpuMessage is the body of a stream relay callback (section 5.3).
type mpuMessage struct {
	EventType  int
	MsgId      string
	AppId      string
	SubId      string
	TaskId     string
	CallbackTs int64 // Unix milliseconds
	Payload    mpuPayload
}

type mpuPayload struct {
	DstUrl       string
	EventTs      int64 // Unix milliseconds
	EventCode    int
	ErrorCode    int
	ErrorMessage string
}

// streamMessage is the body of a stream callback. Nothing public is like it, so
// its words are those of the REST API: Event is what GET /v1/events shows.
type streamMessage struct {
	MsgID    string    `json:"msg_id"`
	Callback string    `json:"callback"` // the task's id
	App      string    `json:"app"`
	Created  time.Time `json:"created"` // when the message was made
	Event    struct {
		Seq int64 `json:"seq"`
		event.Event
	} `json:"event"`
}

// recordingMessage is the body of a cloud recording's callback (section 9). Only
// the name RecordFileUploaded is published; all else is braid's own.
type recordingMessage struct {
	Event      string
	MsgId      string
	AppId      string
	ChannelId  string
	TaskId     string
	CallbackTs int64 // Unix milliseconds
	Payload    recordingPayload
}

type recordingPayload struct {
	EventTs int64          // Unix milliseconds
	Stream  string         `json:",omitempty"` // what RecordStopped is about has none
	Format  string         `json:",omitempty"`
	Reason  string         `json:",omitempty"`
	File    *recordingFile `json:",omitempty"`
}

type recordingFile struct {
	Name     string
	Size     int64 // bytes
	StartTs  int64 // Unix milliseconds
	Duration int64 // milliseconds
	Url      string
}

// What the public pages name without saying what else there is, and what they
// do not explain; the choices are braid's own and stand in doc/callbacks.md.
const (
	channelProfile = "interactive_live"
	webrtcTerminal = 6
	rtmpTerminal   = 7
	ordinaryUser   = 2
	relayEventType = 1
)

var eventTags = map[event.Type]string{
	event.ChannelOpen: "Open", event.ChannelClose: "Close",
	event.UserJoin: "Join", event.UserLeave: "Leave", event.UserRole: "Roleupdate",
	event.PublishAudio: "PublishAudio", event.PublishVideo: "PublishVideo", event.PublishScreen: "PublishScreen",
	event.UnpublishAudio: "UnpublishAudio", event.UnpublishVideo: "UnpublishVideo", event.UnpublishScreen: "UnpublishScreen",
}

var eventCodes = map[event.Type]int{
	event.RelayStarted: 1, event.RelayPlaying: 2, event.RelayUpdated: 3,
	event.RelayReconnecting: 4, event.RelayFailed: 5, event.RelayStopped: 6,
}

var recordingEvents = map[event.Type]string{
	event.RecordStarted: "RecordStarted", event.RecordFile: "RecordFileUploaded",
	event.RecordFailed: "RecordFailed", event.RecordStopped: "RecordStopped",
}

var mediaCodes = map[event.Media]string{event.Audio: "1", event.Video: "2", event.Screen: "3"}

// body is what is sent for a delivery. It is the same in every attempt: the
// time in it is when the message was made, the headers tell when it is sent.
func body(d *store.Delivery) ([]byte, error) {
	if d.Payload != "" {
		return []byte(d.Payload), nil
	}
	switch d.Kind {
	case store.MPU:
		return json.Marshal(relayBody(d))
	case store.Streams:
		return json.Marshal(streamBody(d))
	case store.Recordings:
		return json.Marshal(recordingBody(d))
	}
	return json.Marshal(roomBody(d))
}

func roomBody(d *store.Delivery) roomMessage {
	e := &d.Event
	m := roomMessage{MsgId: d.MsgID, MsgTimestamp: d.Created.Unix(), SubscribeId: d.Sub, AppId: d.App, ChannelId: e.Channel}
	if e.User == nil {
		m.Contents = []content{{Event: channelEvent, ChannelEvent: &channelContent{
			ChannelId: e.Channel, EventTag: eventTags[e.Type], Timestamp: e.Time.Unix(), ChannelProfile: channelProfile}}}
		return m
	}
	u := &userContent{UserId: e.User.ID, EventTag: eventTags[e.Type], SessionId: e.User.Session, Timestamp: e.Time.Unix(),
		ChannelProfile: channelProfile, US: e.Time.UnixMicro(), Role: e.User.Role, CurrentMedias: medias(e.User.Medias),
		TerminalType: webrtcTerminal, UserType: ordinaryUser}
	if e.Type == event.UserJoin || e.Type == event.UserLeave {
		u.Reason = e.User.Reason
	}
	if e.User.Client == event.RTMP {
		u.TerminalType = rtmpTerminal
	}
	m.Contents = []content{{Event: userEvent, UserEvent: u}}
	return m
}

func medias(list []event.Media) string {
	codes := make([]string, len(list))
	for i, m := range list {
		codes[i] = mediaCodes[m]
	}
	return strings.Join(codes, ",")
}

func relayBody(d *store.Delivery) mpuMessage {
	e := &d.Event
	return mpuMessage{EventType: relayEventType, MsgId: d.MsgID, AppId: d.App, SubId: d.Sub, TaskId: e.Relay.Task,
		CallbackTs: millis(d.Created), Payload: mpuPayload{DstUrl: e.Relay.URL, EventTs: millis(e.Time),
			EventCode: eventCodes[e.Type], ErrorCode: e.Relay.Code, ErrorMessage: e.Relay.Message}}
}

func streamBody(d *store.Delivery) streamMessage {
	m := streamMessage{MsgID: d.MsgID, Callback: d.Sub, App: d.App, Created: d.Created.UTC()}
	m.Event.Seq, m.Event.Event = d.Event.Seq, d.Event
	return m
}

func recordingBody(d *store.Delivery) recordingMessage {
	e, r := &d.Event, d.Event.Recording
	m := recordingMessage{Event: recordingEvents[e.Type], MsgId: d.MsgID, AppId: d.App, ChannelId: r.Channel, TaskId: r.Task,
		CallbackTs: millis(d.Created), Payload: recordingPayload{EventTs: millis(e.Time), Stream: r.Stream, Format: r.Format, Reason: r.Reason}}
	if s := e.Stream; s != nil {
		m.Payload.Reason = s.Reason
		if f := s.File; f != nil {
			m.Payload.File = &recordingFile{Name: f.Name, Size: f.Size, StartTs: millis(f.Start), Duration: f.Duration, Url: f.URL}
		}
	}
	return m
}

func millis(t time.Time) int64 { return t.UnixMilli() }
