package engine

import (
	"time"

	"braid/mixer/wire"
)

// soundMix sums the voices of a plan, a quantum of 10 ms at a time.
type soundMix struct {
	e        *engine
	channels int
	out      *soundOut
	next     int64 // the quantum to mix; quantum q covers mix time q*10 ms to (q+1)*10 ms
	ears     []*ear
	limiter  limiter
	bus, one []float32 // stereo
}

// ear is one voice in one mix.
type ear struct {
	in     *input
	gain   float32 // reached
	wanted bool
	meter  meter
}

// rampLen is how long a voice takes to join or leave: 5 ms hides the click.
const rampLen = 5 * millisecondLen

func newSoundMix(e *engine, c wire.Encode) (*soundMix, error) {
	out, err := newSoundOut(c)
	if err != nil {
		return nil, err
	}
	return &soundMix{
		e: e, channels: out.channels, out: out, limiter: limiter{gain: 1},
		bus: make([]float32, quantum*soundChannels), one: make([]float32, quantum*soundChannels),
	}, nil
}

func (s *soundMix) free() { s.out.close() }

// begin starts, or starts anew after a stall, at the quantum that now is in.
func (s *soundMix) begin(now time.Duration) {
	s.next = int64(now / quantumTime)
	s.out.begin(time.Duration(s.next) * quantumTime)
}

// due is when the next quantum's time has passed.
func (s *soundMix) due() time.Duration { return time.Duration(s.next+1) * quantumTime }

// mix makes the next quantum of the voices given.
func (s *soundMix) mix(voices []uint32, emit func([]byte, time.Duration)) error {
	s.choose(voices)
	clear(s.bus)
	kept := s.ears[:0]
	for _, e := range s.ears {
		if e.wanted || e.gain > 0 {
			s.add(e)
			kept = append(kept, e)
		}
	}
	clear(s.ears[len(kept):])
	s.ears = kept
	s.next++
	pcm := s.bus
	if s.channels == 1 {
		pcm = s.one[:quantum]
		for i := range pcm {
			pcm[i] = (s.bus[2*i] + s.bus[2*i+1]) / 2
		}
	}
	s.limiter.apply(pcm)
	return s.out.write(pcm, emit)
}

// choose marks which voices are heard.
func (s *soundMix) choose(voices []uint32) {
	for _, e := range s.ears {
		e.wanted = false
	}
	for _, id := range voices {
		in, ok := s.e.inputs.get(id)
		if !ok || in.voice == nil || in.closed.Load() {
			continue
		}
		e := s.find(in)
		if e == nil {
			e = &ear{in: in}
			s.ears = append(s.ears, e)
		}
		e.wanted = true
	}
}

func (s *soundMix) find(in *input) *ear {
	for _, e := range s.ears {
		if e.in == in {
			return e
		}
	}
	return nil
}

// add puts one voice on the bus.
func (s *soundMix) add(e *ear) {
	e.in.voice.quantum(s.next*quantum, s.one)
	e.meter.hear(meanSquare(s.one))
	target := float32(0)
	if e.wanted {
		target = 1
	}
	from := e.gain
	e.gain = target
	if from == target {
		for i, v := range s.one {
			s.bus[i] += v
		}
		return
	}
	for i := range quantum {
		gain := target
		if i < rampLen {
			gain = from + (target-from)*float32(i)/rampLen
		}
		s.bus[2*i] += s.one[2*i] * gain
		s.bus[2*i+1] += s.one[2*i+1] * gain
	}
}

// levels tells how loud the voices of a plan are now.
func (s *soundMix) levels(voices []uint32) []wire.Level {
	levels := make([]wire.Level, 0, len(voices))
	for _, id := range voices {
		level := wire.Level{Input: id}
		for _, e := range s.ears {
			if e.in.id == id && e.wanted {
				level = e.meter.level(id)
			}
		}
		levels = append(levels, level)
	}
	return levels
}
