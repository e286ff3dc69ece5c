package sfu

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestMissing is a stream of packets 10 ms apart: which numbers are asked for, and when.
func TestMissing(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		sent []uint16 // one every 10 ms
		want string
	}{
		{"nothing is lost", []uint16{65534, 65535, 0, 1}, ""},
		{"begins in the middle", []uint16{500, 501}, ""},
		{"at once, once", []uint16{1, 2, 4, 5, 6, 3, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, "20:[3] "},
		{"around the end", []uint16{65534, 2, 65535, 0, 1}, "10:[65535 0 1] "},
		{"again after 125 ms", []uint16{1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 2, 17, 18, 19, 20, 21, 22, 23, 24}, "10:[2] 140:[2] "},
		{"twice is no loss", []uint16{1, 2, 2, 1, 3}, ""},
		{"a new count", []uint16{1, 2, 30000, 30001}, ""},
	} {
		var m missing
		got := ""
		for i, seq := range tt.sent {
			now := start.Add(time.Duration(i) * 10 * time.Millisecond)
			m.saw(seq, now)
			if due, hopeless := m.due(now, nil); len(due) > 0 || hopeless {
				got += fmt.Sprintf("%d:%v ", i*10, due)
			}
		}
		if got != tt.want {
			t.Errorf("%s: asks for %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestMissingCountsBack: a sender that begins to count anew below where it was is
// asked for what is lost as before.
func TestMissingCountsBack(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var m missing
	asked := 0
	saw := func(seq uint16) {
		now = now.Add(10 * time.Millisecond)
		m.saw(seq, now)
		due, _ := m.due(now, nil)
		asked += len(due)
	}
	for n := range uint16(100) {
		saw(30000 + n)
	}
	for n := range uint16(200) {
		saw(5000 + n)
	}
	if asked > 0 {
		t.Errorf("asks for %d packets that were never sent", asked)
	}
	saw(5201)
	if asked != 1 {
		t.Errorf("asks for %d packets, want the one that is lost", asked)
	}
}

// TestMissingGivesUp: a packet that never comes costs ten requests, and then a key frame.
func TestMissingGivesUp(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var m missing
	m.saw(1, start)
	asked, gaveUp := 0, 0
	for i := range 400 {
		now := start.Add(time.Duration(i) * 10 * time.Millisecond)
		m.saw(uint16(3+i), now)
		due, hopeless := m.due(now, nil)
		asked += len(due)
		if hopeless {
			gaveUp++
		}
	}
	if asked < 5 || asked > askMost || gaveUp != 1 || len(m.absent) != 0 {
		t.Errorf("asked %d times, gave up %d times, %d are left", asked, gaveUp, len(m.absent))
	}
	m.saw(1000, start.Add(5*time.Second)) // an outage
	if due, hopeless := m.due(start.Add(5*time.Second), nil); len(due) != 0 || !hopeless || len(m.absent) != 0 {
		t.Errorf("after an outage: asks for %d, hopeless %v, %d are left", len(due), hopeless, len(m.absent))
	}
}

// TestMissingAsksLittle: a publisher 100 ms away loses a tenth of everything,
// requests and answers too. Nearly all comes, with little sent in vain; more comes
// with the first answer than if each request were sent once.
func TestMissingAsksLittle(t *testing.T) {
	const trip = 100 * time.Millisecond
	random := rand.New(rand.NewPCG(1, 2))
	lost := func() bool { return random.Float64() < 0.1 }
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	type answer struct {
		at  time.Time
		seq uint16
	}
	var m missing
	var answers []answer
	answered := map[uint16]time.Time{}
	missedAt := map[uint16]time.Time{}
	sent, missed, repaired, soon, hopeless := 0, 0, 0, 0, 0
	for i := range 50_000 {
		now := start.Add(time.Duration(i) * 5 * time.Millisecond)
		for len(answers) > 0 && !answers[0].at.After(now) {
			if m.saw(answers[0].seq, now) {
				repaired++
				if now.Sub(missedAt[answers[0].seq]) < trip+2*askTwice {
					soon++
				}
			}
			answers = answers[1:]
		}
		if lost() {
			missed++
			missedAt[uint16(i)] = now
		} else {
			m.saw(uint16(i), now)
		}
		due, over := m.due(now, nil)
		if over {
			hopeless++
		}
		for _, seq := range due {
			if lost() || now.Sub(answered[seq]) < trip { // libwebrtc sends nothing twice in a round trip
				continue
			}
			answered[seq] = now
			sent++
			if !lost() {
				answers = append(answers, answer{now.Add(trip), seq})
			}
		}
		slices.SortStableFunc(answers, func(a, b answer) int { return a.at.Compare(b.at) })
	}
	if repaired < missed*998/1000 || hopeless > 3 {
		t.Errorf("%d of %d lost packets were repaired, given up %d times", repaired, missed, hopeless)
	}
	if sent > missed*125/100 { // 1/0.9 is what the loss of answers costs
		t.Errorf("%d packets were sent again for %d lost ones", sent, missed)
	}
	if soon < missed*86/100 { // of single requests and their answers 0.81 get through
		t.Errorf("%d of %d lost packets came after one round trip", soon, missed)
	}
	if m.answer < trip || m.answer > trip*3/2 {
		t.Errorf("an answer takes %v, the estimate is %v", trip, m.answer)
	}
}

func BenchmarkMissing(b *testing.B) {
	b.ReportAllocs()
	var m missing
	var numbers []uint16
	now := time.Now()
	for i := 0; b.Loop(); i++ {
		now = now.Add(2 * time.Millisecond)
		if i%20 != 0 {
			m.saw(uint16(i), now)
		}
		if i%20 == 10 {
			m.saw(uint16(i-10), now)
		}
		numbers, _ = m.due(now, numbers[:0])
	}
}
