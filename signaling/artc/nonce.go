package artc

import (
	"sync"
	"time"
)

// maxNonces bounds the memory for nonces: 16 bytes each and a map's overhead,
// about 40 MB when full. 15 minutes at the 500 requests a second that the
// busiest action documents are 450,000.
const maxNonces = 1 << 20

// nonces remembers which nonces were used, each until the time stamp it came
// with has expired: from then on a replay fails by its time stamp. They lie in
// one set per minute of the time stamp (at most 31), which are forgotten whole.
type nonces struct {
	mu    sync.Mutex
	max   int
	count int
	sets  map[int64]map[[16]byte]struct{} // by unix minute
}

func newNonces(max int) *nonces {
	return &nonces{max: max, sets: map[int64]map[[16]byte]struct{}{}}
}

// use notes a nonce that came with time stamp at, which is not more than skew
// from now. When the memory is full it refuses rather than forget: a replay is
// never let through.
func (n *nonces) use(key [16]byte, now, at time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	oldest := now.Add(-skew).Unix() / 60
	for minute, set := range n.sets {
		if minute < oldest {
			n.count -= len(set)
			delete(n.sets, minute)
		} else if _, used := set[key]; used {
			return errNonceUsed
		}
	}
	if n.count >= n.max {
		return errThrottled
	}
	minute := at.Unix() / 60
	if n.sets[minute] == nil {
		n.sets[minute] = map[[16]byte]struct{}{}
	}
	n.sets[minute][key] = struct{}{}
	n.count++
	return nil
}
