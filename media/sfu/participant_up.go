package sfu

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"braid/event"
	"braid/media"
)

// maxSections bounds the media sections of a connection. Browsers keep those of
// what has ended, and use them again.
const maxSections = 32

// upPatience is how long a failed connection may take to come back by an ICE
// restart, before what was published on it ends.
const upPatience = 20 * time.Second

// up is the connection that a participant publishes on.
type up struct {
	mu     sync.Mutex // one negotiation at a time
	closed bool
	pc     *webrtc.PeerConnection // nil before the first offer
	engine *webrtc.MediaEngine    // of pc
	codecs map[string]codec       // by mid: a section keeps the codec that it began with
	known  map[string]bool        // mids that were negotiated
	stale  map[string]bool        // mids that may still bring what was dropped
	failed func() bool            // takes back the end of a failed connection; nil while it is fine

	live   sync.Mutex           // for what follows; nothing is called with it held
	tracks map[string]published // by mid
	pubs   map[media.Source]*publication
	state  webrtc.PeerConnectionState
}

// published is what one section carries.
type published struct {
	source Source
	track  *track
}

func (u *up) init() {
	u.tracks, u.pubs = map[string]published{}, map[media.Source]*publication{}
	u.codecs, u.known, u.stale = map[string]codec{}, map[string]bool{}, map[string]bool{}
}

// Offer answers the client's offer for up. tracks says what its active sections
// carry; a section that is not named is answered inactive. What an earlier
// offer named and this one does not, ends. New ICE credentials restart ICE.
//
// Of each section the first known codec is taken, as by Publish.
//
// Errors as Publish; after one nothing has changed, unless the connection had to
// be given up, which ends all that was published.
func (p *Participant) Offer(ctx context.Context, sdp string, tracks []OfferedTrack) (answer string, err error) {
	o, err := readOffer(sdp, participating)
	if err != nil {
		return "", fmt.Errorf("sfu: %w", err)
	}
	u := &p.up
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed || p.session.stopped() {
		return "", p.closed()
	}
	next, err := u.plan(o, tracks)
	if err != nil {
		return "", fmt.Errorf("sfu: %w", err)
	}
	if err := u.open(p, o); err != nil {
		return "", err
	}
	was := u.set(next) // before the answer: packets may come at once
	answer, err = u.negotiate(ctx, p, o)
	if err != nil {
		u.set(was)
		if u.pc.SignalingState() != webrtc.SignalingStateStable || u.pc.ConnectionState() == webrtc.PeerConnectionStateNew {
			u.abandon(p)
		}
		return "", err
	}
	for mid, t := range was {
		if next[mid].track != t.track {
			t.track.end()
		}
	}
	clear(u.stale)
	return answer, u.publish(p)
}

// plan matches an offer's sections with what they are said to carry.
func (u *up) plan(o *offer, tracks []OfferedTrack) (map[string]published, error) {
	if len(o.sections) > maxSections {
		return nil, fmt.Errorf("%w: the offer has %d media sections, at most %d are taken", ErrUnsupported, len(o.sections), maxSections)
	}
	named := map[string]Source{}
	for i, t := range tracks {
		if !t.Source.Valid() {
			return nil, fmt.Errorf("%w: tracks[%d].source is none of %v", media.ErrInvalid, i, sources)
		}
		for mid, s := range named {
			if mid == t.MID || s == t.Source {
				return nil, fmt.Errorf("%w: tracks[%d] repeats mid %.40q or source %s", media.ErrInvalid, i, t.MID, t.Source)
			}
		}
		named[t.MID] = t.Source
	}
	was := u.sections()
	next := map[string]published{}
	var active []*section
	for _, sec := range o.sections {
		mid, _ := sec.desc.Attribute("mid")
		source, ok := named[mid]
		delete(named, mid)
		if ok && !sec.active {
			return nil, fmt.Errorf("%w: tracks name mid %.40q, which is inactive", media.ErrInvalid, mid)
		}
		c, err := u.choose(sec, mid)
		if sec.active = ok; !ok {
			continue
		}
		active = append(active, sec)
		switch {
		case err != nil:
			return nil, err
		case source.kind() != sec.kind:
			return nil, fmt.Errorf("%w: mid %.40q is %s, which %s is not", media.ErrInvalid, mid, sec.kind, source)
		}
		if t := was[mid]; t.track != nil && t.source == source {
			next[mid] = t
		} else {
			next[mid] = published{source, newTrack(c, sec.rids...)}
		}
	}
	for mid := range named {
		return nil, fmt.Errorf("%w: tracks name mid %.40q, which the offer lacks", media.ErrInvalid, mid)
	}
	if len(active) > 1 {
		return next, o.bundled(active)
	}
	return next, nil
}

