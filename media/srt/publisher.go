package srt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/datarhei/gosrt/crypto"
	"github.com/datarhei/gosrt/packet"

	"braid/media"
)

const (
	silence     = 5 * time.Second // without a packet, or without progress: libsrt's SRTO_PEERIDLETIMEO
	keepAlive   = time.Second     // without a packet of ours (section 3.2.3)
	tickTime    = 50 * time.Millisecond
	farewells   = 3                       // nobody confirms one
	lingerTime  = 1200 * time.Millisecond // when the session ends, at most
	flightBytes = 4 << 20                 // unacknowledged, at most
	leastAge    = 100 * time.Millisecond  // listeners acknowledge each 10 ms
	resendMost  = 64                      // packets at once
	resendAlone = 200 * time.Millisecond  // the last packet, when nobody noticed that it was lost
	maxPackets  = 1 << 30                 // with one key: its counter has 31 bits (section 6.1.2)

	retransmitted = 1 << 2 // R, in the fifth byte of a data packet (section 3.1)
	evenKey       = 1 << 3 // KK
	singlePacket  = 3 << 6 // PP
)

// Publisher is a session that sends one stream.
//
//	Write ── packets ──→ flight ── sent, sent again ──→ the listener
//	                       └─────── acknowledged ←─────┘
type Publisher struct {
	nc      net.Conn
	start   time.Time
	id      uint32
	peer    uint32
	latency time.Duration
	crypto  crypto.Crypto // nil: none; used by Write

	room chan struct{} // capacity 1: the flight has become smaller
	done chan struct{} // closed by the reading goroutine
	err  error         // written before done is closed

	mu       sync.Mutex
	flight   flight
	window   window
	next     uint32 // number of the next packet
	message  uint32
	packets  int
	rtt      time.Duration // as the listener says
	leastRTT time.Duration
	moved    time.Time // when an acknowledgement last moved, or the flight began
	spoke    time.Time // when a packet was last sent
	sent     time.Time // when a data packet was first sent, the newest
	blocked  bool      // a Write waits for room
	failure  error     // why Close or a stall ended the session

	close   sync.Once
	closing bool // Close waits for what is under way
}

