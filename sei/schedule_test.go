package sei

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSchedule(t *testing.T) {
	second := Rule{On: true, Interval: time.Second}
	idr := Rule{On: true, FollowIDR: true}
	both := Rule{On: true, FollowIDR: true, Interval: time.Second}
	// A picture is its time in ms, k for a key frame, c for a change. What is
	// written follows: L layout, P pass-through.
	for _, c := range []struct {
		name                string
		layout, passThrough Rule
		pictures, want      string
	}{
		{"off", Rule{}, Rule{FollowIDR: true, Interval: 1}, "0k 500c 2000", "0 500 2000"},
		{"first and changes only", Rule{On: true}, Rule{}, "0k 500 1000k 1500c 9000", "0L 500 1000 1500L 9000"},
		{"interval", second, Rule{}, "40 80 1039 1040 1041 2040", "40L 80 1039 1040L 1041 2040L"},
		{"IDR", idr, Rule{}, "0 10k 20 30k", "0L 10L 20 30L"},
		{"IDR begins the interval anew", both, Rule{}, "0k 600k 1000 1600 2000k 2999 3000", "0L 600L 1000 1600L 2000L 2999 3000L"},
		{"change begins the interval anew", second, Rule{}, "0 600c 1000 1600", "0L 600L 1000 1600L"},
		{"each by its own rule", second, Rule{On: true, Interval: 2 * time.Second}, "0 1000 2000 3000 3500c 4000", "0LP 1000L 2000LP 3000L 3500LP 4000"},
		{"timeline begins anew", second, Rule{}, "5000 5500 0 500 1000", "5000L 5500 0L 500 1000L"},
		{"no catching up after a pause", second, Rule{}, "0 5500 5600 6000 6500", "0L 5500L 5600 6000 6500L"},
		{"late picture keeps the beat", second, Rule{}, "0 1030 2000 3020", "0L 1030L 2000L 3020L"},
	} {
		s := Schedule{Layout: c.layout, PassThrough: c.passThrough}
		var got []string
		for _, p := range strings.Fields(c.pictures) {
			var ms int
			fmt.Sscanf(p, "%d", &ms)
			l, pt := s.Next(time.Duration(ms)*time.Millisecond, strings.Contains(p, "k"), strings.Contains(p, "c"))
			out := fmt.Sprint(ms)
			if l {
				out += "L"
			}
			if pt {
				out += "P"
			}
			got = append(got, out)
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, s, c.want)
		}
	}
}

// TestScheduleDrift counts an hour of pictures at rates that fit no second.
func TestScheduleDrift(t *testing.T) {
	for _, frame := range []time.Duration{33_366_666, 66_733_333, 41_708_333, 16_683_333} {
		s := Schedule{Layout: Rule{On: true, Interval: time.Second}}
		n := 0
		for pts := time.Duration(0); pts < time.Hour; pts += frame {
			if l, _ := s.Next(pts, false, false); l {
				if late := pts - time.Duration(n)*time.Second; late < 0 || late >= frame {
					t.Fatalf("frames of %v: message %d is %v late", frame, n, late)
				}
				n++
			}
		}
		if n != 3600 {
			t.Errorf("frames of %v: got %d messages in an hour, want 3600", frame, n)
		}
	}
}
