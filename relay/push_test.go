package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/yutopp/go-rtmp/handshake"

	"braid/internal/testkit"
	"braid/media"
	"braid/media/flv"
	"braid/media/rtmp"
	"braid/media/srt"
)

// pushKey is in every test's URL; no log may show it.
const pushKey = "verysecretkey"

// pushUnits are the access units of two seconds of H.264 (15 fps) and AAC.
func pushUnits(t testing.TB) ([]*media.AccessUnit, flv.AudioConfig) {
	t.Helper()
	b, err := os.ReadFile("../media/flv/testdata/sample.flv")
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(b)
	if err := flv.ReadHeader(r); err != nil {
		t.Fatal(err)
	}
	var d flv.Demuxer
	var aus []*media.AccessUnit
	for {
		tag, err := flv.ReadTag(r)
		if err == io.EOF {
			return aus, d.Audio()
		}
		if err != nil {
			t.Fatal(err)
		}
		if au, err := d.Demux(tag); err != nil {
			t.Fatal(err)
		} else if au != nil {
			aus = append(aus, au)
		}
	}
}

// feed writes the units over and over, in real time, until the test ends. slowest
// is the longest Write.
func feed(t testing.TB, p *Push, aus []*media.AccessUnit) (slowest func() time.Duration) {
	t.Helper()
	var mu sync.Mutex
	var longest time.Duration
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		begin := time.Now()
		const round = 2 * time.Second
		for n := 0; ; n++ {
			au := *aus[n%len(aus)]
			au.PTS += time.Duration(n/len(aus)) * round
			select {
			case <-time.After(time.Until(begin.Add(au.PTS))):
			case <-stop:
				return
			}
			start := time.Now()
			p.Write(&au)
			mu.Lock()
			longest = max(longest, time.Since(start))
			mu.Unlock()
		}
	})
	t.Cleanup(func() {
		close(stop)
		wg.Wait()
	})
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return longest
	}
}

// pushRun is a Push that runs in a test, and what it said.
type pushRun struct {
	*Push
	cancel context.CancelFunc
	done   chan error

	mu     sync.Mutex
	states []PushState
	keys   int
	log    bytes.Buffer
}

func (r *pushRun) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(b)
}

func (r *pushRun) logged() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

// story is the phases and reasons so far.
func (r *pushRun) story() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var words []string
	for _, s := range r.states {
		w := string(s.Phase)
		if s.Reason != "" {
			w += ":" + s.Reason
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

func (r *pushRun) asked() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys
}

// runPush runs a push until the test ends, and checks that it ends soon, leaves
// nothing running and never told the key.
func runPush(t *testing.T, cfg PushConfig) *pushRun {
	t.Helper()
	r := &pushRun{done: make(chan error, 1)}
	cfg.Log = slog.New(slog.NewTextHandler(r, nil))
	cfg.NeedKey = func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.keys++
	}
	cfg.State = func(s PushState) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.states = append(r.states, s)
	}
	r.Push = NewPush(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.done <- r.Run(ctx) }()
	t.Cleanup(func() { r.stop(t) })
	return r
}

func (r *pushRun) stop(t testing.TB) {
	t.Helper()
	select {
	case <-r.done: // stopped before
		r.done <- nil
		return
	default:
	}
	start := time.Now()
	r.cancel()
	select {
	case err := <-r.done:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Run does not end")
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("Run took %v to end", d)
	}
	r.done <- nil
	r.mu.Lock()
	defer r.mu.Unlock()
	if strings.Contains(r.log.String(), pushKey) {
		t.Errorf("the log tells the key:\n%s", r.log.String())
	}
	if last := r.states[len(r.states)-1]; last.Phase != PhaseClosed {
		t.Errorf("last phase: %s", last.Phase)
	}
}

// pushOrigin is an rtmp server that keeps what each publisher sends.
type pushOrigin struct {
	url    string
	refuse error

	mu       sync.Mutex
	sessions []*pushIngest
	conns    []net.Conn
	ended    []error
}

