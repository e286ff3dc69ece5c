package sfu

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	pionmedia "github.com/pion/webrtc/v4/pkg/media"

	"braid/media"
)

const patience = 20 * time.Second

// testServer starts a server on loopback that ends with the test.
func testServer(t *testing.T, change ...func(*Config)) *Server {
	t.Helper()
	cfg := Config{Listen: "127.0.0.1:0", Linger: -1, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the server: %v", err)
		}
	})
	return s
}

// testClient is a stock Pion PeerConnection on loopback.
func testClient(t testing.TB, settings ...func(*webrtc.SettingEngine)) *webrtc.PeerConnection {
	t.Helper()
	engine := &webrtc.MediaEngine{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	level := webrtc.RTPHeaderExtensionCapability{URI: "urn:ietf:params:rtp-hdrext:ssrc-audio-level"}
	if err := engine.RegisterHeaderExtension(level, webrtc.RTPCodecTypeAudio); err != nil {
		t.Fatal(err)
	}
	registry := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(engine, registry); err != nil {
		t.Fatal(err)
	}
	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true)
	e.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	for _, f := range settings {
		f(&e)
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(e))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.GracefulClose() })
	return pc
}

// makeOffer returns a complete offer of the client.
func makeOffer(t testing.TB, pc *webrtc.PeerConnection) string {
	t.Helper()
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	return pc.LocalDescription().SDP
}

func takeAnswer(t testing.TB, pc *webrtc.PeerConnection, answer string) {
	t.Helper()
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		t.Fatalf("the client refuses the answer: %v\n%s", err, answer)
	}
}

// until waits for a condition that something announces on changed.
func until(t *testing.T, what string, changed func() <-chan struct{}, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		c := changed()
		if ok() {
			return
		}
		select {
		case <-c:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// receive takes from a channel with a deadline.
func receive[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
		panic("unreachable")
	}
}

// publisher is a Pion client that sends a clip in a loop.
type publisher struct {
	pc      *webrtc.PeerConnection
	session *Session
}

// publish starts a publisher with the given tracks; each begins to flow when
// the connection stands.
func publish(t *testing.T, s *Server, user string, feeds ...feed) publisher {
	t.Helper()
	return publishAs(t, s, PublishRequest{App: "app", Channel: "room", User: user}, feeds...)
}

func publishAs(t *testing.T, s *Server, r PublishRequest, feeds ...feed) publisher {
	t.Helper()
	pc := testClient(t)
	for _, f := range feeds {
		sender, err := pc.AddTrack(f.track)
		if err != nil {
			t.Fatal(err)
		}
		prefer(t, pc, sender, f.track.Codec())
		go func() { // drives NACK answers; ends with the connection
			for {
				if _, _, err := sender.ReadRTCP(); err != nil {
					return
				}
			}
		}()
	}
	sess := connect(t, s, pc, r)
	for _, f := range feeds {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); f.run(ctx) }()
		t.Cleanup(func() { cancel(); <-ended })
	}
	return publisher{pc, sess}
}

// connect publishes what a client offers and waits until both ends say that
// they are connected.
func connect(t *testing.T, s *Server, pc *webrtc.PeerConnection, r PublishRequest) *Session {
	t.Helper()
	connected := make(chan struct{})
	var once sync.Once
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(connected) })
		}
	})
	r.Offer = makeOffer(t, pc)
	sess, answer, err := s.Publish(t.Context(), r)
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	takeAnswer(t, pc, answer)
	receive(t, "the publisher connects", connected)
	until(t, "the server shows the publisher", s.Changed, func() bool {
		pub, ok := s.dir.publication(sess.where, sess.user, sess.source)
		return ok && pub == sess.pub
	})
	return sess
}

// prefer puts the codec that the track really sends first in the offer; Pion
// alone offers all it knows in the order it knows them.
func prefer(t testing.TB, pc *webrtc.PeerConnection, sender *webrtc.RTPSender, c webrtc.RTPCodecCapability) {
	t.Helper()
	for _, tr := range pc.GetTransceivers() {
		if tr.Sender() != sender {
			continue
		}
		var codecs []webrtc.RTPCodecParameters
		for _, p := range sender.GetParameters().Codecs {
			if strings.EqualFold(p.MimeType, c.MimeType) && (c.SDPFmtpLine == "" || c.SDPFmtpLine == p.SDPFmtpLine) || p.MimeType == webrtc.MimeTypeRTX {
				codecs = append(codecs, p)
			}
		}
		if err := tr.SetCodecPreferences(codecs); err != nil {
			t.Fatal(err)
		}
	}
}

// feed is a track and the samples that it sends in a loop, at 100 per second.
type feed struct {
	track   *webrtc.TrackLocalStaticSample
	samples []pionmedia.Sample
}

func (f feed) run(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.track.WriteSample(f.samples[i%len(f.samples)])
		}
	}
}

func newFeed(t *testing.T, mime string, samples []pionmedia.Sample) feed {
	t.Helper()
	kind, _, _ := bytes.Cut([]byte(mime), []byte("/"))
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: mime}, string(kind), "clip")
	if err != nil {
		t.Fatal(err)
	}
	return feed{track, samples}
}

