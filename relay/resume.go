package relay

import (
	"context"
	"fmt"

	"braid/store"
)

// Resume runs the tasks that the store holds, and begins the automatic relay.
// Their channels have two minutes to come back (or MaxIdle, where it is set).
// Tasks of an application that was disabled meanwhile end. A task that cannot be
// read is logged and left in the store, until Start makes another of its id. Call
// it once, before the first Start.
func (s *Service) Resume(ctx context.Context) error {
	var rows []store.Task
	off := make(map[string]bool)
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if rows, err = tx.Tasks(); err != nil {
			return err
		}
		for _, row := range rows {
			if _, known := off[row.App]; known {
				continue
			}
			app, err := tx.Application(row.App)
			if err != nil {
				return err
			}
			off[row.App] = app.Disabled
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("relay: read the tasks: %w", err)
	}
	if err := s.auto.load(ctx); err != nil { // URLs are signed with what it reads
		return fmt.Errorf("relay: read the settings: %w", err)
	}
	for _, row := range rows {
		spec, err := readSpec(&row)
		if err != nil {
			s.cfg.Log.Error("a relay task of the store cannot run", "app", row.App, "task", row.ID, "error", err)
			continue
		}
		t := newTask(s, spec, &row, true)
		if off[row.App] {
			t.quit(CodeApplication)
		}
		s.launch(t)
	}
	s.follows.Go(s.auto.run)
	return nil
}
