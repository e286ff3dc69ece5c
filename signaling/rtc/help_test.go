package rtc

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"braid/event"
	"braid/media/sfu"
	"braid/signaling"
	"braid/signaling/token"
)

const (
	patience = 20 * time.Second
	appKey   = "key"
)

// world is a server as the tests use it: sfu and border on loopback.
type world struct {
	t    *testing.T
	sfu  *sfu.Server
	log  lines
	rtc  *Server
	http *httptest.Server

	mu     sync.Mutex
	events []event.Event
	change chan struct{}
}

// lines is a log that tests read.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (w *world) Application(id string) (token.App, bool) {
	return token.App{Keys: []string{appKey}, Disabled: id == "off"}, id == "app" || id == "off"
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	return newWorldWith(t, 0, change...)
}

// newWorldWith sets the SFU's SilenceTimeout.
func newWorldWith(t *testing.T, silence time.Duration, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, change: make(chan struct{})}
	log := slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), &w.log), nil))
	var err error
	w.sfu, err = sfu.New(sfu.Config{Listen: "127.0.0.1:0", Linger: -1, SilenceTimeout: silence, Log: log, Events: func(e event.Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, e)
		close(w.change)
		w.change = make(chan struct{})
	}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{SFU: w.sfu, Apps: w, Log: log}
	for _, f := range change {
		f(&cfg)
	}
	w.rtc = New(cfg)
	w.http = httptest.NewServer(w.rtc)
	t.Cleanup(func() {
		w.rtc.Close()
		w.http.Close()
		if err := w.sfu.Close(); err != nil {
			t.Errorf("close the SFU: %v", err)
		}
	})
	return w
}

// told is what the channel's events were, in short.
func (w *world) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, e := range w.events {
		s := string(e.Type)
		if e.User != nil {
			s += " " + e.User.ID
			if e.Type == event.UserLeave {
				s += fmt.Sprint(" ", e.User.Reason)
			}
		}
		all = append(all, s)
	}
	return all
}

func (w *world) count(line string) (n int) {
	for _, s := range w.told() {
		if s == line {
			n++
		}
	}
	return n
}

// until waits for a condition of the world.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.After(patience)
	for {
		w.mu.Lock()
		change := w.change
		w.mu.Unlock()
		changed := w.sfu.Changed()
		if ok() {
			return
		}
		select {
		case <-change:
		case <-changed:
		case <-time.After(50 * time.Millisecond): // what nothing announces
		case <-deadline:
			w.t.Fatalf("not within %v: %s; events: %s", patience, what, strings.Join(w.told(), ", "))
		}
	}
}

