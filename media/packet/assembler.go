package packet

import (
	"slices"
	"time"

	"braid/media"
	"braid/media/h264"
	"braid/media/h265"
)

// Bounds of one frame. A 4 MiB picture is 1 Gbit/s at 30 fps: more is an attack
// or a fault, and less would cut a 4K key frame of a screen.
const (
	maxBytes   = 4 << 20
	maxPackets = 2048
	maxUnits   = 2048 // NAL units or OBUs; a STAP-A packet holds hundreds of tiny ones
)

// Frame is one coded picture or audio frame of a track, complete and in order.
type Frame struct {
	Units     [][]byte  // as in media.AccessUnit
	Timestamp uint32    // RTP, in units of Codec.ClockRate
	Key       bool      // a decoder can start here; always true for audio
	Lost      bool      // frames in front of this one are missing
	Arrival   time.Time // of the frame's first packet
	Level     int8      // as in media.Packet
	Voice     bool      // as in media.Packet
}

// Assembler joins one track's packets to frames.
//
// Video: a marker ends a frame, and so does a new timestamp. A frame with a
// packet missing is dropped, and then all up to the next key frame, whose Lost
// is true. H.264 and H.265 access unit delimiters and filler are left out, and of
// H.265 all layers but the first. A key frame without its parameter sets gets the
// last ones in front of it; without any known it is dropped. No unit holds a start
// code: one that did would pass for one unit here and for several in a decoder, so
// it is split. The layers of a VP9 picture become one superframe, the OBUs of an AV1
// temporal unit one unit with a delimiter in front.
//
// Audio: a packet is a frame. One after a gap has Lost set.
type Assembler struct {
	codec media.Codec
	stats AssemblerStats
	out   []Frame // given to the caller until the next Push

	needKey bool // frames are held back until a key frame
	lost    bool // the next frame out follows a loss
	broken  bool // packets are missing right in front of the next frame

	cur  pending
	sets parameterSets
	h265 h265Sets
}

// pending is the video frame under construction.
type pending struct {
	open      bool
	bad       bool // something is missing or wrong: drop it at its end
	suspect   bool // packets are missing right in front of its first one
	timestamp uint32
	arrival   time.Time
	packets   int
	bytes     int
	units     [][]byte // complete: H.264 and H.265 NAL units, VP9 layers, AV1 OBUs; VP8: the payloads
	parts     [][]byte // of an unfinished one; H.264, H.265: header first
}

// AssemblerStats are counts since the Assembler was made.
type AssemblerStats struct {
	Frames    uint64 // given out
	Dropped   uint64 // video frames that were damaged, too large, or held back until a key frame
	Malformed uint64 // packets that break their payload format
}

// NewAssembler makes an Assembler for a track of the codec. Every audio codec is
// taken as one frame per packet.
func NewAssembler(codec media.Codec) *Assembler {
	// Whoever joins a stream may have missed the beginning of its first frame.
	return &Assembler{codec: codec, needKey: codec.Video(), broken: true}
}

// Stats are the counts so far.
func (a *Assembler) Stats() AssemblerStats { return a.stats }

// NeedKey tells whether frames are held back until a key frame, so that one
// should be asked for. It is true before the first; audio never needs one.
func (a *Assembler) NeedKey() bool { return a.needKey }

// AddParameterSets remembers H.264 parameter sets that came out of band
// (sprop-parameter-sets, RFC 6184 section 8.1). Other units are ignored. It is for
// H.264 tracks.
func (a *Assembler) AddParameterSets(units [][]byte) {
	for _, u := range units {
		a.sets.add(u)
	}
}

// Push takes the next packet in order; gap tells that packets are missing in
// front of it. The slice is valid until the next Push, the frames for ever:
// their units share the packets' memory.
func (a *Assembler) Push(p *media.Packet, gap bool) []Frame {
	clear(a.out)
	a.out = a.out[:0]
	if !a.codec.Video() {
		a.pushAudio(p, gap)
		return a.out
	}
	if gap {
		a.fail()
		a.broken = true
	}
	if len(p.Payload) == 0 {
		return a.out // padding: it only fills a sequence number
	}
	if a.cur.open && a.cur.timestamp != p.Timestamp {
		a.newTimestamp(p)
	}
	if !a.cur.open {
		a.begin(p)
	}
	a.broken = false
	a.add(p)
	if p.Marker {
		a.marker()
	}
	return a.out
}

