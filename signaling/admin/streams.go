package admin

import (
	"time"

	"braid/store"
)

// Streams is what this API needs of the origin and of what is made of its
// streams. Its methods are called from many goroutines, outside of any
// transaction.
type Streams interface {
	// OnAir lists the streams on air, by AppName and name.
	OnAir() []Stream
	// TemplatesChanged tells that something has changed that says what is made of
	// streams, or who is told of them: templates, relay settings, whether an
	// application is disabled. It does not wait for what follows.
	TemplatesChanged()
}

// Stream is a stream of the origin that is on air, or whose publisher is
// expected back.
type Stream struct {
	Domain   string    `json:"domain"` // "": the origin's own
	App      string    `json:"app"`    // AppName
	Name     string    `json:"name"`
	Since    time.Time `json:"since"`
	Remote   string    `json:"remote,omitempty"` // the publisher's address; "" while it is away
	Source   string    `json:"source,omitempty"` // name of the stream that it is a rendition of
	Video    string    `json:"video,omitempty"`  // codec; "" without
	Audio    string    `json:"audio,omitempty"`
	Width    int       `json:"width,omitempty"`
	Height   int       `json:"height,omitempty"`
	Viewers  int       `json:"viewers"`
	BytesIn  uint64    `json:"bytes_in"`
	BytesOut uint64    `json:"bytes_out"`
	Bitrate  int       `json:"bitrate"` // bits a second that came in lately
	Jobs     []Job     `json:"jobs"`
}

// Job is what runs for one template on one stream.
type Job struct {
	Application string             `json:"application"`
	Template    string             `json:"template"`
	Kind        store.TemplateKind `json:"kind"`
	State       string             `json:"state"`            // "running", "waiting" to be tried again, "ending"
	Since       time.Time          `json:"since"`            // of the state
	Failures    int                `json:"failures"`         // since it last ran well
	Error       string             `json:"error,omitempty"`  // of its last failure
	Failed      *time.Time         `json:"failed,omitempty"` // when that was
}

// listStreams lists what is on air on this server.
func (h *Handler) listStreams(c *call) (*reply, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	limit, after := q.limit(), q.cursor("streams")
	if err := q.done(); err != nil {
		return nil, err
	}
	place := func(s Stream) string { return s.App + "/" + s.Name }
	var rows []Stream
	for _, s := range h.streams.OnAir() {
		if place(s) > after && len(rows) <= limit {
			rows = append(rows, s)
		}
	}
	return ok(newPage(rows, limit, "streams", place, func(s Stream) Stream { return s }))
}
