package relay

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"braid/media"
	"braid/mixer"
)

// silent is a track that sends nothing.
type silent struct {
	codec media.Codec
	done  chan struct{}
}

func (t *silent) Channels() int { return 1 }

func (t *silent) Codec() media.Codec                 { return t.codec }
func (t *silent) Attach(media.Receiver) func()       { return func() {} }
func (t *silent) RequestKeyFrame()                   {}
func (t *silent) Report() (media.SenderReport, bool) { return media.SenderReport{}, false }
func (t *silent) Done() <-chan struct{}              { return t.done }

// stage is a channel with one user, whose tracks a test sets between two calls.
type stage struct{ user media.User }

func (s *stage) Channel(_, _ string) (media.Channel, bool) { return s, true }
func (s *stage) ChannelsChanged() <-chan struct{}          { return nil }
func (s *stage) Changed() <-chan struct{}                  { return nil }
func (s *stage) Users() []*media.User                      { u := s.user; return []*media.User{&u} }

// TestSingleFollowsTracks: the form says what a stream is made of, and nothing that
// does not come: players would wait for it. What was there and is gone for a moment
// stays in it. The volume of a microphone that was switched off is not told on.
func TestSingleFollowsTracks(t *testing.T) {
	synctest.Test(t, testSingleFollowsTracks)
}

func testSingleFollowsTracks(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	pool := mixer.NewPool(mixer.Config{Program: "/nonexistent", Log: log})
	defer pool.Close()
	st := &stage{media.User{ID: "ann"}}
	var woken atomic.Int32
	s := &single{cfg: Config{Channels: st, Mixer: pool, Log: log}, out: newOutlet(log), wake: func() { woken.Add(1) }}
	defer s.close()
	audio := &silent{media.Opus, make(chan struct{})}
	video, vp8 := &silent{media.H264, make(chan struct{})}, &silent{media.VP8, make(chan struct{})}
	spec := single1("t1", "rtmp://127.0.0.1:1/a/1")
	both := form{video: true, rate: singleRate, channels: 1}
	soundOnly := form{rate: singleRate, channels: 1}
	picturesOnly := form{video: true}
	for i, step := range []struct {
		audio, video media.Track
		after        time.Duration // since the step before
		want         form
		woken        int32
	}{
		{nil, nil, 0, form{}, 0},
		{nil, video, 0, picturesOnly, 0},
		{audio, video, 0, both, 0},
		{nil, video, 0, both, 0},
		{nil, video, goneFor - 1, both, 0},
		{audio, video, 0, both, 0},
		{nil, vp8, goneFor, both, 1}, // the timer of the absence before; this one has just begun
		{nil, vp8, goneFor, picturesOnly, 2},
		{audio, nil, time.Minute, both, 2},
		{nil, nil, time.Second, form{}, 2},
		{audio, nil, time.Second, soundOnly, 3},
		{audio, vp8, 0, both, 3},
	} {
		time.Sleep(step.after) // in synctest's time
		synctest.Wait()
		st.user.Audio, st.user.Video = step.audio, step.video
		if got := s.apply(spec); got != step.want || woken.Load() != step.woken {
			t.Errorf("step %d: form %+v, woken %d times, want %+v, %d", i, got, woken.Load(), step.want, step.woken)
		}
		if step.audio == nil && step.video != nil {
			if vol := s.streams()[0].Vol; vol != 0 {
				t.Errorf("step %d: volume %d without a microphone", i, vol)
			}
		}
		if (s.audio != nil) != (step.audio != nil) || (s.video != nil) != (step.video != nil) {
			t.Errorf("step %d: reads %v, %v", i, s.audio, s.video)
		}
		if step.audio != nil {
			s.vol.Store(200) // the microphone is loud
		}
	}
	only := *spec
	only.From.Type = AudioOnly
	if got := s.apply(&only); got != soundOnly {
		t.Errorf("a task that wants sound alone from now on: form %+v, want %+v", got, soundOnly)
	}
}

// TestSingleKeepsItsWorker: a camera that is switched on does not cut the sound by
// another worker process.
func TestSingleKeepsItsWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		pool := mixer.NewPool(mixer.Config{Program: "/nonexistent", Log: log})
		defer pool.Close()
		st := &stage{media.User{ID: "ann", Audio: &silent{media.Opus, make(chan struct{})}}}
		s := &single{cfg: Config{Channels: st, Mixer: pool, Log: log}, out: newOutlet(log)}
		defer s.close()
		s.apply(single1("t1", "rtmp://127.0.0.1:1/a/1"))
		time.Sleep(time.Minute) // in synctest's time: the worker was tried many times
		_, before := pool.Stats()
		st.user.Video = &silent{media.H264, make(chan struct{})}
		s.apply(single1("t1", "rtmp://127.0.0.1:1/a/1"))
		if _, after := pool.Stats(); before < 5 || after < before {
			t.Errorf("the worker was tried %d times before the camera came and %d times after: it is another one", before, after)
		}
	})
}

// Two goroutines may stop a task and change it at once.
func TestStopUpdateRace(t *testing.T) {
	s, r := newService(t)
	ctx := context.Background()
	r.set("room", "ann")
	for i := range 50 {
		spec := single1("t1", fmt.Sprint("rtmp://127.0.0.1:1/a/", i))
		if err := s.Start(ctx, spec); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				next := *spec
				next.SEI = &SEI{PayloadType: 100 + i}
				s.Update(ctx, &next) // ErrNotFound when it comes last
				s.SetSEI(ctx, "app", "t1", "x")
			})
		}
		wg.Go(func() { s.Stop(ctx, "app", "t1") })
		wg.Go(func() { s.Stop(ctx, "app", "t1") })
		wg.Wait()
	}
}
