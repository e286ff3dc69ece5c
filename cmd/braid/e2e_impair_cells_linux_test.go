package main

import (
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"braid/cmd/braid/internal/netbox"
)

// cell is a row of the table of doc/reliability.md: a bad network, and what a
// call on it has to keep to.
type cell struct {
	name    string
	bad     netbox.Profile // both ways, from the begin of the span to its end
	event   func(*trial)   // changes the network during the span; nil: it stays as it is
	options string         // of publishCamera, JavaScript
	goal    goal
}

// goal is zero where the table asks for nothing.
type goal struct {
	concealed, frozen limit // shares
	mos               float64
	first             time.Duration // from the return of the network to a new picture
	gap               time.Duration // longest pause after a change of address
	delay             time.Duration // 95 of 100 pictures
	recovered         time.Duration // until 80 % of the former rate
}

type limit struct {
	most float64
	set  bool
}

func most(v float64) limit { return limit{v, true} }

// cells is facts' table 1.1 and the change of address of 1.2.
func cells() []cell {
	at := func(d time.Duration) netbox.Profile { return netbox.Profile{Delay: d} }
	lossy := func(share float64, d time.Duration) netbox.Profile { return netbox.Profile{Loss: share, Delay: d} }
	const ms20, ms50, ms100 = 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond
	return []cell{
		{name: "clean, 20 ms", bad: at(ms20), goal: goal{concealed: most(0), frozen: most(0)}},
		{name: "5 % loss, 50 ms", bad: lossy(0.05, ms50), goal: goal{concealed: most(0.005), frozen: most(0.01)}},
		{name: "10 % loss, 50 ms", bad: lossy(0.1, ms50), goal: goal{concealed: most(0.01), frozen: most(0.03), mos: 3.8}},
		{name: "20 % loss, 100 ms", bad: lossy(0.2, ms100), goal: goal{concealed: most(0.03), frozen: most(0.08), mos: 3.3}},
		{name: "30 % loss, 50 ms", bad: lossy(0.3, ms50), goal: goal{concealed: most(0.08)}},
		{name: "50 % loss, 50 ms", bad: lossy(0.5, ms50), goal: goal{concealed: most(0.25)}},
		{name: "jitter 100 +-100 ms, 20 % reordered, 1 % twice", goal: goal{concealed: most(0.02), frozen: most(0.05)},
			bad: netbox.Profile{Delay: ms100, Jitter: ms100, Ordered: true, Reorder: 0.2, Duplicate: 0.01}},
		{name: "3 s blackout every 30 s", bad: at(ms20), event: blackouts, goal: goal{first: time.Second}},
		{name: "2.5 -> 0.5 -> 2.5 Mbit/s, 20 ms", bad: netbox.Profile{Delay: ms20, Rate: 2.5e6}, event: step,
			options: `{ maxBitrate: 2_500_000 }`, goal: goal{delay: 400 * time.Millisecond, recovered: 20 * time.Second}},
		{name: "the same, three layers", bad: netbox.Profile{Delay: ms20, Rate: 2.5e6}, event: step,
			options: `{ maxBitrate: 1_800_000, simulcast: true }`, goal: goal{delay: 400 * time.Millisecond, recovered: 20 * time.Second}},
		{name: "another address, every 20 s", bad: at(ms20), event: moves, goal: goal{gap: 1500 * time.Millisecond}},
	}
}

// near is a good network, of whoever has no bad one.
func near() netbox.Profile { return netbox.Profile{Delay: 10 * time.Millisecond} }

// quiet is the cell's network without what is bad in it: its delay is there from
// the beginning, since a delay that grows stretches sound.
func (x cell) quiet() netbox.Profile {
	return netbox.Profile{Delay: max(x.bad.Delay, near().Delay)}
}

// trial is one cell, measured.
type trial struct {
	*call
	cell   cell
	side   *side // whose network is bad
	up     bool  // ann's: publisher to server
	span   time.Duration
	from   time.Time
	result result
}

