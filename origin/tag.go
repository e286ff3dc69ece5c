package origin

import (
	"bytes"
	"time"

	"braid/media/flv"
)

// Tag is one media message of a stream, immutable and shared by all its viewers.
type Tag struct {
	flv.Tag           // Timestamp is the stream's, see Hub
	FLV     []byte    // the whole tag as it stands in an FLV file; Payload lies within
	Arrived time.Time // at this origin

	epoch uint32 // counts the publishers of the stream; it grows when one came back
	kind  kind
}

type kind byte

const (
	kindMedia   kind = iota
	kindKey          // a video key frame
	kindMeta         // onMetaData
	kindVideoSH      // video sequence header
	kindAudioSH      // audio sequence header
	kindColor        // how the pictures' colours are meant (Enhanced RTMP)
)

// header tells whether a decoder needs the tag to understand those behind it.
func (t *Tag) header() bool { return t.kind >= kindMeta }

// newTag copies t once, into the bytes that all viewers are sent. Metadata is
// always at time 0: FFmpeg takes it for a text stream anywhere else.
func newTag(t *flv.Tag, timestamp, epoch uint32) *Tag {
	n := &Tag{Tag: *t, Arrived: time.Now(), epoch: epoch, kind: kindOf(t)}
	if n.Timestamp = timestamp; n.kind == kindMeta {
		n.Timestamp = 0
	}
	n.FLV = flv.AppendTag(make([]byte, 0, len(t.Payload)+15), &n.Tag)
	n.Payload = n.FLV[11 : 11+len(t.Payload) : 11+len(t.Payload)]
	return n
}

var onMetaData = append([]byte{2, 0, 10}, "onMetaData"...) // an AMF0 string

func kindOf(t *flv.Tag) kind {
	if t.Type == flv.Script {
		if bytes.HasPrefix(t.Payload, onMetaData) {
			return kindMeta
		}
		return kindMedia
	}
	p, err := flv.ParsePacket(t)
	switch {
	case err != nil: // passed on: a player may know better
		return kindMedia
	case p.Role == flv.RoleColor:
		return kindColor
	case p.Role == flv.RoleConfig && t.Type == flv.Video:
		return kindVideoSH
	case p.Role == flv.RoleConfig:
		return kindAudioSH
	case p.Role == flv.RoleFrame && t.Type == flv.Video && p.Key:
		return kindKey
	}
	return kindMedia
}

// endOfSequence recognises the tag with which encoders end a video. Its frame
// type says "key" and players stop at it, though the publisher may come back.
func endOfSequence(t *flv.Tag) bool {
	p, err := flv.ParsePacket(t)
	return err == nil && p.Role == flv.RoleEnd
}

// only is the tag as a viewer gets it who wants one kind of media, flv.Audio or
// flv.Video; nil when it is of the other.
func (t *Tag) only(kind byte) *Tag {
	switch {
	case t.kind == kindMeta:
		payload := flv.OnlyMetadata(t.Payload, kind)
		if payload == nil {
			return nil
		}
		n := newTag(&flv.Tag{Type: flv.Script, Payload: payload}, t.Timestamp, t.epoch)
		n.Arrived = t.Arrived
		return n
	case t.Type == flv.Script, t.Type == kind:
		return t
	}
	return nil
}

// headers are the newest metadata, sequence headers and colours; nil where none has come.
type headers struct{ meta, video, color, audio *Tag }

// set takes a header tag. It reports false for a repetition of what is known.
func (h *headers) set(t *Tag) bool {
	p := h.slot(t.kind)
	if *p != nil && bytes.Equal((*p).Payload, t.Payload) {
		return false
	}
	*p = t
	return true
}

func (h *headers) slot(k kind) **Tag {
	switch k {
	case kindMeta:
		return &h.meta
	case kindVideoSH:
		return &h.video
	case kindColor:
		return &h.color
	}
	return &h.audio
}

// appendAt appends the headers as if they had come at the given time, so that a joiner's timestamps begin where the media does.
func (h *headers) appendAt(dst []*Tag, timestamp uint32, arrived time.Time) []*Tag {
	for _, t := range []*Tag{h.meta, h.video, h.color, h.audio} {
		if t != nil {
			n := newTag(&t.Tag, timestamp, t.epoch)
			n.Arrived = arrived
			dst = append(dst, n)
		}
	}
	return dst
}
