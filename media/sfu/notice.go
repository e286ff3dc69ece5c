package sfu

import (
	"encoding/json"

	"braid/event"
	"braid/media"
)

// Notice is one thing that a Participant is told: Joined, Left, Published,
// Unpublished, Muted, RoleChanged, Levels, Qualities, Layers, Data or Offer. It is
// immutable. Those about a user are about others, but one: Unpublished of the
// participant itself says that another session of the user took the source.
type Notice any

// Joined says that a user has come.
type Joined struct{ User UserState }

// Left says that a user has gone, after Unpublished of its sources.
type Left struct {
	User string
	Why  event.Reason
}

// Published says that a source flows. It comes again when the size of its
// picture has become known or changed.
type Published struct {
	User   string
	Source SourceState
}

// Unpublished says that a source has ended.
type Unpublished struct {
	User   string
	Source Source
}

// Muted says that a source is silent or dark on purpose, or no longer.
type Muted struct {
	User   string
	Source Source
	Muted  bool
}

// RoleChanged says that a user is a streamer or a viewer now.
type RoleChanged struct {
	User string
	Role event.Role
}

// Levels says who is heard.
type Levels struct {
	Users    map[string]int // dBov, -127 to 0
	Speakers []string       // the loudest first
}

// Qualities says how well media flow.
type Qualities struct{ Users map[string]Quality }

// Layers says which layers of a simulcast that the participant publishes are
// taken by somebody, and are to be sent.
type Layers struct {
	Source Source
	RIDs   []string // immutable
}

// Data is a message of another user.
type Data struct {
	From    string
	Topic   string
	Payload json.RawMessage
	Lossy   bool // may be left out
}

// Offer is the server's offer for down. There is never a second before the
// first is answered.
type Offer struct {
	Number int // from 1
	SDP    string
	Tracks []OfferedTrack
}

// OfferedTrack says whose source a media section carries.
type OfferedTrack struct {
	MID    string `json:"mid"`
	User   string `json:"user,omitempty"` // "" in a client's offer
	Source Source `json:"source"`
}

// UserState is a user as participants see it.
type UserState struct {
	ID      string
	Name    string // for people; may be empty
	Role    event.Role
	Sources []SourceState
}

// SourceState is a source that flows.
type SourceState struct {
	Source        Source
	Muted         bool
	Codec         media.Codec
	Width, Height int // of the picture, as published; 0 unknown
}