// result is what a row shows.
type result struct {
	cell      cell
	where     string
	concealed float64
	frozen    float64
	freezes   int
	fps       float64
	width     int
	kbps      float64
	p50, p95  float64 // delay, ms
	mos       float64
	notes     []string
	missed    []string // goals
}

func (r *result) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func (r *result) hold(ok bool, format string, args ...any) {
	if !ok {
		r.missed = append(r.missed, fmt.Sprintf(format, args...))
	}
}

// try measures a cell on a call that flows: side 0 is the publisher's network,
// 1 the viewer's.
func (c *call) try(x cell, where int, span time.Duration) result {
	c.t.Helper()
	r := &trial{call: c, cell: x, side: &c.sides[where], up: where == 0, span: span}
	r.result = result{cell: x, where: []string{"publisher -> server", "server -> viewer"}[where]}
	ann, ben := c.figures(c.ann), c.figures(c.ben)
	r.side.box.Both(x.bad)
	if os.Getenv("IMPAIR_ONEWAY") != "" { // what media do not pass is spared
		wire := r.side.box.Back
		if r.up {
			wire = r.side.box.Forth
		}
		wire.Set(netbox.Profile{Delay: x.bad.Delay})
	}
	r.from = time.Now()
	if x.event != nil {
		x.event(r)
	} else {
		wait(span)
	}
	to := time.Now()
	ann2, ben2 := c.figures(c.ann), c.figures(c.ben)
	r.side.box.Both(x.quiet())
	back := time.Now()
	r.media(ben, ben2, to)
	r.talk(ann, ann2, ben, ben2)
	c.story("ann", ann, ann2)
	c.story("ben", ben, ben2)
	if err := c.flows(30 * time.Second); err != nil {
		r.result.hold(false, "afterwards, on a good network: %v", err)
	} else if took := time.Since(back); took > 5*time.Second {
		r.result.note("%.1f s until all is well afterwards", took.Seconds())
	}
	return r.result
}

// story tells how all sums have grown, for those who look for a cause.
func (c *call) story(who string, before, after figures) {
	if os.Getenv("IMPAIR_STORY") == "" {
		return
	}
	for _, field := range slices.Sorted(maps.Keys(after)) {
		c.t.Logf("%s %s: %.1f, now %v", who, field, after.grown(before, field), after[field])
	}
	for i, name := range []string{"ann", "ben"} {
		c.t.Logf("%s's wire: from the server %+v, to it %+v", name, c.sides[i].box.Forth.Counts(), c.sides[i].box.Back.Counts())
	}
}

// media compares what ben has heard and seen.
func (r *trial) media(before, after figures, to time.Time) {
	res, goal := &r.result, r.cell.goal
	from := unixMS(r.from)
	if total := after.grown(before, "audio_totalSamplesReceived"); total > 0 {
		res.concealed = after.grown(before, "audio_concealedSamples") / total
	} else {
		res.concealed = 1
	}
	shown := r.sights(r.ben, from, unixMS(to))
	still, freezes := frozen(shown, from, unixMS(to))
	res.frozen, res.freezes = still/(unixMS(to)-from), freezes
	seconds := (unixMS(to) - from) / 1000
	res.fps = float64(len(shown)) / seconds
	if len(shown) > 0 {
		res.width = shown[len(shown)-1].width
	}
	res.kbps = after.grown(before, "video_bytesReceived") * 8 / 1000 / seconds
	delays := r.delays(from, unixMS(to))
	res.p50, res.p95 = share(delays, 0.5), share(delays, 0.95)
	const ends = 40 // ms of packing, capture and playing
	res.mos = mos(res.concealed, float64(r.cell.bad.Delay.Milliseconds())+10+buffered(before, after, "audio")+ends)

	if goal.concealed.set {
		res.hold(res.concealed <= goal.concealed.most+0.0005, "concealed")
	}
	if goal.frozen.set {
		res.hold(res.frozen <= goal.frozen.most+0.0005, "frozen")
	}
	if goal.mos > 0 {
		res.hold(res.mos >= goal.mos, "MOS")
	}
	if goal.delay > 0 && r.cell.event == nil {
		res.hold(res.p95 <= float64(goal.delay.Milliseconds()), "delay")
	}
}