type pushIngest struct {
	mu     sync.Mutex
	tags   []*flv.Tag
	closed bool
}

func (s *pushIngest) WriteTag(t *flv.Tag) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tags = append(s.tags, t)
}

func (s *pushIngest) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

func (s *pushIngest) got() []*flv.Tag {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tags[:len(s.tags):len(s.tags)]
}

func (o *pushOrigin) Publish(r rtmp.Request) (rtmp.Ingest, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refuse != nil {
		return nil, o.refuse
	}
	if r.App != "live" || r.Stream != pushKey || r.Query != "a=b" {
		return nil, fmt.Errorf("unexpected %q %q %q", r.App, r.Stream, r.Query)
	}
	s := &pushIngest{}
	o.sessions = append(o.sessions, s)
	return s, nil
}

func (o *pushOrigin) Play(rtmp.Request) (rtmp.Playback, error) {
	return nil, media.ErrNotFound
}

// session waits for the n-th publisher.
func (o *pushOrigin) session(t testing.TB, n int) *pushIngest {
	t.Helper()
	var s *pushIngest
	testkit.Eventually(t, fmt.Sprintf("session %d", n), func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		if len(o.sessions) > n {
			s = o.sessions[n]
		}
		return s != nil
	})
	return s
}

func startOrigin(t testing.TB) *pushOrigin {
	t.Helper()
	o := &pushOrigin{}
	ctx, cancel := context.WithCancel(context.Background())
	o.url = listen(t, func(nc net.Conn) {
		o.mu.Lock()
		o.conns = append(o.conns, nc)
		o.mu.Unlock()
		err := rtmp.Serve(ctx, nc, o, slog.New(slog.DiscardHandler))
		o.mu.Lock()
		defer o.mu.Unlock()
		o.ended = append(o.ended, err)
	})
	t.Cleanup(cancel) // before the listener waits for its connections
	return o
}

// listen serves loopback connections until the test ends.
func listen(t testing.TB, serve func(net.Conn)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer nc.Close()
				serve(nc)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return "rtmp://" + l.Addr().String() + "/live/" + pushKey + "?a=b"
}

// checkSession checks that a session begins with metadata, sequence header and key
// frame, all at one time, which it gives, and that no kind's time goes back.
func checkSession(t testing.TB, tags []*flv.Tag) (begin, end uint32) {
	t.Helper()
	last := map[byte]uint32{}
	var firsts []*flv.Tag // video, in order
	for i, tag := range tags {
		if tag.Timestamp < last[tag.Type] {
			t.Errorf("tag %d of type %d: time goes back from %d to %d", i, tag.Type, last[tag.Type], tag.Timestamp)
		}
		last[tag.Type] = tag.Timestamp
		if tag.Type == flv.Video {
			firsts = append(firsts, tag)
		}
	}
	if len(firsts) < 2 || tags[0].Type != flv.Script || !flv.IsSequenceHeader(firsts[0]) ||
		!flv.IsVideoKey(firsts[1].Payload) || flv.IsSequenceHeader(firsts[1]) ||
		tags[0].Timestamp != firsts[0].Timestamp || firsts[0].Timestamp != firsts[1].Timestamp {
		t.Fatalf("the session does not begin with metadata, sequence header, key frame at one time: %d tags, first type %d", len(tags), tags[0].Type)
	}
	return tags[0].Timestamp, max(last[flv.Video], last[flv.Audio])
}

