package origin

import (
	"fmt"
	"math"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/opus"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4/seekablebuffer"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"braid/media"
	"braid/media/av1"
	"braid/media/flv"
	"braid/media/h264"
	"braid/media/h265"
)

const (
	// partTarget is how much a part holds at most, unless one picture is longer. A
	// player stays three of them behind the newest (PART-HOLD-BACK), and makes two
	// requests for each: shorter ones save little, as pictures arrive every 33 ms.
	partTarget = 250 * time.Millisecond
	// partLeast is what a part must hold that another one follows in its segment
	// (RFC 8216bis section 4.4.3.7: 85 % of PART-TARGET).
	partLeast = partTarget * 85 / 100
	// audioSlack is how far sound may lie from where the frames before it end until
	// it is moved: FLV rounds to a millisecond, and encoders' clocks drift. It is
	// less than one frame of 1024 samples at 48 kHz, so a lost one makes a gap.
	audioSlack = 20 * time.Millisecond

	videoTrack, audioTrack = 1, 2
	videoScale             = 90000
)

// initFile is an fMP4 initialization section (RFC 8216 section 3.3), immutable.
type initFile struct {
	seq  uint64 // of the first segment that uses it
	data []byte
}

// mp4Packer writes segments of fragmented MP4 in parts (RFC 8216bis): a part is one
// fragment, and a segment is its parts, one after the other.
type mp4Packer struct {
	emit func(segment)
	grow func(segment) // the unfinished segment has one part more

	init         *initFile
	video, audio *mp4Track // nil without
	cur          segment
	start        time.Duration // of the segment
	partStart    time.Duration
	last, step   time.Duration // the newest picture, and how long the one before was shown
	bytes        int
	parts        uint64 // number of the next part
	fragments    uint32
}

// mp4Track collects the samples of the part being made.
type mp4Track struct {
	scale   int64
	frame   int64 // samples in an AAC frame; 0 for Opus, whose packets say it
	base    int64 // decoding time of samples[0]
	next    int64 // of the sample behind the last one
	samples []*fmp4.Sample
	wait    *fmp4.Sample // video: the newest one, until the one behind it says how long it lasts
	waitPTS int64
}

func (p *mp4Packer) open(g program) error {
	var tracks []*fmp4.InitTrack
	p.video, p.audio = nil, nil
	if g.key != nil {
		c, err := mp4Codec(g.key)
		if err != nil {
			return err
		}
		p.video = &mp4Track{scale: videoScale}
		tracks = append(tracks, &fmp4.InitTrack{ID: videoTrack, TimeScale: videoScale, Codec: c})
	}
	switch g.sound {
	case media.AAC:
		var c mpeg4audio.AudioSpecificConfig
		if err := c.Unmarshal(g.asc); err != nil || c.SampleRate <= 0 {
			return fmt.Errorf("origin: HLS: %w: AudioSpecificConfig %x: %w", flv.ErrUnsupported, g.asc, err)
		}
		p.audio = &mp4Track{scale: int64(c.SampleRate), frame: 1024}
		if c.FrameLengthFlag {
			p.audio.frame = 960
		}
		tracks = append(tracks, &fmp4.InitTrack{ID: audioTrack, TimeScale: uint32(c.SampleRate), Codec: &codecs.MPEG4Audio{Config: c}})
	case media.Opus:
		p.audio = &mp4Track{scale: 48000}
		tracks = append(tracks, &fmp4.InitTrack{ID: audioTrack, TimeScale: 48000, Codec: &codecs.Opus{ChannelCount: 2}})
	}
	var out seekablebuffer.Buffer
	if err := (&fmp4.Init{Tracks: tracks}).Marshal(&out); err != nil {
		return fmt.Errorf("origin: HLS: %w: %w", flv.ErrMalformed, err)
	}
	p.init = &initFile{data: out.Bytes()}
	return nil
}

// mp4Codec describes the pictures that begin with key.
func mp4Codec(key *media.AccessUnit) (codecs.Codec, error) {
	first := func(is func([]byte) bool) []byte {
		for _, u := range key.Units {
			if is(u) {
				return u
			}
		}
		return nil
	}
	avc := func(kind byte) []byte { return first(func(u []byte) bool { return h264.Type(u) == kind }) }
	hevc := func(kind byte) []byte { return first(func(u []byte) bool { return h265.Type(u) == kind }) }
	switch key.Codec {
	case media.H264:
		return &codecs.H264{SPS: avc(h264.TypeSPS), PPS: avc(h264.TypePPS)}, nil
	case media.H265:
		return &codecs.H265{VPS: hevc(h265.TypeVPS), SPS: hevc(h265.TypeSPS), PPS: hevc(h265.TypePPS)}, nil
	case media.AV1:
		return &codecs.AV1{SequenceHeader: decoderSets(key)}, nil
	}
	return nil, fmt.Errorf("origin: HLS: %w: fMP4 of %s", flv.ErrUnsupported, key.Codec)
}

func (p *mp4Packer) begin(s segment, dts time.Duration) error {
	if p.init.seq == 0 {
		p.init.seq = s.seq
		p.partStart, p.last, p.step = dts, dts, 0
	}
	s.init = p.init
	p.cur, p.start, p.partStart, p.bytes = s, dts, dts, 0
	return nil
}

func (p *mp4Packer) size() int { return p.bytes }

