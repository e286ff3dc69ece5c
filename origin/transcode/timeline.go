package transcode

import (
	"slices"
	"time"

	"braid/media"
	"braid/media/h264"
	"braid/media/h265"
	"braid/sei"
)

// timelineMax bounds the pictures under way: half a minute of an encoder that hangs.
const timelineMax = 1800

// moment is a picture that was given to the encoders.
type moment struct {
	pts time.Duration
	at  time.Time // when
	sei [][]byte  // H.264 NAL units with what it carries beside the picture
}

// timeline is the pictures under way, by PTS; B-frames come in another order.
type timeline []moment

func (t *timeline) add(au *media.AccessUnit, now time.Time) {
	m := moment{pts: au.PTS, at: now, sei: carried(au)}
	i := len(*t)
	for i > 0 && (*t)[i-1].pts > m.pts {
		i--
	}
	*t = slices.Insert(*t, i, m)
	if len(*t) > timelineMax {
		*t = slices.Delete(*t, 0, len(*t)-timelineMax)
	}
}

// between is what pictures after one time, up to another, carry.
func (t timeline) between(after, upto time.Duration) (units [][]byte) {
	for _, m := range t {
		if m.pts > after && m.pts <= upto {
			units = append(units, m.sei...)
		}
	}
	return units
}

// oldest is when the first picture after a time was given to the encoders.
func (t timeline) oldest(after time.Duration) (at time.Time, ok bool) {
	for _, m := range t {
		if m.pts > after {
			return m.at, true
		}
	}
	return time.Time{}, false
}

// forget drops what all have behind them.
func (t *timeline) forget(upto time.Duration) {
	n := 0
	for n < len(*t) && (*t)[n].pts <= upto {
		n++
	}
	*t = slices.Delete(*t, 0, n)
}

// carried is the SEI of a picture that is not about its coding: user data, registered
// (captions, payload type 4) and unregistered (5), and what tasks number themselves
// (100 to 254). H.265 has the same payloads in prefix SEI (its type 39, clause D.2).
func carried(au *media.AccessUnit) (units [][]byte) {
	for _, u := range au.Units {
		nal := u
		switch {
		case au.Codec == media.H264 && len(u) > 0 && h264.Type(u) == h264.TypeSEI:
		case au.Codec == media.H265 && len(u) > 2 && h265.Type(u) == h265PrefixSEI:
			nal = append([]byte{h264.TypeSEI}, u[2:]...)
		default:
			continue
		}
		msgs, err := sei.Parse(nal)
		if err != nil {
			continue
		}
		msgs = slices.DeleteFunc(msgs, func(m sei.Message) bool { return m.Type != 4 && m.Type != 5 && (m.Type < 100 || m.Type > 254) })
		if len(msgs) > 0 {
			units = append(units, sei.AppendNAL(nil, msgs...))
		}
	}
	return units
}

const h265PrefixSEI = 39

// frameRate is how many pictures a second there are, 1 to 60, by their times.
func frameRate(head []*media.AccessUnit) int {
	var times []time.Duration
	for _, au := range head {
		times = append(times, au.PTS)
	}
	slices.Sort(times)
	var steps []time.Duration
	for i := 1; i < len(times); i++ {
		steps = append(steps, times[i]-times[i-1])
	}
	// The mean of the inner steps: a gap, as after a lost picture, is not the rate.
	if len(steps) == 0 {
		return 30
	}
	slices.Sort(steps)
	inner := steps[len(steps)/4 : max(len(steps)*3/4, len(steps)/4+1)]
	sum := time.Duration(0)
	for _, s := range inner {
		sum += s
	}
	if sum <= 0 {
		return 30
	}
	fps := int((time.Duration(len(inner))*time.Second + sum/2) / sum)
	return min(max(fps, 1), 60)
}

// sizeOf is the size of a key frame's pictures, 1280x720 when it does not say.
func sizeOf(au *media.AccessUnit) (width, height int) {
	for _, u := range au.Units {
		switch {
		case au.Codec == media.H264 && len(u) > 0 && h264.Type(u) == h264.TypeSPS:
			if s, err := h264.ParseSPS(u); err == nil {
				return s.Width, s.Height
			}
		case au.Codec == media.H265 && len(u) > 2 && h265.Type(u) == h265.TypeSPS:
			if s, err := h265.ParseSPS(u); err == nil {
				return s.Width, s.Height
			}
		}
	}
	return 1280, 720
}