// choose takes one codec of a section, the one it had before if any.
func (u *up) choose(sec *section, mid string) (codec, error) {
	if len(sec.codecs) == 0 {
		return codec{}, fmt.Errorf("%w: no %s codec of the offer is known here (offered: %s; known: %s)",
			ErrUnsupported, sec.kind, sec.names, knownCodecs(sec.kind))
	}
	c := sec.codecs[0]
	if had, ok := u.codecs[mid]; ok {
		i := slices.IndexFunc(sec.codecs, func(o codec) bool { return o.payload == had.payload && o.name == had.name })
		if i < 0 {
			return codec{}, fmt.Errorf("%w: mid %.40q began with %s and offers it no more", ErrUnsupported, mid, had)
		}
		c = sec.codecs[i]
	}
	sec.take(c)
	return c, nil
}

// open makes the connection, or teaches it the codecs of an offer.
func (u *up) open(p *Participant, o *offer) error {
	engine := u.engine
	if u.pc == nil {
		engine = &webrtc.MediaEngine{}
	}
	for _, sec := range o.sections {
		mid, _ := sec.desc.Attribute("mid")
		for _, c := range sec.taken {
			if err := register(engine, c); err != nil {
				return fmt.Errorf("sfu: %w: payload type %d of %s means something else in another media section", media.ErrInvalid, c.payload, c)
			}
			u.codecs[mid] = c
		}
	}
	if u.pc != nil {
		return nil
	}
	pc, err := p.session.peerOf(engine)
	if err != nil {
		return err
	}
	pc.OnTrack(func(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) { u.receive(p, pc, remote, receiver) })
	pc.OnConnectionStateChange(func(webrtc.PeerConnectionState) { p.poke() })
	u.pc, u.engine = pc, engine
	return nil
}

// negotiate answers an offer. Sections that still bring what was dropped are
// taken as inactive first, so that Pion begins them anew.
func (u *up) negotiate(ctx context.Context, p *Participant, o *offer) (answer string, err error) {
	var again []*section
	for _, sec := range o.sections {
		if mid, _ := sec.desc.Attribute("mid"); u.stale[mid] && sec.active {
			again = append(again, sec)
			sec.active = false
		}
	}
	if len(again) > 0 {
		if _, err := u.exchange(ctx, p, o); err != nil {
			return "", err
		}
		for _, sec := range again {
			sec.active = true
		}
	}
	return u.exchange(ctx, p, o)
}

func (u *up) exchange(ctx context.Context, p *Participant, o *offer) (answer string, err error) {
	for _, sec := range o.sections {
		mid, _ := sec.desc.Attribute("mid")
		sec.known = u.known[mid]
	}
	offer, err := o.reduced()
	if err != nil {
		return "", fmt.Errorf("sfu: %w: write the offer: %w", media.ErrInvalid, err)
	}
	if err := u.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", fmt.Errorf("sfu: %w: read the offer: %w", media.ErrInvalid, err)
	}
	desc, err := u.pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("sfu: make the answer: %w", err)
	}
	if answer, err = p.gathered(ctx, u.pc, desc, offer); err != nil {
		return "", err
	}
	for _, sec := range o.sections {
		mid, _ := sec.desc.Attribute("mid")
		u.known[mid] = true
	}
	return answer, nil
}

// set swaps what the sections carry.
func (u *up) set(next map[string]published) (was map[string]published) {
	u.live.Lock()
	defer u.live.Unlock()
	was, u.tracks = u.tracks, next
	return was
}

// sections is what the sections carry; the map is immutable.
func (u *up) sections() map[string]published {
	u.live.Lock()
	defer u.live.Unlock()
	return u.tracks
}

// track is what is published as a source; nil for nothing.
func (u *up) track(s Source) *track {
	for _, t := range u.sections() {
		if t.source == s {
			return t.track
		}
	}
	return nil
}

// receive is Pion's callback for the first packet of a stream.
func (u *up) receive(p *Participant, pc *webrtc.PeerConnection, remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	mid := ""
	for _, t := range pc.GetTransceivers() {
		if t.Receiver() == receiver {
			mid = t.Mid()
		}
	}
	t := u.sections()[mid]
	if t.track != nil {
		p.session.take(pc, t.track, remote, receiver)
	}
}

