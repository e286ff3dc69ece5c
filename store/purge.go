package store

import (
	"context"
	"time"
)

// purgeBatch bounds one transaction of Purge, so that those who wait behind it
// wait for milliseconds.
const purgeBatch = 2000

// Purge deletes what is over its time: events, finished deliveries and records
// after LogKept, addresses and logins that have expired, usage after UsageKept,
// the audit log after Config.AuditKept. It goes in small transactions; to be
// called every few minutes.
func (db *DB) Purge(ctx context.Context, now time.Time) error {
	for {
		var n int64
		err := db.Update(ctx, func(tx *Tx) (err error) {
			n, err = tx.purge(now, purgeBatch)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
}

// purge deletes up to limit rows of each kind and says how many in all.
func (tx *Tx) purge(now time.Time, limit int) (int64, error) {
	total, err := tx.purgeCallbacks(now, limit)
	if err != nil {
		return 0, err
	}
	for _, p := range []struct {
		query string
		until time.Time
	}{
		{"DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE time <= ? ORDER BY time LIMIT ?)", now.Add(-LogKept)},
		{"DELETE FROM addresses WHERE id IN (SELECT id FROM addresses WHERE expires <= ? LIMIT ?)", now},
		{"DELETE FROM logins WHERE id IN (SELECT id FROM logins WHERE expires <= ? LIMIT ?)", now},
		{"DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE time <= ? ORDER BY time LIMIT ?)", now.Add(-tx.db.audit)},
		{`DELETE FROM used WHERE (app, kind, class, start) IN
			(SELECT app, kind, class, start FROM used WHERE start <= ? LIMIT ?)`, now.Add(-UsageKept)},
	} {
		n, err := tx.exec(p.query, p.until, limit)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}
