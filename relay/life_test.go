package relay

import (
	"testing"
	"time"
)

// TestLife walks a task through what it sees; each step is a moment, in seconds.
func TestLife(t *testing.T) {
	type step struct {
		at               int
		channel, present bool
		code             int
		again            int // seconds; 0: when something changes
	}
	for _, c := range []struct {
		name    string
		maxIdle time.Duration
		resumed bool
		steps   []step
	}{
		{"the channel closes", 0, false, []step{{0, true, true, 0, 0}, {5, false, false, CodeChannelGone, 0}}},
		{"nobody for two minutes", 0, false, []step{
			{0, true, true, 0, 0}, {10, true, false, 0, 120}, {129, true, false, 0, 1}, {130, true, false, CodeIdle, 0}}},
		{"somebody comes back", 0, false, []step{
			{0, true, false, 0, 120}, {119, true, true, 0, 0}, {130, true, false, 0, 120}, {249, true, false, 0, 1}}},
		{"MaxIdleTime, and the channel is gone", 30 * time.Second, false, []step{
			{0, true, true, 0, 0}, {1, false, false, 0, 30}, {30, false, false, 0, 1}, {31, false, false, CodeIdle, 0}}},
		{"MaxIdleTime longer than two minutes", time.Hour, false, []step{
			{0, true, false, 0, 3600}, {3599, false, false, 0, 1}, {3600, true, false, CodeIdle, 0}}},
		{"after a restart, and the channel stays away", 0, true, []step{
			{0, false, false, 0, 120}, {60, false, false, 0, 60}, {120, false, false, CodeChannelGone, 0}}},
		{"after a restart the channel comes back, and closes", 0, true, []step{
			{0, false, false, 0, 120}, {100, true, true, 0, 0}, {101, false, false, CodeChannelGone, 0}}},
		{"after a restart the channel comes back without the user", 0, true, []step{
			{0, false, false, 0, 120}, {100, true, false, 0, 20}, {120, true, false, CodeIdle, 0}}},
		{"after a restart, with MaxIdleTime", 30 * time.Second, true, []step{
			{0, false, false, 0, 30}, {30, false, false, CodeIdle, 0}}},
		{"a guest is left in another channel", 0, false, []step{{0, true, true, 0, 0}, {1, false, true, CodeChannelGone, 0}}},
	} {
		begin := time.Now()
		l := life{resumed: c.resumed}
		for _, s := range c.steps {
			code, again := l.next(begin.Add(time.Duration(s.at)*time.Second), c.maxIdle, s.channel, s.present)
			if code != s.code || again != time.Duration(s.again)*time.Second {
				t.Errorf("%s, at %d s: got code %d, again in %v; want %d, %d s", c.name, s.at, code, again, s.code, s.again)
			}
		}
	}
}
