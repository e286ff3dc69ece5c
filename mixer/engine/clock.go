package engine

import "time"

// rate is the sample rate of everything between the Opus decoders and the
// output's resampler, in Hz; quantum is how much sound is mixed at a time.
const (
	rate           = 48000
	quantum        = rate / 100
	quantumTime    = 10 * time.Millisecond
	soundChannels  = 2                // of every decoded input; a mono output is folded down
	millisecondLen = rate / 1000      // samples of one channel
	plcStep        = rate * 25 / 10e3 // libopus conceals in multiples of 2.5 ms
)

// clock is the connection's timeline. Every PTS counts from its zero, and so
// does every deadline: nothing is accumulated, so nothing drifts.
type clock struct{ zero time.Time }

func newClock(elapsed time.Duration) clock { return clock{time.Now().Add(-elapsed)} }

func (c clock) now() time.Duration { return time.Since(c.zero) }

// tickTime is the exact time of tick n at fps, rounded down to a nanosecond.
func tickTime(n int64, fps int) time.Duration {
	whole, part := n/int64(fps), n%int64(fps)
	return time.Duration(whole)*time.Second + time.Duration(part)*time.Second/time.Duration(fps)
}

// tickAt is the newest tick whose time is not after t.
func tickAt(t time.Duration, fps int) int64 {
	n := int64(t/time.Second)*int64(fps) + int64(t%time.Second)*int64(fps)/int64(time.Second)
	if tickTime(n+1, fps) <= t { // the division above and tickTime round differently
		n++
	}
	return n
}

// samplesOf is t in samples of one channel at 48 kHz, rounded to nearest.
func samplesOf(t time.Duration) int64 {
	whole, part := int64(t/time.Second), int64(t%time.Second)
	return whole*rate + (part*rate+int64(time.Second)/2)/int64(time.Second)
}

// timeOf is the time of sample n at hz.
func timeOf(n int64, hz int) time.Duration {
	whole, part := n/int64(hz), n%int64(hz)
	return time.Duration(whole)*time.Second + time.Duration(part)*time.Second/time.Duration(hz)
}
