package main

import (
	"cmp"
	"slices"
	"time"

	"braid/origin"
	"braid/signaling/admin"
)

// rate is what a stream had received at two moments, the later one at most
// studioTick ago.
type rate struct{ before, last sample }

type sample struct {
	at    time.Time
	bytes uint64
}

// attach names the origin whose streams are shown. It is called once, before run.
func (s *studio) attach(o streamLister) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.origin = o
}

// measure notes how much each stream has received.
func (s *studio) measure(now time.Time) {
	infos := s.streams()
	next := make(map[streamName]rate, len(infos))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range infos {
		k := streamName{i.App, i.Name}
		next[k] = rate{before: s.rates[k].last, last: sample{now, i.BytesIn}}
	}
	s.rates = next
}

// bitrate is in bits a second, since two to four seconds ago. A stream that is
// younger is measured from its beginning.
func (r rate) bitrate(i origin.StreamInfo, now time.Time) int {
	from := cmp.Or(r.before, r.last, sample{at: i.Since})
	took := now.Sub(from.at)
	if took <= 0 || i.BytesIn < from.bytes { // another stream of this name
		return 0
	}
	return int(float64(i.BytesIn-from.bytes) * 8 / took.Seconds())
}

// streams lists what is on air; nothing before attach.
func (s *studio) streams() []origin.StreamInfo {
	s.mu.Lock()
	o := s.origin
	s.mu.Unlock()
	if o == nil {
		return nil
	}
	return o.Streams()
}

// OnAir implements admin.Streams.
func (s *studio) OnAir() []admin.Stream {
	infos := s.streams()
	now := time.Now()
	all := make([]admin.Stream, 0, len(infos))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range infos {
		k := streamName{i.App, i.Name}
		all = append(all, admin.Stream{
			Domain: i.Domain, App: i.App, Name: i.Name, Since: i.Since.UTC(), Remote: i.Remote, Source: i.Source,
			Video: i.Video, Audio: i.Audio, Width: i.Width, Height: i.Height, Viewers: i.Viewers,
			BytesIn: i.BytesIn, BytesOut: i.BytesOut, Bitrate: s.rates[k].bitrate(i, now), Jobs: s.jobsLocked(k),
		})
	}
	slices.SortFunc(all, func(a, b admin.Stream) int { // the order of pages
		return cmp.Compare(a.App+"/"+a.Name, b.App+"/"+b.Name)
	})
	return all
}

// jobsLocked shows the jobs of a stream, by application and template.
func (s *studio) jobsLocked(k streamName) []admin.Job {
	jobs := []admin.Job{}
	if a := s.air[k]; a != nil {
		for _, j := range a.jobs {
			jobs = append(jobs, j.show)
		}
	}
	slices.SortFunc(jobs, func(a, b admin.Job) int {
		return cmp.Or(cmp.Compare(a.Application, b.Application), cmp.Compare(a.Template, b.Template))
	})
	return jobs
}
