package sfu

import (
	"cmp"
	"context"
	"fmt"

	"braid/event"
	"braid/media"
)

// SubscribeRequest asks to receive one source of User. Viewer is who watches,
// and is in the channel from then on.
type SubscribeRequest struct {
	App, Channel, Viewer string
	User                 string
	Source               media.Source // empty: camera
	Offer                string       // SDP
}

// Subscribe answers an offer to receive (draft-ietf-wish-whep). The session
// ends with the publication. Pictures start at a key frame.
//
// Errors as Publish, and media.ErrNotFound when the user does not publish that
// source.
func (s *Server) Subscribe(ctx context.Context, r SubscribeRequest) (*Session, string, error) {
	o, err := parseOffer(r.Offer, watching)
	if err != nil {
		return nil, "", fmt.Errorf("sfu: %w", err)
	}
	source := cmp.Or(r.Source, media.Camera)
	pub, ok := s.dir.publication(key{r.App, r.Channel}, r.User, source)
	if !ok {
		return nil, "", fmt.Errorf("sfu: %w: user %s publishes no %s in channel %s", media.ErrNotFound, r.User, source, r.Channel)
	}
	sends, err := plan(o, pub)
	if err != nil {
		return nil, "", fmt.Errorf("sfu: %w", err)
	}
	sess, err := s.newSession(r.App, r.Channel, r.Viewer, source, event.WebRTC)
	if err != nil {
		return nil, "", err
	}
	sess.watched, sess.sends = pub, sends
	answer, err := sess.open(ctx, o)
	if err != nil {
		return nil, "", err
	}
	return sess, answer, nil
}

// plan matches what a viewer offers to receive with what is published. A kind
// that only one side has is left out; a codec that only one side has is an
// error.
func plan(o *offer, pub *publication) ([]*forward, error) {
	var sends []*forward
	for _, sec := range o.sections {
		t := pub.audio
		if sec.kind == "video" {
			t = pub.video
		}
		if !sec.active || t == nil {
			sec.active = false // the m-line stays, without media
			continue
		}
		c, ok := sec.match(t.codec)
		if !ok {
			return nil, fmt.Errorf("%w: the %s is %s, which the offer lacks (offered: %s)",
				ErrUnsupported, sec.kind, t.codec, sec.names)
		}
		sec.take(c)
		f := newForward(t, c.payload)
		f.red.payload.Store(uint32(c.red))
		sends = append(sends, f)
	}
	if len(sends) == 0 {
		return nil, fmt.Errorf("%w: the offer has no media section for what is published", ErrUnsupported)
	}
	return sends, nil
}
