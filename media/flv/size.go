package flv

import (
	"braid/media"
	"braid/media/av1"
	"braid/media/h264"
	"braid/media/h265"
	"braid/media/vp9"
)

// ConfigSize is the width and height in pixels that a decoder configuration
// record says (avcC, hvcC, av1C); zeros where it says none, as VP9's never does.
func ConfigSize(codec media.Codec, config []byte) (width, height int) {
	switch codec {
	case media.H264:
		if sps, _, _, err := h264.ParseDecoderConfig(config); err == nil && len(sps) > 0 {
			if s, err := h264.ParseSPS(sps[0]); err == nil {
				return s.Width, s.Height
			}
		}
	case media.H265:
		sets, _, _ := h265.ParseDecoderConfig(config)
		for _, set := range sets {
			if s, err := h265.ParseSPS(set); err == nil {
				return s.Width, s.Height
			}
		}
	case media.AV1:
		if len(config) > 4 { // av1C: four bytes, then OBUs
			return av1.Size(config[4:])
		}
	}
	return 0, 0
}

// KeySize is the width and height in pixels that a key frame of AV1 or VP9 says;
// zeros where it says none.
func KeySize(codec media.Codec, frame []byte) (width, height int) {
	switch codec {
	case media.AV1:
		return av1.Size(frame)
	case media.VP9:
		if h, ok := vp9.ParseHeader(frame); ok {
			return h.Width, h.Height
		}
	}
	return 0, 0
}
