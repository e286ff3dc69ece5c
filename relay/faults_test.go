package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"braid/internal/testkit"
	"braid/media"
	"braid/media/flv"
	"braid/media/rtmp"
)

// toxiproxy is Shopify's proxy for TCP faults; its module is testdata/toxiproxy.
type toxiproxy struct{ api string }

func startToxiproxy(t *testing.T) *toxiproxy {
	t.Helper()
	program := filepath.Join(t.TempDir(), "toxiproxy")
	build := exec.Command("go", "build", "-o", program, "github.com/Shopify/toxiproxy/v2/cmd/server")
	build.Dir = "../testdata/toxiproxy"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build toxiproxy: %v\n%s", err, out)
	}
	_, port, _ := net.SplitHostPort(freeTCP(t))
	cmd := exec.Command(program, "-host", "127.0.0.1", "-port", port)
	cmd.Env = append(os.Environ(), "LOG_LEVEL=error")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p := &toxiproxy{api: "http://127.0.0.1:" + port}
	testkit.Eventually(t, "toxiproxy", func() bool {
		r, err := http.Get(p.api + "/version")
		if err == nil {
			r.Body.Close()
		}
		return err == nil
	})
	return p
}

func freeTCP(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (p *toxiproxy) do(t testing.TB, method, path string, body map[string]any) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(method, p.api+path, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	defer http.DefaultClient.CloseIdleConnections() // of goroutines none is left
	if text, _ := io.ReadAll(r.Body); r.StatusCode >= 300 {
		t.Fatalf("toxiproxy: %s %s: %s %s", method, path, r.Status, text)
	}
}

// way is a way through the proxy to an origin.
type way struct {
	p   *toxiproxy
	t   testing.TB
	at  string // in the proxy's API
	url string
}

func (p *toxiproxy) to(t testing.TB, url string) *way {
	t.Helper()
	upstream := strings.Split(url, "/")[2]
	at := freeTCP(t)
	p.do(t, "POST", "/proxies", map[string]any{"name": at, "listen": at, "upstream": upstream, "enabled": true})
	t.Cleanup(func() { p.do(t, "DELETE", "/proxies/"+at, nil) })
	return &way{p, t, "/proxies/" + at, strings.Replace(url, upstream, at, 1)}
}

func (w *way) enable(on bool) {
	w.p.do(w.t, "POST", w.at, map[string]any{"enabled": on})
}

func (w *way) fault(kind string, attributes map[string]any) {
	w.p.do(w.t, "POST", w.at+"/toxics", map[string]any{"name": "fault", "type": kind, "stream": "upstream", "attributes": attributes})
}

func (w *way) heal() { w.p.do(w.t, "DELETE", w.at+"/toxics/fault", nil) }

// phases waits until the push's story ends with, and gives the time that took.
func (r *pushRun) phases(t testing.TB, suffix string) time.Duration {
	t.Helper()
	start := time.Now()
	testkit.Eventually(t, "the phases "+suffix, func() bool { return strings.HasSuffix(r.story(), suffix) })
	return time.Since(start)
}

// next waits for the origin's session n, checks how it begins, and gives how long
// after the one before its timestamps go on.
func nextSession(t testing.TB, o *pushOrigin, n int) (gap time.Duration) {
	t.Helper()
	s := o.session(t, n)
	testkit.Eventually(t, "media", func() bool { return len(s.got()) > 20 })
	begin, _ := checkSession(t, s.got())
	if n == 0 {
		return 0
	}
	_, end := checkSession(t, o.session(t, n-1).got())
	if begin <= end {
		t.Errorf("session %d begins at %d ms, the one before ended at %d", n, begin, end)
	}
	return time.Duration(begin-end) * time.Millisecond
}

// TestFaults breaks the way to an origin in each way that the goals name, and
// prints what was measured beside them: make faults, doc/relay.md. They take their
// time side by side, but the one that measures memory.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("builds toxiproxy and takes half a minute")
	}
	toxi := startToxiproxy(t)
	testkit.NoLeaks(t)
	faults := []*struct {
		name, goal string
		run        func(t *testing.T, toxi *toxiproxy) (measured string)
		measured   string
	}{
		{"1 of 10 stalled", "the others lose 0 units, ≤ 16 MB more", faultOneOfTen, ""},
		{"origin down at the start", "says so, tries on", faultDown, ""},
		{"reset", "first try within 1 s", faultReset, ""},
		{"nothing goes through, all is taken (toxiproxy timeout)", "found within 10 s", faultSwallowed, ""},
		{"the same, sound alone", "found within 10 s", faultSwallowedSound, ""},
		{"the origin reads nothing", "found within 10 s", faultUnread, ""},
		{"slow: 1 s more, ± 0.5 s", "no loss, no reconnect", faultSlow, ""},
		{"publish rejected", "fails at once with the origin's code, tries on", faultRejected, ""},
		{"bandwidth 30 % under the bitrate", "sound whole, pictures whole groups' heads, ≤ 3 s waiting", faultBandwidth, ""},
	}
	t.Run("all", func(t *testing.T) { // returns when those beside it have
		for i, f := range faults {
			f.measured = "failed"
			t.Run(f.name, func(t *testing.T) {
				if i > 0 {
					t.Parallel()
				}
				f.measured = f.run(t, toxi)
			})
		}
	})
	var table bytes.Buffer
	rows := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(rows, "fault\tgoal\tmeasured")
	for _, f := range faults {
		fmt.Fprintf(rows, "%s\t%s\t%s\n", f.name, f.goal, f.measured)
	}
	rows.Flush()
	t.Logf("\n%s", table.String())
}