func TestPush(t *testing.T) {
	testkit.NoLeaks(t)
	o := startOrigin(t)
	aus, audio := pushUnits(t)
	r := runPush(t, PushConfig{URL: o.url, Video: true, Audio: audio, FPS: 15})
	feed(t, r.Push, aus)
	s := o.session(t, 0)
	testkit.Eventually(t, "three seconds", func() bool {
		tags := s.got()
		return len(tags) > 0 && tags[len(tags)-1].Timestamp >= 3000
	})
	r.stop(t)
	tags := s.got()
	begin, _ := checkSession(t, tags)
	if !slices.ContainsFunc(aus, func(au *media.AccessUnit) bool {
		return au.Codec.Video() && au.Key && (int64(begin)-au.PTS.Milliseconds())%2000 == 0 // feed's round
	}) {
		t.Errorf("the first session begins at %d: no key frame is of that time", begin)
	}
	var d flv.Demuxer
	pictures, sounds := 0, 0
	for _, tag := range tags {
		au, err := d.Demux(tag)
		if err != nil {
			t.Fatal(err)
		}
		if au != nil && au.Codec == media.H264 {
			pictures++
		} else if au != nil {
			sounds++
		}
	}
	if pictures < 44 || sounds < 135 {
		t.Errorf("got %d pictures and %d sounds in 3 s", pictures, sounds)
	}
	if got := r.story(); got != "connecting live closed" {
		t.Errorf("phases: %s", got)
	}
	if st := r.State(); st.Bytes == 0 || st.Reconnects != 0 || r.asked() == 0 {
		t.Errorf("state %+v, asked %d times for a key frame", st, r.asked())
	}
	testkit.Eventually(t, "an orderly end", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return len(o.ended) == 1 && o.ended[0] == nil && s.closed
	})
}

// A reset in the stream: the next session begins soon, with all that a player
// needs, later than the first ended.
func TestPushReconnects(t *testing.T) {
	testkit.NoLeaks(t)
	o := startOrigin(t)
	aus, audio := pushUnits(t)
	r := runPush(t, PushConfig{URL: o.url, Video: true, Audio: audio})
	feed(t, r.Push, aus)
	s := o.session(t, 0)
	testkit.Eventually(t, "half a second", func() bool { tags := s.got(); return len(tags) > 0 && tags[len(tags)-1].Timestamp > 500 })
	o.mu.Lock()
	_ = o.conns[0].(*net.TCPConn).SetLinger(0) // a reset
	o.conns[0].Close()
	o.mu.Unlock()
	start := time.Now()
	second := o.session(t, 1)
	if d := time.Since(start); d > 1500*time.Millisecond {
		t.Errorf("the second session came after %v", d)
	}
	testkit.Eventually(t, "a picture in the second session", func() bool { return len(second.got()) > 60 })
	r.stop(t)
	_, end := checkSession(t, s.got())
	if begin, _ := checkSession(t, second.got()); begin <= end || begin > end+5000 {
		t.Errorf("the first session ended at %d, the second begins at %d ms", end, begin)
	}
	if got := r.story(); got != "connecting live waiting:lost connecting:lost live closed" {
		t.Errorf("phases: %s", got)
	}
	if st := r.State(); st.Reconnects != 1 {
		t.Errorf("reconnects: %d", st.Reconnects)
	}
}

func TestPushAudioOnly(t *testing.T) {
	testkit.NoLeaks(t)
	o := startOrigin(t)
	aus, audio := pushUnits(t)
	var sound []*media.AccessUnit
	for _, au := range aus {
		if au.Codec == media.AAC {
			sound = append(sound, au)
		}
	}
	r := runPush(t, PushConfig{URL: o.url, Audio: audio})
	feed(t, r.Push, sound)
	s := o.session(t, 0)
	testkit.Eventually(t, "sound", func() bool { return len(s.got()) > 20 })
	r.stop(t)
	tags := s.got()
	begin := tags[2].Timestamp
	known := slices.ContainsFunc(sound, func(au *media.AccessUnit) bool { return au.PTS.Round(time.Millisecond).Milliseconds() == int64(begin) })
	if tags[0].Type != flv.Script || !flv.IsSequenceHeader(tags[1]) || tags[0].Timestamp != begin || tags[1].Timestamp != begin || !known {
		t.Errorf("the session does not begin with metadata, sequence header, sound at one sound's time: %d, %d, %d", tags[0].Timestamp, tags[1].Timestamp, begin)
	}
	if r.asked() != 0 {
		t.Errorf("asked %d times for a key frame", r.asked())
	}
}

