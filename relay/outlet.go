package relay

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"braid/media"
	"braid/media/flv"
	"braid/media/rtmp"
	"braid/mixer"
	"braid/sei"
)

// settle is how long a single stream that begins with sound or pictures alone waits
// for the other: the tracks of one publisher appear one after the other.
const settle = time.Second

const defaultPayload = 5 // of custom content in a task that was started without SeiParams

// outlet dresses access units with SEI and hands them to the task's pushes.
type outlet struct {
	log    *slog.Logger
	dial   rtmp.Options
	sign   func(url string) string // nil: URLs are dialled as they are
	report *report                 // is told what pushes and workers say
	totals *totals                 // adds up what pushes do; nil: nobody does
	zero   time.Duration           // the PTS at which timestamps are 0

	mu       sync.Mutex
	form     form
	pushes   map[string]*running
	lines    map[string]*Timeline // by URL, over all its pushes
	sei      *SEI
	schedule sei.Schedule
	content  string
	revision uint32
	fresh    bool // the content has changed
	broken   bool // a worker has complained, and it is not over yet
	last     map[bool]time.Duration
	picture  keyPicture
	wg       sync.WaitGroup
}

type running struct {
	push   *Push
	cancel context.CancelFunc
	ended  chan struct{}
}

func newOutlet(log *slog.Logger) *outlet {
	o := &outlet{log: log, pushes: make(map[string]*running), lines: make(map[string]*Timeline), last: make(map[bool]time.Duration)}
	o.report = &report{closed: true}            // until it is given one
	o.schedule.PassThrough = sei.Rule{On: true} // for custom content, until SEI parameters say more
	return o
}

