package record

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"braid/media/flv"
	"braid/origin"
)

// recorderProcess is a process that records the FLV stream on its standard input.
func recorderProcess(dir string) {
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	x, err := OpenIndex(IndexConfig{Dir: dir, MinFree: -1, Log: log})
	check(err)
	hub := origin.NewHub()
	in, err := hub.Publish("live", "cam", "stdin")
	check(err)
	viewer, err := hub.Tap("live", "cam")
	check(err)
	go func() {
		r := bufio.NewReaderSize(os.Stdin, 1<<16)
		check(flv.ReadHeader(r))
		for {
			t, err := flv.ReadTag(r)
			check(err)
			in.WriteTag(t)
		}
	}()
	check(Run(context.Background(), Config{Tags: viewer, Index: x, App: "live", Stream: "cam",
		Formats: []string{FMP4, TS, HLS}, Segment: MinSegment, Slice: 3 * time.Second, Slices: "slices/{sequence}", Log: log}))
}

// kill runs a recorder in a directory, gives it a stream at twelve times its
// speed, and kills it after a while.
func kill(ctx context.Context, dir string, stream []byte, after time.Duration) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), "BRAID_RECORDER="+dir)
	var said strings.Builder
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	begun, sent := time.Now(), 0
	var fed error
	for fed == nil && time.Since(begun) < after {
		<-tick.C
		until := min(len(stream), int(float64(len(stream))*12*time.Since(begun).Seconds()/killSeconds))
		_, fed = in.Write(stream[sent:until])
		sent = until
	}
	cmd.Process.Kill()
	cmd.Wait()
	if fed != nil {
		return fmt.Errorf("the recorder ended by itself: %w\n%s", fed, &said)
	}
	return nil
}

const killSeconds = 30

// A recorder that is killed at any moment leaves files that play to the last
// whole fragment, and the next start finishes and tells of them.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("kills twenty recorders: not in -short")
	}
	name := filepath.Join(t.TempDir(), "clip.flv")
	ffmpeg(t, append(append([]string{"-v", "error"}, both(killSeconds, "256x144", 50, "-b:v", "2M", "-maxrate", "2M", "-bufsize", "2M", "-x264-params", "nal-hrd=cbr")...), "-f", "flv", name)...)
	stream, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const kills, together = 20, 4
	moments := make(chan time.Duration)
	go func() {
		defer close(moments)
		for range kills {
			moments <- 250*time.Millisecond + rand.N(2*time.Second)
		}
	}()
	var mu sync.Mutex
	var wg sync.WaitGroup
	recovered, fragments := 0, 0
	for range together {
		wg.Go(func() {
			for after := range moments {
				dir := t.TempDir()
				if err := kill(t.Context(), dir, stream, after); err != nil {
					t.Errorf("after %v: %v", after, err)
					continue
				}
				r, n := checkKilled(t, dir, after)
				mu.Lock()
				recovered, fragments = recovered+r, fragments+n
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d files recovered, %d whole before", recovered, fragments)
	if recovered < kills { // two formats; some may be killed before their first fragment
		t.Errorf("only %d files were recovered from %d kills", recovered, kills)
	}
}

// checkKilled looks at the files of a killed recorder, before and after the next start.
func checkKilled(t *testing.T, dir string, after time.Duration) (recovered, whole int) {
	left := map[string]int{} // packets that can be read of what was left
	for _, ext := range []string{"mp4", "ts"} {
		names, err := filepath.Glob(filepath.Join(dir, "default", "live", "cam", "*."+ext))
		if err != nil {
			t.Error(err)
		}
		for _, name := range names {
			left[name] = packets(name)
		}
	}
	events := newStory()
	x, err := OpenIndex(IndexConfig{Dir: dir, MinFree: -1, Events: events.add, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Error(err)
		return
	}
	defer x.Close()
	x.tell()
	files, _, err := x.List(Query{Limit: 1000})
	if err != nil {
		t.Error(err)
	}
	if told := events.list(); count(told, Filed) != len(files) || len(told) != len(files) {
		t.Errorf("after %v: told %q of %d files", after, events.kinds(), len(files))
	}
	total := map[string]int{} // packets of a format
	for i := range files {
		f := &files[i]
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		decodes(t, name)
		p := inspect(t, name)
		if d := p.duration(t); f.State != Kept || !near(d, time.Duration(f.Duration), 150*time.Millisecond) {
			t.Errorf("after %v: %s is %s and %v long, by ffprobe %v", after, f.Name, f.State, time.Duration(f.Duration), d)
		}
		total[f.Format] += len(p.Packets)
		if f.Format == HLS { // it was open, and players would wait for more
			left[name] = len(p.Packets)
		}
		// At most the fragment that was being written is missing: 2 s of pictures and sound.
		if n, had := len(p.Packets), left[name]; n > had || n < had-2*(25+47)-5 {
			t.Errorf("after %v: %s had %d packets that could be read, and has %d", after, f.Name, had, n)
		}
		if f.Recovered {
			recovered++
		} else {
			whole++
		}
		delete(left, name)
	}
	if a, b := total[TS], total[HLS]; max(a, b)-min(a, b) > 2*(25+47)+5 {
		t.Errorf("after %v: TS files have %d packets, playlists %d", after, a, b)
	}
	for name := range left {
		if _, err := os.Stat(name); err == nil {
			t.Errorf("after %v: %s is not in the index", after, name)
		}
	}
	return recovered, whole
}

// packets counts what ffprobe can read of a file, however it ends.
func packets(name string) int {
	out, _ := exec.Command("ffprobe", "-v", "quiet", "-show_packets", "-of", "json", name).Output()
	return strings.Count(string(out), `"codec_type"`)
}
