package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"braid/media"
	"braid/media/packet"
)

const (
	// thumbFresh is how young a key frame has to be for nobody to be asked for
	// another: they cost a publisher, and all who watch it, bits.
	thumbFresh = 10 * time.Second
	thumbEvery = 5 * time.Second // between two that are asked for
	// thumbLinger is how long a track is read after the last one who asked: a page
	// that shows thumbnails asks again every few seconds.
	thumbLinger = 15 * time.Second
	thumbWithin = 6 * time.Second // for a first key frame
	// The smallest layer that fills this is read: a thumbnail is about so large.
	thumbWidth, thumbHeight = 160, 90
)

// thumbs makes small pictures of what users and tasks send, for those who look at
// the console. A user's track is read only while somebody asks, in its smallest
// layer; of one key frame one JPEG of each width is made, whoever asks.
type thumbs struct {
	channels media.Channels
	task     func(app, task string) (*media.AccessUnit, time.Time, error)
	jpeg     func(ctx context.Context, codec media.Codec, keyFrame *media.AccessUnit, width int) ([]byte, error)
	log      *slog.Logger
	ctx      context.Context // ends with close
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu     sync.Mutex
	closed bool
	tracks map[media.Track]*thumbTrack
	tasks  map[[2]string]*thumbFiles // by application and task
}

func newThumbs(channels media.Channels, task func(app, task string) (*media.AccessUnit, time.Time, error),
	jpeg func(context.Context, media.Codec, *media.AccessUnit, int) ([]byte, error), log *slog.Logger) *thumbs {
	t := &thumbs{channels: channels, task: task, jpeg: jpeg, log: log, tracks: make(map[media.Track]*thumbTrack), tasks: make(map[[2]string]*thumbFiles)}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// close ends all reading and waits for it.
func (t *thumbs) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.wg.Wait()
}

// User implements admin.Pictures.
func (t *thumbs) User(ctx context.Context, app, channel, user string, source media.Source, width int) ([]byte, time.Time, error) {
	track, err := t.find(app, channel, user, source)
	if err != nil {
		return nil, time.Time{}, err
	}
	w := t.watch(track)
	if w == nil {
		return nil, time.Time{}, fmt.Errorf("thumbnail: %w", media.ErrClosed)
	}
	files, err := w.newest(ctx)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("user %q: %w", user, err)
	}
	file, err := files.get(ctx, t, width)
	return file, files.taken, err
}

func (t *thumbs) find(app, channel, user string, source media.Source) (media.Track, error) {
	c, ok := t.channels.Channel(app, channel)
	if !ok {
		return nil, fmt.Errorf("channel %q is not open: %w", channel, media.ErrNotFound)
	}
	for _, u := range c.Users() {
		if u.ID != user {
			continue
		}
		if track := u.VideoTrack(source); track != nil {
			return track, nil
		}
		return nil, fmt.Errorf("user %q sends no picture of its %s: %w", user, source, media.ErrNotFound)
	}
	return nil, fmt.Errorf("user %q is not in channel %q: %w", user, channel, media.ErrNotFound)
}

// Task implements admin.Pictures.
func (t *thumbs) Task(ctx context.Context, app, task string, width int) ([]byte, time.Time, error) {
	au, made, err := t.task(app, task)
	if err != nil {
		return nil, time.Time{}, err
	}
	t.mu.Lock()
	key := [2]string{app, task}
	files := t.tasks[key]
	if files == nil || files.au != au {
		for k, f := range t.tasks { // those that nobody asks for any more
			if time.Since(f.begun) > thumbLinger {
				delete(t.tasks, k)
			}
		}
		files = newThumbFiles(au, made)
		t.tasks[key] = files
	}
	t.mu.Unlock()
	file, err := files.get(ctx, t, width)
	return file, files.taken, err
}

// watch gives the reading of a track, begun if need be; nil after close.
func (t *thumbs) watch(track media.Track) *thumbTrack {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	w := t.tracks[track]
	if w == nil {
		w = &thumbTrack{track: track, wanted: time.Now(), came: make(chan struct{}), ended: make(chan struct{})}
		t.tracks[track] = w
		t.wg.Go(func() {
			w.run(t.ctx)
			t.mu.Lock()
			delete(t.tracks, track)
			t.mu.Unlock()
			close(w.ended)
		})
	}
	return w
}

// thumbTrack reads a track for as long as somebody asks for its picture.
type thumbTrack struct {
	track media.Track
	ended chan struct{} // closed when it is read no more

	mu     sync.Mutex
	wanted time.Time     // when somebody asked last
	asked  time.Time     // when the publisher was asked for a key frame
	files  *thumbFiles   // of the newest key frame; nil before it
	came   chan struct{} // closed with the first
}

