package store

import (
	"slices"

	"braid/event"
)

// TemplatesFor lists the templates that apply to the streams of a streaming
// domain and an AppName: those that are not disabled and whose application is
// not, by application and id.
func (tx *Tx) TemplatesFor(domain, appName string) ([]Template, error) {
	return list(tx, scanTemplate, `SELECT t.app, t.id, t.domain, t.app_name, t.kind, t.spec, t.disabled, t.version, t.created, t.updated
		FROM templates t JOIN applications a ON a.id = t.app
		WHERE t.domain = ? AND t.app_name = ? AND t.disabled = 0 AND a.disabled = 0 ORDER BY t.app, t.id`, domain, appName)
}

// StreamApps lists the applications that are told of the streams of a streaming
// domain and an AppName: those that a template of theirs names them, and those
// whose relay settings do and are switched on. Disabled ones are not among them.
// It reads all applications that relay to the domain.
func (tx *Tx) StreamApps(domain, appName string) ([]string, error) {
	templates, err := tx.TemplatesFor(domain, appName)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, t := range templates {
		ids = append(ids, t.App)
	}
	relaying, err := list(tx, scanApplication, "SELECT "+applicationColumns+" FROM applications WHERE relay_domain = ? AND disabled = 0", domain)
	if err != nil {
		return nil, err
	}
	for _, a := range relaying {
		if a.Relay.Enabled && a.Relay.AppName == appName {
			ids = append(ids, a.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// PresentStream is a stream that is on air according to the log of an application.
type PresentStream struct {
	To     string // the application that was told
	Stream event.Stream
}

// followStream brings what is on air up to date with an event of the log.
func (tx *Tx) followStream(e event.Event) error {
	s := e.Stream
	switch e.Type {
	case event.StreamStarted:
		since := s.Since
		if since.IsZero() {
			since = e.Time
		}
		_, err := tx.exec(`INSERT INTO present_streams (app, domain, stream_app, name, since, seq) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (app, stream_app, name) DO UPDATE SET domain = excluded.domain, since = excluded.since, seq = excluded.seq`,
			e.App, s.Domain, s.App, s.Name, since, e.Seq)
		return err
	case event.StreamEnded:
		_, err := tx.exec("DELETE FROM present_streams WHERE app = ? AND stream_app = ? AND name = ?", e.App, s.App, s.Name)
		return err
	}
	return nil
}

// PresentStreams lists the streams on air by the log, in the order of their starts.
func (tx *Tx) PresentStreams() ([]PresentStream, error) {
	return list(tx, func(r scanner) (p PresentStream, err error) {
		err = r.Scan(&p.To, &p.Stream.Domain, &p.Stream.App, &p.Stream.Name, at(&p.Stream.Since))
		return p, err
	}, "SELECT app, domain, stream_app, name, since FROM present_streams ORDER BY seq, app")
}

// departStreams tells the end of every stream that the server before this one
// left on air when it was killed.
func (tx *Tx) departStreams() error {
	left, err := tx.PresentStreams()
	if err != nil {
		return err
	}
	now := tx.now()
	for _, p := range left {
		s := p.Stream
		s.Reason = "the server ended without a word"
		if err := tx.Append(event.Event{App: p.To, Type: event.StreamEnded, Time: now, Stream: &s}); err != nil {
			return err
		}
	}
	return nil
}

// wanted leaves out the events that are made often and are kept only for those
// who asked for them: pictures that were taken.
func (tx *Tx) wanted(events []event.Event) ([]event.Event, error) {
	often := func(e event.Event) bool { return e.Type == event.SnapshotTaken }
	if !slices.ContainsFunc(events, often) {
		return events, nil
	}
	var kept []event.Event
	for _, e := range events {
		if often(e) {
			if subs, err := tx.asking(e); err != nil {
				return nil, err
			} else if len(subs) == 0 {
				continue
			}
		}
		kept = append(kept, e)
	}
	return kept, nil
}
