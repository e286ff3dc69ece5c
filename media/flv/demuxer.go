package flv

import (
	"fmt"
	"time"

	"braid/media"
	"braid/media/h264"
)

// Demuxer turns the tags of one stream into access units. It is for one goroutine.
type Demuxer struct {
	sps, pps []byte      // from the newest avcC; nil before it
	audio    AudioConfig // from the newest AudioSpecificConfig; zero before it
	asc      []byte
	started  bool
	time     int64 // ms; tag timestamps with their 2^32 wraps undone
}

// Audio is the audio stream's form; zero before its sequence header.
func (d *Demuxer) Audio() AudioConfig { return d.audio }

// AudioSpecificConfig is the audio decoder configuration as it came, or nil.
func (d *Demuxer) AudioSpecificConfig() []byte { return d.asc }

// ParameterSets are SPS and PPS of the newest video sequence header, or nil.
func (d *Demuxer) ParameterSets() (sps, pps []byte) { return d.sps, d.pps }

// Demux returns the access unit in a tag, or nil for a tag without one: script
// tags, sequence headers (remembered), media before its sequence header, empty
// ones. PTS is the timestamp with the composition time added. An IDR that lacks SPS
// or PPS gets those of the sequence header; access unit delimiters are left out.
// The units share the tag's memory.
//
// ErrUnsupported: another codec or an Enhanced RTMP payload; ErrMalformed: bytes that
// do not hold what they promise. The Demuxer goes on with the next tag.
func (d *Demuxer) Demux(t *Tag) (*media.AccessUnit, error) {
	if t.Type != Audio && t.Type != Video || len(t.Payload) == 0 {
		return nil, nil
	}
	if !d.started {
		d.started, d.time = true, int64(t.Timestamp)
	}
	d.time += int64(int32(t.Timestamp - uint32(d.time)))
	if t.Type == Audio {
		return d.demuxAudio(t.Payload)
	}
	return d.demuxVideo(t.Payload)
}

func (d *Demuxer) demuxAudio(p []byte) (*media.AccessUnit, error) {
	if p[0]>>4 != codecAAC {
		return nil, fmt.Errorf("%w: audio format %d", ErrUnsupported, p[0]>>4)
	}
	if len(p) < 2 {
		return nil, fmt.Errorf("%w: audio of 1 byte", ErrMalformed)
	}
	body := p[2:]
	if p[1] == packetHeader {
		c, err := ParseAudioSpecificConfig(body)
		if err != nil {
			return nil, err
		}
		d.audio, d.asc = c, body
		return nil, nil
	}
	if d.asc == nil || len(body) == 0 {
		return nil, nil
	}
	return &media.AccessUnit{Codec: media.AAC, PTS: d.pts(0), Key: true, Units: [][]byte{body}}, nil
}

func (d *Demuxer) demuxVideo(p []byte) (*media.AccessUnit, error) {
	if p[0]&0x80 != 0 {
		return nil, fmt.Errorf("%w: enhanced RTMP video", ErrUnsupported)
	}
	if p[0]&15 != codecAVC {
		return nil, fmt.Errorf("%w: video codec %d", ErrUnsupported, p[0]&15)
	}
	if len(p) < 5 {
		return nil, fmt.Errorf("%w: video of %d bytes", ErrMalformed, len(p))
	}
	cts := int32(uint32(p[2])<<24|uint32(p[3])<<16|uint32(p[4])<<8) >> 8 // SI24
	body := p[5:]
	switch p[1] {
	case packetHeader:
		return nil, d.configure(body)
	case packetData:
		if d.sps == nil {
			return nil, nil
		}
		return d.picture(cts, body)
	case packetEnd:
		return nil, nil
	}
	return nil, fmt.Errorf("%w: video packet type %d", ErrMalformed, p[1])
}

// configure takes an avcC. One without parameter sets, which some encoders send
// first, changes nothing.
func (d *Demuxer) configure(avcC []byte) error {
	sps, pps, lengthSize, err := h264.ParseDecoderConfig(avcC)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if lengthSize != 4 {
		return fmt.Errorf("%w: NAL lengths of %d bytes", ErrUnsupported, lengthSize)
	}
	if len(sps) == 0 || len(pps) == 0 {
		return nil
	}
	d.sps, d.pps = sps[0], pps[0]
	return nil
}

func (d *Demuxer) picture(cts int32, body []byte) (*media.AccessUnit, error) {
	units, err := h264.SplitAVCC(make([][]byte, 2, 8), body) // two places for SPS and PPS
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	kept := units[:2]
	for _, u := range units[2:] {
		if h264.Type(u) != h264.TypeAUD {
			kept = append(kept, u)
		}
	}
	units = kept[2:]
	if len(units) == 0 {
		return nil, nil
	}
	key := h264.IsKey(units)
	if key {
		if sps, pps := parameterSets(units); sps == nil || pps == nil {
			kept[0], kept[1] = d.sps, d.pps
			units = kept
		}
	}
	return &media.AccessUnit{Codec: media.H264, PTS: d.pts(cts), Key: key, Units: units}, nil
}

func (d *Demuxer) pts(cts int32) time.Duration {
	return time.Duration(d.time+int64(cts)) * time.Millisecond
}