// jwt is a token for a user of channel room.
func jwt(t testing.TB, user string, change ...func(*token.Claims)) string {
	t.Helper()
	c := token.Claims{
		App: "app", Channel: "room", User: user, Expires: time.Now().Add(time.Hour),
		Camera: true, ShareScreen: true, Subscribe: true,
	}
	for _, f := range change {
		f(&c)
	}
	s, err := token.SignJWT(c, appKey, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func viewer(c *token.Claims) { c.Camera, c.ShareScreen = false, false }

// message is what the server sends.
type message struct {
	ID        *int64 `json:"id"`
	Seq       int64  `json:"seq"`
	Type      string
	Code      string
	Field     string
	Message   string
	Session   string
	Role      token.Role
	Users     json.RawMessage
	Grants    map[string]bool
	GraceMS   int64 `json:"grace_ms"`
	Resumed   bool
	SDP       string
	Offer     int
	Tracks    []sfu.OfferedTrack
	User      json.RawMessage
	Source    json.RawMessage
	Muted     bool
	Reason    string
	Speakers  []string
	From      string
	Topic     string
	Payload   json.RawMessage
	Missing   []string
	WithinMS  int64                 `json:"within_ms"`
	ICE       []signaling.ICEServer `json:"ice_servers"`
	gapBefore bool
}

func (m message) user() (id string) {
	if json.Unmarshal(m.User, &id) != nil {
		var u userJSON
		_ = json.Unmarshal(m.User, &u)
		id = u.ID
	}
	return id
}

func (m message) source() (s sourceJSON) {
	if json.Unmarshal(m.Source, &s.Source) != nil {
		_ = json.Unmarshal(m.Source, &s)
	}
	return s
}

func (m message) people() (all []userJSON) {
	_ = json.Unmarshal(m.Users, &all)
	return all
}

func (m message) is(kind, user string, s sfu.Source) bool {
	return m.Type == kind && m.user() == user && (s == "" || m.source().Source == s)
}

// key names a source of a user.
type key struct {
	user   string
	source sfu.Source
}

// counts are what arrived of one source.
type counts struct {
	packets, lost int
	next          uint32
	begun         bool
}

// client is a user of the protocol with Pion for its media.
type client struct {
	t    *testing.T
	w    *world
	name string

	up     *webrtc.PeerConnection
	sends  map[sfu.Source]*sending
	down   *webrtc.PeerConnection
	silent bool // does not answer offers
	gone   bool // closed; guarded by mu

	answers sync.WaitGroup // to offers; begun by the reader alone
	paths   [2]*path       // of up and down; nil: their own

	mu      sync.Mutex
	conn    *websocket.Conn
	ended   chan struct{} // of conn's reader
	closed  error         // how it ended
	next    int64
	waiting map[int64]chan message
	events  []message
	seq     int64
	joined  message
	tracks  map[string]key // by mid
	arrived map[key]*counts
	change  chan struct{}
	only    []webrtc.RTPCodecCapability // what down takes; nil: everything
	offers  int
}

func (w *world) client(name string) *client {
	c := &client{
		t: w.t, w: w, name: name, sends: map[sfu.Source]*sending{}, waiting: map[int64]chan message{},
		tracks: map[string]key{}, arrived: map[key]*counts{}, change: make(chan struct{}),
	}
	w.t.Cleanup(c.close)
	return c
}

// join connects and joins, and fails the test when that fails.
func (w *world) join(name string, more ...fields) *client {
	w.t.Helper()
	c := w.client(name)
	f := fields{"token": jwt(w.t, name)}
	for _, m := range more {
		for k, v := range m {
			f[k] = v
		}
	}
	c.dial()
	m := c.request("join", f)
	if m.Type != "ok" {
		w.t.Fatalf("%s: join: %s: %s", name, m.Code, m.Message)
	}
	c.mu.Lock()
	c.joined = m
	c.mu.Unlock()
	return c
}

func (c *client) dial() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(c.w.http.URL, "http")+"/v1/rtc",
		&websocket.DialOptions{Subprotocols: []string{"braid.v1"}})
	if err != nil {
		c.t.Fatalf("%s: dial: %v", c.name, err)
	}
	conn.SetReadLimit(1 << 20)
	c.mu.Lock()
	c.conn, c.ended, c.closed = conn, make(chan struct{}), nil
	ended := c.ended
	c.mu.Unlock()
	go func() {
		defer close(ended)
		c.read(conn)
	}()
}

func (c *client) read(conn *websocket.Conn) {
	for {
		_, text, err := conn.Read(context.Background())
		if err != nil {
			c.mu.Lock()
			if c.conn == conn {
				c.closed = err
			}
			c.changedLocked()
			c.mu.Unlock()
			return
		}
		var m message
		if err := json.Unmarshal(text, &m); err != nil {
			c.t.Errorf("%s: the server sent %s: %v", c.name, text, err)
			return
		}
		c.mu.Lock()
		if m.ID != nil {
			if w := c.waiting[*m.ID]; w != nil {
				delete(c.waiting, *m.ID)
				w <- m
			}
			c.mu.Unlock()
			continue
		}
		m.gapBefore = m.Seq != c.seq+1
		c.seq = m.Seq
		c.events = append(c.events, m)
		if m.Type == "offer" && !c.silent {
			c.answers.Go(func() { c.answer(m) })
		}
		c.changedLocked()
		c.mu.Unlock()
	}
}

func (c *client) changedLocked() {
	close(c.change)
	c.change = make(chan struct{})
}

// ask sends a request; the answer comes later.
func (c *client) ask(kind string, f fields) chan message {
	answer := make(chan message, 1)
	c.mu.Lock()
	c.next++
	id := c.next
	c.waiting[id] = answer
	conn := c.conn
	c.mu.Unlock()
	out := fields{"id": id, "type": kind}
	for k, v := range f {
		out[k] = v
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, encode(out)); err != nil {
		answer <- message{Type: "error", Code: "broken", Message: err.Error()}
	}
	return answer
}

// request sends a request and waits for its answer.
func (c *client) request(kind string, f fields) message {
	c.t.Helper()
	answer := c.ask(kind, f)
	c.mu.Lock()
	ended := c.ended
	c.mu.Unlock()
	select {
	case m := <-answer:
		return m
	case <-ended:
		select {
		case m := <-answer:
			return m
		default:
			return message{Type: "error", Code: "closed", Message: fmt.Sprint(c.end())}
		}
	case <-time.After(patience):
		c.t.Fatalf("%s: no answer to %s", c.name, kind)
		panic("unreachable")
	}
}

