package relay

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"braid/event"
	"braid/internal/testkit"
	"braid/media"
	"braid/media/packet"
	"braid/media/rtmp"
	"braid/mixer"
	"braid/store"
)

// camera is a track that sends a recorded H.264 stream over and over, in real time.
type camera struct {
	mu   sync.Mutex
	to   map[media.Receiver]bool
	done chan struct{}
}

func newCamera(t *testing.T) *camera {
	c := &camera{to: make(map[media.Receiver]bool), done: make(chan struct{})}
	aus, _ := pushUnits(t)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { c.play(ctx, aus) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return c
}

func (c *camera) play(ctx context.Context, aus []*media.AccessUnit) {
	pack := packet.Packetizer{Codec: media.H264}
	const round = 2 * time.Second
	begin := time.Now()
	for n := 0; ; n++ {
		au := aus[n%len(aus)]
		pts := au.PTS + time.Duration(n/len(aus))*round
		if !sleep(ctx, time.Until(begin.Add(pts))) {
			return
		}
		if au.Codec != media.H264 {
			continue
		}
		c.mu.Lock()
		for _, p := range pack.Packetize(nil, au.Units, uint32(pts*90000/time.Second), time.Now()) {
			for r := range c.to {
				r.Receive(p)
			}
		}
		c.mu.Unlock()
	}
}

func (c *camera) Attach(r media.Receiver) (detach func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.to[r] = true
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.to, r)
	}
}

func (c *camera) Codec() media.Codec                 { return media.H264 }
func (c *camera) Channels() int                      { return 0 }
func (c *camera) RequestKeyFrame()                   {}
func (c *camera) Report() (media.SenderReport, bool) { return media.SenderReport{}, false }
func (c *camera) Done() <-chan struct{}              { return c.done }

// studioOrigin is an rtmp server that takes every stream that check lets pass.
type studioOrigin struct {
	url   string // rtmp://host:port
	check func(app, stream, query string) error

	mu     sync.Mutex
	conns  []net.Conn
	pushed map[string]*pushIngest // the newest of each app/stream?query
}

func newStudioOrigin(t *testing.T, check func(app, stream, query string) error) *studioOrigin {
	o := &studioOrigin{check: check, pushed: make(map[string]*pushIngest)}
	ctx, cancel := context.WithCancel(context.Background())
	url := listen(t, func(nc net.Conn) {
		o.mu.Lock()
		o.conns = append(o.conns, nc)
		o.mu.Unlock()
		rtmp.Serve(ctx, nc, o, slog.New(slog.DiscardHandler)) // its error is the client's matter
	})
	t.Cleanup(cancel)
	o.url = url[:strings.Index(url, "/live/")]
	return o
}

func (o *studioOrigin) Publish(r rtmp.Request) (rtmp.Ingest, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.check != nil {
		if err := o.check(r.App, r.Stream, r.Query); err != nil {
			return nil, err
		}
	}
	s := &pushIngest{}
	o.pushed[r.App+"/"+r.Stream+"?"+r.Query] = s
	return s, nil
}

func (o *studioOrigin) Play(rtmp.Request) (rtmp.Playback, error) {
	return nil, media.ErrNotFound
}

func (o *studioOrigin) cut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, nc := range o.conns {
		nc.Close()
	}
	o.conns = nil
}

// gets waits until a stream's pictures come, and gives it.
func (o *studioOrigin) gets(t *testing.T, stream string) (in *pushIngest) {
	t.Helper()
	testkit.Eventually(t, stream, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		for name, s := range o.pushed {
			if in = s; strings.HasPrefix(name, stream) && len(s.got()) > 2 {
				return true
			}
		}
		return false
	})
	return in
}

// studio is a service with one user, ann, who has a camera.
type studio struct {
	*Service
	db    *store.DB
	rooms *rooms
	logs  *pushRun // keeps what is logged
}

func newStudio(t *testing.T, change func(*Config)) *studio {
	return newStudioOn(t, newStore(t), change)
}

