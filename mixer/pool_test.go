package mixer

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"braid/media"
	"braid/media/h264"
	"braid/mixer/wire"
)

// buildWorker builds the real worker program.
func buildWorker(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "braid-mixer")
	cmd := exec.Command("go", "build", "-o", name, "braid/cmd/braid-mixer")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the worker: %v\n%s", err, out)
	}
	return name
}

// player is a track that plays pictures of ffmpeg's, made into RTP as a browser
// would, in real time, with a key frame each second.
type player struct {
	pictures [][]byte // Annex B

	mu    sync.Mutex
	to    map[media.Receiver]bool
	asked int
	done  chan struct{}
}

func newPlayer(t *testing.T, source string) *player {
	t.Helper()
	name := filepath.Join(t.TempDir(), "v.h264")
	cmd := exec.Command("ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", source, "-t", "2", "-pix_fmt", "yuv420p",
		"-c:v", "libx264", "-profile:v", "baseline", "-preset", "ultrafast", "-g", "30", "-x264-params", "slices=1:aud=1", "-f", "h264", name)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	file, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	p := &player{to: make(map[media.Receiver]bool), done: make(chan struct{})}
	var units [][]byte
	for _, u := range h264.SplitAnnexB(nil, file) {
		if h264.Type(u) == 9 && len(units) > 0 { // an access unit delimiter begins the next picture
			p.pictures = append(p.pictures, h264.AppendAnnexB(nil, units))
			units = nil
		}
		units = append(units, u)
	}
	return p
}

// play runs until the test ends.
func (p *player) play(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		pack := rtp.NewPacketizer(1200, 96, 1, &codecs.H264Payloader{}, rtp.NewFixedSequencer(65500), 90000)
		tick := time.NewTicker(time.Second / 30)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for _, r := range pack.Packetize(p.pictures[n%len(p.pictures)], 3000) {
				p.send(&media.Packet{Seq: r.SequenceNumber, Timestamp: r.Timestamp, Marker: r.Marker, Payload: r.Payload, Arrival: time.Now(), Level: -1})
			}
		}
	}()
}

func (p *player) send(packet *media.Packet) {
	p.mu.Lock()
	to := slices.Collect(maps.Keys(p.to))
	p.mu.Unlock()
	for _, r := range to { // which may ask for a key frame
		r.Receive(packet)
	}
}

func (p *player) Channels() int { return 1 }

func (p *player) Codec() media.Codec                 { return media.H264 }
func (p *player) Report() (media.SenderReport, bool) { return media.SenderReport{}, false }
func (p *player) Done() <-chan struct{}              { return p.done }

func (p *player) RequestKeyFrame() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
}

func (p *player) Attach(r media.Receiver) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to[r] = true
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.to, r)
	}
}

// room is a channel whose users a test sets.
type room struct {
	mu      sync.Mutex
	users   []*media.User
	changed chan struct{}
}

func newRoom(users ...*media.User) *room { return &room{users: users, changed: make(chan struct{})} }

func (r *room) set(users ...*media.User) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users = users
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *room) Users() []*media.User {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.users
}

func (r *room) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

func (r *room) Channel(_, name string) (media.Channel, bool) { return r, name == "room" }
func (r *room) ChannelsChanged() <-chan struct{}             { return nil }

// collector keeps what a mix emits.
type collector struct {
	mu    sync.Mutex
	units []*Unit
}

func (c *collector) emit(u *Unit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.units = append(c.units, u)
}

