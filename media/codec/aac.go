package codec

/*
#cgo pkg-config: libavcodec libavutil
#include "native.h"
*/
import "C"

import "fmt"

// aacRates are the sampling frequencies by their index (ISO/IEC 14496-3 table 1.18).
var aacRates = []int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000}

// AACEncoder makes raw AAC-LC frames (no ADTS) with FFmpeg's native encoder. Its
// FrameSize and Delay are 1024 both.
type AACEncoder struct{ frameEncoder }

// NewAACEncoder opens an encoder for 1 or 2 channels at an AAC sampling frequency of 8000
// to 48000 Hz. kbps is 8..500 (a rate the frequency cannot carry is lowered).
func NewAACEncoder(sampleRate, channels, kbps int) (*AACEncoder, error) {
	if err := oneOf("sample rate", sampleRate, aacRates[3:]...); err != nil {
		return nil, fmt.Errorf("codec: AAC encoder: %w", err)
	}
	if err := checkSound(channels, kbps); err != nil {
		return nil, fmt.Errorf("codec: AAC encoder: %w", err)
	}
	s := C.braid_aac_open(C.int(sampleRate), C.int(channels), C.int(kbps*1000))
	if s == nil {
		return nil, fmt.Errorf("codec: AAC encoder: libavcodec refuses %d Hz, %d channels, %d kbps", sampleRate, channels, kbps)
	}
	return &AACEncoder{frameEncoder{s: s, channels: channels}}, nil
}