// rawOrigin shakes hands and then says bytes, whatever it is asked.
func rawOrigin(t testing.TB, say ...[]byte) string {
	return listen(t, func(nc net.Conn) {
		if err := handshake.HandshakeWithClient(nc, nc, &handshake.Config{SkipHandshakeVerification: true}); err != nil {
			return
		}
		for _, b := range say {
			if _, err := nc.Write(b); err != nil {
				return
			}
		}
		_, _ = io.Copy(io.Discard, nc)
	})
}

// amfError is a command message: _error, transaction 1, null, null.
var amfError = []byte{3, 0, 0, 0, 0, 0, 20, 20, 0, 0, 0, 0,
	2, 0, 6, '_', 'e', 'r', 'r', 'o', 'r', 0, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 5, 5}

// Each bad origin is named in a word, and tried again.
func TestPushReasons(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	guard := rtmp.Options{Control: func(string, string, syscall.RawConn) error { return errors.New("private") }}
	for _, c := range []struct {
		name string
		url  func(t *testing.T) string
		dial rtmp.Options
		want string
	}{
		{"refused", func(*testing.T) string { return "rtmp://" + closed.Addr().String() + "/live/" + pushKey }, rtmp.Options{}, "refused"},
		{"guarded", func(*testing.T) string { return "rtmp://" + closed.Addr().String() + "/live/" + pushKey }, guard, "forbidden"},
		{"closes after the handshake", func(t *testing.T) string {
			return listen(t, func(nc net.Conn) {
				_ = handshake.HandshakeWithClient(nc, nc, &handshake.Config{SkipHandshakeVerification: true})
			})
		}, rtmp.Options{}, "lost"},
		{"null properties", func(t *testing.T) string { return rawOrigin(t, amfError) }, rtmp.Options{}, "rejected"},
		{"bytes that are no RTMP", func(t *testing.T) string { return rawOrigin(t, bytes.Repeat([]byte{0xff}, 100)) }, rtmp.Options{}, "lost"},
		{"name in use", func(t *testing.T) string {
			o := startOrigin(t)
			o.refuse = media.ErrExists
			return o.url
		}, rtmp.Options{}, "rejected (NetStream.Publish.BadName)"},
		{"denied", func(t *testing.T) string {
			o := startOrigin(t)
			o.refuse = errors.New("no")
			return o.url
		}, rtmp.Options{}, "rejected (NetStream.Publish.Denied)"},
		{"TLS where there is none", func(t *testing.T) string { return strings.Replace(startOrigin(t).url, "rtmp:", "rtmps:", 1) },
			rtmp.Options{TLS: &tls.Config{MinVersion: tls.VersionTLS12}}, "tls (the origin ended the handshake: it may not speak TLS there)"},
		{"other bytes where TLS should be", func(t *testing.T) string {
			return strings.Replace(listen(t, func(nc net.Conn) { fmt.Fprint(nc, "HTTP/1.0 400 Bad Request\r\n\r\n") }), "rtmp:", "rtmps:", 1)
		}, rtmp.Options{}, "tls (the origin does not speak TLS there)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			r := runPush(t, PushConfig{URL: c.url(t), Video: true, Dial: c.dial})
			want := "connecting waiting:" + c.want + " connecting:" + c.want + " waiting:" + c.want
			testkit.Eventually(t, "two tries", func() bool { return strings.HasPrefix(r.story(), want) || len(r.story()) > len(want)+20 })
			if got := r.story(); !strings.HasPrefix(got, want) {
				t.Errorf("phases: %s", got)
			}
		})
	}
}

