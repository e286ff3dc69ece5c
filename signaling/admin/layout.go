package admin

import (
	"encoding/json"
	"fmt"
	"math"

	"braid/media"
	"braid/relay"
	"braid/signaling/artc"
	"braid/store"
)

// layout is what a mix shows and where.
type layout struct {
	Channel string `json:"channel"`
	Width   int    `json:"width"` // of the canvas, in pixels
	Height  int    `json:"height"`
	Users   []seat `json:"users"` // who may have a pane; empty: everyone in the channel
	Panes   []pane `json:"panes"`
}

// seat is one of a user's pictures.
type seat struct {
	User   string       `json:"user"`
	Source media.Source `json:"source"`
}

// pane is a rectangle of the canvas, in shares of it, and whose picture it shows.
type pane struct {
	X      float64      `json:"x"`
	Y      float64      `json:"y"`
	Width  float64      `json:"width"`
	Height float64      `json:"height"`
	ZOrder int          `json:"z_order"`
	Crop   bool         `json:"crop"`
	User   string       `json:"user,omitempty"`
	Source media.Source `json:"source,omitempty"`
	Image  string       `json:"image,omitempty"`
}

// mix is the running mix that a request names.
func (h *Handler) mix(c *call) (*relay.Spec, error) {
	app, name := c.params["app"], c.params["task"]
	var row store.Task
	err := h.store.View(c.r.Context(), func(tx *store.Tx) error {
		if _, err := tx.Application(app); err != nil {
			return err
		}
		all, err := tx.Tasks()
		for _, t := range all {
			if t.App == app && t.ID == name {
				row = t
				return err
			}
		}
		if err != nil {
			return err
		}
		return fmt.Errorf("there is no task %s: %w", quote(name), media.ErrNotFound)
	})
	if err != nil {
		return nil, err
	}
	return h.tasks.MixOf(app, row.Channel, name)
}

func showLayout(s *relay.Spec) layout {
	out := layout{Channel: s.Channel, Width: s.Encode.Width, Height: s.Encode.Height, Users: []seat{}, Panes: []pane{}}
	for _, u := range s.Users {
		if u.Type != relay.AudioOnly {
			out.Users = append(out.Users, seat{u.User, u.Source})
		}
	}
	for _, p := range s.Panes {
		show := pane{X: p.X, Y: p.Y, Width: p.W, Height: p.H, ZOrder: p.ZOrder, Crop: p.Crop, Image: p.Background}
		if p.User != nil {
			show.User, show.Source = p.User.User, p.User.Source
		}
		out.Panes = append(out.Panes, show)
	}
	return out
}

func (h *Handler) getLayout(c *call) (*reply, error) {
	if err := c.noQuery(); err != nil {
		return nil, err
	}
	s, err := h.mix(c)
	if err != nil {
		return nil, err
	}
	return ok(showLayout(s))
}

// putLayout replaces the panes of a running mix, as UpdateLiveMPUTask with
// nothing but a layout does. An automatic mix keeps this layout from then on.
func (h *Handler) putLayout(c *call) (*reply, error) {
	s, err := h.mix(c)
	if err != nil {
		return nil, err
	}
	o, err := c.json()
	if err != nil {
		return nil, err
	}
	o.need("panes")
	panes := o.objects("panes", maxPanes)
	list := make([]pane, len(panes))
	for i, p := range panes {
		readPane(p, &list[i])
	}
	if err := o.done(); err != nil {
		return nil, err
	}
	if err := artc.SetLayout(c.r.Context(), h.tasks, s.App, s.Channel, s.Task, userPanes(list)); err != nil {
		return nil, err
	}
	if s, err = h.tasks.MixOf(s.App, s.Channel, s.Task); err != nil {
		return nil, err
	}
	return ok(showLayout(s))
}

// Limits of a layout (artc-api.md section 4.2).
const (
	maxPanes  = 16
	maxZOrder = 99
)

func readPane(o *object, p *pane) {
	for _, f := range []struct {
		name string
		to   *float64
	}{{"x", &p.X}, {"y", &p.Y}, {"width", &p.Width}, {"height", &p.Height}} {
		o.need(f.name)
		o.share(f.name, f.to)
	}
	p.Crop = true
	o.int("z_order", &p.ZOrder, 0, maxZOrder)
	o.bool("crop", &p.Crop)
	o.str("user", &p.User, 1, 64)
	source := string(media.Camera)
	o.oneOf("source", &source, string(media.Camera), string(media.ShareScreen))
	p.Source = media.Source(source)
	o.str("image", &p.Image, 0, 2083)
}

// userPanes writes panes in the form of Layout.UserPanes, whose checks they go
// through.
func userPanes(panes []pane) json.RawMessage {
	type object = map[string]any
	list := []object{}
	for _, p := range panes {
		one := object{"X": p.X, "Y": p.Y, "Width": p.Width, "Height": p.Height, "ZOrder": p.ZOrder, "RenderMode": "0"}
		if p.Crop {
			one["RenderMode"] = "1"
		}
		if p.User != "" {
			one["UserInfo"] = object{"UserId": p.User, "SourceType": string(p.Source)}
		}
		if p.Image != "" {
			one["BackgroundImageUrl"] = p.Image
		}
		list = append(list, one)
	}
	text, err := json.Marshal(list)
	if err != nil {
		panic("admin: panes cannot be written as JSON: " + err.Error()) // finite numbers and texts
	}
	return text
}

// share reads a number from 0 to 1.
func (o *object) share(name string, to *float64) bool {
	value, ok := o.take(name)
	if !ok {
		return false
	}
	var v float64
	switch {
	case json.Unmarshal(value, &v) != nil:
		o.refuse(name, "is not a number")
		return false
	case v < 0 || v > 1 || math.IsNaN(v):
		o.refuse(name, "%g is not from 0 to 1", v)
		return false
	}
	*to = v
	return true
}

// objects reads a list of at most items objects.
func (o *object) objects(name string, items int) (all []*object) {
	value, ok := o.take(name)
	if !ok {
		return nil
	}
	var list []json.RawMessage
	if json.Unmarshal(value, &list) != nil {
		o.refuse(name, "is not a list")
		return nil
	}
	if len(list) == 0 || len(list) > items {
		o.refuse(name, "has %d items; it may have 1 to %d", len(list), items)
		return nil
	}
	for i, v := range list {
		sub := &object{prefix: fmt.Sprintf("%s%s[%d].", o.prefix, name, i), wrong: o.wrong}
		if err := sub.parse(v); err != nil {
			o.refuse(fmt.Sprintf("%s[%d]", name, i), "%s", err)
			continue
		}
		o.subs = append(o.subs, sub)
		all = append(all, sub)
	}
	return all
}
