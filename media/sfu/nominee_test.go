package sfu

import (
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

// TestNominee goes through what clients nominate.
func TestNominee(t *testing.T) {
	candidate := func(network string, port int, priority uint32) ice.Candidate {
		c, err := ice.NewCandidatePeerReflexive(&ice.CandidatePeerReflexiveConfig{Network: network, Address: "192.0.2.1", Port: port, Component: 1, Priority: priority})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	local := candidate("udp", 1, 2130706431)
	pairs := map[string]*ice.CandidatePair{
		"udp":  {Local: local, Remote: candidate("udp", 2, 1853824767)},
		"udp2": {Local: local, Remote: candidate("udp", 3, 1853824767)}, // behind a NAT that has changed its mind
		"tcp":  {Local: candidate("tcp", 4, 1526726655), Remote: candidate("tcp", 4, 1518280447)},
	}
	type request struct {
		at       time.Duration
		pair     string
		nominate bool
		session  string
		want     bool
	}
	for name, requests := range map[string][]request{
		"Firefox: UDP, then TCP": {{0, "udp", true, "a", false}, {50 * time.Millisecond, "tcp", true, "a", false}, {5 * time.Second, "udp", false, "a", false}},
		"Firefox: TCP, then UDP": {{0, "tcp", true, "a", false}, {50 * time.Millisecond, "udp", true, "a", true}},
		"Chromium goes to TCP": {{0, "udp", true, "a", false}, {2 * time.Second, "udp", true, "a", false}, {3 * time.Second, "tcp", true, "a", false},
			{4 * time.Second, "tcp", true, "a", false}, {5500 * time.Millisecond, "tcp", true, "a", true}, {8 * time.Second, "tcp", true, "a", false}},
		"a NAT changes its mind": {{0, "udp", true, "a", false}, {time.Second, "udp2", true, "a", true}},
		"a check alone":          {{0, "udp", true, "a", false}, {10 * time.Second, "tcp", false, "a", false}},
		"ICE restart":            {{0, "udp", true, "a", false}, {time.Second, "tcp", true, "b", false}, {1100 * time.Millisecond, "udp", true, "b", true}},
	} {
		n, start := &nominee{}, time.Now()
		for i, r := range requests {
			m := &stun.Message{}
			m.Add(stun.AttrUsername, []byte(r.session+":x"))
			if r.nominate {
				m.Add(stun.AttrUseCandidate, nil)
			}
			if got := n.take(m, pairs[r.pair], start.Add(r.at)); got != r.want {
				t.Errorf("%s: request %d, on %s: got %v, want %v", name, i, r.pair, got, r.want)
			}
		}
	}
}
