package main

import (
	"slices"
	"strings"
	"time"

	"braid/event"
	"braid/media"
	"braid/origin"
	records "braid/origin/record"
	"braid/relay"
	"braid/signaling/artc"
)

// about is what an event says of the cloud recording whose callback is told of it;
// nil when none is.
func (c *cloud) about(e *records.Event) *event.Recording {
	task, ok := strings.CutPrefix(e.Template, cloudOf)
	if !ok || e.Kind == records.Ended {
		return nil
	}
	t, err := c.find(task)
	if err != nil || t.Sub == "" {
		return nil
	}
	format := e.File.Format
	if e.Kind != records.Filed {
		format = e.Formats[0]
	}
	for word, f := range cloudForms {
		if f == format {
			format = word
		}
	}
	if wanted := t.Ask.NotifyFormats; e.Kind == records.Filed && len(wanted) > 0 && !slices.Contains(wanted, format) {
		return nil
	}
	r := &event.Recording{Task: t.ID, Channel: t.Ask.Channel, Format: format, Stream: "Mix"}
	for _, p := range slices.Concat(t.Parts, t.Past) {
		if p.Name == e.Stream && !t.Ask.Mix {
			r.User, r.Stream = p.From.User, singleStream(p.From)
		}
	}
	return r
}

// singleStream is a user's stream in the words of artc-api.md section 9.
func singleStream(u relay.UserRef) string {
	name := "Single::" + u.User
	switch u.Type {
	case relay.AudioOnly:
		return name + "::A"
	case relay.VideoOnly:
		name += "::V"
	default:
		name += "::AV"
	}
	if u.Source == media.Camera {
		return name + "::C"
	}
	return name + "::S"
}

// failed tells of a form that cannot be made at all, which is not tried again.
func (c *cloud) failed(t *cloudTask, ch origin.Change, formats []string, err error) {
	reason := strings.TrimSuffix(strings.TrimPrefix(err.Error(), "record: "), ": "+media.ErrInvalid.Error())
	e := records.Event{Kind: records.Failed, App: ch.App, Stream: ch.Name, Template: cloudOf + t.ID, Formats: formats}
	c.tell(event.Event{App: t.Ask.App, Type: event.RecordFailed, Time: time.Now(), Recording: c.about(&e),
		Stream: &event.Stream{Domain: ch.Domain, App: ch.App, Name: ch.Name, Since: ch.Time, Template: e.Template, Reason: reason}})
}

// concludeAll looks for recordings that are over.
func (c *cloud) concludeAll(now time.Time) {
	for _, t := range c.list() {
		if t.Ended.IsZero() {
			c.conclude(t.ID, now)
		}
	}
}

// conclude tells of a recording's end behind all that was told of its files, and
// notes some time later that it did: after a crash in between it is told again.
func (c *cloud) conclude(task string, now time.Time) {
	c.changing.Lock()
	defer c.changing.Unlock()
	c.mu.Lock()
	told, busy := c.told[task], c.busy[task] > 0
	c.mu.Unlock()
	t, err := c.find(task)
	switch {
	case err != nil || busy:
	case !told.IsZero() && now.Sub(told) >= cloudNoted:
		c.note(t, told)
	case told.IsZero() && !c.runs(t):
		if _, status, err := c.Files(task); err != nil || status != "STOPPED" {
			return
		}
		c.tellStopped(t, now)
		c.mu.Lock()
		c.told[task] = now
		c.mu.Unlock()
	}
}

func (c *cloud) tellStopped(t *cloudTask, now time.Time) {
	if t.Sub == "" {
		return
	}
	reason := ""
	if t.Stopped.IsZero() {
		reason = "it ended by itself: none of its users was there for too long, or the channel was closed"
	}
	c.tell(event.Event{App: t.Ask.App, Channel: t.Ask.Channel, Type: event.RecordStopped, Time: now,
		Recording: &event.Recording{Task: t.ID, Channel: t.Ask.Channel, Reason: reason}})
}

// note notes that a recording's end was told. c.changing is held.
func (c *cloud) note(t *cloudTask, told time.Time) {
	next := *t
	next.Ended = told
	if err := c.keep(&next); err != nil {
		c.log.Error("the end of a cloud recording cannot be noted", "task", t.ID, "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.told, t.ID)
}

// settle notes the ends that were told, once all that was told is in the store and
// run has returned.
func (c *cloud) settle() {
	c.changing.Lock()
	defer c.changing.Unlock()
	for _, t := range c.list() {
		c.mu.Lock()
		told := c.told[t.ID]
		c.mu.Unlock()
		if !told.IsZero() {
			c.note(t, told)
		}
	}
}

// Files implements artc.CloudRecordings.
func (c *cloud) Files(task string) (names artc.CloudFiles, status string, err error) {
	t, err := c.find(task)
	if err != nil {
		return names, "", err
	}
	c.mu.Lock()
	busy := c.busy[task] > 0
	c.mu.Unlock()
	status = "STOPPED"
	switch {
	case c.runs(t):
		status = "RUNNING"
	case busy: // the last files are being finished
		status = "STOPPING"
	}
	q := records.Query{Template: cloudOf + task, Limit: 1000}
	for {
		files, next, err := c.index.List(q)
		if err != nil {
			return names, "", err
		}
		for _, f := range files {
			switch {
			case f.State != records.Kept && status == "STOPPED": // being finished, or uploaded
				status = "STOPPING"
			case f.State != records.Kept:
			case f.Format == records.HLS:
				names.HLS = append(names.HLS, f.Name)
			case f.Format == records.MP3:
				names.MP3 = append(names.MP3, f.Name)
			default:
				names.MP4 = append(names.MP4, f.Name)
			}
		}
		if next == "" {
			slices.Reverse(names.MP4)
			slices.Reverse(names.HLS)
			slices.Reverse(names.MP3)
			return names, status, nil
		}
		q.Cursor = next
	}
}
