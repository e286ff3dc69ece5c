package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"braid/event"
)

// Present is an open channel and who is in it according to the log.
type Present struct {
	App, Channel string
	Opened       time.Time
	Users        []event.User // in the order of joining; Reason is 0
}

// follow brings presence up to date with an event of the log.
func (tx *Tx) follow(e event.Event) error {
	switch e.Type {
	case event.ChannelOpen:
		return tx.open(e)
	case event.ChannelClose:
		if _, err := tx.exec("DELETE FROM present_users WHERE app = ? AND channel = ?", e.App, e.Channel); err != nil {
			return err
		}
		_, err := tx.exec("DELETE FROM present_channels WHERE app = ? AND channel = ?", e.App, e.Channel)
		return err
	case event.UserLeave:
		_, err := tx.exec("DELETE FROM present_users WHERE app = ? AND channel = ? AND id = ? AND session = ?",
			e.App, e.Channel, e.User.ID, e.User.Session)
		return err
	case event.UserJoin:
		if err := tx.open(e); err != nil { // who is in a channel is in an open one, whatever was told
			return err
		}
		_, err := tx.exec(`INSERT INTO present_users (app, channel, session, id, role, medias, client, seq)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (app, channel, id, session)
			DO UPDATE SET role = excluded.role, medias = excluded.medias, client = excluded.client`,
			e.App, e.Channel, e.User.Session, e.User.ID, int(e.User.Role), medias(e.User), e.User.Client, e.Seq)
		return err
	}
	if e.Type.Stream() {
		return tx.followStream(e)
	}
	if !e.Type.User() {
		return nil
	}
	_, err := tx.exec("UPDATE present_users SET role = ?, medias = ? WHERE app = ? AND channel = ? AND id = ? AND session = ?",
		int(e.User.Role), medias(e.User), e.App, e.Channel, e.User.ID, e.User.Session)
	return err
}

func (tx *Tx) open(e event.Event) error {
	_, err := tx.exec("INSERT INTO present_channels (app, channel, opened, seq) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
		e.App, e.Channel, e.Time, e.Seq)
	return err
}

func medias(u *event.User) string {
	b, err := json.Marshal(u.Medias)
	if err != nil {
		panic("store: a list of strings is JSON")
	}
	return string(b)
}

// Presence lists the open channels, the one opened first at the front, and who
// is in them.
func (tx *Tx) Presence() ([]Present, error) {
	all, err := list(tx, func(r scanner) (p Present, err error) {
		return p, r.Scan(&p.App, &p.Channel, at(&p.Opened))
	}, "SELECT app, channel, opened FROM present_channels ORDER BY seq, app, channel")
	if err != nil {
		return nil, err
	}
	type name struct{ app, channel string }
	place := make(map[name]int, len(all))
	for i, p := range all {
		place[name{p.App, p.Channel}] = i
	}
	rows, err := tx.query("SELECT app, channel, id, session, role, medias, client FROM present_users ORDER BY seq")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n name
		var u event.User
		var medias string
		if err := rows.Scan(&n.app, &n.channel, &u.ID, &u.Session, &u.Role, &medias, &u.Client); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(medias), &u.Medias); err != nil {
			return nil, fmt.Errorf("presence of %q: medias: %w", u.ID, err)
		}
		i := place[n]
		all[i].Users = append(all[i].Users, u)
	}
	return all, rows.Err()
}

// Depart writes into the log the departure of everyone whom the server before
// this one left behind when it was killed: for each what ends its publications,
// UserLeave with event.TimedOut, then ChannelClose; and StreamEnded for the
// streams that were on air. It is called once, after Open and before anyone can
// join.
func (db *DB) Depart(ctx context.Context) error {
	return db.Update(ctx, func(tx *Tx) error {
		left, err := tx.Presence()
		if err != nil {
			return err
		}
		now := tx.now()
		for _, p := range left {
			for _, u := range p.Users {
				if err := tx.Append(departure(p, u, now)...); err != nil {
					return err
				}
			}
			if err := tx.Append(event.Event{App: p.App, Channel: p.Channel, Type: event.ChannelClose, Time: now}); err != nil {
				return err
			}
		}
		return tx.departStreams()
	})
}

// departure is what is told of one user who went without a word.
func departure(p Present, u event.User, now time.Time) []event.Event {
	var events []event.Event
	tell := func(t event.Type, u event.User) {
		events = append(events, event.Event{App: p.App, Channel: p.Channel, Type: t, Time: now, User: &u})
	}
	for _, end := range []struct {
		media event.Media
		event event.Type
	}{{event.Audio, event.UnpublishAudio}, {event.Video, event.UnpublishVideo}, {event.Screen, event.UnpublishScreen}} {
		if i := slices.Index(u.Medias, end.media); i >= 0 {
			u.Medias = slices.Delete(slices.Clone(u.Medias), i, i+1)
			tell(end.event, u)
		}
	}
	u.Medias, u.Reason = nil, event.TimedOut
	tell(event.UserLeave, u)
	return events
}