// until waits until some unit from number from on pleases, and gives all units so far.
func (c *collector) until(t *testing.T, what string, from int, ok func(*Unit) bool) []*Unit {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		c.mu.Lock()
		units := c.units[:len(c.units):len(c.units)]
		c.mu.Unlock()
		for _, u := range units[min(from, len(units)):] {
			if ok(u) {
				return units
			}
		}
		select {
		case <-deadline:
			t.Fatalf("%s: not within 30 s, %d units came", what, len(units))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func seenUsers(u *Unit) (users string) {
	for _, s := range u.Seen {
		if s.User != nil {
			users += s.User.User
		} else {
			users += "-"
		}
	}
	return users
}

func testMix(t *testing.T, r *room) (*Pool, *Mix, *collector) {
	pool := NewPool(Config{Program: buildWorker(t), MaxWidth: 1920, MaxHeight: 1088, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	t.Cleanup(pool.Close)
	c := new(collector)
	m := pool.NewMix(MixConfig{
		App: "app", Channel: "room", Channels: r, Emit: c.emit, Failed: func(s string) { t.Errorf("failed: %s", s) },
		Plan: Plan{
			Panes:  []Pane{{W: 0.5, H: 1}, {X: 0.5, W: 0.5, H: 1}},
			Encode: wire.Encode{Width: 320, Height: 180, FPS: 30, VideoKbps: 500, GOP: 60, Profile: "baseline", SampleRate: 48000, Channels: 2, AudioKbps: 64},
		},
	})
	t.Cleanup(m.Close)
	return pool, m, c
}

// TestMixFollowsUsersAndOutlivesWorker: people come and go, the plan changes,
// the worker is killed; units go on, in order, and always say who is seen.
func TestMixFollowsUsersAndOutlivesWorker(t *testing.T) {
	a, b := newPlayer(t, "testsrc2=size=320x180:rate=30"), newPlayer(t, "mandelbrot=size=320x180:rate=30")
	a.play(t)
	b.play(t)
	ann, bob := &media.User{ID: "a", Video: a}, &media.User{ID: "b", Video: b}
	r := newRoom(ann)
	pool, m, c := testMix(t, r)
	big := func(u *Unit) bool { return u.Codec == media.H264 && !u.Key && u.Size() > 300 } // a moving picture, not black

	c.until(t, "ann alone", 0, func(u *Unit) bool { return seenUsers(u) == "a-" && big(u) })
	r.set(ann, bob)
	c.until(t, "bob too", 0, func(u *Unit) bool { return seenUsers(u) == "ab" && big(u) })
	r.set(bob)
	units := c.until(t, "bob alone", 0, func(u *Unit) bool { return seenUsers(u) == "b-" && big(u) })

	n := len(units)
	pool.mu.Lock()
	w := pool.workers["app/room"]
	pool.mu.Unlock()
	if err := syscall.Kill(int(w.pid.Load()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.until(t, "after the worker was killed", n, func(u *Unit) bool {
		return w.restarts.Load() == 1 && seenUsers(u) == "b-" && big(u)
	})
	if s := pool.Detail(); s.Mixes != 1 || len(s.Workers) != 1 || s.Workers[0].PID == 0 || s.Restarts["died"] != 1 || s.Late.Count == 0 || s.Late.Sum/time.Duration(s.Late.Count) > 5*time.Second {
		t.Errorf("got %+v, want one mix by one process in place of one that died, and its pictures' ages", s)
	}

	plan := m.cfg.Plan
	plan.Panes = []Pane{{W: 1, H: 1, User: &UserRef{User: "b", Source: media.Camera}}}
	m.Update(plan)
	c.until(t, "after the update", 0, func(u *Unit) bool { return seenUsers(u) == "b" })
	n = len(c.units)
	plan.Encode.Width, plan.Encode.Height = 160, 90
	m.Update(plan)
	units = c.until(t, "another size", n, func(u *Unit) bool {
		for _, nal := range u.Units {
			if h264.Type(nal) == 7 {
				sps, err := h264.ParseSPS(nal)
				return err == nil && sps.Width == 160 && sps.Height == 90
			}
		}
		return false
	})
	last := map[media.Codec]time.Duration{}
	revision := uint32(0)
	for i, u := range units {
		if prev, ok := last[u.Codec]; ok && u.PTS <= prev {
			t.Errorf("unit %d, %s: %v after %v", i, u.Codec, u.PTS, prev)
		}
		last[u.Codec] = u.PTS
		if u.Codec == media.H264 {
			if u.Revision < revision {
				t.Errorf("unit %d: revision %d after %d", i, u.Revision, revision)
			}
			revision = u.Revision
		}
	}
	a.mu.Lock()
	attached := len(a.to)
	a.mu.Unlock()
	if attached != 0 {
		t.Errorf("ann has left and %d readers are still attached to her track", attached)
	}
}

// TestHungWorker: a worker that lives and does nothing is started again, like one
// that died.
func TestHungWorker(t *testing.T) {
	t.Parallel()
	pool, _, c := testMix(t, newRoom())
	units := c.until(t, "a picture", 0, func(u *Unit) bool { return u.Codec == media.H264 })
	pool.mu.Lock()
	w := pool.workers["app/room"]
	pool.mu.Unlock()
	if err := syscall.Kill(int(w.pid.Load()), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	c.until(t, "a picture of another process", len(units), func(u *Unit) bool {
		return w.restarts.Load() == 1 && u.Codec == media.H264
	})
	if s := pool.Detail(); s.Restarts["hung"] != 1 || s.Restarts["died"] != 0 {
		t.Errorf("got the restarts %v, want one of a worker that hung", s.Restarts)
	}
}

// A worker that cannot be started is tried again, and closing does not wait for it.
func TestNoWorker(t *testing.T) {
	pool := NewPool(Config{Program: "/nonexistent/braid-mixer", Log: slog.New(slog.DiscardHandler)})
	m := pool.NewMix(MixConfig{App: "app", Channel: "room", Channels: newRoom(), Emit: func(*Unit) {}, Failed: func(string) {}})
	deadline := time.Now().Add(10 * time.Second)
	for _, restarts := pool.Stats(); restarts < 3; _, restarts = pool.Stats() {
		if time.Now().After(deadline) {
			t.Fatal("not tried three times within 10 s")
		}
		<-time.After(10 * time.Millisecond)
	}
	if s := pool.Detail(); s.Restarts["start"] < 3 || s.Workers[0].PID != 0 {
		t.Errorf("got %+v, want a worker without a process, and tries to start it", s)
	}
	m.Close()
	pool.Close()
}