func clip(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// h264Feed sends clip.h264; the units are its NAL units in order.
func h264Feed(t *testing.T) (f feed, units [][]byte) {
	t.Helper()
	var samples []pionmedia.Sample
	var au []byte
	for _, u := range splitAnnexB(clip(t, "clip.h264")) {
		units = append(units, u)
		au = append(append(au, 0, 0, 0, 1), u...)
		if kind := u[0] & 0x1f; kind == 1 || kind == nalIDR {
			samples = append(samples, pionmedia.Sample{Data: au, Duration: time.Second / 15})
			au = nil
		}
	}
	return newFeed(t, webrtc.MimeTypeH264, samples), units
}

func splitAnnexB(b []byte) [][]byte {
	var units [][]byte
	for part := range bytes.SplitSeq(b, []byte{0, 0, 1}) {
		if part = bytes.TrimRight(part, "\x00"); len(part) > 0 {
			units = append(units, part)
		}
	}
	return units
}

// vp8Feed sends clip.ivf (frame header: size uint32, timestamp uint64).
func vp8Feed(t *testing.T) (f feed, frames [][]byte) {
	t.Helper()
	var samples []pionmedia.Sample
	for b := clip(t, "clip.ivf")[32:]; len(b) > 12; {
		size := binary.LittleEndian.Uint32(b)
		frames = append(frames, b[12:12+size])
		samples = append(samples, pionmedia.Sample{Data: b[12 : 12+size], Duration: time.Second / 15})
		b = b[12+size:]
	}
	return newFeed(t, webrtc.MimeTypeVP8, samples), frames
}

// opusFeed sends the packets of clip.ogg (one per page, headers left out).
func opusFeed(t *testing.T) (f feed, packets [][]byte) {
	t.Helper()
	var samples []pionmedia.Sample
	for i, page := range bytes.Split(clip(t, "clip.ogg"), []byte("OggS"))[1:] {
		if i < 2 {
			continue // OpusHead, OpusTags
		}
		table := int(page[22])
		for at, lens := 23+table, page[23:23+table]; len(lens) > 0; {
			n := int(lens[0])
			for lens[0] == 255 {
				lens = lens[1:]
				n += int(lens[0])
			}
			packets = append(packets, page[at:at+n])
			samples = append(samples, pionmedia.Sample{Data: page[at : at+n], Duration: 20 * time.Millisecond})
			at, lens = at+n, lens[1:]
		}
	}
	return newFeed(t, webrtc.MimeTypeOpus, samples), packets
}

// viewer is a Pion client that receives.
type viewer struct {
	pc           *webrtc.PeerConnection
	session      *Session
	audio, video chan *rtp.Packet
	closed       chan struct{}
}

func watch(t *testing.T, s *Server, name, user string) *viewer {
	t.Helper()
	return watchAs(t, s, SubscribeRequest{App: "app", Channel: "room", Viewer: name, User: user})
}

func watchAs(t *testing.T, s *Server, r SubscribeRequest, settings ...func(*webrtc.SettingEngine)) *viewer {
	t.Helper()
	v := newViewer(t, settings...)
	r.Offer = makeOffer(t, v.pc)
	sess, answer, err := s.Subscribe(t.Context(), r)
	if err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	v.session = sess
	takeAnswer(t, v.pc, answer)
	return v
}

func newViewer(t *testing.T, settings ...func(*webrtc.SettingEngine)) *viewer {
	t.Helper()
	v := &viewer{
		pc:     testClient(t, settings...),
		audio:  make(chan *rtp.Packet, 1000),
		video:  make(chan *rtp.Packet, 1000),
		closed: make(chan struct{}),
	}
	var once sync.Once
	v.pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateClosed || state == webrtc.PeerConnectionStateFailed {
			once.Do(func() { close(v.closed) })
		}
	})
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		if _, err := v.pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			t.Fatal(err)
		}
	}
	v.pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		to := v.audio
		if track.Kind() == webrtc.RTPCodecTypeVideo {
			to = v.video
		}
		for {
			p, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			select {
			case to <- p:
			default: // the test has seen enough
			}
		}
	})
	return v
}

// units reads n NAL units of H.264, or frames of VP8, from a viewer. Numbers
// must follow each other without holes.
func (v *viewer) units(t *testing.T, d rtp.Depacketizer, n int) [][]byte {
	t.Helper()
	var units [][]byte
	var frame []byte
	var last uint16
	for i := 0; len(units) < n; i++ {
		p := receive(t, "video arrives", v.video)
		if i > 0 && p.SequenceNumber != last+1 {
			t.Fatalf("packet %d: got number %d after %d", i, p.SequenceNumber, last)
		}
		last = p.SequenceNumber
		b, err := d.Unmarshal(p.Payload)
		if err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		if _, ok := d.(*codecs.H264Packet); ok {
			units = append(units, splitAnnexB(b)...)
			continue
		}
		if frame = append(frame, b...); p.Marker {
			units, frame = append(units, frame), nil
		}
	}
	return units[:n]
}

// mustFollow checks that got is a run of the looped want.
func mustFollow(t *testing.T, got, want [][]byte) {
	t.Helper()
	best := 0
	for start := range want {
		same := 0
		for same < len(got) && bytes.Equal(got[same], want[(start+same)%len(want)]) {
			same++
		}
		if same == len(got) {
			return
		}
		best = max(best, same)
	}
	g := got[best]
	t.Fatalf("after %d of %d units: got one of %d bytes (% x...) that was not sent next", best, len(got), len(g), g[:min(8, len(g))])
}

// user waits until the server shows a user that satisfies ok.
func user(t *testing.T, s *Server, id string, ok func(*media.User) bool) *media.User {
	t.Helper()
	var found *media.User
	until(t, "user "+id+" is as wanted", s.Changed, func() bool {
		c, there := s.Channel("app", "room")
		if !there {
			return false
		}
		for _, u := range c.Users() {
			if u.ID == id && ok(u) {
				found = u
				return true
			}
		}
		return false
	})
	return found
}

// noise is a repeatable source of random bytes.
type noise struct{ *rand.Rand }

func newNoise(seed uint64) noise { return noise{rand.New(rand.NewPCG(seed, 1))} }

func (n noise) bytes(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(n.Uint32())
	}
	return b
}
