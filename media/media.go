// Package media holds the words that every part of braid shares: what a
// publisher sends (Packet, Track, User, Channel) and what a player gets
// (AccessUnit, Sink). It runs nothing and starts no goroutine.
//
// A Packet flows to a Receiver; an AccessUnit flows to a Sink.
package media

import (
	"errors"
	"time"
)

// Sentinels that cross package borders; signaling turns them into status codes.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("already exists")
	ErrLimit    = errors.New("over the limit")
	ErrInvalid  = errors.New("invalid")
	ErrClosed   = errors.New("closed")
	ErrStalled  = errors.New("the other side takes no data") // of a session that sends
)

// Codec names a coded format as SDP does (RFC 6184, 7741, 9628, 7798, 7587, and
// AV1 as AOM's RTP payload format), AAC as RFC 3640.
type Codec string

const (
	H264 Codec = "H264"
	VP8  Codec = "VP8"
	VP9  Codec = "VP9"
	AV1  Codec = "AV1"
	H265 Codec = "H265"
	Opus Codec = "opus"
	AAC  Codec = "AAC"
	MP3  Codec = "MP3" // in files alone: MPEG-1 Audio Layer III (ISO/IEC 11172-3)
)

// Video tells whether the codec carries pictures.
func (c Codec) Video() bool {
	switch c {
	case H264, VP8, VP9, AV1, H265:
		return true
	}
	return false
}

// ClockRate is the RTP clock in Hz: 90000 for video, 48000 for audio.
func (c Codec) ClockRate() int64 {
	if c.Video() {
		return 90000
	}
	return 48000
}

// Source says what a user's publication shows.
type Source string

const (
	Camera      Source = "camera"
	ShareScreen Source = "shareScreen"
)

// Packet is one RTP packet as a publisher sent it, after SRTP and, but for
// Dependencies, without its header extensions (ids and mids belong to one session
// and are never forwarded). It is immutable; whoever receives it may keep it.
type Packet struct {
	Seq       uint16
	Timestamp uint32 // in units of Codec.ClockRate
	Marker    bool
	Payload   []byte
	Arrival   time.Time // local, with a monotonic reading
	Level     int8      // loudness in -dBov, 0 (loudest) to 127 (RFC 6464); -1 when the publisher does not say
	Voice     bool      // the publisher's own voice activity flag (RFC 6464)
	// Dependencies is the dependency descriptor of AV1 (AOM's payload format,
	// appendix A), which tells the layers of one stream apart; nil where the
	// publisher sends none.
	Dependencies []byte
}

// Receiver takes a track's packets. Receive must not block and is called by one
// goroutine at a time; a full receiver drops and counts.
type Receiver interface {
	Receive(*Packet)
}

// SenderReport ties an RTP timestamp to the publisher's wall clock (RFC 3550 section 6.4.1).
type SenderReport struct {
	NTP       time.Time // the publisher's clock
	Timestamp uint32
	Arrival   time.Time // local, with a monotonic reading
}

// Track is one audio or video stream of a user. All methods may be called
// from any goroutine and after the track has ended.
type Track interface {
	Codec() Codec
	// Channels is how many channels of sound the publisher says it sends, 1 or 2:
	// stereo wants sprop-stereo in the offer (RFC 7587 section 6.1). 0 for video.
	Channels() int
	// Attach adds a receiver; detach removes it. After detach returned, at most
	// one Receive that was already under way is still seen.
	Attach(Receiver) (detach func())
	// RequestKeyFrame asks the publisher for a key frame. Requests are merged:
	// at most one goes out each 500 ms. It does nothing for audio, never blocks,
	// and may be called from Receive.
	RequestKeyFrame()
	// Report is the newest sender report; ok is false before the first.
	Report() (report SenderReport, ok bool)
	// Done is closed when the track has ended.
	Done() <-chan struct{}
}

// Layered is a Track that may come in several sizes.
type Layered interface {
	Track
	// AttachAs is Attach for a picture of some pixels: of the sizes that there are
	// it gives the smallest that fills it, the largest for 0, 0. want is asked now
	// and then, from any goroutine, and must not block; the size changes at a key
	// frame. Numbers and timestamps go on as those of one stream.
	AttachAs(r Receiver, want func() (width, height int)) (detach func())
}

// User is one user of a channel and what it publishes; a track that is not
// published is nil.
type User struct {
	ID          string
	Audio       Track // microphone
	Video       Track // camera
	Screen      Track // screen share
	ScreenAudio Track
}

// VideoTrack is the user's picture from a source, or nil.
func (u *User) VideoTrack(s Source) Track {
	if s == ShareScreen {
		return u.Screen
	}
	return u.Video
}

// Publishing tells whether the user sends anything.
func (u *User) Publishing() bool {
	return u.Audio != nil || u.Video != nil || u.Screen != nil || u.ScreenAudio != nil
}

// Channel is a room: who is in it and what they publish.
type Channel interface {
	// Users are those present, in join order. The slice and its users are
	// immutable snapshots.
	Users() []*User
	// Changed is closed at the next change of Users. Take it before Users.
	Changed() <-chan struct{}
}

// Channels finds a channel by application and channel id. A channel exists
// while a user is in it, and for a few seconds after the last one left, with no
// users; ok is false otherwise.
type Channels interface {
	Channel(app, channel string) (c Channel, ok bool)
	// Changed is closed when a channel opens or closes. Take it before Channel.
	ChannelsChanged() <-chan struct{}
}

// AccessUnit is one coded picture or one coded audio frame. It is immutable.
// There are no B-frames anywhere in braid: decoding order is display order.
type AccessUnit struct {
	Codec Codec
	PTS   time.Duration // on the timeline of whoever made it
	Key   bool          // a decoder can start here; always true for audio
	// Units are H.264 or H.265 NAL units without start codes or lengths, their
	// parameter sets before each key frame; for other codecs there is one unit, the
	// frame itself (VP8 frame, VP9 frame or superframe, AV1 temporal unit whose OBUs
	// have sizes, Opus packet, raw AAC frame).
	Units [][]byte
}

// Size is the sum of the units' lengths in bytes.
func (au *AccessUnit) Size() int {
	n := 0
	for _, u := range au.Units {
		n += len(u)
	}
	return n
}

// Sink takes access units. Write must not block and is called from one
// goroutine at a time; a full sink drops up to the next key frame and counts.
type Sink interface {
	Write(*AccessUnit)
}
