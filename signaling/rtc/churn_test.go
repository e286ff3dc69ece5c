package rtc

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"braid/event"
	"braid/media/sfu"
	"braid/signaling/whip"
)

const (
	churners  = 25
	lifetime  = 2 * time.Second // of a subscriber
	silence   = 8 * time.Second // then the server gives up who is not heard
	comebacks = 200
)

// TestChurn: while one user publishes, another publishes and stops, and a third
// loses its socket and comes back 200 times, 25 subscribers come and go every
// two seconds, in each way in which that happens. At the end nobody is left, the
// channel's log is even, and goroutines and heap are as they were. It lasts
// 20 s, or as long as CHURN says (make soak: 10 minutes).
func TestChurn(t *testing.T) {
	length := 20 * time.Second
	if text := os.Getenv("CHURN"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("CHURN: %v", err)
		}
	} else if testing.Short() {
		t.Skip("takes 30 s: not in -short")
	}
	c := newChurn(t)
	ann := c.passing("ann")
	ann.enter()
	ann.publish(sfu.Camera, sfu.Microphone)
	for kind := range lives { // what is made once
		c.live(kind, "first")
	}
	c.publishes("bob") // ann has a connection to receive on, too
	ann.until("bob was heard", func() bool { return ann.arrived[key{"bob", sfu.Microphone}] != nil })
	c.until("only ann is left", func() bool { return c.users() == 1 })
	before := c.measure()

	rounds := max(1, int(length/time.Minute))
	quiet := []state{before}
	most := uint64(0)
	for range rounds {
		most = max(most, c.run(length/time.Duration(rounds), comebacks/rounds, ann))
		c.until("only ann is left", func() bool { return c.users() == 1 })
		quiet = append(quiet, c.measure())
		t.Logf("%4d lives of subscribers, %d reconnects, %d publications: then %v", c.lived.Load(), c.back.Load(), c.published.Load(), quiet[len(quiet)-1])
	}
	after := quiet[len(quiet)-1]
	t.Logf("before: %v; the most while they churned: %.1f MiB", before, mib(most))
	if after.goroutines > before.goroutines+5 {
		t.Errorf("%d goroutines before, %d after\n%s", before.goroutines, after.goroutines, stacks())
	}
	if grown := mib(after.heap) - mib(before.heap); grown > 4 {
		t.Errorf("the heap has grown by %.1f MiB", grown)
	}
	if grown := mib(after.heap) - mib(quiet[len(quiet)/2].heap); grown > 1 {
		t.Errorf("the heap has grown by %.1f MiB over the second half", grown)
	}
	if leaks := leaked(); leaks != "" {
		t.Errorf("goroutines that wait for what nobody can give them:\n%s", leaks)
	}
	ann.must("leave", nil)
	ann.close()
	c.until("the channel is gone", func() bool { return len(c.sfu.Snapshot()) == 0 })
	c.even()
}

// churn is a world that keeps nothing of what happened, and whose clients do
// not outlive their use.
type churn struct {
	*world
	client *http.Client

	lived, back, published atomic.Int64

	mu     sync.Mutex
	counts map[string]int // of events, by type and user; guarded by mu
}

func newChurn(t *testing.T) *churn {
	t.Helper()
	c := &churn{world: &world{t: t, change: make(chan struct{})}, counts: map[string]int{}}
	var err error
	c.sfu, err = sfu.New(sfu.Config{Listen: "127.0.0.1:0", Linger: -1, SilenceTimeout: silence, ConnectTimeout: 10 * time.Second, Events: func(e event.Event) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.counts[eventName(e)]++
	}})
	if err != nil {
		t.Fatal(err)
	}
	c.rtc = New(Config{SFU: c.sfu, Apps: c, Grace: 4 * time.Second})
	mux := http.NewServeMux()
	mux.Handle("/v1/rtc", c.rtc)
	mux.Handle("/", whip.New(whip.Config{SFU: c.sfu, Apps: c}))
	c.http = httptest.NewServer(mux)
	c.client = c.http.Client()
	t.Cleanup(func() {
		c.rtc.Close()
		c.http.Close()
		if err := c.sfu.Close(); err != nil {
			t.Errorf("close the SFU: %v", err)
		}
	})
	return c
}

func eventName(e event.Event) string {
	if e.User == nil {
		return string(e.Type)
	}
	return string(e.Type) + " " + e.User.ID
}

// even checks that whatever began has ended, as the channel's log tells it.
func (c *churn) even() {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts["UserJoin ann"] == 0 {
		c.t.Errorf("the log is empty: %v", c.counts)
	}
	for name, n := range c.counts {
		for began, ended := range map[string]string{"UserJoin": "UserLeave", "ChannelOpen": "ChannelClose", "PublishVideo": "UnpublishVideo", "PublishAudio": "UnpublishAudio"} {
			if kind, user, _ := strings.Cut(name, " "); kind == began && c.counts[strings.TrimSpace(ended+" "+user)] != n {
				c.t.Errorf("%d of %q, but %d of %s", n, name, c.counts[strings.TrimSpace(ended+" "+user)], ended)
			}
		}
	}
}

