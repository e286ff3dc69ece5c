package flv

import (
	"fmt"
	"slices"
	"time"

	"braid/media"
	"braid/media/av1"
	"braid/media/h264"
	"braid/media/h265"
)

// Demuxer turns the tags of one stream into access units. It is for one goroutine.
type Demuxer struct {
	video   media.Codec // of the newest video sequence header; "" before it
	config  []byte      // that header's record
	sets    [][]byte    // H.264: SPS and PPS, H.265: VPS, SPS and PPS, as in config
	sound   media.Codec // of the newest audio sequence header
	audio   AudioConfig // from the newest AudioSpecificConfig; zero before it
	asc     []byte
	started bool
	time    int64 // ms; tag timestamps with their 2^32 wraps undone
}

// Audio is the form of AAC sound; zero before its sequence header.
func (d *Demuxer) Audio() AudioConfig { return d.audio }

// AudioSpecificConfig is the audio decoder configuration as it came, or nil.
func (d *Demuxer) AudioSpecificConfig() []byte { return d.asc }

// ParameterSets are SPS and PPS of the newest H.264 sequence header, or nil.
func (d *Demuxer) ParameterSets() (sps, pps []byte) {
	if d.video == media.H264 && len(d.sets) == 2 {
		return d.sets[0], d.sets[1]
	}
	return nil, nil
}

// VideoConfig is the newest video sequence header: the codec and its record (avcC,
// hvcC, av1C, vpcC), "" and nil before there is one.
func (d *Demuxer) VideoConfig() (media.Codec, []byte) { return d.video, d.config }

// Demux returns the access unit in a tag, or nil for a tag without one: script
// tags, sequence headers (remembered), media before its sequence header, empty
// ones. PTS is the timestamp with the composition time added. A key frame that lacks
// parameter sets (AV1: its sequence header) gets those of the sequence header; access
// unit delimiters are left out. The units share the tag's memory.
//
// ErrUnsupported: another codec; ErrMalformed: bytes that do not hold what they
// promise. The Demuxer goes on with the next tag.
func (d *Demuxer) Demux(t *Tag) (*media.AccessUnit, error) {
	if t.Type != Audio && t.Type != Video || len(t.Payload) == 0 {
		return nil, nil
	}
	if !d.started {
		d.started, d.time = true, int64(t.Timestamp)
	}
	d.time += int64(int32(t.Timestamp - uint32(d.time)))
	k, err := ParsePacket(t)
	switch {
	case err != nil:
		return nil, err
	case k.Role != RoleConfig && k.Role != RoleFrame:
		return nil, nil
	case k.Codec == "":
		return nil, fmt.Errorf("%w: %s", ErrUnsupported, nameOf(t, &k))
	case t.Type == Audio:
		return d.demuxAudio(&k)
	case k.Role == RoleConfig:
		return nil, d.configure(&k)
	}
	return d.demuxVideo(&k)
}

func nameOf(t *Tag, k *Packet) string {
	switch {
	case k.FourCC != "":
		return fmt.Sprintf("%q", k.FourCC)
	case t.Type == Audio:
		return fmt.Sprintf("audio format %d", t.Payload[0]>>4)
	}
	return fmt.Sprintf("video codec %d", t.Payload[0]&15)
}

func (d *Demuxer) demuxAudio(k *Packet) (*media.AccessUnit, error) {
	if k.Role == RoleConfig {
		if k.Codec == media.AAC {
			c, err := ParseAudioSpecificConfig(k.Body)
			if err != nil {
				return nil, err
			}
			d.audio, d.asc = c, k.Body
		}
		d.sound = k.Codec
		return nil, nil
	}
	// Opus needs no header to be decoded, and not all encoders send one.
	if d.sound != k.Codec && k.Codec != media.Opus || len(k.Body) == 0 {
		return nil, nil
	}
	return &media.AccessUnit{Codec: k.Codec, PTS: d.pts(0), Key: true, Units: [][]byte{k.Body}}, nil
}

// configure takes a sequence header. One without parameter sets, which some
// encoders send first, changes nothing.
func (d *Demuxer) configure(k *Packet) error {
	sets, size, err := setsOf(k)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	case size != 4:
		return fmt.Errorf("%w: NAL lengths of %d bytes", ErrUnsupported, size)
	case sets == nil && (k.Codec == media.H264 || k.Codec == media.H265):
		return nil
	}
	d.video, d.config, d.sets = k.Codec, k.Body, sets
	return nil
}

// setsOf are a record's parameter sets, nil when one is missing.
func setsOf(k *Packet) (sets [][]byte, lengthSize int, err error) {
	switch k.Codec {
	case media.H264:
		sps, pps, size, err := h264.ParseDecoderConfig(k.Body)
		if err != nil || len(sps) == 0 || len(pps) == 0 {
			return nil, size, err
		}
		return [][]byte{sps[0], pps[0]}, size, nil
	case media.H265:
		sets, size, err := h265.ParseDecoderConfig(k.Body)
		if err != nil || !hasAll(sets, h265.Type, h265.TypeVPS, h265.TypeSPS, h265.TypePPS) {
			return nil, size, err
		}
		return sets, size, nil
	}
	return nil, 4, nil
}

// hasAll tells whether units of all the types are there.
func hasAll(units [][]byte, typ func([]byte) byte, types ...byte) bool {
	for _, want := range types {
		if !slices.ContainsFunc(units, func(u []byte) bool { return typ(u) == want }) {
			return false
		}
	}
	return true
}

func (d *Demuxer) demuxVideo(k *Packet) (*media.AccessUnit, error) {
	if d.video != k.Codec || len(k.Body) == 0 {
		return nil, nil
	}
	au := &media.AccessUnit{Codec: k.Codec, PTS: d.pts(k.Composition), Key: k.Key}
	switch k.Codec {
	case media.H264:
		return d.nalUnits(au, k.Body, h264.Type, h264.TypeAUD, h264.IsKey, h264.TypeSPS, h264.TypePPS)
	case media.H265:
		irap := func(units [][]byte) bool { return slices.ContainsFunc(units, h265.IsIRAP) }
		return d.nalUnits(au, k.Body, h265.Type, h265.TypeAUD, irap, h265.TypeVPS, h265.TypeSPS, h265.TypePPS)
	case media.AV1:
		if k.Key && !av1.IsKey(k.Body) && len(d.config) > 4 { // the record ends with OBUs
			au.Units = [][]byte{slices.Concat(d.config[4:], k.Body)}
			return au, nil
		}
	}
	au.Units = [][]byte{k.Body}
	return au, nil
}

// nalUnits fills in the units of a body of NAL units with lengths. A key frame that
// lacks one of the types sets gets those of the sequence header.
func (d *Demuxer) nalUnits(au *media.AccessUnit, body []byte, typ func([]byte) byte, delimiter byte, key func([][]byte) bool, sets ...byte) (*media.AccessUnit, error) {
	room := len(d.sets)
	units, err := h264.SplitAVCC(make([][]byte, room, room+6), body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	kept := units[:room]
	for _, u := range units[room:] {
		if typ(u) != delimiter {
			kept = append(kept, u)
		}
	}
	au.Units = kept[room:]
	if len(au.Units) == 0 {
		return nil, nil
	}
	if au.Key = key(au.Units); au.Key && !hasAll(au.Units, typ, sets...) {
		copy(kept, d.sets)
		au.Units = kept
	}
	return au, nil
}

func (d *Demuxer) pts(cts int32) time.Duration {
	return time.Duration(d.time+int64(cts)) * time.Millisecond
}
