package record

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"braid/media/flv"
)

// smallDisk mounts a file system of some bytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("braid", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("no small disk can be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// A full disk ends a file, not the stream: the recording says so once, keeps
// what it has, and goes on with another file when there is room.
func TestDiskFull(t *testing.T) {
	for name, least := range map[string]int64{"to the last byte": -1, "with some left free": 0} {
		t.Run(name, func(t *testing.T) { diskFull(t, least) })
	}
}

func diskFull(t *testing.T, least int64) {
	disk := smallDisk(t, "8m")
	ballast := filepath.Join(disk, "somebody-elses-file")
	if err := os.WriteFile(ballast, make([]byte, 5<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newStudio(t, func(c *IndexConfig) { c.Dir, c.MinFree = filepath.Join(disk, "media"), least })
	tags := clip(t, both(20, "256x144", 50, "-b:v", "2M", "-maxrate", "2M", "-bufsize", "2M", "-x264-params", "nal-hrd=cbr")...)
	in := s.publish()
	recorded, err := s.hub.Tap("live", "cam")
	if err != nil {
		t.Fatal(err)
	}
	watched, err := s.hub.Play("live", "cam")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Tags: recorded, Formats: []string{FMP4, TS}}
	s.fill(&cfg)
	ended := make(chan error, 1)
	go func() { ended <- Run(t.Context(), cfg) }()
	seen := make(chan int)
	go func() {
		n := 0
		for {
			tags, err := watched.Next(t.Context())
			if n += len(tags); err != nil {
				seen <- n
				return
			}
		}
	}()

	sent := s.loop(in, tags, func(all []Event) bool { return count(all, Failed) > 0 })
	failed := s.events.list()
	if e := failed[len(failed)-1]; e.Kind != Failed || e.Reason != "the disk is full" {
		t.Errorf("told last: %+v", e)
	}
	stats := s.index.Stats()
	if stats.Recording != 0 || stats.Failing != 1 || stats.Failures["disk_full"] != 1 || stats.Failures["write"] != 0 || stats.Written < 1<<20 {
		t.Errorf("when the disk is full: %+v", stats)
	}
	if free := freeBytes(t, disk); least == 0 && free < 8<<20/20 {
		t.Errorf("%d bytes are left free, want a twentieth", free)
	}
	if info, err := os.Stat(ballast); err != nil || info.Size() != 5<<20 {
		t.Errorf("somebody else's file: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	sent += s.loop(in, tags, func(all []Event) bool { return count(all, Started) == 2 })
	if got := s.index.Stats(); got.Recording != 1 || got.Failing != 0 || got.Written <= stats.Written {
		t.Errorf("when there is room again: %+v after %+v", got, stats)
	}
	s.hub.Close()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if n := <-seen; n < sent || watched.Dropped() > 0 {
		t.Errorf("the viewer got %d of %d tags, %d were dropped", n, sent, watched.Dropped())
	}
	if got := s.index.Stats(); got.Recording != 0 || got.Failing != 0 {
		t.Errorf("at the end: %+v", got)
	}
	all := s.events.list()
	if n := count(all, Failed); n != 1 {
		t.Errorf("told Failed %d times: %s", n, s.events.kinds())
	}
	for _, format := range cfg.Formats {
		files := s.files(format)
		if len(files) < 2 {
			t.Errorf("%s: %d files", format, len(files))
		}
		for _, f := range files {
			decodes(t, s.path(f))
			if f.State != Kept || f.Duration == 0 {
				t.Errorf("%+v", f)
			}
		}
	}
	if n := count(all, Filed); n != len(s.files(FMP4))+len(s.files(TS)) {
		t.Errorf("%d files were told of", n)
	}
}

// loop publishes tags again and again, at about fourteen times their speed, until
// what was told is enough.
func (s *studio) loop(in interface{ WriteTag(*flv.Tag) }, tags []*flv.Tag, enough func([]Event) bool) (sent int) {
	s.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(60 * time.Second)
	for {
		for _, t := range tags {
			if enough(s.events.list()) {
				s.shift += t.Timestamp + 40
				return sent
			}
			if time.Now().After(deadline) {
				s.t.Fatalf("not in 60 s; told: %s", s.events.kinds())
			}
			if s.shift > 0 && (t.Type == flv.Script || flv.IsSequenceHeader(t)) {
				continue // the hub does not repeat them
			}
			<-tick.C
			n := *t
			n.Timestamp += s.shift
			in.WriteTag(&n)
			sent++
		}
		s.shift += tags[len(tags)-1].Timestamp + 40
	}
}

func freeBytes(t *testing.T, dir string) int64 {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	return int64(fs.Bavail) * fs.Bsize
}