func TestPushBadURL(t *testing.T) {
	p := NewPush(PushConfig{URL: "http://host/" + pushKey, Log: slog.New(slog.DiscardHandler)})
	err := p.Run(context.Background())
	if err == nil || strings.Contains(err.Error(), pushKey) || p.State().Phase != PhaseClosed {
		t.Fatalf("got %v, phase %s", err, p.State().Phase)
	}
}

func TestPushSilentOrigin(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 8 s")
	}
	testkit.NoLeaks(t)
	r := runPush(t, PushConfig{URL: listen(t, func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) }), Video: true})
	testkit.Eventually(t, "the stall", func() bool { return strings.Contains(r.story(), "waiting") })
	if got := r.story(); !strings.HasPrefix(got, "connecting waiting:stalled") {
		t.Errorf("phases: %s", got)
	}
}

// rich is a stream of about 5 Mbit/s: the sample's pictures, filled up.
func rich(t testing.TB) ([]*media.AccessUnit, flv.AudioConfig) {
	aus, audio := pushUnits(t)
	filler := append([]byte{12}, bytes.Repeat([]byte{0xff}, 40_000)...) // H.264 filler data
	for i, au := range aus {
		if au.Codec == media.H264 {
			c := *au
			c.Units = append(c.Units[:len(c.Units):len(c.Units)], filler)
			aus[i] = &c
		}
	}
	return aus, audio
}

// stallingConn stops reading after some bytes, until released.
type stallingConn struct {
	net.Conn
	after   int
	release chan struct{}
}

func (c *stallingConn) Read(b []byte) (int, error) {
	if c.after <= 0 {
		<-c.release
	}
	n, err := c.Conn.Read(b)
	c.after -= n
	return n, err
}

// Ending while a write is stuck takes no longer than ending at all.
func TestPushEndsWhileStalled(t *testing.T) {
	testkit.NoLeaks(t)
	o := &pushOrigin{}
	release := make(chan struct{})
	url := listen(t, func(nc net.Conn) {
		_ = nc.(*net.TCPConn).SetReadBuffer(64 << 10)
		_ = rtmp.Serve(context.Background(), &stallingConn{nc, 100_000, release}, o, slog.New(slog.DiscardHandler))
	})
	t.Cleanup(func() { close(release) })
	aus, audio := rich(t)
	r := runPush(t, PushConfig{URL: url, Video: true, Audio: audio})
	feed(t, r.Push, aus)
	var bytes uint64
	same := time.Now()
	testkit.Eventually(t, "a write that is stuck", func() bool {
		if b := r.State().Bytes; b != bytes || b == 0 {
			bytes, same = b, time.Now()
		}
		return time.Since(same) > 500*time.Millisecond
	})
	r.stop(t)
}

// unit makes an access unit of n bytes for the queue.
func unit(codec media.Codec, key bool, n int) *media.AccessUnit {
	return &media.AccessUnit{Codec: codec, Key: key || codec == media.AAC, Units: [][]byte{make([]byte, n)}}
}

