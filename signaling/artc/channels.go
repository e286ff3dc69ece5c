package artc

import (
	"errors"
	"net/http"
	"slices"

	"braid/media"
)

const maxTerminals = 30 // of one RemoveTerminals: section 3.3

// channel reads the two fields that name a channel.
func (h *Handler) channel(c *call) (app, channel string) {
	return h.app(c), c.needID("ChannelId", maxID)
}

// describeChannelUsers tells streamers from viewers by whether they publish
// (section 3.1). A channel whose last user has just left is still there, empty.
func (h *Handler) describeChannelUsers(c *call) (reply, error) {
	app, channel := h.channel(c)
	if err := c.err(); err != nil {
		return nil, err
	}
	interactive, live := []string{}, []string{}
	there, exists := h.cfg.Channels.Channel(app, channel)
	if exists {
		for _, u := range there.Users() {
			if u.Publishing() {
				interactive = append(interactive, u.ID)
			} else {
				live = append(live, u.ID)
			}
		}
	}
	return reply{
		"IsChannelExists":       exists,
		"InteractiveUserList":   interactive,
		"InteractiveUserNumber": len(interactive),
		"LiveUserList":          live,
		"LiveUserNumber":        len(live),
		"Timestamp":             h.now().Unix(),
	}, nil
}

// describeChannelParticipants lists users by when they joined (section 3.2).
// That TotalNum counts all users, that TotalPage counts pages, and that no user
// is in a channel that does not exist, are braid's own.
func (h *Handler) describeChannelParticipants(c *call) (reply, error) {
	app, channel := h.channel(c)
	order := c.choice("Order", "desc", "asc", "desc")
	page, size := c.wholeOr("PageNum", 1, 1, maxPage), c.wholeOr("PageSize", 10, 1, 100)
	if err := c.err(); err != nil {
		return nil, err
	}
	users := []string{}
	if there, ok := h.cfg.Channels.Channel(app, channel); ok {
		for _, u := range there.Users() {
			users = append(users, u.ID)
		}
	}
	if order == "desc" {
		slices.Reverse(users)
	}
	return reply{
		"UserList":  pageOf(users, page, size),
		"TotalNum":  len(users),
		"TotalPage": (len(users) + size - 1) / size,
		"Times":     h.now().Unix(),
	}, nil
}

// listRooms lists the channels of an application by their ids, so that pages
// stay as they are while others open and close: braid's own order.
func (h *Handler) listRooms(c *call) (reply, error) {
	app := h.app(c)
	page, size := c.wholeOr("PageNo", 1, 1, maxPage), c.wholeOr("PageSize", 50, 10, 100)
	if err := c.err(); err != nil {
		return nil, err
	}
	rooms := []string{}
	for _, ch := range h.cfg.SFU.Snapshot() {
		if ch.App == app {
			rooms = append(rooms, ch.Channel)
		}
	}
	slices.Sort(rooms)
	return reply{"Rooms": pageOf(rooms, page, size), "Total": len(rooms)}, nil
}

// removeTerminals makes users leave, each with its own result. That one who is
// not there fails with the code 404, and one who could not be removed with 500,
// is braid's own.
func (h *Handler) removeTerminals(c *call) (reply, error) {
	app, channel := h.channel(c)
	users := c.needTexts("TerminalIds", maxTerminals)
	if err := c.err(); err != nil {
		return nil, err
	}
	results := []reply{}
	kicked := map[string]bool{}
	for _, user := range users {
		result := reply{"Id": user, "Code": 0, "Message": "Success"}
		err := h.cfg.SFU.Kick(app, channel, user)
		switch {
		case err == nil:
			kicked[user] = true
		case kicked[user]: // named twice
		case errors.Is(err, media.ErrNotFound):
			result["Code"], result["Message"] = http.StatusNotFound, "Failed"
		default:
			h.cfg.Log.Error("artc: remove a terminal", "app", app, "channel", channel, "user", user, "err", err)
			result["Code"], result["Message"] = http.StatusInternalServerError, "Failed"
		}
		results = append(results, result)
	}
	return reply{"Terminals": results}, nil
}

// deleteChannel makes everyone leave. That there must be such a channel is
// braid's own.
func (h *Handler) deleteChannel(c *call) (reply, error) {
	app, channel := h.channel(c)
	if err := c.err(); err != nil {
		return nil, err
	}
	err := h.cfg.SFU.Dismiss(app, channel)
	if errors.Is(err, media.ErrNotFound) {
		return nil, channelNotExist(channel, "")
	}
	return nil, err
}

// maxPage bounds page numbers: braid's own.
const maxPage = 1 << 20

// pageOf is a page of a list, counted from 1; past the end it is empty.
func pageOf[T any](list []T, page, size int) []T {
	from := min((page-1)*size, len(list))
	return list[from:min(from+size, len(list))]
}
