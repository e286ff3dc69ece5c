package artc

import (
	"strconv"
	"strings"

	"braid/store"
)

// The MPU subscription is the one of an application, so most of its actions
// name no subscription (section 2).

func (h *Handler) createMPUSub(c *call) (reply, error) {
	sub := &store.Subscription{App: h.app(c), Kind: store.MPU, URL: needText(c, "CallbackUrl"), Channels: channelIDs(c)}
	if err := c.err(); err != nil {
		return nil, err
	}
	if err := h.cfg.Callbacks.Create(c.ctx(), sub); err != nil {
		return nil, serviceError(err, noApp("AppId", sub.App))
	}
	return reply{"SubId": sub.ID}, nil
}

// updateMPUSub replaces ChannelIds, of which none means all channels as
// documented. An absent CallbackUrl stays as it is: braid's own.
func (h *Handler) updateMPUSub(c *call) (reply, error) {
	app, url, channels := h.app(c), c.raw("CallbackUrl"), channelIDs(c)
	if err := c.err(); err != nil {
		return nil, err
	}
	sub, err := h.cfg.Callbacks.MPU(c.ctx(), app)
	if err != nil {
		return nil, subError(err, "")
	}
	sub.Channels = channels
	if url != "" {
		sub.URL = url
	}
	return nil, subError(h.cfg.Callbacks.Update(c.ctx(), &sub), "")
}

func (h *Handler) deleteMPUSub(c *call) (reply, error) {
	app := h.app(c)
	if err := c.err(); err != nil {
		return nil, err
	}
	sub, err := h.cfg.Callbacks.MPU(c.ctx(), app)
	if err != nil {
		return nil, subError(err, "")
	}
	return nil, subError(h.cfg.Callbacks.Delete(c.ctx(), app, store.MPU, sub.ID), "")
}

func (h *Handler) describeMPUSub(c *call) (reply, error) {
	app := h.app(c)
	if err := c.err(); err != nil {
		return nil, err
	}
	sub, err := h.cfg.Callbacks.MPU(c.ctx(), app)
	if err != nil {
		return nil, subError(err, "")
	}
	return reply{"SubInfo": reply{"SubId": sub.ID, "AppId": sub.App, "ChannelIds": strings.Join(sub.Channels, ","),
		"CallbackUrl": sub.URL, "CreateTime": sub.Created.UTC().Format(timeLayout)}}, nil
}

// listMPURecords lists attempts to deliver, the newest first. HTTPCode is a
// text, "0" when there was no answer: braid's own.
func (h *Handler) listMPURecords(c *call) (reply, error) {
	q := store.RecordQuery{App: h.app(c), Kind: store.MPU, Sub: c.raw("SubId"),
		From: c.needTime("StartTime"), To: c.needTime("EndTime")}
	page, err := h.records(c, q)
	if err != nil {
		return nil, err
	}
	logs := []reply{}
	for _, r := range page.Records {
		logs = append(logs, reply{"MsgId": r.MsgID, "SubId": r.Sub, "AppId": r.App, "CallbackUrl": r.URL, "Data": r.Payload,
			"HTTPCode": strconv.Itoa(r.Code), "Cost": r.Cost.Milliseconds(), "Time": r.Time.UTC().Format(timeLayout)})
	}
	return reply{"Logs": logs, "Count": page.Count, "HasMore": page.HasMore}, nil
}

// channelIDs reads a list with commas; nil when absent.
func channelIDs(c *call) []string {
	s := c.raw("ChannelIds")
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}
