package origin

import (
	"context"
	"errors"
)

// Request is a client that wants to publish or play a stream.
type Request struct {
	Publish   bool
	Host      string // as the client wrote it, in lower case, without port; "" when it wrote none
	App, Name string // valid names
	Path      string // as it stands in the URL, escaped, with the play form's ending: /live/cam.flv
	Query     string // as it stands in the URL, without "?"
	Remote    string // host:port
}

// Grant is the answer of Config.Access to somebody who is let in.
type Grant struct {
	Domain string // the streaming domain that the request belongs to; "": the origin's own
	Keyed  bool   // by a signature that expires
}

// ErrDenied is in the error of Config.Access when the request is understood and
// not allowed: HTTP answers 403, RTMP Publish.Denied or Play.Failed. A
// *rtmp.Refusal carries the words.
var ErrDenied = errors.New("not allowed")

func (o *Origin) access(ctx context.Context, r Request) (Grant, error) {
	if o.cfg.Access == nil {
		return Grant{}, nil
	}
	return o.cfg.Access(ctx, r)
}
