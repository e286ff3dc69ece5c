package ingest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"braid/media"
	"braid/media/h264"
	"braid/mixer"
	"braid/mixer/wire"
)

const (
	compositionMax = 5 * time.Second
	// sameComposition is how far composition times may differ without B-frames:
	// RTMP rounds to milliseconds, and a frame at 60 a second lasts 17.
	sameComposition = 6 * time.Millisecond
	// keptMax bounds the newest group of pictures, which is kept for a worker that
	// starts while it arrives: what an input of the worker queues.
	keptMax  = 60
	keptSize = 8 << 20 // bytes; two seconds of what x264 makes of 1080p are two megabytes
	// reopenMin is between two coders of one track: a publisher whose format changes
	// at each picture is not one to follow.
	reopenMin = 500 * time.Millisecond
	// groupMax is how far apart key frames may be in what goes on as it is: who joins,
	// or has lost a packet for good, waits for the next. OBS's own choice is 250
	// pictures, 8 s at 30 a second.
	groupMax = 6 * time.Second
	// stepMax is what one picture adds to that: a pause is no group of pictures.
	stepMax = time.Second
	// While nobody says otherwise: what OBS and ffmpeg send by default.
	defaultFPS = 30
)

// videoIn passes a publisher's H.264 on, through a worker when WebRTC viewers
// could not show it. Which way is chosen anew at each key frame. One goroutine
// owns it; keyFrame is called by others.
type videoIn struct {
	pool   *mixer.Pool
	worker string
	out    *out
	log    *slog.Logger

	fps         int // as the publisher says; 0: it does not
	sps         []byte
	key         time.Duration // composition time of the newest key frame
	bframes     bool          // composition times differ within a group
	composition bool          // key is set
	sets        [][]byte      // SPS and PPS of the newest IDR
	group, last time.Duration // since the newest IDR; PTS of the newest picture
	rare        bool          // key frames are, in this stream
	way         way
	maker       int // at out, for what goes on as it is

	kept   []*media.AccessUnit // the newest group of pictures, if it is not too long; for the worker
	size   int                 // of kept
	opened time.Time           // when coder was
	behind atomic.Bool         // the worker wants a key frame

	mu    sync.Mutex // guards coder, which keyFrame reads
	coder *mixer.Transcode
}

type way int

const (
	nowhere way = iota // until the first key frame
	asItIs
	byWorker
)

// describe takes the frame rate out of onMetaData: "framerate", in AMF0 a string
// that stands before its number.
func (v *videoIn) describe(script []byte) {
	name := []byte("\x00\x09framerate\x00")
	i := bytes.Index(script, name)
	if i < 0 || len(script) < i+len(name)+8 {
		return
	}
	fps := math.Float64frombits(binary.BigEndian.Uint64(script[i+len(name):]))
	if fps >= 1 && fps <= 240 {
		v.fps = int(math.Round(fps))
	}
}

// take takes one picture in decoding order. An error is a refusal.
func (v *videoIn) take(au *media.AccessUnit, composition time.Duration) error {
	if v.composition && (composition-v.key).Abs() > sameComposition {
		v.bframes = true
	}
	point := v.entry(au)
	if au.Key {
		v.key, v.composition = composition, true
	}
	if point.Key {
		if err := v.choose(point); err != nil {
			return err
		}
	}
	switch v.way {
	case asItIs:
		v.pass(au)
	case byWorker:
		v.code(point)
	}
	return nil
}

// entry is au as the worker gets it: where a decoder can begin without an IDR
// picture, a key frame with its parameter sets. No browser begins there. It also
// tells whether key frames are rare.
func (v *videoIn) entry(au *media.AccessUnit) *media.AccessUnit {
	v.group += min(max(au.PTS-v.last, 0), stepMax)
	v.last = au.PTS
	switch {
	case au.Key:
		v.rare = v.rare || len(v.sets) > 0 && v.group > groupMax
		v.group, v.sets = 0, nil
		for _, u := range au.Units {
			if t := h264.Type(u); t == h264.TypeSPS || t == h264.TypePPS {
				v.sets = append(v.sets, u)
			}
		}
	case len(v.sets) > 0 && h264.IsRecoveryPoint(au.Units):
		v.rare = true
		point := *au
		point.Key, point.Units = true, slices.Concat(v.sets, au.Units)
		return &point
	}
	return au
}

