package artc

import (
	"context"
	"encoding/json"
)

// app reads AppId, the first field of every action.
func (h *Handler) app(f *fields) string {
	app := f.raw("AppId")
	switch {
	case f.fail.err != nil:
	case app == "":
		f.missing("AppId")
	case !isID(app, maxID):
		f.fail.err = invalidAppID("AppId: %s is not 1 to %d of A-Z a-z 0-9 _ -", quote(app), maxID)
	case !h.apps.Exists(app):
		f.fail.err = invalidAppID("AppId: there is no application %s", quote(app))
	}
	return app
}

func (h *Handler) startTask(ctx context.Context, f *fields) (map[string]any, error) {
	s := taskSpec(f, h.app(f), true)
	if err := f.err(); err != nil {
		return nil, err
	}
	err := h.tasks.Start(ctx, s)
	return nil, taskError(err, s.Task, channelNotExist(s.Channel))
}

func (h *Handler) updateTask(ctx context.Context, f *fields) (map[string]any, error) {
	s := taskSpec(f, h.app(f), false)
	if err := f.err(); err != nil {
		return nil, err
	}
	if running := h.tasks.List(s.App, s.Task, 1, 1); len(running) > 0 {
		keepEcho(s, running[0])
	}
	err := h.tasks.Update(ctx, s)
	return nil, taskError(err, s.Task, taskNotExist(s.Task))
}

func (h *Handler) stopTask(ctx context.Context, f *fields) (map[string]any, error) {
	app, task := h.app(f), f.needID("TaskId", maxTaskID)
	if err := f.err(); err != nil {
		return nil, err
	}
	err := h.tasks.Stop(ctx, app, task)
	return nil, taskError(err, task, taskNotExist(task))
}

// setTaskSEI takes any JSON value as content.
func (h *Handler) setTaskSEI(ctx context.Context, f *fields) (map[string]any, error) {
	app, task := h.app(f), f.needID("TaskId", maxTaskID)
	content := f.text("CustomSei", maxContent)
	if content == "" {
		f.missing("CustomSei")
	} else if !json.Valid([]byte(content)) {
		f.invalid("CustomSei", "%s is not a JSON text", quote(content))
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	err := h.tasks.SetSEI(ctx, app, task, content)
	return nil, taskError(err, task, taskNotExist(task))
}

// listTasks answers with the parameters that the tasks were started or last
// updated with (section 4.3); a task that was not made by this API has none. A
// TaskId that is not known gives an empty list: braid's own.
func (h *Handler) listTasks(_ context.Context, f *fields) (map[string]any, error) {
	app, task := h.app(f), f.id("TaskId", maxTaskID)
	page, size := 1, 1
	if task == "" {
		page = f.needWhole("PageNo", 1, 1<<20) // the upper limit is braid's own
		size = f.needWhole("PageSize", 1, 100)
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	list := []map[string]any{} // never null in JSON
	for _, s := range h.tasks.List(app, task, page, size) {
		if s.Echo != nil {
			list = append(list, s.Echo)
		}
	}
	return map[string]any{"MPUTasks": list}, nil
}

// describeChannelUsers tells publishers from viewers by what they send
// (section 3.1): a user who publishes is interactive, whoever else is there is
// live. A channel without users does not exist at once: braid's own.
func (h *Handler) describeChannelUsers(_ context.Context, f *fields) (map[string]any, error) {
	app, channel := h.app(f), f.needID("ChannelId", maxID)
	if err := f.err(); err != nil {
		return nil, err
	}
	interactive, live := []string{}, []string{}
	c, exists := h.channels.Channel(app, channel)
	if exists {
		for _, u := range c.Users() {
			if u.Publishing() {
				interactive = append(interactive, u.ID)
			} else {
				live = append(live, u.ID)
			}
		}
	}
	return map[string]any{
		"IsChannelExists":       exists,
		"InteractiveUserList":   interactive,
		"InteractiveUserNumber": len(interactive),
		"LiveUserList":          live,
		"LiveUserNumber":        len(live),
		"Timestamp":             h.now().Unix(),
	}, nil
}