// must is request for what has to succeed.
func (c *client) must(kind string, f fields) message {
	c.t.Helper()
	m := c.request(kind, f)
	if m.Type != "ok" {
		c.t.Fatalf("%s: %s: %s: %s (field %q)", c.name, kind, m.Code, m.Message, m.Field)
	}
	return m
}

// mustFail is request for what has to fail.
func (c *client) mustFail(want code, kind string, f fields) message {
	c.t.Helper()
	m := c.request(kind, f)
	if m.Type != "error" || m.Code != string(want) {
		c.t.Errorf("%s: %s %v: got %s %s %q, want error %s", c.name, kind, f, m.Type, m.Code, m.Message, want)
	}
	return m
}

// until waits for a condition about the client.
func (c *client) until(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		change, good := c.change, ok()
		c.mu.Unlock()
		if good {
			return
		}
		select {
		case <-change:
		case <-deadline:
			c.t.Fatalf("%s: not within %v: %s; events: %s", c.name, patience, what, c.history())
		}
	}
}

func (c *client) history() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, m := range c.events {
		if m.Type != "quality" && m.Type != "levels" {
			all = append(all, fmt.Sprintf("%d %s %s %s %v", m.Seq, m.Type, m.user(), m.source().Source, m.Tracks))
		}
	}
	for k, n := range c.arrived {
		all = append(all, fmt.Sprintf("%d packets of %v", n.packets, k))
	}
	return strings.Join(all, "; ")
}

// gets waits for an event.
func (c *client) gets(what string, match func(message) bool) (found message) {
	c.t.Helper()
	c.until(what, func() bool {
		for _, m := range c.events {
			if match(m) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// sees waits for an event about a source of a user.
func (c *client) sees(kind, user string, s sfu.Source) message {
	c.t.Helper()
	return c.gets(fmt.Sprintf("%s %s %s", kind, user, s), func(m message) bool { return m.is(kind, user, s) })
}

// had counts events.
func (c *client) had(match func(message) bool) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.events {
		if match(m) {
			n++
		}
	}
	return n
}

// noGaps checks that events were numbered one after the other.
func (c *client) noGaps() {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.events {
		if m.gapBefore {
			c.t.Errorf("%s: event %d (%s) does not follow the one before it", c.name, m.Seq, m.Type)
		}
	}
}

// end waits for the connection's end and tells it.
func (c *client) end() error {
	c.t.Helper()
	c.mu.Lock()
	ended := c.ended
	c.mu.Unlock()
	select {
	case <-ended:
	case <-time.After(patience):
		c.t.Fatalf("%s: the server does not close the connection", c.name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// ends checks how the session ends.
func (c *client) ends(reason string) {
	c.t.Helper()
	m := c.gets("end", func(m message) bool { return m.Type == "end" })
	if m.Reason != reason {
		c.t.Errorf("%s: end: got reason %q, want %q", c.name, m.Reason, reason)
	}
	if got := websocket.CloseStatus(c.end()); got != closeEnded {
		c.t.Errorf("%s: closed with %d, want %d (%v)", c.name, got, closeEnded, c.end())
	}
}

// cut breaks the connection without a goodbye.
func (c *client) cut() {
	c.mu.Lock()
	conn, ended := c.conn, c.ended
	c.mu.Unlock()
	if conn != nil {
		_ = conn.CloseNow()
		<-ended
	}
}

// back connects again and resumes.
func (c *client) back() message {
	c.t.Helper()
	c.dial()
	c.mu.Lock()
	resume := fields{"session": c.joined.Session, "seq": c.seq}
	c.mu.Unlock()
	m := c.must("join", fields{"token": jwt(c.t, c.name), "resume": resume})
	c.mu.Lock()
	c.joined = m
	c.mu.Unlock()
	return m
}

func (c *client) close() {
	c.cut()
	c.mu.Lock()
	c.gone = true
	c.mu.Unlock()
	c.answers.Wait() // what Pion begins while it is closed it never ends
	for _, s := range c.sends {
		s.stop()
	}
	for _, pc := range []*webrtc.PeerConnection{c.up, c.peer()} {
		if pc != nil {
			_ = pc.GracefulClose()
		}
	}
}

func (c *client) peer() *webrtc.PeerConnection {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.down
}

// ---- media

// path is a client's network, which can be broken.
type path struct {
	net.PacketConn
	mux    ice.UDPMux
	broken atomic.Bool
}

func newPath(t *testing.T) *path {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &path{PacketConn: conn}
	p.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: p})
	t.Cleanup(func() { _ = p.mux.Close() })
	return p
}

func (p *path) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := p.PacketConn.ReadFrom(b)
		if err != nil || !p.broken.Load() {
			return n, from, err
		}
	}
}

func (p *path) WriteTo(b []byte, to net.Addr) (int, error) {
	if p.broken.Load() {
		return len(b), nil
	}
	return p.PacketConn.WriteTo(b, to)
}

func newPeer(t testing.TB, only []webrtc.RTPCodecCapability, way *path) *webrtc.PeerConnection {
	t.Helper()
	engine := &webrtc.MediaEngine{}
	if only == nil {
		if err := engine.RegisterDefaultCodecs(); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range only {
		kind := webrtc.RTPCodecTypeVideo
		if strings.HasPrefix(c.MimeType, "audio/") {
			kind = webrtc.RTPCodecTypeAudio
		}
		err := engine.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: c, PayloadType: webrtc.PayloadType(100 + i)}, kind)
		if err != nil {
			t.Fatal(err)
		}
	}
	level := webrtc.RTPHeaderExtensionCapability{URI: "urn:ietf:params:rtp-hdrext:ssrc-audio-level"}
	if err := engine.RegisterHeaderExtension(level, webrtc.RTPCodecTypeAudio); err != nil {
		t.Fatal(err)
	}
	registry := &interceptor.Registry{}
	quiet := &logging.DefaultLoggerFactory{Writer: io.Discard} // it speaks of every closed connection
	if err := webrtc.RegisterDefaultInterceptorsWithOptions(engine, registry, webrtc.WithInterceptorLoggerFactory(quiet)); err != nil {
		t.Fatal(err)
	}
	var e webrtc.SettingEngine
	e.SetIncludeLoopbackCandidate(true)
	e.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	e.LoggerFactory = quiet
	if way != nil {
		e.SetICEUDPMux(way.mux)
	}
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry),
		webrtc.WithSettingEngine(e)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	return pc
}

