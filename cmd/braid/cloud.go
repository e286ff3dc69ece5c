package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"braid/media"
	"braid/origin"
	records "braid/origin/record"
	"braid/relay"
	"braid/signaling/artc"
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
	// localBucket is the OSSBucket that means this server's directory.
	localBucket = "local"
)

// cloud makes ARTC's cloud recordings: a relay task for the mix, or for each user,
// pushes into the origin, and what comes there under cloudApp is recorded. What was
// asked for is a file each in dir, so that it goes on after a restart, as relay
// tasks do.
//
//	Start ─→ file ─→ relay task ─ RTMP ─→ origin ─ changed ─→ record.Run
type cloud struct {
	relay    cloudRelay
	index    *records.Index
	tap      func(app, name string) (*origin.Viewer, error)
	storages map[string]s3Config
	at       string // rtmp://host:port of the origin
	dir      string
	log      *slog.Logger

	ctx     context.Context // of the jobs
	cancel  context.CancelFunc
	working sync.WaitGroup

	mu    sync.Mutex
	tasks map[string]*cloudTask
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
	Started time.Time
	Stopped time.Time // zero: it runs, or has ended by itself
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
	s.cloud = &cloud{relay: s.relay, index: s.recordings, tap: s.origin.Tap, storages: s.cfg.Storage.S3, at: "rtmp://" + reachable(s.RTMPAddr),
		dir: filepath.Join(s.cfg.DataDir, "cloud-recordings"), log: s.log.With("part", "cloud recording"), ctx: ctx, cancel: cancel,
		tasks: make(map[string]*cloudTask)}
	return s.cloud.read(time.Now())
}

// run waits for ctx, and then for the recordings' last files.
func (c *cloud) run(ctx context.Context) {
	<-ctx.Done()
	c.cancel()
	c.working.Wait()
}

func (c *cloud) read(now time.Time) error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	names, err := filepath.Glob(filepath.Join(c.dir, "*.json"))
	if err != nil {
		return err
	}
	for _, name := range names {
		t := new(cloudTask)
		b, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(b, t)
		}
		if err == nil && t.ID+".json" != filepath.Base(name) {
			err = errors.New("it is another recording's")
		}
		switch {
		case err != nil:
			c.log.Error("a cloud recording cannot be read", "file", name, "error", err)
		case now.Sub(t.Started) > cloudKept && !c.runs(t) && !t.Stopped.IsZero():
			os.Remove(name)
		default:
			c.tasks[t.ID] = t
		}
	}
	return nil
}

// keep notes a recording, durably, before anything acts on it.
func (c *cloud) keep(t *cloudTask) error {
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	name := filepath.Join(c.dir, t.ID+".json")
	f, err := os.CreateTemp(c.dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tasks[t.ID] = t
	return nil
}

func (c *cloud) forget(t *cloudTask) {
	if err := os.Remove(filepath.Join(c.dir, t.ID+".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.log.Error("a cloud recording that did not begin stays noted", "task", t.ID, "error", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.tasks, t.ID)
}

func (c *cloud) find(task string) (*cloudTask, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.tasks[task]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("cloud recording %q: %w", task, media.ErrNotFound)
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
	if err := c.keep(t); err != nil {
		return "", err
	}
	for i, p := range t.Parts {
		if err := c.relay.Start(ctx, c.spec(t, p)); err != nil {
			c.end(context.WithoutCancel(ctx), t, t.Parts[:i])
			c.forget(t)
			return "", err
		}
	}
	return t.ID, nil
}

// addPart gives the recording one more stream, whose name none before had.
func (t *cloudTask) addPart(from relay.UserRef) {
	n := 0
	for _, p := range t.Parts {
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

// runs tells whether one of the recording's parts is there.
func (c *cloud) runs(t *cloudTask) bool {
	return slices.ContainsFunc(t.Parts, func(p cloudPart) bool { return len(c.relay.List(t.Ask.App, p.Task, 1, 1)) > 0 })
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

// Files implements artc.CloudRecordings.
func (c *cloud) Files(task string) (names []string, status string, err error) {
	t, err := c.find(task)
	if err != nil {
		return nil, "", err
	}
	status = "STOPPED"
	if c.runs(t) {
		status = "RUNNING"
	}
	q := records.Query{Template: cloudOf + task, Limit: 1000}
	for {
		files, next, err := c.index.List(q)
		if err != nil {
			return nil, "", err
		}
		for _, f := range files {
			switch {
			case f.State == records.Kept:
				names = append(names, f.Name)
			case status == "STOPPED": // the last ones are being finished, or uploaded
				status = "STOPPING"
			}
		}
		if next == "" {
			slices.Reverse(names)
			return names, status, nil
		}
		q.Cursor = next
	}
}

// changed is origin.Config.Changed: what is there to be recorded alone is nobody
// else's business.
func (s *server) changed(c origin.Change) {
	if c.App == cloudApp {
		s.cloud.changed(c)
		return
	}
	s.studio.changed(c)
}

// changed records what comes on air under cloudApp; it never blocks.
func (c *cloud) changed(ch origin.Change) {
	if !ch.On {
		return
	}
	c.working.Go(func() {
		if err := c.record(ch); err != nil {
			c.log.Error("a cloud recording has failed", "stream", ch.Name, "error", err)
		}
	})
}

func (c *cloud) record(ch origin.Change) error {
	id, _, _ := strings.Cut(ch.Name, ".")
	t, err := c.find(id)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(t.Parts, func(p cloudPart) bool { return p.Name == ch.Name })
	if at < 0 {
		return fmt.Errorf("it has no stream %q: %w", ch.Name, media.ErrNotFound)
	}
	viewer, err := c.tap(ch.App, ch.Name)
	if err != nil {
		return err
	}
	defer viewer.Close()
	return records.Run(c.ctx, records.Config{
		Tags: viewer, Index: c.index, Domain: ch.Domain, App: ch.App, Stream: ch.Name, Since: ch.Time,
		Owner: t.Ask.App, Template: cloudOf + t.ID, Formats: []string{records.FMP4}, Segment: t.Ask.MaxFile,
		Name: t.Ask.FileName(t.ID, t.Parts[at].From.User), Storage: t.Storage, Log: c.log,
	})
}
