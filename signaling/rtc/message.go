package rtc

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"braid/media"
	"braid/media/sfu"
	"braid/signaling/token"
)

const (
	maxMessage = 128 << 10 // bytes; an offer of 32 sections with simulcast has about 90 KiB
	maxPayload = 16 << 10
	maxTopic   = 64 // characters
	maxName    = 64 // characters
	maxTo      = 200
	maxSize    = 16384 // pixels; nothing is shown larger
	maxTracks  = 4     // sources there are
)

// code is what kind of failure a request met, as the protocol names it.
type code string

const (
	invalid      code = "invalid"
	unauthorized code = "unauthorized"
	forbidden    code = "forbidden"
	notFound     code = "not_found"
	exists       code = "exists"
	limited      code = "limit"
	unsupported  code = "unsupported"
	unknown      code = "unknown"
	internal     code = "internal"
	over         code = "ended"
)

// failure is an error that a client is told.
type failure struct {
	code    code
	field   string // of the request; "" when it is about the whole
	message string
}

// overError says that a session cannot be resumed, because it was ended on purpose.
type overError struct{ reason string }

func (e *overError) Error() string { return "the session has ended: " + e.reason }

func (f *failure) Error() string { return string(f.code) + ": " + f.message }

func wrong(field, format string, args ...any) error {
	return &failure{invalid, field, field + ": " + fmt.Sprintf(format, args...)}
}

// failureOf is what a client is told about an error; told is false for one that
// is the server's own affair and belongs into its log.
func failureOf(err error) (f *failure, told bool) {
	if errors.As(err, &f) {
		return f, true
	}
	for _, m := range []struct {
		err  error
		code code
	}{
		{sfu.ErrUnsupported, unsupported}, {media.ErrInvalid, invalid}, {media.ErrNotFound, notFound},
		{media.ErrExists, exists}, {media.ErrLimit, limited}, {media.ErrClosed, notFound},
	} {
		if errors.Is(err, m.err) {
			return &failure{m.code, "", err.Error()}, true
		}
	}
	return &failure{internal, "", "the server failed to do this; its log says why"}, false
}

// request is a client's message.
type request struct {
	id   int64
	kind string
	body any // one of those below; nil for kinds without fields
}

type joinBody struct {
	Token     string      `json:"token"`
	Name      string      `json:"name"`
	Role      token.Role  `json:"role"`
	Subscribe string      `json:"subscribe"`
	Resume    *resumeBody `json:"resume"`
}

type resumeBody struct {
	Session string `json:"session"`
	Seq     int64  `json:"seq"`
}

type tokenBody struct {
	Token string `json:"token"`
}

type offerBody struct {
	SDP    string             `json:"sdp"`
	Tracks []sfu.OfferedTrack `json:"tracks"`
}

type answerBody struct {
	SDP   string `json:"sdp"`
	Offer int    `json:"offer"`
}

type restartBody struct {
	Connection string `json:"connection"`
}

// sourceBody is that of unpublish and mute.
type sourceBody struct {
	Source sfu.Source `json:"source"`
	Muted  *bool      `json:"muted"`
}

type roleBody struct {
	Role token.Role `json:"role"`
}

// subscribeBody is also that of unsubscribe.
type subscribeBody struct {
	User   string     `json:"user"`
	Source sfu.Source `json:"source"`
	Width  int        `json:"width"`
	Height int        `json:"height"`
	Paused bool       `json:"paused"`
}

type dataBody struct {
	To       []string        `json:"to"`
	Topic    string          `json:"topic"`
	Payload  json.RawMessage `json:"payload"`
	Reliable *bool           `json:"reliable"`
}

type layoutBody struct {
	Task  string          `json:"task"`
	Panes json.RawMessage `json:"panes"`
}

// parse reads a client's message. With an error, id is the request's as far as
// it could be read. It looks at form and bounds only.
func parse(text []byte) (r request, err error) {
	var head struct {
		ID   *int64 `json:"id"`
		Type string `json:"type"`
	}
	if !utf8.Valid(text) {
		return r, &failure{invalid, "", "the message is not UTF-8"}
	}
	if err := read(text, &head); err != nil {
		return r, err
	}
	if head.ID == nil || *head.ID < 0 || *head.ID > 1<<53 {
		return r, wrong("id", "a whole number from 0 to 2^53")
	}
	r.id, r.kind = *head.ID, head.Type
	switch r.kind {
	case "join":
		r.body = &joinBody{}
	case "token":
		r.body = &tokenBody{}
	case "offer":
		r.body = &offerBody{}
	case "answer":
		r.body = &answerBody{}
	case "restart":
		r.body = &restartBody{}
	case "unpublish", "mute":
		r.body = &sourceBody{}
	case "role":
		r.body = &roleBody{}
	case "subscribe", "unsubscribe":
		r.body = &subscribeBody{}
	case "data":
		r.body = &dataBody{}
	case "layout":
		r.body = &layoutBody{}
	case "leave", "ping":
		return r, nil
	case "":
		return r, wrong("type", "is needed")
	default:
		return r, &failure{unknown, "type", fmt.Sprintf("type: there is no request %.40q", r.kind)}
	}
	if err := read(text, r.body); err != nil {
		return r, err
	}
	return r, r.check()
}