func faultPush(t *testing.T, url string, video bool) *pushRun {
	aus, audio := rich(t)
	if !video {
		aus, _ = pushUnits(t)
		sound := aus[:0]
		for _, au := range aus {
			if au.Codec == media.AAC {
				sound = append(sound, au)
			}
		}
		aus = sound
	}
	r := runPush(t, PushConfig{URL: url, Video: video, Audio: audio})
	slowest := feed(t, r.Push, aus)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("phases: %s; %+v\n%s", r.story(), r.State(), r.logged())
		}
		within(t, "the slowest Write", slowest(), 100*time.Millisecond)
	})
	return r
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func within(t testing.TB, what string, got, most time.Duration) {
	t.Helper()
	if got > most {
		t.Errorf("%s: %v, want at most %v", what, got, most)
	}
}

func faultDown(t *testing.T, toxi *toxiproxy) string {
	o := startOrigin(t)
	w := toxi.to(t, o.url)
	w.enable(false)
	start := time.Now()
	r := faultPush(t, w.url, true)
	testkit.Eventually(t, "the reason", func() bool { return strings.Contains(r.story(), "waiting:refused") })
	said := time.Since(start)
	testkit.Eventually(t, "the third try", func() bool { return strings.Count(r.story(), "connecting") >= 3 })
	w.enable(true)
	back := r.phases(t, "live")
	nextSession(t, o, 0)
	return fmt.Sprintf("\"refused\" after %d ms; live %s after its return, at the fourth try or so", said.Milliseconds(), seconds(back))
}

func faultReset(t *testing.T, toxi *toxiproxy) string {
	o := startOrigin(t)
	w := toxi.to(t, o.url)
	r := faultPush(t, w.url, true)
	nextSession(t, o, 0)
	w.fault("reset_peer", map[string]any{"timeout": 0})
	testkit.Eventually(t, "the loss", func() bool { return strings.Contains(r.story(), "live waiting:lost") })
	w.heal()
	r.phases(t, " live")
	testkit.Eventually(t, "media again", func() bool { return r.State().Phase == PhaseLive && r.State().Reconnects > 0 })
	var lost time.Time
	var tried time.Duration
	r.mu.Lock()
	for _, s := range r.states {
		switch {
		case s.Phase == PhaseWaiting && lost.IsZero():
			lost = s.Since
		case s.Phase == PhaseConnecting && s.Reason == "lost" && tried == 0:
			tried = s.Since.Sub(lost)
		}
	}
	r.mu.Unlock()
	within(t, "the first try", tried, time.Second)
	o.mu.Lock()
	newest := len(o.sessions) - 1
	o.mu.Unlock()
	gap := nextSession(t, o, newest)
	return fmt.Sprintf("first try after %s, timestamps go on %s later", seconds(tried), seconds(gap))
}

func swallowed(t *testing.T, toxi *toxiproxy, video bool) string {
	o := startOrigin(t)
	w := toxi.to(t, o.url)
	r := faultPush(t, w.url, video)
	s := o.session(t, 0)
	testkit.Eventually(t, "eight seconds of stream", func() bool {
		tags := s.got()
		return len(tags) > 0 && tags[len(tags)-1].Timestamp > 8000
	})
	w.fault("timeout", map[string]any{"timeout": 0})
	start := time.Now()
	testkit.Eventually(t, "the stall", func() bool { return strings.Contains(r.story(), "waiting:stalled") })
	found := time.Since(start)
	within(t, "found", found, 10*time.Second)
	w.heal()
	r.phases(t, "live")
	testkit.Eventually(t, "media again", func() bool { return len(o.session(t, 1).got()) > 10 })
	return "found after " + seconds(found) + ", live again"
}