// sending is a source that a client sends: numbered packets, 50 a second.
type sending struct {
	source sfu.Source
	track  *webrtc.TrackLocalStaticRTP
	sender *webrtc.RTPSender
	pc     *webrtc.PeerConnection
	level  uint8 // -dBov
	on     bool
	cancel context.CancelFunc
	done   chan struct{}
}

func (s *sending) stop() {
	s.cancel()
	<-s.done
}

// run sends until the context ends.
func (s *sending) run(ctx context.Context) {
	defer close(s.done)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := uint32(1); ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p := &rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, SequenceNumber: uint16(n), Timestamp: n * 960}}
		p.Payload = binary.BigEndian.AppendUint32(nil, n)
		if s.source.Video() {
			p.Timestamp = n * 1800
			p.Payload = vp8(n%10 == 1, n)
		} else if id := s.levelID(); id != 0 {
			_ = p.SetExtension(id, []byte{s.level | 0x80})
		}
		_ = s.track.WriteRTP(p) // fails before the connection stands
	}
}

func (s *sending) levelID() uint8 {
	for _, e := range s.sender.GetParameters().HeaderExtensions {
		if strings.HasSuffix(e.URI, "ssrc-audio-level") {
			return uint8(e.ID)
		}
	}
	return 0
}

// vp8 is a frame of 640x360 in one packet that ends with its number.
func vp8(key bool, n uint32) []byte {
	b := []byte{0x10, 0x01, 0, 0}
	if key {
		b = []byte{0x10, 0x00, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01}
	}
	return binary.BigEndian.AppendUint32(b, n)
}

// publish adds sources and negotiates them.
func (c *client) publish(all ...sfu.Source) {
	c.t.Helper()
	for _, s := range all {
		c.add(s)
	}
	if m := c.negotiate(false); m.Type != "ok" {
		c.t.Fatalf("%s: publish %v: %s: %s", c.name, all, m.Code, m.Message)
	}
}

