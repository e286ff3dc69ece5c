package sfu

import (
	"bytes"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
)

// nominee finds the pair that a client means when it nominates several.
//
// Firefox and libnice nominate every pair whose check succeeds, once, and mean
// the one of the highest priority (RFC 5245 section 8.1.1.2): a TCP pair that
// comes after a UDP pair is not meant, and they close it some seconds later.
// Chromium nominates the pair that it uses with every check, and no other: when
// it moves to one of lower priority, it stops naming the better one. So a worse
// pair is taken when the better was not named for a while. (A lite agent of Pion
// follows the last nomination, whatever it is; told to look at priorities, it
// never goes to a worse pair.)
//
// All is owned by the ICE agent's loop.
type nominee struct {
	pair     *ice.CandidatePair // nil: none yet
	username []byte             // of the ICE session that it belongs to
	named    time.Time          // when it was nominated last
}

// unnamed is how long a better pair must not have been nominated. Chromium checks
// a pair in use every 2.5 s at least.
const unnamed = 3 * time.Second

// nominate has an agent take the pairs that a nominee wants; seen is told of each
// request.
func nominate(settings *webrtc.SettingEngine, seen func(m *stun.Message, local, remote ice.Candidate, pair *ice.CandidatePair) bool) {
	n := &nominee{}
	settings.SetICEUseCandidateCheckPriority(true)
	settings.SetICEBindingRequestHandler(func(m *stun.Message, local, remote ice.Candidate, pair *ice.CandidatePair) bool {
		seen(m, local, remote, pair)
		return n.take(m, pair, time.Now())
	})
}

// take is told of a request on a pair, and says whether the pair shall be used
// now though the agent itself would not.
func (n *nominee) take(m *stun.Message, pair *ice.CandidatePair, now time.Time) bool {
	if !m.Contains(stun.AttrUseCandidate) {
		return false
	}
	username, _ := m.Get(stun.AttrUsername) // a request that passed its integrity check has one
	if n.pair == nil || !bytes.Equal(username, n.username) {
		n.pair, n.username, n.named = pair, bytes.Clone(username), now // the agent takes the first by itself
		return false
	}
	if n.pair == pair {
		n.named = now
		return false
	}
	if priority(pair) < priority(n.pair) && now.Sub(n.named) < unnamed {
		return false
	}
	n.pair, n.named = pair, now
	return true
}

// priority is a pair's (RFC 8445 section 6.1.2.3); the client controls.
func priority(p *ice.CandidatePair) uint64 {
	g, d := uint64(p.Remote.Priority()), uint64(p.Local.Priority())
	sum := min(g, d)<<32 + 2*max(g, d)
	if g > d {
		sum++
	}
	return sum
}
