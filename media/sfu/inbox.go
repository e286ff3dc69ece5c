package sfu

import (
	"encoding/binary"
	"io"
	"sync"
	"sync/atomic"

	"github.com/pion/interceptor"
	"github.com/pion/transport/v5/packetio"
	"github.com/pion/webrtc/v4"
)

// inboxes are where Pion puts a connection's decrypted packets until they are
// read. Being ours, they can say how many more are waiting: a publisher's frame
// comes as a burst, and goes out as one. As an interceptor they give a stream's
// reader its own with the first packet (waiting).
type inboxes struct {
	interceptor.NoOp
	wire    *wire   // of a viewer; nil: a publisher's
	up      *uplink // of a publisher; nil: a viewer's
	flooded func()  // is told that there are more than maxInboxes; must not block
	open    atomic.Int32

	mu  sync.Mutex
	rtp map[uint32]*inbox // by SSRC
}

// inbox is one stream's.
type inbox struct {
	*packetio.Buffer
	of     *inboxes
	reads  int // by its one reader
	closed atomic.Bool
}

// Pion's own limits, in bytes.
const (
	rtpInbox  = 1000 * 1000
	rtcpInbox = 100 * 1000
)

// maxInboxes bounds the streams of a connection, those with RTCP apart: each takes
// four kilobytes, and a sender may name as many as it likes. 32 media sections with
// three layers and their retransmissions are 384.
const maxInboxes = 1000

func (b *inbox) Read(p []byte) (int, error) {
	b.reads++
	n, _, err := b.Buffer.Read(p, nil)
	return n, err
}

// Close ends it; what is in it can still be read.
func (b *inbox) Close() error {
	if b.closed.CompareAndSwap(false, true) && b.of != nil {
		b.of.open.Add(-1)
	}
	return b.Buffer.Close()
}

func (b *inbox) Write(p []byte) (int, error) { return b.Buffer.Write(p, nil) }

// make is the connection's webrtc.SettingEngine.BufferFactory.
func (i *inboxes) make(kind packetio.BufferPacketType, ssrc uint32) io.ReadWriteCloser {
	if kind == packetio.RTCPBufferPacket && i.wire != nil {
		return &requestBox{i.wire, ssrc}
	}
	b := &inbox{Buffer: packetio.NewBuffer(), of: i}
	if i.open.Add(1) > maxInboxes {
		i.flooded()
	}
	if kind != packetio.RTPBufferPacket {
		b.SetLimitSize(rtcpInbox)
		return b
	}
	b.SetLimitSize(rtpInbox)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.rtp == nil {
		i.rtp = map[uint32]*inbox{}
	}
	i.rtp[ssrc] = b
	return b
}

// NewInterceptor implements interceptor.Factory; there is one for each
// connection already.
func (i *inboxes) NewInterceptor(string) (interceptor.Interceptor, error) { return i, nil }

// BindRemoteStream implements interceptor.Interceptor.
func (i *inboxes) BindRemoteStream(info *interceptor.StreamInfo, reader interceptor.RTPReader) interceptor.RTPReader {
	i.mu.Lock()
	b := i.rtp[info.SSRC]
	i.mu.Unlock()
	if b == nil {
		return reader
	}
	past := false // Pion's reader, which knows nothing of what the inlet puts into the inbox
	return interceptor.RTPReaderFunc(func(p []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		if past {
			n, err := b.Read(p)
			return n, a, err
		}
		before := b.reads
		n, a, err := reader.Read(p, a)
		if err != nil || n < 4 || b.reads == before { // one that Pion had looked at and kept
			return n, a, err
		}
		past = true
		if i.up != nil {
			i.up.divert(info.SSRC, b, binary.BigEndian.Uint16(p[2:]))
		}
		if a == nil {
			a = interceptor.Attributes{}
		}
		a.Set(boxKey{}, b)
		return n, a, nil
	})
}

// UnbindRemoteStream implements interceptor.Interceptor.
func (i *inboxes) UnbindRemoteStream(info *interceptor.StreamInfo) {
	if i.up != nil {
		i.up.restore(info.SSRC)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if b := i.rtp[info.SSRC]; b != nil && b.closed.Load() { // else what still comes has got another since
		delete(i.rtp, info.SSRC)
	}
}

type boxKey struct{}

// waiting tells whether the next read of the stream returns at once, by the
// attributes of this one. box is the stream's, which its first packet brings. Of a
// retransmission it is not known: what waits behind it may be padding, which
// Pion keeps to itself.
func waiting(a interceptor.Attributes, box **inbox) bool {
	if _, again := a[webrtc.AttributeRtxSsrc]; again {
		return false
	}
	if b, ok := a[boxKey{}].(*inbox); ok {
		*box = b
	}
	return *box != nil && (*box).Count() > 0
}
