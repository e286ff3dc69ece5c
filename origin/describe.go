package origin

import "braid/media/flv"

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
	if i.Width, i.Height = flv.ConfigSize(config.Codec, config.Body); i.Width == 0 && s.gop.keyed {
		if key, err := flv.ParsePacket(&s.gop.tags[0].Tag); err == nil {
			i.Width, i.Height = flv.KeySize(key.Codec, key.Body)
		}
	}
}
