package sfu

import (
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// readRequests answers requests for lost packets, passes the viewer's wishes for
// key frames on (some viewers send PLI, some FIR), and its reports. Most of what
// comes is reports that nobody wants: they are passed over, not parsed.
func (f *forward) readRequests(sender *webrtc.RTPSender) {
	again := newResender(f, time.Now())
	buf := make([]byte, maxPacket)
	for bad := 0; bad < maxBadReads; {
		n, _, err := sender.Read(buf)
		if ended(err) {
			return
		}
		if err != nil { // a packet longer than buf
			bad++
			continue
		}
		bad = 0
		eachRTCP(buf[:n], func(h rtcp.Header, packet []byte) { f.request(h, packet, again) })
	}
}

// request looks at one packet of a viewer. What cannot be read is not answered.
func (f *forward) request(h rtcp.Header, packet []byte, again *resender) {
	switch {
	case h.Type == rtcp.TypeTransportSpecificFeedback && h.Count == rtcp.FormatTLN:
		var nack rtcp.TransportLayerNack
		if nack.Unmarshal(packet) == nil {
			again.answer(&nack, time.Now())
		}
	case h.Type == rtcp.TypePayloadSpecificFeedback && (h.Count == rtcp.FormatPLI || h.Count == rtcp.FormatFIR):
		f.requestKeyFrame()
	case h.Type == rtcp.TypeReceiverReport && (f.reports != nil || f.red.payload.Load() != 0):
		var report rtcp.ReceiverReport
		if report.Unmarshal(packet) != nil {
			return
		}
		if out := f.out.Load(); out != nil {
			f.red.report(report.Reports, out.ssrc)
		}
		if f.reports != nil {
			f.reports(report.Reports)
		}
	}
}

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
