// Package mpegts writes access units as an MPEG transport stream (ISO/IEC
// 13818-1): H.264 and H.265 in Annex B form with access unit delimiters, AAC with
// ADTS headers. Packets, sections and PES framing are go-astits' work.
//
// It does not cut segments, it does not pace, and it starts no goroutine.
package mpegts

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/asticode/go-astits"

	"braid/media"
	"braid/media/h264"
	"braid/media/h265"
)

// PIDs as most encoders choose them.
const (
	videoPID = 0x100
	audioPID = 0x101
)

const (
	// decodeDelay is how far DTS lies behind PCR: what a receiver buffers
	// before it decodes. It also keeps PCR from going below zero.
	decodeDelay = 100 * time.Millisecond
	// tablesPeriod, in PES packets: at 30 pictures and 47 audio frames a second,
	// PAT and PMT go out twice a second even when key frames are rare.
	tablesPeriod = 40
)

// Muxer writes one program with at most one video and one audio stream.
// Its methods are called from one goroutine.
type Muxer struct {
	ts    *astits.Muxer
	video media.Codec // empty without video
	adts  *adts       // nil without audio
	buf   []byte
}

// NewMuxer writes to w, in whole 188-byte packets. video is media.H264, media.H265
// or empty when there is none; audioConfig is the AAC AudioSpecificConfig, nil
// when there is no audio. It fails with media.ErrInvalid when there is nothing to
// carry, for another codec, and when audioConfig is not AAC that ADTS can describe.
func NewMuxer(w io.Writer, video media.Codec, audioConfig []byte) (*Muxer, error) {
	m := &Muxer{
		ts:    astits.NewMuxer(context.Background(), w, astits.MuxerOptTablesRetransmitPeriod(tablesPeriod)),
		video: video,
	}
	if video == "" && audioConfig == nil {
		return nil, fmt.Errorf("mpegts: neither video nor audio: %w", media.ErrInvalid)
	}
	if video != "" && video != media.H264 && video != media.H265 {
		return nil, fmt.Errorf("mpegts: video codec %s: only H.264 and H.265 are carried: %w", video, media.ErrInvalid)
	}
	if audioConfig != nil {
		a, err := parseAudioConfig(audioConfig)
		if err != nil {
			return nil, err
		}
		m.adts = &a
		m.ts.SetPCRPID(audioPID)
	}
	switch video {
	case media.H264:
		m.add(videoPID, astits.StreamTypeH264Video)
	case media.H265:
		m.add(videoPID, astits.StreamTypeH265Video)
	}
	if video != "" {
		m.ts.SetPCRPID(videoPID)
	}
	if m.adts != nil {
		m.add(audioPID, astits.StreamTypeAACAudio)
	}
	return m, nil
}

func (m *Muxer) add(pid uint16, t astits.StreamType) {
	if err := m.ts.AddElementaryStream(astits.PMTElementaryStream{ElementaryPID: pid, StreamType: t}); err != nil {
		panic("mpegts: " + err.Error()) // only for a PID used twice
	}
}

// WriteTables writes PAT and PMT, so that what follows can be played alone.
// Write repeats them by itself, before each key frame at the latest.
func (m *Muxer) WriteTables() error {
	_, err := m.ts.WriteTables()
	return err
}

// Write writes one access unit whose decoding time is its PTS.
func (m *Muxer) Write(au *media.AccessUnit) error { return m.WriteAt(au, au.PTS) }

// WriteAt writes one access unit that is decoded at dts, for streams from
// encoders that reorder pictures. It fails with media.ErrInvalid for a codec
// that NewMuxer was not told of; an access unit without bytes is skipped.
func (m *Muxer) WriteAt(au *media.AccessUnit, dts time.Duration) error {
	switch {
	case au.Size() == 0:
		return nil
	case au.Codec == m.video:
		m.buf = appendAnnexB(m.buf[:0], au.Codec, au.Units)
		return m.write(videoPID, au, dts)
	case au.Codec == media.AAC && m.adts != nil:
		buf, err := m.adts.appendFrame(m.buf[:0], au.Units[0])
		if err != nil {
			return err
		}
		m.buf = buf
		return m.write(audioPID, au, dts)
	}
	return fmt.Errorf("mpegts: write %s: not a stream of this program: %w", au.Codec, media.ErrInvalid)
}

func (m *Muxer) write(pid uint16, au *media.AccessUnit, dts time.Duration) error {
	header := &astits.PESOptionalHeader{
		MarkerBits:             2,
		DataAlignmentIndicator: true,
		PTSDTSIndicator:        astits.PTSDTSIndicatorOnlyPTS,
		PTS:                    clock(au.PTS + decodeDelay),
	}
	if au.PTS != dts {
		header.PTSDTSIndicator = astits.PTSDTSIndicatorBothPresent
		header.DTS = clock(dts + decodeDelay)
	}
	data := &astits.MuxerData{
		PID: pid,
		PES: &astits.PESData{Data: m.buf, Header: &astits.PESHeader{OptionalHeader: header}},
	}
	if (pid == videoPID) == (m.video != "") { // this stream carries the clock
		data.AdaptationField = &astits.PacketAdaptationField{
			HasPCR: true,
			PCR:    clock(dts),
			// Each audio frame is a random access point, but go-astits repeats
			// the tables at each one: 5 % of a sound-only stream for nothing.
			RandomAccessIndicator: au.Key && m.video != "",
		}
	}
	_, err := m.ts.WriteData(data)
	return err
}

// clock rounds to the 90 kHz clock, 33 bits wide (ISO/IEC 13818-1 clause 2.4.3.7).
func clock(d time.Duration) *astits.ClockReference {
	return &astits.ClockReference{Base: (int64(d)*9 + 50_000) / 100_000 & (1<<33 - 1)}
}

// appendAnnexB appends an access unit as a byte stream (ITU-T H.264 and H.265,
// annex B). The delimiter comes first because ISO/IEC 13818-1 clauses 2.14 and 2.17
// demand one and Apple's players reject segments without.
func appendAnnexB(dst []byte, codec media.Codec, units [][]byte) []byte {
	if codec == media.H265 {
		dst = append(dst, 0, 0, 0, 1, h265.TypeAUD<<1, 1, 0x50) // any slice type
	} else {
		dst = append(dst, 0, 0, 0, 1, h264.TypeAUD, 0xf0)
	}
	for _, u := range units {
		if len(u) == 0 || delimiter(codec, u) {
			continue
		}
		dst = append(dst, 0, 0, 0, 1)
		dst = append(dst, u...)
	}
	return dst
}

func delimiter(codec media.Codec, nal []byte) bool {
	if codec == media.H265 {
		return h265.Type(nal) == h265.TypeAUD
	}
	return h264.Type(nal) == h264.TypeAUD
}
