package codec

/*
#cgo pkg-config: libavcodec libavutil libswresample
#include "native.h"
*/
import "C"

import (
	"fmt"
	"unsafe"

	"braid/media"
)

const (
	// maxAACConfig bounds an AudioSpecificConfig in bytes; the longest have a
	// program config element of some hundred.
	maxAACConfig = 1024
	// maxAACFrame bounds one frame in bytes: the length field of ADTS has 13 bits,
	// and a frame of 8 channels is at most 6144 (ISO/IEC 14496-3 section 4.5.1.1).
	maxAACFrame = 8191

	// AACMaxSamples is the most that one Decode gives for each channel: 2048
	// samples (HE-AAC) at 7350 Hz, made 48 kHz, and what the resampler held back.
	AACMaxSamples = 2048*48000/7350 + 1024
)

// AACDecoder decodes raw AAC frames (LC, HE, no ADTS) to interleaved float samples
// at 48 kHz, whatever rate and channels the stream has.
type AACDecoder struct {
	d        *C.braid_aac_decoder
	channels int
}

// NewAACDecoder opens a decoder for a stream's AudioSpecificConfig (ISO/IEC 14496-3
// section 1.6.2.1; 2..1024 bytes) that gives 1 or 2 channels; more are mixed down.
func NewAACDecoder(config []byte, channels int) (*AACDecoder, error) {
	if err := inRange("channels", channels, 1, 2); err != nil {
		return nil, fmt.Errorf("codec: AAC decoder: %w", err)
	}
	if err := inRange("AudioSpecificConfig bytes", len(config), 2, maxAACConfig); err != nil {
		return nil, fmt.Errorf("codec: AAC decoder: %w", err)
	}
	d := C.braid_aac_decoder_open((*C.uint8_t)(unsafe.SliceData(config)), C.int(len(config)))
	if d == nil {
		return nil, fmt.Errorf("codec: AAC decoder: %w: libavcodec refuses the AudioSpecificConfig % x", media.ErrInvalid, config[:min(len(config), 8)])
	}
	return &AACDecoder{d: d, channels: channels}, nil
}

// Decode decodes one frame into dst, which holds AACMaxSamples for each channel,
// and returns the samples written for each channel. A resampled stream's frames
// differ by a sample, and the first gives some less: the filter keeps them.
func (d *AACDecoder) Decode(dst []float32, frame []byte) (int, error) {
	if d.d == nil {
		return 0, fmt.Errorf("codec: AAC decode: %w", media.ErrClosed)
	}
	if err := inRange("frame bytes", len(frame), 1, maxAACFrame); err != nil {
		return 0, fmt.Errorf("codec: AAC decode: %w", err)
	}
	if len(dst) < AACMaxSamples*d.channels {
		return 0, fmt.Errorf("codec: AAC decode: %w: room for %d samples", media.ErrInvalid, len(dst)/d.channels)
	}
	data := C.braid_aac_decoder_input(d.d, C.int(len(frame)))
	if data == nil {
		return 0, fmt.Errorf("codec: AAC decode: out of memory")
	}
	copy(unsafe.Slice((*byte)(data), len(frame)), frame)
	n := C.braid_aac_decoder_decode(d.d, (*C.float)(unsafe.SliceData(dst)), AACMaxSamples, C.int(d.channels))
	if n < 0 {
		return 0, fmt.Errorf("codec: AAC decode: %s", reason(n))
	}
	return int(n), nil
}

// Close frees the decoder. It may be called again.
func (d *AACDecoder) Close() {
	C.braid_aac_decoder_close(d.d)
	d.d = nil
}
