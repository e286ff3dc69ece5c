package relay

import (
	"encoding/json"
	"fmt"
	"time"

	"braid/media"
	"braid/mixer"
	"braid/store"
)

// MixMode says what a task takes from its channel (artc-api.md section 4.2).
type MixMode int

const (
	Single MixMode = 0 // one user's stream, video not re-encoded
	Mix    MixMode = 1
)

// The words of a layout are the mixer's.
type (
	StreamType = mixer.StreamType
	UserRef    = mixer.UserRef
	Image      = mixer.Image
	Pane       = mixer.Pane
)

const (
	Original  = mixer.Original
	AudioOnly = mixer.AudioOnly
	VideoOnly = mixer.VideoOnly
)

// Encode is the mixed stream's form (EncodeParams).
type Encode struct {
	AudioOnly     bool
	AudioKbps     int // 8 to 500
	SampleRate    int // 8000, 16000, 32000, 44100, 48000 Hz
	Channels      int // 1, 2
	Width, Height int // 0 to 1920 px
	FPS           int // 1 to 60
	VideoKbps     int // 1 to 10000
	GOP           int // 1 to 60 frames
	Profile       string
	Preset        string
}

// SEI says what is written into the H.264 stream (SeiParams).
type SEI struct {
	PayloadType int // 5, or 100 to 254
	Layout      *SEIRule
	PassThrough *SEIRule
	Key         string // of the pass-through content; default "udd"
	Content     string
}

// SEIRule says when a message is repeated. A layout change is written at once, whatever the rule.
type SEIRule struct {
	FollowIDR bool
	Interval  time.Duration // 1 s to 5 s; 0: no interval
}

// Spec is the desired state of a task: what StartLiveMPUTask says.
type Spec struct {
	App, Channel, Task string
	Mode               MixMode
	URLs               []string      // at least one; see CheckURL
	MaxIdle            time.Duration // 0: the default rule (two minutes)

	From UserRef // Single

	Users      []UserRef // Mix: who takes part; empty: everyone
	Panes      []Pane
	Background *Image
	Encode     Encode

	SEI *SEI // nil: none

	// Echo are the request's parameters as they came, for ListRtcMPUTaskDetail:
	// texts, bools, []any and map[string]any.
	Echo map[string]any

	// Auto is set by this package in the tasks of the application's RelaySettings;
	// Start and Update do not look at it.
	Auto *Auto `json:",omitempty"`
}

// Auto says where an automatic task comes from.
type Auto struct {
	URL    string // made by the settings; signed whenever it is dialled
	Domain string // signs it; "": the origin inside braid, which wants no signature
	Custom bool   // UpdateLiveMPUTask has changed the task: it is the caller's now
}

// check tells whether the task's URLs can be used.
func (s *Spec) check() error {
	for _, url := range s.URLs {
		if err := CheckURL(url); err != nil {
			return fmt.Errorf("StreamURL: %w: %w", err, media.ErrInvalid)
		}
	}
	return nil
}

// row is the spec as the store keeps it.
func (s *Spec) row(content string, created, updated time.Time) (*store.Task, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("relay: task %q cannot be stored: %w", s.Task, err)
	}
	return &store.Task{
		App: s.App, ID: s.Task, Channel: s.Channel, Auto: s.Auto != nil,
		Spec: b, Content: content, Created: created, Updated: updated,
	}, nil
}

// readSpec is the way back. The row's own columns must agree with it.
func readSpec(row *store.Task) (*Spec, error) {
	s := new(Spec)
	if err := json.Unmarshal(row.Spec, s); err != nil {
		return nil, fmt.Errorf("relay: read task %q of the store: %w", row.ID, err)
	}
	switch {
	case s.App != row.App || s.Task != row.ID || s.Channel != row.Channel || row.Auto != (s.Auto != nil):
		return nil, fmt.Errorf("relay: task %q of the store is not the one that it says it is", row.ID)
	case s.Mode != Single && s.Mode != Mix || len(s.URLs) == 0:
		return nil, fmt.Errorf("relay: task %q of the store has MixMode %d and %d URLs", row.ID, s.Mode, len(s.URLs))
	}
	return s, nil
}
