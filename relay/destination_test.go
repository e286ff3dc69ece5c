package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"braid/internal/testkit"
	"braid/media"
	"braid/media/flv"
	"braid/media/rtmp"
)

func TestTimeline(t *testing.T) {
	type unit struct {
		pts, want time.Duration
		first     bool
	}
	for name, c := range map[string]struct {
		zero  time.Duration
		units []unit
	}{
		"a task that has begun now": {time.Hour, []unit{
			{time.Hour, 0, true},
			{time.Hour + time.Second, time.Second, false},
			{time.Hour + 990*time.Millisecond, 990 * time.Millisecond, false}, // sound beside pictures
			{time.Hour + 10*time.Minute, 10 * time.Minute, true},
			{time.Hour + 10*time.Minute, 10*time.Minute + time.Millisecond, true}, // a session that carried one unit
			{time.Second, 10*time.Minute + 2*time.Millisecond, true},              // the source began anew
			{3 * time.Second, 10*time.Minute + 2*time.Second + 2*time.Millisecond, false},
		}},
		"a picture from before the task": {time.Hour, []unit{
			{time.Hour - 40*time.Millisecond, 0, true},
			{time.Hour, 40 * time.Millisecond, false},
		}},
		"a task of yesterday": {time.Second - 24*time.Hour, []unit{
			{2 * time.Second, 24*time.Hour + time.Second, true},
			{2020 * time.Millisecond, 24*time.Hour + 1020*time.Millisecond, false},
		}},
	} {
		line := Timeline{Zero: c.zero}
		for _, u := range c.units {
			if got := line.at(u.pts, u.first); got != u.want {
				t.Errorf("%s: %v: got %v, want %v", name, u.pts, got, u.want)
			}
		}
	}
}

// What matters is the time of day at which a task began, whatever has happened to
// the clock since the server's start, and that no timestamp is below 0.
func TestBirth(t *testing.T) {
	zero := time.Now()
	now := zero.Add(time.Minute)
	for name, c := range map[string]struct {
		created time.Time
		want    time.Duration
	}{
		"made now":                {now, time.Minute},
		"from before the restart": {now.Add(-time.Hour), time.Minute - time.Hour},
		"two years old":           {now.AddDate(0, 0, -730), time.Minute - 730*24*time.Hour},
		"the clock was set back":  {now.Add(time.Hour), time.Minute},
	} {
		if got := birth(c.created.UTC().Round(0), zero, now); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// memory is an RTMP origin without a network: it is down for a while, and its
// sessions keep what they get.
type memory struct {
	cfg      PushConfig
	down     func() bool
	sessions []*memorySession
	tries    []time.Time
}

type memorySession struct {
	tags []*flv.Tag
	done chan struct{}
	err  error
}

func (m *memory) Dial(context.Context, string) (Session, error) {
	m.tries = append(m.tries, time.Now())
	if m.down() {
		return nil, syscall.ECONNREFUSED
	}
	s := &memorySession{done: make(chan struct{})}
	m.sessions = append(m.sessions, s)
	return &rtmpSession{publisher: s, time: m.cfg.Timeline, mux: flv.NewMuxer(flv.Config{Audio: m.cfg.Audio, Video: m.cfg.Video})}, nil
}

func (s *memorySession) Write(t *flv.Tag) error { s.tags = append(s.tags, t); return s.Err() }
func (s *memorySession) Done() <-chan struct{}  { return s.done }
func (s *memorySession) Close()                 {}
func (s *memorySession) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// An origin that is away for ten minutes, and for five hours (timestamps of more
// than 24 bits): the same push goes on, in the first try after its return, ten
// minutes later than it was.
func TestPushAfterTenMinutes(t *testing.T) {
	for _, away := range []time.Duration{10 * time.Minute, 5 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			aus, audio := pushUnits(t)
			var back time.Time
			line := new(Timeline)
			p := NewPush(PushConfig{URL: "rtmp://h/live/" + pushKey, Video: true, Audio: audio, Timeline: line, Log: slog.New(slog.DiscardHandler)})
			m := &memory{cfg: p.cfg, down: func() bool { return time.Now().Before(back) }}
			p.to = m
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- p.Run(ctx) }()
			begin := time.Now()
			play := func(d time.Duration) { // in synctest's time
				round := 2 * time.Second
				for end := time.Now().Add(d); time.Now().Before(end); {
					from := time.Since(begin)
					for _, au := range aus {
						au := *au
						au.PTS += from
						time.Sleep(time.Until(begin.Add(au.PTS)))
						p.Write(&au)
					}
					time.Sleep(time.Until(begin.Add(from + round)))
				}
			}
			play(20 * time.Second)
			back = time.Now().Add(away)
			m.sessions[0].err = errors.New("reset")
			close(m.sessions[0].done)
			play(away + 30*time.Second)
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if len(m.sessions) != 2 {
				t.Fatalf("%d sessions, want 2", len(m.sessions))
			}
			_, end := checkSession(t, m.sessions[0].tags)
			again, _ := checkSession(t, m.sessions[1].tags)
			if got := time.Duration(again-end) * time.Millisecond; got < away || got > away+lastBackoff*3/2+2*time.Second {
				t.Errorf("after %v the timestamps go on %v later", away, got)
			}
			if first := m.tries[1].Sub(back.Add(-away)); first > time.Second {
				t.Errorf("the first try comes %v after the reset", first)
			}
			for i := 2; i < len(m.tries); i++ {
				if d := m.tries[i].Sub(m.tries[i-1]); d > lastBackoff*3/2 {
					t.Errorf("%v between two tries", d)
				}
			}
		})
	}
}

