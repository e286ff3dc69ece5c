package engine

import (
	"math"

	"braid/mixer/wire"
)

// meter tells how loud one input is. Vol is the RMS level in dB, smoothed over
// about 50 ms: 255 is 0 dBFS, 0 is -60 dBFS or below, linear in dB between (a
// full-scale sine, RMS -3 dBFS, is 242). Vad is 150 while a voice is heard and
// then falls by one each 10 ms, to 0 after 1.5 s.
//
// A voice is heard above -45 dBFS, and above -60 dBFS when it stands 10 dB out
// of the background, which the meter learns from the quietest moments.
type meter struct {
	power float64 // smoothed mean square
	floor float64 // dBFS
	vad   uint8
}

const (
	quietest   = -60.0
	loudVoice  = -45.0
	aboveFloor = 10.0
	floorRise  = 0.02 // dB each 10 ms: 2 dB/s, slower than a sentence
)

// hear takes one quantum's mean square.
func (m *meter) hear(meanSquare float64) {
	m.power += (meanSquare - m.power) * 0.2
	if meanSquare == 0 && m.power < 1e-9 {
		m.power = 0
	}
	db := decibel(meanSquare)
	if db < m.floor {
		m.floor += (db - m.floor) * 0.1
	} else {
		m.floor = min(m.floor+floorRise, loudVoice)
	}
	switch {
	case db > loudVoice, db > quietest && db > m.floor+aboveFloor:
		m.vad = 150
	case m.vad > 0:
		m.vad--
	}
}

func (m *meter) level(input uint32) wire.Level {
	db := decibel(m.power)
	vol := math.Round(255 * (1 - db/quietest))
	return wire.Level{Input: input, Vol: uint8(min(max(vol, 0), 255)), Vad: m.vad}
}

func decibel(meanSquare float64) float64 {
	if meanSquare < 1e-12 {
		return -120
	}
	return 10 * math.Log10(meanSquare)
}

// meanSquare of all samples, whatever their channel.
func meanSquare(pcm []float32) float64 {
	var sum float32
	for _, s := range pcm {
		sum += s * s
	}
	if len(pcm) == 0 {
		return 0
	}
	return float64(sum) / float64(len(pcm))
}
