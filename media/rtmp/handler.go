package rtmp

import (
	"context"
	"net"

	"braid/media/flv"
)

// Handler decides who may publish and play. Serve calls it from the
// connection's goroutine, so a slow Handler delays only that client; it is
// called for many connections at a time.
//
// The error decides what the client is told: media.ErrExists becomes
// NetStream.Publish.BadName, media.ErrNotFound NetStream.Play.StreamNotFound,
// anything else NetStream.Publish.Denied or NetStream.Play.Failed; the
// description tells these, media.ErrInvalid and media.ErrClosed apart, or is a
// Refusal's own words. The error's text stays in the log. The connection is then closed.
type Handler interface {
	Publish(Request) (Ingest, error)
	Play(Request) (Playback, error)
}

// Request is what a client asks for. For rtmp://host:1935/live/cam?token=x App is
// "live", Stream "cam", Query "token=x" and Host "host". All four are foreign
// text, any length up to 64 KiB, valid UTF-8 or not.
type Request struct {
	App, Stream string
	Query       string // of the stream's name, then that of the application's
	Host        string // in the client's tcUrl, in lower case, without port; "" without one
	Remote      net.Addr
}

// Refusal is an error with words for the client.
type Refusal struct {
	Words string // what people see in their player or encoder; without secrets
	Err   error
}

func (r *Refusal) Error() string { return r.Words + ": " + r.Err.Error() }
func (r *Refusal) Unwrap() error { return r.Err }

// Ender is an Ingest that can end its publication: Err is asked after each
// WriteTag, and when it is not nil the client is refused with it, as by Publish.
type Ender interface{ Err() error }

// Ingest takes what one publisher sends. It may be an Ender.
type Ingest interface {
	// WriteTag is called from one goroutine, in the order of arrival: sequence
	// headers, media and script tags as the publisher sent them (a script tag
	// begins with the string "onMetaData", without "@setDataFrame").
	// Timestamps are the publisher's and may jump. The tag may be kept. It must not block.
	WriteTag(*flv.Tag)
	// Close is called once, after the last WriteTag.
	Close()
}

// Playback hands out what one viewer sees.
type Playback interface {
	// Next returns the tags that wait for this viewer, in order, at least one;
	// it blocks until there is one. The first batch holds metadata, sequence
	// headers and the newest group of pictures. A viewer that falls behind is
	// dropped forward by the hub: the hub never waits for Next.
	//
	// io.EOF says that the stream has ended; the viewer is told so. Any other
	// error, and ctx's end, close the connection. Called from one goroutine;
	// the returned slice belongs to the caller until the following Next.
	Next(ctx context.Context) ([]*flv.Tag, error)
	// Close is called once, after the last Next has returned.
	Close()
}