// buffered is how long media waited in the viewer's jitter buffer on average, in ms.
func buffered(before, after figures, kind string) float64 {
	return 1000 * after.grown(before, kind+"_jitterBufferDelay") / max(1, after.grown(before, kind+"_jitterBufferEmittedCount"))
}

// talk is what the ends have asked each other for, and whether the session held.
func (r *trial) talk(ann, ann2, ben, ben2 figures) {
	res := &r.result
	seconds := ben2.grown(ben, "at") / 1000
	res.note("viewer: %.0f fps decoded, %.0f dropped, %.0f key frames, %.1f %% frozen by Chromium, %.0f ms video and %.0f ms audio buffer, %.0f NACK, %.0f again, %.0f PLI; audio %.0f again, %.0f RED",
		ben2.grown(ben, "video_framesDecoded")/seconds, ben2.grown(ben, "video_framesDropped"), ben2.grown(ben, "video_keyFramesDecoded"),
		100*ben2.grown(ben, "video_totalFreezesDuration")/seconds, buffered(ben, ben2, "video"), buffered(ben, ben2, "audio"),
		ben2.grown(ben, "video_nackCount"), ben2.grown(ben, "video_retransmittedPacketsReceived"), ben2.grown(ben, "video_pliCount"),
		ben2.grown(ben, "audio_retransmittedPacketsReceived"), ben2.grown(ben, "audio_fecPacketsReceived"))
	res.note("publisher: %.0f NACK, %.0f PLI, %.0f kbit/s, %v pixels, limited by %v",
		ann2.grown(ann, "sent_nackCount"), ann2.grown(ann, "sent_pliCount"),
		ann2.grown(ann, "sent_bytesSent")*8/max(1, ann2.grown(ann, "at")), ann2["sent_frameWidth"], ann2["sent_limit"])
	for _, p := range []struct {
		*page
		n float64
	}{{r.ann, ann2.grown(ann, "negotiations")}, {r.ben, ben2.grown(ben, "negotiations")}} {
		told := r.told(p.page)
		if told != "" || p.n > 0 {
			res.note("%s: %.0f negotiations, %s", p.name, p.n, told)
		}
		res.hold(!strings.Contains(told, "end") && !strings.Contains(told, "reconnectedfalse"), "%s's session", p.name)
		if r.cell.goal.first > 0 {
			res.hold(p.n == 0, "%s negotiates", p.name)
		}
	}
}

// blackouts cuts the wire for 3 s, 5 s after each half minute's begin.
func blackouts(r *trial) {
	var returned []time.Time
	for begin := r.from; begin.Before(r.from.Add(r.span)); begin = begin.Add(30 * time.Second) {
		wait(time.Until(begin.Add(min(5*time.Second, r.span/4))))
		r.side.box.Both(netbox.Profile{Down: true})
		wait(3 * time.Second)
		r.side.box.Both(r.cell.bad)
		returned = append(returned, time.Now())
		wait(time.Until(begin.Add(min(30*time.Second, r.span))))
	}
	for _, at := range returned {
		took := math.Inf(1)
		if shown := r.sights(r.ben, unixMS(at), unixMS(at)+20_000); len(shown) > 0 {
			took = shown[0].at - unixMS(at)
		}
		r.result.note("first picture %.0f ms after the return", took)
		r.result.hold(took <= float64(r.cell.goal.first.Milliseconds()), "first picture")
	}
}

