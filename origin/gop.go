package origin

import (
	"slices"
	"time"

	"braid/media/flv"
)

const (
	// gopSpan and gopBytes bound what a joiner gets at once. Encoders put a key
	// frame every 1 to 4 s, OBS by default every 8.3 s (250 pictures).
	gopSpan  = 10 * time.Second
	gopBytes = 32 << 20
	// soundSpan is what a joiner gets of a stream without pictures: enough for
	// players to start with a filled buffer.
	soundSpan = time.Second
)

// gop is what a late joiner needs to see a picture at once: the headers that
// were valid at the newest key frame, and everything since. Without a key frame,
// or behind one that is too far back, it holds the last second of sound.
type gop struct {
	head  headers
	tags  []*Tag
	bytes int
	keyed bool // tags[0] is a key frame
}

// add takes the next tag of the stream; now are the headers valid at it.
func (g *gop) add(t *Tag, now headers) {
	switch {
	case t.kind == kindKey:
		*g = gop{head: now, keyed: true}
	case g.keyed && (t.Arrived.Sub(g.tags[0].Arrived) > gopSpan || g.bytes+len(t.FLV) > gopBytes):
		*g = gop{head: now}
	}
	if !g.keyed {
		g.head = now
		if t.header() || t.Type == flv.Video {
			return
		}
		g.trim(t.Arrived.Add(-soundSpan))
	}
	g.tags = append(g.tags, t)
	g.bytes += len(t.FLV)
}

// trim forgets what arrived before from.
func (g *gop) trim(from time.Time) {
	n := 0
	for n < len(g.tags) && (g.tags[n].Arrived.Before(from) || g.bytes > gopBytes) {
		g.bytes -= len(g.tags[n].FLV)
		n++
	}
	g.tags = slices.Delete(g.tags, 0, n)
}

// start is what a joiner is sent first. The caller owns the slice. Without media
// in the cache the headers carry the stream's present time, last.
func (g *gop) start(last uint32) []*Tag {
	arrived := time.Now()
	if len(g.tags) > 0 {
		last, arrived = g.tags[0].Timestamp, g.tags[0].Arrived
	}
	return append(g.head.appendAt(nil, last, arrived), g.tags...)
}
