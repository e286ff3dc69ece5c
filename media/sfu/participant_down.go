package sfu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"braid/media"
)

// maxSubscriptions bounds what one participant receives at once.
const maxSubscriptions = 300

// Wanted says how a subscription is wanted.
type Wanted struct {
	Width, Height int  // of the element that shows it, in pixels; 0: as large as there is
	Paused        bool // nothing is sent, and it begins again at once
}

// wanted names a subscription.
type wanted struct {
	user   string
	source Source
}

// subscription is what a participant wants of one source. It is owned by
// Participant.mu.
type subscription struct {
	how     Wanted
	track   *track // nil while it does not flow
	off     bool   // an exception to "all"
	refused *track // the client cannot take this one
}

// down is the connection that a participant receives on. Changes are gathered,
// and there is one offer at a time:
//
//	update ── something to change, nothing unanswered ──→ Offer ──→ Answer ──→ update
type down struct {
	mu      sync.Mutex // owns all that follows
	closed  bool
	pc      *webrtc.PeerConnection // nil before the first subscription
	wire    *wire                  // over pc
	lanes   []*lane
	formats map[string][]string // payload types of the first answer, by kind: Pion takes no others later
	number  int                 // of the newest offer
	waiting bool                // for its answer
	restart bool                // the next offer has new ICE credentials
	offer   Offer
	shows   []show // reused
	limited bool   // the path does not carry all that is wanted
}

// lane is a media section: it carries a source, or waits for another.
type lane struct {
	transceiver *webrtc.RTPTransceiver
	forward     *forward // nil while it is idle
	of          wanted
	how         Wanted
	agreed      bool // the client's answer has it
	free        bool // idle, and the client knows: it may carry another source
	flows       bool // attached
	refused     bool // by an answer: browsers never use the section again
	health      health
}

// downCodecs are what the server offers; a track's own comes first.
func downCodecs() []codec {
	return []codec{
		{name: media.Opus, payload: 111, red: 110, fmtp: "minptime=10;useinbandfec=1"},
		{name: media.VP8, payload: 96, rtx: 97},
		{name: media.H264, payload: 102, rtx: 103, fmtp: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"},
		{name: media.H264, payload: 104, rtx: 105, fmtp: "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f"},
		{name: media.VP9, payload: 98, rtx: 99, fmtp: "profile-id=0"},
		{name: media.VP9, payload: 100, rtx: 101, fmtp: "profile-id=2"},
		{name: media.AV1, payload: 106, rtx: 107, fmtp: "level-idx=5;profile=0;tier=0"},
		// Level 6: what a client's answer has instead is its own affair.
		{name: media.H265, payload: 108, rtx: 109, fmtp: "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST"},
		{name: media.H265, payload: 112, rtx: 113, fmtp: "level-id=180;profile-id=2;tier-flag=0;tx-mode=SRST"},
	}
}

// Subscribe wants a source of a user, or wants it otherwise than before. The
// error is media.ErrNotFound when the user is not in the channel or does not
// publish the source, media.ErrLimit.
func (p *Participant) Subscribe(user string, s Source, how Wanted) error {
	if !s.Valid() || user == p.User() {
		return fmt.Errorf("sfu: %w: source %q of user %s", media.ErrInvalid, s, user)
	}
	if p.session.stopped() {
		return p.closed()
	}
	k := wanted{user, s}
	// The track is looked up with mu not held, so that it may end in between;
	// then see told of it before, and knows the subscription only afterwards.
	for {
		t, _ := p.session.srv.dir.source(p.session.where, user, s)
		p.mu.Lock()
		sub := p.subs[k]
		switch {
		case sub != nil && !sub.off:
		case t == nil:
			p.mu.Unlock()
			return fmt.Errorf("sfu: %w: user %s publishes no %s in the channel", media.ErrNotFound, user, s)
		case sub == nil && len(p.subs) >= maxSubscriptions:
			p.mu.Unlock()
			return fmt.Errorf("sfu: %w: %d subscriptions", media.ErrLimit, maxSubscriptions)
		default:
			sub = &subscription{track: t}
			p.subs[k] = sub
		}
		sub.how, sub.refused = how, nil
		p.mu.Unlock()
		if now, _ := p.session.srv.dir.source(p.session.where, user, s); now == t {
			break
		}
		p.see(user, s, nil)
	}
	p.poke()
	return nil
}

// Unsubscribe wants a source no more. With JoinRequest.SubscribeAll it is an
// exception that lasts until Subscribe or until the user leaves.
func (p *Participant) Unsubscribe(user string, s Source) error {
	if !s.Valid() {
		return fmt.Errorf("sfu: %w: source %q", media.ErrInvalid, s)
	}
	k := wanted{user, s}
	p.mu.Lock()
	_, had := p.subs[k]
	switch {
	case p.all && (had || len(p.subs) < maxSubscriptions):
		p.subs[k] = &subscription{off: true}
	default:
		delete(p.subs, k)
	}
	p.mu.Unlock()
	if !had && !p.all {
		return fmt.Errorf("sfu: %w: %s of user %s is not subscribed", media.ErrNotFound, s, user)
	}
	p.poke()
	return nil
}

// Deafen ends all subscriptions, also those that SubscribeAll would bring.
func (p *Participant) Deafen() {
	p.mu.Lock()
	p.all = false
	clear(p.subs)
	p.mu.Unlock()
	p.poke()
}

// see is told that a source flows on a track, or with nil that it ended. It may
// be called with directory.mu held.
func (p *Participant) see(user string, s Source, t *track) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := wanted{user, s}
	sub := p.subs[k]
	switch {
	case sub == nil && t != nil && p.all && len(p.subs) < maxSubscriptions:
		p.subs[k] = &subscription{track: t}
	case sub == nil || sub.off:
		return
	case t == nil && !p.all:
		delete(p.subs, k) // it was of this publication
	default:
		sub.track = t
	}
	p.poke()
}

