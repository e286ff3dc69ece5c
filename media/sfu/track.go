package sfu

import (
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"braid/media"
	"braid/media/udp"
)

const (
	maxPacket        = 1500 // bytes of RTP; no Ethernet path carries more
	keyFrameInterval = 500 * time.Millisecond
	maxBadReads      = 1000 // in a row, before a track is given up
	maxBurst         = 64   // packets that wait for each other before they are forwarded
)

// track implements media.Track over one stream of a publisher.
type track struct {
	codec   codec
	history *history // nil for sound: nobody asks for it again

	begun  atomic.Bool // the first packet came
	report atomic.Pointer[media.SenderReport]
	muted  atomic.Bool   // as its participant says
	pixels atomic.Uint64 // width<<32 | height of the newest key frame, 0 before

	mu        sync.Mutex // for writers of receivers and ended
	receivers atomic.Pointer[receivers]
	ended     bool
	done      chan struct{} // closed by end

	keyWanted chan struct{} // filled by anyone, one place; emptied by askForKeyFrames and at key frames
}

// receivers are those who get a track's packets. It is immutable.
type receivers struct {
	all []*attachment
	// socket is where the forwards among them write; nil when there are none.
	socket *udp.Conn
}

type attachment struct{ media.Receiver }

func newReceivers(all []*attachment) *receivers {
	rs := &receivers{all: all}
	for _, a := range all {
		if f, ok := a.Receiver.(*forward); ok {
			rs.socket = f.session.srv.net.socket
		}
	}
	return rs
}

func newTrack(c codec) *track {
	t := &track{codec: c, done: make(chan struct{}), keyWanted: make(chan struct{}, 1)}
	if c.name.Video() {
		t.history = &history{}
	}
	t.receivers.Store(&receivers{})
	return t
}

func (t *track) Codec() media.Codec    { return t.codec.name }
func (t *track) Channels() int         { return t.codec.channels() }
func (t *track) Done() <-chan struct{} { return t.done }

// size is the picture's, in pixels; 0, 0 while no key frame has told it.
func (t *track) size() (width, height int) {
	v := t.pixels.Load()
	return int(v >> 32), int(v & 0xffffffff)
}

// flowing is the track as others see it: nil before its first packet.
func (t *track) flowing() media.Track {
	if t == nil || !t.begun.Load() {
		return nil
	}
	return t
}

// begin marks the first packet; it is true once.
func (t *track) begin() bool { return t.begun.CompareAndSwap(false, true) }

func (t *track) Attach(r media.Receiver) (detach func()) {
	a := &attachment{r}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return func() {}
	}
	t.receivers.Store(newReceivers(append(slices.Clip(t.receivers.Load().all), a)))
	return func() { t.detach(a) }
}

func (t *track) detach(a *attachment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := slices.DeleteFunc(slices.Clone(t.receivers.Load().all), func(o *attachment) bool { return o == a })
	t.receivers.Store(newReceivers(next))
}

// end is called once, when the publication ends.
func (t *track) end() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.receivers.Store(&receivers{})
	close(t.done)
}

func (t *track) Report() (media.SenderReport, bool) {
	if r := t.report.Load(); r != nil {
		return *r, true
	}
	return media.SenderReport{}, false
}

func (t *track) RequestKeyFrame() {
	if !t.codec.name.Video() {
		return
	}
	select {
	case t.keyWanted <- struct{}{}:
	default:
	}
}

// askForKeyFrames sends the merged requests until the track ends. A request
// during the pause waits for its end, unless a key frame comes first.
func (t *track) askForKeyFrames(ask func()) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-t.done:
			return
		}
		select {
		case <-t.keyWanted:
		case <-t.done:
			return
		}
		ask()
		pause.Reset(keyFrameInterval)
	}
}