// The queue under an origin that takes nothing: in is a picture or sound each 100 ms
// ("K" key frame, "p" picture, "a" sound), want what is left.
func TestPushQueueDrops(t *testing.T) {
	rep := strings.Repeat
	for _, c := range []struct {
		name string
		in   string
		size int
		want string
		skip bool
	}{
		{"nothing is late", "Kpapapa", 100, "Kpapapa", false},
		{"pictures up to the newest key frame", "K" + rep("pa", 10) + "K" + rep("pa", 6), 100, rep("a", 10) + "K" + rep("pa", 6), false},
		{"an old key frame does not help", "K" + rep("p", 5) + "K" + rep("pa", 14), 100, rep("a", 14), true},
		{"and then waits for the next", "K" + rep("p", 5) + "K" + rep("pa", 14) + "ppaKp", 100, rep("a", 15) + "Kp", false},
		{"sound for twice as long", rep("a", 90), 100, rep("a", 61), true},
		{"too many bytes", "Kp" + "Kp" + "Kp", 3 << 20, "Kp", false},
		{"a group that is too large", "Kppa", 3 << 20, "a", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := pushQueue{ready: make(chan struct{}, 1)}
			q.open(true)
			now := time.Now()
			for _, r := range c.in {
				n := c.size
				switch r {
				case 'K':
					q.put(unit(media.H264, true, n), now)
				case 'p':
					q.put(unit(media.H264, false, n), now)
				case 'a':
					q.put(unit(media.AAC, false, 100), now)
				}
				now = now.Add(100 * time.Millisecond)
				if q.bytes > queueBytes {
					t.Fatalf("%d bytes are held", q.bytes)
				}
			}
			skip, got, size := q.wantsKey(), "", q.bytes
			for au := q.take(); au != nil; au = q.take() {
				switch {
				case au.Codec == media.AAC:
					got += "a"
				case au.Key:
					got += "K"
				default:
					got += "p"
				}
				size -= au.Size()
			}
			if got != c.want || skip != c.skip || size != 0 || q.droppedUnits() != uint64(len(c.in)-len(c.want)) {
				t.Errorf("got %s, skip %v, %d bytes over, %d dropped; want %s, %v", got, skip, size, q.droppedUnits(), c.want, c.skip)
			}
		})
	}
}

// A session begins at a key frame, and what comes before is not counted as dropped.
func TestPushQueueBegins(t *testing.T) {
	q := pushQueue{ready: make(chan struct{}, 1)}
	q.open(true)
	for _, key := range []bool{false, false, true, false} {
		q.put(unit(media.H264, key, 10), time.Now())
	}
	if au := q.take(); au == nil || !au.Key || q.take() == nil || q.take() != nil || q.droppedUnits() != 0 {
		t.Errorf("begins with %+v, %d dropped", au, q.droppedUnits())
	}
}

func TestPushQueueOpenAndClosed(t *testing.T) {
	q := pushQueue{ready: make(chan struct{}, 1)}
	q.put(unit(media.AAC, true, 10), time.Now())
	if q.take() != nil || q.droppedUnits() != 0 {
		t.Error("a closed queue takes units")
	}
	q.open(false)
	q.put(unit(media.AAC, true, 10), time.Now())
	q.close()
	if q.take() != nil || q.bytes != 0 {
		t.Error("close keeps units")
	}
}

func TestReasonOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("x: %w", &net.DNSError{Err: "no such host", Name: "h", IsNotFound: true}), "dns"},
		{fmt.Errorf("x: %w", syscall.ECONNREFUSED), "refused"},
		{fmt.Errorf("x: %w", rtmp.ErrTLS), "tls"},
		{fmt.Errorf("%w: %w", rtmp.ErrTLS, x509.CertificateInvalidError{Reason: x509.Expired}), "tls (the certificate has expired, or is not valid yet)"},
		{fmt.Errorf("%w: %w", rtmp.ErrTLS, x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}), "tls (the certificate is not valid)"},
		{&srt.RejectedError{Code: 2403, Reason: "forbidden"}, "rejected (2403 forbidden)"},
		{fmt.Errorf("x: %w", media.ErrStalled), "stalled"},
		{fmt.Errorf("x: %w", errForbidden), "forbidden"},
		{&net.OpError{Op: "read", Err: syscall.ETIMEDOUT}, "stalled"},
		{context.DeadlineExceeded, "stalled"},
		{io.ErrUnexpectedEOF, "lost"},
		{syscall.ECONNRESET, "lost"},
		{&rtmp.RejectedError{Code: "A.B"}, "rejected (A.B)"},
		{&rtmp.RejectedError{}, "rejected"},
	} {
		if got := reasonOf(c.err); got != c.want {
			t.Errorf("%v: got %s, want %s", c.err, got, c.want)
		}
	}
}

// nginx is a real nginx-rtmp on a free port.
type nginx struct {
	port int
	conf string
	cmd  *exec.Cmd
}

const nginxModule = "/usr/lib/nginx/modules/ngx_rtmp_module.so"

