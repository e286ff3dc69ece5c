package origin

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"braid/media"
)

// partHoldBack is how many part targets a player stays behind the newest part. RFC
// 8216bis section 4.4.3.8 wants two at least and recommends three.
const partHoldBack = 3

// maxQuery bounds what a playlist repeats behind each of its addresses, in bytes.
const maxQuery = 1024

// listing is what a playlist request asks for.
type listing struct {
	low    bool   // with parts
	prefix string // leads from the playlist to its files
	query  string // behind each address, with its "?"; empty without
	reload bool   // wait until the segment msn is there, or its part when part >= 0
	msn    uint64
	part   int
}

// readListing reads a playlist request's query (RFC 8216bis section 6.2.5). Other
// parameters than HLS's own go behind the addresses in the playlist, so that what
// lets a player in, and what it wants to see, holds for them too.
func readListing(rawQuery string, low bool) (listing, error) {
	l := listing{low: low, part: -1}
	q, err := url.ParseQuery(rawQuery)
	if err != nil {
		return l, fmt.Errorf("origin: query: %w: %w", err, media.ErrInvalid)
	}
	number := func(name string) (uint64, bool) {
		if err != nil || !low || !q.Has(name) {
			return 0, false
		}
		n, e := strconv.ParseUint(q.Get(name), 10, 63)
		if e != nil {
			err = fmt.Errorf("origin: %s: want a whole number, got %.40q: %w", name, q.Get(name), media.ErrInvalid)
		}
		return n, true
	}
	l.msn, l.reload = number("_HLS_msn")
	part, parts := number("_HLS_part")
	switch {
	case err != nil:
		return l, err
	case parts && !l.reload:
		return l, fmt.Errorf("origin: _HLS_part: without _HLS_msn: %w", media.ErrInvalid)
	case parts:
		l.part = int(min(part, math.MaxInt32))
	}
	for name := range q {
		if strings.HasPrefix(name, "_HLS_") {
			delete(q, name)
		}
	}
	if len(q) > 0 {
		l.query = "?" + q.Encode()
	}
	if len(l.query) > maxQuery {
		return l, fmt.Errorf("origin: query: %d bytes, at most %d go into a playlist: %w", len(l.query), maxQuery, media.ErrInvalid)
	}
	return l, nil
}

// renderLocked writes the media playlist (RFC 8216 section 4.3, RFC 8216bis section 4.4).
func (h *hlsStream) renderLocked(l listing) []byte {
	listed, breaks := h.segments, h.breaks
	for len(listed) > listedSegments {
		if listed[0].discontinuity {
			breaks++
		}
		listed = listed[1:]
	}
	version := 3
	if listed[0].init != nil {
		version = 6 // EXT-X-MAP
	}
	if l.low {
		version = 9
	}
	b := make([]byte, 0, 4096)
	b = fmt.Appendf(b, "#EXTM3U\n#EXT-X-VERSION:%d\n#EXT-X-TARGETDURATION:%d\n", version, int(math.Round(max(1, h.target.Seconds()))))
	if l.low {
		b = fmt.Appendf(b, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=%.3f\n#EXT-X-PART-INF:PART-TARGET=%.3f\n",
			partHoldBack*h.partTarget.Seconds(), h.partTarget.Seconds())
	}
	b = fmt.Appendf(b, "#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-DISCONTINUITY-SEQUENCE:%d\n", listed[0].seq, breaks)
	var mapped *initFile
	withParts := h.firstWithParts(listed)
	for i := range listed {
		b = appendHead(b, &listed[i], mapped, l)
		mapped = listed[i].init
		if l.low && i >= withParts {
			b = appendParts(b, &listed[i], l)
		}
		b = fmt.Appendf(b, "#EXTINF:%.3f,\n%s%s%s\n", listed[i].duration.Seconds(), l.prefix, listed[i].file(), l.query)
	}
	if h.ended {
		return append(b, "#EXT-X-ENDLIST\n"...)
	}
	if l.low {
		if h.growing.seq != 0 {
			b = appendHead(b, &h.growing, mapped, l)
			b = appendParts(b, &h.growing, l)
		}
		b = fmt.Appendf(b, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"%spart%d.m4s%s\"\n", l.prefix, h.nextPart, l.query)
	}
	return b
}

// firstWithParts is the index of the first segment whose parts are listed: three
// target durations from the end (RFC 8216bis section 4.4.4.9).
func (h *hlsStream) firstWithParts(listed []segment) int {
	i, span := len(listed), time.Duration(0)
	for i > 0 && span < 3*h.target {
		i--
		span += listed[i].duration
	}
	return i
}

// appendHead appends what stands before a segment and its parts.
func appendHead(b []byte, s *segment, mapped *initFile, l listing) []byte {
	if s.discontinuity {
		b = append(b, "#EXT-X-DISCONTINUITY\n"...)
	}
	if s.init != mapped {
		b = fmt.Appendf(b, "#EXT-X-MAP:URI=\"%sinit%d.mp4%s\"\n", l.prefix, s.init.seq, l.query)
	}
	return fmt.Appendf(b, "#EXT-X-PROGRAM-DATE-TIME:%s\n", s.began.UTC().Format("2006-01-02T15:04:05.000Z"))
}

func appendParts(b []byte, s *segment, l listing) []byte {
	for _, p := range s.parts {
		b = fmt.Appendf(b, "#EXT-X-PART:DURATION=%.5f,URI=\"%spart%d.m4s%s\"", p.duration.Seconds(), l.prefix, p.number, l.query)
		if p.independent {
			b = append(b, ",INDEPENDENT=YES"...)
		}
		b = append(b, '\n')
	}
	return b
}

// file is the name of a segment.
func (s *segment) file() string {
	if s.init != nil {
		return fmt.Sprintf("%d.m4s", s.seq)
	}
	return fmt.Sprintf("%d.ts", s.seq)
}

// hlsFile is a file that playlists name.
type hlsFile struct {
	kind   byte
	mp4    bool
	number uint64
}

const (
	segmentFile  byte = iota // {seq}.ts, {seq}.m4s
	partFile                 // part{number}.m4s
	initFileKind             // init{seq}.mp4
)

// parseFile reads a file's name. ok is false for names that no playlist has.
func parseFile(name string) (f hlsFile, ok bool) {
	number, is := "", false
	for _, c := range []struct {
		before, after string
		f             hlsFile
	}{
		{"part", ".m4s", hlsFile{partFile, true, 0}},
		{"init", ".mp4", hlsFile{initFileKind, true, 0}},
		{"", ".m4s", hlsFile{segmentFile, true, 0}},
		{"", ".ts", hlsFile{segmentFile, false, 0}},
	} {
		if number, is = strings.CutPrefix(name, c.before); !is {
			continue
		}
		if number, is = strings.CutSuffix(number, c.after); !is {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 63)
		c.f.number = n
		return c.f, err == nil && number == strconv.FormatUint(n, 10)
	}
	return hlsFile{}, false
}