func (c *client) add(s sfu.Source) {
	c.t.Helper()
	if c.up == nil {
		c.up = newPeer(c.t, nil, c.paths[0])
	}
	kind := webrtc.MimeTypeOpus
	if s.Video() {
		kind = webrtc.MimeTypeVP8
	}
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: kind}, string(s), c.name)
	if err != nil {
		c.t.Fatal(err)
	}
	sender, err := c.up.AddTrack(track)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, tr := range c.up.GetTransceivers() {
		if tr.Sender() != sender {
			continue
		}
		var codecs []webrtc.RTPCodecParameters
		for _, p := range sender.GetParameters().Codecs {
			if strings.EqualFold(p.MimeType, kind) {
				codecs = append(codecs, p)
			}
		}
		if err := tr.SetCodecPreferences(codecs); err != nil {
			c.t.Fatal(err)
		}
	}
	go func() {
		for {
			if _, _, err := sender.ReadRTCP(); err != nil {
				return
			}
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	out := &sending{source: s, track: track, sender: sender, pc: c.up, level: 30, on: true, cancel: cancel, done: make(chan struct{})}
	if old := c.sends[s]; old != nil {
		old.stop()
	}
	c.sends[s] = out
	go out.run(ctx)
}

// remove takes a source out; the next negotiation tells it.
func (c *client) remove(s sfu.Source) {
	c.t.Helper()
	c.sends[s].on = false
	if err := c.up.RemoveTrack(c.sends[s].sender); err != nil {
		c.t.Fatal(err)
	}
}

// negotiate offers what is published now.
func (c *client) negotiate(restart bool) message {
	c.t.Helper()
	offer, err := c.up.CreateOffer(&webrtc.OfferOptions{ICERestart: restart})
	if err != nil {
		c.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(c.up)
	if err := c.up.SetLocalDescription(offer); err != nil {
		c.t.Fatal(err)
	}
	<-gathered
	tracks := []sfu.OfferedTrack{}
	for s, out := range c.sends {
		for _, tr := range c.up.GetTransceivers() {
			if out.on && tr.Sender() == out.sender {
				tracks = append(tracks, sfu.OfferedTrack{MID: tr.Mid(), Source: s})
			}
		}
	}
	m := c.request("offer", fields{"sdp": c.up.LocalDescription().SDP, "tracks": tracks})
	if m.Type == "ok" {
		if err := c.up.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: m.SDP}); err != nil {
			c.t.Fatalf("%s: take the answer: %v\n%s", c.name, err, m.SDP)
		}
	}
	return m
}

// answer answers an offer of the server. There is one at a time.
func (c *client) answer(m message) {
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return
	}
	if c.down == nil {
		pc := newPeer(c.t, c.only, c.paths[1])
		pc.OnTrack(c.receive)
		c.down = pc
	}
	pc, text := c.down, m.SDP
	if pc.CurrentRemoteDescription() != nil { // Pion stops for good what is inactive in two offers
		text = strings.ReplaceAll(text, "a=inactive", "a=recvonly")
	}
	for _, t := range m.Tracks {
		c.tracks[t.MID] = key{t.User, t.Source}
	}
	c.mu.Unlock()
	err := func() error {
		if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: text}); err != nil {
			return err
		}
		answer, err := pc.CreateAnswer(nil)
		if err != nil {
			return err
		}
		gathered := webrtc.GatheringCompletePromise(pc)
		if err := pc.SetLocalDescription(answer); err != nil {
			return err
		}
		<-gathered
		return nil
	}()
	if errors.Is(err, webrtc.ErrConnectionClosed) || pc.ConnectionState() == webrtc.PeerConnectionStateClosed {
		return
	}
	if err != nil {
		c.t.Errorf("%s: answer offer %d: %v\n%s", c.name, m.Offer, err, m.SDP)
		return
	}
	c.ask("answer", fields{"offer": m.Offer, "sdp": pc.LocalDescription().SDP})
	c.mu.Lock()
	c.offers++
	c.changedLocked()
	c.mu.Unlock()
}

func (c *client) receive(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	var mid string
	for _, tr := range c.peer().GetTransceivers() {
		if tr.Receiver() == receiver {
			mid = tr.Mid()
		}
	}
	c.mu.Lock()
	k := c.tracks[mid]
	c.mu.Unlock()
	for {
		p, _, err := remote.ReadRTP()
		if err != nil {
			return
		}
		if len(p.Payload) < 4 {
			continue
		}
		n := binary.BigEndian.Uint32(p.Payload[len(p.Payload)-4:])
		c.mu.Lock()
		got := c.arrived[k]
		if got == nil {
			got = &counts{}
			c.arrived[k] = got
		}
		got.packets++
		if got.begun && n > got.next {
			got.lost += int(n - got.next)
		}
		got.next, got.begun = n+1, true
		c.changedLocked()
		c.mu.Unlock()
	}
}

// got is what arrived of a source so far.
func (c *client) got(user string, s sfu.Source) counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.arrived[key{user, s}]; g != nil {
		return *g
	}
	return counts{}
}

// hears waits for n more packets of a source.
func (c *client) hears(n int, user string, all ...sfu.Source) {
	c.t.Helper()
	for _, s := range all {
		from := c.got(user, s).packets
		c.until(fmt.Sprintf("%d packets of %s's %s", n, user, s), func() bool {
			g := c.arrived[key{user, s}]
			return g != nil && g.packets >= from+n
		})
	}
}
