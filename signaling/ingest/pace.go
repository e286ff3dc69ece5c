package ingest

import "time"

const (
	// lateMax is how late a tag may be. Less is the jitter of a network, which
	// viewers even out. After more, a browser that gets seconds of stream at once
	// shows pictures seconds after their sound, for most of a minute.
	lateMax = 500 * time.Millisecond
	// A publisher that is late again within againMax sends in bursts (segments of a
	// playlist): it is left alone up to burstMax.
	againMax = 20 * time.Second
	burstMax = 10 * time.Second
	// judgeAfter is how long late tags come until it is clear whether they catch up.
	judgeAfter = 2 * time.Second
	// paceDrift is how much later tags may come with each second, a part of it: the
	// publisher's clock is not ours.
	paceDrift = 2000
)

// pace tells how late the tags of a track are: by how much more time has passed
// since they were made than for the quickest of them. Its times count from the
// timeline's beginning.
type pace struct {
	begun   bool
	least   time.Duration // now minus place, of the quickest
	now     time.Duration // of the newest tag
	allowed time.Duration
	late    bool
	since   time.Duration // late is judged from here on,
	first   time.Duration // when it was so late
	ended   time.Duration // when it was late the last time
	given   time.Duration // newest place of a late one
}

type verdict int

const (
	inTime     verdict = iota
	catchingUp         // late, and less so as time goes on: a network that stood still
	fallenBack         // late for good: the publisher stood still
)

// judge takes a tag that comes now and belongs to place.
func (p *pace) judge(place, now time.Duration) (verdict, time.Duration) {
	delay := now - place
	if !p.begun {
		*p = pace{begun: true, least: delay, now: now, allowed: lateMax, ended: -againMax}
	}
	p.least = min(delay, p.least+(now-p.now)/paceDrift)
	p.now = now
	late := delay - p.least
	if late <= p.allowed {
		p.late = false
		return inTime, late
	}
	switch {
	case !p.late:
		p.allowed = lateMax
		if now-p.ended < againMax {
			p.allowed = min(2*late, burstMax)
		}
		p.late, p.since, p.first, p.given = true, now, late, 0
	case now-p.since >= judgeAfter:
		if p.first-late < (now-p.since)/4 {
			return fallenBack, late
		}
		p.since, p.first = now, late
	}
	p.ended = now
	if late <= p.allowed {
		p.late = false
		return inTime, late
	}
	return catchingUp, late
}

// hurried is the place of a late picture: as late as is allowed. Those that come at
// once follow each other at once, so that nobody waits for them and each can still
// be decoded.
func (p *pace) hurried(place, late time.Duration) time.Duration {
	p.given = max(place+late-p.allowed, p.given+100*time.Microsecond)
	return p.given
}
