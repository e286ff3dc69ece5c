package artc

import (
	"encoding/json"
	"errors"

	"braid/media"
)

func (h *Handler) startTask(c *call) (reply, error) {
	s := taskSpec(c.fields, h.app(c), true)
	if err := c.err(); err != nil {
		return nil, err
	}
	if err := h.enabled(c.ctx(), s.App); err != nil {
		return nil, err
	}
	err := h.cfg.Tasks.Start(c.ctx(), s)
	if errors.Is(err, media.ErrExists) {
		return nil, invalidParam("TaskId: task %s already exists", quote(s.Task))
	}
	return nil, serviceError(err, channelNotExist(s.Channel, ": no user is in it"))
}

func (h *Handler) updateTask(c *call) (reply, error) {
	s := taskSpec(c.fields, h.app(c), false)
	if err := c.err(); err != nil {
		return nil, err
	}
	if running := h.cfg.Tasks.List(s.App, s.Task, 1, 1); len(running) > 0 {
		keepEcho(s, running[0])
	}
	err := h.cfg.Tasks.Update(c.ctx(), s)
	return nil, serviceError(err, taskNotExist(s.Task))
}

func (h *Handler) stopTask(c *call) (reply, error) {
	app, task := h.app(c), c.needID("TaskId", maxTaskID)
	if err := c.err(); err != nil {
		return nil, err
	}
	err := h.cfg.Tasks.Stop(c.ctx(), app, task)
	return nil, serviceError(err, taskNotExist(task))
}

// setTaskSEI takes any JSON value as content.
func (h *Handler) setTaskSEI(c *call) (reply, error) {
	app, task := h.app(c), c.needID("TaskId", maxTaskID)
	content := c.text("CustomSei", maxContent)
	if content == "" {
		c.missing("CustomSei")
	} else if !json.Valid([]byte(content)) {
		c.invalid("CustomSei", "%s is not a JSON text", quote(content))
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	err := h.cfg.Tasks.SetSEI(c.ctx(), app, task, content)
	return nil, serviceError(err, taskNotExist(task))
}

// listTasks answers with the parameters that the tasks were started or last
// updated with (section 4.3); a task that was not made by this API has none. A
// TaskId that is not known gives an empty list: braid's own.
func (h *Handler) listTasks(c *call) (reply, error) {
	app, task := h.app(c), c.id("TaskId", maxTaskID)
	page, size := 1, 1
	if task == "" {
		page = c.needWhole("PageNo", 1, maxPage)
		size = c.needWhole("PageSize", 1, 100)
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	list := []map[string]any{} // never null in JSON
	for _, s := range h.cfg.Tasks.List(app, task, page, size) {
		if s.Echo != nil {
			list = append(list, s.Echo)
		}
	}
	return reply{"MPUTasks": list}, nil
}
