package record

import (
	"bytes"
	"slices"

	"braid/media"
	"braid/media/flv"
	"braid/media/h264"
	"braid/media/h265"
)

// videoForm is what a decoder of the pictures must know first. Immutable.
type videoForm struct {
	codec         media.Codec
	config        []byte   // the decoder configuration record: avcC, hvcC, av1C, vpcC
	sets          [][]byte // parameter sets that are in config
	width, height int
}

// audioForm is the same for sound. Immutable.
type audioForm struct {
	codec    media.Codec
	config   []byte // AAC: AudioSpecificConfig; Opus: the "OpusHead" or nil
	rate     int    // Hz: units of time in MP4
	channels int
	frame    int // samples in a frame, 0 when they differ
}

// forms is what a file holds; nil for what it does not.
type forms struct {
	video *videoForm
	audio *audioForm
}

// newVideoForm describes the pictures that begin with key.
func newVideoForm(codec media.Codec, config []byte, key *media.AccessUnit) *videoForm {
	v := &videoForm{codec: codec, config: config}
	switch codec {
	case media.H264:
		spss, ppss, _, _ := h264.ParseDecoderConfig(config)
		v.sets = slices.Concat(spss, ppss)
	case media.H265:
		v.sets, _, _ = h265.ParseDecoderConfig(config)
	}
	v.width, v.height = flv.ConfigSize(codec, config)
	if v.width == 0 && len(key.Units) > 0 {
		v.width, v.height = flv.KeySize(codec, key.Units[0])
	}
	return v
}

// inBand is the form with the parameter sets that stand in a key frame, when
// they are others than the configuration's: encoders that change their picture's
// size may say so there alone. It is v itself when they are not.
func (v *videoForm) inBand(key *media.AccessUnit) *videoForm {
	if v.codec != media.H264 {
		return v
	}
	var sps, pps []byte
	for _, u := range key.Units {
		switch h264.Type(u) {
		case h264.TypeSPS:
			sps = u
		case h264.TypePPS:
			pps = u
		}
	}
	if sps == nil || pps == nil || v.has(sps) && v.has(pps) {
		return v
	}
	return newVideoForm(v.codec, h264.DecoderConfig(sps, pps), key)
}

// has tells whether a unit is in the configuration, where MP4 wants it alone.
func (v *videoForm) has(unit []byte) bool {
	return slices.ContainsFunc(v.sets, func(set []byte) bool { return bytes.Equal(set, unit) })
}

func (v *videoForm) equal(w *videoForm) bool {
	return v == w || v != nil && w != nil && v.codec == w.codec && bytes.Equal(v.config, w.config)
}

func (a *audioForm) equal(b *audioForm) bool {
	return a == b || a != nil && b != nil && a.codec == b.codec && bytes.Equal(a.config, b.config)
}

// newAudioForm reads a sound's sequence header; nil for a codec that files do not carry.
func newAudioForm(k *flv.Packet) *audioForm {
	switch k.Codec {
	case media.AAC:
		c, err := flv.ParseAudioSpecificConfig(k.Body)
		if err != nil {
			return nil
		}
		return &audioForm{codec: media.AAC, config: k.Body, rate: c.SampleRate, channels: c.Channels, frame: 1024}
	case media.Opus:
		a := &audioForm{codec: media.Opus, rate: 48000, channels: 2}
		if k.Role == flv.RoleConfig && len(k.Body) >= 19 && string(k.Body[:8]) == "OpusHead" {
			a.config, a.channels = k.Body, int(k.Body[9])
		}
		return a
	}
	return nil
}