// read decodes JSON and says which field has the wrong type.
func read(text []byte, into any) error {
	err := json.Unmarshal(text, into)
	var typed *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &typed) && typed.Field != "":
		return wrong(typed.Field, "a JSON %s does not fit", typed.Value)
	case errors.As(err, &typed):
		return &failure{invalid, "", "the message is a JSON " + typed.Value + ", not an object"}
	}
	return &failure{invalid, "", fmt.Sprintf("the message is not what is asked for: %.200s", err)}
}

// check looks at the fields' bounds.
func (r *request) check() error {
	switch b := r.body.(type) {
	case *joinBody:
		return b.check()
	case *tokenBody:
		if b.Token == "" {
			return wrong("token", "is needed")
		}
	case *offerBody:
		return b.check()
	case *answerBody:
		if b.SDP == "" || len(b.SDP) > sfu.MaxOffer {
			return wrong("sdp", "1 to %d bytes", sfu.MaxOffer)
		}
	case *restartBody:
		if b.Connection != "up" && b.Connection != "down" {
			return wrong("connection", "up or down")
		}
	case *sourceBody:
		if err := checkSource("source", b.Source); err != nil {
			return err
		}
		if r.kind == "mute" && b.Muted == nil {
			return wrong("muted", "true or false is needed")
		}
	case *roleBody:
		return checkRole(b.Role)
	case *subscribeBody:
		return b.check()
	case *dataBody:
		return b.check()
	case *layoutBody:
		if b.Task == "" || len(b.Task) > 64 {
			return wrong("task", "1 to 64 characters")
		}
		if len(b.Panes) == 0 || b.Panes[0] != '[' {
			return wrong("panes", "a list is needed")
		}
	}
	return nil
}

func (b *joinBody) check() error {
	switch {
	case b.Token == "":
		return wrong("token", "is needed")
	case utf8.RuneCountInString(b.Name) > maxName:
		return wrong("name", "%d characters at most", maxName)
	case b.Subscribe != "" && b.Subscribe != "all" && b.Subscribe != "manual":
		return wrong("subscribe", "all or manual")
	case b.Resume != nil && b.Resume.Seq < 0:
		return wrong("resume.seq", "0 or more")
	case b.Role != "":
		return checkRole(b.Role)
	}
	return nil
}

func (b *offerBody) check() error {
	switch {
	case b.SDP == "" || len(b.SDP) > sfu.MaxOffer:
		return wrong("sdp", "1 to %d bytes", sfu.MaxOffer)
	case len(b.Tracks) > maxTracks:
		return wrong("tracks", "%d at most", maxTracks)
	}
	for i, t := range b.Tracks {
		if err := checkSource(fmt.Sprintf("tracks[%d].source", i), t.Source); err != nil {
			return err
		}
		if t.MID == "" || len(t.MID) > 64 {
			return wrong(fmt.Sprintf("tracks[%d].mid", i), "1 to 64 bytes")
		}
	}
	return nil
}

func (b *subscribeBody) check() error {
	switch {
	case b.User == "":
		return wrong("user", "is needed")
	case b.Width < 0 || b.Width > maxSize:
		return wrong("width", "0 to %d pixels", maxSize)
	case b.Height < 0 || b.Height > maxSize:
		return wrong("height", "0 to %d pixels", maxSize)
	}
	return checkSource("source", b.Source)
}

func (b *dataBody) check() error {
	switch {
	case len(b.To) > maxTo:
		return wrong("to", "%d users at most", maxTo)
	case b.To != nil && len(b.To) == 0:
		return wrong("to", "an empty list is nobody; leave it out for everyone")
	case utf8.RuneCountInString(b.Topic) > maxTopic:
		return wrong("topic", "%d characters at most", maxTopic)
	case len(b.Payload) == 0:
		return wrong("payload", "is needed")
	case len(b.Payload) > maxPayload:
		return wrong("payload", "%d bytes at most, it has %d", maxPayload, len(b.Payload))
	}
	for i, user := range b.To {
		if slices.Contains(b.To[:i], user) {
			return wrong(fmt.Sprintf("to[%d]", i), "named twice")
		}
	}
	return nil
}

func checkSource(field string, s sfu.Source) error {
	if !s.Valid() {
		return wrong(field, "one of microphone, camera, shareScreen, shareAudio")
	}
	return nil
}

func checkRole(r token.Role) error {
	if r != token.Streamer && r != token.Viewer {
		return wrong("role", "streamer or viewer")
	}
	return nil
}
