package codec

/*
#include "native.h"
*/
import "C"

import (
	"fmt"
	"unsafe"

	"braid/media"
)

// frameEncoder is an encoder of libavcodec that takes and gives whole frames.
type frameEncoder struct {
	s        *C.braid_sound
	channels int
}

func checkSound(channels, kbps int) error {
	if err := inRange("channels", channels, 1, 2); err != nil {
		return err
	}
	return inRange("kbps", kbps, 8, 500)
}

// FrameSize is the number of samples for each channel that a frame holds.
func (e *frameEncoder) FrameSize() int { return int(C.braid_sound_frame_size(e.s)) }

// Delay is how many samples the sound lies later in the decoded frames than in the
// input. The first frame holds only what was before the beginning.
func (e *frameEncoder) Delay() int { return int(C.braid_sound_delay(e.s)) }

// Encode takes FrameSize interleaved samples for each channel, nominally -1..1,
// and returns the next frame in Go memory, or nil while the encoder fills: the
// first call gives none, the second the first frame.
func (e *frameEncoder) Encode(pcm []float32) ([]byte, error) {
	if e.s == nil {
		return nil, fmt.Errorf("codec: encode: %w", media.ErrClosed)
	}
	if want := e.FrameSize() * e.channels; len(pcm) != want {
		return nil, fmt.Errorf("codec: encode: %w: %d samples, want %d", media.ErrInvalid, len(pcm), want)
	}
	out := C.braid_sound_encode(e.s, (*C.float)(unsafe.SliceData(pcm)))
	if out.err < 0 {
		return nil, fmt.Errorf("codec: encode: %s", reason(out.err))
	}
	if out.data == nil {
		return nil, nil
	}
	return C.GoBytes(unsafe.Pointer(out.data), out.size), nil
}

// Close frees the encoder, with the last sound still in it. It may be called again.
func (e *frameEncoder) Close() {
	C.braid_sound_close(e.s)
	e.s = nil
}
