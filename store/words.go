package store

import (
	"time"

	"braid/event"
)

// TokenMode says which join tokens an application takes.
type TokenMode string

const (
	TokensAny TokenMode = ""    // ARTC's and JWT
	TokensJWT TokenMode = "jwt" // JWT alone
)

// Secret is a key that can be replaced while what it signed is still about.
type Secret struct {
	Current  string
	Previous string    // "" when there is none
	Until    time.Time // Previous is taken up to then
}

// Valid lists the secrets that hold at a moment, the current one first.
func (s Secret) Valid(now time.Time) []string {
	if s.Previous != "" && now.Before(s.Until) {
		return []string{s.Current, s.Previous}
	}
	return []string{s.Current}
}

// Rotate makes next the current secret and keeps the old one for a while.
func (s Secret) Rotate(next string, keep time.Duration, now time.Time) Secret {
	if keep <= 0 {
		return Secret{Current: next}
	}
	return Secret{Current: next, Previous: s.Current, Until: now.Add(keep)}
}

// Application is a tenant: channels, tasks and callbacks belong to one.
type Application struct {
	ID       string // 1 to 64 of A-Za-z0-9_-
	Name     string // the instance name
	Key      Secret // AppKey: signs join tokens
	Signing  Secret // signs callbacks
	Tokens   TokenMode
	Disabled bool // nobody joins, no task starts
	Config   bool // from the config file: cannot be renamed, deleted, nor its key rotated over the API
	Relay    RelaySettings
	Version  int64 // counts changes, from 1; for If-Match
	Created  time.Time
	Updated  time.Time
}

// RelaySettings are the global stream relay of an application.
type RelaySettings struct {
	Enabled      bool          `json:"enabled"`
	Single       bool          `json:"single"` // every published stream
	Mix          bool          `json:"mix"`    // one mixed stream for each channel
	Domain       string        `json:"domain"` // a Domain's name; "": the origin inside braid
	AppName      string        `json:"app_name"`
	SEIInterval  time.Duration `json:"sei_interval"` // 1 to 5 s; 0: none
	SEIFollowIDR bool          `json:"sei_follow_idr"`
}

// Domain is a streaming domain: a live origin that relays push to.
type Domain struct {
	Name     string        // 1 to 253 characters, unique
	Ingest   string        // rtmp://host[:port] or rtmps://…, without a path
	Play     string        // base URL of players, may be ""
	AuthKey  string        // signs URLs (type A); "": they are not signed
	Validity time.Duration // of a signature
	RTS2     bool
	Version  int64
	Created  time.Time
	Updated  time.Time
}

// Task is the desired state of a stream relay task.
type Task struct {
	App, ID, Channel string
	Auto             bool   // made by the application's RelaySettings, not by the API
	Spec             []byte // JSON of relay.Spec
	Content          string // of SetLiveMpuTaskSei
	Created, Updated time.Time
}

// Kind says which events a subscription is for.
type Kind string

const (
	Room Kind = "room" // channel and user events (EventSub)
	MPU  Kind = "mpu"  // stream relay events (RtcMPUEventSub)

	Streams Kind = "stream" // of the origin's streams, recordings and snapshots

	Recordings Kind = "recording" // of one cloud recording (NotifyUrl); made and deleted with it
)

// Kinds lists the kinds of subscriptions.
func Kinds() []Kind { return []Kind{Room, MPU, Streams, Recordings} }

// Subscription is a callback task: events of an application go to a URL.
type Subscription struct {
	App, ID  string
	Kind     Kind
	URL      string
	Channels []string // empty: all. Room: one at most. Recordings: the recording's task
	Events   []string // Room: "ChannelEvent", "UserEvent"; Streams: names of event.StreamTypes
	Users    []string // Room: whose user events; empty: everyone's
	Secret   string   // Recordings: signs its messages in place of the application's; "": they are not signed
	Created  time.Time
	Updated  time.Time
}

// Delivery is one event on its way to one subscription.
type Delivery struct {
	ID       int64  // in the order of events
	MsgID    string // the same in every attempt
	App      string
	Sub      string
	Kind     Kind
	Event    event.Event
	Payload  string // the body, when it is known already: of what is sent again
	Attempts int
	Refused  int       // how many of them got a 4xx
	First    time.Time // attempt; zero: none yet
	Created  time.Time
	NextAt   time.Time // not before; zero when it failed, or when others of its channel are before it
	FailedAt time.Time // zero: it is still on its way
}

// Record is one attempt to deliver.
type Record struct {
	ID      int64
	App     string
	Sub     string
	Kind    Kind
	MsgID   string
	Event   int64 // Seq in the log
	Type    event.Type
	Channel string // or the event's Subject
	User    string
	Task    string
	URL     string
	Payload string
	Code    int    // HTTP status; 0: there was no answer
	Failure string // a word when it failed: "timeout", "refused", "dns", "tls", "forbidden", "status", "lost"
	Attempt int    // from 1
	Cost    time.Duration
	Time    time.Time
}

// Address is a URL by which one user publishes into a channel without a token.
type Address struct {
	ID                 string // 128 random bits, the secret part of the URL
	Kind               AddressKind
	App, Channel, User string
	DisplayName        string
	ClientToken        string // "" or unique for an application and kind
	Created, Expires   time.Time
}

// AddressKind is the protocol of an Address.
type AddressKind string

const (
	WHIPAddress AddressKind = "whip"
	RTMPAddress AddressKind = "rtmp"
)

// UsageKind says what was used.
type UsageKind string

const (
	CallUsage  UsageKind = "call"  // a user's time in a channel, by what it received
	RelayUsage UsageKind = "relay" // a relay task's time, by what it sent
)

// Usage is how long something was used within one span.
type Usage struct {
	App   string
	Kind  UsageKind
	Class string    // "audio", "480p", "720p", "1080p"; relays also "single_audio", "single_video"
	Start time.Time // of the span
	Time  time.Duration
}
