package codec

/*
#cgo pkg-config: libswresample
#include "native.h"
*/
import "C"

import (
	"fmt"
	"slices"
	"unsafe"

	"braid/media"
)

// resampleMax bounds one call of Resample, in samples for each channel.
const resampleMax = 48000

// Resampler changes the sample rate of interleaved float sound with
// libswresample. It is used for AAC at other rates than 48 kHz.
type Resampler struct {
	s        *C.SwrContext
	channels int
}

// NewResampler opens a resampler of 1 or 2 channels; rates are 8000..48000 Hz.
func NewResampler(channels, from, to int) (*Resampler, error) {
	if err := inRange("channels", channels, 1, 2); err != nil {
		return nil, fmt.Errorf("codec: resampler: %w", err)
	}
	for _, rate := range []int{from, to} {
		if err := inRange("sample rate", rate, 8000, 48000); err != nil {
			return nil, fmt.Errorf("codec: resampler: %w", err)
		}
	}
	s := C.braid_resampler_open(C.int(channels), C.int(from), C.int(to))
	if s == nil {
		return nil, fmt.Errorf("codec: resampler: libswresample refuses %d to %d Hz", from, to)
	}
	return &Resampler{s: s, channels: channels}, nil
}

// Resample appends to dst what src (at most one second) becomes. The first
// sample out is the first in; the last few in (half the filter, 16 samples of the
// lower rate) come out with the next call.
func (r *Resampler) Resample(dst, src []float32) ([]float32, error) {
	if r.s == nil {
		return dst, fmt.Errorf("codec: resample: %w", media.ErrClosed)
	}
	n := len(src) / r.channels
	if len(src)%r.channels != 0 || n > resampleMax {
		return dst, fmt.Errorf("codec: resample: %w: %d samples of %d channels", media.ErrInvalid, len(src), r.channels)
	}
	if n == 0 {
		return dst, nil // no input would drain the filter
	}
	room := int(C.braid_resampler_bound(r.s, C.int(n)))
	if room < 0 {
		return dst, fmt.Errorf("codec: resample: %s", reason(C.int(room)))
	}
	dst = slices.Grow(dst, room*r.channels+1)
	end := len(dst)
	made := C.braid_resampler_run(r.s, (*C.float)(unsafe.SliceData(dst[end:end+1])), C.int(room), (*C.float)(unsafe.SliceData(src)), C.int(n))
	if made < 0 {
		return dst, fmt.Errorf("codec: resample: %s", reason(made))
	}
	return dst[:end+int(made)*r.channels], nil
}

// Close frees the resampler. It may be called again.
func (r *Resampler) Close() {
	C.braid_resampler_close(r.s)
	r.s = nil
}
