package rtc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"braid/event"
	"braid/media"
	"braid/media/sfu"
	"braid/signaling/token"
)

// do answers a request; left says that the client wants the session to end.
func (s *session) do(in input) (left bool) {
	now := time.Now()
	if !s.rate.AllowN(now, 1) || in.kind == "data" && !s.data.AllowN(now, 1) {
		s.fail(in.sock, in.id, &failure{limited, "", fmt.Sprintf("at most %d requests a second, and %d of data", requestRate, dataRate)})
		if !s.refusals.AllowN(now, 1) {
			in.sock.close(closeFlood, "the client does not heed the limits")
		}
		return false
	}
	if in.err != nil {
		s.fail(in.sock, in.id, in.err)
		return false
	}
	if b, ok := in.body.(*layoutBody); ok {
		s.layout(in, b)
		return false
	}
	f, err := s.handle(in.request)
	if err != nil {
		s.fail(in.sock, in.id, err)
		return false
	}
	s.answer(in.sock, in.id, f)
	return in.kind == "leave"
}

// handle does what all but a layout ask for.
func (s *session) handle(r request) (fields, error) {
	switch b := r.body.(type) {
	case *joinBody:
		return nil, &failure{exists, "type", "type: the session is joined already"}
	case *tokenBody:
		return s.renew(b)
	case *offerBody:
		return s.offer(b)
	case *answerBody:
		return nil, s.p.Answer(b.Offer, b.SDP)
	case *restartBody:
		if b.Connection == "up" { // the client's own offer does it
			return nil, nil
		}
		return nil, s.p.Restart()
	case *sourceBody:
		if r.kind == "mute" {
			return nil, s.p.Mute(b.Source, *b.Muted)
		}
		return nil, s.p.Unpublish(b.Source)
	case *roleBody:
		return nil, s.setRole(b.Role)
	case *subscribeBody:
		return nil, s.subscribe(r.kind, b)
	case *dataBody:
		missing, err := s.p.Send(b.To, b.Topic, b.Payload, b.Reliable == nil || *b.Reliable)
		if err != nil || missing == nil {
			return nil, err
		}
		return fields{"missing": missing}, nil
	}
	return nil, nil // leave, ping
}

// renew takes a newer token for the same user.
func (s *session) renew(b *tokenBody) (fields, error) {
	c, err := s.srv.authorize(b.Token)
	if err != nil {
		return nil, err
	}
	if c.App != s.claims.App || c.Channel != s.claims.Channel || c.User != s.claims.User {
		return nil, &failure{forbidden, "token", "token: it is for another application, channel or user"}
	}
	s.claims = c
	s.heedGrants()
	return fields{"grants": s.grants()}, nil
}

func (s *session) offer(b *offerBody) (fields, error) {
	for i, t := range b.Tracks {
		field := fmt.Sprintf("tracks[%d].source", i)
		if !s.claims.MayPublish(t.Source.Of()) {
			return nil, &failure{forbidden, field, fmt.Sprintf("the token does not grant to publish %s", t.Source)}
		}
		if s.role != token.Streamer {
			return nil, &failure{forbidden, field, "a viewer publishes nothing; ask for the role streamer first"}
		}
	}
	ctx, cancel := context.WithTimeout(s.srv.ctx, 10*time.Second)
	defer cancel()
	answer, err := s.p.Offer(ctx, b.SDP, b.Tracks)
	if err != nil {
		return nil, err
	}
	return fields{"sdp": answer}, nil
}

func (s *session) setRole(r token.Role) error {
	if r == token.Streamer && !s.claims.Camera && !s.claims.ShareScreen {
		return &failure{forbidden, "role", "role: the token grants nothing to publish"}
	}
	role := event.Viewer
	if r == token.Streamer {
		role = event.Streamer
	}
	if err := s.p.SetRole(role); err != nil {
		return err
	}
	s.role = r
	return nil
}

func (s *session) subscribe(kind string, b *subscribeBody) error {
	if kind == "unsubscribe" {
		return s.p.Unsubscribe(b.User, b.Source)
	}
	if !s.claims.Subscribe {
		return &failure{forbidden, "", "the token does not grant to subscribe"}
	}
	return s.p.Subscribe(b.User, b.Source, sfu.Wanted{Width: b.Width, Height: b.Height, Paused: b.Paused})
}

// layout asks the relay in a goroutine of its own: it may take as long as a
// database does.
func (s *session) layout(in input, b *layoutBody) {
	switch {
	case !s.claims.Mix:
		s.fail(in.sock, in.id, &failure{forbidden, "", "the token does not grant to change the mixed stream"})
		return
	case s.srv.cfg.Layout == nil:
		s.fail(in.sock, in.id, &failure{unsupported, "", "this server mixes nothing"})
		return
	}
	app, channel := s.claims.App, s.claims.Channel
	s.layouts.Go(func() {
		ctx, cancel := context.WithTimeout(s.srv.ctx, layoutTime)
		defer cancel()
		err := s.srv.cfg.Layout(ctx, app, channel, b.Task, b.Panes)
		if errors.Is(err, media.ErrClosed) || errors.Is(err, context.DeadlineExceeded) {
			err = &failure{internal, "", "the mixed stream cannot be changed now"}
		}
		if err != nil {
			s.fail(in.sock, in.id, err)
			return
		}
		s.answer(in.sock, in.id, nil)
	})
}
