package srt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/datarhei/gosrt/packet"

	"braid/internal/testkit"
	"braid/media"
)

// network is a way for UDP between a caller and a listener: it loses a share of
// the packets each way, and carries so many bytes a second to the listener behind
// a queue of a quarter of a second.
type network struct {
	url  string
	loss float64
	rate int // bytes a second; 0: any

	mu   sync.Mutex
	full int // packets that the queue had no room for
}

func startNetwork(t testing.TB, to string, loss float64, rate int) *network {
	t.Helper()
	near, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	far, err := net.Dial("udp", strings.TrimPrefix(to, "srt://"))
	if err != nil {
		t.Fatal(err)
	}
	n := &network{url: "srt://" + near.LocalAddr().String(), loss: loss, rate: rate}
	var wg sync.WaitGroup
	var caller net.Addr
	var mu sync.Mutex
	queue := make(chan []byte, 1000)
	random := rand.New(rand.NewPCG(1, 2)) // used by the first goroutine
	wg.Go(func() {
		defer close(queue)
		free := time.Now() // when the line has sent all that it was given
		for b := make([]byte, 2000); ; {
			got, from, err := near.ReadFrom(b)
			if err != nil {
				return
			}
			mu.Lock()
			caller = from
			mu.Unlock()
			now := time.Now()
			if free.Before(now) {
				free = now
			}
			if random.Float64() < n.loss {
				continue
			}
			if n.rate > 0 {
				if free.Sub(now) > 250*time.Millisecond {
					n.mu.Lock()
					n.full++
					n.mu.Unlock()
					continue
				}
				free = free.Add(time.Duration(got) * time.Second / time.Duration(n.rate))
			}
			queue <- append([]byte(nil), b[:got]...)
		}
	})
	wg.Go(func() {
		free := time.Now()
		for b := range queue {
			if n.rate > 0 {
				if now := time.Now(); free.Before(now) {
					free = now
				}
				free = free.Add(time.Duration(len(b)) * time.Second / time.Duration(n.rate))
				<-time.After(time.Until(free))
			}
			_, _ = far.Write(b)
		}
	})
	wg.Go(func() {
		random := rand.New(rand.NewPCG(3, 4))
		for b := make([]byte, 2000); ; {
			got, err := far.Read(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			mu.Lock()
			to := caller
			mu.Unlock()
			if err == nil && to != nil && random.Float64() >= n.loss {
				_, _ = near.WriteTo(b[:got], to)
			}
		}
	})
	t.Cleanup(func() {
		near.Close()
		far.Close()
		wg.Wait()
	})
	return n
}

func pictures(t testing.TB, file string) (n int) {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", file).CombinedOutput()
	if _, scan := fmt.Sscan(string(out), &n); err != nil || scan != nil {
		t.Errorf("ffprobe: %v\n%s", err, out)
	}
	return n
}

// decodes lets ffmpeg decode a file; it finds nothing wrong.
func decodes(t testing.TB, file string) {
	t.Helper()
	if out, err := exec.Command("ffmpeg", "-v", "error", "-i", file, "-f", "null", "-").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("ffmpeg: %v\n%s", err, out)
	}
}

// A network that loses 10 % each way, handshake and acknowledgements too: every
// picture arrives.
func TestLoss(t *testing.T) {
	testkit.NoLeaks(t)
	ts := transport(t, 4)
	url, l := startFFmpeg(t, "")
	listening(t, l)
	n := startNetwork(t, url, 0.1, 0)
	p, err := dial(t, n.url+"?latency=1000")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Write(ts); err != nil {
		t.Fatal(err)
	}
	p.Close()
	if err := l.cmd.Wait(); err != nil {
		t.Errorf("ffmpeg: %v\n%s", err, l.log.String())
	}
	if got := pictures(t, l.file); got < 99 {
		t.Errorf("%d pictures of 100\n%s", got, l.log.String())
	}
	decodes(t, l.file)
}

// listening waits until ffmpeg has its socket.
func listening(t testing.TB, l *listener) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for {
		out, err := exec.Command("ls", "-l", fmt.Sprintf("/proc/%d/fd", l.cmd.Process.Pid)).Output()
		if err == nil && strings.Contains(string(out), "socket:") {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("ffmpeg does not listen within 20 s")
		}
	}
}

