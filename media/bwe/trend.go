package bwe

import (
	"math"
	"time"
)

// Numbers of draft-ietf-rmcat-gcc-02 sections 5.2 to 5.5, and of the line fit
// that replaced its Kalman filter in browsers.
const (
	groupSpan   = 5 * time.Millisecond   // packets sent within this are one group
	burstSpan   = 100 * time.Millisecond // what a pause of the path held back, and comes at once, is one group up to this
	trendWindow = 20                     // groups in the fit
	trendSmooth = 0.9                    // weight of the past in the delay that is fitted
	trendGain   = 4.0
	trendMost   = 60 // groups that count for the weight of the trend
	overTime    = 10 * time.Millisecond
	gammaStart  = 12.5
	gammaLeast  = 6.0
	gammaMost   = 600.0
	gammaUp     = 0.0087
	gammaDown   = 0.039
	gammaSkip   = 15.0 // a trend this far above the threshold is an event and does not raise it
)

// usage is what the delay says of the path.
type usage int8

const (
	normal usage = iota
	under        // queues drain
	over         // queues grow
)

// group is some packets sent together.
type group struct {
	firstSent, lastSent time.Duration
	firstCame, lastCame time.Duration
	packets             int
}

// trend finds out whether delays grow: packets are put into groups, the change
// of delay from group to group is summed, smoothed and fitted with a line, and
// its slope is held against a threshold that adapts to the path.
type trend struct {
	now, before group
	reordered   int

	sum, smooth float64 // ms
	x, y        [trendWindow]float64
	groups      int
	origin      time.Duration // arrival of the first group

	gamma    float64
	adapted  time.Duration // when gamma was, on the receiver's clock
	overFor  time.Duration
	overRuns int
	last     float64
	state    usage
}

func (t *trend) reset() { *t = trend{gamma: t.gamma} }

// add takes a packet that arrived; packets come in the order they were sent.
func (t *trend) add(sent, came time.Duration) {
	g := &t.now
	if g.packets > 0 && sent < g.firstSent {
		return
	}
	if g.packets == 0 || !g.takes(sent, came) {
		if g.packets > 0 && t.before.packets > 0 {
			t.between()
		}
		if g.packets > 0 {
			t.before = *g
		}
		*g = group{firstSent: sent, lastSent: sent, firstCame: came, lastCame: came, packets: 1}
		return
	}
	g.lastSent = max(g.lastSent, sent)
	g.lastCame = max(g.lastCame, came)
	g.packets++
}

func (g *group) takes(sent, came time.Duration) bool {
	if sent-g.firstSent <= groupSpan {
		return true
	}
	dcame, dsent := came-g.lastCame, sent-g.lastSent
	return dcame-dsent < 0 && dcame <= groupSpan && came-g.firstCame < burstSpan
}

// between takes the change from the group before to the one that is complete.
func (t *trend) between() {
	dsent, dcame := t.now.lastSent-t.before.lastSent, t.now.lastCame-t.before.lastCame
	if dcame < 0 { // groups overtook each other: the delay of one of them says nothing
		if t.reordered++; t.reordered >= 3 {
			t.reset()
		}
		return
	}
	t.reordered = 0
	t.fit(float64(dcame-dsent)/1e6, t.now.lastCame)
	t.judge(dsent, t.now.lastCame)
}

// fit adds a change of delay in ms.
func (t *trend) fit(change float64, came time.Duration) {
	if t.groups == 0 {
		t.origin = came
	}
	t.sum += change
	t.smooth = trendSmooth*t.smooth + (1-trendSmooth)*t.sum
	t.x[t.groups%trendWindow] = float64(came-t.origin) / 1e6
	t.y[t.groups%trendWindow] = t.smooth
	t.groups++
}

// slope is that of the line with the least squares; 0 until the window is full.
func (t *trend) slope() float64 {
	if t.groups < trendWindow {
		return 0
	}
	var mx, my float64
	for i := range trendWindow {
		mx += t.x[i] / trendWindow
		my += t.y[i] / trendWindow
	}
	var num, den float64
	for i := range trendWindow {
		num += (t.x[i] - mx) * (t.y[i] - my)
		den += (t.x[i] - mx) * (t.x[i] - mx)
	}
	if den == 0 {
		return 0
	}
	return num / den
}

// judge compares the trend with the threshold.
func (t *trend) judge(dsent, came time.Duration) {
	if t.gamma == 0 {
		t.gamma = gammaStart
	}
	slope := t.slope()
	height := float64(min(t.groups, trendMost)) * slope * trendGain
	switch {
	case height > t.gamma:
		if t.overRuns == 0 {
			t.overFor = dsent / 2
		} else {
			t.overFor += dsent
		}
		t.overRuns++
		if t.overFor > overTime && t.overRuns > 1 && slope >= t.last {
			t.overFor, t.overRuns = 0, 0
			t.state = over
		}
	case height < -t.gamma:
		t.overFor, t.overRuns = 0, 0
		t.state = under
	default:
		t.overFor, t.overRuns = 0, 0
		t.state = normal
	}
	t.last = slope
	t.adapt(height, came)
}

// adapt moves the threshold to the trend: up when the path is nervous or others
// fill the queue, down when it is calm.
func (t *trend) adapt(height float64, came time.Duration) {
	height = math.Abs(height)
	dt := min(came-t.adapted, 100*time.Millisecond)
	t.adapted = came
	if height > t.gamma+gammaSkip || dt <= 0 {
		return
	}
	k := gammaDown
	if height > t.gamma {
		k = gammaUp
	}
	t.gamma = min(max(t.gamma+k*(height-t.gamma)*float64(dt)/1e6, gammaLeast), gammaMost)
}
