package relay

import "time"

// A task whose users are gone ends after defaultIdle. A channel that is not there
// after a restart may come back within comeBack.
const (
	defaultIdle = 2 * time.Minute
	comeBack    = 2 * time.Minute
)

// life tells when a task ends by itself (artc-api.md section 4.1).
type life struct {
	resumed bool      // the channel has not been seen since the server's start
	gone    time.Time // since when the channel is not there; zero: it is
	alone   time.Time // since when none of the task's users is
}

// next is told what is there, and says why the task ends (0: it does not), and if
// not, in how long to look again (0: when something changes).
//
// With maxIdle (not 0) the task ends when none of its users was there for so long,
// channel or not; without it, when its channel is gone or nobody was there for two
// minutes.
func (l *life) next(now time.Time, maxIdle time.Duration, channel, present bool) (code int, again time.Duration) {
	mark := func(since *time.Time, there bool) {
		if there {
			*since = time.Time{}
		} else if since.IsZero() {
			*since = now
		}
	}
	mark(&l.gone, channel)
	mark(&l.alone, present)
	l.resumed = l.resumed && !channel

	limit := maxIdle
	if limit == 0 {
		limit = defaultIdle
	}
	if !l.alone.IsZero() {
		again = limit - now.Sub(l.alone)
		code = CodeIdle
	}
	if !l.gone.IsZero() && maxIdle == 0 {
		left := -now.Sub(l.gone)
		if l.resumed {
			left += comeBack
		}
		if code == 0 || left <= again {
			again, code = left, CodeChannelGone
		}
	}
	if again > 0 {
		return 0, again
	}
	return code, 0
}
