package flv

import (
	"fmt"

	"braid/media"
)

// Role is what a packet is for.
type Role byte

const (
	RoleOther  Role = iota // nothing that a decoder is fed with
	RoleConfig             // sequence header: the decoder's configuration record
	RoleFrame              // coded pictures or sound
	RoleEnd                // end of sequence
	RoleColor              // how the pictures' colours are meant (Enhanced RTMP "Metadata")
)

// Packet is what an audio or video tag carries, whichever of the headers it has:
// the old one (annex E.4.2.1, E.4.3.1), with 12 for HEVC as Chinese CDNs have it, or
// that of Enhanced RTMP (version 2, ExAudioTagHeader and ExVideoTagHeader).
type Packet struct {
	Role        Role
	Codec       media.Codec // "" for one that media has no word for
	FourCC      string      // "" for the old header
	Key         bool        // a key frame; always true for sound
	Composition int32       // ms that the picture is shown after its decoding
	Body        []byte      // in the tag's memory
}

// Packet types of Enhanced RTMP. Sound has 0, 1, 2, 5 for several tracks, and 7.
const (
	exStart      = 0
	exFrames     = 1
	exEnd        = 2
	exFramesX    = 3 // as exFrames, composition time 0
	exMetadata   = 4
	exTracks     = 6
	exSoundTrack = 5
	exModifier   = 7

	soundEx       = 9 // SoundFormat that says "Enhanced RTMP"
	codecHEVC     = 12
	frameCommand  = 5
	manyCodecs    = 2 // AvMultitrackType: a FourCC for each track
	oneTrack      = 0
	maxModifiers  = 8 // each is for one property of the message, of which one is defined
	defaultTrack  = 0
	compositionSz = 3
)

// ParsePacket reads an audio or video tag's payload. Of a message with several
// tracks it reads the one with number 0; without one the packet's role is RoleOther, as
// is that of script tags and of packets that it does not know. ErrMalformed: it is
// cut short.
func ParsePacket(t *Tag) (Packet, error) {
	p := t.Payload
	switch {
	case len(p) == 0 || t.Type != Audio && t.Type != Video:
		return Packet{}, nil
	case t.Type == Audio && p[0]>>4 == soundEx:
		e, err := parseExtended(p, exSoundTrack)
		return e.sound(), err
	case t.Type == Audio:
		return oldSound(p)
	case p[0]&0x80 != 0:
		e, err := parseExtended(p, exTracks)
		if err != nil {
			return Packet{}, err
		}
		return e.picture()
	}
	return oldPicture(p)
}

func oldSound(p []byte) (Packet, error) {
	if p[0]>>4 != codecAAC {
		return Packet{Role: RoleFrame, Key: true, Body: p[1:]}, nil
	}
	if len(p) < 2 {
		return Packet{}, fmt.Errorf("%w: audio of 1 byte", ErrMalformed)
	}
	k := Packet{Role: RoleFrame, Codec: media.AAC, Key: true, Body: p[2:]}
	if p[1] == packetHeader {
		k.Role = RoleConfig
	}
	return k, nil
}

func oldPicture(p []byte) (Packet, error) {
	k := Packet{Role: RoleFrame, Key: p[0]>>4 == frameKey, Body: p[1:]}
	switch p[0] & 15 {
	case codecAVC:
		k.Codec = media.H264
	case codecHEVC:
		k.Codec = media.H265
	default:
		return k, nil
	}
	if len(p) < 5 {
		return Packet{}, fmt.Errorf("%w: video of %d bytes", ErrMalformed, len(p))
	}
	k.Composition, k.Body = si24(p[2:]), p[5:]
	switch p[1] {
	case packetHeader:
		k.Role = RoleConfig
	case packetData:
	case packetEnd:
		k.Role = RoleEnd
	default:
		return Packet{}, fmt.Errorf("%w: video packet type %d", ErrMalformed, p[1])
	}
	return k, nil
}

func si24(b []byte) int32 {
	return int32(uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8) >> 8
}

// extended is a message of Enhanced RTMP brought to its plainest form.
type extended struct {
	frame  byte // FrameType of pictures
	typ    byte // packet type
	fourCC string
	body   []byte // behind the FourCC
	absent bool   // there are tracks, but none with number 0
}

var errShort = fmt.Errorf("%w: Enhanced RTMP header cut short", ErrMalformed)