// unsee forgets all about a user who has left. It may be called with
// directory.mu held.
func (p *Participant) unsee(user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range p.subs {
		if k.user == user {
			delete(p.subs, k)
		}
	}
}

// wants lists what is to be received now.
func (p *Participant) wants() map[wanted]subscription {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[wanted]subscription{}
	for k, s := range p.subs {
		if !s.off && s.track != nil && s.track != s.refused {
			all[k] = *s
		}
	}
	return all
}

// refuse remembers that the client cannot take a track.
func (p *Participant) refuse(k wanted, t *track) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.subs[k]; s != nil {
		s.refused = t
	}
}

// update brings the connection to what is wanted: pauses at once, the rest by an
// offer, unless one waits for its answer.
func (d *down) update(p *Participant) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	if d.pc != nil && d.pc.ConnectionState() == webrtc.PeerConnectionStateClosed { // by the client
		d.dropLocked(p)
	}
	want := p.wants()
	d.flowLocked(want)
	if d.waiting {
		return
	}
	changed := d.removeLocked(want)
	added, err := d.addLocked(p, want)
	if err == nil && (changed || added || d.restart && d.pc != nil) {
		err = d.offerLocked(p)
	}
	if err != nil {
		p.session.log.Warn("offer to receive", "err", err)
		d.dropLocked(p)
	}
}

// flowLocked attaches and detaches what was agreed, as pauses and ends say.
func (d *down) flowLocked(want map[wanted]subscription) {
	for _, s := range d.lanes {
		if s.forward == nil || !s.agreed {
			continue
		}
		sub, ok := want[s.of]
		flows := ok && sub.track == s.forward.track && !sub.how.Paused
		s.how = sub.how
		switch {
		case flows && !s.flows:
			s.forward.open()
		case !flows && s.flows:
			s.forward.aim(nil)
			s.health.forget()
		}
		s.flows = flows
	}
}

// steerDown gives the client the layers that fit.
func (p *Participant) steerDown(now time.Time) {
	d := &p.down
	if !d.mu.TryLock() { // at an offer or an answer; next time
		return
	}
	defer d.mu.Unlock()
	if d.wire == nil {
		return
	}
	speaker := p.room.speaker.Load()
	d.shows, d.limited = d.shows[:0], false
	sound := 0.0
	for _, s := range d.lanes {
		switch {
		case !s.flows:
		case !s.of.source.Video():
			sound += s.forward.sound()
		default:
			rank := rankOther
			if s.of.source == ShareScreen {
				rank = rankScreen
			} else if speaker != nil && s.of.user == *speaker {
				rank = rankSpeaker
			}
			d.shows = append(d.shows, show{s.forward, s.how, rank})
		}
	}
	d.limited = d.wire.share(now, d.shows, sound)
}

