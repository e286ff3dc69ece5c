package codec

/*
#cgo pkg-config: opus
#include "native.h"
*/
import "C"

import (
	"fmt"
	"unsafe"

	"braid/media"
)

const (
	opusRate = 48000
	// opusMaxSamples is the longest packet, 120 ms (RFC 6716 section 3.2.5).
	opusMaxSamples = opusRate * 120 / 1000
	// opusMaxPacket bounds one packet in bytes: 48 frames of 1275 and their lengths.
	opusMaxPacket = 48 * 1277
	// opusFrame is what OpusEncoder takes, 20 ms.
	opusFrame = opusRate * 20 / 1000
)

// OpusDecoder decodes Opus to interleaved float samples at 48 kHz, whatever the
// packet was made for.
type OpusDecoder struct {
	d        *C.OpusDecoder
	channels int
}

// NewOpusDecoder opens a decoder that gives 1 or 2 channels.
func NewOpusDecoder(channels int) (*OpusDecoder, error) {
	if err := inRange("channels", channels, 1, 2); err != nil {
		return nil, fmt.Errorf("codec: opus decoder: %w", err)
	}
	var code C.int
	d := C.opus_decoder_create(opusRate, C.int(channels), &code)
	if d == nil {
		return nil, opusError("opus decoder", code)
	}
	return &OpusDecoder{d: d, channels: channels}, nil
}

// Decode decodes one packet into dst, which holds up to 120 ms (5760 samples for
// each channel), and returns the samples written for each channel.
func (d *OpusDecoder) Decode(dst []float32, packet []byte) (int, error) {
	if len(packet) == 0 {
		return 0, fmt.Errorf("codec: opus decode: %w: empty packet", media.ErrInvalid)
	}
	return d.decode("opus decode", dst, packet, min(len(dst)/d.channels, opusMaxSamples), 0)
}

// Conceal makes up samples (for each channel; a multiple of 120, at most 5760)
// for a packet that did not come.
func (d *OpusDecoder) Conceal(dst []float32, samples int) (int, error) {
	return d.decode("opus conceal", dst, nil, samples, 0)
}

// Recover decodes the copy of the lost packet that next carries (in-band FEC);
// samples is the lost packet's duration. Without a copy it conceals. next is
// decoded afterwards by Decode as usual.
func (d *OpusDecoder) Recover(dst []float32, next []byte, samples int) (int, error) {
	if len(next) == 0 {
		return 0, fmt.Errorf("codec: opus recover: %w: empty packet", media.ErrInvalid)
	}
	return d.decode("opus recover", dst, next, samples, 1)
}

func (d *OpusDecoder) decode(what string, dst []float32, packet []byte, samples, fec int) (int, error) {
	if d.d == nil {
		return 0, fmt.Errorf("codec: %s: %w", what, media.ErrClosed)
	}
	if err := inRange("samples", samples, 1, opusMaxSamples); err != nil {
		return 0, fmt.Errorf("codec: %s: %w", what, err)
	}
	if len(dst) < samples*d.channels || len(packet) > opusMaxPacket {
		return 0, fmt.Errorf("codec: %s: %w: packet of %d bytes, room for %d samples", what, media.ErrInvalid, len(packet), len(dst))
	}
	n := C.opus_decode_float(d.d, (*C.uchar)(unsafe.SliceData(packet)), C.opus_int32(len(packet)),
		(*C.float)(unsafe.SliceData(dst)), C.int(samples), C.int(fec))
	if n < 0 {
		return 0, opusError(what, n)
	}
	return int(n), nil
}

// Close frees the decoder. It may be called again.
func (d *OpusDecoder) Close() {
	if d.d != nil {
		C.opus_decoder_destroy(d.d)
		d.d = nil
	}
}

// OpusEncoder makes Opus packets of 20 ms with in-band FEC.
type OpusEncoder struct {
	e        *C.OpusEncoder
	channels int
}

// NewOpusEncoder opens an encoder of 48 kHz input: tuned for voice with 1
// channel, for any sound with 2. kbps is 6..510.
func NewOpusEncoder(channels, kbps int) (*OpusEncoder, error) {
	if err := inRange("channels", channels, 1, 2); err != nil {
		return nil, fmt.Errorf("codec: opus encoder: %w", err)
	}
	if err := inRange("kbps", kbps, 6, 510); err != nil {
		return nil, fmt.Errorf("codec: opus encoder: %w", err)
	}
	use := C.int(C.OPUS_APPLICATION_VOIP)
	if channels == 2 {
		use = C.OPUS_APPLICATION_AUDIO
	}
	var code C.int
	e := C.opus_encoder_create(opusRate, C.int(channels), use, &code)
	if e == nil {
		return nil, opusError("opus encoder", code)
	}
	if code := C.braid_opus_setup(e, C.int(kbps*1000)); code != C.OPUS_OK {
		C.opus_encoder_destroy(e)
		return nil, opusError("opus encoder", code)
	}
	return &OpusEncoder{e: e, channels: channels}, nil
}

// Delay is how many samples the sound lies later in the packets than in the
// input: 312 in libopus 1.3.
func (e *OpusEncoder) Delay() int {
	if e.e == nil {
		return 0
	}
	return max(0, int(C.braid_opus_lookahead(e.e)))
}

// FrameSize is the number of samples for each channel that a packet holds: 960.
func (e *OpusEncoder) FrameSize() int { return opusFrame }

// Encode appends the packet of 20 ms (960 interleaved samples for each channel)
// to dst.
func (e *OpusEncoder) Encode(dst []byte, pcm []float32) ([]byte, error) {
	if e.e == nil {
		return dst, fmt.Errorf("codec: opus encode: %w", media.ErrClosed)
	}
	if len(pcm) != opusFrame*e.channels {
		return dst, fmt.Errorf("codec: opus encode: %w: %d samples, want %d", media.ErrInvalid, len(pcm), opusFrame*e.channels)
	}
	var packet [1500]byte
	n := C.opus_encode_float(e.e, (*C.float)(unsafe.SliceData(pcm)), opusFrame, (*C.uchar)(&packet[0]), C.opus_int32(len(packet)))
	if n < 0 {
		return dst, opusError("opus encode", C.int(n))
	}
	return append(dst, packet[:n]...), nil
}

// Close frees the encoder. It may be called again.
func (e *OpusEncoder) Close() {
	if e.e != nil {
		C.opus_encoder_destroy(e.e)
		e.e = nil
	}
}

func opusError(what string, code C.int) error {
	return fmt.Errorf("codec: %s: %s", what, C.GoString(C.opus_strerror(code)))
}
