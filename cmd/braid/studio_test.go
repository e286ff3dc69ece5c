package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"braid/event"
	"braid/media/flv"
	"braid/origin"
	"braid/signaling/admin"
	"braid/store"
	"braid/store/storetest"
)

// hall is a studio with a real origin and a real store, in fake time.
type hall struct {
	*testing.T
	*studio
	db *store.DB
	o  *origin.Origin

	mu   sync.Mutex
	said []string
	runs []string
}

// newHall has the application "a" with a template "rec", "relays", which relays to
// the origin's own domain, "off", which would, and "none".
func newHall(t *testing.T) *hall {
	h := &hall{T: t, db: storetest.Open(t)}
	h.studio = newStudio(h.db, h.note, slog.New(slog.NewTextHandler(t.Output(), nil)))
	h.jobs[store.RecordKind] = func(ctx context.Context, w *work) error {
		v, err := h.o.Tap(w.App, w.Name)
		if err != nil {
			return err
		}
		defer v.Close()
		return h.watch(ctx, w, v)
	}
	h.o = origin.New(origin.Config{Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Changed: h.changed})
	h.attach(h.o)
	relays := store.RelaySettings{Enabled: true, Single: true, AppName: "live"}
	h.update(func(tx *store.Tx) error {
		for id, r := range map[string]store.RelaySettings{"a": {}, "relays": relays, "off": {AppName: "live"}, "none": {}} {
			if err := tx.CreateApplication(&store.Application{ID: id, Relay: r}); err != nil {
				return err
			}
		}
		return tx.CreateTemplate(recordTemplate("a", "rec"))
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); h.run(ctx) }()
	t.Cleanup(func() {
		h.o.Close()
		cancel()
		<-ended
	})
	synctest.Wait()
	return h
}

func recordTemplate(app, id string) *store.Template {
	return &store.Template{App: app, ID: id, AppName: "live", Kind: store.RecordKind,
		Record: &store.RecordTemplate{Format: []string{store.TS}, SegmentSeconds: 60, Name: store.DefaultRecordName}}
}

// watch is a job that reads until the stream ends.
func (h *hall) watch(ctx context.Context, w *work, v *origin.Viewer) error {
	h.noteRun(fmt.Sprintf("%s/%s on %s v%d", w.Template.App, w.Template.ID, w.Name, w.Template.Version))
	w.Tell(event.RecordStarted, nil, "")
	for {
		if _, err := v.Next(ctx); err != nil {
			if err == io.EOF || ctx.Err() != nil {
				w.Tell(event.RecordEnded, nil, "")
				return nil
			}
			return err
		}
	}
}

func (h *hall) update(f func(*store.Tx) error) {
	h.Helper()
	if err := h.db.Update(context.Background(), f); err != nil {
		h.Fatal(err)
	}
}

func (h *hall) note(events ...event.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		h.said = append(h.said, e.App+" "+string(e.Type)+" "+e.Subject())
	}
	if err := h.db.Update(context.Background(), func(tx *store.Tx) error { return tx.Append(events...) }); err != nil {
		h.Error(err) // every event is one that the store takes
	}
}

func (h *hall) noteRun(s string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.runs = append(h.runs, s)
}

// expect waits until nothing more happens and compares what was told since the
// last time, in any order between applications.
func (h *hall) expect(what string, want ...string) {
	h.Helper()
	synctest.Wait()
	h.mu.Lock()
	got := h.said
	h.said = nil
	h.mu.Unlock()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		h.Errorf("%s: told\n%q, want\n%q", what, got, want)
	}
}

func (h *hall) expectRuns(what string, want ...string) {
	h.Helper()
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.runs, want) {
		h.Errorf("%s: jobs were %q, want %q", what, h.runs, want)
	}
	h.runs = nil
}

func (h *hall) publish(p origin.Publisher) *origin.Ingest {
	h.Helper()
	in, err := h.o.PublishAs(p)
	if err != nil {
		h.Fatal(err)
	}
	synctest.Wait()
	return in
}

// change writes a template.
func (h *hall) change(app, id string, f func(*store.Template)) {
	h.Helper()
	h.update(func(tx *store.Tx) error {
		t, err := tx.Template(app, id)
		if err != nil {
			return err
		}
		f(&t)
		return tx.UpdateTemplate(&t)
	})
	h.TemplatesChanged()
}

func (h *hall) job() admin.Job {
	h.Helper()
	synctest.Wait()
	all := h.OnAir()
	if len(all) != 1 || len(all[0].Jobs) != 1 {
		h.Fatalf("on air: %+v, want one stream with one job", all)
	}
	return all[0].Jobs[0]
}

