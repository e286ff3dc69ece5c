package sei

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// Layout says who is where in the picture, in the format of ARTC.
type Layout struct {
	Stream []Stream
}

// Stream is one user in the picture. A relay of a single user has one, with
// PaneID -1 and the place left zero.
type Stream struct {
	UID        string
	PaneID     int     // -1 for a single user's relay
	ZOrder     int     // 0 is at the bottom
	X, Y, W, H float64 // parts of the picture, 0 to 1
	Type, MS   int     // 0: ARTC's meaning is not published
	Vol        int     // volume, 0 to 255
	Vad        int     // voice activity, 150 while speaking, counting down to 0 after
}

// DefaultKey is the name of the pass-through content in the body.
const DefaultKey = "udd"

// Content is text of the task's owner that travels beside the layout: a task's
// PassThrough content, or a CustomSei that was set later and takes its place.
type Content struct {
	Key  string // DefaultKey when empty; "stream" is the layout's name and not allowed
	Text string
}

// AppendJSON appends the body of a message to dst: one JSON object with the
// layout, the content, or both; nil leaves one out.
//
//	{"stream":[{"uid":"ann","paneid":0,"zorder":0,"x":0.5018382,...}],"udd":"hello"}
//
// The content is always one JSON string, also when its text is JSON itself, so
// that a player reads every text in the same way.
func AppendJSON(dst []byte, l *Layout, c *Content) []byte {
	dst = append(dst, '{')
	if l != nil {
		dst = append(dst, `"stream":[`...)
		for i := range l.Stream {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = l.Stream[i].append(dst)
		}
		dst = append(dst, ']')
	}
	if c != nil {
		if l != nil {
			dst = append(dst, ',')
		}
		key := c.Key
		if key == "" {
			key = DefaultKey
		}
		dst = appendString(dst, key)
		dst = append(dst, ':')
		dst = appendString(dst, c.Text)
	}
	return append(dst, '}')
}

func (s *Stream) append(dst []byte) []byte {
	dst = appendString(append(dst, `{"uid":`...), s.UID)
	dst = strconv.AppendInt(append(dst, `,"paneid":`...), int64(s.PaneID), 10)
	dst = strconv.AppendInt(append(dst, `,"zorder":`...), int64(s.ZOrder), 10)
	dst = appendFloat(append(dst, `,"x":`...), s.X)
	dst = appendFloat(append(dst, `,"y":`...), s.Y)
	dst = appendFloat(append(dst, `,"w":`...), s.W)
	dst = appendFloat(append(dst, `,"h":`...), s.H)
	dst = strconv.AppendInt(append(dst, `,"type":`...), int64(s.Type), 10)
	dst = strconv.AppendInt(append(dst, `,"ms":`...), int64(s.MS), 10)
	dst = strconv.AppendInt(append(dst, `,"vol":`...), int64(s.Vol), 10)
	dst = strconv.AppendInt(append(dst, `,"vad":`...), int64(s.Vad), 10)
	return append(dst, '}')
}

// appendFloat writes at most seven decimals (a thousandth of a pixel), no
// exponent, and 0 for what JSON has no word for.
func appendFloat(dst []byte, v float64) []byte {
	const scale = 1e7
	if math.IsNaN(v) || math.IsInf(v, 0) {
		v = 0
	}
	if math.Abs(v) < 1e8 { // beyond, no decimals are left to round
		v = math.Round(v*scale) / scale
	}
	if v == 0 {
		v = 0 // not -0
	}
	return strconv.AppendFloat(dst, v, 'f', -1, 64)
}

// appendString writes s as a JSON string (RFC 8259 section 7); bytes that are not
// UTF-8 become U+FFFD.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
