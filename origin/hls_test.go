package origin

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"braid/media"
)

// tsOf is a finished segment of one part.
func tsOf(seq uint64, discontinuity bool) segment {
	began := time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC)
	return segment{seq: seq, duration: 2033 * time.Millisecond, began: began, discontinuity: discontinuity,
		parts: []part{{number: seq, duration: 2033 * time.Millisecond, data: []byte{byte(seq)}}}}
}

func TestPlaylist(t *testing.T) {
	h := newHLS(nil)
	for i := range 9 {
		h.add(tsOf(uint64(10+i), i == 0 || i == 2 || i == 3))
	}
	want := `#EXTM3U
#EXT-X-VERSION:3
#EXT-X-TARGETDURATION:2
#EXT-X-MEDIA-SEQUENCE:13
#EXT-X-DISCONTINUITY-SEQUENCE:2
#EXT-X-DISCONTINUITY
#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:04:05.006Z
#EXTINF:2.033,
cam/13.ts?auth_key=k
`
	l := listing{prefix: "cam/", query: "?auth_key=k"}
	list, err := h.playlist(t.Context(), l)
	if got := string(list); err != nil || !strings.HasPrefix(got, want) || strings.Count(got, "#EXTINF") != 6 || strings.Contains(got, "ENDLIST") {
		t.Errorf("got %v\n%s\nwant six segments from\n%s", err, got, want)
	}
	for name, there := range map[string]bool{"10.ts": false, "11.ts": true, "18.ts": true, "20.ts": false} {
		f, ok := parseFile(name)
		got, err := h.find(t.Context(), f)
		if !ok || (err == nil) != there || there && (len(got) != 1 || got[0][0] != byte(f.number)) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	h.end(nil)
	if list, _ = h.playlist(t.Context(), l); !strings.HasSuffix(string(list), "cam/18.ts?auth_key=k\n#EXT-X-ENDLIST\n") {
		t.Errorf("ended: %s", list)
	}
}

// lowParts is a segment of n parts of 250 ms; the first is 1 more than base.
func lowParts(seq, base uint64, n int, init *initFile) segment {
	s := segment{seq: seq, began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), init: init}
	for i := range n {
		s.parts = append(s.parts, part{number: base + uint64(i) + 1, duration: 250 * time.Millisecond, independent: i == 0, data: []byte{byte(i)}})
	}
	return s
}

func finished(s segment) segment {
	s.duration = time.Duration(len(s.parts)) * 250 * time.Millisecond
	return s
}

func TestLowLatencyPlaylist(t *testing.T) {
	h := newHLS(nil)
	old, now := &initFile{seq: 10, data: []byte("old")}, &initFile{seq: 14, data: []byte("new")}
	for i := range uint64(4) {
		h.add(finished(lowParts(10+i, i*4, 4, old)))
	}
	next := lowParts(14, 16, 2, now)
	next.discontinuity = true
	h.grow(next)
	list, err := h.playlist(t.Context(), listing{low: true, query: "?a=b"})
	if err != nil {
		t.Fatal(err)
	}
	head := `#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:1
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.750
#EXT-X-PART-INF:PART-TARGET=0.250
#EXT-X-MEDIA-SEQUENCE:10
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-MAP:URI="init10.mp4?a=b"
#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:04:05.000Z
#EXTINF:1.000,
10.m4s?a=b
#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:04:05.000Z
#EXT-X-PART:DURATION=0.25000,URI="part5.m4s?a=b",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.25000,URI="part6.m4s?a=b"
`
	tail := `#EXTINF:1.000,
13.m4s?a=b
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="init14.mp4?a=b"
#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:04:05.000Z
#EXT-X-PART:DURATION=0.25000,URI="part17.m4s?a=b",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.25000,URI="part18.m4s?a=b"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="part19.m4s?a=b"
`
	if got := string(list); !strings.HasPrefix(got, head) || !strings.HasSuffix(got, tail) || strings.Count(got, "#EXT-X-PART:") != 14 {
		t.Errorf("got\n%s\nwant\n%s...\n%s", got, head, tail)
	}
	list, err = h.playlist(t.Context(), listing{})
	if got := string(list); err != nil || strings.Contains(got, "PART") || strings.Contains(got, "HINT") || !strings.HasSuffix(got, "\n13.m4s\n") || !strings.Contains(got, "VERSION:6\n") {
		t.Errorf("without parts: %v\n%s", err, got)
	}
	for name, want := range map[string]string{"init10.mp4": "old", "init14.mp4": "new", "13.m4s": "\x00\x01\x02\x03", "part16.m4s": "\x03", "part18.m4s": "\x01"} {
		f, ok := parseFile(name)
		got, err := h.find(t.Context(), f)
		all := ""
		for _, b := range got {
			all += string(b)
		}
		if !ok || err != nil || all != want {
			t.Errorf("%s: got %q, %v, want %q", name, all, err, want)
		}
	}
	for _, name := range []string{"14.m4s", "init11.mp4", "part0.m4s", "part20.m4s", "13.ts"} {
		if f, ok := parseFile(name); ok && f.mp4 {
			if got, err := h.find(t.Context(), f); !errors.Is(err, media.ErrNotFound) {
				t.Errorf("%s: got %q, %v", name, got, err)
			}
		}
	}
}

