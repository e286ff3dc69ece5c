package rtmp

import "time"

const (
	stallTime = 6 * time.Second // without progress; looked at each second, so found within 7
	// publishWindow is how often an origin is asked to acknowledge: at 64 kbit/s,
	// sound alone, that is each 2 s; at 10 Mbit/s 80 small messages a second.
	publishWindow = 16 << 10
)

// progress finds an origin that takes nothing although writes succeed: sockets
// and proxies on the way swallow megabytes first. It judges by what TCP has not
// had acknowledged, and by the acknowledgements of RTMP if the origin sends them
// at all, which not every one does.
type progress struct {
	tcpAcked uint64
	tcpAt    time.Time // when that last moved, or nothing waited

	acked  uint64
	ackAt  time.Time
	sentAt uint64 // bytes sent at that time
	step   uint64 // bytes from one acknowledgement to the next, the usual most
	media  bool   // more than the set-up was acknowledged
}

// sample is what is known of a connection at one moment.
type sample struct {
	sent     uint64 // bytes that the socket took
	queued   int    // of them not acknowledged by TCP; with tcpAcked, 0 where that is not known
	tcpAcked uint64 // bytes
	acked    uint64 // as the newest Acknowledgement says; 0: none came
}

// stalled takes a sample, one each second or so, and tells whether the origin has
// taken nothing for stallTime.
func (p *progress) stalled(now time.Time, s sample) bool {
	if s.queued == 0 || s.tcpAcked != p.tcpAcked || p.tcpAt.IsZero() {
		p.tcpAcked, p.tcpAt = s.tcpAcked, now
	}
	if s.acked != p.acked {
		if !p.ackAt.IsZero() {
			p.step = max(s.sent-p.sentAt, p.step*3/4)
		}
		p.media = p.media || uint32(s.acked-p.acked) > publishWindow/4 // some acknowledge the set-up, and then keep silent
		p.acked, p.ackAt, p.sentAt = s.acked, now, s.sent
	}
	owes := p.media && p.step > 0 && s.sent-p.sentAt > p.step*3/2
	return now.Sub(p.tcpAt) >= stallTime || owes && now.Sub(p.ackAt) >= stallTime
}
