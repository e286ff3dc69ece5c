package origin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"braid/media"
	"braid/media/flv"
)

func TestJoinerStartsAtKeyFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		defer h.Close()
		in := publish(t, h, "cam")
		open(in)
		play(in, 0, 2080, 1000)
		v := join(t, h, "cam")
		got := waiting(t, v)
		if s := kinds(got); s != "MVAKapapa"[:len(s)] || len(s) != 7 {
			t.Fatalf("joiner's first tags: %s", s)
		}
		if got[0].Timestamp != 0 || got[1].Timestamp != 2000 || got[3].Timestamp != 2000 {
			t.Errorf("metadata at %d ms, header at %d, key frame at %d, want 0, 2000, 2000", got[0].Timestamp, got[1].Timestamp, got[3].Timestamp)
		}
		other := waiting(t, join(t, h, "cam"))
		if got[3] != other[3] {
			t.Error("two viewers got different copies of a picture")
		}
		if want := flv.AppendTag(nil, picture(2000, true)); !bytes.Equal(got[3].FLV, want) {
			t.Errorf("FLV bytes: got % x, want % x", got[3].FLV, want)
		}
		in.WriteTag(picture(2080, false))
		if s := kinds(waiting(t, v)); s != "p" {
			t.Errorf("next tags: %s, want p", s)
		}
	})
}

func TestKeyFrameTooFarBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		defer h.Close()
		in := publish(t, h, "cam")
		open(in)
		play(in, 0, 9900, 60000)
		if s := kinds(waiting(t, join(t, h, "cam"))); !strings.HasPrefix(s, "MVAKap") || len(s) < 490 {
			t.Errorf("9.9 s behind the key frame: %d tags, %.10s", len(s), s)
		}
		play(in, 9920, 12000, 60000)
		in.WriteTag(sound(12000))
		in.WriteTag(picture(12000, false))
		if s := kinds(waiting(t, join(t, h, "cam"))); !strings.HasPrefix(s, "MVAa") || strings.Trim(s[3:], "a") != "" || len(s) > 3+27 {
			t.Errorf("12 s behind the key frame: %s, want headers and 1 s of sound", s)
		}
	})
}

func TestBigPicturesBoundTheCache(t *testing.T) {
	h := NewHub()
	defer h.Close()
	in := publish(t, h, "cam")
	open(in)
	in.WriteTag(picture(0, true))
	big := picture(40, false)
	big.Payload = append(big.Payload, make([]byte, 4<<20)...)
	for range 7 {
		in.WriteTag(big)
	}
	if s := kinds(waiting(t, join(t, h, "cam"))); s != "MVAKppppppp" {
		t.Errorf("28 MiB behind the key frame: %s", s)
	}
	in.WriteTag(big)
	v := join(t, h, "cam")
	if s := kinds(waiting(t, v)); s != "MVA" {
		t.Errorf("over 32 MiB behind the key frame: %s, want headers alone", s)
	}
	in.WriteTag(picture(80, false))
	in.WriteTag(sound(80))
	in.WriteTag(picture(120, true))
	if s := kinds(waiting(t, v)); s != "aK" {
		t.Errorf("then: %s, want no picture before the key frame", s)
	}
}

func TestSoundAloneKeepsOneSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		defer h.Close()
		in := publish(t, h, "mic")
		in.WriteTag(aacHeader())
		for ms := range 100 {
			in.WriteTag(sound(ms * 40))
			time.Sleep(40 * time.Millisecond)
		}
		got := waiting(t, join(t, h, "mic"))
		if s := kinds(got); s != "A"+strings.Repeat("a", 26) {
			t.Errorf("got %s (%d tags), want a header and 1 s of sound", s, len(s))
		}
	})
}