// Real origins take timestamps of more than 24 bits from the first message on,
// and that 32 bits run over.
func TestPushLateTimestamps(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg")
	}
	for name, ms := range map[string]int64{"5 hours": 5 * 3600_000, "before 24 bits end": 1<<24 - 3000, "before 31 bits end": 1<<31 - 3000} {
		t.Run(name, func(t *testing.T) {
			testkit.NoLeaks(t)
			n := startNginx(t)
			aus, audio := rich(t) // key frames of more than a chunk
			r := runPush(t, PushConfig{URL: n.url("live"), Video: true, Audio: audio,
				Timeline: &Timeline{Zero: -time.Duration(ms) * time.Millisecond}})
			feed(t, r.Push, aus)
			testkit.Eventually(t, "live", func() bool { return strings.HasSuffix(r.story(), "live") })
			pull(t, n.url("live"), 75) // five seconds
			if got := r.story(); got != "connecting live" {
				t.Errorf("phases: %s", got)
			}
		})
	}
}

// Through our own reader: 32 bits run over in the middle of a session.
func TestPushTimestampsWrap(t *testing.T) {
	testkit.NoLeaks(t)
	o := startOrigin(t)
	aus, audio := rich(t)
	r := runPush(t, PushConfig{URL: o.url, Video: true, Audio: audio, Timeline: &Timeline{Zero: -(1<<32 - 1500) * time.Millisecond}})
	feed(t, r.Push, aus)
	s := o.session(t, 0)
	testkit.Eventually(t, "three seconds", func() bool { return len(s.got()) > 180 })
	r.stop(t)
	last := map[byte]uint32{}
	for i, tag := range s.got() {
		if before, ok := last[tag.Type]; ok && int32(tag.Timestamp-before) < 0 {
			t.Fatalf("tag %d of type %d: from %d to %d", i, tag.Type, before, tag.Timestamp)
		}
		last[tag.Type] = tag.Timestamp
	}
	if end := last[flv.Video]; end < 1000 || end > 1<<20 {
		t.Errorf("the last picture is at %d", end)
	}
}

// srtListener is an ffmpeg that writes what a caller sends into a file.
type srtListener struct {
	*exec.Cmd
	file string
}

func startSRT(t testing.TB, port int, query string) *srtListener {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg")
	}
	l := &srtListener{file: filepath.Join(t.TempDir(), "out.ts")}
	l.Cmd = exec.Command("ffmpeg", "-v", "error", "-y", "-copyts", "-f", "mpegts", "-i", fmt.Sprintf("srt://127.0.0.1:%d?mode=listener%s", port, query), "-c", "copy", "-copyts", "-muxdelay", "0", l.file)
	if err := l.Start(); err != nil {
		t.Skip("ffmpeg does not start: ", err)
	}
	t.Cleanup(l.kill)
	return l
}

func (l *srtListener) kill() {
	_ = l.Process.Kill()
	_ = l.Wait()
}

// packets are type, time in seconds and flags of what is in the file.
func (l *srtListener) packets(t testing.TB) (all []string) {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "packet=codec_type,pts_time,flags", "-of", "csv=p=0", l.file).CombinedOutput()
	if err != nil {
		t.Fatalf("ffprobe: %v\n%s", err, out)
	}
	return strings.Fields(string(out))
}

func udpPort(t testing.TB) int {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	return pc.LocalAddr().(*net.UDPAddr).Port
}

