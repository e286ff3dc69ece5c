package sfu

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"braid/event"
	"braid/media"
)

// injector feeds an Injection with the clips until the test ends.
type injector struct {
	*Injection
	units, packets [][]byte // NAL units and Opus packets that it sends
}

func inject(t *testing.T, s *Server, r InjectRequest) injector {
	t.Helper()
	in, err := s.Inject(r)
	if err != nil {
		t.Fatal(err)
	}
	i := injector{Injection: in}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop); wg.Wait() })
	if in.Video != nil {
		var feed feed
		feed, i.units = h264Feed(t)
		wg.Go(func() { in.Video.loop(feed, &codecs.H264Payloader{}, 6000, stop) })
	}
	if in.Audio != nil {
		var feed feed
		feed, i.packets = opusFeed(t)
		wg.Go(func() { in.Audio.loop(feed, &codecs.OpusPayloader{}, 960, stop) })
	}
	return i
}

// loop writes samples at 100 per second.
func (f *Feed) loop(from feed, p rtp.Payloader, ticks uint32, stop <-chan struct{}) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	seq := uint16(rand.Uint32())
	for i := 0; ; i++ {
		payloads := p.Payload(1200, from.samples[i%len(from.samples)].Data)
		var burst []*media.Packet
		for n, b := range payloads {
			burst = append(burst, &media.Packet{
				Seq: seq, Timestamp: ticks * uint32(i), Marker: n == len(payloads)-1,
				Payload: b, Arrival: time.Now(), Level: -1,
			})
			seq++
		}
		f.Write(burst...)
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// TestInject: what an injector writes reaches a browser's kind of viewer, and
// the viewer's wishes reach the injector.
func TestInject(t *testing.T) {
	s, r := eventServer(t)
	asked := make(chan struct{}, 100)
	in := inject(t, s, InjectRequest{
		App: "app", Channel: "room", User: "cam", DisplayName: "Camera 1", Audio: true, Video: true,
		KeyFrame: func() { asked <- struct{}{} },
	})
	u := user(t, s, "cam", func(u *media.User) bool { return u.Video != nil && u.Audio != nil })
	if u.Video.Codec() != media.H264 || u.Audio.Codec() != media.Opus || u.Audio.Channels() != 2 {
		t.Errorf("got %s and %s of %d channels", u.Video.Codec(), u.Audio.Codec(), u.Audio.Channels())
	}
	joined := r.take(4)[1]
	if brief(joined) != "UserJoin cam S 1" || joined.User.Client != event.RTMP {
		t.Errorf("got %s by %q", brief(joined), joined.User.Client)
	}
	if i := s.Snapshot()[0].Users[0]; i.DisplayName != "Camera 1" || i.Client != event.RTMP || i.Video != media.H264 || i.Sessions != 1 {
		t.Errorf("got %+v", i)
	}
	if _, ok := s.Session(in.Session()); ok {
		t.Error("an injection is found as a WebRTC session")
	}

	v := watch(t, s, "bob", "cam")
	receive(t, "a new viewer makes the server ask for a key frame", asked)
	mustFollow(t, v.units(t, &codecs.H264Packet{}, 2*len(in.units)), in.units)
	for range len(in.packets) {
		if p := receive(t, "sound arrives", v.audio); !contains(in.packets, p.Payload) {
			t.Fatal("got sound that was never sent")
		}
	}
	track := v.pc.GetReceivers()[1].Track()
	if err := v.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}}); err != nil {
		t.Fatal(err)
	}
	receive(t, "the viewer's own request arrives", asked)
	until(t, "what bob receives is known", tick, func() bool {
		b := s.Snapshot()[0].Users[1]
		return b.Receives == Receives{Audio: true, Video: true, Width: 320, Height: 240}
	})

	if _, ok := u.Video.Report(); ok {
		t.Error("there is a sender report before the first")
	}
	want := media.SenderReport{NTP: time.Unix(1e9, 5), Timestamp: 77, Arrival: time.Now()}
	in.Video.Report(want)
	if got, ok := u.Video.Report(); !ok || got != want {
		t.Errorf("got report %+v, want %+v", got, want)
	}

	in.Close(event.TimedOut)
	in.Close(event.Normal)
	receive(t, "the viewer's session ends", v.session.Done())
	receive(t, "the track ends", u.Video.Done())
	r.next(t, "UserJoin bob V 1", "UnpublishAudio cam S video", "UnpublishVideo cam S", "UserLeave cam S 4", "UserLeave bob V 1", "ChannelClose")
}

// tick is for conditions that nobody announces.
func tick() <-chan struct{} {
	c := make(chan struct{})
	time.AfterFunc(10*time.Millisecond, func() { close(c) })
	return c
}

