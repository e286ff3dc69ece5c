package sfu

import (
	"encoding/binary"
	"io"
	"sync"
	"time"

	"github.com/pion/rtcp"
)

// requests is what a viewer says about what it gets, by RTCP: it asks for lost
// packets and for key frames, and reports. It comes from the inlet, or from Pion.
type requests struct {
	mu    sync.Mutex
	bound map[uint32]*asked // by SSRC
}

// asked is a forward that a viewer may ask of.
type asked struct {
	forward *forward
	mu      sync.Mutex
	again   *resender // guarded by mu
	lost    int32     // the most that was reported; guarded by mu
}

// bind lets a viewer ask of f under its SSRC, unbind ends it.
func (r *requests) bind(f *forward, out *outlet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bound == nil {
		r.bound = map[uint32]*asked{}
	}
	r.bound[out.ssrc] = &asked{forward: f, again: newResender(f, time.Now())}
}

func (r *requests) unbind(f *forward) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ssrc, a := range r.bound {
		if a.forward == f {
			delete(r.bound, ssrc)
		}
	}
}

func (r *requests) of(ssrc uint32) *asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bound[ssrc]
}

// take goes through a compound. Of what only is not 0 for, it heeds what is about
// that SSRC alone: Pion shows a packet once for each that it is about. Most of
// what comes is reports that nobody wants: they are passed over, not parsed.
func (r *requests) take(w *wire, compound []byte, only uint32) {
	eachRTCP(compound, func(h rtcp.Header, packet []byte) { r.heed(w, h, packet, only) })
}

// heed looks at one packet of a viewer. What cannot be read is not answered.
func (r *requests) heed(w *wire, h rtcp.Header, packet []byte, only uint32) {
	if h.Type == rtcp.TypeReceiverReport {
		r.reports(w, packet, only)
		return
	}
	if len(packet) < 12 {
		return
	}
	ssrc := binary.BigEndian.Uint32(packet[8:]) // of the media, in all feedback (RFC 4585 section 6.1)
	switch {
	case h.Type == rtcp.TypeTransportSpecificFeedback && h.Count == rtcp.FormatTCC:
		if only == 0 || only == ssrc {
			w.feedback(packet, w.srv.age())
		}
	case h.Type == rtcp.TypeTransportSpecificFeedback && h.Count == rtcp.FormatTLN:
		var nack rtcp.TransportLayerNack
		if a := r.of(ssrc); a != nil && (only == 0 || only == ssrc) && nack.Unmarshal(packet) == nil {
			w.flow(a.forward).nacks.Add(asksFor(&nack))
			a.mu.Lock()
			a.again.answer(&nack, time.Now())
			a.mu.Unlock()
		}
	case h.Type == rtcp.TypePayloadSpecificFeedback && h.Count == rtcp.FormatPLI:
		r.keyFrame(w, ssrc, only)
	case h.Type == rtcp.TypePayloadSpecificFeedback && h.Count == rtcp.FormatFIR:
		for entry := packet[12:]; len(entry) >= 8; entry = entry[8:] { // RFC 5104 section 4.3.1
			r.keyFrame(w, binary.BigEndian.Uint32(entry), only)
		}
	}
}

func (r *requests) keyFrame(w *wire, ssrc, only uint32) {
	if a := r.of(ssrc); a != nil && (only == 0 || only == ssrc) {
		w.flow(a.forward).plis.Add(1)
		a.forward.requestKeyFrame()
	}
}

// reports gives the blocks of a receiver report (RFC 3550 section 6.4.2) to whom
// they are about.
func (r *requests) reports(w *wire, packet []byte, only uint32) {
	for at := 8; at+24 <= len(packet); at += 24 {
		ssrc := binary.BigEndian.Uint32(packet[at:])
		a := r.of(ssrc)
		if a == nil || only != 0 && only != ssrc {
			continue
		}
		f := a.forward
		redundant := f.red.payload.Load() != 0
		var block rtcp.ReceptionReport
		if block.Unmarshal(packet[at:at+24]) != nil {
			continue
		}
		w.reported(a, &block, time.Now())
		if !redundant && f.reports == nil {
			continue
		}
		one := []rtcp.ReceptionReport{block}
		if redundant {
			f.red.report(one, ssrc)
		}
		if f.reports != nil {
			f.reports(one)
		}
	}
}

// requestBox is where Pion puts what it decrypted about one SSRC of a wire. It
// keeps nothing.
type requestBox struct {
	wire *wire
	ssrc uint32
}

// Write heeds a packet, unless the inlet has seen it already.
func (b *requestBox) Write(p []byte) (int, error) {
	w := b.wire
	if r := w.route.Load(); w.owner.Load() != ours || r == nil || r.tcp != nil || !w.reportsToInlet() {
		w.requests.take(w, p, b.ssrc)
	}
	return len(p), nil
}

// reportsElsewhere is after how long without a report to the inlet those that Pion
// opens are not the same: the viewer sends them by another pair than the one in use
// here, which ICE allows while it has not settled.
const reportsElsewhere = 2 * time.Second

// reportsToInlet tells whether what Pion opens now went through the inlet.
func (w *wire) reportsToInlet() bool {
	heard := w.heard.Load()
	return heard > 0 && w.srv.age()-time.Duration(heard) < reportsElsewhere
}

// Read has nothing, ever; nobody calls it.
func (b *requestBox) Read([]byte) (int, error) { return 0, io.EOF }
func (b *requestBox) Close() error             { return nil }

// eachRTCP goes through the packets of a compound (RFC 3550 section 6.1), up to
// the first whose length is wrong.
func eachRTCP(b []byte, do func(h rtcp.Header, packet []byte)) {
	for len(b) >= 4 {
		var h rtcp.Header
		if h.Unmarshal(b) != nil {
			return
		}
		size := 4 * (int(h.Length) + 1)
		if size > len(b) {
			return
		}
		do(h, b[:size])
		b = b[size:]
	}
}