func newStudioOn(t *testing.T, db *store.DB, change func(*Config)) *studio {
	st := &studio{db: db, rooms: newRooms(), logs: &pushRun{}}
	st.rooms.publish("room", &media.User{ID: "ann", Video: newCamera(t)})
	log := slog.New(slog.NewTextHandler(st.logs, nil))
	pool := mixer.NewPool(mixer.Config{Program: "/nonexistent", Log: log})
	cfg := Config{Channels: st.rooms, Open: st.rooms.open, Mixer: pool, Store: st.db, Log: log}
	if change != nil {
		change(&cfg)
	}
	st.Service = New(cfg)
	t.Cleanup(func() {
		st.Close()
		pool.Close()
	})
	return st
}

// stories are the events of each task and URL, as "Playing" or "Failed 207".
func (s *studio) stories(t *testing.T) (all []string) {
	for _, e := range events(t, s.db) {
		w := strings.TrimPrefix(string(e.Type), "Relay") + " " + e.Relay.URL
		if e.Relay.Message != "" {
			w += " " + e.Relay.Message
		}
		all = append(all, strings.TrimSpace(w))
	}
	return all
}

func (s *studio) wait(t *testing.T, want ...string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		changed := s.db.Appended()
		got := s.stories(t)
		if reflect.DeepEqual(got, want) {
			return
		}
		if len(got) >= len(want) || time.Now().After(deadline) {
			t.Fatalf("events: got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		select {
		case <-changed:
		case <-time.After(time.Until(deadline)):
		}
	}
}

func videoTask(task string, urls ...string) *Spec {
	return &Spec{App: "app", Channel: "room", Task: task, Mode: Single, URLs: urls,
		From: UserRef{User: "ann", Type: VideoOnly, Source: media.Camera}}
}

// The events of a task are in the log in the order of what happened, each change
// once: from its start over a lost connection and another URL to its end.
func TestEventsInOrder(t *testing.T) {
	testkit.NoLeaks(t)
	one, two := newStudioOrigin(t, nil), newStudioOrigin(t, nil)
	s := newStudio(t, nil)
	a, b := one.url+"/live/"+pushKey, two.url+"/live/"+pushKey
	ctx := context.Background()
	if err := s.Start(ctx, videoTask("t1", a)); err != nil {
		t.Fatal(err)
	}
	s.wait(t, "Started", "Playing "+a)
	one.gets(t, "live/"+pushKey)
	if usage := s.Usage(); !reflect.DeepEqual(usage, []Usage{{"app", "room", "t1", "single_video"}}) {
		t.Errorf("usage: %+v", usage)
	}
	one.cut()
	lost := "Reconnecting " + a + " the connection was lost"
	s.wait(t, "Started", "Playing "+a, lost, "Playing "+a)
	if err := s.Update(ctx, videoTask("t1", a, b)); err != nil {
		t.Fatal(err)
	}
	s.wait(t, "Started", "Playing "+a, lost, "Playing "+a, "Updated", "Playing "+b)
	if err := s.Update(ctx, videoTask("t1", b)); err != nil {
		t.Fatal(err)
	}
	one.cut() // nobody is there any more
	if err := s.Stop(ctx, "app", "t1"); err != nil {
		t.Fatal(err)
	}
	s.wait(t, "Started", "Playing "+a, lost, "Playing "+a, "Updated", "Playing "+b, "Updated", "Stopped")
	if usage := s.Usage(); len(usage) != 0 {
		t.Errorf("usage after the end: %+v", usage)
	}
	s.Close()
	if strings.Contains(s.logs.logged(), pushKey) {
		t.Errorf("the log tells the stream's name:\n%s", s.logs.logged())
	}
	for i, e := range events(t, s.db) {
		if e.App != "app" || e.Channel != "room" || e.Relay.Task != "t1" || time.Since(e.Time) > time.Minute {
			t.Errorf("event %d: %+v", i, e)
		}
		if strings.Contains(e.Relay.Message, pushKey) {
			t.Errorf("event %d tells the stream's name in words: %s", i, e.Relay.Message)
		}
	}
}

