package sfu

import (
	"cmp"
	"slices"
)

// claim is one picture that a viewer wants.
type claim struct {
	rank    int       // lower ones are served first
	area    int       // of the element, in pixels; among one rank the larger is served first
	rates   []float64 // bits/s of what it may get, the smallest layer first, up to the one that fits
	current int       // index of what it gets now; -1: nothing
	held    bool      // not to be raised now
}

// Ranks of claims.
const (
	rankScreen  = iota // text has to be read
	rankSpeaker        // who is heard is looked at
	rankOther
)

// A layer that is not there yet has to fit with room to spare; one that is there
// may stay until it clearly does not.
const (
	raiseMargin = 1.15
	keepMargin  = 0.95
)

func (c *claim) cost(i int) float64 {
	switch {
	case i < 0:
		return 0
	case i > c.current:
		return c.rates[i] * raiseMargin
	}
	return c.rates[i] * keepMargin
}

// allocate shares budget, in bits/s, among claims: it gives each an index into its
// rates, or -1 for nothing. First everyone gets the smallest layer, in order,
// then the first ranks as much as fits, then the others one layer after the
// other, so that nobody is at full size while another of its rank is at the
// smallest. The first claim is never left without a picture. The result is in
// given's memory where that is large enough.
func allocate(given []int, budget float64, claims []claim) []int {
	var few [16]int
	order := few[:0]
	given = given[:0]
	for i := range claims {
		given, order = append(given, -1), append(order, i)
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(claims[a].rank, claims[b].rank), cmp.Compare(claims[b].area, claims[a].area))
	})
	left := budget
	raise := func(i int) bool {
		c, to := &claims[i], given[i]+1
		if to >= len(c.rates) || c.held && to > c.current {
			return false
		}
		more := c.cost(to) - c.cost(given[i])
		if more > left {
			return false
		}
		given[i], left = to, left-more
		return true
	}
	for n, i := range order {
		if !raise(i) && n == 0 && len(claims[i].rates) > 0 {
			left -= claims[i].cost(0)
			given[i] = 0
		}
	}
	for rank := rankScreen; rank <= rankOther; rank++ {
		for raised := true; raised; {
			raised = false
			for _, i := range order {
				if claims[i].rank == rank && given[i] >= 0 && raise(i) {
					raised = true
				}
			}
		}
	}
	return given
}

// next is the least budget at which allocate would give more than given; 0 when
// there is no more to give.
func next(claims []claim, given []int) float64 {
	total, least := 0.0, 0.0
	for i := range claims {
		c := &claims[i]
		total += c.cost(given[i])
		if to := given[i] + 1; to < len(c.rates) {
			if more := c.cost(to) - c.cost(given[i]); least == 0 || more < least {
				least = more
			}
		}
	}
	if least == 0 {
		return 0
	}
	return total + least
}
