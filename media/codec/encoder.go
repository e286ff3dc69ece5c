package codec

/*
#cgo pkg-config: x264
#cgo CFLAGS: -O3
#include <stdlib.h>
#include "native.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"braid/media"
)

// VideoParams says what a VideoEncoder makes. Zero values of Profile, Preset
// and Threads take the defaults named.
type VideoParams struct {
	Width, Height int    // 16..1920 each, even
	FPS           int    // 1..60: the rate that the bitrate is planned for
	Kbps          int    // 1..20000: the most that a second takes; still pictures take less
	GOP           int    // 1..600: pictures from one IDR to the next at most
	Profile       string // baseline (default; constrained baseline in effect), main, high
	Preset        string // x264's, ultrafast to placebo; superfast is the default
	Threads       int    // 1 (default) to 8: as many slices a picture, encoded side by side
}

const maxKbps = 20000

func (p VideoParams) withDefaults() VideoParams {
	if p.Profile == "" {
		p.Profile = "baseline"
	}
	if p.Preset == "" {
		p.Preset = "superfast"
	}
	if p.Threads == 0 {
		p.Threads = 1
	}
	return p
}

func (p VideoParams) check() error {
	for _, f := range []struct {
		name           string
		value, lo, hi  int
		mustBeMultiple int
	}{
		{"width", p.Width, 16, 1920, 2},
		{"height", p.Height, 16, 1920, 2},
		{"fps", p.FPS, 1, 60, 1},
		{"kbps", p.Kbps, 1, maxKbps, 1},
		{"gop", p.GOP, 1, 600, 1},
		{"threads", p.Threads, 1, 8, 1},
	} {
		if err := inRange(f.name, f.value, f.lo, f.hi); err != nil {
			return err
		}
		if f.value%f.mustBeMultiple != 0 {
			return fmt.Errorf("%w: %s %d is not even", media.ErrInvalid, f.name, f.value)
		}
	}
	if err := oneOf("profile", p.Profile, "baseline", "main", "high"); err != nil {
		return err
	}
	return oneOf("preset", p.Preset, "ultrafast", "superfast", "veryfast", "faster", "fast", "medium",
		"slow", "slower", "veryslow", "placebo")
}

// VideoEncoder makes H.264 with libx264: zerolatency, no B-frames, no scene cut,
// SPS and PPS before each IDR, no access unit delimiter, no SEI. One picture in
// is one access unit out. Rate control is constant quality (CRF 23) under a cap:
// the VBV holds one second of Kbps. No colour description is written, so players
// take the picture as limited range of their usual matrix.
type VideoEncoder struct {
	h      *C.x264_t
	params VideoParams
	frames int64
}

// NewVideoEncoder opens an encoder. A field out of range is media.ErrInvalid.
func NewVideoEncoder(p VideoParams) (*VideoEncoder, error) {
	p = p.withDefaults()
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("codec: video encoder: %w", err)
	}
	preset, profile := C.CString(p.Preset), C.CString(p.Profile)
	defer C.free(unsafe.Pointer(preset))
	defer C.free(unsafe.Pointer(profile))
	h := C.braid_x264_open(&C.braid_x264_params{
		width: C.int(p.Width), height: C.int(p.Height), fps: C.int(p.FPS), kbps: C.int(p.Kbps),
		gop: C.int(p.GOP), threads: C.int(p.Threads), preset: preset, profile: profile,
	})
	if h == nil {
		return nil, fmt.Errorf("codec: video encoder: x264 refuses %+v", p)
	}
	return &VideoEncoder{h: h, params: p}, nil
}

// Encode codes one picture of the encoder's size. With key it is an IDR. The
// units are NAL units without start codes or lengths, in Go memory; key is
// reported back, also when the GOP's end made the picture an IDR. pic is not
// kept. Timestamps are the caller's affair: the order is the display order.
func (e *VideoEncoder) Encode(pic *Picture, key bool) (units [][]byte, isKey bool, err error) {
	if e.h == nil {
		return nil, false, fmt.Errorf("codec: video encoder: %w", media.ErrClosed)
	}
	pic.check()
	if pic.W != e.params.Width || pic.H != e.params.Height {
		return nil, false, fmt.Errorf("codec: video encoder: %w: picture of %dx%d for %dx%d",
			media.ErrInvalid, pic.W, pic.H, e.params.Width, e.params.Height)
	}
	idr := C.int(0)
	if key {
		idr = 1
	}
	out := C.braid_x264_encode(e.h, idr, C.int64_t(e.frames),
		ptr(pic.Y), C.int(pic.YStride), ptr(pic.U), C.int(pic.UStride), ptr(pic.V), C.int(pic.VStride))
	e.frames++
	if out.err < 0 || out.count == 0 {
		return nil, false, errors.New("codec: video encoder: x264 gave no picture")
	}
	return copyUnits(unsafe.Slice(out.nals, out.count)), out.key != 0, nil
}

// copyUnits copies x264's NAL units to Go memory. The SEI of its first picture
// only tells x264's settings and is left out.
func copyUnits(nals []C.x264_nal_t) [][]byte {
	const lengthPrefix = 4
	size := 0
	for _, n := range nals {
		size += int(n.i_payload)
	}
	mem := make([]byte, 0, size)
	units := make([][]byte, 0, len(nals))
	for _, n := range nals {
		if n.i_type == C.NAL_SEI || n.i_payload <= lengthPrefix {
			continue
		}
		start := len(mem)
		mem = append(mem, unsafe.Slice((*byte)(n.p_payload), n.i_payload)[lengthPrefix:]...)
		units = append(units, mem[start:len(mem):len(mem)])
	}
	return units
}

// SetBitrate changes Kbps from the next picture on, without an IDR.
func (e *VideoEncoder) SetBitrate(kbps int) error {
	if e.h == nil {
		return fmt.Errorf("codec: video encoder: set bitrate: %w", media.ErrClosed)
	}
	if err := inRange("kbps", kbps, 1, maxKbps); err != nil {
		return fmt.Errorf("codec: video encoder: set bitrate: %w", err)
	}
	if C.braid_x264_bitrate(e.h, C.int(kbps)) < 0 {
		return fmt.Errorf("codec: video encoder: x264 refuses %d kbps", kbps)
	}
	e.params.Kbps = kbps
	return nil
}

// Close frees the encoder. It may be called again.
func (e *VideoEncoder) Close() {
	C.braid_x264_close(e.h)
	e.h = nil
}
