package admin

import (
	"fmt"
	"time"

	"braid/event"
	"braid/media"
	"braid/media/sfu"
)

// channel is a channel that is open now.
type channel struct {
	ID     string    `json:"id"`
	Opened time.Time `json:"opened"`
	Users  []user    `json:"users"`
}

// user is who is in a channel now.
type user struct {
	ID       string         `json:"id"`
	Name     string         `json:"display_name,omitempty"`
	Session  string         `json:"session"`
	Joined   time.Time      `json:"joined"`
	Role     string         `json:"role"`
	Client   event.Client   `json:"client"`
	Sources  []media.Source `json:"sources"`
	Codecs   codecs         `json:"codecs"`
	Sessions int            `json:"connections"`
	Receives receives       `json:"receives"`
}

// codecs are those of the tracks that flow, "" for none.
type codecs struct {
	Audio       media.Codec `json:"audio,omitempty"`
	Video       media.Codec `json:"video,omitempty"`
	Screen      media.Codec `json:"screen,omitempty"`
	ScreenAudio media.Codec `json:"screen_audio,omitempty"`
}

type receives struct {
	Audio  bool `json:"audio"`
	Video  bool `json:"video"`
	Width  int  `json:"width,omitempty"`
	Height int  `json:"height,omitempty"`
}

func roleWord(r event.Role) string {
	if r == event.Viewer {
		return "viewer"
	}
	return "streamer"
}

func showChannel(c sfu.ChannelInfo) channel {
	out := channel{ID: c.Channel, Opened: c.Opened.UTC(), Users: []user{}}
	for _, u := range c.Users {
		out.Users = append(out.Users, user{
			ID: u.ID, Name: u.DisplayName, Session: u.Session, Joined: u.Joined.UTC(), Role: roleWord(u.Role), Client: u.Client,
			Sources: append([]media.Source{}, u.Sources...), Sessions: u.Sessions,
			Codecs:   codecs{u.Audio, u.Video, u.Screen, u.ScreenAudio},
			Receives: receives{u.Receives.Audio, u.Receives.Video, u.Receives.Width, u.Receives.Height},
		})
	}
	return out
}

// listChannels lists the open channels by id. A page shows each as it is at
// that moment; the cursor is an id, so a channel that stays open is seen once.
func (h *Handler) listChannels(c *call) (*reply, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	limit, after := q.limit(), q.cursor("channels")
	if err := q.done(); err != nil {
		return nil, err
	}
	if _, err := h.application(c); err != nil {
		return nil, err
	}
	var rows []sfu.ChannelInfo
	for _, ch := range h.rooms.Snapshot() { // sorted
		if ch.App == c.params["app"] && ch.Channel > after && len(rows) <= limit {
			rows = append(rows, ch)
		}
	}
	return ok(newPage(rows, limit, "channels", func(ch sfu.ChannelInfo) string { return ch.Channel }, showChannel))
}

func (h *Handler) getChannel(c *call) (*reply, error) {
	if err := c.noQuery(); err != nil {
		return nil, err
	}
	if _, err := h.application(c); err != nil {
		return nil, err
	}
	for _, ch := range h.rooms.Snapshot() {
		if ch.App == c.params["app"] && ch.Channel == c.params["channel"] {
			return ok(showChannel(ch))
		}
	}
	return nil, fmt.Errorf("channel %s is not open: %w", quote(c.params["channel"]), media.ErrNotFound)
}

// dismissChannel sends everyone out.
func (h *Handler) dismissChannel(c *call) (*reply, error) {
	if _, err := h.application(c); err != nil {
		return nil, err
	}
	if err := h.rooms.Dismiss(c.params["app"], c.params["channel"]); err != nil {
		return nil, err
	}
	return &reply{}, nil
}

// kickUser sends one user out, who may come again while its token is valid.
func (h *Handler) kickUser(c *call) (*reply, error) {
	if _, err := h.application(c); err != nil {
		return nil, err
	}
	if err := h.rooms.Kick(c.params["app"], c.params["channel"], c.params["user"]); err != nil {
		return nil, err
	}
	return &reply{}, nil
}
