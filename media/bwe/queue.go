package bwe

import (
	"math"
	"time"
)

// Windows of queue.
const (
	baseStep   = 2 * time.Second // ten steps: a base that is 20 s old is no base (a new path, a drifting clock)
	recentStep = 50 * time.Millisecond
	sharpLeast = 60 * time.Millisecond // and the jitter: this much is no trend but a fact
	sharpStep  = 10 * time.Millisecond // more than the last time
	clockJump  = 2 * time.Second       // a delay that changes by more from packet to packet is a clock that was set
)

const never = math.MaxInt64

// queue tells how much delay stands in queues: the least one-way delay of the
// last 200 ms above the least of the last 20 s. The least of some packets grows
// only when all of them wait, so jitter does not look like a queue. Delays are
// in µs and contain the unknown offset of the two clocks.
type queue struct {
	base                 [10]int64 // least delay of each step of time sent
	recent               [4]int64  // the same by time of arrival: a queue that grows stretches time
	baseStep, recentStep int64     // the newest steps
	last                 int64     // delay of the last packet
	jitter               float64   // mean difference of delays of neighbours
	known                bool

	before time.Duration // what stood when growing was asked last
	asked  time.Duration
}

// add takes a packet; sent is on our clock, came on the receiver's, and packets
// come in the order sent. It returns true when the receiver's clock was set
// anew, and all is forgotten.
func (q *queue) add(sent, came time.Duration) (jumped bool) {
	delay := int64((came - sent) / time.Microsecond)
	diff := delay - q.last
	if q.known && (diff > int64(clockJump/time.Microsecond) || -diff > int64(clockJump/time.Microsecond)) {
		q.known, jumped = false, true
	}
	b, r := int64(sent/baseStep), int64(came/recentStep)
	if !q.known {
		*q = queue{known: true, baseStep: b - int64(len(q.base)), recentStep: r - int64(len(q.recent))}
		diff = 0
	}
	q.last = delay
	q.jitter += (math.Abs(float64(diff)) - q.jitter) / 16 // the weight of RFC 3550 section 6.4.1
	q.baseStep = least(q.base[:], q.baseStep, b, delay)
	q.recentStep = least(q.recent[:], q.recentStep, r, delay)
	return jumped
}

// least puts v into the ring of minima at a step and returns the newest step.
func least(ring []int64, newest, step, v int64) int64 {
	n := int64(len(ring))
	if step-newest > n || newest-step > n {
		newest = step - n
	}
	for newest < step {
		newest++
		ring[(newest%n+n)%n] = never
	}
	if step > newest-n {
		at := (step%n + n) % n // the receiver's clock may be below 0
		ring[at] = min(ring[at], v)
	}
	return newest
}

// standing is the delay in queues; 0 when it is not known.
func (q *queue) standing() time.Duration {
	if !q.known {
		return 0
	}
	now, base := int64(never), int64(never)
	for _, v := range q.recent {
		now = min(now, v)
	}
	for _, v := range q.base {
		base = min(base, v)
	}
	if now == never || base == never {
		return 0
	}
	return time.Duration(now-base) * time.Microsecond
}

// real says whether what stands is more than jitter can look like.
func (q *queue) real() bool {
	const floor = 5 * time.Millisecond
	return q.standing() > floor+time.Duration(q.jitter/4)*time.Microsecond
}

// growing says whether so much stands, and more than before, that no trend has
// to be waited for.
func (q *queue) growing(at time.Duration) bool {
	if at-q.asked < recentStep {
		return false
	}
	now := q.standing()
	more := now > q.before+sharpStep
	q.before, q.asked = now, at
	return more && now > sharpLeast+time.Duration(q.jitter)*time.Microsecond
}