func (c *churn) users() (n int) {
	for _, channel := range c.sfu.Snapshot() {
		n += len(channel.Users)
	}
	return n
}

// until is world.until without its list of events.
func (c *churn) until(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.After(patience + 20*time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			c.t.Fatalf("not within %v: %s; got %+v", patience+20*time.Second, what, c.sfu.Snapshot())
		}
	}
}

// run lets everybody come and go for a time, and gives the largest heap
// meanwhile.
func (c *churn) run(length time.Duration, comebacks int, ann *client) (most uint64) {
	ctx, cancel := context.WithTimeout(c.t.Context(), length)
	defer cancel()
	var wg sync.WaitGroup
	for i := range churners {
		wg.Go(func() {
			kind := i
			each(ctx, c.t, time.Duration(i)*lifetime/churners, lifetime, func() {
				c.live(kind%len(lives), fmt.Sprintf("sub-%02d", i))
				c.lived.Add(1)
				kind++
			})
		})
	}
	wg.Go(func() {
		each(ctx, c.t, 0, 5*time.Second, func() {
			c.publishes("bob")
			c.published.Add(1)
		})
	})
	wg.Go(func() { c.comesBack(comebacks, length/time.Duration(comebacks)) })
	each(ctx, c.t, 5*time.Second, 5*time.Second, func() {
		ann.forget()
		most = max(most, sample().heap)
	})
	wg.Wait()
	ann.forget()
	return most
}

// each calls f at once after a delay, and then every period, until ctx ends or
// the test has failed. It is the load's clock, not a wait for something.
func each(ctx context.Context, t *testing.T, delay, period time.Duration, f func()) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for next := time.Now().Add(delay); ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if t.Failed() {
			return
		}
		f()
		for now := time.Now(); !next.After(now); {
			next = next.Add(period)
		}
		timer.Reset(time.Until(next))
	}
}

// comesBack loses its socket so many times, and comes back: 9 times to its
// session, then to a new one.
func (c *churn) comesBack(times int, period time.Duration) {
	var rec *client
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	defer func() {
		if rec != nil {
			rec.close()
		}
	}()
	n := 0
	each(ctx, c.t, 0, period, func() {
		n++
		c.back.Add(1)
		switch {
		case n%10 == 1:
			if rec != nil {
				rec.must("leave", nil)
				rec.close()
			}
			rec = c.passing("rec")
			rec.enter()
		default:
			rec.cut()
			if m := rec.back(); !m.Resumed {
				c.t.Errorf("reconnect %d: not resumed", n)
			}
		}
		rec.hears(1, "ann", sfu.Camera)
		rec.forget()
		if n == times {
			rec.must("leave", nil)
			cancel()
		}
	})
}

// life is one of a subscriber's.
type life struct {
	*churn
	user string
	ends []func() // frees what the client had; the last first
}

// lives are the ways in which a subscriber comes and goes.
var lives = []struct {
	name string
	run  func(l *life)
}{
	{"leaves", func(l *life) { l.joins().must("leave", nil) }},
	{"crashes: its socket breaks, its media connections say goodbye", func(l *life) { l.joins() }},
	{"resumes, then leaves", func(l *life) {
		s := l.joins()
		s.cut()
		s.back()
		s.must("leave", nil)
	}},
	{"is replaced by another window", func(l *life) {
		l.joins()
		l.joins().must("leave", nil)
	}},
	{"speaks, then leaves", func(l *life) {
		s := l.joins()
		s.publish(sfu.Microphone)
		s.must("unpublish", fields{"source": "microphone"})
		s.must("leave", nil)
	}},
	{"leaves at once", func(l *life) { l.enters().must("leave", nil) }},
	{"vanishes", func(l *life) { l.joins().paths[1].vanish() }},
	{"watches by WHEP, DELETE", func(l *life) { l.delete(l.watches(true)) }},
	{"watches by WHEP, closes", func(l *life) { l.watches(true) }},
	{"watches by WHEP, vanishes", func(l *life) {
		_, way := l.watches(true)
		way.vanish()
	}},
	{"WHEP, DELETE before it connects", func(l *life) { l.delete(l.watches(false)) }},
	{"WHEP, never connects", func(l *life) { l.watches(false) }},
}

// vanish breaks a path for good, and holds its port until the server has given its
// client up: whoever gets that meanwhile is taken for it (Pion's mux knows a client by
// where its packets come from), and has to come by TCP.
func (p *path) vanish() {
	p.broken.Store(true)
	if f, err := p.PacketConn.(*net.UDPConn).File(); err == nil {
		time.AfterFunc(2*silence, func() { f.Close() })
	}
}

