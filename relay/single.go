package relay

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"braid/media"
	"braid/media/packet"
	"braid/mixer"
	"braid/mixer/wire"
	"braid/sei"
)

// What a single-stream relay makes of Opus, and how often it asks the publisher
// for a key frame: players join at key frames, and browsers send none by
// themselves.
const (
	singleRate     = 48000
	singleKbps     = 64 // each channel; there are as many as the publisher sends
	singleKeyEvery = 2 * time.Second

	audioWorker = "audio" // one worker makes the AAC of all single-stream relays

	// goneFor is how long a kind of media has to be gone before the pushes begin anew
	// without it: a publisher that connects again brings one after the other.
	goneFor = 2 * time.Second
)

// single is the source of a MixMode 0 task: H.264 as it is, VP8 and Opus by a
// worker.
//
//	video ── H.264 ──────────────────────→ outlet
//	      └─ VP8 ──→ worker of the channel ↗
//	audio ── Opus ─→ worker "audio" ───────↗
type single struct {
	cfg  Config
	out  *outlet
	wake func() // makes the task apply again

	// Owned by the task's goroutine.
	video, audio *pipe
	had          form // as last said
	from         UserRef
	gone         time.Time // since when something of had is missing; zero: nothing is
	again        *time.Timer

	user     atomic.Pointer[string]
	vol, vad atomic.Int32 // as in SEI

	mu   sync.Mutex
	keys func() // asks the publisher or the encoder
}

// pipe is one track on its way to the outlet.
type pipe struct {
	track     media.Track
	transcode *mixer.Transcode
	cancel    context.CancelFunc
	ended     chan struct{}
}

func (s *single) apply(spec *Spec) form {
	var user *media.User
	if c, ok := s.cfg.Channels.Channel(spec.App, spec.Channel); ok {
		for _, u := range c.Users() {
			if u.ID == spec.From.User {
				user = u
			}
		}
	}
	audio, video := tracks(user, spec.From)
	changed := func(p *pipe, t media.Track) bool { return (p == nil) != (t == nil) || p != nil && p.track != t }
	if changed(s.audio, audio) || changed(s.video, video) {
		end := s.shut()
		s.user.Store(&spec.From.User)
		clock := new(media.Clock)
		if audio != nil {
			s.audio = s.openAudio(audio, clock)
		}
		if video != nil {
			s.video = s.openVideo(spec, video, clock)
		}
		end() // after the new one has begun, so that their worker goes on
	}
	if audio == nil && video == nil {
		return form{} // keep what the pushes have
	}
	// Of what is there alone: players wait for sound that the metadata promises, ffmpeg
	// over RTMP up to 90 s.
	f := form{video: video != nil}
	if audio != nil {
		f.rate, f.channels = singleRate, audio.Channels()
	}
	return s.steady(spec.From, f)
}

// steady is the form without what comes and goes: sound or pictures that were there
// stay in it until they have been gone for goneFor.
func (s *single) steady(from UserRef, f form) form {
	all := form{video: f.video || s.had.video, rate: f.rate, channels: f.channels}
	if f.rate == 0 {
		all.rate, all.channels = s.had.rate, s.had.channels
	}
	switch {
	case all == f || from != s.from: // nothing is missing, or the task wants something else
		s.gone = time.Time{}
	case s.gone.IsZero():
		s.gone, f = time.Now(), all
		s.stopWaiting()
		s.again = time.AfterFunc(goneFor, s.wake)
	case time.Since(s.gone) < goneFor:
		f = all
	default:
		s.gone = time.Time{}
	}
	s.had, s.from = f, from
	return f
}

func (s *single) stopWaiting() {
	if s.again != nil {
		s.again.Stop()
	}
}

