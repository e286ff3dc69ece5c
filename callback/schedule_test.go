package callback

import (
	"testing"
	"time"

	"braid/store"
)

func TestWait(t *testing.T) {
	c := New(Config{}).cfg
	for _, test := range []struct {
		n       int
		failing time.Duration
		want    time.Duration
	}{
		{1, 0, time.Second}, {2, time.Second, 2 * time.Second}, {6, time.Minute, 32 * time.Second}, {7, time.Minute, time.Minute},
		{1000, 23 * time.Hour, time.Minute}, {1, 24 * time.Hour, 10 * time.Minute},
	} {
		if got := c.wait(test.n, test.failing); got != test.want {
			t.Errorf("failure %d after %v: wait %v, want %v", test.n, test.failing, got, test.want)
		}
	}
	for range 1000 {
		if d := jitter(10 * time.Second); d < 8*time.Second || d > 12*time.Second {
			t.Fatalf("jitter made %v of 10 s", d)
		}
	}
}

// TestJudge: what becomes of a head.
func TestJudge(t *testing.T) {
	c := New(Config{}).cfg
	now := time.Unix(1e9, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	refused := func(n int, first time.Duration) store.Head {
		return store.Head{Lane: store.Lane{Fails: n, Since: ago(first), Tried: ago(time.Minute)},
			Delivery: store.Delivery{Attempts: n, Refused: n, First: ago(first), Created: ago(first)}}
	}
	fresh := store.Head{Lane: store.Lane{Due: ago(time.Second)}, Delivery: store.Delivery{Created: ago(time.Minute)}}
	const delivered, failed, waiting, held = "delivered", "failed", "waiting", "held"
	for _, test := range []struct {
		name string
		head store.Head
		code int
		good time.Time
		want string
	}{
		{"200", fresh, 200, time.Time{}, delivered},
		{"204", fresh, 204, time.Time{}, delivered},
		{"302", fresh, 302, time.Time{}, waiting},
		{"500, nothing got through", fresh, 500, time.Time{}, waiting},
		{"500, others got through before", fresh, 500, ago(time.Hour), waiting},
		{"500, others got through meanwhile", fresh, 500, ago(time.Millisecond), held},
		{"third 400 in 10 minutes, others get through", refused(2, 10*time.Minute), 400, ago(time.Second), failed},
		{"third 410", refused(2, 10*time.Minute), 410, ago(time.Second), failed},
		{"third 400 in 9 minutes", refused(2, 9*time.Minute), 400, ago(time.Second), held},
		{"second 400", refused(1, time.Hour), 400, ago(time.Second), held},
		{"third 400, none got through since the first", refused(2, 10*time.Minute), 400, ago(time.Hour), waiting},
		{"third 4xx is 429", refused(2, 10*time.Minute), 429, ago(time.Second), held},
		{"third 4xx is 408", refused(2, 10*time.Minute), 408, ago(time.Second), held},
		{"third 4xx is 425", refused(2, 10*time.Minute), 425, ago(time.Second), held},
		{"72 h", refused(0, 72*time.Hour), 500, time.Time{}, failed},
		{"71 h", refused(0, 71*time.Hour), 500, time.Time{}, waiting},
		{"old, but its lane fails only since now", store.Head{Delivery: store.Delivery{Created: ago(100 * time.Hour)}}, 500, time.Time{}, waiting},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := answer{code: test.code, at: now}
			if test.code > 299 {
				a.failure = "status"
			}
			o := c.judge(test.head, a, test.good)
			got := waiting
			switch {
			case o.Delivered:
				got = delivered
			case o.Failed:
				got = failed
			case o.Head.State == store.Held:
				got = held
			}
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if got == waiting && !o.Head.Due.After(now) {
				t.Errorf("due at %v, now is %v", o.Head.Due, now)
			}
			if o.Record.Attempt != test.head.Attempts+1 || o.Record.Code != test.code {
				t.Errorf("record is %+v", o.Record)
			}
		})
	}
}

// TestChoose: which lanes start, and when the next one does.
func TestChoose(t *testing.T) {
	now := time.Unix(1e9, 0)
	var lanes []store.Lane
	for i := range int64(20) {
		lanes = append(lanes, store.Lane{ID: i, State: store.Waiting, Due: now.Add(time.Duration(i-1) * time.Second)})
	}
	held := []store.Lane{{ID: 1, State: store.Held, Due: now.Add(time.Minute)}}
	fresh := []store.Lane{{ID: 1, State: store.Fresh, Due: now}}
	busy := map[int64]bool{0: true, 1: true, 2: true}
	for _, test := range []struct {
		name  string
		end   endpoint
		lanes []store.Lane
		start int
		next  time.Duration // -1: none
	}{
		{"due", endpoint{}, lanes, 2, time.Second},
		{"up", endpoint{up: true}, lanes, 8, -1},
		{"up, three busy", endpoint{up: true, busy: busy}, lanes, 5, -1},
		{"down", endpoint{streak: downAfter}, lanes, 2, -1},
		{"down, two lanes", endpoint{streak: downAfter}, lanes[1:3], 1, time.Second},
		{"down, pause", endpoint{streak: downAfter, pause: now.Add(500 * time.Millisecond)}, lanes, 0, 500 * time.Millisecond},
		{"down, fresh", endpoint{streak: downAfter, pause: now.Add(time.Second)}, fresh, 0, time.Second},
		{"fresh", endpoint{streak: 1}, fresh, 1, -1},
		{"held", endpoint{up: true}, held, 0, time.Minute},
		{"nothing", endpoint{}, nil, 0, -1},
	} {
		start, next := test.end.choose(test.lanes, now)
		in := time.Duration(-1)
		if !next.IsZero() {
			in = next.Sub(now)
		}
		if len(start) != test.start || in != test.next {
			t.Errorf("%s: %d start, next in %v; want %d, %v", test.name, len(start), in, test.start, test.next)
		}
		for _, l := range start {
			if test.end.busy[l.ID] {
				t.Errorf("%s: lane %d is busy", test.name, l.ID)
			}
		}
	}
}
