package record

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"braid/media"
)

// syncEvery is how much of a file a power failure may cost. The end of a process
// alone costs what is not written: at most a fragment.
const syncEvery = 10 * time.Second

// output is one file that is being written.
type output struct {
	file   *os.File
	entry  File          // as noted in the index
	base   time.Duration // of an HLS slice: when it begins, since the playlist's begin
	size   int64
	end    time.Duration // of the last whole fragment
	next   time.Duration // of the one in buf
	synced time.Time

	video *videoForm // what of the stream the format carries
	audio *audioForm
	buf   []byte

	layout *mp4Layout // MP4
	refs   []reference
	ts     *tsWriter // MPEG-TS
}

// begin makes the file's head; nothing is written yet.
func (o *output) begin(f *fragment, segment time.Duration) (head []byte, err error) {
	o.video, o.audio = f.first.video, f.first.audio
	switch o.entry.Format {
	case MP3: // frames are all there is
	case TS:
		if o.ts, err = newTSWriter(f.first); err != nil {
			return nil, err
		}
		if o.ts.video == "" {
			o.video = nil
		}
		if !o.ts.audio {
			o.audio = nil
		}
	default:
		head = mp4Head(f.first, f.arrived, segment)
		if o.layout, err = readHead(head); err != nil {
			return nil, err
		}
	}
	if v := o.video; v != nil {
		o.entry.Video, o.entry.Width, o.entry.Height = v.codec, v.width, v.height
	}
	if a := o.audio; a != nil {
		o.entry.Audio = a.codec
	}
	return head, nil
}

// fragment makes a fragment's bytes, behind what is in buf.
func (o *output) fragment(f *fragment) (err error) {
	if o.ts != nil {
		o.next = f.end - o.base
		o.buf, err = o.ts.fragment(f, o.size, o.next)
		return err
	}
	if o.entry.Format == MP3 {
		for i := range f.audio {
			o.buf = append(o.buf, f.audio[i].units[0]...)
		}
		o.next = f.end
		return nil
	}
	var ref reference
	o.buf, ref, o.next = mp4Fragment(o.buf, uint32(len(o.refs)+1), f, o.video, o.audio)
	o.refs = append(o.refs, ref)
	return nil
}

// write writes what is in buf, which ends with a whole fragment. After an error
// the file is as it was.
func (o *output) write(now time.Time) error {
	defer func() { o.buf = o.buf[:0] }()
	_, err := o.file.WriteAt(o.buf, o.size)
	if err == nil && now.Sub(o.synced) >= syncEvery {
		err = o.file.Sync() // some file systems say only here that they are full
		o.synced = now
	}
	if err != nil {
		if o.refs != nil {
			o.refs = o.refs[:len(o.refs)-1]
		}
		return errors.Join(err, o.file.Truncate(o.size))
	}
	o.size += int64(len(o.buf))
	o.end = max(o.end, o.next)
	return nil
}

// finish makes the file whole and closes it.
func (o *output) finish() error {
	var err error
	if o.layout != nil && o.end > 0 {
		err = finishMP4(o.file, o.layout, o.refs, o.end)
	}
	return errors.Join(err, o.file.Sync(), o.file.Close())
}

// medium is what recovery needs of a file.
type medium interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
}

// mostHead is more than a file has that was not given its first fragment.
const mostHead = fragmentBytes + maxHead

// recoverFile does for a file of another process what finish would have done,
// after cutting it to its last whole fragment. Without one, duration is 0.
func recoverFile(file medium, length int64, format string) (size int64, duration time.Duration, err error) {
	var l *mp4Layout
	var refs []reference
	switch format {
	case TS:
		size, duration, err = readTS(file, length)
	case MP3:
		size, duration, err = readMP3(file, length)
	default:
		l, refs, size, duration, err = readMP4(file, length)
	}
	nothing := errors.Is(err, errNotOurs) || err == nil && duration == 0
	switch {
	case nothing && length > mostHead: // somebody may still make something of it
		return 0, 0, errors.Join(fmt.Errorf("%d bytes without a whole fragment", length), err)
	case nothing:
		return 0, 0, nil
	case err != nil:
		return 0, 0, err
	case l == nil:
		return size, duration, errors.Join(file.Truncate(size), file.Sync())
	}
	if err := file.Truncate(size); err != nil {
		return 0, 0, err
	}
	return size, duration, errors.Join(finishMP4(file, l, refs, duration), file.Sync())
}

// carries tells whether a format has a place for anything of a stream.
func carries(format string, f *forms) error {
	if format == FMP4 || format == MP3 || f.video != nil && (f.video.codec == media.H264 || f.video.codec == media.H265) || f.audio != nil && f.audio.codec == media.AAC {
		return nil
	}
	return fmt.Errorf("MPEG-TS files have H.264, H.265 and AAC, and the stream has none of them: %w", media.ErrInvalid)
}