func (a *Assembler) pushAudio(p *media.Packet, gap bool) {
	a.lost = a.lost || gap
	if len(p.Payload) == 0 {
		return
	}
	a.stats.Frames++
	a.out = append(a.out, Frame{
		Units: [][]byte{p.Payload}, Timestamp: p.Timestamp, Key: true, Lost: a.lost,
		Arrival: p.Arrival, Level: p.Level, Voice: p.Voice,
	})
	a.lost = false
}

// fail marks the open frame as damaged and holds back what follows it.
func (a *Assembler) fail() {
	a.needKey, a.lost = true, true
	a.cur.bad = true
	a.cur.units = nil
	a.cur.dropParts()
}

// newTimestamp ends the open frame because p belongs to another one.
func (a *Assembler) newTimestamp(p *media.Packet) {
	if a.headless() {
		// SEI or parameter sets with a timestamp of their own: they belong to
		// the picture that follows.
		a.cur.timestamp, a.cur.arrival = p.Timestamp, p.Arrival
		return
	}
	a.end()
}

// marker ends the open frame. A marker behind SEI or parameter sets alone does
// not: their picture follows, with the same timestamp or the next.
func (a *Assembler) marker() {
	if !a.headless() {
		a.end()
	}
}

// headless tells whether the open frame has whole NAL units, but no slice yet.
func (a *Assembler) headless() bool {
	c := &a.cur
	switch {
	case c.bad || len(c.parts) > 0:
		return false
	case a.codec == media.H264:
		return !slices.ContainsFunc(c.units, h264.IsSlice)
	case a.codec == media.H265:
		return !slices.ContainsFunc(c.units, h265.IsSlice)
	}
	return false
}

func (a *Assembler) begin(p *media.Packet) {
	a.cur = pending{
		open: true, suspect: a.broken, timestamp: p.Timestamp, arrival: p.Arrival,
		parts: a.cur.parts, // empty, for its memory
	}
}

func (a *Assembler) add(p *media.Packet) {
	a.cur.packets++
	a.cur.bytes += len(p.Payload)
	if a.cur.packets > maxPackets || a.cur.bytes > maxBytes {
		a.fail()
	}
	if a.cur.bad {
		return
	}
	if a.addPayload(p.Payload) {
		return
	}
	if !a.cur.suspect { // else it is what a loss leaves of a frame
		a.stats.Malformed++
	}
	a.fail()
}

// addPayload takes a packet's payload into the open frame; false when it cannot be
// part of it.
func (a *Assembler) addPayload(b []byte) bool {
	switch a.codec {
	case media.H264:
		return a.addH264(b)
	case media.VP9:
		return a.addVP9(b)
	case media.AV1:
		return a.addAV1(b)
	case media.H265:
		return a.addH265(b)
	}
	return a.addVP8(b)
}

// finish makes a frame of the units. ok is false when it cannot be decoded.
func (a *Assembler) finish(units [][]byte) (_ [][]byte, key, ok bool) {
	switch a.codec {
	case media.H264:
		return a.finishH264(units)
	case media.VP9:
		return a.finishVP9(units)
	case media.AV1:
		return a.finishAV1(units)
	case media.H265:
		return a.finishH265(units)
	}
	return a.finishVP8(units)
}

// end gives the open frame out, or drops it.
func (a *Assembler) end() {
	c := &a.cur
	c.open = false
	if len(c.parts) > 0 { // a unit without its end
		a.fail()
	}
	units, key := c.units, false
	c.units = nil
	if !c.bad {
		var ok bool
		if units, key, ok = a.finish(units); !ok {
			a.fail()
		}
	}
	if c.bad || a.needKey && !key {
		a.stats.Dropped++
		return
	}
	a.stats.Frames++
	a.out = append(a.out, Frame{
		Units: units, Timestamp: c.timestamp, Key: key, Lost: a.lost, Arrival: c.arrival, Level: -1,
	})
	a.needKey, a.lost = false, false
}

// dropParts forgets an unfinished unit.
func (c *pending) dropParts() {
	clear(c.parts)
	c.parts = c.parts[:0]
}