// run returns when nobody has asked for a while, with the track, or with ctx.
func (w *thumbTrack) run(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	r := &packet.Reader{
		Track: w.calm(), Clock: new(media.Clock).Track(w.track.Codec().ClockRate(), w.track.Report), Zero: time.Now(),
		Want: func() (int, int) { return thumbWidth, thumbHeight },
		Emit: func(au *media.AccessUnit, _ *packet.Frame) {
			if au.Key {
				w.see(au)
			}
		},
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		r.Run(ctx)
	}()
	idle := time.NewTimer(thumbLinger)
	defer idle.Stop()
	for {
		select {
		case <-read:
			return
		case <-idle.C:
		}
		left := w.left()
		if left <= 0 {
			stop()
			<-read
			return
		}
		idle.Reset(left)
	}
}

// left is how much longer the track is read if nobody asks.
func (w *thumbTrack) left() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Until(w.wanted.Add(thumbLinger))
}

// see takes a key frame.
func (w *thumbTrack) see(au *media.AccessUnit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.files == nil {
		close(w.came)
	}
	w.files = newThumbFiles(au, time.Now())
}

// newest is the newest key frame, the first one after a while.
func (w *thumbTrack) newest(ctx context.Context) (*thumbFiles, error) {
	w.mu.Lock()
	w.wanted = time.Now()
	files := w.files
	w.mu.Unlock()
	if files != nil {
		w.ask() // for the next time, if this one is old
		return files, nil
	}
	ctx, cancel := context.WithTimeout(ctx, thumbWithin)
	defer cancel()
	select {
	case <-w.came:
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.files, nil
	case <-w.ended:
		return nil, fmt.Errorf("it has stopped sending: %w", media.ErrNotFound)
	case <-ctx.Done():
		return nil, fmt.Errorf("no picture of it came within %v: %w", thumbWithin, media.ErrNotFound)
	}
}

// ask asks the publisher for a key frame if that helps.
func (w *thumbTrack) ask() {
	now := time.Now()
	w.mu.Lock()
	fresh := w.files != nil && now.Sub(w.files.taken) < thumbFresh
	if fresh || now.Sub(w.asked) < thumbEvery {
		w.mu.Unlock()
		return
	}
	w.asked = now
	w.mu.Unlock()
	w.track.RequestKeyFrame()
}

// calm is the track as the reader gets it, which would ask for key frames as one who
// wants to see everything does.
func (w *thumbTrack) calm() media.Track {
	if l, ok := w.track.(media.Layered); ok {
		return calmLayers{l, w}
	}
	return calmTrack{w.track, w}
}

type calmTrack struct {
	media.Track
	w *thumbTrack
}

func (t calmTrack) RequestKeyFrame() { t.w.ask() }

type calmLayers struct {
	media.Layered
	w *thumbTrack
}

func (t calmLayers) RequestKeyFrame() { t.w.ask() }

// thumbFiles are the JPEG files of one key frame.
type thumbFiles struct {
	au    *media.AccessUnit
	taken time.Time // when it arrived
	begun time.Time

	mu   sync.Mutex
	made map[int]*thumbFile // by width
}

// thumbFile is one; done is closed when file or err stands.
type thumbFile struct {
	done chan struct{}
	file []byte
	err  error
}

func newThumbFiles(au *media.AccessUnit, taken time.Time) *thumbFiles {
	return &thumbFiles{au: au, taken: taken, begun: time.Now(), made: make(map[int]*thumbFile)}
}

// get gives the file of a width, made by the first who asks. One that cannot be made
// is not tried again.
func (f *thumbFiles) get(ctx context.Context, t *thumbs, width int) ([]byte, error) {
	width = thumbStep(width)
	f.mu.Lock()
	one := f.made[width]
	first := one == nil
	if first {
		one = &thumbFile{done: make(chan struct{})}
		f.made[width] = one
	}
	f.mu.Unlock()
	if first {
		one.file, one.err = t.jpeg(t.ctx, f.au.Codec, f.au, width) // not the asker's context: others wait for it, too
		if one.err != nil {
			t.log.Info("no thumbnail", "codec", f.au.Codec, "bytes", f.au.Size(), "error", one.err)
			one.err = fmt.Errorf("%w: %w", media.ErrNotFound, one.err)
		}
		close(one.done)
	}
	select {
	case <-one.done:
		return one.file, one.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// thumbStep is the width that is made for one that is asked for: few, so that all who
// look share them.
func thumbStep(width int) int {
	for _, step := range []int{1280, 640, 320, 160} {
		if width >= step {
			return step
		}
	}
	return 80
}
