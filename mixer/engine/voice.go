package engine

import (
	"errors"
	"sync"
	"time"

	"braid/media/codec"
)

// voice turns one Opus input into sound on the mix's time. It decodes at once
// and writes each sample where it will be heard, at PTS + delay; mixes read a
// quantum when its time has passed.
//
//	packets → decode → | heard | written, up to end |  free  |   1 s ring
//	                            ↑ mixes read here
//
// Where a mix reads beyond end, the voice conceals up to 100 ms and then falls
// silent until the next packet. A late packet thus finds its place taken; the
// person's delay has grown meanwhile, and it is appended. Small errors between
// where a packet belongs and end are corrected in silence, larger ones at once.
//
// Packets that are lost are told apart from those that were never sent (DTX, RFC
// 7587 section 3.1.3): only the former may be in the next one's redundancy.
type voice struct {
	mu     sync.Mutex         // guards all below
	dec    *codec.OpusDecoder // nil after close
	ring   []float32          // stereo
	end    int64              // mix position, in samples, up to which ring is written
	read   int64              // up to which some mix has read
	next   int64              // PTS, in samples, that continues the last packet
	frame  int64              // samples of the last packet
	plc    int64              // samples concealed since the last packet
	shift  int64              // added to every PTS when they are far off the clock
	live   bool               // packets flow
	torn   bool               // what the decoder gives next does not continue what is before end
	missed int                // packets in a row that were too late or too early
	pcm    []float32          // room for what the decoder makes
}

const (
	ringLen   = rate
	plcMax    = 100 * millisecondLen
	plcFade   = 20 * millisecondLen // of plcMax, its end
	lossMin   = 5 * millisecondLen  // a smaller step of the PTS is the publisher's clock
	fixQuiet  = plcStep             // error that is corrected where nobody hears it
	fixInsert = 25 * millisecondLen // error that is corrected anywhere
	fixDrop   = 30 * millisecondLen
	quietBar  = 1e-5 // mean square, -50 dBFS
	smooth    = 5 * millisecondLen
	aheadMax  = 700 * millisecondLen // what the ring holds beside what mixes still read
	missedMax = 50                   // a second of packets

	pcmMax = 120 * millisecondLen * soundChannels // the longest Opus packet
)

func newVoice() (*voice, error) {
	dec, err := codec.NewOpusDecoder(soundChannels)
	if err != nil {
		return nil, err
	}
	return &voice{dec: dec, ring: make([]float32, ringLen*soundChannels), pcm: make([]float32, pcmMax)}, nil
}

func (v *voice) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dec.Close()
	v.dec, v.live = nil, false
}

var errTooLate = errors.New("sound is too late or too early to be heard")

// push takes one packet; lost tells that packets before it are missing. delay is the
// person's, now the mix's time.
func (v *voice) push(packet []byte, pts, delay, now time.Duration, lost bool) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	pos := samplesOf(pts) + v.shift
	if v.live {
		switch gap := pos - v.next; {
		case gap < -ringLen || gap > ringLen:
			v.live = false // another timeline
		case gap < 0 && pos+v.frame <= v.next:
			return nil // a copy of what was heard
		case gap >= lossMin && lost:
			v.fillLost(gap-v.plc, packet)
		case gap >= lossMin:
			v.conceal(gap - v.plc) // the decoder knows the pause's noise
		}
	}
	n, err := v.dec.Decode(v.pcm, packet)
	if err != nil {
		v.torn = true
		return err
	}
	v.frame = int64(n)
	want := pos + samplesOf(delay)
	if err := v.inTime(want, now); err != nil {
		return err
	}
	if !v.live {
		v.skipTo(max(want, v.read))
		v.live, v.torn = true, true
	}
	v.place(want, v.pcm[:n*soundChannels])
	v.next = pos + v.frame
	v.plc = 0
	return nil
}

// inTime refuses what nobody will hear. When all that comes is refused, the
// PTS are wrong, not the network: they are shifted to the clock.
func (v *voice) inTime(want int64, now time.Duration) error {
	ahead := want - samplesOf(now)
	v.torn = v.torn || ahead+v.frame <= 0 || ahead >= aheadMax
	if ahead+v.frame > 0 && ahead < aheadMax {
		v.missed = 0
		return nil
	}
	if v.missed++; v.missed >= missedMax {
		v.missed, v.live = 0, false
		v.shift -= ahead - samplesOf(startDelay)
	}
	return errTooLate
}

