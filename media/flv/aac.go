package flv

import "fmt"

// AudioConfig is the form of an AAC-LC stream; the zero value means no audio.
type AudioConfig struct {
	SampleRate int // Hz
	Channels   int // 1 to 8
}

// aacRates are the rates with an index (ISO/IEC 14496-3 table 1.18).
var aacRates = [...]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}

const (
	aacLC         = 2
	aacOwnRate    = 15 // the rate follows in 24 bits
	aacEscapeType = 31
)

// AudioSpecificConfig is the decoder configuration of an AAC-LC stream (ISO/IEC
// 14496-3 section 1.6.2.1). rate is in Hz below 2^24, channels 1 to 8; seven
// channels have no code of their own and are announced as eight.
func AudioSpecificConfig(rate, channels int) []byte {
	code := min(channels, 7)
	for i, r := range aacRates {
		if r == rate {
			return []byte{aacLC<<3 | byte(i)>>1, byte(i)<<7 | byte(code)<<3}
		}
	}
	// 5 bits type, 4 bits 15, 24 bits rate, 4 bits channels, 3 bits zero.
	v := uint64(aacLC)<<35 | aacOwnRate<<31 | uint64(rate&0xffffff)<<7 | uint64(code)<<3
	return []byte{byte(v >> 32), byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
}

// ParseAudioSpecificConfig reads rate and channels of a decoder configuration.
// For HE-AAC it gives the rate of the core.
func ParseAudioSpecificConfig(b []byte) (AudioConfig, error) {
	var v uint64 // the first 8 bytes: all that can matter
	for i := range 8 {
		v <<= 8
		if i < len(b) {
			v |= uint64(b[i])
		}
	}
	used := 0
	bits := func(n int) int {
		x := v >> (64 - n)
		v <<= n
		used += n
		return int(x)
	}
	if bits(5) == aacEscapeType {
		bits(6)
	}
	var c AudioConfig
	if i := bits(4); i == aacOwnRate {
		c.SampleRate = bits(24)
	} else if i < len(aacRates) {
		c.SampleRate = aacRates[i]
	}
	if c.Channels = bits(4); c.Channels == 7 {
		c.Channels = 8
	}
	if used > 8*len(b) || c.SampleRate == 0 || c.Channels < 1 || c.Channels > 8 {
		return AudioConfig{}, fmt.Errorf("%w: AudioSpecificConfig % x", ErrMalformed, b[:min(len(b), 8)])
	}
	return c, nil
}
