package callback

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"time"

	"braid/media"
	"braid/store"
)

const (
	scanLimit = 512 // new lanes read in one transaction
	pickLimit = 64  // endpoints looked at in one transaction: writers wait for it
	// retryStore is the wait after a transaction that failed (a full disk, a
	// database that restarts).
	retryStore = time.Second
	// grace is how long Run lets requests end before it breaks them off.
	grace = time.Second
)

// dispatcher is the state of Run, and owned by it.
//
//	                 ┌──────────────── one transaction ────────────────┐
//	results ───────→ │ write what became of attempts, and records      │
//	Appended ──────→ │ read new lanes                                  │ ──→ attempts
//	due, slot free → │ read the next lanes of endpoints, and the heads │      │
//	                 └─────────────────────────────────────────────────┘      │
//	   ↑                                                                      │
//	   └──────────────────────── results ←────────────────────────────────────┘
//
// A lane is busy from the moment its head is read to the commit of what became
// of it, so the next message of a lane leaves only when the one before is done
// on disk. A process that is killed between an answer and its commit sends that
// message again, with its MsgId, and none after it has been sent: the order
// holds. While a transaction commits, other attempts end; they share the next
// one, which is what makes thousands a second possible.
type dispatcher struct {
	s       *Service
	last    int64 // highest id of a lane seen
	scan    bool  // there may be lanes over last
	ends    map[string]*endpoint
	dirty   []*endpoint // to be looked at in the next transaction
	timers  timers
	done    []store.Outcome // ended, not yet in the store
	results chan result     // sent by attempts; a full one makes them wait for the transaction
	running int
}

type result struct {
	head   store.Head
	answer answer
	broken bool // by Run's end: nothing is known of it
}

// Run sends callbacks until ctx ends; one call at a time. It returns after the
// requests under way have ended, within a second or so, and their results are
// stored. Errors of the store are logged and the work is tried again; only a
// closed store ends Run with an error.
func (s *Service) Run(ctx context.Context) error {
	d := &dispatcher{s: s, ends: map[string]*endpoint{}, results: make(chan result, 256)}
	defer s.sender.close()
	appended := s.cfg.Store.Appended()
	for d.load(ctx) != nil {
		if err := d.rest(ctx); err != nil {
			return nil
		}
	}
	attempts, breakOff := context.WithCancel(context.WithoutCancel(ctx))
	defer breakOff()
	for ctx.Err() == nil {
		if !d.scan && len(d.dirty) == 0 && len(d.done) == 0 {
			d.wait(ctx, &appended)
		}
		d.collect(ctx, &appended)
		if ctx.Err() != nil {
			break
		}
		switch err := d.turn(ctx, attempts); {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, media.ErrClosed):
			breakOff()
			d.end(breakOff) // fails in the same way
			return fmt.Errorf("callback: %w", err)
		default:
			s.log.Error("callback: the store failed, callbacks wait", "err", err)
			d.rest(ctx)
		}
	}
	return d.end(breakOff)
}

// load reads who has something waiting from before.
func (d *dispatcher) load(ctx context.Context) error {
	var all []string
	err := d.s.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if d.last, err = tx.LastLane(); err != nil {
			return err
		}
		const many = 1000
		for after := ""; ; {
			some, err := tx.WaitingSubs(after, many)
			if err != nil {
				return err
			}
			all = append(all, some...)
			if len(some) < many {
				return nil
			}
			after = some[many-1]
		}
	})
	if err != nil {
		d.s.log.Error("callback: the store failed, callbacks wait", "err", err)
		return err
	}
	for _, sub := range all {
		d.look(d.endpoint(sub))
	}
	return nil
}

