package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"braid/media"
	"braid/origin"
	records "braid/origin/record"
	"braid/signaling/artc"
)

// changed is origin.Config.Changed: what is there to be recorded alone is nobody
// else's business.
func (s *server) changed(c origin.Change) {
	if c.App == cloudApp {
		s.cloud.changed(c)
		return
	}
	s.studio.changed(c)
}

// changed records what comes on air under cloudApp; it never blocks.
func (c *cloud) changed(ch origin.Change) {
	if !ch.On {
		return
	}
	task, _, _ := strings.Cut(ch.Name, ".")
	release := c.hold(task)
	c.working.Go(func() {
		defer release()
		if err := c.record(task, ch); err != nil {
			c.log.Error("a cloud recording has failed", "stream", ch.Name, "error", err)
		}
	})
}

// record writes a stream in each of the recording's forms.
func (c *cloud) record(task string, ch origin.Change) error {
	t, err := c.find(task)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(t.Parts, func(p cloudPart) bool { return p.Name == ch.Name })
	if at < 0 {
		return fmt.Errorf("it has no stream %q: %w", ch.Name, media.ErrNotFound)
	}
	errs := make([]error, len(t.Ask.Files))
	var forms sync.WaitGroup
	for i, f := range t.Ask.Files {
		forms.Go(func() { errs[i] = c.recordAs(t, t.Parts[at].From.User, f, ch) })
	}
	forms.Wait()
	return errors.Join(errs...)
}

// cloudForms are the formats of files by ARTC's words.
var cloudForms = map[string]string{"MP4": records.FMP4, "HLS": records.HLS, "MP3": records.MP3}

func (c *cloud) recordAs(t *cloudTask, user string, f artc.CloudFile, ch origin.Change) error {
	viewer, err := c.tap(ch.App, ch.Name)
	if err != nil {
		return err
	}
	defer viewer.Close()
	name := func(pattern string) string { return t.Ask.FileName(f.Prefix, pattern, t.ID, user) }
	cfg := records.Config{
		Tags: viewer, Index: c.index, Domain: ch.Domain, App: ch.App, Stream: ch.Name, Since: ch.Time,
		Owner: t.Ask.App, Template: cloudOf + t.ID, Formats: []string{cloudForms[f.Format]}, Segment: t.Ask.MaxFile,
		Name: name(f.Pattern), Storage: t.Storage, Log: c.log,
	}
	if f.Format == "HLS" {
		cfg.Slice, cfg.Slices = f.Slice, name(f.SlicePattern)
	}
	if f.Format == "MP3" {
		cfg.Coder = func(s records.Sound) records.Coder { return openMP3(c.pool, s, t.Ask.Encode.AudioKbps) }
	}
	err = records.Run(c.ctx, cfg)
	if err != nil {
		c.failed(t, ch, cfg.Formats, err)
	}
	return err
}
