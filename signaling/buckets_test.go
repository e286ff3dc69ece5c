package signaling

import (
	"strconv"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	now := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
	b := NewBuckets(5*time.Second, 3)
	for range 3 {
		if wait := b.Take("ann", now); wait != 0 {
			t.Fatalf("has to wait %v", wait)
		}
	}
	if wait := b.Take("ann", now.Add(time.Second)); wait != 4*time.Second {
		t.Errorf("the fourth waits %v, want 4s", wait)
	}
	if wait := b.Take("ben", now); wait != 0 {
		t.Errorf("another waits %v", wait)
	}
	if wait := b.Take("ann", now.Add(5*time.Second)); wait != 0 {
		t.Errorf("later it waits %v", wait)
	}
	if b.Fill("ann"); b.Take("ann", now.Add(5*time.Second)) != 0 {
		t.Error("what was given back is not there")
	}
}

// What was forgotten is bounded, and full buckets go first.
func TestBucketsAreBounded(t *testing.T) {
	now := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
	b := NewBuckets(5*time.Second, 20)
	for i := range 3*mostBuckets - mostBuckets/20 { // some room is left
		b.Take(strconv.Itoa(i), now)
	}
	if n := len(b.all); n > mostBuckets {
		t.Errorf("%d are remembered, want at most %d", n, mostBuckets)
	}
	now = now.Add(time.Hour) // full again, all of them
	for range 3 {
		b.Take("busy", now)
	}
	for n := 0; len(b.all) < mostBuckets; n++ {
		b.Take("new"+strconv.Itoa(n), now)
	}
	b.Take("one more", now)
	if b.all["busy"] == nil {
		t.Error("one that is in use was forgotten before those that are not")
	}
}

// Making room is work for all that are remembered: it makes enough for long.
func TestBucketsMakeRoomSeldom(t *testing.T) {
	now := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
	b := NewBuckets(5*time.Second, 20)
	b.Take("early", now)
	now = now.Add(4 * time.Second)
	for i := range mostBuckets - 1 {
		b.Take(strconv.Itoa(i), now)
	}
	b.Take("one more", now.Add(time.Second)) // one alone is full again
	if n := len(b.all); n > mostBuckets*9/10+1 {
		t.Errorf("%d are remembered after room was made, of at most %d", n, mostBuckets)
	}
}
