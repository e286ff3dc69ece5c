package store

import (
	"fmt"
	"time"
)

// AnswerKept is how long an answer can be given again.
const AnswerKept = 24 * time.Hour

// Answer is what a request that may be sent again was answered with.
type Answer struct {
	ID       string // of the request, as its sender named it
	Request  string // a hash of what it asked for
	Status   int
	Version  int64
	Location string
	Body     []byte
	Created  time.Time
}

// KeepAnswer keeps an answer for AnswerKept from now on and forgets those that
// are older. The ID must not be kept already.
func (tx *Tx) KeepAnswer(a Answer) error {
	now := tx.now()
	if _, err := tx.exec("DELETE FROM answers WHERE created <= ?", now.Add(-AnswerKept)); err != nil {
		return err
	}
	_, err := tx.exec("INSERT INTO answers (id, request, status, version, location, body, created) VALUES (?, ?, ?, ?, ?, ?, ?)",
		a.ID, a.Request, a.Status, a.Version, a.Location, a.Body, now)
	return err
}

// Answer finds an answer that is not older than AnswerKept; media.ErrNotFound.
func (tx *Tx) Answer(id string) (Answer, error) {
	return one(tx, scanAnswer, fmt.Sprintf("answer %s", id),
		"SELECT id, request, status, version, location, body, created FROM answers WHERE id = ? AND created > ?",
		id, tx.now().Add(-AnswerKept))
}

func scanAnswer(r scanner) (a Answer, err error) {
	err = r.Scan(&a.ID, &a.Request, &a.Status, &a.Version, &a.Location, &a.Body, at(&a.Created))
	return a, err
}
