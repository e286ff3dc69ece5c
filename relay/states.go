package relay

import (
	"cmp"
	"slices"
	"time"
)

// TaskState is a task as people see it, at one moment.
type TaskState struct {
	App, Channel, Task string
	Auto               bool // made by the application's RelaySettings
	Mode               MixMode
	Created            time.Time
	URLs               []URLState // in the order of the task's URLs
}

// URLState is how one URL of a task does, as APIs write it too.
type URLState struct {
	URL    string    `json:"url"`            // without what may be secret: Redact
	State  string    `json:"state"`          // "connecting", "playing", "waiting" for the next try, "failed"
	Reason string    `json:"reason"`         // a word as in PushState; "" when nothing went wrong
	Since  time.Time `json:"since,omitzero"` // UTC; zero: there is no stream yet
	// Of the present push, which begins anew when the stream's form changes.
	Bytes      uint64 `json:"bytes"`
	Dropped    uint64 `json:"dropped"`
	Reconnects uint64 `json:"reconnects"`
}

// States lists all tasks, by application and name.
func (s *Service) States() []TaskState {
	s.mu.Lock()
	all := make([]*task, 0, len(s.tasks))
	for _, t := range s.tasks {
		all = append(all, t)
	}
	s.mu.Unlock()
	states := make([]TaskState, len(all))
	for i, t := range all {
		spec, _ := t.desired()
		states[i] = TaskState{App: spec.App, Channel: spec.Channel, Task: spec.Task, Auto: spec.Auto != nil, Mode: spec.Mode,
			Created: t.created, URLs: t.out.states(spec.URLs)}
		for n, url := range spec.URLs {
			if t.report.failing(url) && states[i].URLs[n].State != "playing" {
				states[i].URLs[n].State = "failed"
			}
		}
	}
	slices.SortFunc(states, func(a, b TaskState) int { return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Task, b.Task)) })
	return states
}

// states is how the pushes to some URLs do.
func (o *outlet) states(urls []string) []URLState {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make([]URLState, len(urls))
	for i, url := range urls {
		all[i] = URLState{URL: Redact(url), State: "connecting"}
		r := o.pushes[url]
		if r == nil { // there is no stream yet
			continue
		}
		p := r.push.State()
		all[i].Reason, all[i].Since, all[i].Bytes, all[i].Dropped, all[i].Reconnects = p.Reason, p.Since.UTC(), p.Bytes, p.Dropped, p.Reconnects
		switch p.Phase {
		case PhaseLive:
			all[i].State, all[i].Reason = "playing", ""
		case PhaseWaiting:
			all[i].State = "waiting"
		case PhaseClosed:
			all[i].State = "failed"
		}
	}
	return all
}

// failing tells whether a URL was said to have failed.
func (r *report) failing(url string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.urls[url].standing == failing
}
