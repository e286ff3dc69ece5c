package packet

import (
	"bytes"
	"slices"

	"braid/media/h264"
)

// A publisher has one or two of each set, some hundred bytes long; H.264 allows
// 32 SPS and 256 PPS.
const (
	maxSets    = 16
	maxSetSize = 8 << 10
)

// parameterSets are the H.264 parameter sets a publisher sent last, one for each
// kind and id.
type parameterSets struct {
	sps, pps []parameterSet
	inBand   bool // the last IDR came with its own
}

type parameterSet struct {
	id   int
	unit []byte
}

// add remembers u if it is a parameter set. A changed SPS makes the PPS before
// it void (H.264 section 7.4.1.2.1).
func (s *parameterSets) add(u []byte) {
	if len(u) > maxSetSize {
		return
	}
	switch h264.Type(u) {
	case h264.TypeSPS:
		sps, err := h264.ParseSPS(u)
		if err != nil {
			return
		}
		changed := false
		if s.sps, changed = remember(s.sps, sps.ID, u); changed {
			s.pps = nil
		}
	case h264.TypePPS:
		if id, ok := h264.PPSID(u); ok {
			s.pps, _ = remember(s.pps, id, u)
		}
	}
}

// remember puts u in the place of the set with its id; changed tells that there
// was another one. The oldest goes when there are too many.
func remember(sets []parameterSet, id int, u []byte) (_ []parameterSet, changed bool) {
	i := slices.IndexFunc(sets, func(p parameterSet) bool { return p.id == id })
	switch {
	case i >= 0 && bytes.Equal(sets[i].unit, u):
		return sets, false
	case i >= 0:
		sets = slices.Delete(sets, i, i+1)
	case len(sets) == maxSets:
		sets = slices.Delete(sets, 0, 1)
	}
	return append(sets, parameterSet{id, bytes.Clone(u)}), i >= 0
}

// complete puts all known sets in front of the units, in place of the units'
// own. ok is false when no SPS or no PPS is known.
func (s *parameterSets) complete(units [][]byte) (_ [][]byte, ok bool) {
	if len(s.sps) == 0 || len(s.pps) == 0 {
		return nil, false
	}
	all := make([][]byte, 0, len(s.sps)+len(s.pps)+len(units))
	for _, p := range s.sps {
		all = append(all, p.unit)
	}
	for _, p := range s.pps {
		all = append(all, p.unit)
	}
	for _, u := range units {
		if t := h264.Type(u); t != h264.TypeSPS && t != h264.TypePPS {
			all = append(all, u)
		}
	}
	return all, true
}