// removeLocked makes lanes idle whose source is not wanted.
func (d *down) removeLocked(want map[wanted]subscription) (changed bool) {
	for _, s := range d.lanes {
		if s.forward == nil {
			continue
		}
		if sub, ok := want[s.of]; ok && sub.track == s.forward.track {
			continue
		}
		d.idleLocked(s)
		changed = true
	}
	return changed
}

func (d *down) idleLocked(s *lane) {
	if s.flows {
		s.forward.aim(nil)
		s.flows = false
	}
	_ = d.pc.RemoveTrack(s.transceiver.Sender()) // fails only on a connection that is closed
	s.forward, s.agreed = nil, false
	s.health.forget()
}

// addLocked gives each new source a lane.
func (d *down) addLocked(p *Participant, want map[wanted]subscription) (changed bool, err error) {
	for _, s := range d.lanes {
		if s.forward != nil {
			delete(want, s.of)
		}
	}
	if len(want) == 0 {
		return false, nil
	}
	if err := d.openLocked(p); err != nil {
		return false, err
	}
	order := make([]wanted, 0, len(want))
	for k := range want {
		order = append(order, k)
	}
	slices.SortFunc(order, func(a, b wanted) int {
		return cmp.Or(cmp.Compare(a.user, b.user), cmp.Compare(slices.Index(sources[:], a.source), slices.Index(sources[:], b.source)))
	})
	for _, k := range order {
		if err := d.putLocked(p, k, want[k].track); err != nil {
			return false, err
		}
	}
	return true, nil
}

func (d *down) openLocked(p *Participant) error {
	if d.pc != nil {
		return nil
	}
	engine := &webrtc.MediaEngine{}
	for _, c := range downCodecs() {
		if err := register(engine, c); err != nil {
			return fmt.Errorf("sfu: register %s: %w", c, err)
		}
	}
	w := newWire(p.session.srv)
	pc, err := p.session.viewerOf(engine, w)
	if err != nil {
		return err
	}
	pc.OnConnectionStateChange(func(webrtc.PeerConnectionState) { p.poke() })
	d.pc, d.wire = pc, w
	return nil
}