// TestStudioTellsWhomItConcerns: templates and relay settings that are on name a
// stream by domain and AppName; a publisher who comes back in time ends nothing.
func TestStudioTellsWhomItConcerns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		h.update(func(tx *store.Tx) error { return tx.CreateDomain(&store.Domain{Name: "d.example.com"}) })
		in := h.publish(origin.Publisher{App: "live", Name: "cam", Remote: "10.0.0.1:5"})
		h.expect("a stream comes", "a StreamStarted live/cam", "relays StreamStarted live/cam", "a RecordStarted live/cam")
		h.publish(origin.Publisher{App: "other", Name: "cam"})
		h.publish(origin.Publisher{App: "live", Name: "elsewhere", Domain: "d.example.com"})
		h.publish(origin.Publisher{App: "live", Name: "cam_720p", Source: "cam"})
		h.expect("streams of another AppName, another domain, a rendition")

		in.Close()
		time.Sleep(3 * time.Second)
		in = h.publish(origin.Publisher{App: "live", Name: "cam"})
		h.expect("its publisher comes back")
		in.Close()
		time.Sleep(6 * time.Second)
		h.expect("it ends", "a RecordEnded live/cam", "a StreamEnded live/cam", "relays StreamEnded live/cam")

		h.update(func(tx *store.Tx) error {
			left, err := tx.PresentStreams()
			if len(left) != 0 {
				t.Errorf("the log has %v on air", left)
			}
			return err
		})
	})
}

// TestStudioFollowsTemplates: one that is made, changed, disabled or deleted while
// a stream is on air.
func TestStudioFollowsTemplates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		h.publish(origin.Publisher{App: "live", Name: "cam"})
		h.expectRuns("at first", "a/rec on cam v1")
		h.TemplatesChanged()
		h.expectRuns("nothing has changed")
		h.change("a", "rec", func(t *store.Template) { t.Record.SegmentSeconds = 70 })
		h.expectRuns("changed", "a/rec on cam v2")
		if j := h.job(); j.State != "running" || j.Application != "a" || j.Template != "rec" || j.Kind != store.RecordKind {
			t.Errorf("job is %+v", j)
		}
		h.change("a", "rec", func(t *store.Template) { t.Disabled = true })
		h.expectRuns("disabled")
		if on := h.OnAir(); len(on) != 1 || len(on[0].Jobs) != 0 {
			t.Errorf("on air: %+v", on)
		}
		h.change("a", "rec", func(t *store.Template) { t.Disabled = false })
		h.expectRuns("enabled", "a/rec on cam v4")
		h.expect("up to now", "a StreamStarted live/cam", "relays StreamStarted live/cam",
			"a RecordStarted live/cam", "a RecordEnded live/cam", "a RecordStarted live/cam", "a RecordEnded live/cam", "a RecordStarted live/cam")

		h.update(func(tx *store.Tx) error {
			time.Sleep(time.Millisecond)
			if err := tx.DeleteTemplate("a", "rec"); err != nil {
				return err
			}
			again := recordTemplate("a", "rec")
			if err := tx.CreateTemplate(again); err != nil {
				return err
			}
			for range 3 { // so that it is at its fourth version, too
				if err := tx.UpdateTemplate(again); err != nil {
					return err
				}
			}
			return nil
		})
		h.TemplatesChanged()
		h.expectRuns("made anew", "a/rec on cam v4")
		h.expect("made anew", "a RecordEnded live/cam", "a RecordStarted live/cam")

		disable := func(off bool) {
			h.update(func(tx *store.Tx) error {
				app, err := tx.Application("a")
				if err != nil {
					return err
				}
				app.Disabled = off
				return tx.UpdateApplication(&app)
			})
			h.TemplatesChanged()
		}
		disable(true)
		h.expect("its application is disabled", "a RecordEnded live/cam")
		disable(false)
		h.expectRuns("and enabled", "a/rec on cam v4")
		h.expect("and enabled", "a RecordStarted live/cam")

		h.update(func(tx *store.Tx) error { return tx.CreateTemplate(recordTemplate("none", "new")) })
		h.TemplatesChanged()
		h.expect("one more application", "none StreamStarted live/cam", "none RecordStarted live/cam")
		h.update(func(tx *store.Tx) error { return tx.DeleteTemplate("a", "rec") })
		h.TemplatesChanged()
		h.expect("the first one's is deleted", "a RecordEnded live/cam")
		h.o.Close()
		h.expect("the end, for all who knew of the start", "a StreamEnded live/cam", "none RecordEnded live/cam", "none StreamEnded live/cam", "relays StreamEnded live/cam")
	})
}