// TestInjectionsEnd by others' hands.
func TestInjectionsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*testing.T, *Server)
		want []string
	}{
		"kick": {
			func(t *testing.T, s *Server) { s.Kick("app", "room", "cam") },
			[]string{"UnpublishVideo cam S", "UserLeave cam S 6", "ChannelClose"},
		},
		"dismissal": {
			func(t *testing.T, s *Server) { s.Dismiss("app", "room") },
			[]string{"UnpublishVideo cam S", "UserLeave cam S 7", "ChannelClose"},
		},
		"the server's end": {
			func(t *testing.T, s *Server) { s.Close() },
			[]string{"UnpublishVideo cam S", "UserLeave cam S 4", "ChannelClose"},
		},
		"a WebRTC session of the user": {
			func(t *testing.T, s *Server) {
				feed, _ := vp8Feed(t)
				publish(t, s, "cam", feed)
				user(t, s, "cam", func(u *media.User) bool { return u.Video != nil && u.Video.Codec() == media.VP8 })
				if u := s.Snapshot()[0].Users[0]; u.Client != event.WebRTC || u.Sessions != 1 {
					t.Errorf("got %+v, want one WebRTC session", u)
				}
			},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := eventServer(t)
			in := inject(t, s, InjectRequest{App: "app", Channel: "room", User: "cam", Video: true})
			r.next(t, "ChannelOpen", "UserJoin cam S 1", "PublishVideo cam S video")
			if in.Reason() != "" {
				t.Errorf("got reason %q of a living injection", in.Reason())
			}
			c.end(t, s)
			receive(t, "the injector is told", in.Done())
			r.last(t, c.want...)
			if in.Reason() == "" {
				t.Error("there is no reason")
			}
		})
	}
}

// TestFeedBursts: each receiver gets all packets of a burst in their order before
// the next receiver gets any, some at a time.
func TestFeedBursts(t *testing.T) {
	s := testServer(t)
	in, err := s.Inject(InjectRequest{App: "app", Channel: "room", User: "cam", Video: true})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close(event.Normal)
	in.Video.Write()
	if c, ok := s.Channel("app", "room"); ok && c.Users()[0].Video != nil {
		t.Error("a burst of nothing begins the track")
	}
	var got []string
	u := func(name string) media.Receiver {
		return receiverFunc(func(p *media.Packet) { got = append(got, fmt.Sprint(name, p.Seq)) })
	}
	var burst []*media.Packet
	for n := range 2*maxBurst + 5 {
		burst = append(burst, &media.Packet{Seq: uint16(n), Payload: []byte{0x65, 0x88, 0}, Arrival: time.Now(), Level: -1})
	}
	in.Video.Write(burst[0])
	ann := user(t, s, "cam", func(u *media.User) bool { return u.Video != nil })
	defer ann.Video.Attach(u("a"))()
	defer ann.Video.Attach(u("b"))()
	in.Video.Write(burst[1:]...)
	var want []string
	for from := 1; from < len(burst); from += maxBurst {
		for _, name := range []string{"a", "b"} {
			for n := from; n < min(from+maxBurst, len(burst)); n++ {
				want = append(want, fmt.Sprint(name, n))
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

type receiverFunc func(*media.Packet)

func (f receiverFunc) Receive(p *media.Packet) { f(p) }

func TestInjectErrors(t *testing.T) {
	s, r := eventServer(t, func(c *Config) { c.MaxSessions = 2 })
	request := func(user string) InjectRequest {
		return InjectRequest{App: "app", Channel: "room", User: user, Audio: true, Channels: 1}
	}
	in, err := s.Inject(request("cam"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		request InjectRequest
		want    error
	}{
		"present":       {request("cam"), media.ErrExists},
		"no user":       {request(""), media.ErrInvalid},
		"no media":      {InjectRequest{App: "app", Channel: "room", User: "x"}, media.ErrInvalid},
		"four channels": {InjectRequest{App: "app", Channel: "room", User: "x", Audio: true, Channels: 4}, media.ErrInvalid},
	} {
		if _, err := s.Inject(c.request); !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), "sfu: ") {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	second, err := s.Inject(request("cam2")) // what failed left no session behind
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Inject(request("cam3")); !errors.Is(err, media.ErrLimit) {
		t.Errorf("a third of two: got %v, want ErrLimit", err)
	}
	second.Close(event.Normal)
	in.Audio.Write(&media.Packet{Payload: []byte{0xf8}, Arrival: time.Now(), Level: -1})
	if c := user(t, s, "cam", func(u *media.User) bool { return u.Audio != nil }).Audio.Channels(); c != 1 {
		t.Errorf("got %d channels of sound, want 1", c)
	}
	in.Close(event.Normal)
	in.Audio.Write(&media.Packet{Seq: 1, Payload: []byte{0xf8}, Arrival: time.Now(), Level: -1})
	in.Audio.Report(media.SenderReport{})
	r.next(t, "ChannelOpen", "UserJoin cam S 1", "UserJoin cam2 S 1", "UserLeave cam2 S 1",
		"PublishAudio cam S audio", "UnpublishAudio cam S", "UserLeave cam S 1", "ChannelClose")
	s.Close()
	if _, err := s.Inject(request("cam")); !errors.Is(err, media.ErrClosed) {
		t.Errorf("after Close: got %v, want ErrClosed", err)
	}
	r.last(t)
}

// TestInjectionsLeaveNothing: goroutines and timers end with the server.
func TestInjectionsLeaveNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("server", func(t *testing.T) {
		s, _ := eventServer(t, func(c *Config) { c.Linger = time.Hour })
		for _, name := range []string{"a", "b", "c", "d"} {
			in := inject(t, s, InjectRequest{App: "app", Channel: name, User: "cam", Video: true, Audio: true, KeyFrame: func() {}})
			v := watchAs(t, s, SubscribeRequest{App: "app", Channel: name, Viewer: "bob", User: "cam"})
			receive(t, "video arrives", v.video)
			switch name {
			case "a":
				in.Close(event.Normal)
			case "b":
				s.Dismiss("app", name)
			case "c":
				s.Kick("app", name, "cam")
			}
		}
	})
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
}
