package sfu

import (
	"fmt"
	"slices"

	"braid/event"
	"braid/media"
)

// InjectRequest asks to put a user into a channel that publishes without
// WebRTC, such as an RTMP publisher. At least one of Audio and Video is true.
type InjectRequest struct {
	App, Channel, User string
	DisplayName        string // for people; may be empty
	Audio              bool   // Opus
	Channels           int    // of sound, as media.Track.Channels: 1 or 2; 0 means 2
	Video              bool   // H.264 in packetization mode 1 (RFC 6184), without B-frames
	// KeyFrame asks the publisher for a key frame, at most once each 500 ms. It is
	// called from a goroutine of its own, must return soon and must not call
	// Close. nil: nobody can be asked.
	KeyFrame func()
}

// Injection is a user that publishes from inside the server. To everyone else
// it is a user like any other, with one source, the camera. Its media ends when
// Done is closed: by Close, when the user is kicked, the channel dismissed, the
// server closed, or when a WebRTC session of the same user takes its place.
type Injection struct {
	Audio, Video *Feed // nil: not asked for
	session      *Session
}

// Feed is one track of an Injection. The methods may be called after the end,
// and then do nothing.
type Feed struct {
	layer   *layer
	session *Session
}

// Inject puts a publisher into its channel at once; each track is shown from
// its first packet on. The owner closes the Injection.
//
// Errors: media.ErrInvalid, media.ErrExists when the user is in the channel,
// media.ErrLimit (it counts as a session), media.ErrClosed.
func (s *Server) Inject(r InjectRequest) (*Injection, error) {
	if !r.Audio && !r.Video {
		return nil, fmt.Errorf("sfu: %w: an injection needs audio or video", media.ErrInvalid)
	}
	if r.Channels < 0 || r.Channels > 2 {
		return nil, fmt.Errorf("sfu: %w: %d channels of sound, 1 or 2 are possible", media.ErrInvalid, r.Channels)
	}
	sess, err := s.newSession(r.App, r.Channel, r.User, media.Camera, event.RTMP)
	if err != nil {
		return nil, err
	}
	sess.name = r.DisplayName
	sess.pub = &publication{session: sess, source: sess.source, ended: make(chan struct{})}
	in := &Injection{session: sess}
	if r.Audio {
		sess.pub.audio = newTrack(injectedOpus(r.Channels))
		in.Audio = sess.feed(sess.pub.audio)
	}
	if r.Video {
		sess.pub.video = newTrack(injectedH264())
		in.Video = sess.feed(sess.pub.video)
	}
	if _, err := s.dir.enter(sess, true); err != nil {
		sess.end(event.Normal, err.Error())
		sess.shut()
		return nil, err
	}
	if r.Video && r.KeyFrame != nil {
		sess.start(func() { sess.pub.video.layers[0].askForKeyFrames(r.KeyFrame) })
	}
	sess.log.Info("injection started")
	go func() {
		<-sess.stopping
		sess.finish()
	}()
	return in, nil
}

func (s *Session) feed(t *track) *Feed {
	t.layers[0].counted(&s.srv.counters)
	return &Feed{t.layers[0], s}
}

// injectedH264 says constrained baseline at level 3.1, which every browser
// lists; they decode other profiles under that name too. What counts is the
// packetization mode.
func injectedH264() codec {
	return codec{name: media.H264, fmtp: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"}
}

func injectedOpus(channels int) codec {
	if channels == 1 {
		return codec{name: media.Opus}
	}
	return codec{name: media.Opus, fmtp: "sprop-stereo=1"}
}

// Write gives the next packets to all who watch; those of a picture belong into one
// call, so that they leave together. It is called from one goroutine at a time and
// does not block. Packets become immutable, the slice stays the caller's: Seq counts
// up by one without holes, Payload is an RTP payload, Arrival has a monotonic
// reading, Level is -1 unless known.
func (f *Feed) Write(burst ...*media.Packet) {
	if len(burst) == 0 {
		return
	}
	if f.layer.begin() {
		f.session.srv.dir.refresh(f.session)
	}
	for some := range slices.Chunk(burst, maxBurst) { // one viewer's key frame does not hold up all others
		f.layer.deliver(some...)
	}
}

// Report sets the newest sender report, which viewers get and which relates the
// tracks of an injection to each other: both are told by the same clock.
func (f *Feed) Report(r media.SenderReport) { f.layer.report.Store(&r) }

// Session is the id under which logs have the injection.
func (in *Injection) Session() string { return in.session.id }

// Close ends the injection with the reason that UserLeave gives, and returns
// when nothing of it runs. It may be called again.
func (in *Injection) Close(why event.Reason) {
	in.session.end(why, "closed by the injector")
	<-in.session.done
}

// Done is closed when the injection has ended.
func (in *Injection) Done() <-chan struct{} { return in.session.done }

// Reason says in words why the injection ended; empty while it lives.
func (in *Injection) Reason() string { return in.session.Reason() }
