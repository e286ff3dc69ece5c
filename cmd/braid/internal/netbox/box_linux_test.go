package netbox

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"
)

// pair is two namespaces joined by a box, with a UDP socket in each.
type pair struct {
	*Box
	a, b *net.UDPConn // a sends to b and back
	ns   [2]*Namespace
}

func newPair(t *testing.T) *pair {
	t.Helper()
	if err := Available(); err != nil {
		t.Skip(err)
	}
	p := &pair{}
	for i, what := range []string{"a", "b"} {
		n, err := NewNamespace(what)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
		p.ns[i] = n
	}
	var err error
	if p.Box, err = New(p.ns[0], p.ns[1], 7, 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	at := func(host, port int) *net.UDPAddr {
		return &net.UDPAddr{IP: net.ParseIP(Address(7, host)), Port: port}
	}
	for i, conn := range []**net.UDPConn{&p.a, &p.b} {
		err := p.ns[i].Do(func() (err error) {
			*conn, err = net.DialUDP("udp4", at(i+1, 4000+i), at(2-i, 4001-i))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { (*conn).Close() })
		(*conn).SetReadBuffer(4 << 20)
	}
	return p
}

// receive reads n packets that send writes: how long each took, by its number.
// It gives up 5 s after the last.
func receive(t *testing.T, from, to *net.UDPConn, n, size int, gap time.Duration) map[int]time.Duration {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		b := make([]byte, size)
		ticker := time.NewTicker(max(gap, time.Nanosecond))
		defer ticker.Stop()
		for i := range n {
			if gap > 0 {
				<-ticker.C
			}
			binary.BigEndian.PutUint64(b, uint64(i))
			binary.BigEndian.PutUint64(b[8:], uint64(time.Now().UnixNano()))
			if _, err := from.Write(b); err != nil {
				ended <- err
				return
			}
		}
		binary.BigEndian.PutUint64(b, 1<<40) // the end, often enough to come through
		for range 200 {
			from.Write(b)
		}
		ended <- nil
	}()
	took := map[int]time.Duration{}
	b := make([]byte, 1<<16)
	for {
		to.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := to.Read(b); err != nil {
			t.Fatalf("after %d packets: %v", len(took), err)
		}
		i := binary.BigEndian.Uint64(b)
		if i == 1<<40 {
			break
		}
		took[int(i)] = time.Since(time.Unix(0, int64(binary.BigEndian.Uint64(b[8:]))))
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return took
}

func TestBoxLosesAndDelays(t *testing.T) {
	p := newPair(t)
	const n = 1000
	for _, way := range []struct {
		from, to *net.UDPConn
		wire     *Wire
	}{{p.a, p.b, p.Forth}, {p.b, p.a, p.Back}} {
		way.wire.Set(Profile{Loss: 0.05, Delay: 50 * time.Millisecond})
		took := slices.Sorted(func(yield func(time.Duration) bool) {
			for _, d := range receive(t, way.from, way.to, n, 200, time.Millisecond) {
				if !yield(d) {
					return
				}
			}
		})
		if lost := n - len(took); lost < 25 || lost > 80 {
			t.Errorf("asked for 5 %% loss, %d of %d are lost", lost, n)
		}
		median := took[len(took)/2]
		if took[0] < 50*time.Millisecond || median > 80*time.Millisecond {
			t.Errorf("asked for 50 ms: the fastest took %v, the median %v", took[0], median)
		}
		t.Logf("asked for 5 %% and 50 ms: lost %.1f %%, median %v", float64(n-len(took))/n*100, median)
		way.wire.Set(Profile{})
	}
}

// TestBoxRate: 400 packets at once through 4 Mbit/s; what fits into half a second passes.
func TestBoxRate(t *testing.T) {
	p := newPair(t)
	p.Forth.Set(Profile{Rate: 4e6, Queue: 500 * time.Millisecond})
	const n, size = 400, 1222 // 1250 with the headers: 2.5 ms each
	began := time.Now()
	b := make([]byte, size)
	for range n {
		if _, err := p.a.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	sent := time.Since(began)
	p.b.SetReadDeadline(time.Now().Add(10 * time.Second))
	for i := range 200 {
		if _, err := p.b.Read(b); err != nil {
			t.Fatalf("after %d packets: %v", i, err)
		}
	}
	took := time.Since(began)
	if took < 495*time.Millisecond || took > 1500*time.Millisecond {
		t.Errorf("half a second's packets took %v", took)
	}
	c := p.Forth.Counts()
	if most := 208 + int(sent/(2500*time.Microsecond)); n-c.Dropped > most || c.In < n {
		t.Errorf("%+v: more than %d passed", c, most)
	}
	t.Logf("asked for 4 Mbit/s: got %.2f, %d of %d dropped", 200*1250*8/took.Seconds()/1e6, c.Dropped, n)
}

// TestBoxChanges: a wire goes down and comes back, damages and repeats.
func TestBoxChanges(t *testing.T) {
	p := newPair(t)
	said := func(text string) {
		t.Helper()
		if _, err := p.a.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	heard := func() string {
		t.Helper()
		b := make([]byte, 2000)
		p.b.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := p.b.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	p.Both(Profile{Down: true})
	said("nobody hears this")
	for c, end := p.Forth.Counts(), time.Now().Add(10*time.Second); c.Cut == 0; c = p.Forth.Counts() {
		if time.Now().After(end) {
			t.Fatalf("the packet is not cut: %+v", c)
		}
	}
	p.Both(Profile{Duplicate: 1})
	said("twice")
	if got := heard() + heard(); got != "twicetwice" {
		t.Errorf("heard %q", got)
	}
	p.Both(Profile{Corrupt: 1})
	said("damaged")
	if got := heard(); got == "damaged" || len(got) != len("damaged") {
		t.Errorf("heard %q", got)
	}
}

// TestBoxCarriesTCP: 8 MiB through an imperfect wire arrive as they were sent.
func TestBoxCarriesTCP(t *testing.T) {
	p := newPair(t)
	p.Both(Profile{Loss: 0.001, Delay: 5 * time.Millisecond, Jitter: time.Millisecond})
	const size = 8 << 20
	var l net.Listener
	if err := p.ns[0].Do(func() (err error) {
		l, err = net.Listen("tcp4", Address(7, 1)+":0")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sent := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = c.Write(make([]byte, size))
			c.Close()
		}
		sent <- err
	}()
	var c net.Conn
	if err := p.ns[1].Do(func() (err error) {
		c, err = net.Dial("tcp4", l.Addr().String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(60 * time.Second))
	if n, err := io.Copy(io.Discard, c); err != nil || n != size {
		t.Fatalf("got %d bytes, %v", n, err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// TestLeftoversAreSwept: a namespace of a process that is gone is deleted by
// the next one that makes some.
func TestLeftoversAreSwept(t *testing.T) {
	if err := Available(); err != nil {
		t.Skip(err)
	}
	left := fmt.Sprintf("%s%d-left", prefix, 1<<22+1) // above the kernel's largest process id
	if err := ip("netns", "add", left); err != nil {
		t.Fatal(err)
	}
	n, err := NewNamespace("next")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := os.Stat(namespaces + "/" + left); err == nil {
		ip("netns", "del", left)
		t.Errorf("%s is still there", left)
	}
}
