package codec

/*
#cgo pkg-config: libavcodec libavutil
#include "native.h"
*/
import "C"

import (
	"fmt"
	"unsafe"

	"braid/media"
)

// aacRates are the sampling frequencies by their index (ISO/IEC 14496-3 table 1.18).
var aacRates = []int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000}

// AACEncoder makes raw AAC-LC frames (no ADTS) with FFmpeg's native encoder.
type AACEncoder struct {
	a        *C.braid_aac
	channels int
}

// NewAACEncoder opens an encoder for 1 or 2 channels at an AAC sampling frequency of 8000
// to 48000 Hz. kbps is 8..500 (a rate the frequency cannot carry is lowered).
func NewAACEncoder(sampleRate, channels, kbps int) (*AACEncoder, error) {
	if err := oneOf("sample rate", sampleRate, aacRates[3:]...); err != nil {
		return nil, fmt.Errorf("codec: AAC encoder: %w", err)
	}
	if err := inRange("channels", channels, 1, 2); err != nil {
		return nil, fmt.Errorf("codec: AAC encoder: %w", err)
	}
	if err := inRange("kbps", kbps, 8, 500); err != nil {
		return nil, fmt.Errorf("codec: AAC encoder: %w", err)
	}
	a := C.braid_aac_open(C.int(sampleRate), C.int(channels), C.int(kbps*1000))
	if a == nil {
		return nil, fmt.Errorf("codec: AAC encoder: libavcodec refuses %d Hz, %d channels, %d kbps", sampleRate, channels, kbps)
	}
	return &AACEncoder{a: a, channels: channels}, nil
}

// FrameSize is the number of samples for each channel that a frame holds: 1024.
func (e *AACEncoder) FrameSize() int { return int(C.braid_aac_frame_size(e.a)) }

// Delay is how many samples the sound lies later in the frames than in the
// input: 1024. The first frame holds only what was before the beginning.
func (e *AACEncoder) Delay() int { return int(C.braid_aac_delay(e.a)) }

// Encode takes FrameSize interleaved samples for each channel, nominally -1..1,
// and returns the next frame in Go memory, or nil while the encoder fills: the
// frame that a call returns begins at the input of the call two before it.
func (e *AACEncoder) Encode(pcm []float32) ([]byte, error) {
	if e.a == nil {
		return nil, fmt.Errorf("codec: AAC encode: %w", media.ErrClosed)
	}
	if want := e.FrameSize() * e.channels; len(pcm) != want {
		return nil, fmt.Errorf("codec: AAC encode: %w: %d samples, want %d", media.ErrInvalid, len(pcm), want)
	}
	out := C.braid_aac_encode(e.a, (*C.float)(unsafe.SliceData(pcm)))
	if out.err < 0 {
		return nil, fmt.Errorf("codec: AAC encode: %s", reason(out.err))
	}
	if out.data == nil {
		return nil, nil
	}
	return C.GoBytes(unsafe.Pointer(out.data), out.size), nil
}

// Close frees the encoder, with the last sound still in it. It may be called again.
func (e *AACEncoder) Close() {
	C.braid_aac_close(e.a)
	e.a = nil
}