func faultSwallowed(t *testing.T, toxi *toxiproxy) string      { return swallowed(t, toxi, true) }
func faultSwallowedSound(t *testing.T, toxi *toxiproxy) string { return swallowed(t, toxi, false) }

func faultUnread(t *testing.T, _ *toxiproxy) string {
	url, _ := unread(t)
	r := faultPush(t, url, true)
	r.phases(t, "live")
	found := r.phases(t, "live waiting:stalled")
	within(t, "found", found, 10*time.Second)
	if r.State().Dropped == 0 {
		t.Error("nothing was dropped")
	}
	return "found after " + seconds(found)
}

// unread is an origin that reads 600 kB of each session and no more.
func unread(t *testing.T) (url string, o *pushOrigin) {
	o = &pushOrigin{}
	release := make(chan struct{})
	url = listen(t, func(nc net.Conn) {
		_ = nc.(*net.TCPConn).SetReadBuffer(64 << 10)
		_ = rtmp.Serve(context.Background(), &stallingConn{nc, 600_000, release}, o, slog.New(slog.DiscardHandler))
	})
	t.Cleanup(func() { close(release) })
	return url, o
}

func faultSlow(t *testing.T, toxi *toxiproxy) string {
	o := startOrigin(t)
	w := toxi.to(t, o.url)
	r := faultPush(t, w.url, true)
	nextSession(t, o, 0)
	w.fault("latency", map[string]any{"latency": 1000, "jitter": 500})
	s := o.session(t, 0)
	testkit.Eventually(t, "twelve seconds of stream", func() bool {
		tags := s.got()
		return tags[len(tags)-1].Timestamp > 12000
	})
	checkSession(t, s.got())
	st := r.State()
	if st.Dropped != 0 || st.Reconnects != 0 {
		t.Errorf("state %+v", st)
	}
	return fmt.Sprintf("%d dropped, %d reconnects in 12 s", st.Dropped, st.Reconnects)
}

func faultRejected(t *testing.T, toxi *toxiproxy) string {
	o := startOrigin(t)
	o.refuse = media.ErrExists
	w := toxi.to(t, o.url)
	start := time.Now()
	r := faultPush(t, w.url, true)
	const reason = "rejected (NetStream.Publish.BadName)"
	testkit.Eventually(t, "the reason", func() bool { return strings.Contains(r.story(), "waiting:"+reason) })
	said := time.Since(start)
	within(t, "the reason", said, 2*time.Second)
	testkit.Eventually(t, "the second try", func() bool { return strings.Count(r.story(), "waiting") >= 2 })
	o.mu.Lock()
	o.refuse = nil
	o.mu.Unlock()
	r.phases(t, "live")
	nextSession(t, o, 0)
	return fmt.Sprintf("%q after %d ms; live when the name is free", reason, said.Milliseconds())
}

func faultBandwidth(t *testing.T, toxi *toxiproxy) string {
	aus, _ := rich(t)
	size := 0
	for _, au := range aus {
		size += au.Size()
	}
	o := startOrigin(t)
	w := toxi.to(t, o.url)
	w.fault("bandwidth", map[string]any{"rate": size / 2 * 7 / 10 / 1000}) // kB/s; the sample has 2 s
	r := faultPush(t, w.url, true)
	s := o.session(t, 0)
	testkit.Eventually(t, "20 s of stream", func() bool {
		tags := s.got()
		return len(tags) > 0 && tags[len(tags)-1].Timestamp > 20_000
	})
	late := r.queue.late(time.Now())
	tags := s.got()
	checkSession(t, tags)
	sound, lost, pictures, broken := wholeness(tags)
	if lost > 0 || broken > 0 {
		t.Errorf("%d sounds are missing, %d pictures are after a gap that no key frame ends", lost, broken)
	}
	st := r.State()
	if st.Reconnects != 0 || st.Dropped < 20 {
		t.Errorf("state %+v", st)
	}
	within(t, "the oldest that waits", late, queueTime+time.Second)
	return fmt.Sprintf("%d of %d sounds missing, %d pictures sent, %d dropped, %d broken; %s waiting", lost, sound+lost, pictures, st.Dropped, broken, seconds(late))
}

