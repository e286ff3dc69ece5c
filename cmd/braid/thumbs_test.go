package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"braid/media"
)

// vp8Track is a track that a test plays, a key frame when it is told to.
type vp8Track struct {
	mu    sync.Mutex
	to    map[media.Receiver]bool
	seq   uint16
	asked int
	done  chan struct{}
}

func newVP8Track() *vp8Track {
	return &vp8Track{to: make(map[media.Receiver]bool), done: make(chan struct{})}
}

func (p *vp8Track) Codec() media.Codec                 { return media.VP8 }
func (p *vp8Track) Channels() int                      { return 0 }
func (p *vp8Track) Report() (media.SenderReport, bool) { return media.SenderReport{}, false }
func (p *vp8Track) Done() <-chan struct{}              { return p.done }

func (p *vp8Track) RequestKeyFrame() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
}

func (p *vp8Track) Attach(r media.Receiver) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to[r] = true
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.to, r)
	}
}

// send sends one frame of one packet (RFC 7741 section 4.2, RFC 6386 section 9.1).
func (p *vp8Track) send(key bool) {
	frame := []byte{0x10, 1, 0, 0}
	if key {
		frame = binary.LittleEndian.AppendUint16(append([]byte{0x10, 0, 0, 0}, 0x9d, 0x01, 0x2a), 320)
		frame = append(binary.LittleEndian.AppendUint16(frame, 180), 1, 2, 3)
	}
	p.mu.Lock()
	p.seq++
	packet := &media.Packet{Seq: p.seq, Timestamp: uint32(p.seq) * 3000, Marker: true, Payload: frame, Arrival: time.Now(), Level: -1}
	var all []media.Receiver
	for r := range p.to {
		all = append(all, r)
	}
	p.mu.Unlock()
	for _, r := range all {
		r.Receive(packet)
	}
}

func (p *vp8Track) counts() (attached, asked int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.to), p.asked
}

// oneRoom is a channel "lobby" with one user.
type oneRoom struct{ user *media.User }

func (r oneRoom) Users() []*media.User             { return []*media.User{r.user} }
func (r oneRoom) Changed() <-chan struct{}         { return nil }
func (r oneRoom) ChannelsChanged() <-chan struct{} { return nil }
func (r oneRoom) Channel(app, channel string) (media.Channel, bool) {
	return r, app == "a" && channel == "lobby"
}

// jpegs counts what is made.
type jpegs struct {
	mu   sync.Mutex
	made []string
}

func (j *jpegs) make(_ context.Context, codec media.Codec, au *media.AccessUnit, width int) ([]byte, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	file := fmt.Sprintf("%s %d %d", codec, width, len(j.made))
	j.made = append(j.made, file)
	return []byte(file), nil
}

// A user's track is read while somebody asks, asked for a key frame only when there
// is no young one, and each key frame becomes one file of each width.
func TestThumbnails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		track, j := newVP8Track(), new(jpegs)
		thumbs := newThumbs(oneRoom{&media.User{ID: "anna", Video: track}}, nil, j.make, slog.New(slog.DiscardHandler))
		defer thumbs.close()
		synctest.Wait()
		if attached, asked := track.counts(); attached != 0 || asked != 0 {
			t.Errorf("nobody asks, and the track has %d readers and was asked %d times", attached, asked)
		}
		var wg sync.WaitGroup
		files := make([][]byte, 5)
		for i := range files {
			wg.Go(func() {
				file, _, err := thumbs.User(t.Context(), "a", "lobby", "anna", media.Camera, 330)
				if err != nil {
					t.Error(err)
				}
				files[i] = file
			})
		}
		synctest.Wait()
		if attached, asked := track.counts(); attached != 1 || asked != 1 {
			t.Errorf("five ask: %d readers, asked for %d key frames, want 1 and 1", attached, asked)
		}
		track.send(true)
		wg.Wait()
		for _, f := range files {
			if !bytes.Equal(f, []byte("VP8 320 0")) {
				t.Errorf("got %q, want the one that was made first", f)
			}
		}

		begun := time.Now()
		for time.Since(begun) < 32*time.Second { // somebody looks, and no key frame comes
			if _, _, err := thumbs.User(t.Context(), "a", "lobby", "anna", media.Camera, 320); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second) // of synctest's clock
			track.send(false)
		}
		if _, asked := track.counts(); asked < 4 || asked > 6 { // the first, and at 10, 15, 20, 25, 30 s
			t.Errorf("in 32 s without a key frame it was asked for %d times, want 5 or 6", asked)
		}
		if len(j.made) != 1 {
			t.Errorf("made %q of one key frame", j.made)
		}
		track.send(true)
		file, taken, err := thumbs.User(t.Context(), "a", "lobby", "anna", media.Camera, 90)
		if err != nil || !strings.HasPrefix(string(file), "VP8 80 1") || time.Since(taken) != 0 {
			t.Errorf("after the next key frame: got %q taken %v ago, error %v", file, time.Since(taken), err)
		}

		time.Sleep(thumbLinger + time.Second)
		synctest.Wait()
		if attached, _ := track.counts(); attached != 0 {
			t.Errorf("nobody asks any more, and the track still has %d readers", attached)
		}
	})
}