// A header that changed within the cached pictures must reach a joiner at its
// place, after pictures that need the one before.
func TestJoinerGetsHeadersOfTheKeyFrame(t *testing.T) {
	h := NewHub()
	defer h.Close()
	in := publish(t, h, "cam")
	open(in)
	in.WriteTag(picture(0, true))
	in.WriteTag(avcHeader(31))
	in.WriteTag(avcHeader(31)) // a repetition
	in.WriteTag(picture(40, false))
	got := waiting(t, join(t, h, "cam"))
	if s := kinds(got); s != "MVAKVp" {
		t.Fatalf("got %s, want MVAKVp", s)
	}
	if !bytes.Equal(got[1].Payload, avcHeader(30).Payload) || !bytes.Equal(got[4].Payload, avcHeader(31).Payload) {
		t.Error("sequence headers are not in the publisher's order")
	}
}

func TestSlowViewerIsMovedToKeyFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		defer h.Close()
		in := publish(t, h, "cam")
		open(in)
		slow := join(t, h, "cam")
		play(in, 0, 5000, 2000)
		in.WriteTag(avcHeader(31)) // unread, and valid for all that follows
		play(in, 5000, 14040, 2000)
		got := waiting(t, slow)
		s := kinds(got)
		if !strings.HasPrefix(s, "MVA") || !bytes.Equal(got[1].Payload, avcHeader(31).Payload) {
			t.Fatalf("after 14 s without reading: begins with %.10s, want the newest headers", s)
		}
		if first := strings.IndexAny(s, "Kp"); first < 0 || s[first] != 'K' {
			t.Fatalf("first picture after the gap is not a key frame: %s", s)
		}
		if slow.Dropped() < 400 || len(s)+int(slow.Dropped()) < 700 {
			t.Errorf("dropped %d, got %d of about 704", slow.Dropped(), len(s))
		}
		if s := kinds(waiting(t, slow)); s != "" {
			t.Errorf("left over: %s", s)
		}
	})
}

// Nothing of an unread queue may grow without bound, whatever the tags.
func TestQueueIsBounded(t *testing.T) {
	h := NewHub()
	defer h.Close()
	in := publish(t, h, "cam")
	open(in)
	v := join(t, h, "cam")
	big := picture(0, true)
	big.Payload = append(big.Payload, make([]byte, 4<<20-1000)...)
	for range 40 {
		in.WriteTag(big)
		if v.bytes > viewerBytes {
			t.Fatalf("%d bytes wait", v.bytes)
		}
	}
	for i := range 3 * viewerTags {
		in.WriteTag(sound(i))
		if len(v.queue) > viewerTags {
			t.Fatalf("%d tags wait", len(v.queue))
		}
	}
	if v.Dropped() == 0 {
		t.Error("nothing was dropped")
	}
}

func TestPublisherComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		defer h.Close()
		in := publish(t, h, "cam")
		open(in)
		v := join(t, h, "cam")
		play(in, 0, 1000, 1000)
		in.WriteTag(&flv.Tag{Type: flv.Video, Timestamp: 1000, Payload: []byte{0x17, 2, 0, 0, 0}}) // end of sequence
		in.Close()
		in.Close()
		last := waiting(t, v)
		if s := kinds(last); s[len(s)-1] != 'a' || last[len(last)-1].Timestamp != 960 {
			t.Fatalf("before the break: %s", s)
		}
		time.Sleep(graceTime - time.Second)
		late := join(t, h, "cam") // joins while nobody publishes
		if s := kinds(waiting(t, late)); !strings.HasPrefix(s, "MVAK") {
			t.Errorf("joined while the publisher is away: %s", s)
		}
		in.WriteTag(sound(5000)) // from one that was closed

		again := publish(t, h, "cam")
		open(again)
		again.WriteTag(picture(70000, false)) // its key frame is still to come
		again.WriteTag(sound(70000))
		again.WriteTag(picture(70040, true))
		time.Sleep(2 * graceTime)
		again.WriteTag(picture(70080, false))
		for _, v := range []*Viewer{v, late} {
			got := waiting(t, v)
			if s := kinds(got); s != "MVAaKp" {
				t.Fatalf("after the break: %s, want MVAaKp", s)
			}
			at := uint32(960)
			for i, tag := range got {
				if i > 0 && tag.Timestamp < at { // metadata is at 0
					t.Errorf("tag %d: time goes back from %d to %d", i, at, tag.Timestamp)
				}
				at = max(at, tag.Timestamp)
			}
			if at != 960+splice+80 {
				t.Errorf("last timestamp: got %d, want %d", at, 960+splice+80)
			}
			if got[0].epoch != 2 {
				t.Errorf("epoch %d, want 2", got[0].epoch)
			}
		}
	})
}

