package engine

import "math"

// limiter keeps a sum of voices below -1 dBFS: a gain that falls within one
// quantum and recovers over about 200 ms, and a soft knee for what passes
// before the gain has fallen.
type limiter struct{ gain float32 }

const (
	ceiling  = 0.8913 // -1 dBFS
	knee     = 0.7
	recovery = 0.05 // of what is missing, each quantum
)

func (l *limiter) apply(pcm []float32) {
	var peak float32
	for _, s := range pcm {
		peak = max(peak, s, -s)
	}
	target := float32(1)
	if peak > ceiling {
		target = ceiling / peak
	}
	from := l.gain
	if target > from {
		target = from + (target-from)*recovery
		if target > 0.999 {
			target = 1
		}
	}
	l.gain = target
	if from == 1 && target == 1 && peak <= knee {
		return
	}
	step := (target - from) / float32(len(pcm))
	for i, s := range pcm {
		pcm[i] = soft(s * (from + step*float32(i)))
	}
}

// soft is s below the knee and bends towards the ceiling above it.
func soft(s float32) float32 {
	switch {
	case s > knee:
		return knee + (ceiling-knee)*float32(math.Tanh(float64((s-knee)/(ceiling-knee))))
	case s < -knee:
		return -knee - (ceiling-knee)*float32(math.Tanh(float64((-s-knee)/(ceiling-knee))))
	}
	return s
}
