package callback

import (
	"context"
	"sync/atomic"
	"time"

	"braid/store"
)

// Page is a part of a list of records, the newest first.
type Page struct {
	Records []store.Record
	Count   int // of Records
	HasMore bool
}

// Records gives page (from 1) of size (1 to 100) records of one kind; see
// store.Tx.RecordPage.
func (s *Service) Records(ctx context.Context, q store.RecordQuery, page, size int) (p Page, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		p.Records, p.HasMore, err = tx.RecordPage(q, page, size)
		return err
	})
	p.Count = len(p.Records)
	return p, err
}

// RecordsBefore gives up to limit (1 to 100) records that a filter lets through
// and that are older than the one with ID before (0: from the newest). It stays
// right while records are added; see store.Tx.RecordsBefore.
func (s *Service) RecordsBefore(ctx context.Context, f store.RecordFilter, before int64, limit int) (records []store.Record, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		records, err = tx.RecordsBefore(f, before, limit)
		return err
	})
	return records, err
}

// Deliveries gives up to limit (1 to 100) messages that wait, or that failed,
// with an ID over after, the oldest first.
func (s *Service) Deliveries(ctx context.Context, q store.DeliveryQuery, after int64, limit int) (all []store.Delivery, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all, err = tx.Deliveries(q, after, limit)
		return err
	})
	return all, err
}

// Resend queues a message again that failed or that is in the records, behind
// what waits for its channel, with the same MsgId and body. media.ErrNotFound:
// there is no such message, or its subscription was deleted. media.ErrExists:
// it is waiting already.
func (s *Service) Resend(ctx context.Context, app, msgID string) error {
	err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error { return tx.Resend(app, msgID) })
	if err == nil {
		s.poke("")
	}
	return err
}

// counters count since the start of the process.
type counters struct {
	delivered, attempts, failures, setAside atomic.Int64
	inFlight                                atomic.Int64
}

// Stats is how callbacks go.
type Stats struct {
	Waiting  int64         // messages in the store that are on their way
	Failed   int64         // messages in the store that were set aside
	Oldest   time.Duration // age of the oldest that waits; 0: none does
	InFlight int64         // requests under way

	// Since the start of the process:
	Delivered int64
	Attempts  int64 // that ended
	Failures  int64 // attempts that did not deliver
	SetAside  int64
}

// Stats counts; it reads one row for each channel that has something waiting.
func (s *Service) Stats(ctx context.Context) (st Stats, err error) {
	var oldest time.Time
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		st.Waiting, st.Failed, oldest, err = tx.Backlog()
		return err
	})
	if !oldest.IsZero() {
		st.Oldest = max(0, s.cfg.Now().Sub(oldest))
	}
	c := &s.count
	st.InFlight, st.Delivered, st.Attempts = c.inFlight.Load(), c.delivered.Load(), c.attempts.Load()
	st.Failures, st.SetAside = c.failures.Load(), c.setAside.Load()
	return st, err
}
