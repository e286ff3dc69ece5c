package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"braid/event"
	"braid/media"
	"braid/mixer"
	"braid/origin"
	records "braid/origin/record"
	"braid/relay"
	"braid/signaling/artc"
	"braid/store"
)

const (
	// cloudApp is the AppName of the streams that are only there to be recorded.
	// Nobody but the relay publishes there, and nobody plays.
	cloudApp = "rtc-recording"
	// cloudOf goes before the recording's id in the Template of its files.
	cloudOf = "cloud:"
	// cloudKept is how long a recording that has ended can be asked for. ARTC's
	// documents say 3 days.
	cloudKept = 90 * 24 * time.Hour
	// cloudTold is how long after its end a recording's callback is kept: what waits
	// is tried for 3 days and can then be sent again for 7.
	cloudTold = 11 * 24 * time.Hour
	// cloudNoted is how long after a recording's end was told it is noted that it was:
	// whoever is told has it in memory at first.
	cloudNoted = 5 * time.Second
	// localBucket is the OSSBucket that means this server's directory.
	localBucket = "local"
)

// cloud makes ARTC's cloud recordings: a relay task for the mix, or for each user,
// pushes into the origin, and what comes there under cloudApp is recorded. What was
// asked for is a file each in dir, so that it goes on after a restart, as relay
// tasks do.
//
//	Start ─→ file ─→ relay task ─ RTMP ─→ origin ─ changed ─→ record.Run, one for each format
//	             └─→ subscription ←─── events ←─── server.recorded ←──┘
//
// Whoever is to be told (NotifyUrl) is a subscription of the store: the events that
// name the recording go there.
type cloud struct {
	relay    cloudRelay
	calls    cloudCallbacks
	kept     func(app, task string) bool // a relay task is in the store
	tell     func(...event.Event)        // never blocks
	index    *records.Index
	tap      func(app, name string) (*origin.Viewer, error)
	pool     *mixer.Pool // makes MP3
	storages map[string]s3Config
	at       string // rtmp://host:port of the origin
	dir      string
	log      *slog.Logger

	ctx     context.Context // of the jobs
	cancel  context.CancelFunc
	working sync.WaitGroup

	changing sync.Mutex // held while a recording that is there is changed; taken before mu

	mu    sync.Mutex
	tasks map[string]*cloudTask
	busy  map[string]int       // streams of it that are written, and calls that change it
	told  map[string]time.Time // when the end was told of those that are not Ended yet
}

// cloudCallbacks is what cloud needs of a *callback.Service.
type cloudCallbacks interface {
	Create(ctx context.Context, sub *store.Subscription) error
	Delete(ctx context.Context, app string, kind store.Kind, id string) error
}

// cloudRelay is what cloud needs of a *relay.Service.
type cloudRelay interface {
	Start(ctx context.Context, s *relay.Spec) error
	Update(ctx context.Context, s *relay.Spec) error
	Stop(ctx context.Context, app, task string) error
	List(app, task string, page, size int) []*relay.Spec
}

// cloudTask is one recording. It is immutable once it is in tasks.
type cloudTask struct {
	ID      string
	Ask     artc.CloudRecording
	Storage string
	Parts   []cloudPart
	Past    []cloudPart `json:",omitempty"` // those that an update has ended
	Sub     string      `json:",omitempty"` // the subscription that is told; "": none
	Started time.Time
	Stopped time.Time // zero: it runs, or has ended by itself
	Ended   time.Time // all of its files are where they belong, which was told; zero: not yet
}

// cloudPart is one stream of a recording.
type cloudPart struct {
	Task string        // of the relay
	Name string        // of the stream, and once more its number
	From relay.UserRef // of a single one
}