// A request for what comes next is answered when it is there, one that is too far
// ahead at once, one for what never comes when its time is over.
func TestBlockingReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHLS(nil)
		init := &initFile{seq: 10}
		h.add(finished(lowParts(10, 0, 4, init)))
		h.grow(lowParts(11, 4, 1, init))
		ask := func(query string) chan string {
			answer := make(chan string, 1)
			go func() {
				l, err := readListing(query, true)
				var list []byte
				if err == nil {
					list, err = h.playlist(t.Context(), l)
				}
				answer <- fmt.Sprintf("%d parts, %v", strings.Count(string(list), "#EXT-X-PART:"), err)
			}()
			return answer
		}
		at := func(c chan string) string {
			synctest.Wait()
			select {
			case s := <-c:
				return s
			default:
				return "waits"
			}
		}
		hint := make(chan error, 1)
		go func() {
			_, err := h.find(t.Context(), hlsFile{partFile, true, 6})
			hint <- err
		}()
		for query, want := range map[string]string{
			"":                               "5 parts, <nil>",
			"_HLS_msn=9":                     "5 parts, <nil>",
			"_HLS_msn=10&_HLS_part=3":        "5 parts, <nil>",
			"_HLS_msn=10&_HLS_part=4":        "5 parts, <nil>", // the first of 11
			"_HLS_msn=11&_HLS_part=0":        "5 parts, <nil>",
			"_HLS_msn=13":                    "0 parts, " + errAhead.Error(),
			"_HLS_part=1":                    "0 parts, origin: _HLS_part: without _HLS_msn: invalid",
			"_HLS_msn=-1":                    `0 parts, origin: _HLS_msn: want a whole number, got "-1": invalid`,
			"_HLS_msn=11&_HLS_part=1e3":      `0 parts, origin: _HLS_part: want a whole number, got "1e3": invalid`,
			"x=" + strings.Repeat("x", 1100): "0 parts, origin: query: 1103 bytes, at most 1024 go into a playlist: invalid",
		} {
			if got := at(ask(query)); got != want {
				t.Errorf("%.40s: got %s, want %s", query, got, want)
			}
		}
		next, whole, far := ask("_HLS_msn=11&_HLS_part=1"), ask("_HLS_msn=11"), ask("_HLS_msn=12&_HLS_part=0")
		if got := at(next); got != "waits" {
			t.Errorf("the next part: %s before it is there", got)
		}
		h.grow(lowParts(11, 4, 2, init))
		if got := at(next); got != "6 parts, <nil>" {
			t.Errorf("the next part: %s", got)
		}
		if err := <-hint; err != nil {
			t.Errorf("the hinted part: %v", err)
		}
		if got := at(whole); got != "waits" {
			t.Errorf("the next segment: %s with two parts of it there", got)
		}
		h.add(finished(lowParts(11, 4, 3, init)))
		if got := at(whole); got != "7 parts, <nil>" {
			t.Errorf("the next segment: %s", got)
		}
		if got := at(far); got != "waits" {
			t.Errorf("what never comes: %s at once", got)
		}
		time.Sleep(800 * time.Millisecond) // hls.js waits no longer
		if got := at(far); got != "7 parts, <nil>" {
			t.Errorf("what never came: %s, want the playlist as it is", got)
		}
		last := ask("_HLS_msn=12")
		if got := at(last); got != "waits" {
			t.Errorf("before the end: %s", got)
		}
		h.end(nil)
		if got := at(last); got != "7 parts, <nil>" {
			t.Errorf("after the end: %s", got)
		}
	})
}

// What is kept is bounded in bytes, too.
func TestKeptBytes(t *testing.T) {
	h := newHLS(nil)
	for i := range uint64(10) {
		s := tsOf(10+i, false)
		s.parts[0].data = make([]byte, keptBytes/4)
		h.add(s)
	}
	if len(h.segments) != 4 {
		t.Errorf("%d segments of a quarter of keptBytes are kept", len(h.segments))
	}
	for i := range uint64(5) {
		s := tsOf(20+i, false)
		s.parts[0].data = make([]byte, keptBytes)
		h.add(s)
	}
	if len(h.segments) != leastSegments {
		t.Errorf("%d segments of keptBytes are kept, want %d", len(h.segments), leastSegments)
	}
}

func fileNames() map[string]bool {
	return map[string]bool{
		"1.ts": true, "1.m4s": true, "part12.m4s": true, "init9.mp4": true,
		"": false, ".ts": false, "-1.ts": false, "+1.ts": false, "01.ts": false, "1x.ts": false, "1.mp4": false, "part1.ts": false,
		"part.m4s": false, "partial1.m4s": false, "9223372036854775808.ts": false, "18446744073709551617.m4s": false,
	}
}

func TestParseFile(t *testing.T) {
	for name, want := range fileNames() {
		if _, ok := parseFile(name); ok != want {
			t.Errorf("%q: got %v", name, ok)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	for name := range fileNames() {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		file, ok := parseFile(name)
		if !ok {
			return
		}
		form := map[hlsFile]string{{segmentFile, false, 0}: "%d.ts", {segmentFile, true, 0}: "%d.m4s", {partFile, true, 0}: "part%d.m4s", {initFileKind, true, 0}: "init%d.mp4"}
		if again := fmt.Sprintf(form[hlsFile{file.kind, file.mp4, 0}], file.number); again != name {
			t.Fatalf("%q is read as %q", name, again)
		}
	})
}

func FuzzReadListing(f *testing.F) {
	for _, q := range []string{"", "auth_key=1-2-3-4&onlyaudio=1", "_HLS_msn=11&_HLS_part=1&a=b", "_HLS_msn=-1", "a=%0a%22", "a;b"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, q string) {
		l, err := readListing(q, true)
		if err == nil && (len(l.query) > maxQuery || strings.ContainsAny(l.query, "\n\r\" ") || strings.Contains(l.query, "_HLS_msn=")) {
			t.Fatalf("%q: %+v goes into a playlist", q, l)
		}
	})
}
