package bwe

import "testing"

// TestManyStatuses: a few bytes that tell of all numbers, without times, are not
// gone through one by one.
func TestManyStatuses(t *testing.T) {
	raw := []byte{0x8f, rtpfb, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0xff, 0xff, 0, 0, 0, 0}
	for range 10 {
		raw = append(raw, 0x7f, 0xff) // 8191 packets came, nobody knows when
	}
	r, _, ok, err := nextFeedback(raw)
	if !ok || err != nil {
		t.Fatal(err)
	}
	steps, told := 0, 0
	for {
		_, n, _, _ := r.next()
		if n == 0 {
			break
		}
		steps, told = steps+1, told+n
	}
	if steps > 9 || told != 0xffff {
		t.Errorf("%d steps for %d packets in 9 runs", steps, told)
	}
}