// set makes the pushes what the spec asks for, and the SEI with custom, the
// content of SetLiveMpuTaskSei. A changed form begins every push anew; the zero
// form changes nothing.
func (o *outlet) set(spec *Spec, custom string, f form, needKey func()) {
	o.mu.Lock()
	var old []*running
	o.setSEILocked(spec.SEI, custom)
	if f == (form{}) {
		f = o.form
	}
	first := o.form == form{}
	for url, r := range o.pushes {
		if f != o.form || !slices.Contains(spec.URLs, url) {
			old = append(old, r)
			delete(o.pushes, url)
		}
	}
	for url := range o.lines {
		if !slices.Contains(spec.URLs, url) {
			delete(o.lines, url)
		}
	}
	o.form = f
	o.mu.Unlock()
	stopAll(old)
	if f == (form{}) {
		return
	}
	wait := time.Duration(0)
	if first && spec.Mode == Single && spec.From.Type == Original && (!f.video || f.rate == 0) {
		wait = settle
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, url := range spec.URLs {
		if o.pushes[url] == nil {
			o.pushes[url] = o.start(url, f, needKey, wait)
		}
	}
}

func (o *outlet) start(url string, f form, needKey func(), wait time.Duration) *running {
	log := o.log
	if o.lines[url] == nil {
		o.lines[url] = &Timeline{Zero: o.zero}
	}
	p := NewPush(PushConfig{
		URL: url, Timeline: o.lines[url], Video: f.video, Audio: flv.AudioConfig{SampleRate: f.rate, Channels: f.channels},
		NeedKey: needKey, Log: log, Dial: o.dial, Sign: o.sign,
		State: func(s PushState) {
			if !s.Held {
				log.Info("push", "phase", s.Phase, "reason", s.Reason, "reconnects", s.Reconnects, "dropped", s.Dropped)
			}
			o.report.push(url, s)
			if s.Phase == PhaseWaiting {
				o.totals.lost(s.Reason)
			}
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{push: p, cancel: cancel, ended: make(chan struct{})}
	o.totals.begin(p)
	o.wg.Go(func() {
		defer close(r.ended)
		defer o.totals.end(p)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
			p.Run(ctx)
		}
	})
	return r
}

func stopAll(rs []*running) {
	for _, r := range rs {
		r.cancel()
	}
	for _, r := range rs {
		<-r.ended
	}
}

// setSEILocked sets the rules, and the content: custom, or what comes with the
// rules.
func (o *outlet) setSEILocked(s *SEI, custom string) {
	o.sei, o.schedule.Layout, o.schedule.PassThrough = s, sei.Rule{}, sei.Rule{On: true}
	if s != nil && s.Layout != nil {
		o.schedule.Layout = sei.Rule{On: true, FollowIDR: s.Layout.FollowIDR, Interval: s.Layout.Interval}
	}
	if s != nil && s.PassThrough != nil {
		o.schedule.PassThrough = sei.Rule{On: true, FollowIDR: s.PassThrough.FollowIDR, Interval: s.PassThrough.Interval}
		custom = cmp.Or(custom, s.Content)
	}
	o.fresh = o.fresh || custom != o.content
	o.content = custom
}

// contentAfter is the custom content after an update: what came with the old
// parameters goes with them, and new content replaces it.
func contentAfter(old, next *SEI, custom string) string {
	for _, s := range []*SEI{old, next} {
		if s != nil && s.PassThrough != nil {
			return ""
		}
	}
	return custom
}

// custom sets the content of SetLiveMpuTaskSei, written from the next picture on.
func (o *outlet) custom(content string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.content, o.fresh = content, true
}

// write dresses one access unit and gives it to every push. revision is that
// of the layout which the picture shows; a change is written into this picture.
func (o *outlet) write(au *media.AccessUnit, streams []sei.Stream, revision uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	video := au.Codec.Video()
	if last, ok := o.last[video]; ok && au.PTS <= last {
		// A worker that was started again repeats a moment, or a publisher's first
		// packets were late. Sound can do without a frame; pictures need each other.
		if !video {
			return
		}
		later := *au
		later.PTS = last + time.Millisecond
		au = &later
	}
	o.last[video] = au.PTS
	if o.broken && o.report.flows(time.Now()) {
		o.broken = false
	}
	if video {
		o.picture.see(au)
		au = o.dressLocked(au, streams, revision)
	}
	for _, r := range o.pushes {
		r.push.Write(au)
	}
}

func (o *outlet) dressLocked(au *media.AccessUnit, streams []sei.Stream, revision uint32) *media.AccessUnit {
	rules := o.sei
	if rules == nil {
		rules = &SEI{PayloadType: defaultPayload}
	}
	layout, content := o.schedule.Next(au.PTS, au.Key, revision != o.revision || o.fresh)
	content = content && o.content != ""
	o.revision, o.fresh = revision, false
	if !layout && !content {
		return au
	}
	var l *sei.Layout
	var c *sei.Content
	if layout {
		l = &sei.Layout{Stream: streams}
	}
	if content {
		c = &sei.Content{Key: rules.Key, Text: o.content}
	}
	body := sei.AppendJSON(nil, l, c)
	dressed := *au
	dressed.Units = sei.Insert(au.Units, sei.AppendNAL(nil, sei.User(rules.PayloadType, body)))
	return &dressed
}

// mixStreams lists who is in a mixed picture.
func mixStreams(u *mixer.Unit) []sei.Stream {
	streams := make([]sei.Stream, 0, len(u.Seen))
	for _, s := range u.Seen {
		if s.User == nil {
			continue
		}
		streams = append(streams, sei.Stream{
			UID: s.User.User, PaneID: s.ID, ZOrder: s.ZOrder,
			X: s.X, Y: s.Y, W: s.W, H: s.H, Vol: int(s.Vol), Vad: int(s.Vad),
		})
	}
	return streams
}

// failed is told by a worker that it cannot make the stream; it tries again.
func (o *outlet) failed(reason string) {
	o.log.Warn("media worker cannot make this stream", "reason", reason)
	o.mu.Lock()
	o.broken = true
	o.mu.Unlock()
	o.report.worker(reason, time.Now())
}

// live is the stream's form, and to how many URLs it is sent right now.
func (o *outlet) live() (f form, urls int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.pushes {
		if r.push.State().Phase == PhaseLive {
			urls++
		}
	}
	return o.form, urls
}

func (o *outlet) close() {
	o.mu.Lock()
	var all []*running
	for url, r := range o.pushes {
		all = append(all, r)
		delete(o.pushes, url)
	}
	o.mu.Unlock()
	stopAll(all)
}