// A push over SRT to ffmpeg, encrypted: what it writes begins with a key frame and
// decodes without a complaint. When the listener is killed and another comes, the
// stream goes on there, later.
func TestPushSRT(t *testing.T) {
	testkit.NoLeaks(t)
	port := udpPort(t)
	aus, audio := rich(t)
	query := "&passphrase=" + pushKey
	first := startSRT(t, port, query)
	r := runPush(t, PushConfig{URL: fmt.Sprintf("srt://127.0.0.1:%d?latency=120&streamid=%s%s", port, pushKey, query), Video: true, Audio: audio})
	feed(t, r.Push, aus)
	grown := func(l *srtListener) func() bool {
		return func() bool {
			info, err := os.Stat(l.file)
			return err == nil && info.Size() > 1_500_000
		}
	}
	testkit.Eventually(t, "some seconds in a file", grown(first))
	first.kill()
	testkit.Eventually(t, "the loss", func() bool { return strings.Contains(r.story(), "waiting") })
	second := startSRT(t, port, query)
	testkit.Eventually(t, "some seconds in the second file", grown(second))
	r.stop(t)
	if err := second.Wait(); err != nil {
		t.Errorf("ffmpeg: %v", err)
	}
	if got := r.story(); !strings.HasPrefix(got, "connecting ") || !strings.Contains(got, "live waiting:lost") || !strings.HasSuffix(got, "live closed") {
		t.Errorf("phases: %s", got)
	}
	if out, err := exec.Command("ffmpeg", "-v", "error", "-i", second.file, "-f", "null", "-").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("ffmpeg: %v\n%s", err, out)
	}
	time0, end := 0.0, 0.0
	for i, l := range []*srtListener{first, second} {
		var video, sound int
		for _, p := range l.packets(t) {
			f := strings.Split(p, ",")
			var at float64
			fmt.Sscan(f[1], &at)
			if f[0] == "video" {
				if video == 0 && !strings.HasPrefix(f[2], "K") {
					t.Errorf("session %d does not begin with a key frame: %s", i, p)
				}
				if video == 0 {
					time0 = at
				}
				video++
			} else {
				sound++
			}
			if i == 0 {
				end = max(end, at)
			}
		}
		if video < 30 || sound < 90 {
			t.Errorf("session %d: %d pictures, %d sounds", i, video, sound)
		}
	}
	if time0 <= end {
		t.Errorf("the second session begins at %.3f s, the first ended at %.3f s", time0, end)
	}
}

// What is wrong with an SRT destination, in words.
func TestPushSRTReasons(t *testing.T) {
	guard := rtmp.Options{Control: func(string, string, syscall.RawConn) error { return errors.New("private") }}
	closed := fmt.Sprintf("srt://127.0.0.1:%d?streamid=%s", udpPort(t), pushKey)
	for _, c := range []struct {
		name string
		url  func(t *testing.T) string
		dial rtmp.Options
		want string
	}{
		{"refused", func(*testing.T) string { return closed }, rtmp.Options{}, "refused"},
		{"guarded", func(*testing.T) string { return closed }, guard, "forbidden"},
		{"wrong passphrase", func(t *testing.T) string {
			port := udpPort(t)
			startSRT(t, port, "&passphrase=anotherone1")
			return fmt.Sprintf("srt://127.0.0.1:%d?passphrase=%s", port, pushKey)
		}, rtmp.Options{}, "rejected (1010 wrong passphrase)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			r := runPush(t, PushConfig{URL: c.url(t), Video: true, Dial: c.dial})
			testkit.Eventually(t, "the reason", func() bool { return strings.Contains(r.story(), "waiting:"+c.want) })
		})
	}
}

// Sound alone goes over SRT too.
func TestPushSRTSound(t *testing.T) {
	testkit.NoLeaks(t)
	port := udpPort(t)
	aus, audio := pushUnits(t)
	l := startSRT(t, port, "")
	r := runPush(t, PushConfig{URL: fmt.Sprintf("srt://127.0.0.1:%d", port), Audio: audio})
	var sound []*media.AccessUnit
	for _, au := range aus {
		if au.Codec == media.AAC {
			sound = append(sound, au)
		}
	}
	feed(t, r.Push, sound)
	testkit.Eventually(t, "three seconds", func() bool { return r.State().Bytes > 20_000 })
	r.stop(t)
	if err := l.Wait(); err != nil {
		t.Errorf("ffmpeg: %v", err)
	}
	if got := l.packets(t); len(got) < 50 {
		t.Errorf("%d packets of sound", len(got))
	}
}

// Another form of the stream, as when a publisher comes back with a microphone,
// begins each push anew; the URL's timestamps go on.
func TestOutletFormChangeGoesOn(t *testing.T) {
	testkit.NoLeaks(t)
	origin := startOrigin(t)
	aus, audio := pushUnits(t)
	o := newOutlet(slog.New(slog.DiscardHandler))
	spec := &Spec{URLs: []string{origin.url}}
	var pts time.Duration
	play := func(session int) {
		t.Helper()
		testkit.Eventually(t, "media", func() bool {
			for _, au := range aus[:40] { // a third of a second for each, as fast as it goes
				au := *au
				au.PTS += pts
				o.write(&au, nil, 0)
			}
			pts += 2 * time.Second
			origin.mu.Lock()
			defer origin.mu.Unlock()
			return len(origin.sessions) > session && len(origin.sessions[session].got()) > 100
		})
	}
	o.set(spec, "", form{video: true}, func() {})
	play(0)
	o.set(spec, "", form{video: true, rate: audio.SampleRate, channels: audio.Channels}, func() {})
	play(1)
	o.close()
	nextSession(t, origin, 1)
	o.set(&Spec{URLs: []string{origin.url + "&other"}}, "", form{}, nil)
	if o.lines[origin.url] != nil {
		t.Error("the time of a URL that the task has given up is kept")
	}
	o.close()
}
