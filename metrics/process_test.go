package metrics

import (
	"os"
	"runtime"
	"strings"
	"testing"
)

var statLines = []struct {
	line  string
	pages float64
	cpu   float64
}{
	{"42 (braid-mixer) S 1 1 1 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 9 0 777 1000000 25 18446744073709551615 1", 25, 2},
	{"42 (a) b (c) R 1 1 1 0 -1 4194304 100 0 0 0 100 0 0 0 20 0 9 0 777 1000000 3 1", 3, 1},
	{"42 (x) S 1", 0, 0},
	{"", 0, 0},
	{"no parenthesis", 0, 0},
}

func TestParseStat(t *testing.T) {
	page := float64(os.Getpagesize())
	for _, tt := range statLines {
		rss, cpu := parseStat([]byte(tt.line))
		if rss != tt.pages*page || cpu != tt.cpu {
			t.Errorf("%q: got %v bytes and %v s, want %v pages and %v s", tt.line, rss, cpu, tt.pages, tt.cpu)
		}
	}
	if runtime.GOOS == "linux" {
		if rss, _ := processUse(os.Getpid()); rss < 1<<20 || rss > 1<<34 {
			t.Errorf("this process takes %v bytes", rss)
		}
	}
	if rss, cpu := processUse(1 << 30); rss != 0 || cpu != 0 {
		t.Error("a process that is not there takes something")
	}
}

func FuzzParseStat(f *testing.F) {
	for _, tt := range statLines {
		f.Add(tt.line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if rss, cpu := parseStat([]byte(line)); rss < 0 || cpu < 0 || strings.Count(line, " ") < 10 && rss > 0 {
			t.Errorf("%q: %v, %v", line, rss, cpu)
		}
	})
}
