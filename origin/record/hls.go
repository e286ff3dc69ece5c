package record

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// playlist is a sink of MPEG-TS slices and the playlist that names them (RFC 8216
// section 4). Each slice is a file of the index; the playlist is made of what the
// index knows of them whenever one is whole, so it never names bytes that are not
// there, and after a crash it is made once more, with its end.
//
//	fragments → slice 1 │ slice 2 │ slice 3 ...     rename
//	                    └─ whole: index ──→ playlist ────→ name.m3u8
type playlist struct {
	r     *recording
	index *Index
	entry File
	forms *forms
	mux   *tsWriter // of all slices: times and continuity counters go on
	slice *output   // nil: the next fragment begins one
	n     int       // slices that were begun
}

func (r *recording) openPlaylist(entry *File, base string, f *fragment) (sink, error) {
	p := &playlist{r: r, index: r.cfg.Index, entry: *entry, forms: f.first}
	var err error
	if p.mux, err = newTSWriter(f.first); err != nil {
		return nil, err
	}
	if v := f.first.video; v != nil && p.mux.video != "" {
		p.entry.Video, p.entry.Width, p.entry.Height = v.codec, v.width, v.height
	}
	if a := f.first.audio; a != nil && p.mux.audio {
		p.entry.Audio = a.codec
	}
	file, err := p.index.create(&p.entry, base, ".m3u8")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(file.Close(), p.index.writePlaylist(&p.entry, false)); err != nil {
		p.index.discard(&p.entry)
		return nil, err
	}
	return p, nil
}

func (p *playlist) write(f *fragment, now time.Time) error {
	if f.slice && p.slice != nil {
		if err := p.endSlice(f.start - p.slice.base); err != nil {
			return err
		}
	}
	if p.slice == nil {
		if err := p.beginSlice(f, now); err != nil {
			return err
		}
	}
	o := p.slice
	if err := o.fragment(f); err != nil {
		return err
	}
	if err := o.write(now); err != nil {
		return err
	}
	p.index.grow(o.entry.ID, o.size, o.end)
	return nil
}

func (p *playlist) beginSlice(f *fragment, now time.Time) error {
	p.n++
	p.r.slices++
	o := &output{entry: p.entry, synced: now, base: f.start, ts: p.mux}
	o.entry.Format, o.entry.Begin = TS, p.entry.Begin.Add(f.start)
	o.entry.Playlist, o.entry.Slice = p.entry.ID, p.n
	o.entry.Told = true // the playlist is what is told of
	name, err := p.r.name(p.r.cfg.Slices, o.entry.Begin, p.r.slices)
	if err != nil {
		return err
	}
	if o.file, err = p.index.create(&o.entry, name, ".ts"); err != nil {
		return err
	}
	p.slice = o
	return nil
}

// endSlice ends the slice, which is so long up to the next one; 0 when there is none.
func (p *playlist) endSlice(length time.Duration) error {
	o := p.slice
	p.slice = nil
	err := o.finish()
	if o.end == 0 {
		p.index.discard(&o.entry)
		return err
	}
	if length == 0 {
		length = o.end
	}
	o.entry.finish(o.size, length)
	p.index.set(&o.entry)
	return errors.Join(err, p.index.writePlaylist(&p.entry, false))
}

func (p *playlist) finish() {
	if p.slice != nil {
		if err := p.endSlice(0); err != nil {
			p.r.log.Error("record: the end of a file cannot be written; what is written of it plays", "file", p.entry.Name, "err", err)
		}
	}
	p.index.endPlaylist(&p.entry, p.r.log)
}

// endPlaylist makes a playlist whole, and removes one without slices. One that
// cannot be written, since the disk is full, is ended by Run or at the next start.
func (x *Index) endPlaylist(f *File, log *slog.Logger) {
	size, duration := x.sliced(f.ID)
	if duration == 0 {
		x.discard(f)
		return
	}
	if err := x.writePlaylist(f, true); err != nil {
		log.Warn("record: a playlist cannot be ended; it is tried again", "file", f.Name, "err", err)
		x.mu.Lock()
		defer x.mu.Unlock()
		x.unended = append(x.unended, f)
		return
	}
	g := *f
	g.finish(size, duration)
	x.set(&g)
	x.tell()
}

// endPlaylists tries those again that could not be ended.
func (x *Index) endPlaylists() {
	x.mu.Lock()
	again := x.unended
	x.unended = nil
	x.mu.Unlock()
	for _, f := range again {
		x.endPlaylist(f, slog.New(slog.DiscardHandler)) // it was logged
	}
}

// slicesLocked are a playlist's slices, in their order.
func (x *Index) slicesLocked(id string) []*File {
	return slices.SortedFunc(maps.Values(x.slices[id]), func(a, b *File) int { return a.Slice - b.Slice })
}

// sliced is how large a playlist's slices are and how long it is with them.
func (x *Index) sliced(id string) (size int64, duration time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.slicedLocked(id)
}

func (x *Index) slicedLocked(id string) (size int64, duration time.Duration) {
	for _, f := range x.slices[id] {
		g := x.viewLocked(f)
		size += g.Size
		duration += time.Duration(g.Duration)
	}
	return size, duration
}

// writePlaylist writes what a playlist names so far, in place of what it was.
func (x *Index) writePlaylist(f *File, end bool) error {
	x.mu.Lock()
	text := playlistText(f, x.slicesLocked(f.ID), end)
	x.mu.Unlock()
	tmp := unfinished(f)
	err := x.writeWhole(tmp, text)
	if err == nil {
		err = x.root.Rename(tmp, f.Name)
	}
	if err != nil {
		x.root.Remove(tmp)
		return fmt.Errorf("record: write %s: %w", f.Name, err)
	}
	return nil
}

// unfinished is what a playlist is called while it is written; no file's name begins
// with a dot.
func unfinished(f *File) string { return path.Join(path.Dir(f.Name), ".braid-"+f.ID) }

func (x *Index) writeWhole(name string, b []byte) error {
	file, err := x.root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// playlistText is a playlist of the slices that are whole.
func playlistText(f *File, slices []*File, end bool) []byte {
	var list strings.Builder
	target := 1.0
	for _, s := range slices {
		if s.State == Open {
			continue
		}
		length := time.Duration(s.Duration).Seconds()
		target = max(target, math.Round(length))
		if list.Len() == 0 {
			fmt.Fprintf(&list, "#EXT-X-PROGRAM-DATE-TIME:%s\n", s.Begin.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
		}
		fmt.Fprintf(&list, "#EXTINF:%.3f,\n%s\n", length, relative(f.Name, s.Name))
	}
	head := fmt.Sprintf("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:%.0f\n#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-INDEPENDENT-SEGMENTS\n", target)
	if end {
		list.WriteString("#EXT-X-ENDLIST\n")
	}
	return []byte(head + list.String())
}

// relative is the way from one name to another: a URL reference, as names have no
// characters that need escapes.
func relative(from, to string) string {
	a, b := strings.Split(from, "/"), strings.Split(to, "/")
	same := 0
	for same < len(a)-1 && same < len(b)-1 && a[same] == b[same] {
		same++
	}
	return strings.Repeat("../", len(a)-1-same) + strings.Join(b[same:], "/")
}
