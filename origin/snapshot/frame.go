package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"braid/media"
	"braid/media/flv"
)

// keyFrame is the newest key frame of the stream, or the next one, and when it
// arrived. It fails with errEnded when the stream has.
func (j *job) keyFrame(ctx context.Context) (au *media.AccessUnit, arrived time.Time, err error) {
	v, err := j.Tap()
	if errors.Is(err, media.ErrNotFound) {
		return nil, time.Time{}, errEnded
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	defer v.Close()
	var d flv.Demuxer
	for {
		tags, err := v.Next(ctx)
		if ctx.Err() == context.DeadlineExceeded {
			return nil, time.Time{}, fmt.Errorf("no key frame comes, only sound perhaps")
		}
		if errors.Is(err, io.EOF) {
			return nil, time.Time{}, errEnded
		}
		if err != nil {
			return nil, time.Time{}, err
		}
		for _, t := range tags {
			if t.Type != flv.Video {
				continue
			}
			unit, err := d.Demux(&t.Tag)
			if err != nil {
				return nil, time.Time{}, err
			}
			if unit != nil && (unit.Key || flv.IsVideoKey(t.Payload)) {
				return startable(&d, unit), t.Arrived, nil
			}
		}
	}
}

// startable is a key frame with all that a decoder needs: the encoder's word for a
// recovery point is "key frame", but parameter sets stand before an IDR alone.
func startable(d *flv.Demuxer, au *media.AccessUnit) *media.AccessUnit {
	if au.Key {
		return au
	}
	sps, pps := d.ParameterSets()
	key := *au
	key.Key, key.Units = true, append([][]byte{sps, pps}, au.Units...)
	return &key
}