// rest waits before the store is tried again.
func (d *dispatcher) rest(ctx context.Context) error {
	t := time.NewTimer(retryStore)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// wait returns when there may be something to do. What it takes from a channel
// it keeps.
func (d *dispatcher) wait(ctx context.Context, appended *<-chan struct{}) {
	var due <-chan time.Time
	if len(d.timers) > 0 {
		t := time.NewTimer(d.timers[0].next.Sub(d.s.cfg.Now()))
		defer t.Stop()
		due = t.C
	}
	select {
	case r := <-d.results:
		d.ended(r)
	case <-*appended:
		*appended = d.s.cfg.Store.Appended()
		d.scan = true
	case sub := <-d.s.wake:
		d.changed(sub)
	case <-d.s.wakeAll:
		d.changedAll()
	case <-due:
	case <-ctx.Done():
	}
}

// collect takes what is there without waiting.
func (d *dispatcher) collect(ctx context.Context, appended *<-chan struct{}) {
	for more := true; more; {
		select {
		case r := <-d.results:
			d.ended(r)
		case <-*appended:
			*appended = d.s.cfg.Store.Appended()
			d.scan = true
		case sub := <-d.s.wake:
			d.changed(sub)
		case <-d.s.wakeAll:
			d.changedAll()
		default:
			more = false
		}
	}
	for now := d.s.cfg.Now(); len(d.timers) > 0 && !d.timers[0].next.After(now); {
		d.look(d.timers[0])
	}
}

func (d *dispatcher) changed(sub string) {
	d.scan = true
	if e := d.ends[sub]; e != nil {
		e.forgive()
		d.look(e)
	}
}

func (d *dispatcher) changedAll() {
	d.scan = true
	for _, e := range d.ends {
		e.forgive()
		d.look(e)
	}
}

// endpoint finds an endpoint or makes it.
func (d *dispatcher) endpoint(sub string) *endpoint {
	e := d.ends[sub]
	if e == nil {
		e = &endpoint{sub: sub, busy: map[int64]bool{}, place: -1}
		d.ends[sub] = e
	}
	return e
}

// look makes the next transaction look at an endpoint.
func (d *dispatcher) look(e *endpoint) {
	d.alarm(e, time.Time{})
	if !e.dirty {
		e.dirty = true
		d.dirty = append(d.dirty, e)
	}
}

// alarm sets when an endpoint is to be looked at; zero: not because of the time.
func (d *dispatcher) alarm(e *endpoint, at time.Time) {
	e.next = at
	switch {
	case at.IsZero() && e.place >= 0:
		heap.Remove(&d.timers, e.place)
	case at.IsZero():
	case e.place >= 0:
		heap.Fix(&d.timers, e.place)
	default:
		heap.Push(&d.timers, e)
	}
}

// ended takes a result.
func (d *dispatcher) ended(r result) {
	d.running--
	c := &d.s.count
	c.inFlight.Add(-1)
	e := d.endpoint(r.head.Lane.Sub)
	if r.broken {
		delete(e.busy, r.head.Lane.ID)
		return
	}
	o := d.s.cfg.judge(r.head, r.answer, e.good)
	down := e.down()
	e.note(&d.s.cfg, o)
	c.attempts.Add(1)
	switch {
	case o.Delivered:
		c.delivered.Add(1)
	default:
		c.failures.Add(1)
	}
	d.tell(e, o, down, r.answer)
	d.done = append(d.done, o)
	d.look(e)
}

// tell logs what an operator wants to know.
func (d *dispatcher) tell(e *endpoint, o store.Outcome, wasDown bool, a answer) {
	log := d.s.log.With("app", o.Head.App, "subscription", e.sub)
	switch {
	case e.down() && !wasDown:
		log.Warn("callback: receiver is down", "failure", a.failure, "status", a.code, "err", a.detail)
	case wasDown && !e.down():
		log.Info("callback: receiver is back")
	}
	if o.Failed {
		d.s.count.setAside.Add(1)
		log.Warn("callback: message set aside", "msg", o.Head.MsgID, "failure", a.failure, "status", a.code, "attempts", o.Head.Attempts)
	}
}

// turn does one transaction and starts what it found. When it fails, nothing
// has changed but that the same will be tried again.
func (d *dispatcher) turn(ctx, attempts context.Context) error {
	if !d.scan && len(d.dirty) == 0 && len(d.done) == 0 {
		return nil
	}
	for _, o := range d.done { // find sees their lanes as they are after Finish
		delete(d.ends[o.Head.Lane.Sub].busy, o.Head.Lane.ID)
	}
	var p plan
	run := d.s.cfg.Store.View
	if len(d.done) > 0 {
		run = d.s.cfg.Store.Update
	}
	err := run(ctx, func(tx *store.Tx) (err error) {
		if err = tx.Finish(d.done); err == nil {
			p, err = d.find(tx)
		}
		return err
	})
	if err != nil {
		for _, o := range d.done {
			d.ends[o.Head.Lane.Sub].busy[o.Head.Lane.ID] = true
		}
		return err
	}
	d.done = nil
	d.last, d.scan = p.last, p.more
	d.dirty = d.dirty[:copy(d.dirty, d.dirty[len(p.looks):])]
	for _, h := range p.heads {
		d.start(attempts, h, headKeys(&h, p.secrets[h.App]))
	}
	for _, l := range p.looks {
		l.end.dirty = false
		if len(l.end.busy) == 0 && (l.next.IsZero() || len(l.start) > 0) {
			delete(d.ends, l.end.sub) // it has nothing, or was deleted
			continue
		}
		d.alarm(l.end, l.next)
	}
	return nil
}

// plan is what a transaction found to do.
type plan struct {
	last    int64 // highest id of a lane read
	more    bool  // there may be lanes over it
	looks   []look
	heads   []store.Head
	secrets map[string][]string // by application
}

// look is what was found for one endpoint.
type look struct {
	end   *endpoint
	start []store.Lane
	next  time.Time
}

// find reads new lanes, what is next for the endpoints that are dirty, and the
// messages to send.
func (d *dispatcher) find(tx *store.Tx) (p plan, err error) {
	p.last = d.last
	if d.scan {
		var subs []string
		if subs, p.last, err = tx.LanesAfter(d.last, scanLimit); err != nil {
			return p, err
		}
		p.more = len(subs) == scanLimit
		for _, sub := range subs {
			d.look(d.endpoint(sub))
		}
	}
	now := d.s.cfg.Now()
	var ids []int64
	for _, e := range d.dirty[:min(pickLimit, len(d.dirty))] {
		lanes, err := tx.NextLanes(e.sub, maxLanes+len(e.busy))
		if err != nil {
			return p, err
		}
		l := look{end: e}
		l.start, l.next = e.choose(lanes, now)
		for _, lane := range l.start {
			ids = append(ids, lane.ID)
		}
		p.looks = append(p.looks, l)
	}
	if p.heads, err = tx.Heads(ids); err != nil {
		return p, err
	}
	p.secrets = map[string][]string{}
	for _, h := range p.heads {
		if _, ok := p.secrets[h.App]; ok {
			continue
		}
		app, err := tx.Application(h.App)
		if err != nil {
			return p, err
		}
		p.secrets[h.App] = app.Signing.Valid(now)
	}
	return p, nil
}

// start sends a head.
func (d *dispatcher) start(attempts context.Context, h store.Head, keys [][]byte) {
	d.ends[h.Lane.Sub].busy[h.Lane.ID] = true
	d.running++
	d.s.count.inFlight.Add(1)
	go func() { // waited for by end
		a := d.s.sender.send(attempts, &h, keys)
		d.results <- result{head: h, answer: a, broken: a.failure != "" && attempts.Err() != nil}
	}()
}

// end waits for the requests under way, breaks off those that take over grace,
// and stores what became of the others.
func (d *dispatcher) end(breakOff func()) error {
	t := time.AfterFunc(grace, breakOff)
	defer t.Stop()
	for d.running > 0 {
		d.ended(<-d.results)
	}
	if len(d.done) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), d.s.cfg.Timeout)
	defer cancel()
	err := d.s.cfg.Store.Update(ctx, func(tx *store.Tx) error { return tx.Finish(d.done) })
	if err != nil { // they will be sent again
		return fmt.Errorf("callback: %w", err)
	}
	return nil
}
