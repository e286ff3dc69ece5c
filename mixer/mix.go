package mixer

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"braid/media"
	"braid/media/packet"
	"braid/mixer/wire"
)

// Plan is the desired state of a mix.
type Plan struct {
	Users      []UserRef // who takes part; empty: everyone in the channel
	Panes      []Pane
	Background *Image
	Encode     wire.Encode
}

// Seen is a seat of one picture with what was heard from its user.
type Seen struct {
	Seat
	Vol, Vad uint8
}

// Unit is an access unit of a mix. For a picture it says which plan it shows
// (Revision rises with each change) and who is in it.
type Unit struct {
	media.AccessUnit
	Revision uint32
	Seen     []Seen
}

// MixConfig is what NewMix needs.
type MixConfig struct {
	App, Channel string
	Channels     media.Channels
	Plan         Plan
	// Emit gets every access unit, Failed why there are none, both from the
	// worker's goroutine; they must not block.
	Emit   func(*Unit)
	Failed func(reason string)
}

// Mix is a running mix. It survives its worker process.
type Mix struct {
	pool   *Pool
	w      *worker
	cfg    MixConfig
	cancel context.CancelFunc
	ended  chan struct{}
	plans  chan Plan // capacity 1, holds the newest; sent by Update, read by run

	// owned by run
	plan       Plan
	output     uint32
	sent       *wire.Layout
	seats      []Seat
	feeds      map[media.Track]*feed
	people     map[person]*crowd
	pictures   map[string]*picture
	absence    absence
	slateImage uint32 // 0: none
	slateSize  [2]int
	fetched    chan struct{} // capacity 1: an image has come; sent by who fetches, read by run

	mu        sync.Mutex
	revisions map[uint32]*revision // what the last layouts showed
	newest    uint32
	shown     uint32        // the newest revision that came out
	turned    chan struct{} // closed when shown rises
}

// person is one publisher session: its tracks share a clock and a delay.
type person struct {
	channel, user string
	source        media.Source
}

type crowd struct {
	group uint32
	clock *media.Clock
	feeds int
}

// feed is one track on its way to the worker.
type feed struct {
	who    person
	input  uint32
	until  uint32 // the first revision without it; 0: it is wanted
	cancel context.CancelFunc
	ended  chan struct{}
	size   atomic.Uint64 // width<<32 | height of its largest pane; 0: as large as there is
}

func (f *feed) want() (width, height int) {
	v := f.size.Load()
	return int(v >> 32), int(v & 0xffffffff)
}

// picture is a background image: asked for, perhaps already here.
type picture struct {
	id     uint32
	until  uint32 // as a feed's
	here   atomic.Bool
	cancel context.CancelFunc
	ended  chan struct{} // closed when nobody fetches it any more
}

// revision remembers who sat where and which input is each seat's sound.
type revision struct {
	seats []Seat
	audio []uint32
}

const revisionsKept = 32 // a picture comes back within a few frames of its layout

// NewMix starts a mix on the worker of its channel.
func (p *Pool) NewMix(cfg MixConfig) *Mix {
	ctx, cancel := context.WithCancel(p.ctx)
	m := &Mix{
		pool: p, w: p.acquire(cfg.App+"/"+cfg.Channel, pictureGather), cfg: cfg, cancel: cancel,
		ended: make(chan struct{}), plans: make(chan Plan, 1), plan: cfg.Plan,
		feeds: make(map[media.Track]*feed), people: make(map[person]*crowd), pictures: make(map[string]*picture),
		fetched: make(chan struct{}, 1), absence: absence{due: time.NewTimer(time.Hour)},
		revisions: make(map[uint32]*revision), turned: make(chan struct{}),
	}
	m.open()
	go m.run(ctx)
	return m
}

// Update replaces the plan. The picture changes at one frame border; a changed
// Encode starts another encoder without a gap in time.
func (m *Mix) Update(plan Plan) {
	for {
		select {
		case m.plans <- plan:
			return
		case <-m.plans: // an older one that nobody has seen
		}
	}
}

// KeyFrame makes the next picture an IDR.
func (m *Mix) KeyFrame() {
	m.mu.Lock()
	id := m.output
	m.mu.Unlock()
	m.w.keyFrame(id)
}

