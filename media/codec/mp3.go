package codec

/*
#include "native.h"
*/
import "C"

import (
	"errors"
	"fmt"
)

// MP3Rate is the sampling frequency of MP3Encoder in Hz.
const MP3Rate = 48000

// mp3Kbps are the bit rates of MPEG-1 Layer III (ISO/IEC 11172-3 clause 2.4.2.3).
var mp3Kbps = []int{32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}

// MP3Encoder makes MPEG-1 Layer III frames at MP3Rate with LAME. All of an encoder's
// frames have one length, and each stands alone: no bits of it are in those before. Its
// FrameSize is 1152; its Delay, 1105, has half a frame of the decoder's in it.
type MP3Encoder struct{ frameEncoder }

// NewMP3Encoder opens an encoder for 1 or 2 channels. kbps is 8..500: the next bit rate
// that MP3 has is taken, 32 to 320. It fails with errors.ErrUnsupported when this
// machine's libavcodec was built without LAME.
func NewMP3Encoder(channels, kbps int) (*MP3Encoder, error) {
	if err := checkSound(channels, kbps); err != nil {
		return nil, fmt.Errorf("codec: MP3 encoder: %w", err)
	}
	if C.braid_mp3_known() == 0 {
		return nil, fmt.Errorf("codec: MP3 encoder: this machine's libavcodec has no libmp3lame (Debian's has): %w", errors.ErrUnsupported)
	}
	bits := mp3Kbps[len(mp3Kbps)-1]
	for _, k := range mp3Kbps {
		if k >= kbps {
			bits = k
			break
		}
	}
	s := C.braid_mp3_open(MP3Rate, C.int(channels), C.int(bits*1000))
	if s == nil {
		return nil, fmt.Errorf("codec: MP3 encoder: libavcodec refuses %d channels, %d kbps", channels, bits)
	}
	return &MP3Encoder{frameEncoder{s: s, channels: channels}}, nil
}
