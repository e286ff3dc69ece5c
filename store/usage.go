package store

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"braid/media"
)

// UsageSpan is the finest span in which usage is kept; its spans begin at whole
// multiples of it since 1970 UTC.
const UsageSpan = 5 * time.Minute

// UsageKept is how long usage is kept: the API answers for the last 90 days
// (artc-api.md section 10).
const UsageKept = 100 * 24 * time.Hour

// AddUsage adds times to what is known already. Each counts in the span that
// its Start lies in, so a meter that ticks once a minute is right to a minute.
// Times are kept in whole milliseconds.
func (tx *Tx) AddUsage(usage ...Usage) error {
	for _, u := range usage {
		if u.Time < 0 {
			return fmt.Errorf("usage of %q: time is %v, below 0: %w", u.App, u.Time, media.ErrInvalid)
		}
		start := u.Start.UnixMilli()
		_, err := tx.exec(`INSERT INTO used (app, kind, class, start, ms) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (app, kind, class, start) DO UPDATE SET ms = used.ms + excluded.ms`,
			u.App, u.Kind, u.Class, start-start%UsageSpan.Milliseconds(), u.Time.Milliseconds())
		if err != nil {
			return err
		}
	}
	return nil
}

// Usage sums up what the applications used, all of them when apps is nil, from
// a time up to but without another. Both are rounded down to UsageSpan. The
// intervals are counted from from; each is a whole multiple of UsageSpan. There
// is one Usage for each application, class and interval in which there was
// any; they are sorted by Start, App and Class.
func (tx *Tx) Usage(apps []string, kind UsageKind, from, to time.Time, interval time.Duration) ([]Usage, error) {
	if interval < UsageSpan || interval%UsageSpan != 0 {
		return nil, fmt.Errorf("interval is %v, not a multiple of %v: %w", interval, UsageSpan, media.ErrInvalid)
	}
	if apps != nil && len(apps) == 0 {
		return nil, nil
	}
	span := UsageSpan.Milliseconds()
	first, end := from.UnixMilli(), to.UnixMilli()
	first, end = first-first%span, end-end%span
	where, args := "", []any{first, interval.Milliseconds(), kind, first, end}
	if apps != nil {
		apps = slices.Compact(slices.Sorted(slices.Values(apps)))
		where = "AND app IN (?" + strings.Repeat(", ?", len(apps)-1) + ")"
		for _, a := range apps {
			args = append(args, a)
		}
	}
	scan := func(r scanner) (Usage, error) {
		u := Usage{Kind: kind}
		var n, ms int64
		err := r.Scan(&u.App, &u.Class, &n, &ms)
		u.Start = time.UnixMilli(first + n*interval.Milliseconds()).UTC()
		u.Time = time.Duration(ms) * time.Millisecond
		return u, err
	}
	return list(tx, scan, `SELECT app, class, n, CAST(SUM(ms) AS BIGINT) FROM
		(SELECT app, class, ms, (start - ?) / ? AS n FROM used WHERE kind = ? AND start >= ? AND start < ? `+where+`) AS spans
		GROUP BY app, class, n ORDER BY n, app, class`, args...)
}