// A relay whose task is a month old publishes, and comes back: 2^31 ms are no limit.
func TestComesBackAfterAMonth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		defer h.Close()
		const month = 30 * 24 * 3600_000
		in := publish(t, h, "cam")
		in.WriteTag(picture(month, true))
		in.WriteTag(picture(month+40, false))
		in.Close()
		in = publish(t, h, "cam")
		defer in.Close()
		in.WriteTag(picture(month+5000, true))
		got := waiting(t, join(t, h, "cam"))
		if last := got[len(got)-1]; last.Timestamp != month+40+splice {
			t.Errorf("the stream goes on at %d, want %d", last.Timestamp, month+40+splice)
		}
	})
}

func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		defer h.Close()
		in := publish(t, h, "cam")
		open(in)
		v := join(t, h, "cam")
		in.WriteTag(picture(0, true))
		in.Close()
		began := time.Now()
		if tags, err := v.Next(t.Context()); err != nil || kinds(tags) != "MVAK" {
			t.Fatalf("queue after the end: %s, %v", kinds(tags), err)
		}
		if _, err := v.Next(t.Context()); err != io.EOF || time.Since(began) != graceTime {
			t.Fatalf("got %v after %v, want EOF after %v", err, time.Since(began), graceTime)
		}
		if _, err := h.Play("live", "cam"); !errors.Is(err, media.ErrNotFound) {
			t.Errorf("play after the end: %v", err)
		}
		v.Close()
		v.Close()

		in = publish(t, h, "cam") // the name is free again, and a new stream
		in.WriteTag(picture(7000, true))
		v = join(t, h, "cam")
		if got := waiting(t, v); len(got) != 1 || got[0].Timestamp != 7000 || got[0].epoch != 1 {
			t.Errorf("new stream begins with %s", kinds(got))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := v.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nothing to read: %v", err)
		}
		h.Close()
		if _, err := v.Next(t.Context()); err != io.EOF {
			t.Errorf("after Close: %v", err)
		}
		in.WriteTag(picture(8000, true))
		in.Close()
		if _, err := h.Publish("live", "cam", ""); !errors.Is(err, media.ErrClosed) {
			t.Errorf("publish after Close: %v", err)
		}
	})
}

func TestSecondPublisherIsRefused(t *testing.T) {
	h := NewHub()
	defer h.Close()
	in := publish(t, h, "cam")
	if _, err := h.Publish("live", "cam", "b"); !errors.Is(err, media.ErrExists) {
		t.Errorf("got %v, want ErrExists", err)
	}
	publish(t, h, "cam2").Close()
	in.Close()
	publish(t, h, "cam").Close()
}

func TestNames(t *testing.T) {
	h := NewHub()
	defer h.Close()
	for name, ok := range map[string]bool{
		"cam": true, "a-b_c=d.e9": true, strings.Repeat("x", 255): true, "...": true,
		"": false, ".": false, "..": false, "a/b": false, "a b": false, "ü": false, "a?b": false, "a\x00": false,
		strings.Repeat("x", 256): false, "\xff": false,
	} {
		for _, pair := range [][2]string{{name, "cam"}, {"live", name}} {
			in, err := h.Publish(pair[0], pair[1], "")
			if ok != (err == nil) || !ok && !errors.Is(err, media.ErrInvalid) {
				t.Errorf("publish %.20q: %v", pair, err)
			}
			if _, err := h.Play(pair[0], pair[1]); !ok && !errors.Is(err, media.ErrInvalid) {
				t.Errorf("play %.20q: %v", pair, err)
			}
			if in != nil {
				in.Close()
				h.Close()
				h = NewHub()
			}
		}
	}
}