// tracks are what a task takes of a user. The API's source is only looked at when
// pictures alone are wanted (artc-api.md section 4.2); a screen with its sound is
// what automatic tasks take.
func tracks(u *media.User, from UserRef) (audio, video media.Track) {
	if u == nil {
		return nil, nil
	}
	if from.Type == Original && from.Source == media.ShareScreen {
		return u.ScreenAudio, u.Screen
	}
	if from.Type != VideoOnly {
		audio = u.Audio
	}
	switch from.Type {
	case Original:
		video = u.Video
	case VideoOnly:
		video = u.VideoTrack(from.Source)
	}
	return audio, video
}

func (s *single) openAudio(t media.Track, clock *media.Clock) *pipe {
	p := &pipe{track: t}
	p.transcode = s.cfg.Mixer.NewTranscode(mixer.TranscodeConfig{
		Worker: audioWorker, Codec: t.Codec(),
		Encode:  wire.Encode{SampleRate: singleRate, Channels: t.Channels(), AudioKbps: t.Channels() * singleKbps},
		NeedKey: func() {}, Failed: s.out.failed,
		Emit: func(au *media.AccessUnit, vol, vad uint8) {
			s.vol.Store(int32(vol))
			s.vad.Store(int32(vad))
			s.out.write(au, nil, 0)
		},
	})
	s.read(p, clock, func(au *media.AccessUnit, f *packet.Frame) { p.transcode.Write(au, f.Lost) })
	return p
}

func (s *single) openVideo(spec *Spec, t media.Track, clock *media.Clock) *pipe {
	p := &pipe{track: t}
	to := func(au *media.AccessUnit, _ *packet.Frame) { s.out.write(au, s.streams(), 0) }
	ask := t.RequestKeyFrame
	if t.Codec() != media.H264 {
		p.transcode = s.cfg.Mixer.NewTranscode(mixer.TranscodeConfig{
			Worker: spec.App + "/" + spec.Channel, Codec: t.Codec(),
			Encode:  wire.Encode{FPS: 30, VideoKbps: 2500, GOP: 60},
			NeedKey: t.RequestKeyFrame, Failed: s.out.failed,
			Emit: func(au *media.AccessUnit, _, _ uint8) { s.out.write(au, s.streams(), 0) },
		})
		to = func(au *media.AccessUnit, f *packet.Frame) { p.transcode.Write(au, f.Lost) }
		ask = p.transcode.KeyFrame
	}
	s.mu.Lock()
	s.keys = ask
	s.mu.Unlock()
	s.read(p, clock, to)
	return p
}

func (s *single) read(p *pipe, clock *media.Clock, to func(*media.AccessUnit, *packet.Frame)) {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.ended = cancel, make(chan struct{})
	r := &packet.Reader{
		Track: p.track, Clock: clock.Track(p.track.Codec().ClockRate(), p.track.Report),
		Zero: s.cfg.Mixer.Zero(), KeyEvery: singleKeyEvery, Emit: to,
	}
	go func() {
		defer close(p.ended)
		r.Run(ctx)
	}()
}

func (s *single) keyFrame() {
	s.mu.Lock()
	ask := s.keys
	s.mu.Unlock()
	if ask != nil {
		ask()
	}
}

// shut ends the reading of both tracks; sound that was read is still made until
// end is called.
func (s *single) shut() (end func()) {
	audio := s.audio
	for _, p := range []*pipe{s.audio, s.video} {
		if p == nil {
			continue
		}
		p.cancel()
		<-p.ended
		if p.transcode != nil && p != audio {
			p.transcode.Close()
		}
	}
	s.audio, s.video = nil, nil
	return func() {
		if audio != nil {
			audio.transcode.Close()
		}
		s.vol.Store(0) // who is not heard any more is silent
		s.vad.Store(0)
	}
}

func (s *single) close() {
	s.stopWaiting()
	s.shut()()
}

// streams is the one entry of a single stream's SEI: it has no pane.
func (s *single) streams() []sei.Stream {
	return []sei.Stream{{UID: *s.user.Load(), PaneID: -1, Vol: int(s.vol.Load()), Vad: int(s.vad.Load())}}
}