func startNginx(t testing.TB) *nginx {
	t.Helper()
	if _, err := os.Stat(nginxModule); err != nil {
		t.Skip("no nginx-rtmp")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nginx{port: l.Addr().(*net.TCPAddr).Port}
	l.Close()
	dir := t.TempDir()
	n.conf = dir + "/nginx.conf"
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n"
	}
	conf := fmt.Sprintf(`load_module %s;
%sdaemon off; master_process off; pid %s/pid; error_log %s/error.log info;
events { worker_connections 64; }
rtmp { server { listen 127.0.0.1:%d;
  application live { live on; }
  application closed { live on; deny publish all; }
} }
`, nginxModule, user, dir, dir, n.port)
	if err := os.WriteFile(n.conf, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	t.Cleanup(n.kill)
	return n
}

func (n *nginx) start(t testing.TB) {
	t.Helper()
	n.cmd = exec.Command("nginx", "-c", n.conf)
	if err := n.cmd.Start(); err != nil {
		t.Skip("nginx does not start: ", err)
	}
	testkit.Eventually(t, "nginx", func() bool {
		nc, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", n.port))
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
}

// kill ends nginx as a crash does. It may be called more than once.
func (n *nginx) kill() {
	if n.cmd != nil {
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait()
		n.cmd = nil
	}
}

func (n *nginx) url(app string) string {
	return fmt.Sprintf("rtmp://127.0.0.1:%d/%s/%s", n.port, app, pushKey)
}

// pull lets ffmpeg decode some frames from a URL; it is content with no warning.
func pull(t testing.TB, url string, frames int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ffmpeg", "-v", "warning", "-rw_timeout", "5000000", "-i", url,
		"-frames:v", fmt.Sprint(frames), "-f", "null", "-").CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("ffmpeg: %v\n%s", err, out)
	}
	out, err = exec.CommandContext(ctx, "ffprobe", "-v", "error", "-rw_timeout", "5000000", "-analyzeduration", "1000000",
		"-show_entries", "stream=codec_name,width,height,sample_rate", "-of", "csv", url).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "h264,128,96") || !strings.Contains(string(out), "aac,48000") {
		t.Errorf("ffprobe: %v\n%s", err, out)
	}
}

// Through a real nginx-rtmp: ffmpeg decodes what comes out, before and after nginx
// has crashed and come back.
func TestPushNginx(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg")
	}
	testkit.NoLeaks(t)
	n := startNginx(t)
	aus, audio := pushUnits(t)
	r := runPush(t, PushConfig{URL: n.url("live"), Video: true, Audio: audio, FPS: 15})
	feed(t, r.Push, aus)
	testkit.Eventually(t, "live", func() bool { return strings.HasSuffix(r.story(), "live") })
	pull(t, n.url("live"), 30)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	v, err := rtmp.Play(ctx, n.url("live"), rtmp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := v.Read(); err != nil {
			t.Fatalf("own player, tag %d: %v", i, err)
		}
	}
	v.Close()

	n.kill()
	testkit.Eventually(t, "the loss", func() bool { return strings.Contains(r.story(), "waiting:lost") })
	n.start(t)
	testkit.Eventually(t, "live again", func() bool { return strings.HasSuffix(r.story(), "live") })
	pull(t, n.url("live"), 30)
	r.stop(t)
}

// nginx-rtmp closes the connection for an unknown app, and after a Publish.Start for
// a publisher it denies.
func TestPushNginxRefuses(t *testing.T) {
	n := startNginx(t)
	aus, audio := pushUnits(t)
	for _, app := range []string{"nowhere", "closed"} {
		t.Run(app, func(t *testing.T) {
			testkit.NoLeaks(t)
			r := runPush(t, PushConfig{URL: n.url(app), Video: true, Audio: audio})
			feed(t, r.Push, aus)
			testkit.Eventually(t, "the end of the session", func() bool { return strings.Contains(r.story(), "waiting:lost") })
		})
	}
}
