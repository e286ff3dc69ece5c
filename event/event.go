// Package event holds what happened: the words in which the parts of braid
// tell that a channel opened, a user left or a relay began to play, and the
// queue in which they wait for the store. It runs nothing.
//
// An Event becomes durable when the store has appended it to its log; who tells
// others (callbacks, the console) reads that log.
package event

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Type says what happened. User events carry User, relay events Relay, stream
// events Stream, RecordStopped Recording.
type Type string

const (
	ChannelOpen  Type = "ChannelOpen" // the first user has come
	ChannelClose Type = "ChannelClose"

	UserJoin       Type = "UserJoin"
	UserLeave      Type = "UserLeave"
	UserRole       Type = "UserRole" // the role has changed
	PublishAudio   Type = "PublishAudio"
	PublishVideo   Type = "PublishVideo"
	PublishScreen  Type = "PublishScreen"
	UnpublishAudio Type = "UnpublishAudio"
	UnpublishVideo Type = "UnpublishVideo"

	UnpublishScreen Type = "UnpublishScreen"

	RelayStarted      Type = "RelayStarted"      // the task exists
	RelayPlaying      Type = "RelayPlaying"      // media go to one of its URLs
	RelayUpdated      Type = "RelayUpdated"      // its layout, users or URLs have changed
	RelayReconnecting Type = "RelayReconnecting" // the connection to one URL was lost
	RelayFailed       Type = "RelayFailed"       // one URL, or the task, cannot be served; it goes on trying
	RelayStopped      Type = "RelayStopped"      // the task is no more

	StreamStarted Type = "StreamStarted" // a stream of the origin is on air
	StreamEnded   Type = "StreamEnded"   // its publisher went and did not come back
	RecordStarted Type = "RecordStarted" // a template began to record it
	RecordFile    Type = "RecordFile"    // a file is whole and where it is kept
	RecordFailed  Type = "RecordFailed"  // nothing is recorded at present, for a Reason; it goes on trying
	RecordEnded   Type = "RecordEnded"   // the last file of this recording was told
	SnapshotTaken Type = "SnapshotTaken" // a picture is where it is kept

	RecordStopped Type = "RecordStopped" // a cloud recording is over, and all of its files were told
)

// Channel tells whether the event is about a channel as a whole.
func (t Type) Channel() bool { return t == ChannelOpen || t == ChannelClose }

// User tells whether the event is about a user.
func (t Type) User() bool {
	return slices.Contains([]Type{UserJoin, UserLeave, UserRole, PublishAudio, PublishVideo, PublishScreen,
		UnpublishAudio, UnpublishVideo, UnpublishScreen}, t)
}

// Relay tells whether the event is about a stream relay task.
func (t Type) Relay() bool {
	return slices.Contains([]Type{RelayStarted, RelayPlaying, RelayUpdated, RelayReconnecting, RelayFailed, RelayStopped}, t)
}

// StreamTypes lists the types of stream events.
func StreamTypes() []Type {
	return []Type{StreamStarted, StreamEnded, RecordStarted, RecordFile, RecordFailed, RecordEnded, SnapshotTaken}
}

// Stream tells whether the event is about a stream of the origin.
func (t Type) Stream() bool { return slices.Contains(StreamTypes(), t) }

// Event is one thing that happened in a channel, or to a stream of the origin.
// It is immutable.
type Event struct {
	Seq     int64     `json:"-"` // place in the store's log, from 1; 0 before
	ID      string    `json:"id"`
	App     string    `json:"app"`
	Channel string    `json:"channel,omitempty"` // stream events have none
	Type    Type      `json:"type"`
	Time    time.Time `json:"time"`
	User    *User     `json:"user,omitempty"`
	Relay   *Relay    `json:"relay,omitempty"`
	Stream  *Stream   `json:"stream,omitempty"`

	// Recording is also in stream events that a cloud recording's own callback is told of.
	Recording *Recording `json:"recording,omitempty"`
}

// Subject is what the event is about, within its application: events of one
// subject are told in their order. It is the channel, or for a stream
// "{app}/{name}", which no channel's id can be.
func (e *Event) Subject() string {
	if e.Stream != nil {
		return e.Stream.App + "/" + e.Stream.Name
	}
	return e.Channel
}

// Role is a user's part in a channel (artc-api.md section 5.2).
type Role int

const (
	Streamer Role = 1 // publishes, or may
	Viewer   Role = 2
)

// Reason says why a user joined or left (artc-api.md section 5.2).
type Reason int

const (
	Normal       Reason = 1
	Rejoined     Reason = 2
	CrossChannel Reason = 3
	TimedOut     Reason = 4 // silence, or the server's own end
	Replaced     Reason = 5 // by the user's new session
	Kicked       Reason = 6
	Dismissed    Reason = 7 // the channel was
)

