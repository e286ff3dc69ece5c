package main

import (
	"context"
	"runtime"

	"braid/media"
	"braid/mixer"
	"braid/mixer/wire"
	"braid/origin"
	"braid/origin/transcode"
)

// newBudget is how much of the machine transcoding may take: as configured, else
// three quarters.
func newBudget(cores float64) *transcode.Budget {
	if cores == 0 {
		cores = 0.75 * float64(runtime.NumCPU())
	}
	return &transcode.Budget{Cores: cores}
}

// transcode is the job of a transcoding template.
func (s *server) transcode(ctx context.Context, w *work) error {
	c := transcode.Config{
		Domain: w.Domain, App: w.App, Name: w.Name, Budget: s.budget, Trouble: w.Trouble, Log: s.log.With("part", "transcode"),
		Tap: func() (transcode.Viewer, error) {
			v, err := s.origin.Tap(w.App, w.Name)
			if err != nil {
				return nil, err // not a nil *Viewer in an interface
			}
			return v, nil
		},
		Publish: func(p origin.Publisher) (transcode.Ingest, error) {
			in, err := s.origin.PublishAs(p)
			if err != nil {
				return nil, err
			}
			return in, nil
		},
		Open: func(spec transcode.Spec) transcode.Encoder { return s.openRenditions(w.App+"/"+w.Name, spec) },
	}
	for _, r := range w.Template.Transcode.Renditions {
		c.Renditions = append(c.Renditions, transcode.Rendition{Name: r.Name, Height: r.Height, Kbps: r.Bitrate, FPS: r.FPS})
	}
	return transcode.Run(ctx, c)
}

// renditionGOP is as long as x264 goes without a key frame when the source has none;
// of 60 pictures a second these are ten seconds.
const renditionGOP = 600

// openRenditions has a worker of the stream's own make them, so that a stream that
// crashes the decoder hurts no other.
func (s *server) openRenditions(stream string, spec transcode.Spec) transcode.Encoder {
	c := mixer.RenditionsConfig{
		Worker: "transcode " + stream, Codec: spec.Codec, Feed: spec.Codec == media.H264, Emit: spec.Emit, Failed: spec.Failed,
		NeedKey: func() {}, // RTMP has no way to ask for one
	}
	for _, e := range spec.Encodes {
		c.Encodes = append(c.Encodes, wire.Encode{Height: e.Height, VideoKbps: e.Kbps, FPS: e.FPS, MostFPS: e.MostFPS, GOP: renditionGOP, Profile: "high"})
	}
	return s.pool.NewRenditions(c)
}