// live runs one life, and frees what the client had.
func (c *churn) live(kind int, user string) {
	l := &life{churn: c, user: user}
	defer func() {
		for len(l.ends) > 0 {
			end := l.ends[len(l.ends)-1]
			l.ends = l.ends[:len(l.ends)-1]
			end()
		}
	}()
	lives[kind].run(l)
}

// path is the network of one of its connections.
func (l *life) path() *path {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	p := &path{PacketConn: conn}
	p.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: p})
	l.ends = append(l.ends, func() { p.mux.Close() })
	return p
}

// enters joins by /v1/rtc.
func (l *life) enters() *client {
	s := l.passing(l.user)
	s.paths = [2]*path{nil, l.path()}
	l.ends = append(l.ends, s.close)
	s.enter()
	return s
}

// joins joins by /v1/rtc and gets ann's media.
func (l *life) joins() *client {
	s := l.enters()
	s.hears(3, "ann", sfu.Camera, sfu.Microphone)
	return s
}

// watches asks for ann by WHEP, and gets her picture when it shall connect.
func (l *life) watches(connect bool) (session string, way *path) {
	l.t.Helper()
	way = l.path()
	pc := newPeer(l.t, nil, way)
	l.ends = append(l.ends, func() { pc.GracefulClose() })
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		l.t.Fatal(err)
	}
	got := make(chan struct{})
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for n := 1; ; n++ {
			if _, _, err := track.ReadRTP(); err != nil {
				return
			}
			if n == 3 {
				close(got)
			}
		}
	})
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		l.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		l.t.Fatal(err)
	}
	<-gathered
	status, session, answer := l.ask("POST", l.http.URL+"/whep/app/room/ann", pc.LocalDescription().SDP)
	if status != http.StatusCreated {
		l.t.Fatalf("%s: WHEP: %d %s", l.user, status, answer)
	}
	if !connect {
		return session, way
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		l.t.Fatal(err)
	}
	select {
	case <-got:
	case <-time.After(patience):
		l.t.Fatalf("%s: no picture by WHEP within %v; the connection is %s; the server knows %+v", l.user, patience, pc.ConnectionState(), l.seen())
	}
	return session, way
}

// seen is what the server's own look at its connections says of the user.
func (l *life) seen() (all []sfu.SessionInfo) {
	for _, info := range l.sfu.Sessions() {
		if info.User == l.user {
			all = append(all, info)
		}
	}
	return all
}

func (l *life) delete(session string, _ *path) {
	l.t.Helper()
	if status, _, text := l.ask("DELETE", session, ""); status != http.StatusOK {
		l.t.Errorf("%s: DELETE: %d %s", l.user, status, text)
	}
}

func (l *life) ask(method, url, body string) (status int, location, answer string) {
	l.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/sdp")
	req.Header.Set("Authorization", "Bearer "+jwt(l.t, l.user))
	resp, err := l.client.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Location"), string(text)
}

// publishes has a user come, publish for a while, and go.
func (c *churn) publishes(user string) {
	l := &life{churn: c, user: user}
	defer func() {
		for _, end := range l.ends {
			end()
		}
	}()
	s := l.passing(user)
	l.ends = append(l.ends, s.close)
	s.enter()
	s.publish(sfu.Camera, sfu.Microphone)
	s.hears(100, "ann", sfu.Camera) // two seconds
	s.must("unpublish", fields{"source": "camera"})
	s.must("leave", nil)
}

// passing is a client that the test does not keep.
func (c *churn) passing(name string) *client {
	return &client{
		t: c.t, w: c.world, name: name, sends: map[sfu.Source]*sending{}, waiting: map[int64]chan message{},
		tracks: map[string]key{}, arrived: map[key]*counts{}, change: make(chan struct{}),
	}
}

// enter connects and joins.
func (c *client) enter() {
	c.t.Helper()
	c.dial()
	m := c.must("join", fields{"token": jwt(c.t, c.name)})
	c.mu.Lock()
	c.joined = m
	c.mu.Unlock()
}

// forget drops the events so far.
func (c *client) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = nil
}

// state is what the process holds.
type state struct {
	goroutines int
	heap       uint64 // bytes of live objects
	objects    uint64
}

func (s state) String() string {
	return fmt.Sprintf("%d goroutines, heap %.1f MiB in %d objects", s.goroutines, mib(s.heap), s.objects)
}

func mib(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

// measure waits until what ends has ended.
func (c *churn) measure() state {
	c.client.CloseIdleConnections()
	settled(0)
	return sample()
}

// sample collects garbage first; twice, for what pools keep.
func sample() state {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return state{runtime.NumGoroutine(), m.HeapAlloc, m.HeapObjects}
}

// leaked is what Go's own search finds (GOEXPERIMENT=goroutineleakprofile): the
// goroutines that are blocked for good. Without it, nothing.
func leaked() string {
	profile := pprof.Lookup("goroutineleak")
	if profile == nil {
		return ""
	}
	var b bytes.Buffer
	if err := profile.WriteTo(&b, 1); err != nil || strings.Contains(b.String(), "total 0") {
		return ""
	}
	return b.String()
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}