// wholeness counts sounds and pictures, the sounds that are missing and the
// pictures that cannot be decoded. The sample has a gap where it begins anew.
func wholeness(tags []*flv.Tag) (sound, lost, pictures, broken int) {
	last := map[byte]uint32{}
	whole := true
	for _, tag := range tags {
		if flv.IsSequenceHeader(tag) || tag.Type == flv.Script {
			continue
		}
		d := int(tag.Timestamp) - int(last[tag.Type])
		switch tag.Type {
		case flv.Audio:
			if sound++; sound > 1 && d > 64 { // three frames of 21.3 ms: one is missing beside the gap
				lost += d/21 - 2
			}
		case flv.Video:
			pictures++
			if whole = flv.IsVideoKey(tag.Payload) || whole && d < 80; !whole {
				broken++
			}
		}
		last[tag.Type] = tag.Timestamp
	}
	return sound, lost, pictures, broken
}

// counter is an origin that counts the media from a time on.
type counter struct {
	from atomic.Uint32
	n    atomic.Int64
}

func (c *counter) Publish(rtmp.Request) (rtmp.Ingest, error) { return c, nil }
func (c *counter) Play(rtmp.Request) (rtmp.Playback, error)  { return nil, media.ErrNotFound }
func (c *counter) Close()                                    {}
func (c *counter) WriteTag(t *flv.Tag) {
	if t.Type != flv.Script && !flv.IsSequenceHeader(t) && t.Timestamp >= c.from.Load() {
		c.n.Add(1)
	}
}

func faultOneOfTen(t *testing.T, _ *toxiproxy) string {
	stalled, _ := unread(t)
	aus, audio := rich(t)
	ctx, cancel := context.WithCancel(t.Context())
	var counters []*counter
	var all []*pushRun
	for n := range 10 {
		url := stalled
		if n > 0 {
			c := &counter{}
			c.from.Store(1 << 31)
			counters = append(counters, c)
			url = listen(t, func(nc net.Conn) { _ = rtmp.Serve(ctx, nc, c, slog.New(slog.DiscardHandler)) })
		}
		all = append(all, runPush(t, PushConfig{URL: url, Video: true, Audio: audio, Timeline: new(Timeline)}))
	}
	t.Cleanup(cancel) // before the listeners wait for their connections

	var fed, counted atomic.Int64 // the PTS in ms that was written, and the units since counting began
	var counting atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		begin := time.Now()
		for n := 0; ; n++ {
			au := *aus[n%len(aus)]
			au.PTS += time.Duration(n/len(aus)) * 2 * time.Second
			select {
			case <-time.After(time.Until(begin.Add(au.PTS))):
			case <-stop:
				return
			}
			ms := au.PTS.Round(time.Millisecond).Milliseconds()
			if from := counting.Load(); from > 0 && ms >= from {
				counted.Add(1)
			}
			for _, r := range all {
				r.Push.Write(&au)
			}
			fed.Store(ms)
		}
	})
	for _, r := range all {
		testkit.Eventually(t, "live", func() bool { return strings.Contains(r.story(), "live") })
	}
	from := fed.Load() + 1000 // nobody is there yet
	for _, c := range counters {
		c.from.Store(uint32(from))
	}
	counting.Store(from)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := heap(), uint64(0)
	testkit.Eventually(t, "the stall to be found", func() bool {
		most = max(most, heap())
		return strings.Contains(all[0].story(), "waiting:stalled") && fed.Load() > from+8000
	})
	close(stop)
	wg.Wait()
	want := counted.Load()
	for i, c := range counters {
		testkit.Eventually(t, "all units", func() bool { return c.n.Load() >= want })
		if got, st := c.n.Load(), all[i+1].State(); got != want || st.Dropped != 0 || st.Reconnects != 0 {
			t.Errorf("origin %d: %d units of %d, state %+v", i+1, got, want, st)
		}
	}
	more := (float64(most) - float64(before)) / 1e6
	if more > 16 {
		t.Errorf("%.1f MB more on the heap", more)
	}
	return fmt.Sprintf("9 × %d units, none missing; %.1f MB more on the heap", want, max(more, 0))
}

// late is how long the oldest unit has waited.
func (q *pushQueue) late(now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.units) == 0 {
		return 0
	}
	return now.Sub(q.units[0].arrived)
}