// fillLost stands in for lost samples before packet: the last frame from the
// packet's own redundancy, what is before it by concealment.
func (v *voice) fillLost(lost int64, packet []byte) {
	lost = (lost + plcStep/2) / plcStep * plcStep
	if lost > plcMax {
		v.conceal(lost)
		return
	}
	if lost > v.frame {
		v.conceal(lost - v.frame)
		lost = v.frame
	}
	if lost <= 0 || !v.live {
		return
	}
	n, err := v.dec.Recover(v.pcm, packet, int(lost))
	if err != nil {
		v.conceal(lost)
		return
	}
	v.append(v.pcm[:n*soundChannels])
}

// conceal continues the sound for at least n samples, fading out; at plcMax
// the voice falls silent.
func (v *voice) conceal(n int64) {
	n = min((n+plcStep-1)/plcStep*plcStep, plcMax-v.plc)
	if n > 0 {
		if _, err := v.dec.Conceal(v.pcm, int(n)); err != nil {
			v.live = false
			return
		}
		pcm := v.pcm[:n*soundChannels]
		v.join(pcm)
		for i := range pcm {
			left := plcMax - v.plc - int64(i)/soundChannels
			if left < plcFade {
				pcm[i] *= float32(left) / plcFade
			}
		}
		v.append(pcm)
		v.plc += n
	}
	if v.plc >= plcMax {
		v.live = false
	}
}

// place appends a packet that belongs at want, and corrects what is between.
func (v *voice) place(want int64, pcm []float32) {
	switch diff := want - v.end; {
	case diff > fixQuiet && v.quietTail():
		v.skipTo(want)
	case diff > fixInsert:
		v.plc = 0
		v.conceal(diff)
		v.live = true
		v.skipTo(want)
	case diff < -fixQuiet && meanSquare(pcm) < quietBar, diff < -fixDrop:
		drop := min(-diff*soundChannels, int64(len(pcm)))
		pcm = pcm[drop:]
		v.torn = true
	}
	v.join(pcm)
	v.append(pcm)
}

// join bends the first 5 ms of torn sound so that it starts where the ring ends.
func (v *voice) join(pcm []float32) {
	n := min(len(pcm)/soundChannels, smooth)
	if !v.torn || n == 0 {
		return
	}
	v.torn = false
	for c, last := range v.at(v.end - 1) {
		step := last - pcm[c]
		for i := range n {
			pcm[i*soundChannels+c] += step * float32(n-i) / float32(n)
		}
	}
}

func (v *voice) quietTail() bool {
	const n = 10 * millisecondLen
	var sum float64
	for i := v.end - n; i < v.end; i++ {
		sum += meanSquare(v.at(i))
	}
	return sum/n < quietBar
}

// at is the ring's sample at a mix position.
func (v *voice) at(pos int64) []float32 {
	i := (pos%ringLen + ringLen) % ringLen * soundChannels
	return v.ring[i : i+soundChannels]
}

func (v *voice) append(pcm []float32) {
	for len(pcm) > 0 {
		i := int((v.end%ringLen + ringLen) % ringLen * soundChannels)
		n := copy(v.ring[i:], pcm)
		pcm = pcm[n:]
		v.end += int64(n / soundChannels)
	}
}

// skipTo writes silence up to pos.
func (v *voice) skipTo(pos int64) {
	if pos-v.end > ringLen {
		v.end = pos - ringLen
	}
	for ; v.end < pos; v.end++ {
		v.torn = true
		clear(v.at(v.end))
	}
}

// quantum copies what is heard from mix position from on, len(dst)/2 samples.
func (v *voice) quantum(from int64, dst []float32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	to := from + int64(len(dst)/soundChannels)
	v.read = max(v.read, to)
	if v.live && v.end < to {
		v.conceal(to - v.end)
	}
	v.skipTo(to)
	if from < v.end-ringLen {
		clear(dst) // this mix is a second behind
		return
	}
	for n := 0; n < len(dst); {
		i := int((from%ringLen + ringLen) % ringLen * soundChannels)
		k := copy(dst[n:], v.ring[i:])
		n += k
		from += int64(k / soundChannels)
	}
}