// Close ends the mix; at most one Emit that was under way is still seen.
func (m *Mix) Close() {
	m.cancel()
	<-m.ended
}

func (m *Mix) open() {
	enc := m.plan.Encode
	id := m.w.openOutput(func(id uint32) any { return &wire.OpenMix{Output: id, Encode: enc} }, m.emit, m.cfg.Failed)
	m.mu.Lock()
	m.output = id
	m.mu.Unlock()
}

func (m *Mix) run(ctx context.Context) {
	defer close(m.ended)
	defer m.shut()
	defer m.absence.due.Stop()
	for {
		changes := m.apply(ctx)
		if !m.wait(ctx, changes) {
			return
		}
	}
}

// wait returns true when something may have changed.
func (m *Mix) wait(ctx context.Context, changes []<-chan struct{}) bool {
	// A handful of channels at most: the mix's own, and those of a cross-channel mix.
	cases := []reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(m.plans)},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(m.fetched)},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(m.absence.due.C)},
	}
	for _, c := range changes {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(c)})
	}
	i, v, _ := reflect.Select(cases)
	if i == 1 {
		old := m.plan.Encode
		m.plan = v.Interface().(Plan)
		m.absence.some = false
		if m.plan.Encode != old {
			was := m.output
			m.open()
			m.sent = nil
			m.w.closeOutput(was)
		}
	}
	return i != 0
}

// apply makes feeds and layout what the plan and the channels ask for.
func (m *Mix) apply(ctx context.Context) (changes []<-chan struct{}) {
	users, changes := m.users()
	present, tracks := m.present(users)
	if m.held(present) {
		return append(changes, m.stay())
	}
	seats := Seats(m.plan.Panes, present)

	want := make(map[media.Track]person)
	audio := make(map[UserRef]media.Track)
	video := make(map[UserRef]media.Track)
	for _, ref := range present {
		t := tracks[ref]
		if t.audio != nil && ref.Type != VideoOnly {
			want[t.audio], audio[ref] = ref.person(), t.audio
		}
	}
	if m.plan.Encode.Width > 0 {
		for _, s := range seats {
			if s.User != nil && tracks[*s.User].video != nil {
				want[tracks[*s.User].video], video[*s.User] = s.User.person(), tracks[*s.User].video
			}
		}
	}
	for t, who := range want {
		if m.feeds[t] == nil {
			m.feeds[t] = m.feed(ctx, t, who)
		}
	}
	m.layout(ctx, seats, present, audio, video)
	return append(changes, m.leave(want))
}

// leave drops the feeds and the images that nobody wants, each as soon as a
// picture without it is out: until then the worker still shows it.
func (m *Mix) leave(want map[media.Track]person) (shown <-chan struct{}) {
	m.mu.Lock()
	last, shown := m.shown, m.turned
	m.mu.Unlock()
	for t, f := range m.feeds {
		if _, ok := want[t]; ok {
			f.until = 0
			continue
		}
		if f.until == 0 {
			f.until = m.sent.Revision
		}
		if last >= f.until || m.plan.Encode.Width == 0 {
			m.drop(t, f)
		}
	}
	for url, p := range m.pictures {
		if m.plan.shows(url) {
			p.until = 0
			continue
		}
		if p.until == 0 {
			p.until = m.sent.Revision
		}
		if last >= p.until || m.plan.Encode.Width == 0 {
			m.forget(url, p)
		}
	}
	return shown
}

// shows tells whether the image behind a URL is part of the plan.
func (p *Plan) shows(url string) bool {
	return p.Background != nil && p.Background.URL == url ||
		slices.ContainsFunc(p.Panes, func(pane Pane) bool { return pane.Background == url })
}

func (r *UserRef) person() person { return person{r.Channel, r.User, r.Source} }