// read takes the stream's packets until its connection closes. What is waiting
// goes on together.
func (t *track) read(remote *webrtc.TrackRemote, levelID uint8) {
	buf := make([]byte, maxPacket+500)
	in := intake{codec: t.codec, levelID: levelID}
	burst := make([]*media.Packet, 0, maxBurst)
	for bad := 0; bad < maxBadReads; {
		n, attrs, err := remote.Read(buf)
		if ended(err) {
			return
		}
		if err == nil {
			bad = 0
			if p := in.packet(buf[:n], time.Now()); p != nil {
				burst = append(burst, p)
			}
		} else { // one packet that Pion cannot place, or too long for buf
			bad++
		}
		if len(burst) > 0 && (err != nil || len(burst) == maxBurst || !waiting(attrs)) {
			t.deliver(burst...)
			clear(burst)
			burst = burst[:0]
		}
	}
}

// ended tells that nothing more will come from a connection.
func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) }

// deliver gives packets to all receivers, each all of them in turn: so those for
// one viewer are next to each other on their way out.
func (t *track) deliver(burst ...*media.Packet) {
	for _, p := range burst {
		t.look(p)
	}
	rs := t.receivers.Load()
	if rs.socket != nil {
		rs.socket.Cork()
		defer rs.socket.Uncork()
	}
	for _, r := range rs.all {
		for _, p := range burst {
			r.Receive(p)
		}
	}
}

// look keeps what there is to know about a packet.
func (t *track) look(p *media.Packet) {
	if t.history == nil {
		return
	}
	t.history.put(p)
	if !keyFrameStart(t.codec.name, p.Payload) {
		return
	}
	if w, h, ok := pictureSize(t.codec.name, p.Payload); ok {
		t.pixels.Store(uint64(w)<<32 | uint64(h))
	}
	select { // it answers all who asked before
	case <-t.keyWanted:
	default:
	}
}

// intake turns RTP from the wire into Packets.
type intake struct {
	codec   codec
	levelID uint8
	header  rtp.Header // reused
	numbers renumber
	slab    slab
}

// packet returns nil for what nobody needs: padding, duplicates, other payload
// types, and what is not RTP.
func (in *intake) packet(b []byte, now time.Time) *media.Packet {
	if len(b) > maxPacket {
		return nil
	}
	in.header = rtp.Header{Extensions: in.header.Extensions[:0]}
	n, err := in.header.Unmarshal(b)
	if err != nil || in.header.PayloadType != in.codec.payload {
		return nil
	}
	payload := b[n:]
	if in.header.Padding {
		if len(payload) == 0 || int(payload[len(payload)-1]) > len(payload) {
			return nil
		}
		payload = payload[:len(payload)-int(payload[len(payload)-1])]
	}
	seq, ok := in.numbers.next(in.header.SequenceNumber, len(payload) == 0)
	if !ok {
		return nil
	}
	level, voice := audioLevel(&in.header, in.levelID)
	p := in.slab.packet(payload, in.codec.name.Video())
	p.Seq, p.Timestamp, p.Marker = seq, in.header.Timestamp, in.header.Marker
	p.Arrival, p.Level, p.Voice = now, level, voice
	return p
}

// readReports keeps the newest sender report. Reading also drives Pion's
// receive side.
func (t *track) readReports(receiver *webrtc.RTPReceiver, rid string, ssrc uint32) {
	read := receiver.ReadRTCP
	if rid != "" {
		read = func() ([]rtcp.Packet, interceptor.Attributes, error) { return receiver.ReadSimulcastRTCP(rid) }
	}
	for bad := 0; bad < maxBadReads; {
		packets, _, err := read()
		if ended(err) {
			return
		}
		if err != nil {
			bad++
			continue
		}
		bad = 0
		for _, p := range packets {
			if sr, ok := p.(*rtcp.SenderReport); ok && sr.SSRC == ssrc {
				t.report.Store(&media.SenderReport{
					NTP:       fromNTP(sr.NTPTime),
					Timestamp: sr.RTPTime,
					Arrival:   time.Now(),
				})
			}
		}
	}
}
