package relay

import (
	"sync"
	"time"

	"braid/mixer"
	"braid/mixer/wire"
)

const keyEvery = 500 * time.Millisecond // asked-for key frames of an encoder of ours, at most

// mixed is the source of a MixMode 1 task.
type mixed struct {
	cfg  Config
	out  *outlet
	spec *Spec
	mix  *mixer.Mix

	mu    sync.Mutex
	asked time.Time
}

func (m *mixed) apply(spec *Spec) form {
	switch {
	case m.mix == nil:
		m.mix = m.cfg.Mixer.NewMix(mixer.MixConfig{
			App: spec.App, Channel: spec.Channel, Channels: m.cfg.Channels, Plan: plan(spec),
			Emit:   func(u *mixer.Unit) { m.out.write(&u.AccessUnit, mixStreams(u), u.Revision) },
			Failed: m.out.failed,
		})
	case m.spec != spec:
		m.mix.Update(plan(spec))
	}
	m.spec = spec
	return form{
		video: !spec.Encode.AudioOnly,
		rate:  spec.Encode.SampleRate, channels: spec.Encode.Channels,
	}
}

func (m *mixed) keyFrame() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.asked) > keyEvery {
		m.asked = time.Now()
		m.mix.KeyFrame()
	}
}

func (m *mixed) close() {
	if m.mix != nil {
		m.mix.Close()
	}
}

func plan(s *Spec) mixer.Plan {
	e := s.Encode
	p := mixer.Plan{
		Users: s.Users, Panes: s.Panes, Background: s.Background,
		Encode: wire.Encode{AudioKbps: e.AudioKbps, SampleRate: e.SampleRate, Channels: e.Channels},
	}
	if !e.AudioOnly {
		p.Encode.Width, p.Encode.Height, p.Encode.FPS = e.Width, e.Height, e.FPS
		p.Encode.VideoKbps, p.Encode.GOP = e.VideoKbps, e.GOP
		p.Encode.Profile, p.Encode.Preset = e.Profile, e.Preset
	}
	return p
}