// users are the users of each channel that the plan names.
func (m *Mix) users() (map[string][]*media.User, []<-chan struct{}) {
	names := map[string]bool{"": true}
	for _, r := range m.plan.Users {
		names[r.Channel] = true
	}
	for _, p := range m.plan.Panes {
		if p.User != nil {
			names[p.User.Channel] = true
		}
	}
	changes := []<-chan struct{}{m.cfg.Channels.ChannelsChanged()}
	users := make(map[string][]*media.User)
	for name := range names {
		channel := name
		if channel == "" {
			channel = m.cfg.Channel
		}
		if c, ok := m.cfg.Channels.Channel(m.cfg.App, channel); ok {
			changes = append(changes, c.Changed())
			users[name] = c.Users()
		}
	}
	return users, changes
}

type pair struct{ audio, video media.Track }

// present lists the plan's streams that are being published, in join order.
func (m *Mix) present(users map[string][]*media.User) ([]UserRef, map[UserRef]pair) {
	refs := m.plan.Users
	if len(refs) == 0 {
		for _, u := range users[""] {
			refs = append(refs, UserRef{User: u.ID, Source: media.Camera})
		}
		for _, p := range m.plan.Panes { // screen shares and guests take part when a pane shows them
			if p.User != nil && (p.User.Source == media.ShareScreen || p.User.Channel != "") {
				refs = append(refs, *p.User)
			}
		}
	} else {
		refs = inJoinOrder(refs, users)
	}
	var present []UserRef
	tracks := make(map[UserRef]pair)
	for _, ref := range refs {
		for _, u := range users[ref.Channel] {
			p := pair{audio: u.Audio, video: u.VideoTrack(ref.Source)}
			if ref.Source == media.ShareScreen {
				p.audio = u.ScreenAudio
			}
			if _, again := tracks[ref]; u.ID == ref.User && !again && (p.audio != nil || p.video != nil) {
				present = append(present, ref)
				tracks[ref] = p
			}
		}
	}
	return present, tracks
}

// inJoinOrder sorts listed users as they joined; those of other channels follow.
func inJoinOrder(refs []UserRef, users map[string][]*media.User) []UserRef {
	var sorted []UserRef
	for _, u := range users[""] {
		for _, r := range refs {
			if r.Channel == "" && r.User == u.ID {
				sorted = append(sorted, r)
			}
		}
	}
	for _, r := range refs {
		if r.Channel != "" {
			sorted = append(sorted, r)
		}
	}
	return sorted
}

// layout tells the worker the picture's plan if it is a new one.
func (m *Mix) layout(ctx context.Context, seats []Seat, present []UserRef, audio, video map[UserRef]media.Track) {
	input := func(t media.Track) uint32 {
		if f := m.feeds[t]; t != nil && f != nil {
			return f.input
		}
		return 0
	}
	image := func(url string) uint32 { return m.image(ctx, url) }
	l := &wire.Layout{Output: m.output, BackgroundFit: wire.FitInside}
	l.Panes = rects(seats, m.plan.Encode.Width, m.plan.Encode.Height,
		func(r *UserRef) uint32 { return input(video[*r]) }, image)
	m.fit(l.Panes)
	if b := m.plan.Background; b != nil {
		l.Background = image(b.URL)
		if b.Crop {
			l.BackgroundFit = wire.FitCrop
		}
	}
	if len(present) == 0 && m.plan.Encode.Width > 0 {
		m.blank(l)
	}
	for _, ref := range present {
		if id := input(audio[ref]); id != 0 {
			l.Audio = append(l.Audio, id)
		}
	}
	if m.sent != nil {
		l.Revision = m.sent.Revision
		if reflect.DeepEqual(l, m.sent) && reflect.DeepEqual(seats, m.seats) {
			return
		}
	}
	sounds := make([]uint32, len(seats))
	for i, s := range seats {
		if s.User != nil {
			sounds[i] = input(audio[*s.User])
		}
	}
	m.mu.Lock()
	m.newest++
	l.Revision = m.newest
	m.revisions[l.Revision] = &revision{seats: seats, audio: sounds}
	delete(m.revisions, l.Revision-revisionsKept)
	m.mu.Unlock()
	m.sent, m.seats = l, seats
	m.w.setLayout(l)
}