// What is not there is refused in words, and at once where that can be known.
func TestThumbnailsRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		track, j := newVP8Track(), new(jpegs)
		thumbs := newThumbs(oneRoom{&media.User{ID: "anna", Video: track}}, nil, j.make, slog.New(slog.DiscardHandler))
		begun := time.Now()
		for _, c := range []struct {
			channel, user string
			source        media.Source
			words         string
		}{
			{"hall", "anna", media.Camera, `channel "hall" is not open`},
			{"lobby", "ben", media.Camera, `user "ben" is not in channel "lobby"`},
			{"lobby", "anna", media.ShareScreen, "sends no picture of its shareScreen"},
		} {
			_, _, err := thumbs.User(t.Context(), "a", c.channel, c.user, c.source, 320)
			if !errors.Is(err, media.ErrNotFound) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("got %v, want %v with %q", err, media.ErrNotFound, c.words)
			}
		}
		if time.Since(begun) != 0 {
			t.Errorf("that took %v", time.Since(begun))
		}
		if _, _, err := thumbs.User(t.Context(), "a", "lobby", "anna", media.Camera, 320); !errors.Is(err, media.ErrNotFound) || time.Since(begun) != thumbWithin {
			t.Errorf("without a key frame: got %v after %v", err, time.Since(begun))
		}
		close(track.done)
		synctest.Wait()
		thumbs.close()
		if _, _, err := thumbs.User(t.Context(), "a", "lobby", "anna", media.Camera, 320); !errors.Is(err, media.ErrClosed) {
			t.Errorf("after close: got %v", err)
		}
	})
}

// A task's picture is made once, whoever asks, until there is a newer one.
func TestTaskPictures(t *testing.T) {
	j := new(jpegs)
	au := &media.AccessUnit{Codec: media.H264, Key: true}
	task := func(app, task string) (*media.AccessUnit, time.Time, error) {
		if task != "t" {
			return nil, time.Time{}, media.ErrNotFound
		}
		return au, time.Unix(1, 0), nil
	}
	thumbs := newThumbs(oneRoom{}, task, j.make, slog.New(slog.DiscardHandler))
	defer thumbs.close()
	for range 3 {
		file, taken, err := thumbs.Task(t.Context(), "a", "t", 1280)
		if string(file) != "H264 1280 0" || !taken.Equal(time.Unix(1, 0)) || err != nil {
			t.Errorf("got %q, %v, %v", file, taken, err)
		}
	}
	au = &media.AccessUnit{Codec: media.H264, Key: true}
	if file, _, _ := thumbs.Task(t.Context(), "a", "t", 1280); string(file) != "H264 1280 1" {
		t.Errorf("of a newer picture: got %q", file)
	}
	if _, _, err := thumbs.Task(t.Context(), "a", "u", 1280); !errors.Is(err, media.ErrNotFound) {
		t.Errorf("of a task that is none: got %v", err)
	}
}