func TestStreams(t *testing.T) {
	h := NewHub()
	defer h.Close()
	mic := publish(t, h, "mic")
	mic.WriteTag(aacHeader())
	cam := publish(t, h, "cam")
	open(cam)
	cam.WriteTag(picture(0, true))
	odd := publish(t, h, "odd")
	odd.WriteTag(&flv.Tag{Type: flv.Video, Payload: []byte{0x90, 'v', 'v', 'c', '1', 1, 2}}) // Enhanced RTMP sequence start
	odd.WriteTag(&flv.Tag{Type: flv.Video, Payload: []byte{0x91, 'v', 'v', 'c', '1', 1, 2}})
	v := join(t, h, "cam")
	waiting(t, v)
	if _, err := h.Tap("live", "cam"); err != nil {
		t.Fatal(err)
	}
	s := h.Streams()
	if len(s) != 3 || s[0].Name != "cam" || s[1].Name != "mic" || s[2].Name != "odd" {
		t.Fatalf("got %+v", s)
	}
	c := s[0]
	if c.App != "live" || c.Remote != "test" || c.Viewers != 1 || c.Video != "H264" || c.Audio != "AAC" || c.Width == 0 || c.Height == 0 ||
		c.BytesIn != uint64(len(metaData().Payload)+len(avcHeader(30).Payload)+4+len(picture(0, true).Payload)) ||
		c.BytesOut != c.BytesIn+4*15 || time.Since(c.Since) > time.Minute {
		t.Errorf("cam: %+v", c)
	}
	if m := s[1]; m.Video != "" || m.Audio != "AAC" || m.Viewers != 0 {
		t.Errorf("mic: %+v", m)
	}
	if o := s[2]; o.Video != "unknown" || o.Audio != "" || o.Width != 0 {
		t.Errorf("odd: %+v", o)
	}
	cam.Close()
	v.Close()
	if c := h.Streams()[0]; c.Remote != "" || c.Viewers != 0 {
		t.Errorf("cam without publisher and viewer: %+v", c)
	}
}

// TestFanOutAllocates: what a tag costs in memory does not grow with its viewers.
func TestFanOutAllocates(t *testing.T) {
	h := NewHub()
	defer h.Close()
	in := publish(t, h, "cam")
	open(in)
	tag := picture(0, true)
	alone := testing.AllocsPerRun(200, func() { in.WriteTag(tag) })
	var viewers []*Viewer
	for i := range 100 {
		v, err := h.PlayOnly("live", "cam", []byte{0, flv.Audio, flv.Video}[i%3])
		if err != nil {
			t.Fatal(err)
		}
		viewers = append(viewers, v)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // Next does not wait
	watched := testing.AllocsPerRun(200, func() {
		in.WriteTag(tag)
		for _, v := range viewers {
			_, _ = v.Next(ctx)
		}
	})
	if watched > alone+2 {
		t.Errorf("a tag is %v allocations with 100 viewers, %v without", watched, alone)
	}
}

func BenchmarkWriteTag50Viewers(b *testing.B) {
	h := NewHub()
	defer h.Close()
	in, err := h.Publish("live", "cam", "")
	if err != nil {
		b.Fatal(err)
	}
	for range 50 {
		v, err := h.Play("live", "cam")
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			for {
				if _, err := v.Next(context.Background()); err != nil {
					return
				}
			}
		}()
	}
	tag := picture(0, true)
	tag.Payload = append(tag.Payload, make([]byte, 10000)...)
	b.ReportAllocs()
	for b.Loop() {
		in.WriteTag(tag)
	}
}