// TestStudioTriesAgain: a job that fails is begun again after a second, two, four,
// up to a minute, more or less, until it works or its stream has ended.
func TestStudioTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		var mu sync.Mutex
		var at []time.Time
		broken := true
		h.jobs[store.RecordKind] = func(ctx context.Context, w *work) error {
			mu.Lock()
			at = append(at, time.Now())
			fail := broken
			mu.Unlock()
			if fail {
				return errors.New("no space left")
			}
			select {
			case <-w.Gone:
			case <-ctx.Done():
			}
			return nil
		}
		in := h.publish(origin.Publisher{App: "live", Name: "cam"})
		if j := h.job(); j.State != "waiting" || j.Failures != 1 || j.Error != "no space left" || j.Failed == nil {
			t.Errorf("after its first failure: %+v", j)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		mu.Lock()
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			if got := at[i+1].Sub(at[i]).Seconds(); got < float64(want)*0.79 || got > float64(want)*1.21 {
				t.Errorf("wait %d was %.1f s, want about %d", i+1, got, want)
			}
		}
		n := len(at)
		broken = false
		mu.Unlock()
		time.Sleep(2 * time.Minute)
		if j := h.job(); j.State != "running" || len(at) != n+1 || j.Error != "no space left" {
			t.Errorf("when it works again: %+v after %d attempts", j, len(at)-n)
		}
		in.Close()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if on := h.OnAir(); len(on) != 0 || len(at) != n+1 {
			t.Errorf("after the end: %+v, %d attempts", on, len(at)-n)
		}
	})
}

// TestStudioTrouble: what goes wrong while a job goes on is shown until it is over.
func TestStudioTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		trouble := make(chan string)
		h.jobs[store.RecordKind] = func(ctx context.Context, w *work) error {
			for {
				select {
				case reason := <-trouble:
					w.Trouble(reason)
				case <-w.Gone:
					return nil
				}
			}
		}
		h.publish(origin.Publisher{App: "live", Name: "cam"})
		trouble <- "the bucket is gone"
		if j := h.job(); j.State != "running" || j.Error != "the bucket is gone" || j.Failed == nil {
			t.Errorf("got %+v", j)
		}
		trouble <- ""
		if j := h.job(); j.Error != "" || j.Failed != nil {
			t.Errorf("got %+v", j)
		}
	})
}

// TestStudioWaitsForTheStore: while the store does not answer, streams come and go
// unhindered; who is on air when it answers again is told.
func TestStudioWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		sick := &sickStore{viewer: h.db, sick: true}
		h.mu.Lock() // run is idle
		h.studio.db = sick
		h.mu.Unlock()
		h.publish(origin.Publisher{App: "live", Name: "short"}).Close()
		in := h.publish(origin.Publisher{App: "live", Name: "cam"})
		defer in.Close()
		time.Sleep(time.Minute)
		h.expect("the store is away")
		sick.set(false)
		time.Sleep(studioTick)
		h.expect("it is back", "a StreamStarted live/cam", "relays StreamStarted live/cam", "a RecordStarted live/cam")
	})
}

type sickStore struct {
	viewer
	mu   sync.Mutex
	sick bool
}

func (s *sickStore) set(sick bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sick = sick
}

func (s *sickStore) View(ctx context.Context, f func(*store.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sick {
		return errors.New("the disk is full")
	}
	return s.viewer.View(ctx, f)
}

// TestStudioEnds: at the end jobs finish what they have, and one that does not is
// cancelled after jobGrace.
func TestStudioEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		h.jobs[store.SnapshotKind] = func(ctx context.Context, w *work) error {
			<-ctx.Done()
			return ctx.Err()
		}
		h.update(func(tx *store.Tx) error {
			return tx.CreateTemplate(&store.Template{App: "a", ID: "shots", AppName: "live", Kind: store.SnapshotKind,
				Snapshot: &store.SnapshotTemplate{IntervalSeconds: 1, Name: store.DefaultSnapshotName}})
		})
		other := newStudio(h.db, h.note, h.log)
		other.jobs = h.jobs
		other.attach(h.o)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan time.Time)
		go func() { other.run(ctx); ended <- time.Now() }()
		other.changed(origin.Change{App: "live", Name: "cam", On: true, Time: time.Now()})
		h.publish(origin.Publisher{App: "live", Name: "cam"})
		synctest.Wait()
		began := time.Now()
		cancel()
		if took := (<-ended).Sub(began); took != jobGrace {
			t.Errorf("run ended after %v, want %v", took, jobGrace)
		}
	})
}

// TestStudioShowsStreams: what GET /v1/streams has of a stream.
func TestStudioShowsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHall(t)
		in := h.publish(origin.Publisher{App: "live", Name: "cam", Remote: "10.0.0.1:5"})
		h.publish(origin.Publisher{App: "live", Name: "a", Source: "cam"})
		const each = 1000
		for i := range 100 { // 20 a second: 160 kbit/s
			in.WriteTag(&flv.Tag{Type: flv.Audio, Timestamp: uint32(i * 50), Payload: append([]byte{0xaf, 1}, make([]byte, each-2)...)})
			time.Sleep(50 * time.Millisecond)
		}
		synctest.Wait()
		all := h.OnAir()
		if len(all) != 2 || all[0].Name != "a" || all[0].Source != "cam" || len(all[0].Jobs) != 0 {
			t.Fatalf("got %+v", all)
		}
		cam := all[1]
		if cam.BytesIn != 100*each || cam.Bitrate < 140_000 || cam.Bitrate > 180_000 || cam.Remote != "10.0.0.1:5" || len(cam.Jobs) != 1 {
			t.Errorf("got %+v, want about 160 kbit/s", cam)
		}
	})
}