// publish tells the directory what is published now.
func (u *up) publish(p *Participant) error {
	for _, source := range []media.Source{media.Camera, media.ShareScreen} {
		next := &publication{session: p.session, source: source, ended: make(chan struct{})}
		u.live.Lock()
		for _, t := range u.tracks {
			switch {
			case t.source.Of() != source:
			case t.source.Video():
				next.video = t.track
			default:
				next.audio = t.track
			}
		}
		was := u.pubs[source]
		u.live.Unlock()
		if next.audio == nil && next.video == nil {
			next = nil
		}
		if was == nil && next == nil || was != nil && next != nil && was.audio == next.audio && was.video == next.video {
			continue
		}
		replaced, err := p.session.srv.dir.publish(p.session, source, next)
		if err != nil {
			return p.closed()
		}
		if replaced != nil {
			replaced.end(event.Replaced, "replaced by a newer session of the same user")
		}
		u.swap(source, next)
	}
	return nil
}

// swap ends a publication, so that those who watch it by WHEP come anew: they
// cannot be given other tracks.
func (u *up) swap(source media.Source, next *publication) {
	u.live.Lock()
	was := u.pubs[source]
	if next == nil {
		delete(u.pubs, source)
	} else {
		u.pubs[source] = next
	}
	u.live.Unlock()
	if was != nil {
		close(was.ended)
	}
}

// Unpublish ends a source, whatever its media section goes on to bring, until an
// Offer names it again. The error is media.ErrNotFound when it is not
// published.
func (p *Participant) Unpublish(s Source) error {
	if p.up.drop(p, s) == 0 {
		return fmt.Errorf("sfu: %w: %s is not published", media.ErrNotFound, s)
	}
	return nil
}

// drop ends sources while the connection goes on.
func (u *up) drop(p *Participant, of ...Source) (dropped int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.dropLocked(p, of)
}

func (u *up) dropLocked(p *Participant, of []Source) (dropped int) {
	if u.closed {
		return 0
	}
	next := map[string]published{}
	was := u.sections()
	for mid, t := range was {
		if slices.Contains(of, t.source) {
			u.stale[mid] = true
			dropped++
			continue
		}
		next[mid] = t
	}
	u.set(next)
	if dropped > 0 {
		_ = u.publish(p) // an error: the participant has ended
	}
	for mid, t := range was {
		if next[mid].track == nil {
			t.track.end()
		}
	}
	return dropped
}

// taken clears away a publication whose place another session of the user took.
func (u *up) taken(p *Participant, pub *publication) (lost []Source) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed || u.pubs[pub.source] != pub {
		return nil
	}
	u.swap(pub.source, nil)
	next := map[string]published{}
	was := u.sections()
	for mid, t := range was {
		if t.source.Of() == pub.source {
			u.stale[mid] = true
			lost = append(lost, t.source)
			continue
		}
		next[mid] = t
	}
	u.set(next)
	for mid, t := range was {
		if next[mid].track == nil {
			t.track.end()
		}
	}
	return lost
}

// check looks at the connection's state.
func (u *up) check(p *Participant) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed || u.pc == nil {
		return
	}
	state := u.pc.ConnectionState()
	u.live.Lock()
	u.state = state
	u.live.Unlock()
	switch state {
	case webrtc.PeerConnectionStateClosed: // by the client
		u.abandon(p)
	case webrtc.PeerConnectionStateFailed:
		if u.failed == nil {
			pc := u.pc
			timer := time.AfterFunc(upPatience, func() { u.giveUp(p, pc) })
			u.failed = timer.Stop
		}
	default:
		u.mend()
	}
}

func (u *up) mend() {
	if u.failed != nil {
		u.failed()
		u.failed = nil
	}
}

func (u *up) giveUp(p *Participant, pc *webrtc.PeerConnection) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.closed && u.pc == pc && pc.ConnectionState() == webrtc.PeerConnectionStateFailed {
		p.session.log.Info("the connection to publish on is failed", "for", upPatience)
		u.abandon(p)
	}
}

// abandon ends the connection and all that it carries; the next offer makes
// another.
func (u *up) abandon(p *Participant) {
	u.dropLocked(p, sources[:])
	u.mend()
	pc := u.pc
	u.pc, u.engine = nil, nil
	u.codecs, u.known, u.stale = map[string]codec{}, map[string]bool{}, map[string]bool{}
	p.session.start(func() { p.closePeer(pc) })
}

// close is abandon for good; it returns when the connection has ended.
func (u *up) close(p *Participant) {
	u.mu.Lock()
	u.closed = true
	u.mend()
	pc := u.pc
	u.pc = nil
	u.mu.Unlock()
	for _, source := range []media.Source{media.Camera, media.ShareScreen} {
		u.swap(source, nil)
	}
	for _, t := range u.set(nil) {
		t.track.end()
	}
	p.closePeer(pc)
}
