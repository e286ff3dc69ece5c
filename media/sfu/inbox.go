package sfu

import (
	"io"
	"sync"

	"github.com/pion/interceptor"
	"github.com/pion/transport/v5/packetio"
	"github.com/pion/webrtc/v4"
)

// inboxes are where Pion puts a connection's decrypted packets until they are
// read. Being ours, they can say how many more are waiting: a publisher's frame
// comes as a burst, and goes out as one. As an interceptor they say it with each
// packet (waiting).
type inboxes struct {
	interceptor.NoOp
	wire *wire // of a viewer; nil: a publisher's

	mu  sync.Mutex
	rtp map[uint32]*inbox // by SSRC
}

// inbox is one stream's.
type inbox struct{ *packetio.Buffer }

// Pion's own limits, in bytes.
const (
	rtpInbox  = 1000 * 1000
	rtcpInbox = 100 * 1000
)

func (b *inbox) Read(p []byte) (int, error) {
	n, _, err := b.Buffer.Read(p, nil)
	return n, err
}

func (b *inbox) Write(p []byte) (int, error) { return b.Buffer.Write(p, nil) }

// make is the connection's webrtc.SettingEngine.BufferFactory.
func (i *inboxes) make(kind packetio.BufferPacketType, ssrc uint32) io.ReadWriteCloser {
	if kind == packetio.RTCPBufferPacket && i.wire != nil {
		return &requestBox{i.wire, ssrc}
	}
	b := &inbox{packetio.NewBuffer()}
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
	return interceptor.RTPReaderFunc(func(p []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		n, a, err := reader.Read(p, a)
		if err == nil && b.Count() > 0 {
			if a == nil {
				a = interceptor.Attributes{} // new each time: Pion hands those of retransmissions to another goroutine
			}
			a.Set(moreKey{}, nil)
		}
		return n, a, err
	})
}

// UnbindRemoteStream implements interceptor.Interceptor.
func (i *inboxes) UnbindRemoteStream(info *interceptor.StreamInfo) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.rtp, info.SSRC)
}

type moreKey struct{}

// waiting tells whether the next read of the stream returns at once. Of a
// retransmission it is not known: what waits behind it may be padding, which
// Pion keeps to itself.
func waiting(a interceptor.Attributes) bool {
	_, more := a[moreKey{}]
	_, again := a[webrtc.AttributeRtxSsrc]
	return more && !again
}