// Media is one kind of thing that a user publishes.
type Media string

const (
	Audio  Media = "audio"
	Video  Media = "video"
	Screen Media = "screen"
)

// User is who a user event is about.
type User struct {
	ID      string  `json:"id"`
	Session string  `json:"session"` // of this stay in the channel: from join to leave
	Role    Role    `json:"role"`
	Reason  Reason  `json:"reason,omitempty"` // of joining and leaving
	Medias  []Media `json:"medias,omitempty"` // what is published after the event, in the order of the constants
	Client  Client  `json:"client,omitzero"`
}

// Client is how a user is connected: "webrtc" or "rtmp".
type Client string

const (
	WebRTC Client = "webrtc"
	RTMP   Client = "rtmp"
)

// Relay is what a relay event is about.
type Relay struct {
	Task    string `json:"task"`
	URL     string `json:"url,omitempty"`     // as the task's owner gave it; "" when about the whole task
	Code    int    `json:"code"`              // 0: nothing is wrong; else see relay's table
	Message string `json:"message,omitempty"` // words to the code; never a stream key
}

// Stream is what a stream event is about.
type Stream struct {
	Domain   string    `json:"domain"` // streaming domain; "": the origin's own
	App      string    `json:"app"`    // AppName, the RTMP application
	Name     string    `json:"name"`
	Since    time.Time `json:"since,omitzero"`     // when it came on air
	Remote   string    `json:"remote,omitempty"`   // its publisher's address; of StreamStarted
	Template string    `json:"template,omitempty"` // whose recording or snapshot it is
	File     *File     `json:"file,omitempty"`     // of RecordFile and SnapshotTaken
	Reason   string    `json:"reason,omitempty"`   // in words; of RecordFailed, and of StreamEnded when the server was killed
}

// Recording is the cloud recording (artc-api.md section 9) that an event is about.
type Recording struct {
	Task    string `json:"task"`
	Channel string `json:"channel"`
	User    string `json:"user,omitempty"`   // whose stream it is; "" of a mix, and of the whole
	Stream  string `json:"stream,omitempty"` // in ARTC's words: "Mix", "Single::{UserId}::AV::C"; "" of the whole
	Format  string `json:"format,omitempty"` // in ARTC's words: "MP4", "HLS", "MP3"; "" of the whole
	Reason  string `json:"reason,omitempty"` // in words; of RecordStopped
}

// File is one that was made of a stream.
type File struct {
	Name     string    `json:"name"` // path in its storage
	Storage  string    `json:"storage,omitempty"`
	Format   string    `json:"format"` // "fmp4", "ts", "hls", "mp3", "jpeg"
	Size     int64     `json:"size"`   // bytes
	Start    time.Time `json:"start"`  // of its first picture or sound
	Duration int64     `json:"duration_ms,omitempty"`
	URL      string    `json:"url,omitempty"` // where it can be got; "" when nothing serves it
	Width    int       `json:"width,omitempty"`
	Height   int       `json:"height,omitempty"`
}

// Queue holds events between those who see them happen and the one who makes
// them durable, in order. The zero value is ready. Put never blocks, so the
// queue has no bound: what fills it is people coming and going, and what
// empties it is a disk.
type Queue struct {
	mu    sync.Mutex
	held  []Event
	ready chan struct{} // made by Ready; holds one token when held may be filled
}

// Put appends events; it may be called from any goroutine and with locks held.
func (q *Queue) Put(events ...Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held = append(q.held, events...)
	select {
	case q.readyLocked() <- struct{}{}:
	default:
	}
}

// Ready gets a token when Take may give something. One goroutine reads it.
func (q *Queue) Ready() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.readyLocked()
}

func (q *Queue) readyLocked() chan struct{} {
	if q.ready == nil {
		q.ready = make(chan struct{}, 1)
	}
	return q.ready
}

// Take removes and returns what is held, the oldest first; nil when nothing is.
func (q *Queue) Take() []Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	held := q.held
	q.held = nil
	return held
}

// String is for logs.
func (e Event) String() string {
	switch {
	case e.User != nil:
		return fmt.Sprintf("%s %s/%s/%s", e.Type, e.App, e.Channel, e.User.ID)
	case e.Relay != nil:
		return fmt.Sprintf("%s %s/%s task %s", e.Type, e.App, e.Channel, e.Relay.Task)
	case e.Recording != nil && e.Stream == nil:
		return fmt.Sprintf("%s %s/%s recording %s", e.Type, e.App, e.Channel, e.Recording.Task)
	case e.Stream != nil:
		return fmt.Sprintf("%s %s stream %s", e.Type, e.App, e.Subject())
	}
	return fmt.Sprintf("%s %s/%s", e.Type, e.App, e.Channel)
}
