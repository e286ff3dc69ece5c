package store

import (
	"fmt"

	"braid/media"
)

const taskColumns = "app, id, channel, auto, spec, content, created, updated"

// CreateTask adds a task and fills in Updated and, when it is zero, Created.
// media.ErrExists when the application has one of this id, media.ErrNotFound
// when there is no such application.
func (tx *Tx) CreateTask(t *Task) error {
	if t.ID == "" {
		return fmt.Errorf("the task's id is empty: %w", media.ErrInvalid)
	}
	if _, err := tx.Application(t.App); err != nil {
		return err
	}
	next := *t
	next.Updated = tx.now()
	if next.Created.IsZero() {
		next.Created = next.Updated
	}
	n, err := tx.exec("INSERT INTO tasks ("+taskColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		t.App, t.ID, t.Channel, t.Auto, t.Spec, t.Content, next.Created, next.Updated)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("task %q of application %q: %w", t.ID, t.App, media.ErrExists)
	}
	*t = next
	return nil
}

// Task finds a task; media.ErrNotFound.
func (tx *Tx) Task(app, id string) (Task, error) {
	return one(tx, scanTask, fmt.Sprintf("task %q of application %q", id, app),
		"SELECT "+taskColumns+" FROM tasks WHERE app = ? AND id = ?", app, id)
}

// UpdateTask writes Channel, Auto, Spec and Content over the task of this id
// and sets Updated; media.ErrNotFound.
func (tx *Tx) UpdateTask(t *Task) error {
	now := tx.now()
	n, err := tx.exec("UPDATE tasks SET channel = ?, auto = ?, spec = ?, content = ?, updated = ? WHERE app = ? AND id = ?",
		t.Channel, t.Auto, t.Spec, t.Content, now, t.App, t.ID)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("task %q of application %q: %w", t.ID, t.App, media.ErrNotFound)
	}
	t.Updated = now
	return nil
}

// DeleteTask deletes a task; media.ErrNotFound.
func (tx *Tx) DeleteTask(app, id string) error {
	n, err := tx.exec("DELETE FROM tasks WHERE app = ? AND id = ?", app, id)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("task %q of application %q: %w", id, app, media.ErrNotFound)
	}
	return nil
}

// Tasks lists the tasks of all applications, the oldest first.
func (tx *Tx) Tasks() ([]Task, error) {
	return list(tx, scanTask, "SELECT "+taskColumns+" FROM tasks ORDER BY created, app, id")
}

func scanTask(r scanner) (t Task, err error) {
	err = r.Scan(&t.App, &t.ID, &t.Channel, &t.Auto, &t.Spec, &t.Content, at(&t.Created), at(&t.Updated))
	if len(t.Spec) == 0 {
		t.Spec = nil // on both engines
	}
	return t, err
}
