package origin

import (
	"braid/media"
	"braid/media/av1"
	"braid/media/flv"
	"braid/media/h264"
	"braid/media/h265"
	"braid/media/vp9"
)

// describeLocked fills in codecs and size from the newest sequence headers and, for
// codecs without a size there, the newest key frame.
func (s *stream) describeLocked(i *StreamInfo) {
	if t := s.now.audio; t != nil {
		if p, err := flv.ParsePacket(&t.Tag); err == nil && p.Codec != "" {
			i.Audio = string(p.Codec)
		}
	}
	if s.now.video == nil {
		return
	}
	config, err := flv.ParsePacket(&s.now.video.Tag)
	if err != nil || config.Codec == "" {
		return
	}
	i.Video = string(config.Codec)
	if i.Width, i.Height = configSize(&config); i.Width == 0 && s.gop.keyed {
		if key, err := flv.ParsePacket(&s.gop.tags[0].Tag); err == nil {
			i.Width, i.Height = keySize(&key)
		}
	}
}

// configSize reads the size of pictures from a decoder configuration record.
func configSize(p *flv.Packet) (width, height int) {
	switch p.Codec {
	case media.H264:
		if sps, _, _, err := h264.ParseDecoderConfig(p.Body); err == nil && len(sps) > 0 {
			if s, err := h264.ParseSPS(sps[0]); err == nil {
				return s.Width, s.Height
			}
		}
	case media.H265:
		sets, _, _ := h265.ParseDecoderConfig(p.Body)
		for _, set := range sets {
			if s, err := h265.ParseSPS(set); err == nil {
				return s.Width, s.Height
			}
		}
	case media.AV1:
		if len(p.Body) > 4 { // av1C: four bytes, then OBUs
			return av1Size(p.Body[4:])
		}
	}
	return 0, 0
}

// keySize reads the size of pictures from a key frame that says it.
func keySize(p *flv.Packet) (width, height int) {
	switch p.Codec {
	case media.AV1:
		return av1Size(p.Body)
	case media.VP9:
		if h, ok := vp9.ParseHeader(p.Body); ok {
			return h.Width, h.Height
		}
	}
	return 0, 0
}

func av1Size(obus []byte) (width, height int) {
	for len(obus) > 0 {
		o, rest, ok := av1.ParseOBU(obus)
		if !ok {
			break
		}
		if o.Type == av1.TypeSequenceHeader {
			if s, ok := av1.ParseSequence(o.Payload); ok {
				return s.Width, s.Height
			}
		}
		obus = rest
	}
	return 0, 0
}
