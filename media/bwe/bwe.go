// Package bwe estimates, at the sender, how many bits per second the way to one
// viewer takes (congestion control as browsers do it, draft-ietf-rmcat-gcc-02),
// plans the padding that finds out whether more would fit, and decides when a
// packet may leave. It works on transport-wide sequence numbers and their
// feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01).
//
// It opens no socket, starts no goroutine and reads no clock: times are passed
// in, as durations since any fixed start, the same one for all calls. Nothing
// is allocated per packet. It does not know tracks or layers, and does not send:
// the caller asks and acts.
//
//	wire ── Sent ───────→ ring ──┐
//	wire ── Feedback ───→ parser ┴→ groups → trend → over-use ─┐
//	                              → acknowledged rate ─────────┼→ rate → Estimate
//	                              → loss by time sent ─────────┤
//	tick ── Probe ──────→ plan ───→ measured train ────────────┘
package bwe

import "time"

// Bounds of Config, in bits per second.
const (
	// DefaultStart is sent before anything is known. It carries audio and a
	// 360p layer, so the first picture is a picture; mediasoup starts the same,
	// browsers at 300 kbit/s, but they have to raise an encoder from nothing
	// while a server has all layers at hand. A link that cannot take it shows
	// within some 200 ms, and the first probes go up from here.
	DefaultStart = 600_000
	// DefaultMin is the least ever estimated: audio with its headers.
	DefaultMin = 30_000
	// DefaultMax is the most ever estimated.
	DefaultMax = 50_000_000
)

// Config bounds an Estimator. The zero value means the defaults.
type Config struct {
	Start int // bits/s before anything is known
	Min   int // bits/s; the estimate is never below
	Max   int // bits/s; the estimate is never above
}

// Estimate is what is known about the way to the viewer.
type Estimate struct {
	Rate  int           // bits/s that may be sent, RTP packets with headers, retransmissions and padding included
	Acked int           // bits/s that arrived lately; 0 until known
	Sent  int           // bits/s sent lately
	Loss  float64       // share of packets lost over the last seconds, 0 to 1
	RTT   time.Duration // round trip, smoothed; 0 until known
	Queue time.Duration // delay above the least of the last 20 seconds: what stands in queues
	Over  bool          // queues grow: less has to be sent at once
	Idle  bool          // much less than Rate is sent: Rate rises by probes only
	Deaf  bool          // packets are out and feedback does not come: Rate falls
}

// Probe is a train of packets to be sent now, as padding or retransmissions
// beside whatever media passes. The zero value: nothing.
type Probe struct {
	Bytes   int           // in all, headers included
	Packets int           // at least so many
	Rate    int           // bits/s the train is to be sent at
	Span    time.Duration // Bytes at Rate; sending all at once works too, but queues more
}
