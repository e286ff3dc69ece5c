package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// journal is the index's log: one line of JSON for each state of a file, of
// which the last one counts. An append is durable when it returns.
type journal struct {
	root *os.Root
	name string
	f    *os.File
	end  int64 // behind the last whole line
	n    int   // lines
}

// maxLine bounds what a line may be; a File's is below 8 KiB.
const maxLine = 1 << 20

// readJournal reads the newest states, without files that are gone. A line that
// is torn, as the last one may be, is left out.
func readJournal(root *os.Root, name string) ([]*File, error) {
	f, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	files, err := parseJournal(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return files, nil
}

func parseJournal(r io.Reader) ([]*File, error) {
	newest := make(map[string]*File)
	var ids []string
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		f := new(File)
		if json.Unmarshal(lines.Bytes(), f) != nil || !f.usable() {
			continue
		}
		if newest[f.ID] == nil {
			ids = append(ids, f.ID)
		}
		newest[f.ID] = f
	}
	var files []*File
	for _, id := range ids {
		if f := newest[id]; f.State != gone {
			files = append(files, f)
		}
	}
	return files, lines.Err()
}

// newJournal begins a log that holds these files alone, in place of the old one.
func newJournal(root *os.Root, name string, files []*File) (*journal, error) {
	j := &journal{root: root, name: name}
	err := j.rewrite(files)
	if errors.Is(err, fs.ErrNotExist) || err == nil {
		return j, err
	}
	// A full disk is no reason not to start: the old log goes on.
	f, openErr := root.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if openErr != nil {
		return nil, errors.Join(err, openErr)
	}
	j.f, j.n = f, len(files)
	if j.end, err = wholeLines(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

// wholeLines is where the last whole line of a file ends.
func wholeLines(f *os.File) (int64, error) {
	var end, at int64
	buf := make([]byte, 64<<10)
	for {
		n, err := f.ReadAt(buf, at)
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			end = at + int64(i) + 1
		}
		at += int64(n)
		if err == io.EOF {
			return end, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// append adds a line. After an error the log is as it was.
func (j *journal) append(f *File) error {
	line, err := json.Marshal(f)
	if err != nil {
		panic("record: " + err.Error()) // File has nothing that JSON cannot hold
	}
	line = append(line, '\n')
	if _, err = j.f.WriteAt(line, j.end); err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		j.f.Truncate(j.end) // a torn line would swallow the next one
		return fmt.Errorf("write %s: %w", j.name, err)
	}
	j.end += int64(len(line))
	j.n++
	return nil
}

// worn tells whether most lines are about files that have others, or are gone.
func (j *journal) worn(files int) bool { return j.n > 10_000+4*files }

// rewrite replaces the log by one line for each file.
func (j *journal) rewrite(files []*File) error {
	tmp := j.name + ".new"
	f, err := j.root.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	for _, file := range files {
		if err = enc.Encode(file); err != nil {
			break
		}
	}
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = j.root.Rename(tmp, j.name)
	}
	if err != nil {
		return errors.Join(err, f.Close(), j.root.Remove(tmp))
	}
	if j.f != nil {
		j.f.Close()
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	j.f, j.end, j.n = f, info.Size(), len(files)
	return nil
}

func (j *journal) close() error { return j.f.Close() }
