package callback

import (
	"math/rand/v2"
	"net/http"
	"time"

	"braid/store"
)

const (
	// lateAfter is when retries become rare: a receiver that is down for a day
	// is not coming back this minute.
	lateAfter = 24 * time.Hour
	// A message is set aside after this many answers 4xx over this time, while
	// others got through: it is the message, not the receiver.
	poisonTries = 3
	poisonAfter = 10 * time.Minute
)

// judge decides what becomes of a head that was answered. good is when a message
// of the same subscription got through last; zero: not since the process began.
// It is a pure function but for the jitter.
func (c *Config) judge(h store.Head, a answer, good time.Time) store.Outcome {
	now := a.at
	h.Attempts++
	record := h.Record()
	record.Payload, record.Code, record.Failure, record.Cost, record.Time = a.payload, a.code, a.failure, a.cost, now
	if a.failure == "" {
		return store.Outcome{Head: h, Record: record, Delivered: true}
	}
	// Did others get through while this one could have? Then it does not wait
	// for the receiver to come back, but for its own time.
	ready := h.Tried
	if ready.IsZero() {
		ready = h.Due
	}
	h.State = store.Waiting
	if good.After(ready) {
		h.State = store.Held
	}
	if h.First.IsZero() {
		h.First = now
	}
	if h.Since.IsZero() {
		h.Since = now
	}
	h.Tried = now
	h.Fails++
	if refuses(a.code) {
		h.Refused++
	}
	out := store.Outcome{Record: record}
	out.Failed, out.Expired = c.hopeless(h, refuses(a.code), good)
	if out.Failed { // the next of the lane is tried at once
		h.State, h.Due = store.Fresh, now
	} else {
		h.Due = now.Add(jitter(c.wait(h.Fails, now.Sub(h.Since))))
	}
	out.Head = h
	return out
}

// hopeless tells whether a head is to be set aside, and up to when those behind
// it that were made then are, too.
func (c *Config) hopeless(h store.Head, refused bool, good time.Time) (failed bool, expired time.Time) {
	now := h.Tried
	// What has waited for 3 days behind others that did not get through has been
	// tried as long: it is not tried for 3 days of its own.
	if limit := now.Add(-c.KeepTrying); !h.Since.After(limit) && !h.Created.After(limit) {
		return true, limit
	}
	poison := refused && h.Refused >= poisonTries && now.Sub(h.First) >= poisonAfter && good.After(h.First)
	return poison, time.Time{}
}

// refuses tells whether a status says that the receiver does not want this
// message: 4xx, but for those that ask to come again.
func refuses(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return code >= 400 && code <= 499
}

// wait is how long a lane waits after its nth failure in a row, for of which it
// has been failing.
func (c *Config) wait(n int, failing time.Duration) time.Duration {
	if failing >= lateAfter {
		return c.LateRetry
	}
	w := c.FirstRetry
	for i := 1; i < n && w < c.MaxRetry; i++ {
		w *= 2
	}
	return min(w, c.MaxRetry)
}

// jitter spreads a wait by a fifth to both sides, so that those who failed
// together do not come back together.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}