// A line that carries a third of what is given: Write waits for it, and nothing is
// broken on the way.
func TestNarrow(t *testing.T) {
	testkit.NoLeaks(t)
	ts := transport(t, 4)
	url, l := startFFmpeg(t, "")
	listening(t, l)
	rate := len(ts) / 6 // a stream of 4 s in about 6
	n := startNetwork(t, url, 0, rate)
	p, err := dial(t, n.url+"?latency=1000")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := p.Write(ts); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 4*time.Second {
		t.Errorf("%d bytes went into a line of %d bytes a second within %v", len(ts), rate, d)
	}
	p.Close()
	if err := l.cmd.Wait(); err != nil {
		t.Errorf("ffmpeg: %v\n%s", err, l.log.String())
	}
	if got := pictures(t, l.file); got < 99 {
		t.Errorf("%d pictures of 100; the line was full for %d packets", got, n.full)
	}
	decodes(t, l.file)
}

// fake is a listener that plays a script.
func fake(t testing.TB, script func(pc net.PacketConn)) (url string) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		script(pc)
	}()
	t.Cleanup(func() {
		pc.Close()
		<-done
	})
	return "srt://" + pc.LocalAddr().String() + "?streamid=" + secret
}

// shakeHands is a listener's side; typ is its last word.
func shakeHands(pc net.PacketConn, typ packet.HandshakeType) (caller net.Addr, id uint32) {
	b := make([]byte, maxPacket)
	for {
		n, from, err := pc.ReadFrom(b)
		if err != nil {
			return nil, 0
		}
		p, err := packet.NewPacketFromData(from, b[:n])
		if err != nil {
			continue
		}
		h := &packet.CIFHandshake{}
		if p.UnmarshalCIF(h) != nil {
			continue
		}
		id = h.SRTSocketId
		p.Header().DestinationSocketId = id
		h.IsRequest = false
		last := h.HandshakeType == packet.HSTYPE_CONCLUSION
		if last {
			h.HandshakeType, h.SRTSocketId = typ, 77
		} else {
			h.Version, h.ExtensionField, h.SynCookie = 5, magic, 12345
		}
		_ = p.MarshalCIF(h)
		var w writer
		_ = p.Marshal(&w)
		_, _ = pc.WriteTo(w, from)
		if last {
			return from, id
		}
	}
}

func TestRejected(t *testing.T) {
	testkit.NoLeaks(t)
	for code, words := range map[int]string{2403: "forbidden", 2409: "in use", 3001: "refused", 1010: "passphrase"} {
		_, err := Dial(t.Context(), fake(t, func(pc net.PacketConn) { shakeHands(pc, packet.HandshakeType(code)) }), Options{})
		var r *RejectedError
		if !errors.As(err, &r) || r.Code != code || !strings.Contains(r.Reason, words) || strings.Contains(err.Error(), secret) {
			t.Errorf("%d: got %v, want %q", code, err, words)
		}
	}
}

func TestControlRefusesAddress(t *testing.T) {
	testkit.NoLeaks(t)
	refused := errors.New("private address")
	asked := false
	url := fake(t, func(pc net.PacketConn) {
		if _, _, err := pc.ReadFrom(make([]byte, 10)); err == nil {
			t.Error("a packet went to a forbidden address")
		}
	})
	_, err := Dial(t.Context(), strings.Replace(url, "127.0.0.1", "localhost", 1), Options{Control: func(network, address string, _ syscall.RawConn) error {
		asked = asked || strings.HasPrefix(network, "udp") && strings.HasPrefix(address, "127.0.0.1:")
		return refused
	}})
	if !errors.Is(err, refused) || !asked {
		t.Errorf("got %v, asked %v", err, asked)
	}
}