// A URL that is refused by word has failed at once, and plays when it is taken.
func TestEventsOfARefusedURL(t *testing.T) {
	var mu sync.Mutex
	refuse := true
	o := newStudioOrigin(t, func(string, string, string) error {
		mu.Lock()
		defer mu.Unlock()
		if refuse {
			return errors.New("not you")
		}
		return nil
	})
	s := newStudio(t, nil)
	url := o.url + "/live/" + pushKey
	if err := s.Start(context.Background(), videoTask("t1", url)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the failure", func() bool { return len(s.stories(t)) == 2 })
	failed := s.stories(t)[1]
	if e := events(t, s.db)[1]; e.Type != event.RelayFailed || e.Relay.Code != CodeRejected || e.Relay.URL != url || strings.Contains(e.Relay.Message, pushKey) {
		t.Errorf("got %+v", e.Relay)
	}
	mu.Lock()
	refuse = false
	mu.Unlock()
	s.wait(t, "Started", failed, "Playing "+url)
}

// The guard is asked about every address, and its word is an event.
func TestGuard(t *testing.T) {
	o := newStudioOrigin(t, nil)
	s := newStudio(t, func(c *Config) {
		c.Control = func(_, address string, _ syscall.RawConn) error { return errors.New(address + " is private") }
	})
	url := o.url + "/live/x"
	if err := s.Start(context.Background(), videoTask("t1", url)); err != nil {
		t.Fatal(err)
	}
	s.wait(t, "Started", "Failed "+url+" the server may not connect to this address")
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.conns) > 0 {
		t.Error("a forbidden address was connected to")
	}
}

// An automatic stream goes to the application's domain, signed anew for each
// connection, and the events name the URL without the signature.
func TestAutoSignsURLs(t *testing.T) {
	var mu sync.Mutex
	var queries []string
	o := newStudioOrigin(t, func(app, stream, query string) error {
		mu.Lock()
		defer mu.Unlock()
		if app+"/"+stream != "show/app_room_ann_camera" {
			return nil
		}
		queries = append(queries, query)
		sign := strings.Split(strings.TrimPrefix(query, "auth_key="), "-")
		if len(sign) != 4 {
			return errors.New("not signed")
		}
		var at int64
		for _, c := range sign[0] {
			at = 10*at + int64(c-'0')
		}
		if age := time.Now().Unix() - at; age < 0 || age > 5 || query != "auth_key="+authKey("/show/app_room_ann_camera", at, "0", "0", "secretkey") {
			return errors.New("wrong signature")
		}
		return nil
	})
	s := newStudio(t, nil)
	update(t, s.db, func(tx *store.Tx) error {
		return tx.CreateDomain(&store.Domain{Name: "push.example", Ingest: o.url, AuthKey: "secretkey", Validity: time.Minute})
	})
	setRelay(t, s.db, store.RelaySettings{Enabled: true, Single: true, Domain: "push.example", AppName: "show"})
	resume(t, s.Service)
	url := o.url + "/show/app_room_ann_camera"
	s.wait(t, "Started", "Playing "+url)
	begin := time.Now().Unix()
	testkit.Eventually(t, "the next second", func() bool { return time.Now().Unix() > begin })
	o.cut()
	s.wait(t, "Started", "Playing "+url, "Reconnecting "+url+" the connection was lost", "Playing "+url)
	mu.Lock()
	defer mu.Unlock()
	if len(queries) != 2 || queries[0] == queries[1] {
		t.Errorf("signatures: %q", queries)
	}
	for _, q := range queries {
		if strings.Contains(s.logs.logged(), q) || strings.Contains(s.logs.logged(), "secretkey") {
			t.Error("the log tells a signature")
		}
	}
}