// choose decides the way of the group of pictures that begins with key.
func (v *videoIn) choose(key *media.AccessUnit) error {
	i := slices.IndexFunc(key.Units, func(u []byte) bool { return h264.Type(u) == h264.TypeSPS })
	if i < 0 {
		return nil // the Demuxer puts one there
	}
	same := bytes.Equal(v.sps, key.Units[i])
	if v.way == byWorker && same {
		return nil
	}
	v.rare = v.rare && same // else it was of another stream
	sps, err := h264.ParseSPS(key.Units[i])
	if err != nil {
		v.log.Debug("ingest: SPS", "error", err)
		v.turn(nowhere, h264.SPS{})
		return nil
	}
	next := asItIs
	why, takes := unfit(sps, v.bframes, v.key), v.pool.Takes(sps.MbWidth*16, sps.MbHeight*16)
	if why == "" && v.rare && takes {
		why = "key frames are rare"
	}
	if why != "" {
		if !takes {
			return refuse(fmt.Sprintf("pictures of %dx%d that WebRTC cannot show (%s) are too large to be coded anew: set the encoder to the baseline profile or to fewer pixels", sps.Width, sps.Height, why), media.ErrLimit)
		}
		if time.Since(v.opened) < reopenMin {
			v.turn(nowhere, sps)
			return nil
		}
		v.opened = time.Now()
		if next = byWorker; v.way != byWorker {
			v.log.Info("ingest: pictures are coded anew for WebRTC", "why", why, "width", sps.Width, "height", sps.Height)
		}
	}
	v.sps = bytes.Clone(key.Units[i])
	v.turn(next, sps)
	return nil
}

// unfit says why WebRTC viewers cannot show a stream; "" when they can. A stream
// that does not say whether its pictures are out of order shows it by the
// composition time of its key frame, or later on.
func unfit(s h264.SPS, bframes bool, composition time.Duration) string {
	switch {
	case s.ChromaFormat != 1 || s.BitDepthLuma != 8 || s.BitDepthChroma != 8:
		return "not 8 bit 4:2:0"
	case s.Interlaced:
		return "interlaced"
	case s.Reorder > 0, s.Reorder < 0 && (bframes || composition != 0):
		return "B-frames"
	}
	return ""
}

// turn goes another way from the next picture on.
func (v *videoIn) turn(next way, sps h264.SPS) {
	if next == v.way && next != byWorker {
		return
	}
	v.way = next
	v.maker = v.out.next()
	v.kept, v.size = nil, 0
	var coder *mixer.Transcode
	if next == byWorker {
		coder = v.open(v.maker, sps)
	}
	v.mu.Lock()
	old := v.coder
	v.coder = coder
	v.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

func (v *videoIn) open(maker int, sps h264.SPS) *mixer.Transcode {
	fps := v.fps
	if fps == 0 {
		fps = defaultFPS
	}
	fps = min(fps, 60)
	v.behind.Store(false)
	return v.pool.NewTranscode(mixer.TranscodeConfig{
		Worker: v.worker, Codec: media.H264, Feed: true, Live: true,
		Encode:  wire.Encode{FPS: fps, VideoKbps: kbps(sps.Width, sps.Height, fps), GOP: 4 * fps, Profile: "baseline"},
		NeedKey: func() { v.behind.Store(true) },
		Emit: func(au *media.AccessUnit, _, _ uint8) {
			if !v.out.write(maker, au) {
				v.keyFrame()
			}
		},
		Failed: func(reason string) { v.log.Warn("ingest: pictures cannot be coded anew", "reason", reason) },
	})
}

// kbps is a tenth of a bit for each pixel, 2800 for 720p at 30: what looks good
// with x264's quick presets.
func kbps(w, h, fps int) int { return max(800, min(w*h*fps/10_000, 6000)) }

// pass sends a picture as it is. An encoder that stumbles may repeat a time.
func (v *videoIn) pass(au *media.AccessUnit) {
	if last, ok := v.out.newest(); ok && au.PTS <= last && last-au.PTS < backMax {
		au.PTS = last + time.Millisecond
	}
	v.out.write(v.maker, au)
}

// code gives a picture to the worker. One that has just started, or lost its way,
// gets the group of pictures again from its key frame: nobody can ask the publisher.
func (v *videoIn) code(au *media.AccessUnit) {
	if whole := v.keep(au); whole && v.behind.CompareAndSwap(true, false) {
		for _, kept := range v.kept {
			v.coder.Write(kept, false)
		}
		return
	}
	v.coder.Write(au, false)
}

// keep tells whether the group of pictures is kept from its key frame to au.
func (v *videoIn) keep(au *media.AccessUnit) (whole bool) {
	if !au.Key && len(v.kept) == 0 {
		return false
	}
	if au.Key || len(v.kept) == keptMax || v.size+au.Size() > keptSize {
		clear(v.kept)
		v.kept, v.size = v.kept[:0], 0
	}
	if !au.Key && len(v.kept) == 0 {
		return false
	}
	v.kept, v.size = append(v.kept, au), v.size+au.Size()
	return true
}

// keyFrame asks the worker for a key frame; the publisher cannot be asked.
func (v *videoIn) keyFrame() {
	v.mu.Lock()
	coder := v.coder
	v.mu.Unlock()
	if coder != nil {
		coder.KeyFrame()
	}
}

func (v *videoIn) close() { v.turn(nowhere, h264.SPS{}) }