// putLocked lets a lane carry a track: an idle one of the same kind, or a new one.
func (d *down) putLocked(p *Participant, k wanted, t *track) error {
	own, codecs, ok := sendable(t.codec, d.formats)
	if len(codecs) == 0 {
		return errors.New("sfu: the first answer has no codec of this kind")
	}
	if !ok {
		p.session.log.Info("the client cannot take a track", "of", k.user, "source", k.source, "codec", t.codec)
		p.refuse(k, t)
		return nil
	}
	f := newForward(t, own.payload)
	f.staged = k.source == Microphone
	f.session, f.wire, f.stream, f.socket = p.session, d.wire, streamOf(k), p.session.srv.net.socket
	var s *lane
	for _, o := range d.lanes {
		if o.free && o.transceiver.Kind() == f.Kind() {
			s = o
			break
		}
	}
	if s == nil {
		transceiver, err := d.pc.AddTransceiverFromTrack(f, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		if err != nil {
			return fmt.Errorf("sfu: add a track: %w", err)
		}
		s = &lane{transceiver: transceiver}
		d.lanes = append(d.lanes, s)
	} else if _, err := d.pc.AddTrack(f); err != nil {
		return fmt.Errorf("sfu: add a track: %w", err)
	} else if s = d.byTrack(f); s == nil {
		return errors.New("sfu: the track was added to a media section that is not idle")
	}
	if err := s.transceiver.SetCodecPreferences(codecs); err != nil {
		return fmt.Errorf("sfu: prefer %s: %w", t.codec, err)
	}
	s.forward, s.of, s.free = f, k, false
	f.reports = func(reports []rtcp.ReceptionReport) { s.health.report(reports, f, time.Now()) }
	return nil
}

// byTrack finds where Pion has put a track.
func (d *down) byTrack(f *forward) *lane {
	for _, s := range d.lanes {
		if sender := s.transceiver.Sender(); sender != nil && sender.Track() == webrtc.TrackLocal(f) {
			return s
		}
	}
	return nil
}

// sendable is the codec under which a track is sent, if there is one, and all of
// its kind, this one first: what the first answer does not have, later ones cannot,
// so that formats bounds both once there was one.
func sendable(c codec, formats map[string][]string) (own codec, all []webrtc.RTPCodecParameters, ok bool) {
	known := downCodecs()
	slices.SortStableFunc(known, func(a, b codec) int { return fits(b, c) - fits(a, c) })
	kind := lineOf(c.name)
	agreed := formats[kind]
	for _, k := range known {
		if lineOf(k.name) != kind {
			continue
		}
		for _, p := range parameters(k) {
			if agreed == nil || slices.Contains(agreed, fmt.Sprint(p.PayloadType)) {
				all = append(all, p)
				if !ok && uint8(p.PayloadType) == k.payload && k.carries(c) {
					own, ok = k, true
				}
			}
		}
	}
	return own, all, ok
}

func lineOf(c media.Codec) string {
	if c.Video() {
		return "video"
	}
	return "audio"
}

func fits(k, c codec) int {
	switch {
	case !k.carries(c):
		return 0
	case k.name == media.H264 && k.mode1() != c.mode1():
		return 1
	}
	return 2
}

// streamOf names what plays in step: a camera and its microphone.
func streamOf(k wanted) string {
	h := fnv.New64a()
	h.Write([]byte(k.user))
	return fmt.Sprintf("%016x.%s", h.Sum64(), k.source.Of())
}

// offerLocked makes the next offer and tells it.
func (d *down) offerLocked(p *Participant) error {
	restart := d.restart && d.number > 0 && d.pc.CurrentRemoteDescription() != nil
	desc, err := d.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: restart})
	if err != nil {
		return fmt.Errorf("sfu: make the offer: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	text, err := p.gathered(ctx, d.pc, desc, "")
	if err != nil {
		return err
	}
	d.number++
	d.restart, d.waiting = false, true
	d.offer = Offer{Number: d.number, SDP: text, Tracks: []OfferedTrack{}}
	for _, s := range d.lanes {
		if s.forward != nil {
			d.offer.Tracks = append(d.offer.Tracks, OfferedTrack{s.transceiver.Mid(), s.of.user, s.of.source})
		}
	}
	p.tell(d.offer)
	return nil
}

// Answer takes the client's answer to an Offer. What the answer refuses is not
// offered again until it is published anew or subscribed again. An answer to an
// older offer, or a second one, is nothing to worry about and does nothing.
//
// Errors: media.ErrInvalid for what cannot be read, media.ErrNotFound for an
// offer that was never made.
func (p *Participant) Answer(number int, text string) error {
	d := &p.down
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed || p.session.stopped():
		return p.closed()
	case number < 1 || number > d.number:
		return fmt.Errorf("sfu: %w: there was no offer %d", media.ErrNotFound, number)
	case number < d.number || !d.waiting || d.pc == nil:
		return nil
	case len(text) > MaxOffer:
		return fmt.Errorf("sfu: %w: the answer has %d bytes, at most %d are read", media.ErrInvalid, len(text), MaxOffer)
	}
	var desc sdp.SessionDescription
	if err := desc.UnmarshalString(text); err != nil {
		return fmt.Errorf("sfu: %w: the answer is not SDP: %w", media.ErrInvalid, err)
	}
	if _, lite := desc.Attribute("ice-lite"); lite {
		return fmt.Errorf("sfu: %w: the answer is ICE-lite, and so is this server", ErrUnsupported)
	}
	if err := d.fitsLocked(&desc); err != nil {
		return fmt.Errorf("sfu: %w", err)
	}
	d.heedLocked(p, &desc)
	for _, m := range desc.MediaDescriptions {
		m.Attributes = without(m.Attributes, "candidate", "end-of-candidates", "remote-candidates")
	}
	plain, err := desc.Marshal()
	if err != nil {
		return fmt.Errorf("sfu: %w: write the answer: %w", media.ErrInvalid, err)
	}
	err = d.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(plain)})
	if err != nil {
		if d.pc.SignalingState() == webrtc.SignalingStateStable {
			d.dropLocked(p)
		}
		return fmt.Errorf("sfu: %w: take the answer: %w", media.ErrInvalid, err)
	}
	d.waiting = false
	d.keepFormatsLocked(&desc)
	for _, s := range d.lanes {
		s.agreed = s.forward != nil
		s.free = s.forward == nil && !s.refused
	}
	d.flowLocked(p.wants())
	p.poke()
	return nil
}

