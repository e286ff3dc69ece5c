package sfu

import (
	"cmp"
	"context"
	"fmt"

	"github.com/pion/rtcp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"braid/event"
	"braid/media"
)

// PublishRequest asks to send one source of a user. Of each kind the first
// codec of the offer that is known here is taken, and nothing else: a client
// that sends H.264 lists it first (setCodecPreferences).
type PublishRequest struct {
	App, Channel, User string
	Source             media.Source // empty: camera
	Offer              string       // SDP
}

// Publish answers an offer to send (RFC 9725). The session starts when the
// client has connected; a session of the same user and source ends then. The
// answer carries all candidates. ctx covers the call, not the session.
//
// Errors: media.ErrInvalid for an offer that cannot be read, ErrUnsupported
// for one that cannot be met, media.ErrLimit, media.ErrClosed.
func (s *Server) Publish(ctx context.Context, r PublishRequest) (*Session, string, error) {
	o, err := parseOffer(r.Offer, publishing)
	if err != nil {
		return nil, "", fmt.Errorf("sfu: %w", err)
	}
	// One codec for each kind, the client's first choice, so that a track's
	// codec is known before its first packet and never changes.
	pub := &publication{ended: make(chan struct{})}
	for _, sec := range o.sections {
		if !sec.active {
			continue
		}
		if len(sec.codecs) == 0 {
			return nil, "", fmt.Errorf("sfu: %w: no %s codec of the offer is known here (offered: %s; known: %s)",
				ErrUnsupported, sec.kind, sec.names, knownCodecs(sec.kind))
		}
		c := sec.codecs[0]
		sec.take(c)
		if sec.kind == "audio" {
			pub.audio = newTrack(c)
		} else {
			pub.video = newTrack(c, sec.rids...)
		}
	}
	sess, err := s.newSession(r.App, r.Channel, r.User, cmp.Or(r.Source, media.Camera), event.WebRTC)
	if err != nil {
		return nil, "", err
	}
	pub.session, pub.source, sess.pub = sess, sess.source, pub
	answer, err := sess.open(ctx, o)
	if err != nil {
		return nil, "", err
	}
	return sess, answer, nil
}

// open connects a session to Pion and starts its life. When it fails, nothing
// is left.
func (s *Session) open(ctx context.Context, o *offer) (string, error) {
	answer, err := func() (string, error) {
		text, err := o.reduced()
		if err != nil {
			return "", fmt.Errorf("sfu: %w: write the offer: %w", media.ErrInvalid, err)
		}
		s.pc, err = s.newPeer(o)
		if err != nil {
			return "", err
		}
		for _, f := range s.sends {
			if err := f.addTo(s); err != nil {
				return "", err
			}
		}
		s.pc.OnTrack(s.receive)
		s.pc.OnConnectionStateChange(s.poke)
		return s.negotiate(ctx, text)
	}()
	if err != nil {
		s.end(event.Normal, err.Error())
		s.shut()
		return "", err
	}
	go s.run()
	return answer, nil
}

// receive is Pion's callback for the first packet of a stream. With simulcast
// there may be streams that the answer did not ask for; they are left unread.
func (s *Session) receive(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	if s.pub == nil {
		return
	}
	t := s.pub.audio
	if remote.Kind() == webrtc.RTPCodecTypeVideo {
		t = s.pub.video
	}
	s.take(s.pc, t, remote, receiver)
}

// take reads a stream into a track's layer, if it is the layer's first.
func (s *Session) take(pc *webrtc.PeerConnection, t *track, remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	if t == nil {
		return
	}
	l := t.layer(remote.RID())
	if l == nil || !l.begin() {
		return
	}
	l.counted(&s.srv.counters)
	ssrc := uint32(remote.SSRC())
	in := intake{codec: t.codec, levelID: extensionOf(receiver, sdp.AudioLevelURI), dependsID: extensionOf(receiver, dependencyURI)}
	f := newIngress(l, in, func(up *uplink, lost []uint16) {
		nack := []rtcp.Packet{&rtcp.TransportLayerNack{MediaSSRC: ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(lost)}}
		if up != nil {
			up.report(nack) // if not, the publisher has left
		} else if err := pc.WriteRTCP(nack); err != nil {
			s.log.Debug("ask for lost packets", "err", err)
		}
	})
	f.bind = func(box *inbox) *uplink {
		rtx := uint32(remote.RtxSSRC())
		if rtx == 0 && t.codec.rtx != 0 || !box.of.up.shorten(ssrc, rtx, f) {
			return nil
		}
		return box.of.up
	}
	s.start(func() { l.read(remote, f) })
	s.start(func() { l.readReports(receiver, ssrc) })
	if t.Codec().Video() {
		s.start(func() {
			l.askForKeyFrames(func() {
				pli := &rtcp.PictureLossIndication{MediaSSRC: ssrc}
				if err := pc.WriteRTCP([]rtcp.Packet{pli}); err != nil {
					s.log.Debug("ask for a key frame", "err", err)
				}
			})
		})
		l.requestKeyFrame()
	}
	s.srv.dir.refresh(s)
}