// fit lets each feed bring pictures as large as its largest pane, which are cheaper
// to decode and need less scaling. A feed without a pane keeps its size: it may
// get one back.
func (m *Mix) fit(panes []wire.Pane) {
	for _, f := range m.feeds {
		width, height := 0, 0
		for _, p := range panes {
			if p.Input == f.input {
				width, height = max(width, p.W), max(height, p.H)
			}
		}
		if width > 0 {
			f.size.Store(uint64(width)<<32 | uint64(height))
		}
	}
}

// feed starts to read a track into the worker.
func (m *Mix) feed(ctx context.Context, t media.Track, who person) *feed {
	c := m.people[who]
	if c == nil {
		c = &crowd{group: m.w.newID(), clock: new(media.Clock)}
		m.people[who] = c
	}
	c.feeds++
	f := &feed{who: who, ended: make(chan struct{}), input: m.w.openInput(wire.OpenInput{Group: c.group, Codec: t.Codec()}, t.RequestKeyFrame)}
	ctx, f.cancel = context.WithCancel(ctx)
	r := &packet.Reader{
		Track: t, Clock: c.clock.Track(t.Codec().ClockRate(), t.Report), Zero: m.pool.zero, Want: f.want,
		Emit: func(au *media.AccessUnit, fr *packet.Frame) { m.w.media(f.input, au, fr.Lost) },
	}
	go func() {
		defer close(f.ended)
		r.Run(ctx)
	}()
	return f
}

func (m *Mix) drop(t media.Track, f *feed) {
	f.cancel()
	<-f.ended
	m.w.closeInput(f.input)
	delete(m.feeds, t)
	if c := m.people[f.who]; c.feeds > 1 {
		c.feeds--
	} else {
		delete(m.people, f.who)
	}
}

// image gives the id of a background image and fetches it on first sight. What
// cannot be had is tried again after a while: a task may outlive an outage.
func (m *Mix) image(ctx context.Context, url string) uint32 {
	if p := m.pictures[url]; p != nil {
		return p.id
	}
	p := &picture{id: m.w.newID(), ended: make(chan struct{})}
	ctx, p.cancel = context.WithCancel(ctx)
	m.pictures[url] = p
	m.pool.wg.Go(func() {
		defer close(p.ended)
		for wait := time.Second; ctx.Err() == nil; wait = min(2*wait, time.Minute) {
			file, err := m.pool.cfg.Fetch(ctx, url)
			if err == nil && len(file) > wire.MaxImage {
				err = fmt.Errorf("%d bytes, at most %d: %w", len(file), wire.MaxImage, media.ErrLimit)
			}
			if err == nil {
				m.w.setImage(p.id, file)
				p.here.Store(true)
				select {
				case m.fetched <- struct{}{}:
				default: // run has not looked since the last one
				}
				return
			}
			m.w.log.Warn("background image", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
	})
	return p.id
}

func (m *Mix) forget(url string, p *picture) {
	p.cancel()
	<-p.ended
	m.w.setImage(p.id, nil)
	delete(m.pictures, url)
}

// emit dresses what the worker made.
func (m *Mix) emit(o *wire.Output) {
	u := &Unit{AccessUnit: *accessUnit(o), Revision: o.Revision}
	if o.Codec.Video() {
		m.mu.Lock()
		rev := m.revisions[o.Revision]
		if o.Revision > m.shown {
			m.shown = o.Revision
			close(m.turned)
			m.turned = make(chan struct{})
		}
		m.mu.Unlock()
		u.Seen = rev.seen(o.Levels)
	}
	m.cfg.Emit(u)
}

func (r *revision) seen(levels []wire.Level) []Seen {
	if r == nil {
		return nil
	}
	seen := make([]Seen, len(r.seats))
	for i, s := range r.seats {
		seen[i].Seat = s
		for _, l := range levels {
			if l.Input == r.audio[i] && l.Input != 0 {
				seen[i].Vol, seen[i].Vad = l.Vol, l.Vad
			}
		}
	}
	return seen
}

func (m *Mix) shut() {
	m.w.closeOutput(m.output)
	for t, f := range m.feeds {
		m.drop(t, f)
	}
	for url, p := range m.pictures {
		m.forget(url, p)
	}
	m.dropSlate()
	m.pool.release(m.w)
}
