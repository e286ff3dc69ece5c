package artc

import (
	"time"

	"braid/callback"
	"braid/store"
)

// The times of EventSub are UTC+8 (section 5.1; the times of records are so by
// the documented sample, whose payload has the same moment in unix seconds).
var beijing = time.FixedZone("UTC+8", 8*60*60)

const (
	subTimeLayout    = "2006-01-02 15:04:05"
	recordTimeLayout = "2006-01-02 15:04:05.000"
)

// recordsKept is how far back lists of records go, and how long a range may be
// (section 5.1).
const recordsKept = 7 * 24 * time.Hour

// createEventSub subscribes a URL to channel and user events. What a
// subscription may be is callback's to say.
func (h *Handler) createEventSub(c *call) (reply, error) {
	sub := h.eventSub(c)
	if err := c.err(); err != nil {
		return nil, err
	}
	if err := h.cfg.Callbacks.Create(c.ctx(), sub); err != nil {
		return nil, serviceError(err, noApp("AppId", sub.App))
	}
	return reply{"SubscribeId": sub.ID}, nil
}

// updateEventSub replaces all of a subscription. It holds at once: braid's own,
// where the source keeps a live channel's old one.
func (h *Handler) updateEventSub(c *call) (reply, error) {
	sub := h.eventSub(c)
	sub.ID = needText(c, "SubscribeId")
	if err := c.err(); err != nil {
		return nil, err
	}
	return nil, subError(h.cfg.Callbacks.Update(c.ctx(), sub), sub.ID)
}

func (h *Handler) deleteEventSub(c *call) (reply, error) {
	app, id := h.app(c), needText(c, "SubscribeId")
	if err := c.err(); err != nil {
		return nil, err
	}
	return nil, subError(h.cfg.Callbacks.Delete(c.ctx(), app, store.Room, id), id)
}

// eventSub reads what CreateEventSub and UpdateEventSub have in common.
func (h *Handler) eventSub(c *call) *store.Subscription {
	sub := &store.Subscription{App: h.app(c), Kind: store.Room, URL: needText(c, "CallbackUrl"),
		Events: c.needTexts("Events", maxIndex), Users: c.texts("Users", maxIndex)}
	if channel := c.raw("ChannelId"); channel != "" {
		sub.Channels = []string{channel}
	}
	return sub
}

// listEventSub lists the subscriptions, the oldest first. One for all channels
// has the ChannelId "*", and Roles is 0, which means users of any role.
func (h *Handler) listEventSub(c *call) (reply, error) {
	app := h.app(c)
	if err := c.err(); err != nil {
		return nil, err
	}
	subs, err := h.cfg.Callbacks.List(c.ctx(), app, store.Room)
	if err != nil {
		return nil, err
	}
	list := []reply{}
	for _, s := range subs {
		channel := "*"
		if len(s.Channels) > 0 {
			channel = s.Channels[0]
		}
		list = append(list, reply{"SubId": s.ID, "ChannelId": channel, "Users": notNil(s.Users), "Events": notNil(s.Events),
			"CallbackUrl": s.URL, "Roles": 0, "CreateTime": s.Created.In(beijing).Format(subTimeLayout),
			"ModifyTime": s.Updated.In(beijing).Format(subTimeLayout)})
	}
	return reply{"Subscribers": list}, nil
}

// listEventSubEvent lists attempts to deliver, the newest first. The second of
// EndTime counts too, and Code is 0 when there was no answer: braid's own.
func (h *Handler) listEventSubEvent(c *call) (reply, error) {
	q := store.RecordQuery{App: h.app(c), Kind: store.Room, Sub: c.raw("SubscribeId"),
		From: c.needUnix("StartTime"), To: c.needUnix("EndTime")}
	page, err := h.records(c, q)
	if err != nil {
		return nil, err
	}
	logs := []reply{}
	for _, r := range page.Records {
		logs = append(logs, reply{"MessageId": r.MsgID, "SubId": r.Sub, "AppId": r.App, "Url": r.URL, "Data": r.Payload,
			"Code": r.Code, "Cost": r.Cost.Milliseconds(), "Time": r.Time.In(beijing).Format(recordTimeLayout)})
	}
	return reply{"Logs": logs, "Count": page.Count, "HasMore": page.HasMore}, nil
}

// records reads the page that both lists of records ask for, and the page itself.
func (h *Handler) records(c *call, q store.RecordQuery) (callback.Page, error) {
	page, size := c.needWhole("PageNo", 1, maxPage), c.needWhole("PageSize", 1, 100)
	switch {
	case q.To.Before(q.From):
		c.invalid("EndTime", "is before StartTime")
	case q.To.Sub(q.From) > recordsKept:
		c.invalid("EndTime", "is more than 7 days after StartTime")
	case q.From.Before(h.now().Add(-recordsKept - skew)):
		c.invalid("StartTime", "is more than 7 days ago")
	}
	if err := c.err(); err != nil {
		return callback.Page{}, err
	}
	q.To = q.To.Add(time.Second)
	found, err := h.cfg.Callbacks.Records(c.ctx(), q, page, size)
	// A subscription of another application has no records here, and its
	// number of pages is nobody's business.
	found.HasMore = found.HasMore && found.Count > 0
	return found, err
}

func needText(c *call, field string) string {
	s := c.raw(field)
	if s == "" {
		c.missing(field)
	}
	return s
}

func notNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
