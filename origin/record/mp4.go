package record

import (
	"encoding/binary"
	"time"

	"braid/media"
)

// Fragmented MP4 (ISO/IEC 14496-12). A file is
//
//	ftyp moov free (moof mdat)...
//
// and when it is finished the place of free holds a sidx, by which players know
// the whole and find a time without reading it, and the moov the duration.

const (
	videoID, audioID = 1, 2
	videoScale       = 90000
	movieScale       = 1000
)

// box appends a box and what body puts into it.
func box(dst []byte, kind string, body func([]byte) []byte) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = body(append(dst, kind...))
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at))
	return dst
}

// full appends a box with version and flags (clause 4.2).
func full(dst []byte, kind string, version byte, flags uint32, body func([]byte) []byte) []byte {
	return box(dst, kind, func(b []byte) []byte { return body(u32(b, uint32(version)<<24|flags)) })
}

func u16(b []byte, v ...uint16) []byte {
	for _, v := range v {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

func u32(b []byte, v ...uint32) []byte {
	for _, v := range v {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return b
}

func u64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

func raw(p []byte) func([]byte) []byte { return func(b []byte) []byte { return append(b, p...) } }

// matrix is the unity one (clause 6.2.2).
func matrix(b []byte) []byte { return u32(b, 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000) }

// mp4Head is all before the first fragment. segment is how long the file will be,
// for the room that its sidx needs.
func mp4Head(f *forms, began time.Time, segment time.Duration) []byte {
	b := box(nil, "ftyp", func(b []byte) []byte { return append(u32(append(b, "iso6"...), 0), "iso6isommp41"...) })
	b = box(b, "moov", func(b []byte) []byte {
		b = full(b, "mvhd", 1, 0, func(b []byte) []byte { // clause 8.2.2
			created := uint64(began.Unix() + 2082844800) // since 1904
			b = u64(u64(b, created), created)
			b = u64(u32(b, movieScale), 0)
			b = u32(b, 0x10000)
			b = matrix(append(b, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
			return u32(append(b, make([]byte, 24)...), 3)
		})
		if f.video != nil {
			b = videoTrak(b, f.video)
		}
		if f.audio != nil {
			b = audioTrak(b, f.audio)
		}
		return box(b, "mvex", func(b []byte) []byte {
			b = full(b, "mehd", 1, 0, func(b []byte) []byte { return u64(b, 0) })
			if f.video != nil {
				b = full(b, "trex", 0, 0, func(b []byte) []byte { return u32(b, videoID, 1, 0, 0, 0) })
			}
			if f.audio != nil {
				b = full(b, "trex", 0, 0, func(b []byte) []byte { return u32(b, audioID, 1, 0, 0, keySample) })
			}
			return b
		})
	})
	return box(b, "free", func(b []byte) []byte { return append(b, make([]byte, sidxRoom(segment))...) })
}

// trak appends a track's description up to its sample entry (clause 8.3).
func trak(b []byte, id, scale uint32, handler, name string, volume uint16, width, height int, media, entry func([]byte) []byte) []byte {
	return box(b, "trak", func(b []byte) []byte {
		b = full(b, "tkhd", 0, 3, func(b []byte) []byte { // enabled, in the movie
			b = u32(b, 0, 0, id, 0, 0, 0, 0)
			b = matrix(u16(b, 0, 0, volume, 0))
			return u32(b, uint32(width)<<16, uint32(height)<<16)
		})
		return box(b, "mdia", func(b []byte) []byte {
			b = full(b, "mdhd", 0, 0, func(b []byte) []byte {
				return u16(u32(b, 0, 0, scale, 0), 0x55c4, 0) // "und"
			})
			b = full(b, "hdlr", 0, 0, func(b []byte) []byte {
				b = append(u32(b, 0), handler...)
				return append(append(u32(b, 0, 0, 0), name...), 0)
			})
			return box(b, "minf", func(b []byte) []byte {
				b = media(b)
				b = box(b, "dinf", func(b []byte) []byte {
					return full(b, "dref", 0, 0, func(b []byte) []byte {
						return full(u32(b, 1), "url ", 0, 1, raw(nil)) // in this file
					})
				})
				return box(b, "stbl", func(b []byte) []byte {
					b = full(b, "stsd", 0, 0, func(b []byte) []byte { return entry(u32(b, 1)) })
					b = full(b, "stts", 0, 0, func(b []byte) []byte { return u32(b, 0) })
					b = full(b, "stsc", 0, 0, func(b []byte) []byte { return u32(b, 0) })
					b = full(b, "stsz", 0, 0, func(b []byte) []byte { return u32(b, 0, 0) })
					return full(b, "stco", 0, 0, func(b []byte) []byte { return u32(b, 0) })
				})
			})
		})
	})
}

// videoEntries are the sample entry and configuration boxes of ISO/IEC 14496-15
// and the AV1 and VP9 bindings. Parameter sets may stand in pictures, too.
var videoEntries = map[media.Codec][2]string{
	media.H264: {"avc1", "avcC"}, media.H265: {"hvc1", "hvcC"}, media.AV1: {"av01", "av1C"}, media.VP9: {"vp09", "vpcC"},
}

func videoTrak(b []byte, v *videoForm) []byte {
	names := videoEntries[v.codec]
	entry := func(b []byte) []byte {
		return box(b, names[0], func(b []byte) []byte { // clause 12.1.3
			b = append(b, 0, 0, 0, 0, 0, 0, 0, 1)
			b = append(b, make([]byte, 16)...)
			b = u16(b, uint16(v.width), uint16(v.height))
			b = u32(b, 0x480000, 0x480000, 0) // 72 dpi
			b = append(u16(b, 1), make([]byte, 32)...)
			b = u16(b, 0x18, 0xffff)
			return box(b, names[1], raw(v.config))
		})
	}
	vmhd := func(b []byte) []byte {
		return full(b, "vmhd", 0, 1, func(b []byte) []byte { return u16(b, 0, 0, 0, 0) })
	}
	return trak(b, videoID, videoScale, "vide", "video", 0, v.width, v.height, vmhd, entry)
}

func audioTrak(b []byte, a *audioForm) []byte {
	name, config := "mp4a", func(b []byte) []byte { return esds(b, a.config) }
	if a.codec == media.Opus {
		name, config = "Opus", func(b []byte) []byte { return box(b, "dOps", raw(opusBox(a))) }
	}
	entry := func(b []byte) []byte {
		return box(b, name, func(b []byte) []byte { // clause 12.2.3
			b = append(b, 0, 0, 0, 0, 0, 0, 0, 1)
			b = u16(u32(b, 0, 0), uint16(a.channels), 16, 0, 0)
			rate := uint32(0) // one that the field cannot hold is in the configuration
			if a.rate < 1<<16 {
				rate = uint32(a.rate) << 16
			}
			return config(u32(b, rate))
		})
	}
	smhd := func(b []byte) []byte { return full(b, "smhd", 0, 0, func(b []byte) []byte { return u16(b, 0, 0) }) }
	return trak(b, audioID, uint32(a.rate), "soun", "sound", 0x100, 0, 0, smhd, entry)
}

// esds appends what says that it is AAC (ISO/IEC 14496-1 clause 7.2.6).
func esds(b []byte, config []byte) []byte {
	descriptor := func(b []byte, tag byte, body []byte) []byte {
		n := len(body)
		b = append(b, tag, 0x80|byte(n>>21), 0x80|byte(n>>14), 0x80|byte(n>>7), byte(n)&0x7f)
		return append(b, body...)
	}
	decoder := append([]byte{0x40, 0x15}, make([]byte, 11)...) // MPEG-4 audio; sizes and rates unknown
	decoder = descriptor(decoder, 5, config)
	es := descriptor([]byte{0, 0, 0}, 4, decoder)
	es = descriptor(es, 6, []byte{2})
	return full(b, "esds", 0, 0, func(b []byte) []byte { return descriptor(b, 3, es) })
}

// opusBox is OpusHead (RFC 7845 section 5.1) as dOps has it: other byte order,
// other version.
func opusBox(a *audioForm) []byte {
	if a.config == nil {
		return []byte{0, byte(a.channels), 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0} // 312 samples of delay, 48 kHz
	}
	h := a.config[9:]
	b := []byte{0, h[0], h[2], h[1], h[6], h[5], h[4], h[3], h[8], h[7]}
	return append(b, h[9:]...)
}

// Sample flags (clause 8.8.3.1).
const (
	keySample   = 0x02000000 // depends on no other
	otherSample = 0x01010000 // depends on others, not a sync sample
)

// mp4Fragment appends a moof and its mdat, describes it for the sidx, and tells
// when it ends.
func mp4Fragment(dst []byte, number uint32, f *fragment, v *videoForm, a *audioForm) ([]byte, reference, time.Duration) {
	start := len(dst)
	var offsets []int // of the truns' data offsets
	ref, end := reference{}, time.Duration(0)
	dst = box(dst, "moof", func(b []byte) []byte {
		b = full(b, "mfhd", 0, 0, func(b []byte) []byte { return u32(b, number) })
		if v != nil && len(f.video) > 0 {
			b = traf(b, videoID, videoScale, f.video, v, &offsets)
			ref.start, end = stretch(f.video, videoScale)
			ref.key = f.video[0].key
		}
		if a != nil && len(f.audio) > 0 {
			b = traf(b, audioID, int64(a.rate), f.audio, nil, &offsets)
			from, until := stretch(f.audio, int64(a.rate))
			if end = max(end, until); v == nil || len(f.video) == 0 {
				ref.start, ref.key = from, v == nil
			}
		}
		return b
	})
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0, 'm', 'd', 'a', 't')
	next := 0
	if v != nil && len(f.video) > 0 {
		binary.BigEndian.PutUint32(dst[offsets[next]:], uint32(len(dst)-start))
		next++
		for i := range f.video {
			dst = appendPicture(dst, &f.video[i], v)
		}
	}
	if a != nil && len(f.audio) > 0 {
		binary.BigEndian.PutUint32(dst[offsets[next]:], uint32(len(dst)-start))
		for i := range f.audio {
			dst = append(dst, f.audio[i].units[0]...)
		}
	}
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at))
	ref.size = uint32(len(dst) - start)
	return dst, ref, end
}

// stretch is when samples begin and end, in the track's units.
func stretch(samples []sample, scale int64) (from, until time.Duration) {
	last := &samples[len(samples)-1]
	return span(units(samples[0].dts, scale), scale), span(units(last.dts+last.lasts, scale), scale)
}

// traf appends a track's part of a fragment (clauses 8.8.6 to 8.8.12).
func traf(b []byte, id uint32, scale int64, samples []sample, v *videoForm, offsets *[]int) []byte {
	const (
		baseIsMoof                                    = 0x20000
		hasOffset, hasDuration, hasSize, hasFlags     = 1, 0x100, 0x200, 0x400
		hasComposition                            int = 0x800
	)
	return box(b, "traf", func(b []byte) []byte {
		b = full(b, "tfhd", 0, baseIsMoof, func(b []byte) []byte { return u32(b, id) })
		begin := units(samples[0].dts, scale)
		b = full(b, "tfdt", 1, 0, func(b []byte) []byte { return u64(b, uint64(begin)) })
		flags := uint32(hasOffset | hasDuration | hasSize)
		if v != nil {
			flags |= hasFlags | uint32(hasComposition)
		}
		return full(b, "trun", 1, flags, func(b []byte) []byte {
			b = u32(b, uint32(len(samples)), 0)
			*offsets = append(*offsets, len(b)-4)
			at := begin
			for i := range samples {
				s := &samples[i]
				end := units(s.dts+s.lasts, scale)
				b = u32(b, uint32(end-at))
				if v == nil {
					b = u32(b, uint32(len(s.units[0])))
				} else {
					kind := uint32(otherSample)
					if s.key {
						kind = keySample
					}
					b = u32(b, uint32(pictureSize(s, v)), kind, uint32(units(s.pts, scale)-units(s.dts, scale)))
				}
				at = end
			}
			return b
		})
	})
}

// inConfig tells whether a unit stands in the configuration record already.
func inConfig(unit []byte, v *videoForm) bool { return v.sets != nil && v.has(unit) }

func pictureSize(s *sample, v *videoForm) (n int) {
	for _, u := range s.units {
		switch {
		case v.codec != media.H264 && v.codec != media.H265:
			n += len(u)
		case !inConfig(u, v):
			n += 4 + len(u)
		}
	}
	return n
}

func appendPicture(dst []byte, s *sample, v *videoForm) []byte {
	for _, u := range s.units {
		switch {
		case v.codec != media.H264 && v.codec != media.H265:
			dst = append(dst, u...)
		case !inConfig(u, v):
			dst = append(u32(dst, uint32(len(u))), u...)
		}
	}
	return dst
}
