package flv

import (
	"bytes"
	"fmt"
	"time"

	amf0 "github.com/yutopp/go-amf0"

	"braid/media"
	"braid/media/h264"
)

// Config says what a stream holds.
type Config struct {
	Audio AudioConfig // zero: no audio
	Video bool        // wait for a key frame before anything else
	FPS   float64     // pictures per second for the metadata; 0: not known
}

// Muxer turns access units into tags. It is for one goroutine and one session: a
// new connection takes a new Muxer.
type Muxer struct {
	cfg     Config
	started bool
	base    time.Duration // the PTS that is timestamp 0
	avcC    []byte        // as last sent; nil before the first key frame
	aacSent bool
	last    [2]int64 // newest timestamp in ms by kind: audio, video; -1 before the first
}

// NewMuxer makes a muxer whose timestamps begin at 0.
func NewMuxer(cfg Config) *Muxer {
	return &Muxer{cfg: cfg, last: [2]int64{-1, -1}}
}

// Append appends the tags of one access unit to dst: first of all the metadata, and
// before the unit its sequence header when there is none yet or the SPS or PPS of a
// key frame have changed. SPS and PPS stay in the key frame's own tag too: VLC 3
// takes a change of size only from there.
//
// Nothing comes out before the first key frame when Config.Video is set; without it
// audio starts at once, and video with its first key frame. Timestamps are the PTS
// less the first one, rounded to ms; in each kind they strictly increase: a unit that
// comes no later than the one before is moved to 1 ms after it. Sound from before the
// first picture is left out.
//
// ErrUnsupported: neither H.264 nor AAC, or AAC without Config.Audio; ErrMalformed:
// a key frame whose SPS and PPS make no decoder configuration.
func (m *Muxer) Append(dst []*Tag, au *media.AccessUnit) ([]*Tag, error) {
	switch {
	case au.Codec == media.H264:
		return m.appendVideo(dst, au)
	case au.Codec == media.AAC && m.cfg.Audio != AudioConfig{}:
		return m.appendAudio(dst, au), nil
	}
	return dst, fmt.Errorf("%w: %s", ErrUnsupported, au.Codec)
}

func (m *Muxer) appendAudio(dst []*Tag, au *media.AccessUnit) []*Tag {
	early := m.cfg.Video && !m.started || m.started && m.last[0] < 0 && au.PTS < m.base
	if early || len(au.Units) == 0 {
		return dst
	}
	if !m.started {
		dst = m.start(dst, au.PTS, nil)
	}
	ts := m.timestamp(0, au.PTS)
	if !m.aacSent {
		m.aacSent = true
		asc := AudioSpecificConfig(m.cfg.Audio.SampleRate, m.cfg.Audio.Channels)
		dst = append(dst, &Tag{Type: Audio, Timestamp: ts, Payload: append([]byte{aacSoundFlags, packetHeader}, asc...)})
	}
	p := make([]byte, 0, 2+au.Size())
	p = append(p, aacSoundFlags, packetData)
	for _, u := range au.Units {
		p = append(p, u...)
	}
	return append(dst, &Tag{Type: Audio, Timestamp: ts, Payload: p})
}

func (m *Muxer) appendVideo(dst []*Tag, au *media.AccessUnit) ([]*Tag, error) {
	if m.avcC == nil && !au.Key || len(au.Units) == 0 {
		return dst, nil
	}
	avcC := m.avcC
	if au.Key {
		sps, pps := parameterSets(au.Units)
		if sps != nil && pps != nil {
			avcC = h264.DecoderConfig(sps, pps)
		}
		if avcC == nil {
			return dst, fmt.Errorf("%w: key frame without usable SPS and PPS", ErrMalformed)
		}
		if !m.started {
			dst = m.start(dst, au.PTS, sps)
		}
	}
	ts := m.timestamp(1, au.PTS)
	if !bytes.Equal(avcC, m.avcC) {
		m.avcC = avcC
		dst = append(dst, &Tag{Type: Video, Timestamp: ts,
			Payload: append([]byte{frameKey<<4 | codecAVC, packetHeader, 0, 0, 0}, avcC...)})
	}
	frame := byte(frameInter)
	if au.Key {
		frame = frameKey
	}
	p := make([]byte, 0, 5+au.Size()+4*len(au.Units))
	p = append(p, frame<<4|codecAVC, packetData, 0, 0, 0) // no B-frames: composition time 0
	p = h264.AppendAVCC(p, au.Units)
	return append(dst, &Tag{Type: Video, Timestamp: ts, Payload: p}), nil
}

// parameterSets are the first SPS and PPS.
func parameterSets(units [][]byte) (sps, pps []byte) {
	for _, u := range units {
		switch t := h264.Type(u); {
		case t == h264.TypeSPS && sps == nil:
			sps = u
		case t == h264.TypePPS && pps == nil:
			pps = u
		}
	}
	return sps, pps
}

func (m *Muxer) start(dst []*Tag, pts time.Duration, sps []byte) []*Tag {
	m.started, m.base = true, pts
	meta := Meta{Video: sps != nil, FPS: m.cfg.FPS, Audio: m.cfg.Audio}
	if s, err := h264.ParseSPS(sps); err == nil {
		meta.Width, meta.Height = s.Width, s.Height
	}
	return append(dst, Metadata(meta))
}

// timestamp is the tag time of a PTS in ms, after the kind's newest one. It is
// rounded from the total, so that steps of 21.33 ms do not add up to a drift.
func (m *Muxer) timestamp(kind int, pts time.Duration) uint32 {
	ms := int64((pts - m.base).Round(time.Millisecond) / time.Millisecond)
	ms = max(ms, m.last[kind]+1)
	m.last[kind] = ms
	return uint32(ms)
}

// Meta is what an onMetaData tag says.
type Meta struct {
	Video         bool
	Width, Height int     // pixels; 0: not known
	FPS           float64 // 0: not known
	Audio         AudioConfig
}

// Metadata is the onMetaData script tag, an ECMA array (annex E.5), at timestamp 0.
func Metadata(m Meta) *Tag {
	a := amf0.ECMAArray{"encoder": "braid"}
	if m.Video {
		a["videocodecid"] = float64(codecAVC)
		if m.Width > 0 && m.Height > 0 {
			a["width"], a["height"] = float64(m.Width), float64(m.Height)
		}
		if m.FPS > 0 {
			a["framerate"] = m.FPS
		}
	}
	if m.Audio != (AudioConfig{}) {
		a["audiocodecid"] = float64(codecAAC)
		a["audiosamplerate"] = float64(m.Audio.SampleRate)
		a["audiochannels"] = float64(m.Audio.Channels)
		a["audiosamplesize"] = float64(16)
		a["stereo"] = m.Audio.Channels > 1
	}
	var b bytes.Buffer
	enc := amf0.NewEncoder(&b)
	for _, v := range []any{"onMetaData", a} {
		if err := enc.Encode(v); err != nil {
			panic(fmt.Sprintf("flv: numbers, strings and booleans always encode: %v", err))
		}
	}
	return &Tag{Type: Script, Payload: b.Bytes()}
}
