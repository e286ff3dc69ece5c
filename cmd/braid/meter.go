package main

import (
	"context"
	"log/slog"
	"time"

	"braid/media/sfu"
	"braid/relay"
	"braid/store"
)

// The meter looks every meterTick and writes every meterFlush: a crash loses
// at most that much usage, and a busy server writes little.
const (
	meterTick  = time.Second
	meterFlush = 10 * time.Second
)

// meter counts how long users were in channels and relays ran, by class
// (artc-api.md section 10).
type meter struct {
	sfu   *sfu.Server
	relay *relay.Service
	db    *store.DB
	log   *slog.Logger

	sums map[meterKey]time.Duration // owned by run
}

type meterKey struct {
	app   string
	kind  store.UsageKind
	class string
}

// run meters until ctx ends, and writes the rest.
func (m *meter) run(ctx context.Context) {
	m.sums = make(map[meterKey]time.Duration)
	tick := time.NewTicker(meterTick)
	defer tick.Stop()
	last, flushed := time.Now(), time.Now()
	for {
		select {
		case now := <-tick.C:
			m.add(now.Sub(last))
			last = now
			if now.Sub(flushed) >= meterFlush {
				m.flush()
				flushed = now
			}
		case <-ctx.Done():
			m.add(time.Since(last))
			m.flush()
			return
		}
	}
}

// add counts a span for everyone who is there.
func (m *meter) add(span time.Duration) {
	for _, c := range m.sfu.Snapshot() {
		for _, u := range c.Users {
			m.sums[meterKey{c.App, store.CallUsage, callClass(u.Receives.Width, u.Receives.Height)}] += span
		}
	}
	for _, u := range m.relay.Usage() {
		m.sums[meterKey{u.App, store.RelayUsage, u.Class}] += span
	}
}

// callClass is a user's class by the biggest picture that it receives; who
// receives none is in for the sound. The limits are those of co-streaming.
func callClass(width, height int) string {
	switch area := width * height; {
	case area == 0:
		return "audio"
	case area <= 720*480:
		return "480p"
	case area <= 1280*720:
		return "720p"
	}
	return "1080p"
}

func (m *meter) flush() {
	if len(m.sums) == 0 {
		return
	}
	now := time.Now()
	var all []store.Usage
	for k, d := range m.sums {
		all = append(all, store.Usage{App: k.app, Kind: k.kind, Class: k.class, Start: now, Time: d})
	}
	err := m.db.Update(context.Background(), func(tx *store.Tx) error { return tx.AddUsage(all...) })
	if err != nil {
		m.log.Error("usage cannot be stored, will try again", "error", err)
		return
	}
	clear(m.sums)
}