// moves gives the side another address every 20 s.
func moves(r *trial) {
	var when []time.Time
	for next := r.from.Add(3 * time.Second); next.Before(r.from.Add(r.span)); next = next.Add(20 * time.Second) {
		wait(time.Until(next))
		when = append(when, time.Now())
		if err := r.side.move(); err != nil {
			r.t.Fatal(err)
		}
	}
	wait(time.Until(r.from.Add(r.span)))
	for _, at := range when {
		gap, last := 0.0, unixMS(at)
		end := min(unixMS(time.Now()), unixMS(at)+19_000)
		for _, s := range append(r.sights(r.ben, unixMS(at), end), sight{at: end}) {
			gap = max(gap, s.at-last)
			last = s.at
		}
		r.result.note("pause of %.0f ms", gap)
		r.result.hold(gap <= float64(r.cell.goal.gap.Milliseconds()), "pause")
	}
}

// step narrows the line to a fifth and widens it again. A third of the span,
// but 20 s at least, is for the return.
func step(r *trial) {
	wire := r.side.box.Forth
	if r.up {
		wire = r.side.box.Back
	}
	rate := func(d time.Duration) float64 { // over d, from now on, in bit/s
		before, at := wire.Counts(), time.Now()
		wait(d)
		return float64(wire.Counts().Bytes-before.Bytes) * 8 / time.Since(at).Seconds()
	}
	narrow := r.cell.bad
	narrow.Rate /= 5
	wait(max(0, r.span/3-3*time.Second))
	full := rate(3 * time.Second)
	dropped := wire.Counts().Dropped
	r.side.box.Both(narrow)
	down := time.Now()
	wait(max(0, r.span/3-2*time.Second))
	least := rate(2 * time.Second)
	r.side.box.Both(r.cell.bad)
	up := time.Now()
	r.result.note("%.0f -> %.0f kbit/s on the wire, %d packets dropped", full/1000, least/1000, wire.Counts().Dropped-dropped)
	back := time.Duration(0)
	var reached float64
	for end := up.Add(max(20*time.Second, r.span/3)); time.Now().Before(end); {
		now := rate(2 * time.Second)
		reached = max(reached, now)
		if now >= 0.8*full && back == 0 {
			back = time.Since(up)
		}
	}
	delays := r.delays(min(unixMS(down)+5000, unixMS(up)), unixMS(up))
	p95 := share(delays, 0.95)
	r.result.note("delay while narrow: p50 %.0f, p95 %.0f ms from 5 s on, %d pictures", share(delays, 0.5), p95, len(delays))
	r.result.hold(p95 <= float64(r.cell.goal.delay.Milliseconds()), "delay")
	if back > 0 {
		r.result.note("80 %% again after %.0f s", back.Seconds())
	} else {
		r.result.note("80 %% not again: %.0f kbit/s at most", reached/1000)
	}
	r.result.hold(back > 0 && back <= r.cell.goal.recovered+time.Second, "return") // the rate is an average over 2 s
}

// row is a result as the table shows it.
func (r result) row() []string {
	want := func(l limit) string {
		if !l.set {
			return ""
		}
		return fmt.Sprintf(" (%g %%)", 100*l.most)
	}
	verdict := "yes"
	if len(r.missed) > 0 {
		verdict = "NO: " + strings.Join(r.missed, ", ")
	}
	score := fmt.Sprintf("%.1f", r.mos)
	if r.cell.goal.mos > 0 {
		score += fmt.Sprintf(" (%.1f)", r.cell.goal.mos)
	}
	return []string{r.cell.name, r.where,
		fmt.Sprintf("%.1f %%%s", 100*r.concealed, want(r.cell.goal.concealed)),
		fmt.Sprintf("%.1f %%%s", 100*r.frozen, want(r.cell.goal.frozen)),
		fmt.Sprintf("%.0f fps, %d px, %.0f kbit/s", r.fps, r.width, r.kbps),
		fmt.Sprintf("%.0f / %.0f", r.p50, r.p95), score, verdict, strings.Join(r.notes, "; ")}
}