// Nobody answers: the context ends it.
func TestSilentListener(t *testing.T) {
	testkit.NoLeaks(t)
	asked := make(chan struct{}, 100)
	url := fake(t, func(pc net.PacketConn) {
		for {
			if _, _, err := pc.ReadFrom(make([]byte, maxPacket)); err != nil {
				return
			}
			asked <- struct{}{}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := Dial(ctx, url, Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if n := len(asked); n < 2 {
		t.Errorf("asked %d times in a second", n)
	}
}

// A listener that lives and acknowledges nothing: the flight is bounded, and the
// stall is found within 10 s.
func TestNothingAcknowledged(t *testing.T) {
	testkit.NoLeaks(t)
	p, err := Dial(t.Context(), alive(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	start := time.Now()
	for err == nil {
		err = p.Write(make([]byte, 188*70))
	}
	if d := time.Since(start); !errors.Is(err, media.ErrStalled) || d > 10*time.Second {
		t.Errorf("after %v: %v", d, err)
	}
	if p.flight.bytes > flightBytes+maxPacket {
		t.Errorf("%d bytes were kept", p.flight.bytes)
	}
}

// Close ends a Write that waits, and does not linger then.
func TestCloseWhileBlocked(t *testing.T) {
	testkit.NoLeaks(t)
	p, err := Dial(t.Context(), alive(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		var err error
		for err == nil {
			err = p.Write(make([]byte, 188*70))
		}
		ended <- err
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for blocked := false; !blocked; <-tick.C {
		p.mu.Lock()
		blocked = p.blocked
		p.mu.Unlock()
	}
	start := time.Now()
	p.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write: %v", err)
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("Close took %v", d)
	}
}

// alive is a listener that sends keep-alives and acknowledges nothing.
func alive(t testing.TB) (url string) {
	return fake(t, func(pc net.PacketConn) {
		caller, id := shakeHands(pc, packet.HSTYPE_CONCLUSION)
		b := make([]byte, maxPacket)
		for caller != nil {
			if _, _, err := pc.ReadFrom(b); err != nil {
				return
			}
			p := packet.NewPacket(caller)
			p.Header().IsControlPacket, p.Header().ControlType, p.Header().DestinationSocketId = true, packet.CTRLTYPE_KEEPALIVE, id
			var w writer
			_ = p.Marshal(&w)
			_, _ = pc.WriteTo(w, caller)
		}
	})
}

// control is a packet for socket 1.
func control(typ packet.CtrlType, number uint32, body ...byte) []byte {
	p := packet.NewPacket(nil)
	p.Header().IsControlPacket, p.Header().ControlType, p.Header().TypeSpecific, p.Header().DestinationSocketId = true, typ, number, 1
	p.SetData(body)
	var w writer
	_ = p.Marshal(&w)
	return w
}

// FuzzHear feeds what a network may bring to a session and to a handshake.
func FuzzHear(f *testing.F) {
	f.Add(control(packet.CTRLTYPE_ACK, 1, make([]byte, 28)...))
	f.Add(control(packet.CTRLTYPE_ACK, 0, 0, 0, 0, 3))
	f.Add(control(packet.CTRLTYPE_NAK, 0, 0, 0, 0, 1, 0x80, 0, 0, 2, 0, 0, 0, 9))
	f.Add(control(packet.CTRLTYPE_NAK, 0, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff))
	f.Add(control(packet.CTRLTYPE_SHUTDOWN, 0))
	f.Add(control(packet.CTRLTYPE_KEEPALIVE, 0))
	f.Add(control(packet.CTRLTYPE_HANDSHAKE, 0, make([]byte, 70)...))
	f.Add(append(control(packet.CTRLTYPE_HANDSHAKE, 0, append(append(make([]byte, 20), 0xff, 0xff, 0xff, 0xff), make([]byte, 24)...)...), 0, 2, 0, 3, 0, 1, 5, 1, 0, 0, 0, 0, 1, 0, 2, 0, 0, 4, 0, 1, 0, 0, 0, 4))
	f.Add([]byte{0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, ok := readAnswer(b, 1); ok && a.latency > 66*time.Second {
			t.Errorf("latency %v", a.latency)
		}
		near, far := net.Pipe() // nobody reads: what is written must not block
		near.Close()
		far.Close()
		p := &Publisher{nc: near, id: 1, room: make(chan struct{}, 1)}
		now := time.Now()
		for i := range uint32(10) {
			p.flight.add(i, make([]byte, headerSize+10), now)
		}
		_, err := p.hear(b, now.Add(time.Second))
		if err != nil && !errors.Is(err, errShutdown) && !errors.Is(err, ErrProtocol) {
			t.Errorf("got %v", err)
		}
		if len(p.flight.packets)*(headerSize+10) != p.flight.bytes {
			t.Errorf("%d packets of %d bytes", len(p.flight.packets), p.flight.bytes)
		}
	})
}
