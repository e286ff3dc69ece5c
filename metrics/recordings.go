package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// recordings is what is recorded of the origin's streams, by templates and as cloud
// recordings.
func (c *collector) recordings() {
	active := c.desc("recordings", "Recordings of streams under way, by whether their files grow or cannot be written.", "state")
	written := c.desc("recording_written_bytes_total", "Media that was written to files of recordings.")
	failures := c.desc("recording_failures_total", "Times that a recording could not write its files, by reason; each is tried again.", "reason")
	files := c.desc("recording_upload_files", "Finished files of recordings that their storage does not have yet.")
	bytes := c.desc("recording_upload_bytes", "What they take here.")
	tries := c.desc("recording_upload_failures_total", "Uploads of finished files that failed; they are tried again.")
	p := c.parts
	c.see(func(_ context.Context, out chan<- prometheus.Metric) {
		s := p.Recordings.Stats()
		gauge(out, active, float64(s.Recording), "recording")
		gauge(out, active, float64(s.Failing), "failing")
		counter(out, written, s.Written)
		for _, why := range sorted(s.Failures) {
			counter(out, failures, s.Failures[why], why)
		}
		gauge(out, files, float64(s.Waiting))
		gauge(out, bytes, float64(s.WaitingBytes))
		counter(out, tries, s.NotUploaded)
	})
}
