package relay

// Usage is what a task sends right now, for metering.
type Usage struct {
	App, Channel, Task string
	// Class is "audio", "480p" (up to 640x480), "720p" or "1080p" for a mix, by the
	// area of its picture, and "single_audio" or "single_video" (artc-api.md section 10).
	Class string
}

// Usage lists the tasks that send to at least one URL; a task counts once,
// whatever the number of its URLs.
func (s *Service) Usage() []Usage {
	s.mu.Lock()
	all := make([]*task, 0, len(s.tasks))
	for _, t := range s.tasks {
		all = append(all, t)
	}
	s.mu.Unlock()
	var sending []Usage
	for _, t := range all {
		f, urls := t.out.live()
		if urls == 0 {
			continue
		}
		spec, _ := t.desired()
		sending = append(sending, Usage{spec.App, spec.Channel, spec.Task, class(spec, f)})
	}
	return sending
}

func class(s *Spec, f form) string {
	area := s.Encode.Width * s.Encode.Height
	switch {
	case s.Mode == Single && f.video:
		return "single_video"
	case s.Mode == Single:
		return "single_audio"
	case !f.video:
		return "audio"
	case area <= 640*480:
		return "480p"
	case area <= 1280*720:
		return "720p"
	}
	return "1080p"
}
