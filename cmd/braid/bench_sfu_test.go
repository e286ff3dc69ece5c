package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The benchmarks of `make bench-sfu` put a server alone on one core and the load
// (braid bot load) on another, and measure braid and a plain Pion forwarder
// (testdata/plainpion) in turns, with the same clients and the same cipher.
// What counts is the ratio within a turn: this kind of machine is shared. Watchers
// offer transport-wide congestion control to both. braid numbers its packets and
// hears ten feedbacks a second from each watcher; Pion's defaults do not number
// what goes out, so the plain forwarder is spared that. In 10x10 each user has one
// connection up and one down, as with the SDK; that braid passes on only the loudest
// voices (media.voices) is turned off, so that both forward as much.
const (
	serverCore, loadCore = "0", "1"
	sfuTurns             = 3
	sfuSeconds           = 8
)

// contender is a server under the load.
type contender struct {
	name  string
	start func(b *testing.B, dir, http, debug string) *exec.Cmd
}

func contenders(b *testing.B) []contender {
	b.Helper()
	need(b, "taskset")
	if runtime.NumCPU() < 2 {
		b.Skip("needs two cores, one for the server and one for the load")
	}
	plain := filepath.Join(b.TempDir(), "plainpion")
	if out, err := exec.Command("go", "build", "-o", plain, "./testdata/plainpion").CombinedOutput(); err != nil {
		b.Fatalf("build plainpion: %v\n%s", err, out)
	}
	return []contender{
		{"braid", func(b *testing.B, dir, http, debug string) *exec.Cmd {
			config := fmt.Sprintf("data_dir: %s\nhttp: {listen: %q}\nrtmp: {listen: \"127.0.0.1:0\"}\nmedia: {listen: \"127.0.0.1:0\", voices: -1}\n"+
				"access_keys: [{id: %s, secret: %s}]\napplications: [{id: %s, key: %s}]\n", dir, http, accessID, accessCode, testApp, testKey)
			name := filepath.Join(dir, "braid.yaml")
			if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
				b.Fatal(err)
			}
			return exec.Command("taskset", "-c", serverCore, "../../bin/braid", "serve", "--config", name, "--log", "warn", "--debug", debug)
		}},
		{"pion", func(_ *testing.B, _, http, debug string) *exec.Cmd {
			return exec.Command("taskset", "-c", serverCore, plain, "-listen", http, "-debug", debug)
		}},
	}
}

// load starts a fresh server, loads it, and gives what was measured.
func (c contender) load(b *testing.B, args ...string) (all []measurement) {
	b.Helper()
	at, debug := fmt.Sprint("127.0.0.1:", freePort(b)), fmt.Sprint("127.0.0.1:", freePort(b))
	server := c.start(b, b.TempDir(), at, debug)
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		b.Fatalf("make build first: %v", err)
	}
	defer func() {
		server.Process.Signal(syscall.SIGTERM)
		server.Wait()
	}()
	eventually(b, 15*time.Second, c.name+" listens", func() (bool, string) {
		resp, err := http.Get("http://" + at + "/healthz")
		if err != nil {
			return false, err.Error()
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK, resp.Status
	})
	bot := exec.Command("taskset", append([]string{"-c", loadCore, "../../bin/braid", "bot", "load", "--json", "--url", "http://" + at,
		"--app", testApp, "--key", testKey, "--pid", strconv.Itoa(server.Process.Pid), "--debug", debug}, args...)...)
	var errors bytes.Buffer
	bot.Stderr = &errors
	out, err := bot.Output()
	if err != nil {
		b.Fatalf("%s: bot load %s: %v\n%s", c.name, strings.Join(args, " "), err, errors.String())
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var m measurement
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			b.Fatalf("%s: %v", lines.Text(), err)
		}
		all = append(all, m)
	}
	if len(all) == 0 {
		b.Fatalf("%s: nothing was measured", c.name)
	}
	return all
}