// openCloud reads what was asked for before.
func (s *server) openCloud() error {
	ctx, cancel := context.WithCancel(context.Background())
	kept := func(app, task string) bool {
		err := s.store.View(context.Background(), func(tx *store.Tx) error {
			_, err := tx.Task(app, task)
			return err
		})
		return !errors.Is(err, media.ErrNotFound)
	}
	s.cloud = &cloud{relay: s.relay, calls: s.callbacks, kept: kept, tell: s.recorder.queue.Put, index: s.recordings, tap: s.origin.Tap, pool: s.pool, storages: s.cfg.Storage.S3, at: "rtmp://" + reachable(s.RTMPAddr),
		dir: filepath.Join(s.cfg.DataDir, "cloud-recordings"), log: s.log.With("part", "cloud recording"), ctx: ctx, cancel: cancel,
		tasks: make(map[string]*cloudTask), busy: make(map[string]int), told: make(map[string]time.Time)}
	return s.cloud.read()
}

// run tells of recordings that are over until ctx ends, and waits then for the last
// files of the others.
func (c *cloud) run(ctx context.Context) {
	look, old := time.NewTicker(time.Second), time.NewTicker(time.Hour)
	defer look.Stop()
	defer old.Stop()
	c.purge(ctx, time.Now())
	for {
		select {
		case <-look.C:
			c.concludeAll(time.Now())
		case <-old.C:
			c.purge(ctx, time.Now())
		case <-ctx.Done():
			c.cancel()
			c.working.Wait()
			return
		}
	}
}

// storage is the configured storage that a bucket is; "" for this server's directory.
func (c *cloud) storage(bucket, endpoint string) (string, error) {
	if bucket == localBucket {
		return "", nil
	}
	for name, s := range c.storages {
		u, err := url.Parse(s.Endpoint)
		if err == nil && s.Bucket == bucket && (endpoint == u.Host || endpoint == u.Hostname() || endpoint == s.Endpoint) {
			return name, nil
		}
	}
	return "", fmt.Errorf("StorageParams.OSSParams: no storage of the config has the bucket %.64q at %.64q; the bucket %q is this server's directory: %w",
		bucket, endpoint, localBucket, media.ErrInvalid)
}

// Start implements artc.CloudRecordings.
func (c *cloud) Start(ctx context.Context, ask *artc.CloudRecording) (string, error) {
	storage, err := c.storage(ask.Bucket, ask.Endpoint)
	if err != nil {
		return "", err
	}
	t := &cloudTask{ID: strings.ToLower(rand.Text()), Ask: *ask, Storage: storage, Started: time.Now().UTC()}
	if ask.Mix {
		t.addPart(relay.UserRef{})
	}
	for _, u := range ask.Users {
		if !ask.Mix {
			t.addPart(u)
		}
	}
	defer c.hold(t.ID)()
	if err := c.keep(t); err != nil {
		return "", err
	}
	if t, err = c.subscribe(ctx, t); err == nil { // before there is something to tell
		err = c.begin(ctx, t)
	}
	if err != nil {
		c.forget(context.WithoutCancel(ctx), t)
		return "", err
	}
	return t.ID, nil
}

// subscribe makes the callback of a recording that is to have one.
func (c *cloud) subscribe(ctx context.Context, t *cloudTask) (*cloudTask, error) {
	if t.Ask.NotifyURL == "" {
		return t, nil
	}
	sub := store.Subscription{App: t.Ask.App, Kind: store.Recordings, URL: t.Ask.NotifyURL, Channels: []string{t.ID}, Secret: t.Ask.NotifyKey}
	if err := c.calls.Create(ctx, &sub); err != nil {
		return t, err
	}
	next := *t
	next.Sub = sub.ID
	return &next, c.keep(&next)
}

func (c *cloud) begin(ctx context.Context, t *cloudTask) error {
	for i, p := range t.Parts {
		if err := c.relay.Start(ctx, c.spec(t, p)); err != nil {
			c.end(context.WithoutCancel(ctx), t, t.Parts[:i])
			return err
		}
	}
	return nil
}

// hold keeps a recording from being over until the returned function is called.
func (c *cloud) hold(task string) (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy[task]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.busy[task]--; c.busy[task] == 0 {
			delete(c.busy, task)
		}
	}
}