// keepFormatsLocked remembers the first answer's payload types of each kind.
func (d *down) keepFormatsLocked(answer *sdp.SessionDescription) {
	for _, m := range answer.MediaDescriptions {
		if d.formats[m.MediaName.Media] == nil {
			if d.formats == nil {
				d.formats = map[string][]string{}
			}
			d.formats[m.MediaName.Media] = m.MediaName.Formats
		}
	}
}

// fitsLocked checks that an answer has the offer's media sections (RFC 3264
// section 6), so that nothing but its refusals can go wrong.
func (d *down) fitsLocked(answer *sdp.SessionDescription) error {
	offered := d.pc.PendingLocalDescription()
	if offered == nil {
		return fmt.Errorf("%w: there is no offer to answer", media.ErrInvalid)
	}
	var offer sdp.SessionDescription
	if err := offer.UnmarshalString(offered.SDP); err != nil {
		return fmt.Errorf("read the offer again: %w", err)
	}
	if got, want := len(answer.MediaDescriptions), len(offer.MediaDescriptions); got != want {
		return fmt.Errorf("%w: the answer has %d media sections, the offer %d", media.ErrInvalid, got, want)
	}
	for i, m := range answer.MediaDescriptions {
		got, ok := m.Attribute("mid")
		want, _ := offer.MediaDescriptions[i].Attribute("mid")
		if !ok && m.MediaName.Port.Value == 0 { // some leave it out where they refuse
			m.Attributes = append(m.Attributes, sdp.Attribute{Key: "mid", Value: want}, sdp.Attribute{Key: "inactive"})
			continue
		}
		if got != want {
			return fmt.Errorf("%w: media section %d of the answer has mid %.40q, that of the offer %q", media.ErrInvalid, i+1, got, want)
		}
	}
	return nil
}

// heedLocked takes back the tracks that an answer refuses.
func (d *down) heedLocked(p *Participant, answer *sdp.SessionDescription) {
	for _, s := range d.lanes {
		if s.forward == nil {
			continue
		}
		i := slices.IndexFunc(answer.MediaDescriptions, func(m *sdp.MediaDescription) bool {
			mid, _ := m.Attribute("mid")
			return mid == s.transceiver.Mid()
		})
		if i >= 0 {
			m := answer.MediaDescriptions[i]
			_, inactive := m.Attribute("inactive")
			if m.MediaName.Port.Value != 0 && !inactive && slices.Contains(m.MediaName.Formats, fmt.Sprint(s.forward.payload)) {
				s.forward.repeatAs(m.MediaName.Formats)
				continue
			}
		}
		p.session.log.Info("the client refuses a track", "of", s.of.user, "source", s.of.source, "codec", s.forward.track.codec)
		p.refuse(s.of, s.forward.track)
		d.idleLocked(s)
		s.refused = true
	}
}

// Restart makes the next offer restart ICE; a client asks for it when its
// addresses have changed.
func (p *Participant) Restart() error {
	d := &p.down
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || p.session.stopped() {
		return p.closed()
	}
	d.restart = true
	p.poke()
	return nil
}

// Repeat tells the offer again that waits for its answer, if there is one: to a
// client that may not have got it.
func (p *Participant) Repeat() {
	d := &p.down
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting && !d.closed {
		p.tell(d.offer)
	}
}

// dropLocked gives the connection up; what is wanted makes another.
func (d *down) dropLocked(p *Participant) {
	for _, s := range d.lanes {
		if s.flows {
			s.forward.aim(nil)
		}
	}
	pc := d.pc
	d.pc, d.lanes, d.formats, d.waiting, d.restart = nil, nil, nil, false, false
	p.session.start(func() { p.closePeer(pc) })
}

// close is dropLocked for good; it returns when the connection has ended.
func (d *down) close(p *Participant) {
	d.mu.Lock()
	d.closed = true
	for _, s := range d.lanes {
		if s.flows {
			s.forward.aim(nil)
		}
	}
	pc := d.pc
	d.pc, d.lanes = nil, nil
	d.mu.Unlock()
	p.closePeer(pc)
}

// receiving lists the tracks that are wanted and not paused.
func (p *Participant) receiving() []*track {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*track
	for _, s := range p.subs {
		if !s.off && s.track != nil && s.track != s.refused && !s.how.Paused {
			all = append(all, s.track)
		}
	}
	return all
}
