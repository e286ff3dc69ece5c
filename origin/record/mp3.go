package record

import (
	"io"
	"time"
)

// An MP3 file is frames of one length and nothing else: no head, no tags, no index.

const (
	mp3Rate    = 48000
	mp3Samples = 1152 // of a frame (ISO/IEC 11172-3, layer III)
	mp3Span    = mp3Samples * time.Second / mp3Rate
	mp3Head    = 4
)

// mp3Length is how long a frame is by its first four bytes (ISO/IEC 11172-3 clause
// 2.4.2.3); 0 when it is none of a Coder's.
func mp3Length(b []byte) int {
	kbps := [...]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0}
	if len(b) < mp3Head || b[0] != 0xff || b[1] != 0xfb || b[2]&0x0e != 0x04 { // no CRC, 48 kHz, no padding
		return 0
	}
	return kbps[b[2]>>4] * 1000 / 8 * mp3Samples / mp3Rate
}

// mp3Form is what the heads of all frames of a file have in common: not how
// this one joins its channels.
func mp3Form(b []byte) [mp3Head]byte { return [mp3Head]byte{b[0], b[1], b[2], b[3] & 0xcf} }

// readMP3 finds where the last whole frame ends and how long the file is up to there;
// 0, 0 when there is none. What a power failure left behind frames is none.
func readMP3(r io.ReaderAt, size int64) (whole int64, end time.Duration, err error) {
	var first, last [mp3Head]byte
	if size < mp3Head {
		return 0, 0, nil
	}
	if _, err := r.ReadAt(first[:], 0); err != nil {
		return 0, 0, err
	}
	n := int64(mp3Length(first[:]))
	if n == 0 {
		return 0, 0, nil
	}
	for count := size / n; count > 0; count-- {
		if _, err := r.ReadAt(last[:], (count-1)*n); err != nil {
			return 0, 0, err
		}
		if mp3Form(last[:]) == mp3Form(first[:]) {
			return count * n, time.Duration(count) * mp3Span, nil
		}
	}
	return 0, 0, nil
}