// addPart gives the recording one more stream, whose name none before had.
func (t *cloudTask) addPart(from relay.UserRef) {
	n := 0
	for _, p := range slices.Concat(t.Parts, t.Past) {
		if m, err := strconv.Atoi(strings.TrimPrefix(p.Name, t.ID+".")); err == nil {
			n = max(n, m+1)
		}
	}
	name := fmt.Sprintf("%s.%d", t.ID, n)
	t.Parts = append(t.Parts, cloudPart{Task: "rec-" + strings.ReplaceAll(name, ".", "-"), Name: name, From: from})
}

// spec is the relay task of a part.
func (c *cloud) spec(t *cloudTask, p cloudPart) *relay.Spec {
	s := &relay.Spec{App: t.Ask.App, Channel: t.Ask.Channel, Task: p.Task, Mode: relay.Single, From: p.From,
		URLs: []string{c.at + "/" + cloudApp + "/" + p.Name}, MaxIdle: t.Ask.MaxIdle}
	if t.Ask.Mix {
		s.Mode, s.Users, s.Panes, s.Background, s.Encode = relay.Mix, t.Ask.Users, t.Ask.Panes, t.Ask.Background, t.Ask.Encode
	}
	return s
}

// end stops parts; one that has ended by itself is no error.
func (c *cloud) end(ctx context.Context, t *cloudTask, parts []cloudPart) error {
	var errs []error
	for _, p := range parts {
		if err := c.relay.Stop(ctx, t.Ask.App, p.Task); err != nil && !errors.Is(err, media.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// runs tells whether one of the recording's parts is there, or will be: a server
// that ends leaves its relay tasks in the store.
func (c *cloud) runs(t *cloudTask) bool {
	return slices.ContainsFunc(t.Parts, func(p cloudPart) bool {
		return len(c.relay.List(t.Ask.App, p.Task, 1, 1)) > 0 || c.kept(t.Ask.App, p.Task)
	})
}

// Get implements artc.CloudRecordings.
func (c *cloud) Get(task string) (*artc.CloudRecording, error) {
	t, err := c.find(task)
	if err != nil {
		return nil, err
	}
	ask := t.Ask
	return &ask, nil
}

// Update implements artc.CloudRecordings. Of single users, those who stay are not
// interrupted.
func (c *cloud) Update(ctx context.Context, task string, ask *artc.CloudRecording) error {
	defer c.hold(task)()
	c.changing.Lock()
	defer c.changing.Unlock()
	t, err := c.find(task)
	if err != nil {
		return err
	}
	if !t.Stopped.IsZero() || !c.runs(t) {
		return fmt.Errorf("cloud recording %q has ended: %w", task, media.ErrNotFound)
	}
	next := *t
	next.Ask, next.Parts = *ask, slices.Clone(t.Parts)
	if ask.Mix {
		if err := c.relay.Update(ctx, c.spec(&next, next.Parts[0])); err != nil {
			return err
		}
		return c.keep(&next)
	}
	var gone []cloudPart
	next.Parts = slices.DeleteFunc(next.Parts, func(p cloudPart) bool {
		stays := slices.Contains(ask.Users, p.From)
		if !stays {
			gone = append(gone, p)
		}
		return !stays
	})
	next.Past = slices.Concat(t.Past, gone)
	stay := len(next.Parts)
	for _, u := range ask.Users {
		if !slices.ContainsFunc(next.Parts[:stay], func(p cloudPart) bool { return p.From == u }) {
			next.addPart(u)
		}
	}
	if err := c.keep(&next); err != nil {
		return err
	}
	for _, p := range next.Parts[stay:] {
		if err := c.relay.Start(ctx, c.spec(&next, p)); err != nil {
			return err
		}
	}
	return c.end(ctx, t, gone)
}

// Stop implements artc.CloudRecordings.
func (c *cloud) Stop(ctx context.Context, task string) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	t, err := c.find(task)
	if err != nil {
		return err
	}
	if err := c.end(ctx, t, t.Parts); err != nil {
		return err
	}
	next := *t
	if next.Stopped.IsZero() {
		next.Stopped = time.Now().UTC()
	}
	return c.keep(&next)
}
