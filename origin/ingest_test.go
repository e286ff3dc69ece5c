package origin

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"braid/media"
	"braid/media/flv"
	"braid/media/rtmp"
)

// door takes publishers of IngestApp; one that sends a script tag is shown out.
type door struct {
	tags   chan *flv.Tag
	closed chan struct{}
	err    error
}

func (d *door) WriteTag(t *flv.Tag) {
	if t.Type == flv.Script {
		d.err = &rtmp.Refusal{Words: "no scripts here", Err: media.ErrInvalid}
	}
	d.tags <- t
}
func (d *door) Err() error { return d.err }
func (d *door) Close()     { close(d.closed) }

// TestIngestApp: publishers of rtc go to the hook, hear its words, at once and
// later, and cannot be played; other applications are the hub's.
func TestIngestApp(t *testing.T) {
	in := &door{tags: make(chan *flv.Tag, 10), closed: make(chan struct{})}
	o := New(Config{Log: quiet(), Ingest: func(r rtmp.Request) (rtmp.Ingest, error) {
		if r.App != IngestApp || r.Stream != "good" || r.Query != "a=b" || r.Host != "127.0.0.1" {
			return nil, &rtmp.Refusal{Words: "not " + r.Stream, Err: media.ErrNotFound}
		}
		return in, nil
	}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.ServeRTMP(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		<-done
		o.Close()
	})
	url := "rtmp://" + ln.Addr().String()
	dial := func(path string) (*rtmp.Publisher, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return rtmp.Dial(ctx, url+path, rtmp.Options{})
	}
	rejected := func(err error, code, words string) {
		t.Helper()
		var r *rtmp.RejectedError
		if !errors.As(err, &r) || r.Code != code || !strings.Contains(r.Description, words) {
			t.Errorf("got %v, want %s, %q", err, code, words)
		}
	}

	_, err = dial("/rtc/bad")
	rejected(err, "NetStream.Publish.Denied", "not ")
	_, err = rtmp.Play(t.Context(), url+"/rtc/good", rtmp.Options{})
	rejected(err, "NetStream.Play.StreamNotFound", "")
	p, err := dial("/live/good")
	if err != nil {
		t.Fatalf("another application: %v", err)
	}
	p.Close()

	p, err = dial("/rtc/good?a=b")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Write(&flv.Tag{Type: flv.Audio, Timestamp: 7, Payload: []byte{0xaf, 1, 2}}); err != nil {
		t.Fatal(err)
	}
	if tag := <-in.tags; tag.Type != flv.Audio || tag.Timestamp != 7 {
		t.Errorf("got %+v", tag)
	}
	if err := p.Write(&flv.Tag{Type: flv.Script, Payload: onMetaData}); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	rejected(p.Err(), "NetStream.Publish.Denied", "no scripts here")
	<-in.closed
	for _, s := range o.Streams() {
		if s.App == IngestApp {
			t.Errorf("%+v is in the hub", s)
		}
	}
}