func newPublisher(c *caller) *Publisher {
	p := &Publisher{
		nc: c.nc, start: c.start, id: c.id, peer: c.peer, latency: c.latency, crypto: c.crypto,
		next: c.initial, message: 1, rtt: 100 * time.Millisecond, // until it is known (section 4.10)
		room: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go p.readLoop()
	return p
}

// Write sends a part of a transport stream: whole packets of 188 bytes. It blocks
// while more is under way than the network carries, or something has been under way
// for half of the latency: so what there is no room for waits here, and not where
// it would come too late. After an error the session is over. For one goroutine;
// it may be called after Close.
func (p *Publisher) Write(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), payloadSize)
		if err := p.wait(); err != nil {
			return err
		}
		if err := p.sendData(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// wait returns when another packet may go out.
func (p *Publisher) wait() error {
	for {
		select {
		case <-p.done:
			return p.err
		default:
		}
		if p.hasRoom(time.Now()) {
			return nil
		}
		select {
		case <-p.done:
		case <-p.room:
		}
	}
}

func (p *Publisher) hasRoom(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	most := max(p.latency/2, leastAge) + p.leastRTT
	room := p.flight.age(now) <= most && p.flight.bytes < p.window.size(p.leastRTT, p.latency) && len(p.flight.packets) < flowWindow
	p.blocked = !room
	return room
}

// sendData sends one data packet (section 3.1).
func (p *Publisher) sendData(b []byte) error {
	wire := make([]byte, headerSize, headerSize+len(b))
	wire = append(wire, b...)
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.packets++; p.crypto != nil && p.packets > maxPackets {
		return errors.New("srt: the session's key has been used for long enough")
	}
	binary.BigEndian.PutUint32(wire, p.next)
	binary.BigEndian.PutUint32(wire[4:], p.message&(1<<26-1))
	wire[4] |= singlePacket
	binary.BigEndian.PutUint32(wire[8:], microseconds(now.Sub(p.start)))
	binary.BigEndian.PutUint32(wire[12:], p.peer)
	if p.crypto != nil {
		wire[4] |= evenKey
		if err := p.crypto.EncryptOrDecryptPayload(wire[headerSize:], packet.EvenKeyEncrypted, p.next); err != nil {
			return fmt.Errorf("srt: encrypt: %w", err)
		}
	}
	if len(p.flight.packets) == 0 {
		p.moved = now
	}
	p.flight.add(p.next, wire, now)
	p.next = (p.next + 1) & packet.MAX_SEQUENCENUMBER
	p.message++
	p.spoke, p.sent = now, now
	_, _ = p.nc.Write(wire) // a packet that cannot be sent is a lost one
	return nil
}

// readLoop hears what the listener says, and keeps time.
func (p *Publisher) readLoop() {
	defer close(p.done)
	defer p.nc.Close()
	b := make([]byte, maxPacket)
	heard := time.Now()
	tick := heard.Add(tickTime)
	for {
		if err := p.nc.SetReadDeadline(tick); err != nil {
			p.err = p.because(err)
			return
		}
		n, err := p.nc.Read(b)
		now := time.Now()
		switch {
		case err == nil:
			var ours bool
			if ours, err = p.hear(b[:n], now); ours {
				heard = now
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = nil
		}
		if err == nil && !now.Before(tick) {
			tick = now.Add(tickTime)
			err = p.tick(now, heard)
		}
		if err != nil {
			p.err = p.because(err)
			return
		}
	}
}

// because prefers the reason for which the session was ended to the error that
// this caused. A refusal in mid-session is a loss.
func (p *Publisher) because(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failure != nil {
		return p.failure
	}
	if errors.Is(err, media.ErrStalled) || errors.Is(err, ErrProtocol) {
		return err
	}
	return fmt.Errorf("srt: receive: %v", err)
}

var errShutdown = errors.New("the other side has closed the session")

// hear takes one packet; ours tells whether it was for this session.
func (p *Publisher) hear(b []byte, now time.Time) (ours bool, err error) {
	defer recoverTo(&err)
	in, err := packet.NewPacketFromData(nil, b)
	if err != nil {
		return false, nil // UDP: anybody may have sent it
	}
	defer in.Decommission()
	h := in.Header()
	if !h.IsControlPacket || h.DestinationSocketId != p.id {
		return false, nil
	}
	switch h.ControlType {
	case packet.CTRLTYPE_SHUTDOWN:
		return true, errShutdown
	case packet.CTRLTYPE_ACK:
		var ack packet.CIFACK
		if in.UnmarshalCIF(&ack) == nil {
			p.acknowledged(&ack, h.TypeSpecific, now)
		}
	case packet.CTRLTYPE_NAK:
		var nak packet.CIFNAK
		if in.UnmarshalCIF(&nak) == nil {
			p.sendAgain(&nak, now)
		}
	}
	return true, nil
}

func (p *Publisher) acknowledged(ack *packet.CIFACK, number uint32, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.flight.bytes
	if p.flight.ack(ack.LastACKPacketSequenceNumber.Val()) {
		p.moved = now
		p.window.acknowledged(before-p.flight.bytes, now)
		select {
		case p.room <- struct{}{}:
		default:
		}
	}
	if ack.IsLite {
		return
	}
	if rtt := time.Duration(ack.RTT) * time.Microsecond; rtt > 0 && rtt < silence {
		p.rtt = rtt
		if p.leastRTT == 0 || rtt < p.leastRTT {
			p.leastRTT = rtt
		}
	}
	if number != 0 {
		p.controlLocked(packet.CTRLTYPE_ACKACK, number, now)
	}
}

// sendAgain sends what the listener misses, each packet at most once a round trip.
func (p *Publisher) sendAgain(nak *packet.CIFNAK, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	lost, left := nak.LostPacketSequenceNumber, resendMost
	for i := 0; i+1 < len(lost); i += 2 {
		for _, wire := range p.flight.lost(lost[i].Val(), lost[i+1].Val(), now, p.rtt, left) {
			left--
			p.spoke = now
			_, _ = p.nc.Write(wire)
		}
	}
}

// tick does what is due without being asked.
func (p *Publisher) tick(now, heard time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting := len(p.flight.packets) > 0
	if now.Sub(heard) > silence || waiting && now.Sub(p.moved) > silence {
		return fmt.Errorf("srt: %w", media.ErrStalled)
	}
	if waiting {
		oldest := p.flight.packets[0].seq
		newest, apart, most := oldest, max(4*p.rtt, resendAlone), 1
		if p.closing { // nothing follows by which the listener could see what it lacks
			newest, apart, most = p.flight.packets[len(p.flight.packets)-1].seq, 2*p.leastRTT+tickTime, len(p.flight.packets)
		}
		for _, wire := range p.flight.lost(oldest, newest, now, apart, most) {
			p.spoke = now
			_, _ = p.nc.Write(wire)
		}
	}
	if now.Sub(p.spoke) > keepAlive {
		p.controlLocked(packet.CTRLTYPE_KEEPALIVE, 0, now)
	}
	return nil
}

// controlLocked sends a control packet without a body; the four bytes of zero are
// what libsrt sends in its place.
func (p *Publisher) controlLocked(typ packet.CtrlType, number uint32, now time.Time) {
	var wire [headerSize + 4]byte
	binary.BigEndian.PutUint16(wire[:], 1<<15|typ.Value())
	binary.BigEndian.PutUint32(wire[4:], number)
	binary.BigEndian.PutUint32(wire[8:], microseconds(now.Sub(p.start)))
	binary.BigEndian.PutUint32(wire[12:], p.peer)
	p.spoke = now
	_, _ = p.nc.Write(wire[:])
}

// Done is closed when the session is over.
func (p *Publisher) Done() <-chan struct{} { return p.done }

// Err says why the session is over; nil while it is not. It wraps media.ErrStalled
// when the other side has gone silent, or has taken nothing for 5 s of what was sent.
func (p *Publisher) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Close ends the session. The listener is told when it has played what it holds
// back, which it throws away at the end, or after 1.2 s; at once if a Write waits. When Close returns nothing
// of the session runs. It may be called from any goroutine and more than once.
func (p *Publisher) Close() {
	p.close.Do(func() {
		p.mu.Lock()
		p.closing = true
		wait := min(time.Until(p.sent.Add(p.latency+2*tickTime)), lingerTime)
		if p.blocked { // what is under way comes too late anyway
			wait = 0
		}
		p.mu.Unlock()
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-p.done:
		case <-t.C:
		}
		p.mu.Lock()
		p.failure = net.ErrClosed
		for range farewells {
			if p.Err() == nil {
				p.controlLocked(packet.CTRLTYPE_SHUTDOWN, 0, time.Now())
			}
		}
		p.mu.Unlock()
		p.nc.Close()
	})
	<-p.done
}
