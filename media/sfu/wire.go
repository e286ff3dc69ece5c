package sfu

import (
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// wire is the way out to one viewer: one connection with all that is sent on it.
// Its methods may be called from any goroutine and do not block.
type wire struct {
	srv      *Server
	pc       *webrtc.PeerConnection
	estimate estimator // set before anything is sent; nil: nobody estimates
	budget   *budget   // is estimate
}

// estimator is told what goes out to a viewer and what arrived there
// (draft-holmer-rmcat-transport-wide-cc-extensions-01). Its methods are called
// from any goroutine and must not block. Times count from the server's start.
type estimator interface {
	// Sent is told of each RTP packet that has a transport-wide number: its size
	// in bytes is that of the UDP payload.
	Sent(number uint16, size int, at time.Duration)
	// Feedback is given a transport-wide feedback packet, with its RTCP header. raw is
	// valid during the call alone.
	Feedback(raw []byte, at time.Duration)
}

func newWire(s *Server, pc *webrtc.PeerConnection) *wire {
	b := newBudget(s)
	return &wire{srv: s, pc: pc, estimate: b, budget: b}
}

// outlet is one forward's part of a wire, as it was negotiated.
type outlet struct {
	ssrc       uint32
	rtx        uint32 // SSRC of retransmissions; 0: packets are sent again as they were
	rtxPayload uint8
	writer     webrtc.TrackLocalWriter
}

// send sends a packet whose payload is head, which may be empty, and body. It
// keeps neither. An error means that the connection is closing or that its TCP
// buffer is full; both are the viewer's own affair.
func (w *wire) send(out *outlet, h *rtp.Header, head, body []byte) error {
	if len(head) > 0 {
		body = append(append(make([]byte, 0, len(head)+len(body)), head...), body...)
	}
	_, err := out.writer.WriteRTP(h, body)
	return err
}

// report sends RTCP.
func (w *wire) report(packets []rtcp.Packet) error { return w.pc.WriteRTCP(packets) }

// feedback takes a transport-wide feedback packet of the viewer.
func (w *wire) feedback(raw []byte, at time.Duration) {
	if w.estimate != nil {
		w.estimate.Feedback(raw, at)
	}
}
