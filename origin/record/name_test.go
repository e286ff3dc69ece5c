package record

import (
	"errors"
	"strings"
	"testing"
	"time"

	"braid/media"
	"braid/origin/storage"
)

var patterns = []struct{ pattern, want string }{
	{DefaultName, "live.example.com/live/cam-1/20260102T030405Z_00007"},
	{"{stream}", "cam-1"},
	{"a/{date}/{time}-{app}", "a/2026-01-02/030409-live"},
	{"{start}={sequence}", "20260102T030405Z=00007"},
	{"", ""},
	{"/{stream}", ""},
	{"{stream}/", ""},
	{"{stream}//x", ""},
	{"../{stream}", ""},
	{"x/../{stream}", ""},
	{".hidden", ""},
	{"x/.{stream}", ""},
	{"{stream", ""},
	{"stream}", ""},
	{"{nothing}", ""},
	{"{}", ""},
	{"a b", ""},
	{`a\b`, ""},
	{"a\x00b", ""},
	{"ä", ""},
	{strings.Repeat("a", 300), ""},
	{strings.Repeat("a/", 300) + "b", ""},
}

func TestPatterns(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	n := names{domain: "live.example.com", app: "live", stream: "cam-1", start: at, begin: at.Add(4 * time.Second), sequence: 7}
	for _, c := range patterns {
		err := CheckPattern(c.pattern)
		if c.want == "" {
			if !errors.Is(err, media.ErrInvalid) {
				t.Errorf("%.40q: got %v, want an error", c.pattern, err)
			}
			continue
		}
		if got, expandErr := expand(c.pattern, n); err != nil || expandErr != nil || got != c.want {
			t.Errorf("%q: got %q, %v, %v, want %q", c.pattern, got, err, expandErr, c.want)
		}
	}
}

// Whatever a stream and its domain are called, its files stay where they belong.
func FuzzPattern(f *testing.F) {
	for _, c := range patterns {
		f.Add(c.pattern, "live.example.com", "live", "cam")
	}
	f.Add("{domain}/{stream}", "..", ".", "../../x")
	f.Add("{domain}{app}{stream}", "", "/", "")
	f.Fuzz(func(t *testing.T, pattern, domain, app, stream string) {
		if CheckPattern(pattern) != nil {
			return
		}
		name, err := expand(pattern, names{domain: domain, app: app, stream: stream, sequence: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := storage.CheckName(name); err != nil && len(domain)+len(app)+len(stream) < 60 && len(pattern) < 60 {
			t.Fatalf("%q of %q %q %q: %v", name, domain, app, stream, err)
		}
	})
}
