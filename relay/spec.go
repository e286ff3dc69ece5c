package relay

import (
	"time"

	"braid/mixer"
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
	URLs               []string      // one to MaxURLs, rtmp or rtmps
	MaxIdle            time.Duration // 0: the default rule (two minutes)

	From UserRef // Single

	Users      []UserRef // Mix: who takes part; empty: everyone
	Panes      []Pane
	Background *Image
	Encode     Encode

	SEI *SEI // nil: none

	// Echo are the request's parameters as they came, for ListRtcMPUTaskDetail.
	Echo map[string]any
}
