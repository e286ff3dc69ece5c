package udp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// systems are the fast one and its plain twin; each test runs both.
func systems(t *testing.T, address string, run func(t *testing.T, c *Conn)) {
	for _, kind := range []string{"fast", "each", "plain"} {
		t.Run(kind, func(t *testing.T) {
			u := listen(t, address)
			fast, err := newSystem(u)
			switch {
			case kind == "plain":
				run(t, newConn(u, &plain{u}, 2))
			case err != nil:
				t.Skip(err)
			default:
				if kind == "each" {
					one(fast)
				}
				run(t, newConn(u, fast, 2))
			}
		})
	}
}

func listen(t *testing.T, address string) *net.UDPConn {
	t.Helper()
	pc, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { pc.Close() })
	u := pc.(*net.UDPConn)
	u.SetReadBuffer(4 << 20)
	return u
}

func at(c net.PacketConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// next reads a packet with a deadline.
func next(t *testing.T, c net.PacketConn) []byte {
	t.Helper()
	b := make([]byte, 4096)
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, _, err := c.ReadFrom(b)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return b[:n]
}

func packet(size int, dest, number int) []byte {
	return append([]byte(fmt.Sprintf("%d/%d ", dest, number)), bytes.Repeat([]byte{byte(number)}, size)...)
}

// TestGather sends bursts of unequal packets to many destinations: each arrives
// whole, in the order it was written to its destination.
func TestGather(t *testing.T) {
	systems(t, "127.0.0.1:0", func(t *testing.T, c *Conn) {
		const dests, each = 40, 100 // over what fits into a batch
		random := rand.New(rand.NewPCG(1, 2))
		var to []*net.UDPConn
		want := make([][][]byte, dests)
		for range dests {
			to = append(to, listen(t, "127.0.0.1:0"))
		}
		c.Cork()
		for n := 0; n < each; {
			burst := 1 + random.IntN(9)
			for d := range dests {
				size := 1150
				for k := n; k < min(n+burst, each); k++ {
					if random.IntN(4) == 0 {
						size = 1 + random.IntN(1400)
					}
					p := packet(size, d, k)
					want[d] = append(want[d], bytes.Clone(p))
					if n, err := c.WriteToAddrPort(p, at(to[d])); n != len(p) || err != nil {
						t.Fatalf("write: %d, %v", n, err)
					}
					clear(p) // it was copied
				}
			}
			n += burst
		}
		c.Uncork()
		for d := range dests {
			for k, w := range want[d] {
				if got := next(t, to[d]); !bytes.Equal(got, w) {
					t.Fatalf("destination %d, packet %d: got %d bytes %.20q, want %d bytes %.20q", d, k, len(got), got, len(w), w)
				}
			}
		}
	})
}

// TestReserve fills packets in place, corked and not, from several goroutines;
// those that are given back are not sent.
func TestReserve(t *testing.T) {
	systems(t, "127.0.0.1:0", func(t *testing.T, c *Conn) {
		const dests, each = 4, 300
		var to []*net.UDPConn
		for range dests {
			to = append(to, listen(t, "127.0.0.1:0"))
		}
		var wg sync.WaitGroup
		for d := range dests {
			wg.Go(func() {
				for k := range each {
					if k%5 != 0 {
						c.Cork()
					}
					p := packet(100+k, d, k)
					r := c.Reserve(at(to[d]), len(p))
					if len(r.Packet) != len(p) {
						t.Errorf("room for %d bytes, want %d", len(r.Packet), len(p))
					}
					r.Send(copy(r.Packet, p) == len(p) && k%7 != 0)
					if k%5 != 0 {
						c.Uncork()
					}
				}
			})
		}
		wg.Wait()
		for d := range dests {
			for k := range each {
				if k%7 == 0 {
					continue
				}
				if got, want := next(t, to[d]), packet(100+k, d, k); !bytes.Equal(got, want) {
					t.Fatalf("destination %d, packet %d: got %.20q, want %.20q", d, k, got, want)
				}
			}
		}
	})
}

// TestReserveAlone: what cannot gather goes out by itself.
func TestReserveAlone(t *testing.T) {
	systems(t, "127.0.0.1:0", func(t *testing.T, c *Conn) {
		to := listen(t, "127.0.0.1:0")
		c.Cork()
		defer c.Uncork()
		p := packet(MaxPacket, 0, 1)
		r := c.Reserve(at(to), len(p))
		r.Send(copy(r.Packet, p) == len(p))
		if got := next(t, to); !bytes.Equal(got, p) {
			t.Fatalf("got %d bytes, want %d", len(got), len(p))
		}
	})
}

// TestWriteAllocatesNothing: neither way, once the batches have been sent.
func TestWriteAllocatesNothing(t *testing.T) {
	systems(t, "127.0.0.1:0", func(t *testing.T, c *Conn) {
		to, p := at(listen(t, "127.0.0.1:0")), make([]byte, 100)
		if n := testing.AllocsPerRun(1000, func() {
			c.Cork()
			c.WriteToAddrPort(p, to)
			r := c.Reserve(to, len(p))
			r.Send(true)
			c.Uncork()
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// TestRefused: a packet that the kernel refuses takes no other with it.
func TestRefused(t *testing.T) {
	systems(t, "127.0.0.1:0", func(t *testing.T, c *Conn) {
		to := listen(t, "127.0.0.1:0")
		nowhere := netip.MustParseAddrPort("255.255.255.255:9") // EACCES without SO_BROADCAST
		c.Cork()
		for k := range 6 {
			c.WriteToAddrPort(packet(1000, 0, k), at(to))
			c.WriteToAddrPort(packet(1000, 1, k), nowhere)
			c.WriteToAddrPort(packet(1000, 1, k), nowhere)
		}
		c.Uncork()
		for k := range 6 {
			if got := next(t, to); !bytes.Equal(got, packet(1000, 0, k)) {
				t.Fatalf("packet %d: got %.20q", k, got)
			}
		}
	})
}

// TestFamilies: IPv4 over an IPv6 socket, in both notations, and IPv6.
func TestFamilies(t *testing.T) {
	systems(t, "[::]:0", func(t *testing.T, c *Conn) {
		four := listen(t, "127.0.0.1:0")
		six := listen(t, "[::1]:0")
		mapped := netip.AddrPortFrom(netip.AddrFrom16(at(four).Addr().As16()), at(four).Port())
		if !mapped.Addr().Is4In6() {
			t.Fatal("not a mapped address")
		}
		c.Cork()
		c.WriteToAddrPort([]byte("plain"), at(four))
		c.WriteToAddrPort([]byte("mapped"), mapped)
		c.WriteToAddrPort([]byte("six"), at(six))
		c.WriteToAddrPort([]byte("again"), at(six))
		c.Uncork()
		got := string(next(t, four)) + " " + string(next(t, four)) + " " + string(next(t, six)) + " " + string(next(t, six))
		if got != "plain mapped six again" && got != "mapped plain six again" {
			t.Fatalf("got %q", got)
		}
		for _, from := range []*net.UDPConn{four, six} {
			if _, err := from.WriteToUDPAddrPort([]byte("back"), netip.AddrPortFrom(at(from).Addr(), at(c).Port())); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 100)
			n, source, err := c.ReadFromAddrPort(b)
			if err != nil || string(b[:n]) != "back" || source.Port() != at(from).Port() || source.Addr().Unmap() != at(from).Addr() {
				t.Fatalf("got %q from %v (%v), want it from %v", b[:n], source, err, at(from))
			}
		}
	})
}

// TestFamilyOutOfReach: a socket of IPv4 alone says so.
func TestFamilyOutOfReach(t *testing.T) {
	systems(t, "127.0.0.1:0", func(t *testing.T, c *Conn) {
		c.Cork()
		defer c.Uncork()
		if _, err := c.WriteToAddrPort([]byte("x"), netip.MustParseAddrPort("[::1]:9")); err == nil {
			t.Error("no error")
		}
	})
}

// TestRead reads more than one batch, and leaves out what is too long.
func TestRead(t *testing.T) {
	systems(t, "127.0.0.1:0", func(t *testing.T, c *Conn) {
		from := listen(t, "127.0.0.1:0")
		for k := range 200 {
			size := 10 + 7*k
			if k == 77 {
				size = MaxPacket + 1
			}
			if _, err := from.WriteToUDPAddrPort(packet(size, 0, k), at(c)); err != nil {
				t.Fatal(err)
			}
		}
		for k := range 200 {
			want := packet(10+7*k, 0, k)
			if k == 77 {
				if _, each := c.sys.(*plain); each {
					next(t, c) // cut
				}
				continue
			}
			if got := next(t, c); !bytes.Equal(got, want) {
				t.Fatalf("packet %d: got %d bytes, want %d", k, len(got), len(want))
			}
		}
	})
}

// TestNothingStays: goroutines that cork, write and uncork at once leave nothing
// behind, and none waits for another.
func TestNothingStays(t *testing.T) {
	systems(t, "127.0.0.1:0", func(t *testing.T, c *Conn) {
		const writers, each = 8, 200
		to := listen(t, "127.0.0.1:0")
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for k := range each {
					if k%3 != 0 {
						c.Cork()
					}
					c.WriteToAddrPort(packet(20, w, k), at(to))
					if k%3 != 0 {
						c.Uncork()
					}
				}
			})
		}
		wg.Wait()
		for range writers * each {
			next(t, to)
		}
	})
}

// TestCloseEndsRead: a reader that waits returns.
func TestCloseEndsRead(t *testing.T) {
	systems(t, "127.0.0.1:0", func(t *testing.T, c *Conn) {
		ended := make(chan error, 1)
		go func() {
			_, _, err := c.ReadFromAddrPort(make([]byte, 10))
			ended <- err
		}()
		c.Close()
		select {
		case err := <-ended:
			if err == nil {
				t.Error("a packet from a closed socket")
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the read does not end")
		}
		c.Cork()
		c.WriteToAddrPort([]byte("x"), at(c))
		c.Uncork()
	})
}

func TestMessages(t *testing.T) {
	a, b := netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.1:2")
	batch := newBatch()
	for _, p := range []struct {
		size int
		to   netip.AddrPort
	}{{100, a}, {100, a}, {50, a}, {50, a}, {60, a}, {60, b}, {60, a}} {
		if batch.room(p.size, p.to) == nil {
			t.Fatal("full")
		}
		batch.keep(p.size, p.to)
	}
	var got string
	for _, m := range batch.messages {
		got += fmt.Sprint(m.end-m.start, "/", m.segment, " ")
	}
	if want := "250/100 50/50 60/60 60/60 60/60 "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	batch.reset()
	for range 200 {
		if batch.room(1200, a) == nil {
			break
		}
		batch.keep(1200, a)
	}
	for _, m := range batch.messages {
		if n := (m.end - m.start) / m.segment; n > maxSegments || m.end-m.start > maxMessage {
			t.Errorf("a message of %d packets, %d bytes", n, m.end-m.start)
		}
	}
}

// BenchmarkWrite sends bursts of five packets to 200 destinations that nobody
// reads, as a fan-out does.
func BenchmarkWrite(b *testing.B) {
	for _, kind := range []string{"fast", "plain"} {
		b.Run(kind, func(b *testing.B) {
			pc, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer pc.Close()
			u := pc.(*net.UDPConn)
			c := New(u)
			if kind == "plain" {
				c = newConn(u, &plain{u}, 1)
			}
			var to []netip.AddrPort
			for range 200 {
				s, err := net.ListenPacket("udp", "127.0.0.1:0")
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				to = append(to, at(s))
			}
			p := make([]byte, 1170)
			b.ReportAllocs()
			for n := 0; n < b.N; {
				c.Cork()
				for _, t := range to {
					for range 5 {
						c.WriteToAddrPort(p, t)
					}
				}
				c.Uncork()
				n += 1000
			}
		})
	}
}
