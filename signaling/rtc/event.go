package rtc

import (
	"encoding/json"
	"fmt"

	"braid/event"
	"braid/media"
	"braid/media/sfu"
	"braid/signaling/token"
)

// What the server sends, each in one JSON object with its type and its seq.

type userJSON struct {
	ID      string       `json:"id"`
	Role    token.Role   `json:"role"`
	Name    string       `json:"name,omitempty"`
	Sources []sourceJSON `json:"sources"`
}

type sourceJSON struct {
	Source sfu.Source  `json:"source"`
	Muted  bool        `json:"muted"`
	Codec  media.Codec `json:"codec"`
	Width  int         `json:"width,omitempty"`
	Height int         `json:"height,omitempty"`
}

type qualityJSON struct {
	Up      int      `json:"up"`
	Down    int      `json:"down"`
	Reasons []string `json:"reasons"`
}

// fields are those of a message but id, type and seq.
type fields map[string]any

func usersOf(all []sfu.UserState) []userJSON {
	users := make([]userJSON, len(all))
	for i, u := range all {
		users[i] = userOf(u)
	}
	return users
}

func userOf(u sfu.UserState) userJSON {
	out := userJSON{ID: u.ID, Role: roleOf(u.Role), Name: u.Name, Sources: make([]sourceJSON, len(u.Sources))}
	for i, s := range u.Sources {
		out.Sources[i] = sourceOf(s)
	}
	return out
}

func sourceOf(s sfu.SourceState) sourceJSON {
	return sourceJSON{s.Source, s.Muted, s.Codec, s.Width, s.Height}
}

func roleOf(r event.Role) token.Role {
	if r == event.Streamer {
		return token.Streamer
	}
	return token.Viewer
}

// eventOf turns a notice into the type and the fields of an event.
func eventOf(n sfu.Notice) (kind string, f fields) {
	switch n := n.(type) {
	case sfu.Joined:
		return "joined", fields{"user": userOf(n.User)}
	case sfu.Left:
		return "left", fields{"user": n.User, "reason": leftOf(n.Why)}
	case sfu.Published:
		return "published", fields{"user": n.User, "source": sourceOf(n.Source)}
	case sfu.Unpublished:
		return "unpublished", fields{"user": n.User, "source": n.Source}
	case sfu.Muted:
		return "muted", fields{"user": n.User, "source": n.Source, "muted": n.Muted}
	case sfu.RoleChanged:
		return "role", fields{"user": n.User, "role": roleOf(n.Role)}
	case sfu.Levels:
		return "levels", fields{"users": n.Users, "speakers": n.Speakers}
	case sfu.Qualities:
		users := map[string]qualityJSON{}
		for id, q := range n.Users {
			users[id] = qualityJSON{q.Up, q.Down, append([]string{}, q.Reasons...)}
		}
		return "quality", fields{"users": users}
	case sfu.Layers:
		return "layers", fields{"source": n.Source, "active": n.RIDs}
	case sfu.Data:
		return "data", fields{"from": n.From, "topic": n.Topic, "payload": n.Payload}
	case sfu.Offer:
		return "offer", fields{"offer": n.Number, "sdp": n.SDP, "tracks": n.Tracks}
	}
	panic(fmt.Sprintf("rtc: sfu knows a notice %T that the protocol does not", n))
}

// leftOf names the reason of another user's leaving.
func leftOf(r event.Reason) string {
	switch r {
	case event.TimedOut:
		return "timeout"
	case event.Replaced:
		return "replaced"
	case event.Kicked:
		return "kicked"
	case event.Dismissed:
		return "dismissed"
	}
	return "left"
}

// encode writes a message. What is in it are strings, numbers and payloads that
// were JSON before.
func encode(f fields) []byte {
	text, err := json.Marshal(f)
	if err != nil {
		panic("rtc: a message does not fit JSON: " + err.Error())
	}
	return text
}
