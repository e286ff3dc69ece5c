package sfu

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestAllocate(t *testing.T) {
	full := []float64{150e3, 500e3, 1500e3}
	speaker, other := func(now int) claim { return claim{rank: rankSpeaker, rates: full, current: now} }, func(area, now int) claim {
		return claim{rank: rankOther, area: area, rates: full, current: now}
	}
	for _, tt := range []struct {
		name   string
		budget float64
		claims []claim
		want   string
	}{
		{"nobody", 1e6, nil, "[]"},
		{"enough for all", 10e6, []claim{speaker(-1), other(1, -1), other(1, -1)}, "[2 2 2]"},
		{"the speaker first", 2.1e6, []claim{other(1, -1), speaker(-1), other(1, -1)}, "[0 2 0]"},
		{"others in turns, the larger first", 1.4e6, []claim{other(1, -1), other(9, -1), other(5, -1)}, "[0 1 1]"},
		{"some get nothing", 400e3, []claim{other(1, -1), speaker(-1), other(5, -1), other(3, -1)}, "[-1 0 0 -1]"},
		{"the first always gets something", 50e3, []claim{other(1, -1), speaker(-1)}, "[-1 0]"},
		{"what is there stays", 1.45e6, []claim{speaker(2)}, "[2]"},
		{"what is not there needs room", 1.6e6, []claim{speaker(1)}, "[1]"},
		{"until it clearly does not fit", 1.40e6, []claim{speaker(2)}, "[1]"},
		{"held", 10e6, []claim{{rank: rankSpeaker, rates: full, current: 1, held: true}}, "[1]"},
		{"one layer alone", 1e6, []claim{{rank: rankOther, rates: []float64{2e6}, current: 0}}, "[0]"},
		{"a screen before the speaker", 2.1e6, []claim{speaker(-1), {rank: rankScreen, rates: []float64{1.2e6}, current: -1}}, "[1 0]"},
		{"nothing to have", 1e6, []claim{{rank: rankOther}}, "[-1]"},
	} {
		if got := fmt.Sprint(allocate(nil, tt.budget, tt.claims)); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestAllocateHolds: whatever is claimed, the sum fits (but for the first), it
// comes to rest, and next says what it takes to give more.
func TestAllocateHolds(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		var claims []claim
		for range random.IntN(8) {
			c := claim{rank: random.IntN(3), area: random.IntN(5), current: -1}
			rate := 50e3 + 400e3*random.Float64()
			for range random.IntN(4) {
				c.rates = append(c.rates, rate)
				rate *= 1.5 + 2*random.Float64()
			}
			if len(c.rates) > 0 {
				c.current = random.IntN(len(c.rates)+1) - 1
			}
			claims = append(claims, c)
		}
		budget := 5e6 * random.Float64()
		given := allocate(nil, budget, claims)
		sum, only := 0.0, 0
		for i := range claims {
			sum += claims[i].cost(given[i])
			if given[i] >= 0 {
				only++
			}
		}
		if sum > budget && (only > 1 || sum == 0) {
			t.Fatalf("%.0f given of %.0f: %v to %+v", sum, budget, given, claims)
		}
		if more := next(claims, given); more > 0 && more < budget && sum <= budget {
			t.Fatalf("next is %.0f, below the budget of %.0f: %v to %+v", more, budget, given, claims)
		}
		for round := 0; ; round++ {
			for i := range claims {
				claims[i].current = given[i]
			}
			again := allocate(nil, budget, claims)
			if fmt.Sprint(again) == fmt.Sprint(given) {
				break
			}
			if round == 2*len(claims) {
				t.Fatalf("given %v, and %d looks later %v of %.0f to %+v", given, round, again, budget, claims)
			}
			given = again
		}
	}
}
