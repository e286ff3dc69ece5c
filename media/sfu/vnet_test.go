package sfu

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/transport/v5/vnet"
	"github.com/pion/webrtc/v4"
)

// The server's address in a virtual network, and that of the client in it.
const virtualServer, virtualClient = "192.0.2.1", "192.0.2.2"

// virtualWay is Pion's virtual network between one client and a server, whose packets
// are lost with a chance that a seed decides. What gets through to the server's
// address goes to its real socket.
type virtualWay struct {
	t      *testing.T
	loss   atomic.Uint64 // of a million
	lost   atomic.Int64
	client *vnet.Net
}

func newVirtualWay(t *testing.T, s *Server, delay time.Duration, seed uint64) *virtualWay {
	t.Helper()
	router, err := vnet.NewRouter(&vnet.RouterConfig{CIDR: "192.0.2.0/24", MinDelay: delay, QueueSize: 10_000, LoggerFactory: logging.NewDefaultLoggerFactory()})
	if err != nil {
		t.Fatal(err)
	}
	w := &virtualWay{t: t}
	r := rand.New(rand.NewPCG(seed, 1))
	router.AddChunkFilter(func(vnet.Chunk) bool {
		if r.Uint64N(1_000_000) >= w.loss.Load() {
			return true
		}
		w.lost.Add(1)
		return false
	})
	host := func(ip string) *vnet.Net {
		n, err := vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{ip}})
		if err != nil {
			t.Fatal(err)
		}
		if err := router.AddNet(n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	real := s.net.socket.LocalAddr().(*net.UDPAddr)
	inside, err := host(virtualServer).ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(virtualServer), Port: real.Port})
	if err != nil {
		t.Fatal(err)
	}
	w.client = host(virtualClient)
	if err := router.Start(); err != nil {
		t.Fatal(err)
	}
	outside, err := net.DialUDP("udp", nil, real)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var from atomic.Value // where the client is
	wg.Go(func() {
		b := make([]byte, 2000)
		for {
			n, addr, err := inside.ReadFrom(b)
			if err != nil {
				return
			}
			from.Store(addr)
			outside.Write(b[:n])
		}
	})
	wg.Go(func() {
		b := make([]byte, 2000)
		for {
			n, err := outside.Read(b)
			if err != nil {
				return
			}
			if addr, ok := from.Load().(net.Addr); ok {
				inside.WriteTo(b[:n], addr)
			}
		}
	})
	t.Cleanup(func() {
		inside.Close()
		outside.Close()
		wg.Wait()
		router.Stop()
	})
	return w
}

// setting puts a client at the way's end.
func (w *virtualWay) setting(e *webrtc.SettingEngine) {
	e.SetNet(w.client)
	e.SetIncludeLoopbackCandidate(false)
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	e.SetInterfaceFilter(func(string) bool { return true })
}

// TestVirtualNetwork: what random loss leaves of a picture's packets, by requests
// and retransmissions on both ways, with stock Pion clients at both ends and a round
// trip of 50 ms.
func TestVirtualNetwork(t *testing.T) {
	for _, loss := range []float64{.05, .1, .2} {
		for _, at := range []string{"publisher", "viewer"} {
			t.Run(fmt.Sprintf("%.0f %% at the %s", 100*loss, at), func(t *testing.T) {
				s := testServer(t, func(c *Config) { c.PublicIPs = []string{virtualServer} })
				up, down := newVirtualWay(t, s, 25*time.Millisecond, 1), newVirtualWay(t, s, 25*time.Millisecond, 2)
				feed, _ := vp8Feed(t)
				pc := testClient(t, up.setting)
				sender, err := pc.AddTrack(feed.track)
				if err != nil {
					t.Fatal(err)
				}
				prefer(t, pc, sender, feed.track.Codec())
				go func() { // drives the answers to requests; ends with the connection
					for {
						if _, _, err := sender.ReadRTCP(); err != nil {
							return
						}
					}
				}()
				connect(t, s, pc, PublishRequest{App: "app", Channel: "room", User: "ann"})
				done := make(chan struct{})
				go func() { // 400 pictures a second, of a packet or two each
					defer close(done)
					tick := time.NewTicker(10 * time.Millisecond)
					defer tick.Stop()
					for i := 0; t.Context().Err() == nil; i++ {
						if i%4 == 0 {
							<-tick.C
						}
						feed.track.WriteSample(feed.samples[i%len(feed.samples)])
					}
				}()
				t.Cleanup(func() { <-done })
				v := watchAs(t, s, SubscribeRequest{App: "app", Channel: "room", Viewer: "bob", User: "ann"}, down.setting)
				receive(t, "video arrives", v.video)

				bad := up
				if at == "viewer" {
					bad = down
				}
				bad.loss.Store(uint64(loss * 1e6))
				const packets = 1000
				missing := arrivalsOf(t, v.video, packets)
				t.Logf("%d packets lost on the way, of %d %.2f %% never came", bad.lost.Load(), packets, 100*missing)
				if float64(bad.lost.Load()) < loss*packets/2 {
					t.Error("the way did not lose what it should")
				}
				if missing > loss/5 {
					t.Errorf("%.1f %% never came, want a fifth of %.0f %% at most", 100*missing, 100*loss)
				}
			})
		}
	}
}

// arrivalsOf follows a stream over a number of packets, and gives the share that
// does not come within some hundred packets of its place.
func arrivalsOf(t *testing.T, video <-chan *rtp.Packet, packets int) (missing float64) {
	t.Helper()
	first := int(receive(t, "a packet", video).SequenceNumber)
	came := map[int]bool{0: true}
	for newest := 0; newest < packets+300; {
		p := receive(t, "the next packet", video)
		at := newest + int(int16(p.SequenceNumber-uint16(first+newest)))
		came[at] = true
		newest = max(newest, at)
	}
	for n := range packets {
		if !came[n] {
			missing++
		}
	}
	return missing / float64(packets)
}