// parseExtended reads up to the body of track 0. tracks is the packet type that says
// "several tracks".
func parseExtended(p []byte, tracks byte) (e extended, err error) {
	e = extended{frame: p[0] >> 4 & 7, typ: p[0] & 15}
	p = p[1:]
	for n := 0; e.typ == exModifier; n++ {
		size, head := 0, 1
		if len(p) > 0 {
			size = int(p[0]) + 1
		}
		if size == 256 && len(p) >= 3 {
			size, head = int(p[1])<<8+int(p[2])+1, 3
		}
		if size == 0 || len(p) <= head+size || n == maxModifiers {
			return e, errShort
		}
		e.typ = p[head+size] & 15
		p = p[head+size+1:]
	}
	if e.typ != tracks {
		if e.frame == frameCommand && tracks == exTracks && e.typ != exMetadata {
			return e, nil // seeking: one byte
		}
		if len(p) < 4 {
			return e, errShort
		}
		e.fourCC, e.body = string(p[:4]), p[4:]
		return e, nil
	}
	if len(p) == 0 || p[0]&15 == tracks || p[0]&15 == exModifier {
		return e, errShort
	}
	ok := e.firstTrack(p[0]>>4, p[1:])
	e.typ = p[0] & 15
	if !ok {
		return e, errShort
	}
	return e, nil
}

// firstTrack finds track 0; how is the message's AvMultitrackType.
func (e *extended) firstTrack(how byte, p []byte) (ok bool) {
	if how > manyCodecs {
		return false
	}
	cc := ""
	if how != manyCodecs {
		if len(p) < 4 {
			return false
		}
		cc, p = string(p[:4]), p[4:]
	}
	for e.absent = true; len(p) > 0; {
		if how == manyCodecs {
			if len(p) < 4 {
				return false
			}
			cc, p = string(p[:4]), p[4:]
		}
		if len(p) == 0 {
			return false
		}
		track := p[0]
		p = p[1:]
		size := len(p)
		if how != oneTrack {
			if len(p) < 3 {
				return false
			}
			size = int(p[0])<<16 | int(p[1])<<8 | int(p[2])
			if p = p[3:]; size > len(p) {
				return false
			}
		}
		if track == defaultTrack {
			e.fourCC, e.body, e.absent = cc, p[:size], false
			return true
		}
		p = p[size:]
	}
	return true
}

func (e *extended) sound() Packet {
	if e.absent {
		return Packet{}
	}
	k := Packet{FourCC: e.fourCC, Codec: codecOf(e.fourCC), Key: true, Body: e.body}
	switch e.typ {
	case exStart:
		k.Role = RoleConfig
	case exFrames:
		k.Role = RoleFrame
	case exEnd:
		k.Role = RoleEnd
	}
	return k
}

func (e *extended) picture() (Packet, error) {
	if e.absent || e.frame == frameCommand && e.typ != exMetadata {
		return Packet{}, nil
	}
	k := Packet{FourCC: e.fourCC, Codec: codecOf(e.fourCC), Key: e.frame == frameKey, Body: e.body}
	switch e.typ {
	case exStart:
		k.Role = RoleConfig
	case exFrames:
		k.Role = RoleFrame
		if k.Codec == media.H264 || k.Codec == media.H265 || k.FourCC == "vvc1" {
			if len(k.Body) < compositionSz {
				return Packet{}, fmt.Errorf("%w: video of %d bytes", ErrMalformed, len(k.Body))
			}
			k.Composition, k.Body = si24(k.Body), k.Body[compositionSz:]
		}
	case exFramesX:
		k.Role = RoleFrame
	case exEnd:
		k.Role = RoleEnd
	case exMetadata:
		k.Role, k.Key = RoleColor, false
	}
	return k, nil
}

func codecOf(fourCC string) media.Codec {
	switch fourCC {
	case "avc1":
		return media.H264
	case "hvc1":
		return media.H265
	case "av01":
		return media.AV1
	case "vp09":
		return media.VP9
	case "vp08":
		return media.VP8
	case "mp4a":
		return media.AAC
	case "Opus":
		return media.Opus
	}
	return ""
}

// Plain is a tag as players of Enhanced RTMP version 1 read it: a message with
// several tracks becomes that of the one with number 0, modifiers (nanoseconds on the
// timestamp) are left out. All other tags come back as they are. nil: nothing is left,
// or it cannot be read.
func Plain(t *Tag) *Tag {
	p := t.Payload
	var tracks byte
	switch {
	case len(p) == 0:
		return t
	case t.Type == Audio && p[0]>>4 == soundEx:
		tracks = exSoundTrack
	case t.Type == Video && p[0]&0x80 != 0:
		tracks = exTracks
	default:
		return t
	}
	if p[0]&15 != tracks && p[0]&15 != exModifier {
		return t
	}
	e, err := parseExtended(p, tracks)
	if err != nil || e.absent {
		return nil
	}
	n := &Tag{Type: t.Type, Timestamp: t.Timestamp, Payload: make([]byte, 0, 5+len(e.body))}
	n.Payload = append(n.Payload, p[0]&0xf0|e.typ)
	n.Payload = append(n.Payload, e.fourCC...)
	n.Payload = append(n.Payload, e.body...)
	return n
}
