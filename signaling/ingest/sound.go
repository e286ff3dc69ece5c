package ingest

import (
	"bytes"
	"log/slog"
	"time"

	"braid/media"
	"braid/mixer"
	"braid/mixer/wire"
)

// What is made of AAC, whatever its rate and channels.
const (
	soundRate     = 48000
	soundChannels = 2
	soundKbps     = 128 // music, too, is what OBS sends
)

// soundIn turns a publisher's AAC into Opus. One goroutine owns it.
type soundIn struct {
	pool   *mixer.Pool
	worker string
	out    *out
	log    *slog.Logger

	config []byte // that coder was opened with
	opened time.Time
	coder  *mixer.Transcode
}

// take takes one frame of a stream with the AudioSpecificConfig config.
func (s *soundIn) take(au *media.AccessUnit, config []byte) error {
	if s.coder == nil || !bytes.Equal(s.config, config) {
		if time.Since(s.opened) < reopenMin {
			return nil
		}
		s.open(config)
	}
	s.coder.Write(au, false)
	return nil
}

func (s *soundIn) open(config []byte) {
	old := s.coder
	maker := s.out.next()
	s.config, s.opened = bytes.Clone(config), time.Now()
	s.coder = s.pool.NewTranscode(mixer.TranscodeConfig{
		Worker: s.worker, Codec: media.AAC, Config: s.config, Live: true,
		Encode:  wire.Encode{Sound: media.Opus, SampleRate: soundRate, Channels: soundChannels, AudioKbps: soundKbps},
		NeedKey: func() {},
		Emit:    func(au *media.AccessUnit, _, _ uint8) { s.out.write(maker, au) },
		Failed:  func(reason string) { s.log.Warn("ingest: sound cannot be made Opus", "reason", reason) },
	})
	if old != nil { // after the new one, so that their worker goes on
		old.Close()
	}
}

func (s *soundIn) close() {
	if s.coder != nil {
		s.coder.Close()
		s.coder = nil
	}
}