func TestClass(t *testing.T) {
	mix := func(w, h int) *Spec { return &Spec{Mode: Mix, Encode: Encode{Width: w, Height: h}} }
	video, sound := form{video: true, rate: 48000, channels: 2}, form{rate: 48000, channels: 2}
	for _, c := range []struct {
		spec *Spec
		form form
		want string
	}{
		{single1("t", "u"), video, "single_video"}, {single1("t", "u"), sound, "single_audio"},
		{&Spec{Mode: Mix}, sound, "audio"},
		{mix(640, 480), video, "480p"}, {mix(480, 640), video, "480p"}, {mix(642, 480), video, "720p"},
		{mix(1280, 720), video, "720p"}, {mix(720, 1280), video, "720p"}, {mix(1280, 722), video, "1080p"}, {mix(1920, 1920), video, "1080p"},
	} {
		if got := class(c.spec, c.form); got != c.want {
			t.Errorf("MixMode %d, %dx%d: got %s, want %s", c.spec.Mode, c.spec.Encode.Width, c.spec.Encode.Height, got, c.want)
		}
	}
}

// The URL that the settings have made is signed; one that a caller has given is
// dialled as it is.
func TestSignsItsOwnURLAlone(t *testing.T) {
	s, _ := newService(t)
	s.auto.keys.Store(&map[string]string{"d": "key"})
	spec := full()
	row, err := spec.row("", time.Time{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	auto, plain := newTask(s, spec, row, false), newTask(s, mixTask("t2", "rtmp://h/a/1"), row, false)
	if got := auto.sign(spec.Auto.URL); !strings.HasPrefix(got, spec.Auto.URL+"&auth_key=") {
		t.Errorf("the automatic URL: got %s", got)
	}
	for _, got := range []string{auto.sign("rtmp://h/a/2"), plain.sign("rtmp://h/a/2")} {
		if got != "rtmp://h/a/2" {
			t.Errorf("a caller's URL: got %s", got)
		}
	}
}

// A server that takes over from another goes on with its tasks' timestamps, each the
// task's age modulo 2^32 ms.
func TestTimestampsOverARestart(t *testing.T) {
	one, two, old := newStudioOrigin(t, nil), newStudioOrigin(t, nil), newStudioOrigin(t, nil)
	first := newStudio(t, nil)
	begin := time.Now()
	if err := first.Start(context.Background(), videoTask("t1", one.url+"/live/a")); err != nil {
		t.Fatal(err)
	}
	in := one.gets(t, "live/a")
	first.Close()
	from, end := checkSession(t, in.got())
	if age := time.Since(begin); time.Duration(end)*time.Millisecond > age+time.Second {
		t.Errorf("timestamps from %d to %d, and the task is %v old", from, end, age)
	}
	// Another, of a hundred days, and one more place for the first.
	spec := videoTask("t2", old.url+"/live/b")
	created := time.Now().AddDate(0, 0, -100)
	row, err := spec.row("", created, created)
	if err != nil {
		t.Fatal(err)
	}
	update(t, first.db, func(tx *store.Tx) error { return tx.CreateTask(row) })

	second := newStudioOn(t, first.db, nil)
	resume(t, second.Service)
	if err := second.Update(context.Background(), videoTask("t1", one.url+"/live/a", two.url+"/live/a")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the stream on the first origin again", func() bool {
		one.mu.Lock()
		defer one.mu.Unlock()
		return one.pushed["live/a?"] != in && len(one.pushed["live/a?"].got()) > 2
	})
	for _, o := range []*studioOrigin{one, two} {
		at, _ := checkSession(t, o.gets(t, "live/a").got())
		if age := time.Since(begin); at <= end || time.Duration(at)*time.Millisecond > age+time.Second {
			t.Errorf("after %d the timestamps go on at %d, and the task is %v old", end, at, age)
		}
	}
	at, _ := checkSession(t, old.gets(t, "live/b").got())
	age := uint32(time.Since(created).Milliseconds())
	if d := age - at; int32(d) < -1000 || d > 60_000 {
		t.Errorf("a task of a hundred days begins at %d, want about %d", at, age)
	}
}