var columns = []string{"network", "where", "audio concealed (goal)", "video frozen (goal)", "picture", "delay p50 / p95 ms", "MOS (goal)", "ok", "more"}

// table prints results for people, or with IMPAIR_MARKDOWN for a document.
func table(results []result) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	line := func(cells []string) {
		if os.Getenv("IMPAIR_MARKDOWN") != "" {
			fmt.Fprintf(&out, "| %s |\n", strings.Join(cells, " | "))
			return
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	line(columns)
	if os.Getenv("IMPAIR_MARKDOWN") != "" {
		line(strings.Split(strings.Repeat("---,", len(columns)-1)+"---", ","))
	}
	for _, r := range results {
		line(r.row())
	}
	w.Flush()
	return out.String()
}

func setting(t *testing.T, name string, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	v, err := strconv.Atoi(text)
	if err != nil || v <= 0 {
		t.Fatalf("%s: %q is not a number above 0", name, text)
	}
	return v
}

// TestImpairmentTable measures every cell both ways; `make impair` runs it.
// Goals that are missed are told, not failed: the table is the result.
func TestImpairmentTable(t *testing.T) {
	if os.Getenv("BRAID_IMPAIR") == "" {
		t.Skip("takes a quarter of an hour: `make impair` runs it")
	}
	span := time.Duration(setting(t, "IMPAIR_SECONDS", 30)) * time.Second
	l := newLab(t, setting(t, "IMPAIR_HEIGHT", 720))
	var results []result
	chosen := regexp.MustCompile(os.Getenv("IMPAIR_CELLS"))
	for _, x := range cells() {
		if !chosen.MatchString(x.name) {
			continue
		}
		for where, name := range []string{"up", "down"} {
			t.Run(strings.NewReplacer(" ", "_", "/", "p").Replace(x.name)+"/"+name, func(t *testing.T) {
				options := x.options
				if options == "" {
					options = "{}"
				}
				quiet := [2]netbox.Profile{near(), near()}
				quiet[where] = x.quiet()
				r := l.newCall(t, options, quiet).try(x, where, span)
				results = append(results, r)
				t.Logf("\n%s", table([]result{r}))
			})
		}
	}
	t.Logf("%v a cell, %dp, loss and delay both ways:\n%s", span, l.clip.H, table(results))
}

// TestImpairedCall is a short piece of the table, with limits that hold on a
// busy machine: on a bad network sound and pictures go on, and after a cut they
// come back without a negotiation.
func TestImpairedCall(t *testing.T) {
	l := newLab(t, 360)
	c := l.newCall(t, "{}", [2]netbox.Profile{near(), near()})
	for _, x := range []struct {
		cell
		span              time.Duration
		concealed, frozen float64 // shares
	}{
		{cell{name: "clean, 20 ms", bad: netbox.Profile{Delay: 20 * time.Millisecond}}, 6 * time.Second, 0.05, 0.2},
		{cell{name: "10 % loss, 50 ms", bad: netbox.Profile{Loss: 0.1, Delay: 50 * time.Millisecond}}, 12 * time.Second, 0.2, 0.5},
		{cell{name: "3 s blackout", event: blackouts, bad: netbox.Profile{Delay: 20 * time.Millisecond}, goal: goal{first: 3 * time.Second}}, 12 * time.Second, 0.6, 0.7},
	} {
		r := c.try(x.cell, 1, x.span)
		t.Logf("\n%s", table([]result{r}))
		if r.concealed > x.concealed || r.frozen > x.frozen || len(r.missed) > 0 {
			t.Errorf("%s: %.1f %% concealed, %.1f %% frozen, missed %q", x.name, 100*r.concealed, 100*r.frozen, r.missed)
		}
	}
}
