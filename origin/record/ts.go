package record

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"time"

	"braid/media"
	"braid/media/mpegts"
)

// An MPEG-TS file is PAT and PMT, a fragment, and behind each fragment a null
// packet, which players skip (ISO/IEC 13818-1 clause 2.4.3.3: its payload may
// be anything). It says where it stands and how long the file is up to there, so
// after a crash the last whole fragment is found from the end.

const (
	packetSize = 188
	nullPID    = 0x1fff
	// tailSearch is how far from its end a file is looked through: a fragment and
	// its sound are not longer.
	tailSearch = 64 << 20
)

var markName = []byte("braid fragment\x00")

// appendMark appends the null packet that ends a fragment.
func appendMark(dst []byte, offset int64, end time.Duration) []byte {
	at := len(dst)
	dst = append(dst, 0x47, nullPID>>8, nullPID&0xff, 0x10)
	dst = append(dst, markName...)
	dst = u64(u64(dst, uint64(offset)), uint64(end.Microseconds()))
	dst = u32(dst, crc32.ChecksumIEEE(dst[at:]))
	for len(dst) < at+packetSize {
		dst = append(dst, 0xff)
	}
	return dst
}

// readMark reads a null packet of appendMark that stands at an offset.
func readMark(p []byte, offset int64) (end time.Duration, ok bool) {
	body := 4 + len(markName)
	if p[0] != 0x47 || p[1] != nullPID>>8 || p[2] != nullPID&0xff || !bytes.Equal(p[4:body], markName) ||
		int64(binary.BigEndian.Uint64(p[body:])) != offset || binary.BigEndian.Uint32(p[body+16:]) != crc32.ChecksumIEEE(p[:body+16]) {
		return 0, false
	}
	us := int64(binary.BigEndian.Uint64(p[body+8:]))
	return time.Duration(us) * time.Microsecond, us > 0 && us < 1<<53
}

// readTS finds where the last whole fragment ends and how long the file is up to
// there; 0, 0 when there is none.
func readTS(r io.ReaderAt, size int64) (whole int64, end time.Duration, err error) {
	const chunk = packetSize * 1024
	buf := make([]byte, chunk)
	stop := max(0, size-tailSearch)
	for at := size / packetSize * packetSize; at > stop; {
		n := min(at, chunk)
		at -= n
		if _, err := r.ReadAt(buf[:n], at); err != nil {
			return 0, 0, err
		}
		for p := n - packetSize; p >= 0; p -= packetSize {
			if end, ok := readMark(buf[p:p+packetSize], at+p); ok {
				return at + p + packetSize, end, nil
			}
		}
	}
	return 0, 0, nil
}

// tsWriter makes the fragments of one file.
type tsWriter struct {
	mux   *mpegts.Muxer
	video media.Codec
	audio bool
	buf   []byte // what the muxer has written of the fragment
}

// newTSWriter leaves out what MPEG-TS has no place for here: codecs other than
// H.264, H.265 and AAC. It fails when nothing is left.
func newTSWriter(f *forms) (*tsWriter, error) {
	w := &tsWriter{}
	var config []byte
	if v := f.video; v != nil && (v.codec == media.H264 || v.codec == media.H265) {
		w.video = v.codec
	}
	if a := f.audio; a != nil && a.codec == media.AAC {
		w.audio, config = true, a.config
	}
	mux, err := mpegts.NewMuxer(w, w.video, config)
	if err != nil && w.video != "" && w.audio { // AAC that ADTS cannot describe
		w.audio = false
		mux, err = mpegts.NewMuxer(w, w.video, nil)
	}
	w.mux = mux
	return w, err
}

func (w *tsWriter) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	return len(p), nil
}

// fragment makes the next one's bytes, which are valid until the call after. It
// stands at offset in its file, which is until long with it.
func (w *tsWriter) fragment(f *fragment, offset int64, until time.Duration) ([]byte, error) {
	w.buf = w.buf[:0]
	if err := w.mux.WriteTables(); err != nil {
		return nil, err
	}
	video, audio := f.video, f.audio
	if w.video == "" {
		video = nil
	}
	if !w.audio {
		audio = nil
	}
	for len(video)+len(audio) > 0 {
		s, codec := &sample{}, w.video
		if len(audio) == 0 || len(video) > 0 && video[0].dts <= audio[0].dts {
			s, video = &video[0], video[1:]
		} else {
			s, codec, audio = &audio[0], media.AAC, audio[1:]
		}
		au := media.AccessUnit{Codec: codec, PTS: s.pts, Key: s.key, Units: s.units}
		if err := w.mux.WriteAt(&au, s.dts); err != nil {
			return nil, err
		}
	}
	return appendMark(w.buf, offset+int64(len(w.buf)), until), nil
}
