package origin

import (
	"fmt"
	"time"

	"braid/media"
	"braid/media/flv"
	"braid/media/mpegts"
)

// tsPacker writes segments of MPEG-TS (RFC 8216 section 3.2).
type tsPacker struct {
	emit func(segment)

	mux   *mpegts.Muxer
	cur   segment
	start time.Duration
	data  []byte
	parts uint64
}

func (p *tsPacker) open(g program) error {
	var video media.Codec
	if g.key != nil {
		video = g.key.Codec
	}
	if video == media.AV1 {
		return fmt.Errorf("origin: %w: MPEG-TS does not carry AV1; /{app}/{name}/fmp4.m3u8 does", flv.ErrUnsupported)
	}
	mux, err := mpegts.NewMuxer(p, video, g.asc) // Opus is left out
	if err != nil {
		return fmt.Errorf("origin: HLS: %w: %w", flv.ErrUnsupported, err)
	}
	p.mux = mux
	return nil
}

func (p *tsPacker) begin(s segment, dts time.Duration) error {
	p.data = make([]byte, 0, len(p.data)*5/4) // the next one is about as long
	p.cur, p.start = s, dts
	return p.mux.WriteTables()
}

func (p *tsPacker) write(au *media.AccessUnit, dts time.Duration) error {
	return p.mux.WriteAt(au, dts)
}

func (p *tsPacker) size() int { return len(p.data) }

func (p *tsPacker) finish(end time.Duration) {
	p.cur.duration = end - p.start
	p.cur.parts = []part{{number: p.parts, duration: p.cur.duration, independent: true, data: p.data}}
	p.parts++
	p.emit(p.cur)
}

// Write is where the muxer puts its packets.
func (p *tsPacker) Write(b []byte) (int, error) {
	p.data = append(p.data, b...)
	return len(b), nil
}