// BenchmarkSFU is the cost at an even load.
func BenchmarkSFU(b *testing.B) {
	all := contenders(b)
	for _, scenario := range []struct {
		name string
		args []string
	}{
		{"1to50", []string{"--fanout", "50"}},
		{"1to200", []string{"--fanout", "200"}},
		{"10x10", []string{"--conference", "10", "--warm", "10s"}},
	} {
		b.Run(scenario.name, func(b *testing.B) {
			ours, theirs := turns(b, all, append(scenario.args, "--measure", fmt.Sprint(sfuSeconds, "s"))...)
			compare(b, ours, theirs, "µs of CPU a packet", func(m measurement) float64 { return m.CPU })
			compare(b, ours, theirs, "KiB a watcher", func(m measurement) float64 { return m.RSS })
			compare(b, ours, theirs, "allocations a packet", func(m measurement) float64 { return m.Allocations })
			compare(b, ours, theirs, "ms p50", func(m measurement) float64 { return m.P50 })
			compare(b, ours, theirs, "ms p99", func(m measurement) float64 { return m.P99 })
			for i := range ours {
				b.Logf("turn %d: braid lost %.4f %%, plain pion %.4f %%; transport-wide feedback %.0f and %.0f packets/s", i+1,
					100*ours[i].Loss, 100*theirs[i].Loss, ours[i].Feedback, theirs[i].Feedback)
				if ours[i].Feedback == 0 {
					b.Error("no watcher gave feedback: what was measured is not what browsers cost")
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(middle(ours, func(m measurement) float64 { return m.CPU }), "cpu-µs/packet")
			b.ReportMetric(ratio(ours, theirs, func(m measurement) float64 { return m.CPU })[sfuTurns/2], "of-plain-pion")
			b.ReportMetric(middle(ours, func(m measurement) float64 { return m.RSS }), "rss-KiB/watcher")
			b.ReportMetric(middle(ours, func(m measurement) float64 { return m.Allocations }), "allocs/packet")
			b.ReportMetric(middle(ours, func(m measurement) float64 { return m.P99 }), "p99-ms")
		})
	}
}

// turns measures both, one after the other, several times.
func turns(b *testing.B, all []contender, args ...string) (ours, theirs []measurement) {
	for range sfuTurns {
		ours = append(ours, last(all[0].load(b, args...)))
		theirs = append(theirs, last(all[1].load(b, args...)))
	}
	return ours, theirs
}

func last(m []measurement) measurement { return m[len(m)-1] }

// BenchmarkSFUSaturation raises the pictures a second of one publisher to 100
// watchers: what a core forwards with at most 0.1 % lost and 1 % later than 50 ms.
func BenchmarkSFUSaturation(b *testing.B) {
	all := contenders(b)
	var ours, theirs []measurement
	for range sfuTurns {
		for i, into := range []*[]measurement{&ours, &theirs} {
			steps := all[i].load(b, "--fanout", "100", "--ramp", "--measure", "2s")
			best := measurement{}
			for _, m := range steps {
				if m.sustained() && m.Rate > best.Rate {
					best = m
				}
			}
			b.Logf("%s: %.0f packets/s at %.2f µs a packet, the load's core %.2f busy; then %+v", all[i].name, best.Rate, best.CPU, best.Generator, last(steps))
			*into = append(*into, best)
		}
	}
	// The best of each: a shared machine takes away from some turns, and adds to none.
	fastest := func(a, b measurement) int { return cmp.Compare(a.Rate, b.Rate) }
	us, them := slices.MaxFunc(ours, fastest), slices.MaxFunc(theirs, fastest)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(us.Rate, "packets/s")
	b.ReportMetric(them.Rate, "plain-packets/s")
	b.ReportMetric(us.Rate/them.Rate, "of-plain-pion")
}

// compare logs the medians and the ratios of the turns.
func compare(b *testing.B, ours, theirs []measurement, what string, of func(measurement) float64) {
	b.Helper()
	r := ratio(ours, theirs, of)
	b.Logf("%-22s braid %10.3f  plain pion %10.3f  ratio %.2f (%.2f to %.2f)", what, middle(ours, of), middle(theirs, of), r[len(r)/2], r[0], r[len(r)-1])
}

func middle(all []measurement, of func(measurement) float64) float64 {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b measurement) int { return cmp.Compare(of(a), of(b)) })
	return of(sorted[len(sorted)/2])
}

// ratio is ours over theirs, turn by turn, sorted.
func ratio(ours, theirs []measurement, of func(measurement) float64) (r []float64) {
	for i := range ours {
		r = append(r, of(ours[i])/of(theirs[i]))
	}
	slices.Sort(r)
	return r
}