func (p *mp4Packer) write(au *media.AccessUnit, dts time.Duration) error {
	if au.Size() == 0 {
		return nil
	}
	picture := au.Codec.Video()
	if picture && p.video == nil || !picture && p.audio == nil {
		return nil
	}
	if picture {
		p.video.complete(ticks(dts, videoScale))
		p.step, p.last = dts-p.last, dts
	}
	if p.due(picture, dts) {
		if err := p.cut(dts); err != nil {
			return err
		}
	}
	if picture {
		payload := mp4Sample(au)
		p.bytes += len(payload)
		p.video.wait = &fmp4.Sample{IsNonSyncSample: !au.Key, Payload: payload}
		p.video.waitPTS = ticks(au.PTS, videoScale)
		p.video.next = max(p.video.next, ticks(dts, videoScale))
		return nil
	}
	p.bytes += len(au.Units[0])
	p.audio.sound(ticks(dts, p.audio.scale), au.Units[0])
	return nil
}

// due tells whether the part ends before an access unit. Pictures decide, unless
// there are none, or none for a while: sound must not wait for them.
func (p *mp4Packer) due(picture bool, dts time.Duration) bool {
	length := dts - p.partStart
	switch {
	case !picture && p.video != nil && dts-p.last <= partTarget:
		return false
	case length >= partLeast:
		return true
	}
	return picture && length > 0 && length+p.step > partTarget // one more would be too much
}

// cut hands on the part that ends at end.
func (p *mp4Packer) cut(end time.Duration) error {
	made := part{number: p.parts, duration: end - p.partStart, independent: p.video == nil}
	f := fmp4.Part{SequenceNumber: p.fragments}
	if t := p.video; t != nil && len(t.samples) > 0 {
		made.independent = !t.samples[0].IsNonSyncSample
		f.Tracks = append(f.Tracks, &fmp4.PartTrack{ID: videoTrack, BaseTime: uint64(max(0, t.base)), Samples: t.samples})
	}
	if t := p.audio; t != nil && len(t.samples) > 0 {
		f.Tracks = append(f.Tracks, &fmp4.PartTrack{ID: audioTrack, BaseTime: uint64(max(0, t.base)), Samples: t.samples})
	}
	if len(f.Tracks) == 0 || made.duration <= 0 {
		return nil // its time goes to the next one
	}
	var out seekablebuffer.Buffer
	if err := f.Marshal(&out); err != nil {
		return fmt.Errorf("origin: HLS: %w: %w", flv.ErrMalformed, err)
	}
	made.data = out.Bytes()
	p.fragments++
	p.parts++
	p.partStart = end
	for _, t := range []*mp4Track{p.video, p.audio} {
		if t != nil {
			t.samples = nil
		}
	}
	p.cur.parts = append(p.cur.parts, made)
	p.grow(p.cur)
	return nil
}

func (p *mp4Packer) finish(end time.Duration) {
	if p.video != nil {
		p.video.complete(ticks(end, videoScale))
	}
	if err := p.cut(end); err != nil || len(p.cur.parts) == 0 {
		p.cur.parts = append(p.cur.parts, part{number: p.parts, duration: end - p.partStart})
		p.parts++
	}
	for _, q := range p.cur.parts {
		p.cur.duration += q.duration
	}
	p.emit(p.cur)
}

// complete says that the sample that waits is shown until at.
func (t *mp4Track) complete(at int64) {
	s := t.wait
	if s == nil {
		return
	}
	if len(t.samples) == 0 {
		t.base = t.next
	}
	s.Duration = uint32(min(max(1, at-t.next), math.MaxUint32))
	s.PTSOffset = int32(min(max(math.MinInt32, t.waitPTS-t.next), math.MaxInt32))
	t.samples = append(t.samples, s)
	t.next += int64(s.Duration)
	t.wait = nil
}

// sound adds a frame that is played at at, or where the one before it ends.
func (t *mp4Track) sound(at int64, payload []byte) {
	off := at - t.next
	n := len(t.samples)
	switch {
	case off >= -ticks(audioSlack, t.scale) && off <= ticks(audioSlack, t.scale):
	case n > 0: // the sample before it ends later, or earlier
		d := min(max(1, int64(t.samples[n-1].Duration)+off), math.MaxUint32)
		t.next += d - int64(t.samples[n-1].Duration)
		t.samples[n-1].Duration = uint32(d)
	case off > 0:
		t.next = at
	}
	if n == 0 {
		t.base = t.next
	}
	d := t.frame
	if d == 0 {
		d = max(1, opus.PacketDuration2(payload))
	}
	t.samples = append(t.samples, &fmp4.Sample{Duration: uint32(d), Payload: payload})
	t.next += d
}

// ticks rounds to a clock.
func ticks(d time.Duration, rate int64) int64 {
	s, rest := d/time.Second, d%time.Second
	return int64(s)*rate + (int64(rest)*rate+int64(time.Second)/2)/int64(time.Second)
}

// mp4Sample is an access unit as it lies in an MP4 file: NAL units behind their
// lengths (ISO/IEC 14496-15), without delimiters; an AV1 temporal unit without its
// delimiter OBU (AV1 in ISOBMFF section 2.4).
func mp4Sample(au *media.AccessUnit) []byte {
	if au.Codec == media.AV1 {
		var b []byte
		for unit := au.Units[0]; len(unit) > 0; {
			o, rest, ok := av1.ParseOBU(unit)
			if !ok {
				break
			}
			if o.Type != av1.TypeTemporalDelimiter {
				b = av1.AppendSized(b, o)
			}
			unit = rest
		}
		return b
	}
	units := make([][]byte, 0, len(au.Units))
	for _, u := range au.Units {
		aud := au.Codec == media.H265 && h265.Type(u) == h265.TypeAUD || au.Codec == media.H264 && h264.Type(u) == h264.TypeAUD
		if len(u) > 0 && !aud {
			units = append(units, u)
		}
	}
	return h264.AppendAVCC(make([]byte, 0, au.Size()+4*len(units)), units)
}
