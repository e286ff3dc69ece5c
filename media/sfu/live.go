package sfu

import (
	"math"
	"sync"
)

// ChannelLive is what is measured in a channel at this moment: beside a
// ChannelInfo, how loud people are and how their media flow.
type ChannelLive struct {
	App, Channel string
	Levels       Levels // of the last 300 ms; immutable
	Users        map[string]UserLive
}

// UserLive is what is measured of one user. Quality is nil for those who are not
// Participants.
type UserLive struct {
	Tracks  []TrackLive // in the order of the constants of Source
	Quality *Quality
}

// TrackLive is a source that flows, with what comes of it: all its layers.
type TrackLive struct {
	SourceState
	Bitrate int     // bits a second of payload, over the last second or so; 0 unknown
	Loss    float64 // share of packets, 0 to 1, over the last 2 s, after retransmissions
}

// seen is what a channel's meter saw last. It is immutable.
type seen struct {
	levels  Levels
	quality map[string]Quality
	lost    map[*layer]float64
}

// Watch has all channels measured until stop is called, also those where no
// Participant is to be told; stop may be called more than once.
func (s *Server) Watch() (stop func()) {
	d := s.dir
	change := func(by int) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.watchers += by
		for _, c := range d.channels {
			d.meterLocked(c)
		}
	}
	change(1)
	return sync.OnceFunc(func() { change(-1) })
}

// Live is what is measured now, by application and channel. While nobody has
// called Watch, levels, loss and quality of channels without Participants are
// not known.
func (s *Server) Live() []ChannelLive {
	d := s.dir
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]ChannelLive, 0, len(d.channels))
	for _, c := range d.sortedLocked() {
		live := ChannelLive{App: c.where.app, Channel: c.where.channel, Users: make(map[string]UserLive, len(c.members))}
		last := c.room.seen.Load()
		if last == nil {
			last = &seen{}
		}
		live.Levels = last.levels
		for _, m := range c.members {
			u := UserLive{}
			for _, f := range m.flowing() {
				u.Tracks = append(u.Tracks, f.live(last))
			}
			if q, ok := last.quality[m.id]; ok {
				u.Quality = &q
			}
			live.Users[m.id] = u
		}
		all = append(all, live)
	}
	return all
}

// live is what is measured of a source.
func (f shown) live(last *seen) TrackLive {
	t := TrackLive{SourceState: f.state}
	for _, l := range f.track.layers {
		if l.flows() {
			t.Bitrate += int(math.Round(l.bitrate()))
		}
		t.Loss = max(t.Loss, last.lost[l])
	}
	return t
}

// meterLocked begins or ends the measuring of a channel.
func (d *directory) meterLocked(c *channel) {
	wanted := !d.closed && d.channels[c.where] == c && (len(c.room.members) > 0 || d.watchers > 0)
	switch {
	case wanted && c.room.stop == nil:
		stop := make(chan struct{})
		c.room.stop = stop
		d.timers.Go(func() { d.meter(c, stop) })
	case !wanted && c.room.stop != nil:
		close(c.room.stop)
		c.room.stop = nil
	}
}
