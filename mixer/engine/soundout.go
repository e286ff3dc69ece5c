package engine

import (
	"cmp"
	"fmt"
	"time"

	"braid/media"
	"braid/media/codec"
	"braid/mixer/wire"
)

// soundOut codes 48 kHz sound as AAC, Opus or MP3. Timestamps count samples from where
// it began, less the encoder's priming, so that the sound of a moment carries the
// moment's time.
type soundOut struct {
	codec    media.Codec
	channels int
	rate     int
	enc      soundEncoder
	lag      int64            // samples from the start of the frame that a call gives to the call's input
	res      *codec.Resampler // nil at 48 kHz
	fifo     []float32
	base     time.Duration // time of sample 0
	fed      int64         // samples given to the encoder, from sample 0 on
	last     time.Duration // PTS of the newest frame
}

// soundEncoder takes FrameSize samples for each channel and gives the next frame,
// or nil while it fills.
type soundEncoder interface {
	FrameSize() int
	Encode(pcm []float32) ([]byte, error)
	Close()
}

type opusEncoder struct{ *codec.OpusEncoder }

func (e opusEncoder) Encode(pcm []float32) ([]byte, error) { return e.OpusEncoder.Encode(nil, pcm) }

// open opens the encoder.
func (s *soundOut) open(kbps int) error {
	switch {
	case s.codec == media.Opus && s.rate == rate:
		enc, err := codec.NewOpusEncoder(s.channels, kbps)
		if err != nil {
			return err
		}
		s.enc, s.lag = opusEncoder{enc}, int64(enc.Delay())
	case s.codec == media.AAC:
		enc, err := codec.NewAACEncoder(s.rate, s.channels, kbps)
		if err != nil {
			return err
		}
		// The first frame comes with the second call and begins Delay before the
		// first call's input.
		s.enc, s.lag = enc, int64(enc.FrameSize()+enc.Delay())
	case s.codec == media.MP3 && s.rate == codec.MP3Rate:
		enc, err := codec.NewMP3Encoder(s.channels, kbps)
		if err != nil {
			return err
		}
		s.enc, s.lag = enc, int64(enc.FrameSize()+enc.Delay()) // as AAC
	default:
		return fmt.Errorf("%q at %d Hz, want AAC, or opus or MP3 at %d: %w", s.codec, s.rate, rate, media.ErrInvalid)
	}
	return nil
}

func newSoundOut(c wire.Encode) (*soundOut, error) {
	s := &soundOut{codec: cmp.Or(c.Sound, media.AAC), channels: c.Channels, rate: c.SampleRate, last: -1}
	if s.channels == 0 {
		s.channels = 2
	}
	kbps := c.AudioKbps
	if kbps == 0 {
		kbps = 64 * s.channels
	}
	if s.channels < 1 || s.channels > 2 {
		return nil, fmt.Errorf("%d channels, want 1 or 2: %w", s.channels, media.ErrInvalid)
	}
	err := s.open(kbps)
	if err != nil {
		return nil, err
	}
	if s.rate != rate {
		if s.res, err = codec.NewResampler(s.channels, rate, s.rate); err != nil {
			s.enc.Close()
			return nil, err
		}
	}
	return s, nil
}

func (s *soundOut) close() {
	s.enc.Close()
	if s.res != nil {
		s.res.Close()
	}
}

// begin says that the next sample is heard at t. What waits for a full frame is
// let go.
func (s *soundOut) begin(t time.Duration) {
	s.base, s.fed, s.fifo = t, 0, s.fifo[:0]
}

// write takes sound of s.channels at 48 kHz and emits the frames that are full.
// Their PTS never go back; frames of before the beginning are left out.
func (s *soundOut) write(pcm []float32, emit func([]byte, time.Duration)) (err error) {
	if s.res == nil {
		s.fifo = append(s.fifo, pcm...)
	} else if s.fifo, err = s.res.Resample(s.fifo, pcm); err != nil {
		return err
	}
	n := s.enc.FrameSize() * s.channels
	used := 0
	for ; len(s.fifo)-used >= n; used += n {
		frame, err := s.enc.Encode(s.fifo[used : used+n])
		if err != nil {
			return err
		}
		pts := s.base + timeOf(s.fed-s.lag, s.rate)
		s.fed += int64(s.enc.FrameSize())
		if frame != nil && pts >= s.base && pts > s.last {
			s.last = pts
			emit(frame, pts)
		}
	}
	s.fifo = s.fifo[:copy(s.fifo, s.fifo[used:])]
	return nil
}
