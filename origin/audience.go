package origin

import (
	"hash/maphash"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Audience is how many watch at one moment, by protocol.
type Audience struct {
	RTMP, FLV int // connections
	// HLS is how many asked for a playlist lately. Players of one stream with the same
	// address and program are one, unless they have sessions.
	HLS int
}

// Denied is how often somebody was refused for want of rights since New.
type Denied struct {
	Publish, Play uint64 // over RTMP
}

// Audience is that of all streams now.
func (o *Origin) Audience() Audience {
	return Audience{RTMP: int(o.rtmp.Load()), FLV: int(o.flv.Load()), HLS: o.readers.count(time.Now())}
}

// Denied counts RTMP clients that were not let in; of publishers to Config.Ingest
// those whose address nobody knows. HTTP has its statuses.
func (o *Origin) Denied() Denied {
	return Denied{Publish: o.noPublish.Load(), Play: o.noPlay.Load()}
}

// counts are what Audience and Denied tell.
type counts struct {
	rtmp, flv         atomic.Int64 // connections that play
	noPublish, noPlay atomic.Uint64
	readers           readers
}

const (
	// readerQuiet is after how long somebody who asks for no playlist has left: they are
	// asked for each target duration at least.
	readerQuiet = 30 * time.Second
	// maxReaders bounds what counting them costs, to some 10 MB; more are not counted.
	maxReaders = 100_000
)

// readers are those who ask for playlists again and again.
type readers struct {
	mu    sync.Mutex
	seed  maphash.Seed
	asked map[uint64]time.Time // by who and what, hashed
	swept time.Time
}

func (a *readers) note(r *http.Request, app, name string, now time.Time) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked == nil {
		a.seed, a.asked = maphash.MakeSeed(), make(map[uint64]time.Time)
	}
	if now.Sub(a.swept) > readerQuiet {
		a.sweepLocked(now)
	}
	who := maphash.String(a.seed, host+"\x00"+r.UserAgent()+"\x00"+sessionOf(r.URL.RawQuery)+"\x00"+app+"\x00"+name)
	if _, known := a.asked[who]; known || len(a.asked) < maxReaders {
		a.asked[who] = now
	}
}

func (a *readers) count(now time.Time) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sweepLocked(now)
	return len(a.asked)
}

func (a *readers) sweepLocked(now time.Time) {
	a.swept = now
	for who, at := range a.asked {
		if now.Sub(at) > readerQuiet {
			delete(a.asked, who)
		}
	}
}
